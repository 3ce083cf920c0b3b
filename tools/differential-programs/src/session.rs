//! A run: one program after the other, until time or programs are over.

use crate::Arguments;
use crate::compare::{LONGEST, Outcome, PLACES, Pair, Stops};
use crate::coverage::Coverage;
use crate::mutants;
use crate::report::{difference, executed};
use anyhow::{Context, Result};
use random_programs::layout::{RAM, SLOT};
use random_programs::shrink::{pieces, shrink};
use random_programs::{Profile, Program, generate};
use std::time::{Duration, Instant};

/// So many differences are enough.
const ENOUGH: u64 = 5;
/// Programs of a sample.
const SAMPLE: u64 = 2500;
/// Programs if nothing says how many.
const DEFAULT: u64 = 10_000;
/// Programs in which a planted mistake must show.
const MUTANT: u64 = 400;
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

/// Counts of a run.
#[derive(Default)]
struct Counts {
    programs: u64,
    instructions: u64,
    /// Programs that did not come to their end.
    unfinished: u64,
    too_large: u64,
    differences: u64,
}

/// How long to go on.
pub struct Limit {
    /// Until when.
    pub end: Option<Instant>,
    /// For so many programs.
    pub cases: u64,
}

impl Limit {
    /// What the arguments say; `sample` or `default` programs if they say nothing.
    pub fn new(arguments: &Arguments, sample: u64, default: u64) -> Limit {
        let seconds = arguments.minutes.map(|m| 60 * m).or(arguments.hours.map(|h| 3600 * h));
        let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let cases = match (arguments.cases, end) {
            (Some(cases), _) => cases,
            (None, Some(_)) => u64::MAX,
            (None, None) if arguments.sample => sample,
            (None, None) => default,
        };
        Limit { end, cases }
    }

    /// Whether it is over.
    pub fn over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// The program `number` for engines.
fn program(seed: u64, number: u64) -> Program {
    generate(seed, number, Profile::Engines, RAM + number % PLACES * SLOT)
}

/// Compares; true if all is well.
///
/// # Errors
/// If the host gives no memory, or the arguments make no sense.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let pair = arguments.pair()?;
    let start = Instant::now();
    let limit = Limit::new(arguments, SAMPLE, DEFAULT);
    let numbers = arguments.number.map_or(0..limit.cases, |number| number..number + 1);
    let (mut counts, mut told) = (Counts::default(), start);
    for number in numbers {
        if limit.over() || counts.differences >= ENOUGH {
            break;
        }
        one(&pair, arguments, number, &mut counts)?;
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            eprintln!(
                "{} programs, {} differences, {:.0} s",
                counts.programs,
                counts.differences,
                start.elapsed().as_secs_f64()
            );
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{},{}: {} programs, {} million instructions, {} not to their end, {} too large, {} differences, seed {}: {:.1} s, \
         {:.0} programs/s",
        pair.first.name,
        pair.second.name,
        counts.programs,
        counts.instructions / 1_000_000,
        counts.unfinished,
        counts.too_large,
        counts.differences,
        arguments.seed,
        seconds,
        counts.programs as f64 / seconds
    );
    Ok(counts.differences == 0)
}

fn one(pair: &Pair, arguments: &Arguments, number: u64, counts: &mut Counts) -> Result<()> {
    let program = program(arguments.seed, number);
    let stops = Stops::new(&program);
    counts.programs += 1;
    match pair.compare(&program, &stops)? {
        Outcome::Same { retired, done } => {
            counts.instructions += retired;
            counts.unfinished += u64::from(!done);
        }
        Outcome::TooLarge => counts.too_large += 1,
        Outcome::Differs { good, bad } => {
            counts.differences += 1;
            println!(
                "DIFFERENCE, seed {} number {number}, between {good} and {bad} instructions",
                arguments.seed
            );
            let program = if arguments.no_shrink { program } else { smaller(pair, &program, &stops) };
            if let Outcome::Differs { good, bad } = pair.compare(&program, &stops)? {
                let at = pair.first_difference(&program, &stops, good, bad)?;
                println!(
                    "with {} pieces left of the program, {}",
                    pieces(&program),
                    difference(pair, &program, &stops, at)?
                );
            }
        }
    }
    Ok(())
}

/// The program without what the difference does not need.
fn smaller(pair: &Pair, program: &Program, stops: &Stops) -> Program {
    shrink(program, &mut |candidate| matches!(pair.compare(candidate, stops), Ok(Outcome::Differs { .. })))
}

/// Compares the interpreter with engines that have a mistake; true if each is found, and no difference where is none.
///
/// # Errors
/// If the host gives no memory.
pub fn mutants(arguments: &Arguments) -> Result<bool> {
    let mut fine = true;
    for (engine, (name, about)) in mutants::ENGINES.iter().zip(mutants::ABOUT) {
        let pair = Pair { second: *engine, ..arguments.pair()? };
        let mut found = None;
        for number in 0..MUTANT {
            let program = program(arguments.seed, number);
            let stops = Stops::new(&program);
            if let Outcome::Differs { good, bad } = pair.compare(&program, &stops)? {
                found = Some((number, pair.first_difference(&program, &stops, good, bad)?));
                break;
            }
        }
        match found {
            Some((number, at)) => println!("found: {name} ({about}): program {number}, instruction {at}"),
            None => println!("NOT FOUND: {name} ({about}) in {MUTANT} programs"),
        }
        fine &= found.is_some();
    }
    Ok(fine)
}

/// Says what programs do.
///
/// # Errors
/// If the host gives no memory.
pub fn coverage(arguments: &Arguments) -> Result<bool> {
    let pair = arguments.pair()?;
    let mut coverage = Coverage::default();
    let numbers = arguments.number.map_or(0..arguments.cases.unwrap_or(100), |number| number..number + 1);
    for number in numbers {
        let (done, program) = (coverage.done, program(arguments.seed, number));
        coverage.add(pair.first, &program, LONGEST)?;
        if coverage.done == done {
            println!("program {number} does not come to its end");
        }
    }
    print!("{}", coverage.report());
    Ok(true)
}

/// Prints what a program executes.
///
/// # Errors
/// If the range is none, or the host gives no memory.
pub fn trace(arguments: &Arguments, range: &str) -> Result<bool> {
    let (from, to) = range.split_once(',').context("--trace needs two numbers, as in 100,200")?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    let program = program(arguments.seed, arguments.number.unwrap_or(0));
    print!("{}", executed(arguments.pair()?.first, &program, from, to)?);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::find;

    #[test]
    fn a_program_is_a_function_of_its_seed_and_nearly_all_end() {
        let again = |number| random_programs::image(&program(3, number), None);
        let pair = Pair { first: find("interp").unwrap(), second: find("interp").unwrap() };
        let mut ended = 0;
        for number in 0..20 {
            assert!(again(number) == again(number), "{number}");
            let program = program(3, number);
            match pair.compare(&program, &Stops::new(&program)).unwrap() {
                Outcome::Same { done, .. } => ended += u64::from(done),
                _ => panic!("program {number} differs from itself, or is too large"),
            }
        }
        assert!(ended >= 16, "{ended} of 20 came to their end");
    }

    #[test]
    fn a_planted_mistake_is_found_to_the_instruction_in_a_smaller_program() {
        let pair = Pair { first: find("interp").unwrap(), second: find("miscount").unwrap() };
        let program = program(1, 0);
        let stops = Stops::new(&program);
        let small = smaller(&pair, &program, &stops);
        assert!(pieces(&small) < pieces(&program) / 4, "{} of {}", pieces(&small), pieces(&program));
        let Outcome::Differs { good, bad } = pair.compare(&small, &stops).unwrap() else {
            panic!("no difference")
        };
        let at = pair.first_difference(&small, &stops, good, bad).unwrap();
        let (a, b) = pair.states(&small, &stops, at - 1).unwrap().unwrap();
        assert!(a == b);
        let report = difference(&pair, &small, &stops, at).unwrap();
        assert!(report.contains("retired"), "{report}");
    }
}
