//! Which of Hostel's engines is compared: chosen once, for all that this process runs.

use anyhow::Result;
use differential_riscv::Cpu;
pub use differential_riscv::Engine;
use engine_interp::Config;
use std::sync::OnceLock;

static CHOSEN: OnceLock<Engine> = OnceLock::new();

/// Takes `engine` for all that follows.
pub fn choose(engine: Engine) {
    let _ = CHOSEN.set(engine);
}

/// A hart on that engine.
///
/// # Errors
/// If the host cannot run translated code.
pub fn hart(config: Config) -> Result<Cpu> {
    CHOSEN.get().copied().unwrap_or_default().hart(config)
}
