//! Hostel's engines. To add one, add a variant.

use anyhow::{Context, Result};
use engine_core::Hosted;
use engine_interp::{Config, Interp};
use engine_jit::{Jit, Options};
use isa_riscv::Hart;

/// A hart on some engine.
pub type Cpu = Box<dyn Hosted<State = Hart>>;

/// An engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The interpreter
    #[default]
    Interp,
    /// The translator, from the first instruction on
    Jit,
    /// The same with so little room that it often forgets everything
    JitSmall,
    /// The translator as it is used: what has run a few times
    JitLate,
}

/// Bytes of host code: 64 MiB would have to be mapped for every program.
const CACHE: usize = 4 << 20;
/// So few that some hundred blocks fill them.
const SMALL: usize = 192 << 10;

impl Engine {
    /// Why this host does not have it, if it does not.
    pub fn missing(self) -> Option<&'static str> {
        if self == Engine::Interp { None } else { Jit::missing() }
    }

    /// A hart on that engine.
    ///
    /// # Errors
    /// If the host cannot run translated code.
    pub fn hart(self, config: Config) -> Result<Cpu> {
        let options = match self {
            Engine::Interp => return Ok(Box::new(Interp::new(config))),
            Engine::Jit => Options { threshold: 0, cache: CACHE, ..Options::default() },
            Engine::JitSmall => Options { threshold: 0, cache: SMALL, ..Options::default() },
            Engine::JitLate => Options::default(),
        };
        Ok(Box::new(Jit::new(config, options).context("the translator cannot be used")?))
    }
}
