//! Rules about Rust source: a module comment first, no `unsafe` off its islands, no panics on guest
//! values, no unfinished or ignored code, no folders in `src/`, no orphans.

use crate::blank::blanked;
use crate::tidy::Finding;
use crate::tidy_arrows::layer;
use crate::tree::{File, Package, Tree};

/// The crates that may say `unsafe`, and why they must.
const ISLANDS: &[&str] = &[
    "support-hostmap", // host mappings
    "fabric-ram",      // guest memory
    "host-tap",        // requests of /dev/net/tun
    "engine-jit",      // runs the code it wrote
    "engine-emit",     // writes code
    "engine-kvm",      // system calls on shared structures
    "engine-direct",   // signal frames, guest code run natively
    "hostel-fuzz",     // reads the compiler's coverage counters; not part of the product
    "hostcpu",         // runs one instruction natively, as a test's oracle; not part of the product
];

/// Layers that guest values reach, where a panic is the guest's doing.
const GUARDED: [&str; 3] = ["isa", "dev", "fabric"];
const GUARDS: [&str; 3] = ["clippy::unwrap_used", "clippy::expect_used", "clippy::indexing_slicing"];
/// Runs at build time on our own tables.
const UNGUARDED: [&str; 1] = ["isa-table"];

/// Code nobody finished, or that nobody runs.
const UNFINISHED: [(&str, &str); 4] = [
    ("#[ignore", "no test is ignored; assert today's behaviour and say what is wrong with it"),
    ("todo!", "finish it or leave it out"),
    ("unimplemented!", "finish it or leave it out"),
    ("dbg!", "left over from debugging"),
];

/// Looks at every Rust file and at the roots of every crate.
pub fn check(tree: &Tree, found: &mut Vec<Finding>) {
    for file in tree.rust() {
        source(file, found);
    }
    for package in &tree.packages {
        folders(package, tree, found);
        orphans(package, tree, found);
        for root in ["src/lib.rs", "src/main.rs"] {
            if let Some(file) = tree.file(&format!("{}/{root}", package.folder)) {
                crate_root(package, file, found);
            }
        }
    }
}

fn source(file: &File, found: &mut Vec<Finding>) {
    if !file.text.starts_with("//! ") {
        let message = "the first line must be a `//!` comment that says what the file is";
        found.push(Finding::error(format!("{}:1", file.path), "module comment", message));
    }
    for (n, line) in blanked(&file.text).lines().enumerate() {
        for (word, message) in UNFINISHED {
            if let Some(at) = line.find(word)
                && !line
                    .get(..at)
                    .and_then(|s| s.chars().next_back())
                    .is_some_and(|c| c.is_alphanumeric() || c == '_')
            {
                found.push(Finding::error(
                    format!("{}:{}", file.path, n + 1),
                    "unfinished",
                    format!("`{word}`: {message}"),
                ));
            }
        }
    }
}

fn crate_root(package: &Package, file: &File, found: &mut Vec<Finding>) {
    let name = package.name.as_str();
    let code = blanked(&file.text);
    let mut error = |rule, message: String| found.push(Finding::error(file.path.as_str(), rule, message));
    if !ISLANDS.contains(&name) && !inner(&code, &["forbid"]).contains(&"unsafe_code") {
        error("unsafe", format!("`{name}` is no island of unsafe: say #![forbid(unsafe_code)]"));
    }
    if file.name() != "lib.rs" {
        return;
    }
    if GUARDED.contains(&layer(name)) && !UNGUARDED.contains(&name) {
        let denied = inner(&code, &["deny", "forbid"]);
        for guard in GUARDS.iter().filter(|g| !denied.contains(g)) {
            error("guest values", format!("guest values reach `{name}`: say #![deny({guard})]"));
        }
    }
    if file.text.lines().take_while(|l| l.starts_with("//!")).filter(|l| l.len() > 4).count() < 2 {
        let message =
            "the crate's comment must say what it is and what it deliberately does not know".to_owned();
        error("crate comment", message);
    }
}

/// The lints in `#![LEVEL(…)]` attributes of these levels.
fn inner<'c>(code: &'c str, levels: &[&str]) -> Vec<&'c str> {
    let mut lints = Vec::new();
    for level in levels {
        for part in code.split(&format!("#![{level}(")).skip(1) {
            let list = part.split(')').next().unwrap_or_default();
            lints.extend(list.split(',').map(str::trim));
        }
    }
    lints
}

fn folders(package: &Package, tree: &Tree, found: &mut Vec<Finding>) {
    let src = format!("{}/src/", package.folder);
    let mut seen = Vec::new();
    for rest in tree.files.iter().filter_map(|f| f.path.strip_prefix(&src)) {
        if let Some((folder, _)) = rest.split_once('/')
            && !seen.contains(&folder)
        {
            seen.push(folder);
            let message = "no folders in src/: a crate that wants one wants to be two";
            found.push(Finding::error(format!("{src}{folder}"), "folder", message));
        }
    }
}

/// Files that no `mod` names are never compiled and rot unseen.
fn orphans(package: &Package, tree: &Tree, found: &mut Vec<Finding>) {
    let src = format!("{}/src/", package.folder);
    let inside = || tree.rust().filter(|f| f.path.starts_with(&src));
    for file in inside().filter(|f| f.name() != "lib.rs" && f.name() != "main.rs") {
        let stem = file.name().trim_end_matches(".rs");
        let (module, path) = (format!("mod {stem};"), format!("{stem}.rs\""));
        if !inside().any(|f| f.text.contains(&module) || f.text.contains(&path)) {
            let message = format!("no `mod {stem};` names this file: it is never compiled");
            found.push(Finding::error(file.path.as_str(), "orphan", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::samples::{STRICT, accepted, manifest, of, refused};

    const BITS: &str = "crates/support-bits/src/lib.rs";
    const ISA: &str = "crates/isa-core/src/lib.rs";
    const HEAD: &str = "//! Bits.\n//! It knows no machine.\n#![forbid(unsafe_code)]\n";

    #[test]
    fn every_file_says_what_it_is() {
        let lib = format!("{HEAD}mod words;\n");
        let words = "crates/support-bits/src/words.rs";
        for text in ["fn f() {}\n", "// Words.\n", "\n//! Words.\n", ""] {
            refused(&[(BITS, &lib), (words, text)], "module comment", words, "first line");
        }
        accepted(&[(BITS, &lib), (words, "//! Words.\n")]);
    }

    #[test]
    fn unsafe_stays_on_its_islands() {
        for text in [
            HEAD.replace("#![forbid(unsafe_code)]\n", ""),
            HEAD.replace("#![forbid", "#![deny"),
            HEAD.replace("#![forbid", "// #![forbid"),
        ] {
            refused(&[(BITS, &text)], "unsafe", BITS, "no island");
        }
        let island = manifest("support-hostmap", "");
        let source = HEAD.replace("#![forbid(unsafe_code)]\n", "");
        let root = "crates/support-hostmap";
        accepted(&[(&format!("{root}/Cargo.toml"), &island), (&format!("{root}/src/lib.rs"), &source)]);
        let main = ("crates/hostel/src/main.rs", "//! The binary.\nfn main() {}\n");
        refused(&[main], "unsafe", main.0, "`hostel` is no island");
    }

    #[test]
    fn guest_values_are_guarded() {
        let text = STRICT.replace(", clippy::indexing_slicing", "");
        refused(&[(ISA, &text)], "guest values", ISA, "clippy::indexing_slicing");
        assert_eq!(of(&[(ISA, HEAD)]).len(), 3);
        let text = STRICT.replace("#![deny(", "#![deny(\n    missing_docs,\n    ");
        accepted(&[(ISA, &text)]);
    }

    #[test]
    fn nothing_is_unfinished_or_ignored() {
        for code in [
            "#[ignore]\nfn f() {}",
            "#[ignore = \"slow\"]\nfn f() {}",
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"x\") }",
            "fn f() { dbg!(1); }",
        ] {
            refused(
                &[(BITS, &format!("{HEAD}{code}\n"))],
                "unfinished",
                "crates/support-bits/src/lib.rs:4",
                "`",
            );
        }
        accepted(&[(BITS, &format!("{HEAD}// todo!() is refused\nconst S: &str = \"dbg!\";\n"))]);
    }

    #[test]
    fn src_is_flat_and_all_compiled() {
        let inner = ("crates/support-bits/src/words/mod.rs", "//! Words.\n");
        let lib = format!("{HEAD}#[path = \"words/mod.rs\"]\nmod words;\n");
        refused(&[(BITS, &lib), inner], "folder", "crates/support-bits/src/words", "wants to be two");
        let lost = ("crates/support-bits/src/lost.rs", "//! Lost.\n");
        refused(&[lost], "orphan", lost.0, "never compiled");
    }

    #[test]
    fn a_crate_says_what_it_does_not_know() {
        let text = "//! Bits.\n#![forbid(unsafe_code)]\n";
        refused(&[(BITS, text)], "crate comment", BITS, "does not know");
    }
}
