//! What Hostel's machine has like QEMU's: the harts' features, the test finisher.

use fabric_bus::{BusFault, Target};
use fabric_wire::PendingWord;
use isa_riscv::{Extension, Features};
use std::sync::Arc;

/// Notes that the guest has ended the machine: the next exit is a kick.
pub struct Finisher(pub Arc<PendingWord>);

impl Target for Finisher {
    fn read(&self, _: u64, _: u8) -> Result<u64, BusFault> {
        Ok(0)
    }
    fn write(&self, _: u64, _: u8, _: u64) -> Result<(), BusFault> {
        self.0.raise(PendingWord::KICK);
        Ok(())
    }
}

/// What harts have: what QEMU's have with [`crate::CPU`], which are Svadu and no Svade, and all counters.
pub fn features() -> Features {
    let extensions = Features::FULL.extensions.without(Extension::Svade);
    Features { extensions, pmp_csrs: 16, counter_mask: u32::MAX, ..Features::FULL }
}
