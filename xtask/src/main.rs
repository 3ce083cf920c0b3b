//! `cargo xtask`: every chore of the tree, as one Rust program. Each verb is a file of its own.
//!
//! It knows how the tree is kept, and nothing of what a machine is. What a verb does is said by its
//! `--help`; [`VERBS`] is the one place that lists them.
#![forbid(unsafe_code)]

mod blank;
mod boot;
mod boot_balloon;
mod boot_console;
mod boot_firmware;
mod boot_images;
mod boot_microvm;
mod boot_pci;
mod boot_sd;
mod boot_share;
mod boot_sifive;
mod boot_tests;
mod boot_vsock;
mod check;
mod check_steps;
mod check_times;
mod conformance;
mod differential;
mod fat;
mod fuzz;
mod fuzz_coverage;
mod fuzz_planted;
mod fuzz_run;
mod generate;
mod guest;
mod kills;
mod kills_guest;
mod kills_plan;
mod process;
mod tidy;
mod tidy_arrows;
mod tidy_attacks;
mod tidy_lists;
mod tidy_manifests;
mod tidy_sizes;
mod tidy_sources;
mod tidy_words;
mod tree;

use std::process::ExitCode;

/// One verb of `cargo xtask`. To add one: write `src/<verb>.rs` with a `pub fn run`, add a line to
/// [`VERBS`].
struct Verb {
    /// What the user types.
    name: &'static str,
    /// One line for the usage text.
    about: &'static str,
    /// Runs it with the arguments after the verb (`--help` among them). An error is printed and makes
    /// exit status 1; usage errors exit with 2.
    run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

const VERBS: &[Verb] = &[
    Verb { name: "gen", about: "the instruction tables to generated source", run: generate::verb },
    Verb { name: "tidy", about: "the rules of the house, checked on the whole tree", run: tidy::run },
    Verb { name: "check", about: "everything CI runs, timed", run: check::run },
    Verb { name: "boot", about: "guests started and talked to, as a user would", run: boot::run },
    Verb {
        name: "kills",
        about: "machines killed while their guests write, and their disks",
        run: kills::run,
    },
    Verb { name: "fuzz", about: "coverage-guided fuzzing, on the stable toolchain", run: fuzz::run },
    Verb {
        name: "differential",
        about: "random programs and instructions, next to QEMU and the host",
        run: differential::run,
    },
    Verb { name: "conformance", about: "official test programs, built elsewhere", run: conformance::run },
];

/// The verb of that name, if this tree has it.
fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

fn usage() -> String {
    let mut text = String::from("Usage: cargo xtask VERB [ARGUMENT]...   (each verb takes --help)\n\n");
    for verb in VERBS {
        text += &format!("  {:<14}{}\n", verb.name, verb.about);
    }
    text
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(verb) = verb(name) else {
        eprint!("error: no verb `{name}`\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (verb.run)(rest) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Parses a verb's arguments. `--help` and usage errors print and exit here, with 0 and 2.
fn parse<T: clap::Parser>(verb: &str, arguments: &[String]) -> T {
    T::parse_from(std::iter::once(&format!("cargo xtask {verb}")).chain(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_the_usage_once() {
        for v in VERBS {
            assert_eq!(usage().matches(&format!("\n  {:<14}", v.name)).count(), 1, "{}", v.name);
        }
        assert!(verb("no-such-verb").is_none());
    }
}
