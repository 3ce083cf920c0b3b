//! Which of Hostel's engines is compared: chosen once, for all that this process runs.

use anyhow::{Context, Result};
use engine_core::Hosted;
use engine_interp::{Config, Interp};
use engine_jit::{Jit, Options};
use isa_riscv::Hart;
use std::sync::OnceLock;

/// An engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The interpreter
    #[default]
    Interp,
    /// The translator, from the first instruction on
    Jit,
}

static CHOSEN: OnceLock<Engine> = OnceLock::new();

/// Bytes of host code for one image: one of 64 MiB would have to be mapped for each.
const CACHE: usize = 4 << 20;

/// Takes `engine` for all that follows.
pub fn choose(engine: Engine) {
    let _ = CHOSEN.set(engine);
}

/// A hart on that engine.
///
/// # Errors
/// If the host cannot run translated code.
pub fn hart(config: Config) -> Result<Box<dyn Hosted<State = Hart>>> {
    Ok(match CHOSEN.get().copied().unwrap_or_default() {
        Engine::Interp => Box::new(Interp::new(config)),
        Engine::Jit => {
            let options = Options { threshold: 0, cache: CACHE, ..Options::default() };
            Box::new(Jit::new(config, options).context("the translator cannot be used")?)
        }
    })
}
