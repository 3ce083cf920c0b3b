//! The engines that can be compared. To add one, add a line to [`ENGINES`].

use crate::mutants;
use engine_core::{Hosted, TimeSource};
use engine_interp::{Config, Interp};
use fabric_bus::Bus;
use fabric_wire::PendingWord;
use isa_riscv::Hart;
use std::sync::Arc;

/// A hart on some engine.
pub type Cpu = Box<dyn Hosted<State = Hart>>;

/// What an engine is given.
pub struct Parts {
    /// Initial state.
    pub hart: Hart,
    /// Guest-physical memory.
    pub bus: Arc<Bus>,
    /// Time.
    pub time: TimeSource,
    /// Interrupt lines and requests.
    pub pending: Arc<PendingWord>,
}

/// An engine.
#[derive(Clone, Copy)]
pub struct Engine {
    /// Name on the command line.
    pub name: &'static str,
    /// Makes a hart that it runs.
    pub make: fn(Parts) -> Cpu,
}

/// The engines.
pub const ENGINES: &[Engine] = &[
    Engine { name: "interp", make: interp },
    // The interpreter, one instruction at a time: what a budget cuts off must not matter.
    Engine { name: "steps", make: |parts| mutants::Stepping::boxed(parts, None) },
];

/// The interpreter.
pub fn interp(parts: Parts) -> Cpu {
    let Parts { hart, bus, time, pending } = parts;
    Box::new(Interp::new(Config { hart, bus, time, pending }))
}

/// The engine called `name`.
pub fn find(name: &str) -> Option<Engine> {
    ENGINES.iter().chain(mutants::ENGINES).find(|engine| engine.name == name).copied()
}
