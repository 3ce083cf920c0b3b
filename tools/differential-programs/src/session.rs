//! A run: one program after the other, until time or programs are over.

use crate::Arguments;
use crate::compare::{Outcome, PLACES, Pair, Stops};
use crate::counts::Counts;
use crate::coverage::Coverage;
use crate::elsewhere;
use crate::engines::{self, INTERP, find};
use crate::mutants::{self, Mutant};
use crate::report::{difference, executed};
use anyhow::{Context, Result, bail, ensure};
use differential_core::Limit;
use random_programs::layout::{RAM, SLOT};
use random_programs::shrink::{pieces, shrink};
use random_programs::{Profile, Program, generate};
use std::time::{Duration, Instant};

/// So many differences are enough.
const ENOUGH: u64 = 5;
/// Programs of a sample.
const SAMPLE: u64 = 2500;
/// Programs of a sample with each of the other translators.
const OTHERS: u64 = 250;
/// Programs if nothing says how many.
const DEFAULT: u64 = 10_000;
/// Programs in which a planted mistake must show.
const MUTANT: u64 = 400;
/// Programs whose coverage is told if nothing says how many.
const COVERAGE: u64 = 100;
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

/// The program `number` for engines.
fn program(seed: u64, number: u64) -> Program {
    generate(seed, number, Profile::Engines, RAM + number % PLACES * SLOT)
}

/// How long to go on, and the first number.
pub fn limit(arguments: &Arguments, sample: u64, default: u64) -> (Limit, u64) {
    let cases = arguments.cases.or(arguments.number.map(|_| 1));
    let otherwise = if arguments.sample { sample } else { default };
    (Limit::new(arguments.minutes, cases, otherwise), arguments.number.unwrap_or(0))
}

/// Compares; true if all is well.
///
/// # Errors
/// If the host gives no memory, or the arguments make no sense.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let pair = arguments.pair()?;
    let (limit, first) = limit(arguments, SAMPLE, DEFAULT);
    let mut fine = compare(&pair, arguments, &limit, first)?;
    match arguments.untranslated() {
        Some(why) => {
            println!("skipped: the translator: this host lacks {why}");
            fine &= !arguments.require;
        }
        None if arguments.sample && arguments.engines.is_none() => {
            for second in engines::OTHERS.iter().filter_map(|name| find(name)) {
                let limit = Limit::new(None, Some(OTHERS), OTHERS);
                fine &= compare(&Pair { second, ..pair }, arguments, &limit, first)?;
            }
        }
        None => {}
    }
    Ok(fine)
}

/// Compares one pair on the programs from `first` on; true if all is well.
fn compare(pair: &Pair, arguments: &Arguments, limit: &Limit, first: u64) -> Result<bool> {
    let start = Instant::now();
    let (mut counts, mut told) = (Counts::default(), start);
    while limit.left(counts.programs) > 0 && counts.differences < ENOUGH {
        one(pair, arguments, first + counts.programs, &mut counts)?;
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
    let fine = counts.conclude();
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
    Ok(fine)
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
        Outcome::Broken(why) => {
            counts.differences += 1;
            println!("BROKEN ON BOTH, seed {} number {number}: {why}", arguments.seed);
        }
        Outcome::Differs { good, bad } => {
            counts.differences += 1;
            println!(
                "DIFFERENCE, seed {} number {number}, between {good} and {bad} instructions",
                arguments.seed
            );
            let program = if arguments.no_shrink { program } else { smaller(pair, &program, &stops) };
            match pair.compare(&program, &stops)? {
                Outcome::Differs { good, bad } => {
                    let at = pair.first_difference(&program, &stops, good, bad)?;
                    let report = difference(pair, &program, &stops, at)?;
                    println!("with {} pieces left of the program, {report}", pieces(&program));
                }
                _ => println!("it does not differ every time"),
            }
        }
    }
    Ok(())
}

/// The program without what the difference does not need.
fn smaller(pair: &Pair, program: &Program, stops: &Stops) -> Program {
    shrink(program, &mut |candidate| matches!(pair.compare(candidate, stops), Ok(Outcome::Differs { .. })))
}

/// The first program, of those in which a planted mistake must show, that differs, and the instruction.
fn found(pair: &Pair, seed: u64) -> Result<Option<(u64, u64)>> {
    let mut counts = Counts::default();
    for number in 0..MUTANT {
        let program = program(seed, number);
        let stops = Stops::new(&program);
        counts.programs += 1;
        match pair.compare(&program, &stops)? {
            Outcome::Differs { good, bad } => {
                return Ok(Some((number, pair.first_difference(&program, &stops, good, bad)?)));
            }
            Outcome::Same { done, .. } => counts.unfinished += u64::from(!done),
            Outcome::TooLarge => counts.too_large += 1,
            Outcome::Broken(why) => bail!("program {number} of seed {seed} is broken on both: {why}"),
        }
    }
    match counts.lacking() {
        Some(why) => bail!("too little: {why}"),
        None => Ok(None),
    }
}

/// Compares the interpreter with engines that have a mistake; true if each is found, and nothing where there is none.
///
/// # Errors
/// If the host gives no memory, or the programs prove nothing.
pub fn mutants(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed;
    let against = |mutant: &Mutant| found(&Pair { first: INTERP, second: mutant.engine() }, seed);
    if let Some((number, at)) = against(&mutants::CONTROL)? {
        println!("WRONG WITHOUT A MISTAKE: program {number}, instruction {at}");
        return Ok(false);
    }
    let mut survivors = 0;
    for mutant in mutants::ALL {
        let (name, about) = (mutant.engine().name, mutant.about);
        match against(mutant)? {
            Some((number, at)) => println!("found: {name} ({about}): program {number}, instruction {at}"),
            None => {
                survivors += 1;
                println!("NOT FOUND: {name} ({about}) in {MUTANT} programs");
            }
        }
    }
    println!(
        "mutants: {} planted, {survivors} not found, none in {MUTANT} programs without a mistake, seed {seed}",
        mutants::ALL.len()
    );
    Ok(survivors == 0)
}

/// The program `number` of the comparison that the arguments are about.
fn wanted(arguments: &Arguments, number: u64) -> Program {
    if arguments.qemu { elsewhere::program(arguments.seed, number) } else { program(arguments.seed, number) }
}

/// Says what programs do.
///
/// # Errors
/// If the host gives no memory.
pub fn coverage(arguments: &Arguments) -> Result<bool> {
    let pair = arguments.pair()?;
    let mut coverage = Coverage::default();
    let (limit, first) = limit(arguments, COVERAGE, COVERAGE);
    for number in first..first + limit.left(0) {
        let done = coverage.done;
        coverage.add(pair.first, &wanted(arguments, number))?;
        if coverage.done == done {
            println!("program {number} does not come to its end");
        }
    }
    print!("{}", coverage.report());
    Ok(coverage.done > 0 && coverage.astray == 0)
}

/// Prints what a program executes.
///
/// # Errors
/// If the range is none, or the host gives no memory.
pub fn trace(arguments: &Arguments, range: &str) -> Result<bool> {
    let (from, to) = range.split_once(',').context("--trace needs two numbers, as in 100,200")?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    ensure!(from < to, "--trace needs the smaller number first");
    let program = wanted(arguments, arguments.number.unwrap_or(0));
    print!("{}", executed(arguments.pair()?.first, &program, from, to)?);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use random_programs::assembler::Assembler;
    use random_programs::layout::{SERVICE, WINDOW};
    use random_programs::{Function, How, Op};

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
    fn programs_keep_to_themselves_and_have_marks_set_again() {
        let mut coverage = Coverage::default();
        (0..60).for_each(|number| coverage.add(INTERP, &program(1, number)).unwrap());
        let report = coverage.report();
        assert!(coverage.astray == 0 && coverage.done >= 54, "{report}");
        assert!(coverage.marks > 20, "{report}");
    }

    #[test]
    fn what_calls_itself_ends_however_often_it_calls_others() {
        let mut program = program(1, 0);
        let call = |to| Op::Call { to, how: How::Direct, depth: 5 };
        let bodies = [vec![call(1)], vec![call(2), Op::Again, call(2)], vec![]];
        program.functions = bodies.map(|body| Function { body, tail: None, gap: 0 }).into();
        // Far more than the stack has room for.
        program.x[program.registers.fuel as usize] = 8000;
        let mut coverage = Coverage::default();
        coverage.add(INTERP, &program).unwrap();
        assert_eq!((coverage.done, coverage.astray), (1, 0), "{}", coverage.report());
    }

    #[test]
    fn a_program_that_jumps_to_a_place_of_the_runtimes_ends() {
        for astray in [0x70, 0x30_5555_0070, SERVICE + WINDOW + 0x70, 0xdead_0000_1111_0504] {
            let mut program = program(1, 0);
            let mut code = Assembler::new(0);
            code.li(1, astray);
            code.opi("jalr", 0, 1, 0);
            program.functions = vec![Function { body: vec![Op::Code(code.finish())], tail: None, gap: 0 }];
            let pair = Pair { first: INTERP, second: INTERP };
            let Outcome::Same { done: true, retired } =
                pair.compare(&program, &Stops::new(&program)).unwrap()
            else {
                panic!("no end after a jump to {astray:#x}")
            };
            assert!(retired < 1000, "{retired} instructions after a jump to {astray:#x}");
        }
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
