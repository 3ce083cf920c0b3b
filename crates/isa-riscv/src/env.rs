//! What a named operation may ask of whatever runs it.

use crate::{Hart, Trap};

/// Something that an operation changed and an engine may have cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The context of address translation: `satp`, privilege, `mstatus` MPRV, MPP, SUM, MXR,
    /// `menvcfg`/`senvcfg` fields that the walk looks at.
    Translation,
    /// PMP entries: every cached permission is stale.
    Pmp,
    /// `sfence.vma` or `sinval.vma`: translations of `va` (all, if `None`) under `asid` (any).
    FenceVma {
        /// The virtual address named, if any.
        va: Option<u64>,
        /// The address space named, if any.
        asid: Option<u16>,
    },
    /// `fence.i`: instruction fetches from here on see all stores before.
    FenceI,
    /// What may be interrupted: `mie`, `mip`, `mideleg`, `mstatus` MIE and SIE, privilege.
    Interrupts,
    /// `stimecmp` or whether it is enabled: when the timer next fires.
    Timer,
    /// Which instructions are legal: `mstatus.FS`, `misa`.
    Legality,
}

/// The surroundings of a hart: its state, time, and whoever caches things about it.
pub trait Env {
    /// The hart.
    fn hart(&mut self) -> &mut Hart;
    /// The hart, to look at.
    fn hart_ref(&self) -> &Hart;
    /// Address of the instruction being executed.
    fn insn_pc(&self) -> u64;
    /// The `time` counter, in timebase ticks.
    fn time(&mut self) -> u64;
    /// Instructions this hart has retired since it was made, not counting the current one.
    fn retired(&mut self) -> u64;
    /// The interrupt lines driven from outside, as bits of `mip` (MSIP 3, MTIP 7, SEIP 9, MEIP 11).
    fn lines(&mut self) -> u64;
    /// Something cached may be stale.
    fn changed(&mut self, what: Change);
    /// `wfi` with nothing pending: the hart may sleep.
    fn wait_for_interrupt(&mut self);
    /// `pause`: the hart spins, waiting for another. A good time to let others have the processor.
    fn pause(&mut self) {}
    /// Goes on at `pc` after this operation (`mret`, `sret`).
    fn jump_to(&mut self, pc: u64);
    /// `cbo.zero`: zeroes the 64-byte cache block that holds `va`.
    ///
    /// # Errors
    /// The store's fault.
    fn zero_block(&mut self, va: u64) -> Result<(), Trap>;
    /// `cbo.clean`, `cbo.flush`, `cbo.inval`: checks that the block that holds `va` may be so managed;
    /// memory is coherent, so nothing else happens.
    ///
    /// # Errors
    /// The fault of an access that neither loads nor stores.
    fn manage_block(&mut self, va: u64) -> Result<(), Trap>;
}
