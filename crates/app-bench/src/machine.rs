//! Whole machines: how soon one starts, what it needs besides the guest's memory, and how long Linux takes to boot.

use crate::Bench;
use crate::contestant::{Contestant, Firmware, Machine};
use crate::linux::Guest;
use crate::memory;
use crate::options::Form;
use crate::programs::{MEMORY, PATIENCE};
use crate::results::{Group, Row, Unit};
use crate::session::Session;
use anyhow::{Context, Result};
use std::path::Path;

/// [`MEMORY`] in bytes.
const MEMORY_BYTES: u64 = 128 << 20;

/// Measures start, memory and boot.
///
/// # Errors
/// If a guest does not run to its end.
pub fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = empty(bench)?;
    match Guest::get(bench) {
        Ok(guest) => rows.extend(boots(bench, &guest)?),
        Err(why) => (bench.note)(&format!("no boot of Linux is measured: {why:#}")),
    }
    Ok(rows)
}

fn machines(bench: &Bench) -> impl Iterator<Item = &Contestant> {
    bench.contestants.iter().filter(|contestant| contestant.runs_machines())
}

fn image(kernel: &Path) -> Machine<'_> {
    Machine { cpus: 1, memory: MEMORY, firmware: Firmware::None, kernel: Some(kernel), ..Machine::default() }
}

/// The guest that ends with its first store, and the one that does nothing.
fn empty(bench: &Bench) -> Result<Vec<Row>> {
    bench.progress("machine: start and memory");
    let ends = bench.compiler.assemble("empty.S", &[])?;
    let idles = bench.compiler.assemble("empty.S", &["IDLE"])?;
    let mut start = Row::new(Form::Machine, "start and end", Unit::Milliseconds, Group::Alone);
    let mut resident = Row::new(Form::Machine, "memory", Unit::Mebibytes, Group::Alone);
    // Many short runs: there is little to measure in each.
    for _ in 0..bench.rounds * 4 {
        for contestant in machines(bench) {
            if let Some(command) = contestant.machine(image(&ends)) {
                let took = Session::start(command, PATIENCE)?.ends();
                let took = took.with_context(|| format!("an empty guest on {}", contestant.name))?;
                start.add(&contestant.name, took.as_secs_f64() * 1e3);
            }
        }
    }
    for _ in 0..bench.rounds {
        for contestant in machines(bench) {
            if let Some(command) = contestant.machine(image(&idles)) {
                let mut session = Session::start(command, PATIENCE)?;
                session.hears("i\n")?.with_context(|| format!("no idle guest on {}", contestant.name))?;
                let beyond = memory::beyond_guest(session.id(), MEMORY_BYTES)?;
                resident.add(&contestant.name, beyond);
            }
        }
    }
    Ok(vec![start, resident])
}

/// Debian's kernel and busybox, to the shell's prompt and to the end: with the same OpenSBI everywhere, and with the
/// firmware that each has by itself.
fn boots(bench: &Bench, guest: &Guest) -> Result<Vec<Row>> {
    bench.progress("machine: boots");
    let row = |name: &str| Row::new(Form::Machine, name, Unit::Seconds, Group::Alone);
    let mut rows = Vec::new();
    let firmwares =
        [("own SBI", Firmware::Own(&guest.firmware)), ("OpenSBI", Firmware::File(&guest.firmware))];
    for (name, firmware) in firmwares {
        let (mut prompt, mut end) = (row(&format!("prompt {name}")), row(&format!("off {name}")));
        for _ in 0..bench.rounds {
            for contestant in machines(bench) {
                let machine = Machine {
                    cpus: 1,
                    memory: "1G",
                    firmware,
                    kernel: Some(&guest.kernel),
                    initrd: Some(&guest.initrd),
                    append: "console=ttyS0",
                };
                let Some(command) = contestant.machine(machine) else { continue };
                let mut session = Session::start(command, PATIENCE)?;
                let began = session.started;
                let heard = session.hears("~ # ")?;
                let heard =
                    heard.with_context(|| format!("Linux on {} came to no prompt", contestant.name))?;
                session.types("poweroff -f\n")?;
                let whole = session.ends().with_context(|| format!("Linux on {}", contestant.name))?;
                prompt.add(&contestant.name, (heard.at - began).as_secs_f64());
                end.add(&contestant.name, whole.as_secs_f64());
            }
        }
        rows.extend([prompt, end]);
    }
    Ok(rows)
}
