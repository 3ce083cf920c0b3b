//! One machine on one engine: RAM, a CLINT, a UART, a finisher, and time that is the instruction count.

use crate::engines::{Cpu, Engine};
use anyhow::{Context, Result};
use dev_core::Slot;
use dev_irq::Aclint;
use dev_uart::{Ns16550, Ns16550Config};
use differential_riscv::{Finisher, features};
use engine_core::{Exit, TimeSource};
use engine_interp::Config;
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::{Clock, Nanos, Timers};
use fabric_ram::GuestRam;
use fabric_wire::{PendingWord, Sink, Wire};
use isa_riscv::Hart;
use random_programs::layout::{CLINT, FINISHER, RAM, UART, WINDOW};
use std::ops::Range;
use std::sync::Arc;

/// The most that a program's exits other than by its budget may be, between two stops.
const EXITS: u32 = 1 << 20;
/// One tick a nanosecond, and so one an instruction: an interrupt can come at any.
const TIMEBASE: u64 = 1_000_000_000;

/// How a run to a stop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At the stop.
    Stop,
    /// The program ended the machine.
    Done,
    /// Something else, which ends the comparison, too.
    Other(String),
}

/// A machine.
pub struct Machine {
    /// Its hart.
    pub cpu: Cpu,
    /// Its memory, and the way to its devices.
    pub bus: Arc<Bus>,
    timers: Arc<Timers>,
    uart: Arc<Slot<Ns16550>>,
    clint: Arc<Slot<Aclint>>,
    output: Vec<u8>,
    end: End,
    /// The part of RAM that [`State`] has: all that was given contents.
    seen: Range<u64>,
}

/// All that can be seen of a machine.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// How it got here.
    pub end: End,
    /// Instructions retired.
    pub retired: u64,
    /// Registers and CSRs.
    pub hart: Hart,
    /// Guest time.
    pub now: Nanos,
    /// What the UART sent.
    pub output: Vec<u8>,
    /// `mtime` and the lines that the CLINT drives.
    pub clint: (u64, u64),
    /// What there was in RAM at the start, and where programs write.
    pub memory: Vec<u8>,
}

/// The instruction at `pc` in a slot's code, however that is mapped; `half` reads two bytes at an offset in the slot.
pub fn instruction(pc: u64, half: impl Fn(u64) -> u64) -> u32 {
    let at = pc & (WINDOW - 1);
    (half(at) | half(at + 2) << 16) as u32
}

impl Machine {
    /// A machine with `pieces` (offset, bytes) in `size` bytes of RAM that starts at `pc`.
    ///
    /// # Errors
    /// If the host gives no memory, or does not have the engine.
    pub fn new(engine: Engine, size: u64, pieces: &[(u64, &[u8])], pc: u64) -> Result<Machine> {
        let pending = Arc::new(PendingWord::new());
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let ram = Arc::new(GuestRam::new(size)?);
        let mut builder = BusBuilder::new(Arc::clone(&ram));
        builder.ram("ram", RAM, size, 0, true)?;
        builder.device("finisher", FINISHER, 0x1000, Arc::new(Finisher(Arc::clone(&pending))))?;
        let sink: Arc<dyn Sink> = Arc::clone(&pending) as _;
        let wires = vec![Some(Wire::new(Arc::clone(&sink), 3)), Some(Wire::new(sink, 7))];
        let clint = Slot::new(Aclint::new(1, TIMEBASE), wires, &timers);
        builder.device("clint", CLINT, 0x1_0000, Arc::clone(&clint) as _)?;
        let uart = Ns16550::new(Ns16550Config { clock_hz: 3_686_400, reg_shift: 0 });
        let uart = Slot::new(uart, Vec::new(), &timers);
        builder.device("uart", UART, 0x100, Arc::clone(&uart) as _)?;
        for (offset, bytes) in pieces {
            ram.copy_in(*offset, bytes).context("the image is larger than RAM")?;
        }
        let start = pieces.iter().map(|(at, _)| *at).min().unwrap_or(0);
        let end = pieces.iter().map(|(at, bytes)| at + bytes.len() as u64).max().unwrap_or(0);
        let seen = start..end;
        let bus = Arc::new(builder.build());
        let mut hart = Hart::new(0, &features());
        hart.pc = pc;
        let time = TimeSource::new(Arc::clone(&timers), TIMEBASE);
        let cpu = engine.hart(Config { hart, bus: Arc::clone(&bus), time, pending })?;
        Ok(Machine { cpu, bus, timers, uart, clint, output: Vec::new(), end: End::Stop, seen })
    }

    /// Runs until `stop` instructions have retired since the start, or to the end.
    pub fn run_to(&mut self, stop: u64) {
        for _ in 0..EXITS {
            let retired = self.cpu.retired();
            if self.end != End::Stop || retired >= stop {
                return;
            }
            let exit = self.cpu.run(stop - retired);
            self.uart.with(|uart, _| uart.drain(&mut self.output));
            match exit {
                Exit::Budget => {
                    if self.cpu.retired() != stop {
                        self.end = End::Other(format!("a budget to {stop} ended at {}", self.cpu.retired()));
                    }
                    return;
                }
                Exit::Kick => self.end = End::Done,
                Exit::Idle { until, wake } => self.sleep(until, wake),
                other => self.end = End::Other(format!("{other:x?}")),
            }
        }
        self.end = End::Other(format!("{EXITS} exits on the way to {stop}"));
    }

    /// Nothing runs meanwhile, so time jumps.
    fn sleep(&mut self, until: Option<Nanos>, wake: u64) {
        let next = until.into_iter().chain(self.timers.next_deadline()).min();
        match next {
            _ if self.cpu.pending().load() & wake != 0 => {}
            Some(at) => {
                self.timers.clock().advance_to(at);
                self.timers.run_due(self.timers.clock().now());
            }
            None => self.end = End::Other(format!("sleeps for ever, would wake by {wake:#x}")),
        }
    }

    /// How it stands.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// All that can be seen.
    pub fn state(&mut self) -> State {
        self.cpu.park();
        let retired = self.cpu.retired();
        let mut memory = vec![0; (self.seen.end - self.seen.start) as usize];
        self.bus.ram().copy_out(self.seen.start, &mut memory);
        let now = self.timers.clock().now();
        let clint = self.clint.with(|clint, now| (clint.mtime(now), dev_core::Device::lines(clint, 0, now)));
        let hart = self.cpu.state().clone();
        State { end: self.end.clone(), retired, hart, now, output: self.output.clone(), clint, memory }
    }
}
