//! Hostel's engines. To add one, add a variant.

use anyhow::{Context, Result};
use engine_core::Hosted;
use engine_interp::{Config, Interp};
use engine_jit::{Jit, Options, Tiers};
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
    /// The translator's first tier alone, from the first instruction on
    JitFirst,
    /// Its second tier for everything, likewise
    JitSecond,
}

/// Bytes of host code: 64 MiB would have to be mapped for every program.
const CACHE: usize = 4 << 20;
/// So few that some hundred blocks fill them.
const SMALL: usize = 128 << 10;

impl Engine {
    /// Why this host does not have it, if it does not.
    pub fn missing(self) -> Option<&'static str> {
        if self == Engine::Interp { None } else { Jit::missing() }
    }

    /// How the translator is set; `None` for the interpreter.
    fn options(self) -> Option<Options> {
        let all = Options { threshold: 0, cache: CACHE, ..Options::default() };
        match self {
            Engine::Interp => None,
            Engine::Jit => Some(all),
            Engine::JitSmall => Some(Options { cache: SMALL, ..all }),
            Engine::JitLate => Some(Options::default()),
            Engine::JitFirst => Some(Options { tiers: Tiers::First, ..all }),
            Engine::JitSecond => Some(Options { tiers: Tiers::Second, ..all }),
        }
    }

    /// A hart on that engine.
    ///
    /// # Errors
    /// If the host cannot run translated code.
    pub fn hart(self, config: Config) -> Result<Cpu> {
        let Some(options) = self.options() else { return Ok(Box::new(Interp::new(config))) };
        Ok(Box::new(Jit::new(config, options).context("the translator cannot be used")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::{Exit, TimeSource, Vcpu};
    use fabric_bus::BusBuilder;
    use fabric_clock::{Clock, Timers};
    use fabric_ram::GuestRam;
    use fabric_wire::PendingWord;
    use isa_riscv::Features;
    use std::sync::Arc;

    /// What a translator does where 4096 jumps stand in a row.
    fn counts(engine: Engine) -> engine_jit::Counts {
        let jumps = 0x0040_006f_u32.to_le_bytes().repeat(4096);
        let ram = Arc::new(GuestRam::new(1 << 16).unwrap());
        ram.copy_in(0, &jumps).unwrap();
        let mut bus = BusBuilder::new(Arc::clone(&ram));
        bus.ram("ram", 0x8000_0000, 1 << 16, 0, true).unwrap();
        let mut hart = Hart::new(0, &Features::FULL);
        hart.pc = 0x8000_0000;
        let time = TimeSource::new(Timers::new(Arc::new(Clock::virtual_())), 10_000_000);
        let config = Config { hart, bus: Arc::new(bus.build()), time, pending: Arc::new(PendingWord::new()) };
        let mut jit = Jit::new(config, engine.options().unwrap()).unwrap();
        assert_eq!(jit.run(4096), Exit::Budget);
        jit.counts()
    }

    #[test]
    fn the_translators_differ_in_what_they_keep() {
        if let Some(why) = Engine::Jit.missing() {
            eprintln!("skipped: this host lacks {why}");
            return;
        }
        let [all, small, late] = [Engine::Jit, Engine::JitSmall, Engine::JitLate].map(counts);
        assert!(all.translated > 4000 && all.emptied == 0, "{all:?}");
        assert!(small.translated > 4000 && small.emptied > 2, "{small:?}");
        assert_eq!(late.translated, 0, "{late:?}");
        let [first, second] = [Engine::JitFirst, Engine::JitSecond].map(counts);
        assert!(first.translated > 4000 && first.regions == 0, "{first:?}");
        assert!(second.translated > 4000 && second.regions > 4000, "{second:?}");
    }
}
