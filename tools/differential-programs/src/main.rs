//! Whole random programs, run by two engines of Hostel and compared at random instruction counts, or run by Hostel and
//! QEMU 10 and compared at their ends.
#![forbid(unsafe_code)]

mod compare;
mod counts;
mod coverage;
mod elsewhere;
mod engines;
mod machine;
mod mutants;
mod report;
mod session;
mod session_qemu;

use anyhow::{Context, Result};
use clap::Parser;
use differential_core::{MINUTES, exit_code};
use differential_riscv::Engine as Translator;
use engines::{ENGINES, find};
use std::process::ExitCode;

/// Compares engines, and Hostel with QEMU 10, on whole random programs.
#[derive(Parser)]
#[command(
    name = "differential-programs",
    after_help = "Examples:\n  cargo xtask differential --isa programs --sample\n  \
    cargo xtask differential --isa programs --engines interp,jit-late --minutes 10 --seed 7\n  \
    cargo xtask differential --isa programs --number 1234\n  \
    cargo xtask differential --isa programs --mutants"
)]
pub struct Arguments {
    /// A fixed sample, which takes seconds: of engines, and of the first engine and QEMU
    #[arg(long, conflicts_with_all = ["cases", "minutes", "number", "qemu", "mutants", "coverage", "trace"])]
    sample: bool,
    /// Stop after so many programs
    #[arg(long, conflicts_with_all = ["number", "mutants"], value_parser = clap::value_parser!(u64).range(1..=MOST))]
    cases: Option<u64>,
    /// Go on with new programs for so many minutes
    #[arg(
        long,
        conflicts_with_all = ["number", "mutants", "coverage"],
        value_parser = clap::value_parser!(u64).range(1..=MINUTES)
    )]
    minutes: Option<u64>,
    /// Where the random numbers start
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the program with this number
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(..=MOST))]
    number: Option<u64>,
    /// The two engines, of which the first is trusted: interp, steps, jit, jit-small, jit-late,
    /// jit-first, jit-second [default: interp,jit]
    #[arg(long, value_name = "ENGINE,ENGINE", conflicts_with = "mutants")]
    engines: Option<String>,
    /// Compare the first engine with QEMU, and not with the second
    #[arg(long, conflicts_with = "mutants")]
    qemu: bool,
    /// Fail, instead of skipping, if QEMU or what the translator needs is not there
    #[arg(long, conflicts_with_all = ["mutants", "coverage", "trace"])]
    require: bool,
    /// Plant mistakes in an engine; each must be found
    #[arg(long)]
    mutants: bool,
    /// Say what the programs (those for QEMU with `--qemu`) do, instruction by instruction, instead of comparing
    #[arg(long, conflicts_with_all = ["mutants", "trace"])]
    coverage: bool,
    /// Print the instructions from one count to another of the program `--number` (one for QEMU with `--qemu`)
    #[arg(long, value_name = "FROM,TO", requires = "number", conflicts_with = "mutants")]
    trace: Option<String>,
    /// Report differences without making their programs smaller first
    #[arg(long, conflicts_with_all = ["mutants", "coverage", "trace"])]
    no_shrink: bool,
}

/// The highest number of a program, and the most of them: far more than can be run.
const MOST: u64 = 1 << 48;

impl Arguments {
    /// What the translator lacks here, if it would have been compared by default.
    fn untranslated(&self) -> Option<&'static str> {
        Translator::Jit.missing().filter(|_| self.engines.is_none())
    }

    /// The engines that are named.
    ///
    /// # Errors
    /// If there is no such engine, or not two.
    fn pair(&self) -> Result<compare::Pair> {
        let names: Vec<&str> = ENGINES.iter().map(|e| e.name).collect();
        let default = if self.untranslated().is_some() { "interp,steps" } else { "interp,jit" };
        let (first, second) = self
            .engines
            .as_deref()
            .unwrap_or(default)
            .split_once(',')
            .context("--engines needs two, as in interp,jit")?;
        let find = |name: &str| {
            find(name)
                .with_context(|| format!("there is no engine `{name}`; the engines are {}", names.join(", ")))
        };
        Ok(compare::Pair { first: find(first)?, second: find(second)? })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_code((|| match &arguments {
        Arguments { mutants: true, .. } => session::mutants(&arguments),
        Arguments { trace: Some(range), .. } => session::trace(&arguments, range),
        Arguments { coverage: true, .. } => session::coverage(&arguments),
        Arguments { qemu: true, .. } => session_qemu::run(&arguments),
        Arguments { sample: true, .. } => Ok(session::run(&arguments)? & session_qemu::run(&arguments)?),
        _ => session::run(&arguments),
    })())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
        let refused = |line: &str| Arguments::try_parse_from(line.split(' ')).is_err();
        let all = "p --cases 0|p --minutes 0|p --minutes 99999999|p --number 18446744073709551615|p --trace 1,2\
                   |p --sample --qemu|p --mutants --number 1|p --number 1 --minutes 1|p --hours 1";
        all.split('|').for_each(|line| assert!(refused(line), "{line}"));
        assert!(!refused("p --qemu --coverage --cases 3") && !refused("p --engines interp,jit --minutes 6"));
    }
}
