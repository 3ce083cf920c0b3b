//! What named operations ask of the processor's surroundings.

use crate::{Fault, State};
use isa_core::Width;

/// How memory is accessed, for the page-table walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// A store (or a load that must be allowed to store: read-modify-write).
    pub write: bool,
    /// An instruction fetch.
    pub fetch: bool,
    /// A user-mode access: CPL 3, and not an implicit supervisor access (descriptor tables, TSS, event delivery).
    pub user: bool,
    /// An implicit supervisor access, to which RFLAGS.AC gives no leave under SMAP.
    pub implicit: bool,
}

impl Access {
    /// An access of data by an instruction at privilege level `cpl`.
    pub const fn data(cpl: u8, write: bool) -> Access {
        Access { write, fetch: false, user: cpl == 3, implicit: false }
    }
}

/// What an operation has changed that an engine may have remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Segments, CPL, control registers, EFER or RFLAGS.AC: what decoding, linear addresses, translation and protection
    /// depend on. Remembered translations stay valid, each for the state that it was made in.
    Context,
    /// All translations, global ones too if `global`: a write to CR3, CR4 and so on.
    FlushAll {
        /// Global pages too.
        global: bool,
    },
    /// The translations of one linear address (`invlpg`).
    FlushPage(u64),
    /// IF, the interrupt shadow, CR8, TF or the debug registers: an interrupt or a trap may be deliverable now.
    Interrupts,
    /// A serializing instruction: earlier stores are visible to later fetches.
    Serialize,
    /// An exception or interrupt has been delivered: no single-step trap comes behind the instruction.
    Delivered,
}

/// What operations may ask of whatever runs them.
pub trait Env {
    /// The processor's state.
    fn state(&mut self) -> &mut State;
    /// The same, to look at.
    fn state_ref(&self) -> &State;
    /// Address behind this instruction (offset in CS).
    fn next_rip(&self) -> u64;

    /// The linear address of `bytes` bytes at `offset` of segment register `segment`, as
    /// [`crate::X86Machine::linear`].
    ///
    /// # Errors
    /// #GP(0), or #SS(0) for SS.
    fn linear(&mut self, segment: u8, offset: u64, bytes: u64, write: bool) -> Result<u64, Fault>;
    /// Reads `width` bytes at linear address `la`, zero-extended. The access may cross a page.
    ///
    /// # Errors
    /// #PF, #GP for a non-canonical address.
    fn read(&mut self, la: u64, width: Width, access: Access) -> Result<u64, Fault>;
    /// Writes `width` bytes at linear address `la`; both pages are checked before either is written.
    ///
    /// # Errors
    /// As [`Env::read`].
    fn write(&mut self, la: u64, width: Width, value: u64, access: Access) -> Result<(), Fault>;
    /// Checks that `bytes` bytes at `la` may be accessed, without touching them.
    ///
    /// # Errors
    /// As [`Env::read`].
    fn probe(&mut self, la: u64, bytes: u64, access: Access) -> Result<(), Fault>;

    /// As [`crate::X86Machine::compare_exchange`].
    ///
    /// # Errors
    /// As [`Env::write`].
    fn compare_exchange(
        &mut self,
        la: u64,
        width: Width,
        expected: u64,
        new: u64,
        access: Access,
    ) -> Result<u64, Fault>;
    /// Compares the 16 bytes at `la`, which is a multiple of 16, with `expected` and writes `new` if they are equal; gives
    /// what was there. Needs write permission in either case. It need not be one step to other processors: `cpuid` offers
    /// the instruction to single processors only.
    ///
    /// # Errors
    /// As [`Env::write`].
    fn compare_exchange_16(
        &mut self,
        la: u64,
        expected: u128,
        new: u128,
        access: Access,
    ) -> Result<u128, Fault>;

    /// Reads from an I/O port; permission has been checked.
    fn port_in(&mut self, port: u16, width: Width) -> u64;
    /// Writes to an I/O port.
    fn port_out(&mut self, port: u16, width: Width, value: u64);

    /// The machine's time-stamp count, to which `Msrs::tsc_offset` is added.
    fn tsc(&mut self) -> u64;
    /// `Msrs::tsc_offset` becomes `offset`; the local APIC's deadline moves along.
    fn set_tsc_offset(&mut self, offset: u64);

    /// CR8: the task priority of the local APIC.
    fn cr8(&mut self) -> u64;
    /// Sets CR8 (0 to 15).
    fn set_cr8(&mut self, value: u64);
    /// An MSR that is not in `Msrs` (IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC, the hypervisor's). `None` if there is none such.
    fn outer_msr(&mut self, number: u32) -> Option<u64>;
    /// Writes one. `None` if there is none such or the value is not allowed.
    fn set_outer_msr(&mut self, number: u32, value: u64) -> Option<()>;

    /// Something that the engine may have remembered has changed.
    fn changed(&mut self, what: Change);
    /// Goes on at `rip` when the instruction is done.
    fn jump_to(&mut self, rip: u64);
    /// A string instruction has done enough for now: the instruction is to be run again from its present registers,
    /// after whatever waits (interrupts) has been looked at.
    fn again(&mut self);
    /// How many elements a string instruction may do before it must call [`Env::again`]; at least 1.
    fn elements(&mut self) -> u64;
    /// Does as many of the first `elements` of an ascending `rep stos` as it can do at once without a fault: stores `value`
    /// at linear addresses from `la` on. Gives how many; 0 is always right.
    fn fill(&mut self, _la: u64, _width: Width, _value: u64, _elements: u64) -> u64 {
        0
    }
    /// The same for an ascending `rep movs`, from `from` to `to`, element by element in effect.
    fn copy(&mut self, _from: u64, _to: u64, _width: Width, _elements: u64) -> u64 {
        0
    }
    /// `hlt`: nothing is executed until an interrupt.
    fn halt(&mut self);
    /// `pause`: a spin loop.
    fn pause(&mut self);
}
