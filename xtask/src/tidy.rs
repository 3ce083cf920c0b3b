//! `cargo xtask tidy`: the rules of the house that a program can check, checked on the whole tree.
//!
//! Each `tidy_*.rs` holds the rules about one kind of thing and their tests; this file runs them.

use crate::tree::{self, Tree};
use crate::{tidy_arrows, tidy_attacks, tidy_manifests, tidy_sizes, tidy_sources, tidy_words};
use anyhow::Result;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path, and `:line` where there is one.
    pub place: String,
    /// Short name of the rule.
    pub rule: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Said, but not refused.
    pub warning: bool,
}

impl Finding {
    /// A finding that fails the check.
    pub fn error(place: impl Into<String>, rule: &'static str, message: impl Into<String>) -> Self {
        Finding { place: place.into(), rule, message: message.into(), warning: false }
    }

    /// A finding that is only said.
    pub fn warning(place: impl Into<String>, rule: &'static str, message: impl Into<String>) -> Self {
        Finding { warning: true, ..Finding::error(place, rule, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.warning { "warning" } else { "error" };
        write!(f, "{word}[{}]: {}: {}", self.rule, self.place, self.message)
    }
}

/// Every finding on the tree below `root`, by place.
///
/// # Errors
/// If the tree cannot be read.
pub fn findings(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let mut all = Vec::new();
    tidy_arrows::check(&tree, &mut all);
    tidy_attacks::check(&tree, &mut all);
    tidy_manifests::check(&tree, &mut all);
    tidy_sizes::check(&tree, &mut all);
    tidy_sources::check(&tree, &mut all);
    tidy_words::check(&tree, &mut all);
    all.sort();
    Ok(all)
}

/// Checks the rules of the house on the whole tree
#[derive(clap::Parser)]
#[command(after_help = "Rules, limits and the lists of exceptions (xtask/allowed-*.txt) are described in \
                        CONTRIBUTING.md. Exit status: 0 clean (warnings allowed), 1 an error was found.")]
struct Options {
    /// Say errors only, no warnings
    #[arg(long)]
    quiet: bool,
}

/// The verb.
///
/// # Errors
/// If the tree cannot be read, or the generator cannot be run.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("tidy", arguments);
    let all = findings(&tree::root())?;
    for finding in all.iter().filter(|f| !(options.quiet && f.warning)) {
        println!("{finding}");
    }
    let warnings = all.iter().filter(|f| f.warning).count();
    let errors = all.len() - warnings;
    let fresh = generated_is_fresh();
    println!("tidy: {errors} errors, {warnings} warnings{}", fresh.unwrap_or("; generated code is stale"));
    Ok(if errors == 0 && fresh.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the committed generated code is what the generator writes: `None` if not, else what to
/// say of it. The verb `gen` must take `--check` and then write nothing and fail on any difference.
fn generated_is_fresh() -> Option<&'static str> {
    let Some(generator) = crate::verb("gen") else {
        return Some("; no generator in this tree");
    };
    match (generator.run)(&["--check".to_owned()]) {
        Ok(ExitCode::SUCCESS) => Some("; generated code is fresh"),
        Ok(_) => None,
        Err(error) => {
            println!("error[generated]: {error:#}");
            None
        }
    }
}

#[cfg(test)]
pub mod samples {
    //! Small trees for the tests of the rules.

    use super::Finding;
    use std::fs;

    /// What a tree starts as: one good crate of each of the layers support, isa and dev, and the binary.
    const GOOD: &[(&str, &str)] = &[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\"]\n[workspace.package]\nlicense = \"MIT OR Apache-2.0\"\n\
             rust-version = \"1.95\"\nedition = \"2024\"\n",
        ),
        ("LICENSE-MIT", "MIT\n"),
        ("LICENSE-APACHE", "Apache\n"),
        ("crates/support-bits/src/lib.rs", "//! Bits.\n//! It knows no machine.\n#![forbid(unsafe_code)]\n"),
        ("crates/isa-core/src/lib.rs", STRICT),
        ("crates/dev-uart/src/lib.rs", STRICT),
        ("crates/hostel/src/main.rs", "//! The binary.\n#![forbid(unsafe_code)]\nfn main() {}\n"),
    ];

    /// A good root of a crate that guest values reach.
    pub const STRICT: &str = "//! A crate.\n//! It knows nothing.\n#![forbid(unsafe_code)]\n\
        #![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]\n";

    /// A manifest as every crate has it, with these lines of `[dependencies]` and what follows.
    pub fn manifest(name: &str, dependencies: &str) -> String {
        format!(
            "[package]\nname = \"{name}\"\nversion.workspace = true\nedition.workspace = true\n\
             rust-version.workspace = true\nlicense.workspace = true\npublish = false\n\
             [lints]\nworkspace = true\n[dependencies]\n{dependencies}\n"
        )
    }

    /// What tidy says of the good tree with these files added or replaced.
    pub fn of(changes: &[(&str, &str)]) -> Vec<Finding> {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, text) in GOOD {
            write(path, text);
            if let Some(krate) = path.strip_prefix("crates/").and_then(|p| p.split('/').next()) {
                write(&format!("crates/{krate}/Cargo.toml"), &manifest(krate, ""));
            }
        }
        for (path, text) in changes {
            write(path, text);
        }
        super::findings(folder.path()).unwrap()
    }

    /// Expects exactly one finding, of `rule`, in a place that begins so, whose message has `words` in it.
    #[track_caller]
    pub fn refused(changes: &[(&str, &str)], rule: &str, place: &str, words: &str) {
        let found = of(changes);
        let [one] = found.as_slice() else { panic!("expected one finding of {rule}: {found:#?}") };
        assert_eq!(one.rule, rule, "{one}");
        assert!(one.place.starts_with(place), "{one}");
        assert!(one.message.contains(words), "{one}");
        assert!(!one.warning, "{one}");
    }

    /// Expects no finding at all.
    #[track_caller]
    pub fn accepted(changes: &[(&str, &str)]) {
        assert_eq!(of(changes), [], "{changes:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_tree_is_clean() {
        samples::accepted(&[]);
    }

    #[test]
    fn this_tree_is_tidy() {
        let errors: Vec<String> = findings(&tree::root())
            .unwrap()
            .into_iter()
            .filter(|f| !f.warning)
            .map(|f| f.to_string())
            .collect();
        assert!(errors.is_empty(), "\n{}", errors.join("\n"));
    }

    #[test]
    fn generated_code_is_fresh() {
        assert!(generated_is_fresh().is_some());
    }
}
