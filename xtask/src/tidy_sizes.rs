//! Rule: small enough to hold. Files and functions have a soft and a hard limit; what is over the
//! hard one stands in `xtask/allowed-sizes.txt` with its exact size, and that list may only shrink.

use crate::blank::blanked;
use crate::tidy::Finding;
use crate::tidy_lists::List;
use crate::tree::{File, Tree};

/// Lines of a file: warned of, refused.
const FILE: (usize, usize) = (500, 800);
/// Lines of a function, from `fn` to its closing brace: warned of, refused.
const FUNCTION: (usize, usize) = (70, 100);
/// How many exceptions there are. Lower it with the list; raising it is raising a limit of the house.
const EXCEPTIONS: usize = 0;

const LIST: &str = "xtask/allowed-sizes.txt";

/// Measures every file.
pub fn check(tree: &Tree, found: &mut Vec<Finding>) {
    let list = List::read(tree, LIST, 2, found);
    for entry in list.entries.iter().skip(EXCEPTIONS) {
        let message = format!("more than {EXCEPTIONS} exceptions: this list may only shrink");
        found.push(Finding::error(list.place(entry), "size", message));
    }
    for file in tree.rust().filter(|f| !exempt(f)) {
        let lines = file.text.lines().count();
        judge("file", lines, FILE, &file.path, &file.path, &list, found);
        for function in functions(&file.text) {
            let key = format!("{}::{}", file.path, function.name);
            let place = format!("{}:{}", file.path, function.line);
            judge("function", function.lines, FUNCTION, &key, &place, &list, found);
        }
    }
    list.complain_of_unused(found);
}

/// Generated code and tables are as long as what they list.
fn exempt(file: &File) -> bool {
    file.name() == "generated.rs" || file.path.split('/').any(|part| part == "tables")
}

fn judge(
    what: &str,
    lines: usize,
    (soft, hard): (usize, usize),
    key: &str,
    place: &str,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    if lines <= soft {
        return;
    }
    if lines <= hard {
        found.push(Finding::warning(place, "size", format!("a {what} of {lines} lines; aim at {soft}")));
        return;
    }
    match list.find(|words| words.first() == Some(&key)) {
        None => {
            let message = format!("a {what} of {lines} lines; the limit is {hard}, split it ({key})");
            found.push(Finding::error(place, "size", message));
        }
        Some(entry) if entry.words.get(1).and_then(|n| n.parse().ok()) != Some(lines) => {
            let message =
                format!("{key} has {lines} lines now; it may only shrink, and the list says how far it has");
            found.push(Finding::error(list.place(entry), "size", message));
        }
        Some(_) => {}
    }
}

/// A function of a file.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Line of its `fn`, from 1.
    line: usize,
    /// Lines from its `fn` to its closing brace.
    lines: usize,
}

/// The functions of a file that have a body.
fn functions(source: &str) -> Vec<Function> {
    let code = blanked(source);
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(at) = code.get(from..).and_then(|rest| rest.find("fn ")).map(|n| n + from) {
        from = at + 3;
        let before = code.get(..at).and_then(|s| s.chars().next_back());
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code.get(from..).unwrap_or_default();
        let name: String =
            rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || "_$#".contains(*c)).collect();
        // A type such as `fn (u8)` has no name.
        if let (false, Some(length)) = (name.is_empty(), body(rest)) {
            let newlines = |text: &str| text.bytes().filter(|b| *b == b'\n').count();
            let line = 1 + newlines(code.get(..at).unwrap_or_default());
            let lines = 1 + newlines(rest.get(..length).unwrap_or_default());
            all.push(Function { name, line, lines });
        }
    }
    all
}

/// Where the body that follows a function's head ends, counted from there; `None` if it has none.
fn body(rest: &str) -> Option<usize> {
    let (mut round, mut braces) = (0usize, 0usize);
    for (n, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round = round.saturating_sub(1),
            b';' if round == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' if braces == 1 => return Some(n),
            // The block around a head that never got a body ends: not a function after all.
            b'}' => braces = braces.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::samples::{of, refused};

    const PATH: &str = "crates/support-bits/src/lib.rs";
    const HEAD: &str = "//! Bits.\n//! It knows no machine.\n#![forbid(unsafe_code)]\n";

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let source = "pub fn one() {}\ntrait T {\n    fn none(&self, x: [u8; 3]);\n    fn two(&self)\n    where\n\
            \x20       Self: Sized,\n    {\n        let s = \"}}}\"; // }\n        if s == r#\"}\"# {\n        }\n    }\n}\n\
            type F = fn (u8);\nconst fn three<'a>(\n    f: fn(&'a str) -> u8,\n) -> char {\n    '}'\n}\n";
        let found: Vec<(String, usize, usize)> =
            functions(source).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        let expected = [("one", 1, 1), ("two", 4, 8), ("three", 14, 5)];
        assert_eq!(found, expected.map(|(name, line, lines)| (name.to_owned(), line, lines)));
    }

    #[test]
    fn long_functions_are_refused() {
        let function = |body: usize| format!("{HEAD}fn long() {{\n{}}}\n", "    f();\n".repeat(body));
        assert_eq!(of(&[(PATH, &function(68))]), []);
        let found = of(&[(PATH, &function(69))]);
        assert!(matches!(&*found, [f] if f.warning && f.message.contains("71 lines")), "{found:?}");
        assert!(of(&[(PATH, &function(98))]).iter().all(|f| f.warning));
        let rule = "a function of 101 lines; the limit is 100";
        refused(&[(PATH, &function(99))], "size", "crates/support-bits/src/lib.rs:4", rule);
    }

    #[test]
    fn long_files_are_refused() {
        let file = |lines: usize| format!("{HEAD}{}", "// line\n".repeat(lines - 3));
        assert_eq!(of(&[(PATH, &file(500))]), []);
        assert!(matches!(&*of(&[(PATH, &file(501))]), [f] if f.warning));
        assert!(matches!(&*of(&[(PATH, &file(800))]), [f] if f.warning));
        refused(&[(PATH, &file(801))], "size", PATH, "a file of 801 lines; the limit is 800");
    }

    #[test]
    fn generated_code_and_tables_are_exempt() {
        let long = "//! Rows.\n".repeat(900);
        let lib = format!("{HEAD}mod generated;\n");
        let generated = ("crates/support-bits/src/generated.rs", &*long);
        assert_eq!(of(&[(PATH, &lib), generated, ("crates/support-bits/tables/rows.rs", &long)]), []);
    }

    #[test]
    fn the_list_may_only_shrink() {
        let entry = format!("{PATH} 801 # a table in disguise\n");
        let found = of(&[(PATH, &format!("{HEAD}{}", "// line\n".repeat(798))), (LIST, &entry)]);
        assert!(matches!(&*found, [f] if f.message.contains("may only shrink")), "{found:?}");
        let found = of(&[(PATH, &format!("{HEAD}{}", "// line\n".repeat(799))), (LIST, &entry)]);
        assert!(found.iter().any(|f| f.message.contains("has 802 lines now")), "{found:?}");
        let found = of(&[(LIST, &entry)]);
        assert!(found.iter().any(|f| f.message.contains("nothing needs")), "{found:?}");
    }
}
