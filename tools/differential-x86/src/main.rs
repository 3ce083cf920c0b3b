//! The meanings of x86-64 user-level instructions against the processor of the host.
//!
//! Random instructions of every row, with random registers, flags and memory, are run by both; registers, flags where
//! the manual defines them, memory and exceptions must be the same. `--mutants` proves that a wrong meaning would be
//! noticed.
#![forbid(unsafe_code)]

mod batch;
mod bytes;
mod case;
mod compare;
mod explained;
mod explained_amd;
#[cfg(test)]
mod lifted;
mod mutants;
mod random;
mod rows;
mod undefined;

use anyhow::{Context, Result};
use batch::{Bench, CASES, Seen};
use bytes::Template;
use clap::Parser;
use compare::flag_names;
use differential_core::{Limit, MINUTES, exit_code, matches};
use hostcpu::Oracle;
use isa_x86::testkit::TestMachine;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

/// A run that differs in so many ways is not run any further.
const ENOUGH_REPORTS: usize = 20;
/// The seed of the sample, and of every run that names none.
const SEED: u64 = 1;
/// Cases of the sample, which takes seconds.
const SAMPLE: u64 = 1_000_000;

/// Compares the meanings of x86-64 user-level instructions with the host's processor.
#[derive(Parser)]
#[command(
    name = "differential-x86",
    after_help = "Examples:\n  cargo xtask differential --isa x86 --sample\n  \
    cargo xtask differential --isa x86 --minutes 10 --seed 7\n  \
    cargo xtask differential --isa x86 --rows 'Shld*' --cases 100000\n  cargo xtask differential --isa x86 --mutants"
)]
struct Arguments {
    /// A fixed sample, which takes seconds
    #[arg(long, conflicts_with_all = ["minutes", "cases", "mutants"])]
    sample: bool,
    /// Go on with new cases for so many minutes
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(1..=MINUTES))]
    minutes: Option<u64>,
    /// Stop after so many cases
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(1..))]
    cases: Option<u64>,
    /// Where the random numbers start
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Only rows whose name matches (`*` stands for anything)
    #[arg(long, conflicts_with = "mutants")]
    rows: Option<String>,
    /// Plant wrong meanings; each must be caught
    #[arg(long)]
    mutants: bool,
    /// Fail, instead of skipping, if the host has no such processor
    #[arg(long)]
    require: bool,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<bool> {
    if !hostcpu::available() {
        println!("skipped: the host is no x86-64 Linux");
        return Ok(!arguments.require);
    }
    let (rows, lacking) = rows::all();
    for (name, feature) in &lacking {
        println!("skipped: {name}: the host has no {feature}");
    }
    let wanted = |name: &str| arguments.rows.as_ref().is_none_or(|pattern| matches(pattern, name));
    let templates: Vec<Template> =
        rows.into_iter().filter(|row| wanted(&row.name())).map(Template::new).collect();
    anyhow::ensure!(!templates.is_empty(), "no row matches; `--rows '*'` lists all");
    let oracle = Oracle::new().context("cannot use the host's processor")?;
    let bench = Bench { oracle, machine: machine(), templates };
    if arguments.mutants { Ok(mutants::run(bench, arguments.seed)) } else { compare(arguments, bench) }
}

/// Ours, with the oracle's data.
fn machine() -> TestMachine {
    TestMachine::new(
        isa_x86::Mode::Bits64,
        hostcpu::DATA,
        hostcpu::DATA_BYTES,
        hostcpu::WRITABLE_BYTES as u64,
    )
}

fn compare(arguments: &Arguments, mut bench: Bench) -> Result<bool> {
    let start = Instant::now();
    let limit = Limit::new(arguments.minutes, arguments.cases, SAMPLE);
    let most = limit.left(0);
    let mut seen = vec![Seen::default(); bench.templates.len()];
    let (mut reports, mut cases, mut differing) = (BTreeMap::new(), 0u64, 0u64);
    let mut explained: BTreeMap<&str, u64> = BTreeMap::new();
    let mut number = 0;
    while limit.left(cases) > 0 && reports.len() < ENOUGH_REPORTS {
        bench.run(arguments.seed, number, &mut seen, None, |case, sides, row| {
            cases += 1;
            if !sides.agree() {
                match explained::explain(case, sides) {
                    Some(name) => *explained.entry(name).or_default() += 1,
                    None => {
                        differing += 1;
                        reports.entry(row).or_insert_with(|| sides.report(case));
                    }
                }
            }
            cases < most && reports.len() < ENOUGH_REPORTS
        });
        number += 1;
        anyhow::ensure!(number * CASES < most.saturating_mul(20).max(1 << 20), "too few cases can be run");
    }
    for report in reports.values() {
        println!("UNEXPLAINED, seed {}: {report}", arguments.seed);
    }
    for (name, why) in explained::ALL.iter().chain(explained_amd::ALL) {
        if let Some(count) = explained.get(name) {
            println!("explained: {count} cases of {name}: {why}");
        }
    }
    let covered = conclude(arguments, &bench, &seen);
    let took = start.elapsed().as_secs_f64();
    println!(
        "x86 user level: {cases} cases of {} rows, {differing} unexplained differences, {} explained, seed {}; {:.0} a \
         second, {took:.1} s",
        seen.len(),
        explained.values().sum::<u64>(),
        arguments.seed,
        cases as f64 / took
    );
    Ok(covered && differing == 0)
}

/// Prints what was run; false if some row never was.
fn conclude(arguments: &Arguments, bench: &Bench, seen: &[Seen]) -> bool {
    let rows = || bench.templates.iter().map(|template| template.row.name()).zip(seen);
    if !arguments.sample {
        println!("{:<28} {:>10} {:>10}  undefined flags that differ", "row", "cases", "faults");
        for (name, seen) in rows() {
            let flags = flag_names(seen.undefined);
            println!("{name:<28} {:>10} {:>10}  {flags}", seen.cases, seen.faults);
        }
    }
    let mut fine = true;
    for (name, seen) in rows().filter(|(_, seen)| seen.cases == 0) {
        match seen.refused {
            0 => {
                fine = false;
                println!("NOT COVERED: {name}");
            }
            _ => println!("skipped: {name}: the oracle takes it for something else"),
        }
    }
    if let Some((name, least)) = rows().filter(|(_, seen)| seen.cases != 0).min_by_key(|(_, seen)| seen.cases)
    {
        println!("least covered: {name}, {} cases, {} faults", least.cases, least.faults);
    }
    fine
}
