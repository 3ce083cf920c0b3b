//! Rule: docs/security.md lists every attack that is tested and every fuzz target, and nothing that is not there.
//!
//! An attack is a test whose name begins with `attack_`. In a file that is named after attacks (`attacks.rs`,
//! `attack_test.rs`, `…_attack_test.rs`) and has no test of such a name, every test is one. Its place in the document is
//! a row of a table whose first cell is its file. A row may name other tests of that file too; they must be there.

use crate::blank::blanked;
use crate::fuzz;
use crate::tidy::Finding;
use crate::tree::{File, Tree};
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = "docs/security.md";
const TARGETS: &str = "fuzz/src/targets.rs";
/// The heading below which the rows are about fuzz targets.
const FUZZ_HEADING: &str = "## Fuzz targets";

/// What the document's tables say.
#[derive(Default)]
struct Listed<'t> {
    /// Line, file and test.
    tests: Vec<(usize, &'t str, &'t str)>,
    /// Line and name of fuzz targets.
    targets: Vec<(usize, &'t str)>,
}

/// Compares the document with the tree.
pub fn check(tree: &Tree, found: &mut Vec<Finding>) {
    let listed = tree.file(DOCUMENT).map_or_else(Listed::default, |file| read(&file.text));
    attacks(tree, &listed, found);
    targets(tree, &listed, found);
}

fn attacks(tree: &Tree, listed: &Listed<'_>, found: &mut Vec<Finding>) {
    let there: BTreeMap<&str, Vec<String>> =
        tree.rust().map(|file| (file.path.as_str(), tests(&file.text))).collect();
    for file in tree.rust() {
        let path = file.path.as_str();
        for test in attacks_of(file, there.get(path).map_or(&[], Vec::as_slice)) {
            if !listed.tests.iter().any(|(_, row, name)| *row == path && name == test) {
                let message = format!("`{test}` is not in {DOCUMENT}: add it to the row of `{path}`");
                found.push(Finding::error(path, "attacks", message));
            }
        }
    }
    for (line, path, name) in &listed.tests {
        if !there.get(path).is_some_and(|tests| tests.iter().any(|test| test == name)) {
            let message = format!("there is no test `{name}` in `{path}`");
            found.push(Finding::error(format!("{DOCUMENT}:{line}"), "attacks", message));
        }
    }
}

fn targets(tree: &Tree, listed: &Listed<'_>, found: &mut Vec<Finding>) {
    let Some(file) = tree.file(TARGETS) else { return };
    let all = match fuzz::targets(&file.text) {
        Ok(all) => all,
        Err(error) => return found.push(Finding::error(TARGETS, "fuzz targets", error.to_string())),
    };
    let there: BTreeSet<&str> = all.iter().map(|target| target.name.as_str()).collect();
    let said: BTreeSet<&str> = listed.targets.iter().map(|(_, name)| *name).collect();
    for name in there.difference(&said) {
        let message = format!("`{name}` is not in {DOCUMENT}: add it to a row below `{FUZZ_HEADING}`");
        found.push(Finding::error(TARGETS, "fuzz targets", message));
    }
    for (line, name) in listed.targets.iter().filter(|(_, name)| !there.contains(name)) {
        let message = format!("there is no fuzz target `{name}` in {TARGETS}");
        found.push(Finding::error(format!("{DOCUMENT}:{line}"), "fuzz targets", message));
    }
}

/// Which of the tests of this file are the document's business.
fn attacks_of<'n>(file: &File, tests: &'n [String]) -> impl Iterator<Item = &'n String> {
    let name = file.name();
    let named = |test: &String| test.starts_with("attack_");
    let all = (name == "attacks.rs" || name == "attack_test.rs" || name.ends_with("_attack_test.rs"))
        && !tests.iter().any(named);
    tests.iter().filter(move |test| all || named(test))
}

/// The rows of the document.
fn read(text: &str) -> Listed<'_> {
    let mut listed = Listed::default();
    let mut heading = "";
    for (n, line) in text.lines().enumerate() {
        if line.starts_with("## ") {
            heading = line.trim_end();
        }
        let Some((first, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once(" |")) else {
            continue;
        };
        let first = first.trim_end_matches('`');
        if heading == FUZZ_HEADING {
            listed.targets.extend(first.split("`, `").map(|name| (n + 1, name)));
        } else if first.ends_with(".rs") {
            listed.tests.extend(quoted(rest).map(|name| (n + 1, first, name)));
        }
    }
    listed
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of the functions that are tests.
fn tests(source: &str) -> Vec<String> {
    let code = blanked(source);
    let mut names = Vec::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]");
        if let Some((before, rest)) = line.split_once("fn ")
            && (before.is_empty() || before.ends_with(' '))
        {
            let name = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
            if std::mem::take(&mut is_test) && !name.is_empty() {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use crate::tidy::samples::{accepted, refused};

    const FILE: &str = "crates/support-bits/tests/bits.rs";
    const CODE: &str =
        "//! Tests of bits.\nfn help() {}\n#[test]\nfn attack_bits() {}\n#[test]\nfn bits() {}\n";
    const LIST: &str = "//! Targets.\ntargets! {\n    \"bits\" Parser b::c, \"bits\";\n    \"more\" Parser b::d, \"d\";\n}\n";

    /// A row of that file.
    fn row(words: &str) -> String {
        format!("# Security\n\n| file | tests |\n|---|---|\n| `{FILE}` | {words} |\n")
    }

    #[test]
    fn every_attack_is_listed_with_its_file() {
        refused(&[(FILE, CODE)], "attacks", FILE, "`attack_bits` is not in docs/security.md");
        accepted(&[(FILE, CODE), ("docs/security.md", &row("`attack_bits`"))]);
        accepted(&[(FILE, CODE), ("docs/security.md", &row("`attack_bits`, `bits`"))]);
        let other = row("`attack_bits`").replace("bits.rs", "more.rs");
        let more = "crates/support-bits/tests/more.rs";
        let both = [(FILE, CODE), (more, CODE), ("docs/security.md", other.as_str())];
        refused(&both, "attacks", FILE, "add it to the row of");
    }

    #[test]
    fn files_of_attacks_without_such_names_have_nothing_else() {
        let code = "//! Attacks.\n#[test]\nfn loops() {}\n";
        for name in ["attacks.rs", "attack_test.rs", "bits_attack_test.rs"] {
            let file = format!("crates/support-bits/tests/{name}");
            refused(&[(&file, code)], "attacks", &file, "`loops`");
            // Here the one that is named says which are meant.
            refused(&[(&file, CODE)], "attacks", &file, "`attack_bits`");
        }
        accepted(&[("crates/support-bits/tests/loops.rs", code)]);
    }

    #[test]
    fn what_is_listed_is_there() {
        let text = row("`attack_bits`, `attack_bytes`");
        refused(
            &[(FILE, CODE), ("docs/security.md", &text)],
            "attacks",
            "docs/security.md:5",
            "`attack_bytes`",
        );
        // What only helps tests is none.
        let text = row("`attack_bits`, `help`");
        refused(&[(FILE, CODE), ("docs/security.md", &text)], "attacks", "docs/security.md:5", "`help`");
    }

    #[test]
    fn fuzz_targets_are_listed_both_ways() {
        let document =
            |names: &str| format!("# Security\n\n## Fuzz targets\n\n| {names} | bits |\n\n## More\n");
        let list = "fuzz/src/targets.rs";
        accepted(&[(list, LIST), ("docs/security.md", &document("`bits`, `more`"))]);
        let text = document("`bits`");
        refused(&[(list, LIST), ("docs/security.md", &text)], "fuzz targets", list, "`more`");
        let text = document("`bits`, `more`, `most`");
        refused(&[(list, LIST), ("docs/security.md", &text)], "fuzz targets", "docs/security.md:5", "`most`");
    }
}
