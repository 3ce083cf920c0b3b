//! What a meaning sees: the hart, its TLB, and its surroundings.

use crate::context::Entered;
use crate::native::Native;
use crate::trap::Traps;
use engine_core::{Firmware, TimeSource};
use engine_mmu::{Context, Contexts, Regions, Table};
use fabric_bus::Bus;
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_riscv::{Hart, Legal, PmpStretch, Trap};
use std::sync::Arc;

/// Why a meaning or its block stopped early.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// The instruction takes this trap and has changed nothing.
    Trap(Trap),
    /// The instruction has done nothing yet and must be run by itself.
    Alone,
    /// The instruction is done, but the world has changed: leave the block behind it.
    Leave,
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Stop::Trap(trap)
    }
}

/// A reservation of `lr`: the value seen at a place in the host's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Reservation {
    /// Where: what an entry of the TLB gives for the address.
    pub place: u64,
    /// What was there; of four bytes, the low half counts.
    pub value: u64,
    /// How many bytes; 0 if nothing is reserved.
    pub bytes: u64,
}

/// Pages remembered for loads, and for stores: 32 MiB of them, 128 KiB of the host's memory each. A guest whose working set
/// is larger pays for a walk now and then; one whose working set is smaller touches what it needs of it only.
pub const PAGES: usize = 8192;

/// One hart with everything its instructions touch. Hot fields first. An engine that emits code addresses some of them.
pub struct Cpu {
    /// Architectural state.
    pub hart: Hart,
    /// Memory.
    pub ram: Arc<GuestRam>,
    /// Pages to load from.
    pub read: Table<PAGES>,
    /// Pages to store to.
    pub write: Table<PAGES>,
    /// Pages to fetch from.
    pub fetch: Table,
    /// Context of loads and stores.
    pub data: Context,
    /// Context of fetches.
    pub code: Context,
    /// What of the modes beside privilege that holds for ([`Cpu::floats`]).
    pub code_floats: u32,
    /// That is one of several address spaces.
    pub code_shared: bool,
    /// In which tables walks ended.
    pub regions: Regions,
    /// What PMP said when it was last asked.
    pub stretch: PmpStretch,
    /// Loads need no table: addresses are physical, and the memory that emitted code knows may be loaded from.
    pub linear: bool,
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
    /// Why an op stopped.
    pub stop: Stop,
    /// The instruction being run is the only one.
    pub alone: bool,
    /// What `lr` has reserved.
    pub reservation: Reservation,
    /// Instructions retired at the last fence of a whole address space.
    pub fenced_at: u64,
    /// How many of the instructions retired so far are those that looks at what address spaces have in common made up for.
    pub looked_upto: u64,
    /// The rows that the hart has.
    pub legal: Legal,
    /// Bits of a jump's target that must be 0: bit 1 without C (IALIGN is 32 then).
    pub unaligned: u64,
    /// Counts `fence.i`: blocks checked under an older number must be compared with memory again.
    pub code_fence: u64,
    /// In `wfi`.
    pub waiting: bool,
    /// Whether the hart's own timer had fired at the last look at the clock.
    pub timer_fired: bool,
    /// Who owns M-mode.
    pub firmware: Firmware,
    /// Traps that lead nowhere.
    pub traps: Traps,
    /// Futile traps end a run even where an interrupt could still end them: for whoever looks for interrupts only between
    /// runs.
    pub impatient: bool,
    /// Guest-physical memory.
    pub bus: Arc<Bus>,
    /// The contexts whose entries may be in the tables.
    pub contexts: Contexts,
    /// Those that were entered last.
    pub entered: Entered,
    /// Time.
    pub time: TimeSource,
    /// Interrupt lines and requests.
    pub pending: Arc<PendingWord>,
    /// For an engine that emits code.
    pub native: Native,
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
