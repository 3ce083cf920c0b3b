//! A run against QEMU: batches of programs, and the ones that differ again alone.

use crate::Arguments;
use crate::counts::Counts;
use crate::elsewhere::{BATCH, Left, lacking, program, run as on_both};
use crate::session::limit;
use anyhow::Result;
use random_programs::shrink::{pieces, shrink};
use random_programs::{Program, image};
use std::time::Instant;

/// So many differences are enough.
const ENOUGH: u64 = 5;
/// A program of no more pieces is printed.
const FEW: usize = 20;
/// Programs of a sample.
const SAMPLE: u64 = 4 * BATCH;
/// Programs if nothing says how many.
const DEFAULT: u64 = 100 * BATCH;

/// Runs programs on both sides.
type Both<'a> = &'a dyn Fn(&[Program]) -> Result<Left>;

/// Compares the first engine with QEMU; true if all is well.
///
/// # Errors
/// If the host gives no memory, or QEMU cannot be run.
pub fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(why) = lacking() {
        println!("skipped: {why}");
        return Ok(!arguments.require);
    }
    let engine = arguments.pair()?.first;
    let start = Instant::now();
    let (limit, first) = limit(arguments, SAMPLE, DEFAULT);
    let mut counts = Counts::default();
    while limit.left(counts.programs) > 0 && counts.differences < ENOUGH {
        let from = first + counts.programs;
        let numbers = from..from + limit.left(counts.programs).min(BATCH);
        let all = numbers.end - numbers.start;
        let programs: Vec<Program> = numbers.map(|number| program(arguments.seed, number)).collect();
        let programs: Vec<Program> = programs.into_iter().filter(|p| image(p, None).is_some()).collect();
        counts.programs += all;
        counts.too_large += all - programs.len() as u64;
        if !programs.is_empty() {
            batch(&|programs| on_both(engine, programs), arguments, &programs, &mut counts)?;
        }
    }
    let fine = counts.conclude();
    let Counts { programs, instructions, too_large, differences, .. } = counts;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{},qemu: {programs} programs, {} million instructions, {too_large} too large, {differences} differences, seed {}: \
         {seconds:.1} s, {:.0} programs/s",
        engine.name,
        instructions / 1_000_000,
        arguments.seed,
        programs as f64 / seconds
    );
    Ok(fine)
}

/// Compares programs, of which there is one at least: together, and those that differ alone.
fn batch(both: Both<'_>, arguments: &Arguments, programs: &[Program], counts: &mut Counts) -> Result<()> {
    let left = both(programs)?;
    counts.instructions += left.retired;
    let different: Vec<&Program> = programs.iter().filter(|p| left.difference(p).is_some()).collect();
    if left.stuck.is_none() && different.is_empty() {
        return Ok(());
    }
    let before = counts.differences;
    let numbers = programs.iter().map(|program| program.name.1);
    let (first, last) = (numbers.clone().min().unwrap_or(0), numbers.max().unwrap_or(0));
    if let Some(why) = &left.stuck {
        println!("STUCK, seed {}, programs {first} to {last}: {why}", arguments.seed);
    }
    // A program that is stuck may leave the same on both sides.
    let suspects = if different.is_empty() { programs.iter().collect() } else { different };
    for program in suspects {
        if counts.differences < ENOUGH {
            counts.differences += u64::from(report(both, arguments, program)?);
        }
    }
    if counts.differences == before {
        counts.differences += 1;
        let seed = arguments.seed;
        println!("DIFFERENCE, seed {seed}, programs {first} to {last}: only together, none of them alone");
    }
    Ok(())
}

/// What is wrong with a program that is run alone, if anything is.
fn alone(both: Both<'_>, program: &Program) -> Result<Option<String>> {
    let left = both(std::slice::from_ref(program))?;
    let (difference, stuck) = (left.difference(program), left.stuck);
    Ok(match (difference, stuck) {
        (None, None) => None,
        (difference, stuck) => {
            Some(format!("{}\n{}", stuck.unwrap_or_default(), difference.unwrap_or_default()))
        }
    })
}

/// Runs a program alone, makes it smaller and says what differs; false if alone nothing does.
fn report(both: Both<'_>, arguments: &Arguments, program: &Program) -> Result<bool> {
    let (seed, number) = (arguments.seed, program.name.1);
    let Some(mut text) = alone(both, program)? else {
        println!("program {number} of seed {seed} does not differ alone");
        return Ok(false);
    };
    let (mut failed, mut small) = (None, program.clone());
    if !arguments.no_shrink {
        small = shrink(program, &mut |candidate| match alone(both, candidate) {
            Ok(Some(what)) => {
                text = what;
                true
            }
            Ok(None) => false,
            Err(error) => {
                failed.get_or_insert(error);
                false
            }
        });
    }
    println!("DIFFERENCE, seed {seed} number {number}, {} pieces left {text}", pieces(&small));
    if pieces(&small) <= FEW {
        small.functions.iter().for_each(|function| println!("    {:x?}", function.body));
    }
    match failed {
        Some(error) => Err(error.context("while making a program smaller")),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use clap::Parser;

    /// Differences in a batch of two programs, `both` being what happens to them.
    fn differences(both: Both<'_>) -> Result<u64> {
        let arguments = Arguments::parse_from(["p", "--no-shrink"]);
        let mut counts = Counts::default();
        batch(both, &arguments, &[program(1, 0), program(1, 1)], &mut counts)?;
        Ok(counts.differences)
    }

    #[test]
    fn what_differs_or_is_stuck_fails_the_run_whatever_programs_do_alone() {
        let left = |bad: Option<u64>, stuck: bool| Left::testing(bad.map(|n| program(1, n)), stuck);
        assert_eq!(differences(&|_| Ok(left(None, false))).unwrap(), 0);
        assert_eq!(differences(&|programs| Ok(left((programs.len() == 2).then_some(1), false))).unwrap(), 1);
        assert_eq!(differences(&|programs| Ok(left(None, programs.len() == 2))).unwrap(), 1);
        // Each is stuck alone, too.
        assert_eq!(differences(&|_| Ok(left(None, true))).unwrap(), 2);
        assert_eq!(differences(&|_| Ok(left(Some(0), false))).unwrap(), 1);
    }

    #[test]
    fn a_side_that_cannot_be_run_again_is_an_error() {
        let both = |programs: &[Program]| match programs.len() {
            2 => Ok(Left::testing(Some(program(1, 1)), false)),
            _ => bail!("no such side"),
        };
        assert!(differences(&both).unwrap_err().to_string().contains("no such side"));
        assert!(on_both(crate::engines::INTERP, &[]).is_err());
    }
}
