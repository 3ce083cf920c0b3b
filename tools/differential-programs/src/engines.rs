//! The engines that can be compared. To add one, add a line to [`ENGINES`].

use crate::mutants::{ALL, Mistake, Stepping};
use anyhow::Result;
pub use differential_riscv::Cpu;
use differential_riscv::Engine as Own;
use engine_interp::Config;

/// How an engine is made.
#[derive(Clone, Copy)]
pub enum Kind {
    /// One of Hostel's.
    Own(Own),
    /// The interpreter one instruction at a time, perhaps with a mistake.
    Stepping(Mistake),
}

/// An engine.
#[derive(Clone, Copy)]
pub struct Engine {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// The engines.
pub const ENGINES: &[Engine] = &[
    INTERP,
    // What a budget cuts off must not matter.
    Engine { name: "steps", kind: Kind::Stepping(Mistake::None) },
    Engine { name: "jit", kind: Kind::Own(Own::Jit) },
    Engine { name: "jit-small", kind: Kind::Own(Own::JitSmall) },
    Engine { name: "jit-late", kind: Kind::Own(Own::JitLate) },
    Engine { name: "jit-first", kind: Kind::Own(Own::JitFirst) },
    Engine { name: "jit-second", kind: Kind::Own(Own::JitSecond) },
];

/// Those that a sample has besides the default: few programs each.
pub const OTHERS: &[&str] = &["jit-small", "jit-late", "jit-first", "jit-second"];

/// The interpreter.
pub const INTERP: Engine = Engine { name: "interp", kind: Kind::Own(Own::Interp) };

impl Engine {
    /// A hart that it runs.
    ///
    /// # Errors
    /// If the host cannot.
    pub fn hart(self, config: Config) -> Result<Cpu> {
        match self.kind {
            Kind::Own(engine) => engine.hart(config),
            Kind::Stepping(mistake) => Stepping::boxed(config, mistake),
        }
    }
}

/// The engine called `name`.
pub fn find(name: &str) -> Option<Engine> {
    ENGINES.iter().copied().chain(ALL.iter().map(|mutant| mutant.engine())).find(|engine| engine.name == name)
}
