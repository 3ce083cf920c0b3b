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

/// The longest that a guest may be silent, which is what one part may take: an interpreter on a busy host needs some time.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The memory of a bare-metal machine, in MiB; page tables of the images map as much.
pub const MEMORY: u64 = 128;

/// Measures the chosen programs in a bare-metal form. `rows` keep what was measured before an error.
///
/// # Errors
/// If one cannot be built, or does not run to its end.
pub fn bare_metal(bench: &Bench, form: Form, choice: &Choice, rows: &mut Vec<Row>) -> Result<()> {
    let programs: Vec<&Program> = choice.programs(form).collect();
    bench.compiler.build(&programs, Target::of(form), bench.check)?;
    native_too(bench, &programs)?;
    for program in programs {
        bench.progress(&format!("{form}: {}", program.name));
        Collector::fill(form, rows, |collector| {
            for _ in 0..bench.rounds {
                for contestant in bench.contestants.iter().filter(|c| c.takes_part(form)) {
                    let parts = one(bench, contestant, program, form)
                        .with_context(|| format!("{} on {}, {form}", program.name, contestant.name))?;
                    collector.add(&contestant.name, &parts);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Builds those of the programs that run on the host itself, if it has a compiler.
///
/// # Errors
/// What the compiler complained of.
pub fn native_too(bench: &Bench, programs: &[&Program]) -> Result<()> {
    let native: Vec<&Program> = programs.iter().copied().filter(|program| program.portable()).collect();
    if bench.compiler.native() {
        bench.compiler.build(&native, Target::Native, bench.check)?;
    }
    Ok(())
}

/// Whether the contestant, who runs programs and not machines, runs this one: on the host's own processor if there is a
/// compiler for it, and two threads at once only where there are two processors.
pub fn runs(bench: &Bench, contestant: &Contestant, program: &Program) -> bool {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    program.portable()
        && (contestant.what != What::Native || bench.compiler.native())
        && (program.kind != Kind::Parallel || processors > 1)
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
    let program_too =
        || runs(bench, contestant, program).then(|| contestant.program(&path(Target::Native), &image));
    match contestant.machine(machine).or_else(|| program_too().flatten()) {
        Some(command) => parts::of(Session::start(&command, PATIENCE)?, &program.parts(form)),
        None => Ok(Vec::new()),
    }
}
