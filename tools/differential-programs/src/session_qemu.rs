//! A run against QEMU: batches of programs, and the ones that differ again alone.

use crate::Arguments;
use crate::elsewhere::{BATCH, lacking, program, run as on_both};
use crate::engines::Engine;
use crate::session::Limit;
use anyhow::Result;
use random_programs::Program;
use random_programs::shrink::{pieces, shrink};
use std::time::Instant;

/// So many differences are enough.
const ENOUGH: usize = 5;
/// A program of no more pieces is printed.
const FEW: usize = 20;
/// Programs of a sample.
const SAMPLE: u64 = 4 * BATCH;
/// Programs if nothing says how many.
const DEFAULT: u64 = 100 * BATCH;

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
    let (limit, start) = (Limit::new(arguments, SAMPLE, DEFAULT), Instant::now());
    let (mut done, mut instructions, mut differences) = (0, 0, 0);
    let first = arguments.number.unwrap_or(0);
    let cases = if arguments.number.is_some() { 1 } else { limit.cases };
    while done < cases && differences < ENOUGH && !limit.over() {
        let numbers = first + done..first + cases.min(done.saturating_add(BATCH));
        done += numbers.end - numbers.start;
        let programs: Vec<Program> = numbers.map(|number| program(arguments.seed, number)).collect();
        let left = on_both(engine, &programs)?;
        instructions += left.retired;
        let different: Vec<&Program> = programs.iter().filter(|p| left.difference(p).is_some()).collect();
        if let Some(why) = &left.stuck {
            println!("STUCK, seed {}, programs from {} on: {why}", arguments.seed, programs[0].name.1);
            differences += usize::from(different.is_empty());
        }
        for program in different.into_iter().take(ENOUGH - differences) {
            differences += usize::from(report(engine, arguments, program)?);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{},qemu: {done} programs, {} million instructions, {differences} differences, seed {}: {seconds:.1} s, {:.0} programs/s",
        engine.name,
        instructions / 1_000_000,
        arguments.seed,
        done as f64 / seconds
    );
    Ok(differences == 0)
}

/// Runs a program alone, makes it smaller and says what differs; false if alone nothing does.
fn report(engine: Engine, arguments: &Arguments, program: &Program) -> Result<bool> {
    let different = |program: &Program| {
        on_both(engine, std::slice::from_ref(program))
            .ok()
            .and_then(|left| left.difference(program).map(|text| (left, text)))
    };
    let number = program.name.1;
    if different(program).is_none() {
        println!("program {number} of seed {} differs only behind others", arguments.seed);
        return Ok(false);
    }
    let small = match arguments.no_shrink {
        true => program.clone(),
        false => shrink(program, &mut |candidate| different(candidate).is_some()),
    };
    if let Some((left, text)) = different(&small) {
        let stuck = left.stuck.map_or(String::new(), |why| format!("; {why}"));
        println!(
            "DIFFERENCE, seed {} number {number}, {} pieces left{stuck}\n{text}",
            arguments.seed,
            pieces(&small)
        );
        if pieces(&small) <= FEW {
            small.functions.iter().for_each(|function| println!("    {:x?}", function.body));
        }
    }
    Ok(true)
}
