//! Whole machines: how soon one starts, what it needs besides the guest's memory, and how long Linux takes to boot.

use crate::Bench;
use crate::catalog::Choice;
use crate::contestant::{Contestant, Firmware, Machine};
use crate::linux::{self, Guest};
use crate::memory;
use crate::options::Form;
use crate::programs::{MEMORY, PATIENCE};
use crate::results::{Group, Row, Unit};
use crate::session::Session;
use anyhow::{Context, Result};
use std::path::Path;

/// Measures start, memory and boot. `rows` keep what was measured before an error.
///
/// # Errors
/// If a guest does not run to its end, or is not there and was asked for.
pub fn measure(bench: &Bench, choice: &Choice, rows: &mut Vec<Row>) -> Result<()> {
    let row = |name: &str, unit| Row::new(Form::Machine, name, unit, Group::Alone);
    let mut start = row("start", Unit::Milliseconds);
    let mut end = row("start and end", Unit::Milliseconds);
    let result = starts(bench, &mut start, &mut end);
    rows.extend([start, end]);
    result?;
    let mut memory = row("memory", Unit::Mebibytes);
    let result = idles(bench, &mut memory);
    rows.push(memory);
    result?;
    let insists = choice.insists_on(Form::Machine);
    match bench.unless(insists, Guest::get(bench), "no boot of Linux is measured")? {
        Some(guest) => boots(bench, &guest, rows),
        None => Ok(()),
    }
}

fn machines(bench: &Bench) -> impl Iterator<Item = &Contestant> {
    bench.contestants.iter().filter(|contestant| contestant.runs_machines())
}

fn image(kernel: &Path) -> Machine<'_> {
    Machine { cpus: 1, memory: MEMORY, firmware: Firmware::None, kernel: Some(kernel), ..Machine::default() }
}

/// The guest that says a line with its first store and ends with its second: when the line is there, and when the process
/// is gone.
fn starts(bench: &Bench, start: &mut Row, end: &mut Row) -> Result<()> {
    bench.progress("machine: start");
    let ends = bench.compiler.assemble("empty.S", &[])?;
    // Many short runs: there is little to measure in each.
    for _ in 0..bench.rounds * 4 {
        for contestant in machines(bench) {
            let Some(command) = contestant.machine(image(&ends)) else { continue };
            let mut session = Session::start_short(command, PATIENCE)?;
            let began = session.started;
            let heard = session.hears("\n")?;
            let heard =
                heard.with_context(|| format!("an empty guest on {} says nothing", contestant.name))?;
            let took = session.ends().with_context(|| format!("an empty guest on {}", contestant.name))?;
            start.add(&contestant.name, (heard.at - began).as_secs_f64() * 1e3);
            end.add(&contestant.name, took.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// The guest that says a line and sleeps.
fn idles(bench: &Bench, memory: &mut Row) -> Result<()> {
    bench.progress("machine: memory");
    let idles = bench.compiler.assemble("empty.S", &["IDLE"])?;
    for _ in 0..bench.rounds {
        for contestant in machines(bench) {
            let Some(command) = contestant.machine(image(&idles)) else { continue };
            let mut session = Session::start(&command, PATIENCE)?;
            session.hears("\n")?.with_context(|| format!("no idle guest on {}", contestant.name))?;
            memory.add(&contestant.name, memory::beyond_guest(session.id(), MEMORY << 20)?);
        }
    }
    Ok(())
}

/// Debian's kernel and busybox, to the shell's prompt and to the end: with the same OpenSBI everywhere, and with the
/// firmware that each has by itself.
fn boots(bench: &Bench, guest: &Guest, rows: &mut Vec<Row>) -> Result<()> {
    bench.progress("machine: boots");
    let row = |name: &str| Row::new(Form::Machine, name, Unit::Seconds, Group::Alone);
    let firmwares =
        [("own SBI", Firmware::Own(&guest.firmware)), ("OpenSBI", Firmware::File(&guest.firmware))];
    for (name, firmware) in firmwares {
        let (mut prompt, mut end) = (row(&format!("prompt {name}")), row(&format!("off {name}")));
        let machine = Machine {
            cpus: 1,
            memory: linux::MEMORY,
            firmware,
            kernel: Some(&guest.kernel),
            initrd: Some(&guest.initrd),
            append: "console=ttyS0",
        };
        let result = boot(bench, machine, &mut prompt, &mut end);
        rows.extend([prompt, end]);
        result?;
    }
    Ok(())
}

fn boot(bench: &Bench, machine: Machine<'_>, prompt: &mut Row, end: &mut Row) -> Result<()> {
    for _ in 0..bench.rounds {
        for contestant in machines(bench) {
            let Some(command) = contestant.machine(machine) else { continue };
            let mut session = Session::start(&command, PATIENCE)?;
            let began = session.started;
            let heard = session.hears("~ # ")?;
            let heard = heard.with_context(|| format!("Linux on {} came to no prompt", contestant.name))?;
            session.types("poweroff -f\n")?;
            let whole = session.ends().with_context(|| format!("Linux on {}", contestant.name))?;
            prompt.add(&contestant.name, (heard.at - began).as_secs_f64());
            end.add(&contestant.name, whole.as_secs_f64());
        }
    }
    Ok(())
}
