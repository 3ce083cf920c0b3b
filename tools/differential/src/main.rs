//! Hostel against QEMU 10: random programs from the tables, run by both, compared bit by bit.
//!
//! The interpreter and every other engine of Hostel share one meaning per instruction, so that comparing
//! them proves no more than that they agree with each other. Truth comes from outside: `--user` compares
//! unprivileged programs with `qemu-riscv64`, `--system` bare-metal images with `qemu-system-riscv64`,
//! and `--mutants` proves that a wrong meaning would be noticed.
#![forbid(unsafe_code)]

mod coverage;
mod elf;
mod engine;
mod explained;
mod explained_system;
mod mutants;
mod mutants_system;
mod system;
mod system_case;
mod system_run;
mod system_runtime;
mod system_slots;
mod system_start;
mod system_tables;
mod user;
mod user_case;
mod user_draft;
mod user_hostel;
mod user_image;

use anyhow::Result;
use clap::Parser;
use coverage::{Coverage, ENOUGH};
use differential_core::{Limit, MINUTES, exit_code, matches};
use isa_riscv::ROWS;
use isa_riscv::rows::Row;
use random_programs::{assembler, random};
use std::process::ExitCode;
use std::time::Instant;
use user::Findings;

/// A level that differs in so many ways is not run any further.
const ENOUGH_REPORTS: usize = 20;
/// The seed of the sample, and of every run that names none.
const SEED: u64 = 1;

/// Compares Hostel with QEMU 10 on random programs.
#[derive(Parser)]
#[command(
    name = "differential",
    after_help = "Examples:\n  cargo xtask differential --sample\n  \
    cargo xtask differential --user --minutes 10 --seed 7\n  cargo xtask differential --rows 'fma*' --cases 100000\n  \
    cargo xtask differential --engine jit --sample\n  \
    cargo xtask differential --mutants\n\nThis is RISC-V's; x86-64's is `cargo xtask differential --isa x86`."
)]
struct Arguments {
    /// A fixed sample, which takes seconds
    #[arg(long, conflicts_with_all = ["minutes", "cases", "mutants"])]
    sample: bool,
    /// Go on with new programs for so many minutes
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(1..=MINUTES))]
    minutes: Option<u64>,
    /// Stop after so many cases of each kind
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(1..))]
    cases: Option<u64>,
    /// Where the random numbers start
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Only rows whose name matches (`*` stands for anything); bare-metal images have all
    #[arg(long, conflicts_with_all = ["mutants", "system"])]
    rows: Option<String>,
    /// Only user-level programs
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// Only bare-metal images
    #[arg(long)]
    system: bool,
    /// Which of Hostel's engines is compared
    #[arg(long, value_enum, default_value_t)]
    engine: engine::Engine,
    /// Plant wrong meanings in Hostel's interpreter; each must be caught
    #[arg(long, conflicts_with = "engine")]
    mutants: bool,
    /// Fail, instead of skipping, if QEMU is not there
    #[arg(long)]
    require: bool,
}

fn main() -> ExitCode {
    exit_code(compare(&Arguments::parse()))
}

fn compare(arguments: &Arguments) -> Result<bool> {
    engine::choose(arguments.engine);
    if arguments.mutants {
        return plant(arguments);
    }
    let rows = rows(arguments)?;
    let (there, fine) = available(arguments);
    if there == [false, false] {
        return Ok(fine);
    }
    let mut session = Session::new(arguments, rows, there);
    session.run()?;
    Ok(session.conclude() && fine)
}

/// The rows asked for.
///
/// # Errors
/// If there is none.
fn rows(arguments: &Arguments) -> Result<Vec<&'static Row>> {
    let pattern = arguments.rows.as_deref().unwrap_or("*");
    let rows: Vec<&Row> = ROWS.iter().filter(|row| matches(pattern, row.name)).collect();
    anyhow::ensure!(!rows.is_empty(), "no row is called `{pattern}`");
    Ok(rows)
}

/// Which of user level and bare metal are wanted and there; and whether all is well with one that is not there.
fn available(arguments: &Arguments) -> ([bool; 2], bool) {
    let (mut fine, mut there) = (true, [!arguments.system, !arguments.user]);
    for (wanted, program) in there.iter_mut().zip([differential_riscv::USER, differential_riscv::SYSTEM]) {
        if let Some(why) = differential_riscv::missing(program).filter(|_| *wanted) {
            println!("skipped: {why}");
            *wanted = false;
            fine &= !arguments.require;
        }
    }
    (there, fine)
}

/// Plants mistakes in the kinds of program asked for, as far as QEMU is there.
fn plant(arguments: &Arguments) -> Result<bool> {
    let ([user, system], fine) = available(arguments);
    Ok((!user && !system || mutants::run(arguments.seed, user, system)?) && fine)
}

/// How many of `wanted` cases to do next, after `done`.
fn next(limit: &Limit, done: u64, wanted: usize) -> usize {
    usize::try_from(limit.left(done)).unwrap_or(usize::MAX).min(wanted)
}

/// Both levels, one program of each after the other.
struct Session<'a> {
    arguments: &'a Arguments,
    rows: Vec<&'static Row>,
    coverage: Coverage,
    /// What user-level programs and bare-metal images found; `None` for a level that is not run.
    found: [Option<Findings>; 2],
    start: Instant,
}

impl<'a> Session<'a> {
    fn new(arguments: &'a Arguments, rows: Vec<&'static Row>, levels: [bool; 2]) -> Session<'a> {
        let found = levels.map(|wanted| wanted.then(Findings::default));
        Session { arguments, rows, coverage: Coverage::default(), found, start: Instant::now() }
    }

    fn run(&mut self) -> Result<()> {
        let (seed, sample) = (self.arguments.seed, self.arguments.sample);
        let limit = |otherwise| Limit::new(self.arguments.minutes, self.arguments.cases, otherwise);
        let user_limit = limit(if sample { 4_000 } else { 600_000 });
        let system_limit = limit(if sample { 1_024 } else { 50_000 });
        for number in 0.. {
            let mut more = false;
            let [user, system] = &mut self.found;
            if let Some(found) = user {
                let n = next(&user_limit, found.cases, user::BATCH);
                if n > 0 && found.unexplained.len() < ENOUGH_REPORTS {
                    let batch = user::Batch::new(seed, number, &self.rows, n);
                    user::compare(&batch, &mut self.coverage, found)?;
                    more = true;
                }
            }
            if let Some(found) = system {
                let n = next(&system_limit, found.cases, system_runtime::CASES);
                if n > 0 && found.unexplained.len() < ENOUGH_REPORTS {
                    let batch = system::Batch::new(seed, number, n);
                    system::compare(&batch, &mut self.coverage, found)?;
                    more = true;
                }
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Prints what was found; true if all is well.
    fn conclude(&mut self) -> bool {
        let lacking = self.coverage();
        let mut fine = lacking.is_empty();
        for (level, found) in ["user level", "system level"].iter().zip(&self.found) {
            let Some(found) = found else { continue };
            for report in &found.unexplained {
                println!("UNEXPLAINED, {level}, seed {}: {report}", self.arguments.seed);
            }
            for (name, count) in &found.explained {
                println!("explained, {level}: {count} cases of {name}: {}", explained::reason(name));
            }
            fine &= found.differing == 0;
        }
        lacking.iter().for_each(|what| println!("NOT COVERED: {what}"));
        for (level, found) in ["user level", "system level"].iter().zip(&self.found) {
            let Some(found) = found else { continue };
            let explained: u64 = found.explained.values().sum();
            println!(
                "{level}: {} cases, {} unexplained differences, {explained} explained, seed {}",
                found.cases, found.differing, self.arguments.seed
            );
        }
        println!("differential: {:.1} s", self.start.elapsed().as_secs_f64());
        fine
    }

    /// Prints what was executed, unless this is a sample; gives what should have been and was not.
    fn coverage(&mut self) -> Vec<String> {
        let [user, system] = [self.found[0].is_some(), self.found[1].is_some()];
        if self.arguments.sample || !(user || system) {
            return Vec::new();
        }
        let rows: Vec<&'static Row> = if user { self.rows.clone() } else { system_case::rows().collect() };
        let least = if self.arguments.cases.is_some() { 1 } else { ENOUGH };
        let (table, mut lacking) = self.coverage.report(&rows, least, system);
        println!("{table}");
        if user && self.arguments.rows.is_none() {
            lacking.extend(self.coverage.missing_traps(&[4, 5, 7, 11].map(|s| ("user (signal)", s))));
        }
        if system {
            lacking.extend(self.coverage.missing_traps(&coverage::system_traps()));
        }
        lacking
    }
}
