//! Runs an image of bare-metal cases on both sides: RAM, a CLINT and a test finisher.

use crate::engine;
use crate::system_case::{Case, arena_at, code_at, meta_at};
use crate::system_runtime::{
    ARENA, CASES, CLINT, CURRENT, FINISHER, HANDLER, META, METAS, PLIC, PLIC_SOURCES, RAM, RAM_BYTES, UART,
    UART_SOURCE, runtime,
};
use anyhow::{Context, Result};
use dev_core::Slot;
use dev_irq::{Aclint, Plic};
use dev_uart::{Ns16550, Ns16550Config};
use differential_riscv::{Ended, Finisher, Machine, features};
use engine_core::{Exit, Hosted, TimeSource};
use engine_interp::Config;
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::{PendingWord, Sink, Wire};
use isa_riscv::{Extension, Hart};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// Instructions that no image needs.
const BUDGET: u64 = 1 << 26;
/// Steps that no image needs.
const STEPS: u64 = 1 << 20;
/// The longest that QEMU may run on an image that takes a fraction of a second.
const LIMIT: Duration = Duration::from_secs(20);

/// Something that meddles with the hart, and with memory, after every instruction: state before, state
/// after, the instruction's bits. It says whether it changed the hart.
pub type Meddler<'a> = &'a mut dyn FnMut(&Hart, &mut Hart, u32, &Bus) -> bool;

/// Memory that an image left, by case: two meta pages and the arena.
pub struct Left {
    /// For each case.
    pub cases: Vec<Vec<u8>>,
    /// Why and in which case the run did not get to the end.
    pub stuck: Option<(usize, String)>,
}

/// The contents of RAM at the start.
pub struct Image {
    /// (offset in RAM, bytes).
    pieces: Vec<(u64, Vec<u8>)>,
    /// Indices of the cases in it.
    first: usize,
    count: usize,
    /// Whether the hart has C.
    compressed: bool,
}

impl Image {
    /// An image of `cases`, from place number `first` on.
    pub fn new(cases: &[Case], first: usize, compressed: bool) -> Image {
        assert!(first + cases.len() <= CASES);
        let mut pieces = vec![(0, runtime(first, first + cases.len()))];
        for (i, case) in cases.iter().enumerate() {
            let place = first + i;
            pieces.push((code_at(place) - RAM, case.code(place)));
            pieces.push((meta_at(place) - RAM, case.meta(place)));
            pieces.push((arena_at(place) - RAM, case.arena.clone()));
        }
        Image { pieces, first, count: cases.len(), compressed }
    }

    fn collect(
        &self,
        stuck: Option<String>,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<Left> {
        let mut cases = Vec::new();
        for place in self.first..self.first + self.count {
            let mut bytes = vec![0; (META + ARENA) as usize];
            let (meta, arena) = bytes.split_at_mut(META as usize);
            read(meta_at(place) - RAM, meta)?;
            read(arena_at(place) - RAM, arena)?;
            cases.push(bytes);
        }
        let stuck = match stuck {
            None => None,
            Some(why) => {
                let mut pointer = [0; 8];
                read(HANDLER - RAM + CURRENT as u64, &mut pointer)?;
                let place = (u64::from_le_bytes(pointer).wrapping_sub(METAS) / META) as usize;
                Some((place.wrapping_sub(self.first).min(self.count - 1), why))
            }
        };
        Ok(Left { cases, stuck })
    }
}

/// Starts QEMU on `image`.
///
/// # Errors
/// What the host says.
pub fn start_qemu(image: &Image) -> Result<Machine> {
    Machine::start(RAM_BYTES, &image.pieces, if image.compressed { "" } else { ",c=false" })
}

/// Waits for QEMU's end.
///
/// # Errors
/// If it fails otherwise than by not ending.
pub fn finish_qemu(qemu: Machine, image: &Image) -> Result<Left> {
    let Ended { ram, stuck } = qemu.finish(LIMIT)?;
    image.collect(stuck, |offset, to| Ok(ram.read_exact_at(to, offset)?))
}

/// Runs `image` in Hostel; with a meddler, one instruction at a time.
///
/// # Errors
/// If the host gives no memory.
pub fn run(image: &Image, meddler: Option<Meddler<'_>>) -> Result<Left> {
    let pending = Arc::new(PendingWord::new());
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let ram = Arc::new(GuestRam::new(RAM_BYTES)?);
    let mut builder = BusBuilder::new(Arc::clone(&ram));
    builder.ram("ram", RAM, RAM_BYTES, 0, true)?;
    builder.device("finisher", FINISHER, 0x1000, Arc::new(Finisher(Arc::clone(&pending))))?;
    let sink: Arc<dyn Sink> = Arc::clone(&pending) as _;
    let wires = vec![Some(Wire::new(Arc::clone(&sink), 3)), Some(Wire::new(Arc::clone(&sink), 7))];
    let clint = Slot::new(Aclint::new(1, 10_000_000), wires, &timers);
    builder.device("clint", CLINT, 0x1_0000, clint)?;
    let outputs = vec![Some(Wire::new(Arc::clone(&sink), 11)), Some(Wire::new(sink, 9))];
    let plic = Slot::new(Plic::new(PLIC_SOURCES, 2), outputs, &timers);
    builder.device("plic", PLIC, 0x60_0000, Arc::clone(&plic) as _)?;
    let uart = Ns16550::new(Ns16550Config { clock_hz: 3_686_400, reg_shift: 0 });
    let uart = Slot::new(uart, vec![Some(Wire::new(plic, UART_SOURCE))], &timers);
    builder.device("uart", UART, 0x100, uart)?;
    for (offset, bytes) in &image.pieces {
        ram.copy_in(*offset, bytes).context("the image is larger than RAM")?;
    }
    let bus = Arc::new(builder.build());
    let mut features = features();
    if !image.compressed {
        features.extensions = features.extensions.without(Extension::C);
    }
    let mut hart = Hart::new(0, &features);
    hart.pc = RAM;
    let time = TimeSource::new(timers, 10_000_000);
    let mut cpu = engine::hart(Config { hart, bus: Arc::clone(&bus), time, pending })?;
    let end = match meddler {
        None => cpu.run(BUDGET),
        Some(meddler) => step(&mut *cpu, &bus, meddler),
    };
    let stuck = (end != Exit::Kick).then(|| format!("{end:x?} at {:#x}", cpu.state().pc));
    image.collect(stuck, |offset, to| ram.copy_out(offset, to).context("outside of RAM"))
}

fn step(cpu: &mut dyn Hosted<State = Hart>, bus: &Bus, meddler: Meddler<'_>) -> Exit {
    for _ in 0..STEPS {
        let before = cpu.state().clone();
        // The slots' code is where it is fetched from, or an alias of that.
        let pc = before.pc & 0xffff_ffff & !crate::system_runtime::ALIAS;
        let half = |at: u64| bus.read(at, 2).unwrap_or(0) as u32;
        let word = if before.pc >> 31 == 1 { half(pc) | half(pc + 2) << 16 } else { 0 };
        match cpu.run(1) {
            Exit::Budget => {}
            other => return other,
        }
        let mut after = cpu.state().clone();
        if meddler(&before, &mut after, word, bus) {
            cpu.with_state(&mut |hart| hart.clone_from(&after));
        }
    }
    Exit::Budget
}
