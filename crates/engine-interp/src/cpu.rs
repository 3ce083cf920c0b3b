//! What a meaning sees: the hart, its TLB, and its surroundings.

use engine_core::{Firmware, TimeSource};
use engine_mmu::{Context, Contexts, PageFilter, Table};
use fabric_bus::Bus;
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_core::Width;
use isa_riscv::{Hart, Legal, Trap};
use std::sync::Arc;

/// Why a meaning or its block stopped early.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// The instruction takes this trap and has changed nothing.
    Trap(Trap),
    /// The instruction is done, but the world has changed: leave the block behind it.
    Leave,
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Stop::Trap(trap)
    }
}

/// A reservation of `lr`: the value seen at an arena offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub offset: u64,
    pub width: Width,
    pub value: u64,
}

/// One hart with everything its instructions touch. Hot fields first.
pub(crate) struct Cpu {
    pub hart: Hart,
    pub ram: Arc<GuestRam>,
    pub read: Table,
    pub write: Table,
    pub fetch: Table,
    /// Context of loads and stores.
    pub data: Context,
    /// Context of fetches.
    pub code: Context,
    /// Where the block being run starts.
    pub block_pc: u64,
    /// The op being run: index in the block << 16 | offset from `block_pc` in bytes.
    pub position: u32,
    /// Where to go on after the block being run.
    pub next_pc: u64,
    /// Instructions retired up to the start of the block being run.
    pub retired: u64,
    /// The run loop looks around when `retired` gets here; 0 to look at once.
    pub stop_at: u64,
    /// Bits of the pending word that matter now.
    pub interest: u64,
    pub stop: Stop,
    pub reservation: Option<Reservation>,
    pub code_pages: PageFilter,
    /// The rows that the hart has.
    pub legal: Legal,
    /// Bits of a jump's target that must be 0: bit 1 without C (IALIGN is 32 then).
    pub unaligned: u64,
    /// Counts `fence.i`: blocks checked under an older number must be compared with memory again.
    pub code_fence: u64,
    /// The tables were cleared because context numbers start again: clear the block table too.
    pub contexts_reused: bool,
    /// In `wfi`.
    pub waiting: bool,
    /// Whether the hart's own timer had fired at the last look at the clock.
    pub timer_fired: bool,
    pub firmware: Firmware,
    pub bus: Arc<Bus>,
    pub contexts: Contexts,
    pub time: TimeSource,
    pub pending: Arc<PendingWord>,
}

impl Cpu {
    /// Instructions retired before the one being run.
    pub fn retired_now(&self) -> u64 {
        self.retired + u64::from(self.position >> 16)
    }

    /// Address of the instruction being run.
    #[inline(always)]
    pub fn pc_now(&self) -> u64 {
        self.block_pc.wrapping_add(u64::from(self.position & 0xffff))
    }

    /// Makes the run loop look around behind the current block.
    pub fn look_around(&mut self) {
        self.stop_at = 0;
    }
}
