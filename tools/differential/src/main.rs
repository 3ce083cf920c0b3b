//! Hostel against QEMU 10: random programs from the tables, run by both, compared bit by bit.
//!
//! The interpreter and every other engine of Hostel share one meaning per instruction, so that comparing
//! them proves no more than that they agree with each other. Truth comes from outside: `--user` compares
//! unprivileged programs with `qemu-riscv64`, `--system` bare-metal images with `qemu-system-riscv64`,
//! and `--mutants` proves that a wrong meaning would be noticed.
#![forbid(unsafe_code)]

mod assembler;
mod coverage;
mod elf;
mod explained;
mod explained_system;
mod mutants;
mod qemu;
mod random;
mod system;
mod system_case;
mod system_run;
mod system_runtime;
mod system_slots;
mod system_start;
mod system_tables;
mod user;
mod user_case;
mod user_hostel;
mod user_image;

use anyhow::Result;
use clap::Parser;
use coverage::{Coverage, ENOUGH};
use isa_riscv::ROWS;
use isa_riscv::rows::Row;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The seed of the sample, and of every run that names none.
const SEED: u64 = 1;

/// Compares Hostel with QEMU 10 on random programs.
#[derive(Parser)]
#[command(
    name = "differential",
    after_help = "Examples:\n  cargo xtask differential --sample\n  \
    cargo xtask differential --user --minutes 10 --seed 7\n  cargo xtask differential --rows 'fma*' --cases 100000\n  \
    cargo xtask differential --mutants"
)]
struct Arguments {
    /// A fixed sample, which takes seconds
    #[arg(long)]
    sample: bool,
    /// Go on with new programs for so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Stop after so many cases of each kind
    #[arg(long)]
    cases: Option<u64>,
    /// Where the random numbers start
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Only rows whose name matches (`*` stands for anything)
    #[arg(long)]
    rows: Option<String>,
    /// Only user-level programs
    #[arg(long)]
    user: bool,
    /// Only bare-metal images
    #[arg(long)]
    system: bool,
    /// Plant wrong meanings in Hostel; each must be caught
    #[arg(long)]
    mutants: bool,
    /// Fail, instead of skipping, if QEMU is not there
    #[arg(long)]
    require: bool,
}

/// Whether `name` matches `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).any(|i| tail.is_char_boundary(i) && matches(rest, &tail[i..]))
        }),
    }
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<bool> {
    let mut fine = true;
    if arguments.mutants {
        return plant(arguments);
    }
    if !arguments.system {
        fine &= match qemu::missing(qemu::USER) {
            Some(why) => skipped(arguments, &why),
            None => user_level(arguments)?,
        };
    }
    if !arguments.user {
        fine &= match qemu::missing(qemu::SYSTEM) {
            Some(why) => skipped(arguments, &why),
            None => system_level(arguments)?,
        };
    }
    Ok(fine)
}

/// Plants mistakes in the kinds of program asked for.
fn plant(arguments: &Arguments) -> Result<bool> {
    let (user, system) = (!arguments.system, !arguments.user);
    for (wanted, program) in [(user, qemu::USER), (system, qemu::SYSTEM)] {
        if let Some(why) = qemu::missing(program).filter(|_| wanted) {
            return Ok(skipped(arguments, &why));
        }
    }
    mutants::run(arguments.seed, user, system)
}

fn skipped(arguments: &Arguments, why: &str) -> bool {
    println!("skipped: {why}");
    !arguments.require
}

/// How long to go on.
struct Limit {
    end: Option<Instant>,
    cases: Option<u64>,
}

impl Limit {
    fn new(arguments: &Arguments, otherwise: u64) -> Limit {
        let end = arguments.minutes.map(|m| Instant::now() + Duration::from_secs(60 * m));
        let cases = arguments.cases.or_else(|| end.is_none().then_some(otherwise));
        Limit { end, cases }
    }

    /// How many of `wanted` cases to do next, after `done`.
    fn next(&self, done: u64, wanted: usize) -> usize {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return 0;
        }
        let left = self.cases.map_or(u64::MAX, |cases| cases.saturating_sub(done));
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }
}

fn user_level(arguments: &Arguments) -> Result<bool> {
    let pattern = arguments.rows.as_deref().unwrap_or("*");
    let rows: Vec<&'static Row> = ROWS.iter().filter(|row| matches(pattern, row.name)).collect();
    let limit = Limit::new(arguments, if arguments.sample { 4_000 } else { 600_000 });
    let (mut coverage, mut findings) = (Coverage::default(), user::Findings::default());
    let start = Instant::now();
    let mut number = 0;
    loop {
        let n = limit.next(findings.cases, user::BATCH);
        if n == 0 {
            break;
        }
        let batch = user::Batch::new(arguments.seed, number, &rows, n);
        user::compare(&batch, &mut coverage, &mut findings)?;
        number += 1;
        if findings.unexplained.len() >= 20 {
            break;
        }
    }
    let least = if arguments.sample || arguments.cases.is_some() { 1 } else { ENOUGH };
    let (table, mut lacking) = coverage.report(&rows, least, false);
    if pattern == "*" {
        let signals = [4, 5, 7, 11].map(|signal| ("user (signal)", signal));
        lacking.extend(coverage.missing_traps(&signals));
    }
    Ok(conclude(arguments, "user level", &table, lacking, &findings, start))
}

/// Prints what a comparison found; true if all is well.
fn conclude(
    arguments: &Arguments,
    what: &str,
    table: &str,
    mut lacking: Vec<String>,
    findings: &user::Findings,
    start: Instant,
) -> bool {
    if arguments.sample {
        lacking.clear();
    } else {
        println!("{table}");
    }
    for report in &findings.unexplained {
        println!("UNEXPLAINED, seed {}: {report}", arguments.seed);
    }
    for (name, count) in &findings.explained {
        println!("explained: {count} cases of {name}: {}", explained::reason(name));
    }
    for what in &lacking {
        println!("NOT COVERED: {what}");
    }
    println!(
        "{what}: {} cases, {} unexplained differences, seed {}, {:.1} s",
        findings.cases,
        findings.differing,
        arguments.seed,
        start.elapsed().as_secs_f64()
    );
    findings.differing == 0 && lacking.is_empty()
}

fn system_level(arguments: &Arguments) -> Result<bool> {
    let limit = Limit::new(arguments, if arguments.sample { 512 } else { 50_000 });
    let (mut coverage, mut findings) = (Coverage::default(), user::Findings::default());
    let start = Instant::now();
    let mut number = 0;
    loop {
        let n = limit.next(findings.cases, system_runtime::CASES);
        if n == 0 {
            break;
        }
        let batch = system::Batch::new(arguments.seed, number, n);
        system::compare(&batch, &mut coverage, &mut findings)?;
        number += 1;
        if findings.unexplained.len() >= 20 {
            break;
        }
    }
    let rows: Vec<&'static Row> = system_case::rows().collect();
    let least = if arguments.sample || arguments.cases.is_some() { 1 } else { ENOUGH };
    let (table, lacking) = coverage.report(&rows, least, true);
    Ok(conclude(arguments, "system level", &table, lacking, &findings, start))
}
