//! The comparison with QEMU: many programs one after the other in one machine, and what they leave in memory.

use crate::engines::Engine;
use crate::machine::{End, Machine};
use anyhow::{Context, Result, bail};
use differential_core::{Peer, missing};
use random_programs::assembler::Assembler;
use random_programs::layout::{
    CODE, CONTEXTS, DATA, LEFT, LEFT_CSRS, LOG, LOG_BYTES, RAM, SLOT, STATE, TABLES, TRAPS,
};
use random_programs::{Profile, Program, generate, image};
use std::fmt::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The other side.
pub const QEMU: &str = "qemu-system-riscv64";
/// Programs in one machine; the first slot is that of the start.
pub const BATCH: u64 = 32;
/// RAM: the slots, and room at the end, where QEMU puts the device tree.
const SIZE: u64 = (BATCH + 1) * SLOT + (4 << 20);
/// The longest that QEMU may take for what takes a second.
const LIMIT: Duration = Duration::from_secs(40);
/// Instructions that no batch needs.
const BUDGET: u64 = 1 << 30;
/// The processor: see `cargo xtask differential`.
const CPU: &str = "rv64,zfh=true,zicond=true,svinval=true,svnapot=true,svpbmt=true,\
                   h=false,zawrs=false,zfa=false,debug=false,pmu-mask=0xfffffff8";

/// Why QEMU cannot be asked, if it cannot.
pub fn lacking() -> Option<String> {
    missing(QEMU, "qemu-system-misc (trixie: qemu-system-riscv)")
}

/// Program `number` of `seed` for this comparison.
pub fn program(seed: u64, number: u64) -> Program {
    generate(seed, number, Profile::Elsewhere, RAM + (1 + number % BATCH) * SLOT)
}

/// RAM with the programs, each of which goes on to the next.
fn memory(programs: &[Program]) -> Vec<(u64, Vec<u8>)> {
    let images: Vec<&Program> = programs.iter().filter(|p| image(p, None).is_some()).collect();
    let mut pieces = Vec::new();
    for (i, program) in images.iter().enumerate() {
        let next = images.get(i + 1).map(|next| next.slot);
        pieces.extend(image(program, next).map(|image| (program.slot - RAM, image)));
    }
    let mut start = Assembler::new(RAM);
    start.li(1, images.first().map_or(RAM, |p| p.slot));
    start.opi("jalr", 0, 1, 0);
    pieces.push((0, start.finish()));
    pieces
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

/// Runs `programs` on both sides.
///
/// # Errors
/// If a side cannot be run.
pub fn run(engine: Engine, programs: &[Program]) -> Result<Left> {
    let pieces = memory(programs);
    let file = start_file(&pieces)?;
    let path = file.path().to_str().context("the name of a temporary file")?;
    let backend = format!("memory-backend-file,id=ram,size={SIZE},share=on,mem-path={path}");
    let size = format!("{}K", SIZE >> 10);
    let arguments = [
        "-M",
        "virt,memory-backend=ram",
        "-object",
        &backend,
        "-m",
        &size,
        "-cpu",
        CPU,
        "-bios",
        "none",
        "-display",
        "none",
        "-serial",
        "none",
        "-monitor",
        "none",
        "-no-reboot",
    ];
    let peer = Peer::start(QEMU, &arguments, None)?;
    let pieces: Vec<(u64, &[u8])> = pieces.iter().map(|(at, bytes)| (*at, bytes.as_slice())).collect();
    let mut machine = Machine::new(engine, SIZE, &pieces, RAM)?;
    machine.run_to(BUDGET);
    let state = machine.state();
    let output = peer.finish(LIMIT)?;
    if !output.success() && !output.killed {
        bail!("{QEMU}: {}", output.end);
    }
    let mut theirs = vec![0; SIZE as usize];
    file.as_file().read_exact_at(&mut theirs, 0)?;
    let stuck = match (&state.end, output.killed) {
        (End::Done, false) => None,
        (End::Done, true) => Some("QEMU does not come to the end".to_string()),
        (end, _) => Some(format!("Hostel does not come to the end: {end:?} at {:#x}", state.hart.pc)),
    };
    let mut ours = state.memory;
    ours.resize(SIZE as usize, 0);
    Ok(Left { ours, theirs, stuck, retired: state.retired })
}

/// A file with the contents of RAM: in memory, where there is such a folder.
fn start_file(pieces: &[(u64, Vec<u8>)]) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("differential-").suffix(".ram");
    let file = builder.tempfile_in("/dev/shm").or_else(|_| builder.tempfile())?;
    file.as_file().set_len(SIZE)?;
    for (offset, bytes) in pieces {
        file.as_file().write_all_at(bytes, *offset)?;
    }
    Ok(file)
}

impl Left {
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
            let (a, b) = (word(ours, at), word(theirs, at));
            if a != b && text.lines().count() < 40 {
                let _ = writeln!(text, "    {:<24} hostel {a:#x} qemu {b:#x}", place(at));
            }
        }
        Some(text)
    }
}

fn word(bytes: &[u8], at: u64) -> u64 {
    bytes[at as usize..at as usize + 8].iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
}

/// The first trap of the log that differs, if the log has not wrapped since.
fn traps(text: &mut String, ours: &[u8], theirs: &[u8]) {
    let counts = (word(ours, STATE + TRAPS), word(theirs, STATE + TRAPS));
    let _ = writeln!(text, "    traps: hostel {} qemu {}", counts.0, counts.1);
    let size = LOG_BYTES / 32;
    let first = counts.0.max(counts.1).saturating_sub(size);
    for trap in first..counts.0.min(counts.1) {
        let at = STATE + LOG + trap % size * 32;
        let records = (0..4).map(|i| (word(ours, at + 8 * i), word(theirs, at + 8 * i)));
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
