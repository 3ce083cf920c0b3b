//! Compares the system half of the x86-64 interpreter with QEMU: random segment loads, far transfers, events, system
//! calls and page-table entries in 64-bit mode. A ROM boots into a driver that runs cases one after another and says at
//! port E9H how each ended; both must say the same. `--mutants` proves that a mistake would be noticed.
#![forbid(unsafe_code)]

mod cases;
mod drawn;
mod layout;
mod mutants;
mod program;
mod record;
mod rom;
mod run;

use anyhow::Result;
use clap::Parser;
use differential_core::{Limit, MINUTES, exit_code};
use record::SIZE;
use rom::Rom;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

/// A run that differs in so many ways is not run any further.
const ENOUGH_REPORTS: usize = 20;
/// ROMs of the sample, which takes seconds.
const SAMPLE: u64 = 4;
/// ROMs of a run that says no number.
const ROMS: u64 = 64;

/// Compares the system architecture of the x86-64 interpreter with QEMU 10.
#[derive(Parser)]
#[command(
    name = "differential-x86-system",
    after_help = "Examples:\n  cargo xtask differential --isa x86-system --sample\n  \
    cargo xtask differential --isa x86-system --minutes 10 --seed 7\n  \
    cargo xtask differential --isa x86-system --mutants\n\nA ROM has 1536 cases; that of seed 7 is the first of `--seed 7`."
)]
struct Arguments {
    /// A fixed sample, which takes seconds
    #[arg(long, conflicts_with_all = ["minutes", "roms", "mutants"])]
    sample: bool,
    /// Go on with new ROMs for so many minutes
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(1..=MINUTES))]
    minutes: Option<u64>,
    /// Stop after so many ROMs
    #[arg(long, conflicts_with = "mutants", value_parser = clap::value_parser!(u64).range(1..))]
    roms: Option<u64>,
    /// The first ROM's seed; the next has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plant mistakes; each must be caught
    #[arg(long)]
    mutants: bool,
    /// Fail, instead of skipping, if QEMU is not there
    #[arg(long)]
    require: bool,
}

fn main() -> ExitCode {
    exit_code(compare(&Arguments::parse()))
}

fn compare(arguments: &Arguments) -> Result<bool> {
    if let Some(why) = differential_core::missing(run::QEMU, run::PACKAGE) {
        println!("skipped: {why}");
        return Ok(!arguments.require);
    }
    if arguments.mutants {
        return mutants::run(arguments.seed);
    }
    let start = Instant::now();
    let limit = Limit::new(arguments.minutes, arguments.roms, if arguments.sample { SAMPLE } else { ROMS });
    let mut found = Findings::default();
    let mut done = 0;
    while limit.left(done) > 0 && found.differing < ENOUGH_REPORTS {
        found.compare(&Rom::new(arguments.seed.wrapping_add(done))?)?;
        done += 1;
    }
    for (kind, (cases, differing)) in &found.kinds {
        println!("{kind:20} {cases:>7} cases, {differing} differ");
    }
    println!(
        "x86 system level: {} cases, {} differ, seed {}; {:.1} s",
        found.kinds.values().map(|(cases, _)| cases).sum::<u64>(),
        found.differing,
        arguments.seed,
        start.elapsed().as_secs_f64()
    );
    Ok(found.differing == 0)
}

/// What was seen.
#[derive(Default)]
struct Findings {
    /// For each kind of case how many there were, and how many of them differ.
    kinds: BTreeMap<&'static str, (u64, u64)>,
    /// How many differ.
    differing: usize,
}

impl Findings {
    /// Runs both sides and compares every case.
    ///
    /// # Errors
    /// If a side does not run them all.
    fn compare(&mut self, rom: &Rom) -> Result<()> {
        let theirs = run::qemu(&rom.bytes, rom.cases.len())?;
        let (ours, lack) = run::Ours::new(&rom.bytes)?.run(rom.cases.len());
        for (n, (ours, theirs)) in ours.chunks_exact(SIZE).zip(theirs.chunks_exact(SIZE)).enumerate() {
            let case = &rom.cases[n];
            let (cases, differing) = self.kinds.entry(case.kind).or_default();
            *cases += 1;
            if !record::agree(case, ours, theirs) {
                *differing += 1;
                self.differing += 1;
                if self.differing <= ENOUGH_REPORTS {
                    println!("{}", record::report(rom, n, ours, theirs));
                }
            }
        }
        // Said last: the cases before tell why.
        match lack {
            Some(lack) => anyhow::bail!("seed {}: {lack}", rom.seed),
            None => Ok(()),
        }
    }
}
