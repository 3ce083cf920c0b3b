//! Exceptions and interrupts: causes, entry, and which interrupt is taken (Privileged Architecture,
//! chapters "Machine-Level ISA" and "Supervisor-Level ISA").

use crate::csr_fields::{irq, mstatus};
use crate::{Hart, Mode};

/// Synchronous causes, with their numbers in `mcause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exception {
    /// Instruction address misaligned.
    InsnMisaligned = 0,
    /// Instruction access fault.
    InsnAccess = 1,
    /// Illegal instruction.
    IllegalInsn = 2,
    /// Breakpoint.
    Breakpoint = 3,
    /// Load address misaligned.
    LoadMisaligned = 4,
    /// Load access fault.
    LoadAccess = 5,
    /// Store/AMO address misaligned.
    StoreMisaligned = 6,
    /// Store/AMO access fault.
    StoreAccess = 7,
    /// Environment call from U-mode.
    EcallU = 8,
    /// Environment call from S-mode.
    EcallS = 9,
    /// Environment call from M-mode.
    EcallM = 11,
    /// Instruction page fault.
    InsnPage = 12,
    /// Load page fault.
    LoadPage = 13,
    /// Store/AMO page fault.
    StorePage = 15,
}

/// A synchronous trap on its way: cause and the value for `mtval`/`stval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Why.
    pub cause: Exception,
    /// Faulting address, the illegal instruction's bits, or 0.
    pub tval: u64,
}

impl Trap {
    /// A trap with a value for `xtval`.
    #[inline(always)]
    pub const fn new(cause: Exception, tval: u64) -> Trap {
        Trap { cause, tval }
    }

    /// An illegal instruction. Its `tval` is 0; **the engine puts the instruction's bits there** (a
    /// 16-bit instruction zero-extended) whenever an [`Exception::IllegalInsn`] comes with 0, for
    /// only it knows them.
    #[inline(always)]
    pub const fn illegal() -> Trap {
        Trap::new(Exception::IllegalInsn, 0)
    }
}

/// Interrupts, with their numbers in `mcause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Interrupt {
    /// Supervisor software.
    SupervisorSoftware = 1,
    /// Machine software.
    MachineSoftware = 3,
    /// Supervisor timer.
    SupervisorTimer = 5,
    /// Machine timer.
    MachineTimer = 7,
    /// Supervisor external.
    SupervisorExternal = 9,
    /// Machine external.
    MachineExternal = 11,
}

/// Why a trap is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An instruction's doing.
    Exception(Exception),
    /// Not an instruction's doing.
    Interrupt(Interrupt),
}

impl From<Exception> for Cause {
    fn from(exception: Exception) -> Cause {
        Cause::Exception(exception)
    }
}

impl From<Interrupt> for Cause {
    fn from(interrupt: Interrupt) -> Cause {
        Cause::Interrupt(interrupt)
    }
}

impl Cause {
    /// As in `mcause`: bit 63 set for an interrupt.
    pub const fn bits(self) -> u64 {
        match self {
            Cause::Exception(exception) => exception as u64,
            Cause::Interrupt(interrupt) => 1 << 63 | interrupt as u64,
        }
    }
}

/// Enters the trap handler: into S-mode if the cause is delegated and the hart is not in M-mode, else
/// into M-mode. Saves `epc` (the address of the instruction that trapped or was about to run) and
/// `tval` (0 for an interrupt), stacks mode and interrupt enable, and returns the new `pc`, which it
/// has also set. Mode, SIE and MIE may differ after: whoever caches them looks again.
pub fn take_trap(hart: &mut Hart, cause: impl Into<Cause>, epc: u64, tval: u64) -> u64 {
    let cause = cause.into();
    let (delegated, number) = match cause {
        Cause::Exception(e) => (hart.csr.medeleg, e as u64),
        Cause::Interrupt(i) => (hart.csr.mideleg, i as u64),
    };
    let to_s = hart.mode < Mode::M && delegated >> number & 1 != 0;
    let csr = &mut hart.csr;
    let status = csr.mstatus;
    let tvec = if to_s {
        csr.sepc = epc;
        csr.scause = cause.bits();
        csr.stval = tval;
        let mut new = status & !(mstatus::SIE | mstatus::SPIE | mstatus::SPP);
        if status & mstatus::SIE != 0 {
            new |= mstatus::SPIE;
        }
        if hart.mode == Mode::S {
            new |= mstatus::SPP;
        }
        csr.mstatus = new;
        hart.mode = Mode::S;
        csr.stvec
    } else {
        csr.mepc = epc;
        csr.mcause = cause.bits();
        csr.mtval = tval;
        let mut new = status & !(mstatus::MIE | mstatus::MPIE | mstatus::MPP);
        if status & mstatus::MIE != 0 {
            new |= mstatus::MPIE;
        }
        csr.mstatus = new | (hart.mode as u64) << mstatus::MPP_SHIFT;
        hart.mode = Mode::M;
        csr.mtvec
    };
    let vectored = tvec & 3 == 1 && matches!(cause, Cause::Interrupt(_));
    let offset = if vectored { 4 * number } else { 0 };
    hart.pc = (tvec & !3).wrapping_add(offset);
    hart.pc
}

/// The interrupt to take before the next instruction, if any: pending, enabled and not masked by the
/// mode. `lines` are bits of `mip` from outside; `time` counts only if
/// [`stce`](crate::Csrs::stce). Those for M-mode come first, and in each mode external before
/// software before timer ("Machine Interrupt (mip and mie) Registers").
#[inline]
pub fn pending_interrupt(hart: &Hart, lines: u64, time: u64) -> Option<Interrupt> {
    let csr = &hart.csr;
    let ready = csr.pending(lines, time) & csr.mie;
    if ready == 0 {
        return None;
    }
    let ready = ready & enabled_interrupts(hart);
    let (for_m, for_s) = (ready & !csr.mideleg, ready & csr.mideleg);
    first_of(for_m).or_else(|| first_of(for_s))
}

/// The interrupts that would be taken now if they were pending, as bits of `mip`.
#[inline]
pub fn enabled_interrupts(hart: &Hart) -> u64 {
    let csr = &hart.csr;
    let m_on = hart.mode < Mode::M || csr.mstatus & mstatus::MIE != 0;
    let s_on = hart.mode < Mode::S || hart.mode == Mode::S && csr.mstatus & mstatus::SIE != 0;
    let for_m = if m_on { csr.mie & !csr.mideleg } else { 0 };
    let for_s = if s_on { csr.mie & csr.mideleg } else { 0 };
    for_m | for_s
}

/// Whether `wfi` has no reason to wait: something enabled in `mie` is pending, whatever MIE, SIE and
/// `mideleg` say ("Wait for Interrupt").
#[inline]
pub fn wakes(hart: &Hart, lines: u64, time: u64) -> bool {
    hart.csr.pending(lines, time) & hart.csr.mie != 0
}

fn first_of(set: u64) -> Option<Interrupt> {
    const ORDER: [(u64, Interrupt); 6] = [
        (irq::MEI, Interrupt::MachineExternal),
        (irq::MSI, Interrupt::MachineSoftware),
        (irq::MTI, Interrupt::MachineTimer),
        (irq::SEI, Interrupt::SupervisorExternal),
        (irq::SSI, Interrupt::SupervisorSoftware),
        (irq::STI, Interrupt::SupervisorTimer),
    ];
    ORDER.into_iter().find(|&(bit, _)| set & bit != 0).map(|(_, interrupt)| interrupt)
}
