//! `cargo xtask fuzz`: coverage-guided fuzzing on the stable toolchain.
//!
//! The compiler's coverage pass and libFuzzer do the work; `fuzz/src/targets.rs` lists the targets.

use crate::{fuzz_planted, fuzz_run, tree};
use anyhow::{Context, Result, bail};
use std::process::ExitCode;

/// Fuzzes every target, or those named, and reports the coverage reached
#[derive(clap::Parser)]
#[command(after_help = "Examples:\n  \
    cargo xtask fuzz                       every target, ten seconds each\n  \
    cargo xtask fuzz bus --seconds 3600    one target, an hour\n  \
    cargo xtask fuzz bus --unreached       and the functions that no input reached\n  \
    cargo xtask fuzz --planted             prove that each kind of target finds a planted bug\n\n\
    What was learned is kept in target/fuzz-corpus/TARGET and used again. An input that breaks a \
    target is kept in target/fuzz-found/TARGET; once mended, commit it to fuzz/seeds/TARGET, where \
    `cargo test` replays it. Needs a C++ compiler (apt install g++).")]
struct Options {
    /// Targets (default: all)
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long, for each target
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Say which targets there are and do nothing
    #[arg(long, conflicts_with_all = ["planted", "unreached"])]
    list: bool,
    /// Look for a bug on purpose of each kind of target, at most a minute each
    #[arg(long, conflicts_with_all = ["targets", "seconds", "unreached"])]
    planted: bool,
    /// Name the functions that no input reached
    #[arg(long)]
    unreached: bool,
}

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Name on the command line.
    pub name: String,
    /// What the bytes are to it.
    pub kind: String,
    /// One line for `--list`.
    pub about: String,
}

/// The lines of `targets! { … }`: `"NAME" KIND PATH, "ABOUT";`.
///
/// # Errors
/// If there is no list, or a line of it is not of this form.
pub fn targets(source: &str) -> Result<Vec<Target>> {
    let list = source.split("\ntargets! {").nth(1).context("fuzz/src/targets.rs has no `targets! {`")?;
    let list = list.split("\n}").next().unwrap_or_default();
    let mut all = Vec::new();
    for line in list.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//")) {
        let parts: Vec<&str> = line.split('"').collect();
        let [_, name, middle, about, ";"] = parts.as_slice() else {
            bail!(
                "fuzz/src/targets.rs: expected `\"NAME\" KIND PATH, \"ABOUT\";` on one line, found: {line}"
            );
        };
        let kind = middle.split_whitespace().next().unwrap_or_default();
        all.push(Target { name: (*name).into(), kind: kind.into(), about: (*about).into() });
    }
    Ok(all)
}

/// The verb.
///
/// # Errors
/// If a target does not exist or cannot be built.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("fuzz", arguments);
    let path = tree::root().join("fuzz/src/targets.rs");
    let source = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all = targets(&source)?;
    if options.list {
        all.iter().for_each(|t| println!("{:<18}{:<9}{}", t.name, t.kind, t.about));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(wrong) = options.targets.iter().find(|name| all.iter().all(|t| t.name != **name)) {
        bail!("no target `{wrong}`; `cargo xtask fuzz --list` says which there are");
    }
    let named = |t: &&Target| options.targets.is_empty() || options.targets.contains(&t.name);
    let chosen: Vec<&Target> = all.iter().filter(named).collect();
    let good = if options.planted {
        fuzz_planted::run(&chosen)?
    } else {
        fuzz_run::run(&chosen, options.seconds, options.unreached)?
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_trees_list_is_read() {
        let source = std::fs::read_to_string(tree::root().join("fuzz/src/targets.rs")).unwrap();
        let all = targets(&source).unwrap();
        assert!(all.iter().any(|t| t.name == "bus" && t.kind == "Device"), "{all:?}");
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused() {
        let source = "x\ntargets! {\n    // why\n    \"a\" Parser b::c, \"d\";\n}\n";
        let one = Target { name: "a".into(), kind: "Parser".into(), about: "d".into() };
        assert_eq!(targets(source).unwrap(), [one]);
        assert!(targets("\ntargets! {\n    \"a\" Parser b::c,\n}\n").is_err());
        assert!(targets("").is_err());
    }
}
