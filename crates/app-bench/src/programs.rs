//! The bare-metal forms: each program is an image of its own.

use crate::Bench;
use crate::catalog::{Choice, Kind, Program};
use crate::compile::Target;
use crate::contestant::{Contestant, Firmware, Machine, What};
use crate::options::Form;
use crate::parts::{self, Part};
use crate::results::{Collector, Row};
use crate::session::Session;
use anyhow::{Context, Result};
use std::time::Duration;

/// The longest that one image may take: an interpreter on a busy host needs some time.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The memory of a bare-metal machine; page tables of the images map as much.
pub const MEMORY: &str = "128M";

/// Measures the chosen programs in a bare-metal form.
///
/// # Errors
/// If one cannot be built, or does not run to its end.
pub fn bare_metal(bench: &Bench, form: Form, choice: &Choice) -> Result<Vec<Row>> {
    let programs: Vec<&Program> = choice.programs(form).collect();
    bench.compiler.build(&programs, Target::of(form), bench.check)?;
    native_too(bench, &programs)?;
    let mut rows = Vec::new();
    for program in programs {
        bench.progress(&format!("{}: {}", form.name(), program.name));
        let mut collector = Collector::new(form);
        for _ in 0..bench.rounds {
            for contestant in bench.contestants.iter().filter(|c| c.takes_part(form)) {
                let parts = one(bench, contestant, program, form)
                    .with_context(|| format!("{} on {}, {}", program.name, contestant.name, form.name()))?;
                collector.add(&contestant.name, &parts);
            }
        }
        rows.extend(collector.rows());
    }
    Ok(rows)
}

/// Builds those of the programs that run on the host itself, if it has a compiler.
///
/// # Errors
/// What the compiler complained of.
pub fn native_too(bench: &Bench, programs: &[&Program]) -> Result<()> {
    let native: Vec<&Program> = programs.iter().copied().filter(|program| portable(program)).collect();
    if bench.compiler.native() {
        bench.compiler.build(&native, Target::Native, bench.check)?;
    }
    Ok(())
}

/// Whether a program is C that runs anywhere.
pub fn portable(program: &Program) -> bool {
    matches!(program.kind, Kind::Kernel | Kind::Parallel)
}

fn one(bench: &Bench, contestant: &Contestant, program: &Program, form: Form) -> Result<Vec<Part>> {
    let path = |target| bench.compiler.path(program.name, target, bench.check);
    let image = path(Target::of(form));
    let machine = Machine {
        cpus: if program.kind == Kind::Parallel { 2 } else { 1 },
        memory: MEMORY,
        firmware: Firmware::None,
        kernel: Some(&image),
        ..Machine::default()
    };
    let runs = contestant.what != What::Native || bench.compiler.native() && portable(program);
    let command = contestant.machine(machine).or_else(|| contestant.program(&path(Target::Native), &image));
    match command.filter(|_| runs) {
        Some(command) => parts::of(Session::start(command, PATIENCE)?),
        None => Ok(Vec::new()),
    }
}
