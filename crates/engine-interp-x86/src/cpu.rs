//! What a meaning sees: the processor, its TLB, and its surroundings.

use engine_core::TimeSource;
use engine_mmu::{Context, Contexts, Key, PageFilter, Table};
use fabric_bus::Bus;
use fabric_ram::GuestRam;
use fabric_wire::{LocalController, PendingWord};
use isa_core::Width;
use isa_x86::{Fault, Mode, State};
use std::sync::Arc;

/// A meaning stopped: `Cpu::fault` says why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

/// One processor with everything its instructions touch. Hot fields first.
pub(crate) struct Cpu {
    pub state: State,
    pub ram: Arc<GuestRam>,
    pub read: Table,
    pub write: Table,
    pub fetch: Table,
    /// Context of loads and stores.
    pub data: Context,
    /// Context of fetches, and of the size of code.
    pub code: Context,
    /// What the two are of: `None` if they must be asked for anew.
    pub keys: Option<(Key, Key)>,
    /// Offset in CS where the block being run starts.
    pub block_rip: u64,
    /// The op being run: index in the block << 32 | offset of its end << 16 | offset from `block_rip`, in bytes.
    pub position: u64,
    /// Where to go on after the block being run.
    pub next_rip: u64,
    /// The block is to be left behind the op being run.
    pub leave: bool,
    /// The op being run is to be run again.
    pub again: bool,
    /// What `State` says of these, ready for use.
    pub mode: Mode,
    pub stack_width: Width,
    /// Base of CS: 0 in 64-bit mode.
    pub cs_base: u64,
    /// Linear addresses have 64 less this bits.
    pub unused_bits: u32,
    /// CPL 3.
    pub user: bool,
    /// Misaligned accesses fault.
    pub align_check: bool,
    /// Instructions retired up to the start of the block being run.
    pub retired: u64,
    /// The run loop looks around when `retired` gets here; 0 to look at once.
    pub stop_at: u64,
    /// Bits of the pending word that matter now.
    pub interest: u64,
    pub fault: Fault,
    /// Which pages of the arena code was decoded from, a bit each.
    pub code_pages: Box<[u64]>,
    /// Ranges of the arena that were stored to in such pages: offset, bytes.
    pub code_stores: Vec<(u64, u64)>,
    /// Where blocks were found by linear address.
    pub code_filter: PageFilter,
    /// The tables were cleared because context numbers start again: clear the block table too.
    pub contexts_reused: bool,
    /// How many events were delivered.
    pub events: u64,
    /// Physical address of the local controller's register page; 1 if it has none.
    pub apic_page: u64,
    pub bus: Arc<Bus>,
    pub ports: Arc<Bus>,
    pub local: Arc<dyn LocalController>,
    pub contexts: Contexts,
    pub time: TimeSource,
    pub pending: Arc<PendingWord>,
}

impl Cpu {
    /// Instructions retired before the one being run.
    pub fn retired_now(&self) -> u64 {
        self.retired + (self.position >> 32)
    }

    /// Address of the instruction being run.
    #[inline(always)]
    pub fn rip_now(&self) -> u64 {
        self.block_rip.wrapping_add(self.position & 0xffff)
    }

    /// Address behind it.
    #[inline(always)]
    pub fn rip_behind(&self) -> u64 {
        self.block_rip.wrapping_add(self.position >> 16 & 0xffff)
    }

    /// Makes the run loop look around behind the instruction being run.
    pub fn look_around(&mut self) {
        self.stop_at = 0;
        self.leave = true;
    }

    /// Brings a virtual clock up to this instruction, before a device looks at it; afterwards the run loop looks around,
    /// as the device may have raised a line, moved a deadline or stopped the machine.
    pub fn before_device(&mut self) {
        let _ = self.time.now(self.retired_now());
        self.look_around();
    }

    /// Stops a meaning with `fault`.
    #[cold]
    pub fn stop(&mut self, fault: Fault) -> Stopped {
        self.fault = fault;
        Stopped
    }
}
