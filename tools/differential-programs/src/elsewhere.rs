//! The comparison with QEMU: many programs one after the other in one machine, and what they leave in memory.

use crate::engines::Engine;
use crate::machine::{End, Machine};
use anyhow::{Context, Result};
use differential_core::word_at;
use differential_riscv::Machine as Qemu;
use random_programs::assembler::Assembler;
use random_programs::layout::{
    CODE, CONTEXTS, DATA, LEFT, LEFT_CSRS, LOG, LOG_BYTES, RAM, SLOT, STATE, TABLES, TRAPS,
};
use random_programs::{Profile, Program, generate, image};
use std::fmt::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Programs in one machine; the first slot is that of the start.
pub const BATCH: u64 = 32;
/// RAM: the slots, and room at the end, where QEMU puts the device tree.
pub const SIZE: u64 = (BATCH + 1) * SLOT + (4 << 20);
/// The longest that QEMU may take for what takes a second.
const LIMIT: Duration = Duration::from_secs(40);
/// Instructions that no batch needs.
const BUDGET: u64 = 1 << 30;
/// Why QEMU cannot be asked, if it cannot.
pub fn lacking() -> Option<String> {
    differential_riscv::missing(differential_riscv::SYSTEM)
}

/// Program `number` of `seed` for this comparison.
pub fn program(seed: u64, number: u64) -> Program {
    generate(seed, number, Profile::Elsewhere, RAM + (1 + number % BATCH) * SLOT)
}

/// RAM with the programs, each of which goes on to the next.
///
/// # Errors
/// If there is none, or one does not fit its slot.
fn memory(programs: &[Program]) -> Result<Vec<(u64, Vec<u8>)>> {
    let first = programs.first().context("there is no program to run")?;
    let mut start = Assembler::new(RAM);
    start.li(1, first.slot);
    start.opi("jalr", 0, 1, 0);
    let mut pieces = vec![(0, start.finish())];
    for (i, program) in programs.iter().enumerate() {
        let next = programs.get(i + 1).map(|next| next.slot);
        let image = image(program, next).context("a program is too large")?;
        pieces.push((program.slot - RAM, image));
    }
    Ok(pieces)
}

/// What both sides leave.
pub struct Left {
    ours: Vec<u8>,
    theirs: Vec<u8>,
    /// Why a side did not get to the end.
    pub stuck: Option<String>,
    /// Instructions that Hostel retired.
    pub retired: u64,
}

/// Runs `programs`, each of which fits its slot, on both sides.
///
/// # Errors
/// If a side cannot be run, or there is no program.
pub fn run(engine: Engine, programs: &[Program]) -> Result<Left> {
    let pieces = memory(programs)?;
    let qemu = Qemu::start(SIZE, &pieces, "")?;
    let pieces: Vec<(u64, &[u8])> = pieces.iter().map(|(at, bytes)| (*at, bytes.as_slice())).collect();
    let mut machine = Machine::new(engine, SIZE, &pieces, RAM)?;
    machine.run_to(BUDGET);
    let state = machine.state();
    let ended = qemu.finish(LIMIT)?;
    let mut theirs = vec![0; SIZE as usize];
    ended.ram.read_exact_at(&mut theirs, 0)?;
    let stuck = match (&state.end, ended.stuck) {
        (End::Done, None) => None,
        (End::Done, Some(why)) => Some(format!("QEMU does not come to the end: {why}")),
        (end, _) => Some(format!("Hostel does not come to the end: {end:?} at {:#x}", state.hart.pc)),
    };
    let mut ours = state.memory;
    ours.resize(SIZE as usize, 0);
    Ok(Left { ours, theirs, stuck, retired: state.retired })
}

impl Left {
    /// What two sides would leave that differ in the slot of `bad`, or of which one is stuck.
    #[cfg(test)]
    pub fn testing(bad: Option<Program>, stuck: bool) -> Left {
        let (ours, mut theirs) = (vec![0; SIZE as usize], vec![0; SIZE as usize]);
        if let Some(program) = bad {
            theirs[(program.slot - RAM) as usize] = 1;
        }
        Left { ours, theirs, stuck: stuck.then(|| "stuck".into()), retired: 0 }
    }

    /// What differs in the slot of `program`; `None` if nothing does.
    pub fn difference(&self, program: &Program) -> Option<String> {
        let slot = (program.slot - RAM) as usize..(program.slot - RAM + SLOT) as usize;
        let (ours, theirs) = (&self.ours[slot.clone()], &self.theirs[slot]);
        if ours == theirs {
            return None;
        }
        let mut text = String::new();
        traps(&mut text, ours, theirs);
        for at in (0..SLOT).step_by(8).filter(|at| !(STATE + LOG..STATE + LOG + LOG_BYTES).contains(at)) {
            let (a, b) = (word_at(ours, at), word_at(theirs, at));
            if a != b && text.lines().count() < 40 {
                let _ = writeln!(text, "    {:<24} hostel {a:#x} qemu {b:#x}", place(at));
            }
        }
        Some(text)
    }
}

/// The first trap of the log that differs, if the log has not wrapped since.
fn traps(text: &mut String, ours: &[u8], theirs: &[u8]) {
    let counts = (word_at(ours, STATE + TRAPS), word_at(theirs, STATE + TRAPS));
    let _ = writeln!(text, "    traps: hostel {} qemu {}", counts.0, counts.1);
    let size = LOG_BYTES / 32;
    let first = counts.0.max(counts.1).saturating_sub(size);
    for trap in first..counts.0.min(counts.1) {
        let at = STATE + LOG + trap % size * 32;
        let records = (0..4).map(|i| (word_at(ours, at + 8 * i), word_at(theirs, at + 8 * i)));
        let records: Vec<(u64, u64)> = records.collect();
        if records.iter().any(|(a, b)| a != b) {
            let [c, e, v, s] = [0, 1, 2, 3].map(|i| format!("{:#x}/{:#x}", records[i].0, records[i].1));
            let _ = writeln!(text, "    trap {trap}: cause {c} epc {e} tval {v} mstatus {s} (hostel/qemu)");
            return;
        }
    }
}

/// What is at an offset in a slot.
fn place(at: u64) -> String {
    match at {
        _ if at >= LEFT + 512 => {
            let name = LEFT_CSRS.get(((at - LEFT - 512) / 8) as usize);
            name.map_or(format!("end+{:#x}", at - LEFT), |name| (*name).to_string())
        }
        _ if at >= LEFT + 256 => format!("f{}", (at - LEFT - 256) / 8),
        _ if at >= LEFT => format!("x{}", (at - LEFT) / 8),
        _ if at >= STATE + CONTEXTS => format!("contexts+{:#x}", at - STATE - CONTEXTS),
        _ if at >= STATE => format!("state+{:#x}", at - STATE),
        _ if at >= TABLES => format!("tables+{:#x}", at - TABLES),
        _ if at >= DATA => format!("data+{:#x}", at - DATA),
        _ => format!("code+{:#x}", at - CODE),
    }
}
