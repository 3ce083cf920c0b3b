//! Whole random programs, run by two engines of Hostel and compared at random instruction counts, or run by Hostel and
//! QEMU 10 and compared at their ends.
#![forbid(unsafe_code)]

mod compare;
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
use engines::{ENGINES, find};
use std::process::ExitCode;

/// Compares engines, and Hostel with QEMU 10, on whole random programs.
#[derive(Parser)]
#[command(
    name = "differential-programs",
    after_help = "Examples:\n  cargo xtask differential --isa programs --sample\n  \
    cargo xtask differential --isa programs --engines interp,steps --minutes 10 --seed 7\n  \
    cargo xtask differential --isa programs --number 1234\n  \
    cargo xtask differential --isa programs --mutants"
)]
pub struct Arguments {
    /// A fixed sample, which takes seconds
    #[arg(long)]
    sample: bool,
    /// Stop after so many programs of each kind
    #[arg(long)]
    cases: Option<u64>,
    /// Go on with new programs for so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Go on with new programs for so many hours
    #[arg(long)]
    hours: Option<u64>,
    /// Where the random numbers start
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the program with this number
    #[arg(long)]
    number: Option<u64>,
    /// The two engines: the first is trusted
    #[arg(long, default_value = "interp,interp", value_name = "ENGINE,ENGINE")]
    engines: String,
    /// Compare the first engine with QEMU, and not with the second
    #[arg(long)]
    qemu: bool,
    /// Fail, instead of skipping, if QEMU is not there
    #[arg(long)]
    require: bool,
    /// Plant mistakes in an engine; each must be found
    #[arg(long)]
    mutants: bool,
    /// Say what the programs do, instruction by instruction, instead of comparing
    #[arg(long)]
    coverage: bool,
    /// Print the instructions from one count to another of the program `--number`
    #[arg(long, value_name = "FROM,TO", requires = "number")]
    trace: Option<String>,
    /// Report differences without making their programs smaller first
    #[arg(long)]
    no_shrink: bool,
}

impl Arguments {
    /// The engines that are named.
    ///
    /// # Errors
    /// If there is no such engine, or not two.
    fn pair(&self) -> Result<compare::Pair> {
        let names: Vec<&str> = ENGINES.iter().map(|e| e.name).collect();
        let (first, second) =
            self.engines.split_once(',').context("--engines needs two, as in interp,interp")?;
        let find = |name: &str| {
            find(name)
                .with_context(|| format!("there is no engine `{name}`; the engines are {}", names.join(", ")))
        };
        Ok(compare::Pair { first: find(first)?, second: find(second)? })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all_well = (|| match &arguments {
        Arguments { mutants: true, .. } => session::mutants(&arguments),
        Arguments { trace: Some(range), .. } => session::trace(&arguments, range),
        Arguments { coverage: true, .. } => session::coverage(&arguments),
        Arguments { qemu: true, .. } => session_qemu::run(&arguments),
        Arguments { sample: true, .. } => Ok(session::run(&arguments)? & session_qemu::run(&arguments)?),
        _ => session::run(&arguments),
    })();
    match all_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
