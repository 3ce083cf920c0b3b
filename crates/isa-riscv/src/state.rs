//! The state of a hart.

use crate::csr_fields::{counter, envcfg, irq, mstatus};
use crate::{Extension, Features, Pmp};

/// Privilege mode, with its encoding in `mstatus.MPP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mode {
    /// User.
    U = 0,
    /// Supervisor.
    S = 1,
    /// Machine.
    M = 3,
}

impl Mode {
    /// The mode with this encoding; 2 is none.
    pub const fn from_bits(bits: u64) -> Option<Mode> {
        match bits {
            0 => Some(Mode::U),
            1 => Some(Mode::S),
            3 => Some(Mode::M),
            _ => None,
        }
    }
}

/// All architectural state of one hart, but for LR/SC reservations, which belong to whoever runs it:
/// losing one is always legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hart {
    /// Integer registers; `x[0]` is always 0.
    pub x: [u64; 32],
    /// Floating-point registers, NaN-boxed.
    pub f: [u64; 32],
    /// Address of the next instruction, while none is being executed.
    pub pc: u64,
    /// Privilege mode.
    pub mode: Mode,
    /// Control and status registers.
    pub csr: Csrs,
    /// What the hart has.
    pub features: Features,
    /// `mhartid`.
    pub hartid: u64,
}

impl Hart {
    /// A hart as after power-on, at address 0.
    pub fn new(hartid: u64, features: &Features) -> Hart {
        Hart {
            x: [0; 32],
            f: [0; 32],
            pc: 0,
            mode: Mode::M,
            csr: Csrs::new(features),
            features: *features,
            hartid,
        }
    }

    /// Resets the hart: as after power-on.
    pub fn reset(&mut self) {
        *self = Hart::new(self.hartid, &self.features);
    }

    /// The mode that loads and stores are done in: MPP if MPRV is set in M-mode ("Memory Privilege in
    /// mstatus Register"). Below M, MPRV is always clear: `mret` and `sret` see to it.
    #[inline]
    pub fn data_mode(&self) -> Mode {
        if self.csr.mstatus & mstatus::MPRV != 0 { self.csr.mpp() } else { self.mode }
    }
}

/// Control and status registers, as software would read them unless said otherwise. Each holds only
/// legal values: write through [`crate::csr::access`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csrs {
    /// Without SD, see [`Csrs::mstatus_with_sd`]; also holds `sstatus`.
    pub mstatus: u64,
    /// Address translation: mode 63:60, address space 59:44, root page 43:0.
    pub satp: u64,
    /// Enabled interrupts; also holds `sie`.
    pub mie: u64,
    /// Pending interrupts as software wrote them (SSIP, STIP, SEIP); [`Csrs::pending`] has all.
    pub mip: u64,
    /// Interrupts for S-mode.
    pub mideleg: u64,
    /// Exceptions for S-mode.
    pub medeleg: u64,
    /// Accrued floating-point exceptions, 5 bits.
    pub fflags: u8,
    /// Floating-point rounding mode, 3 bits.
    pub frm: u8,
    /// Machine trap vector.
    pub mtvec: u64,
    /// Machine scratch.
    pub mscratch: u64,
    /// Machine exception program counter.
    pub mepc: u64,
    /// Machine cause.
    pub mcause: u64,
    /// Machine trap value.
    pub mtval: u64,
    /// Supervisor trap vector.
    pub stvec: u64,
    /// Supervisor scratch.
    pub sscratch: u64,
    /// Supervisor exception program counter.
    pub sepc: u64,
    /// Supervisor cause.
    pub scause: u64,
    /// Supervisor trap value.
    pub stval: u64,
    /// Supervisor timer compare, in timebase ticks.
    pub stimecmp: u64,
    /// Machine environment configuration.
    pub menvcfg: u64,
    /// Supervisor environment configuration.
    pub senvcfg: u64,
    /// Counters that S-mode may read.
    pub mcounteren: u64,
    /// Counters that U-mode may read, of those.
    pub scounteren: u64,
    /// Counters that stand still.
    pub mcountinhibit: u64,
    /// `mcycle`: while it stands still, its value; else its value less retired instructions.
    pub(crate) cycle: u64,
    /// `minstret`, likewise.
    pub(crate) instret: u64,
    /// Physical memory protection.
    pub pmp: Pmp,
}

impl Csrs {
    /// The values after reset (section "Reset"); what that leaves open is 0, except that PBMTE is on
    /// and ADUE is on for a hart that has Svadu and not Svade.
    pub fn new(features: &Features) -> Csrs {
        let mut menvcfg = 0;
        if features.supervisor && features.has(Extension::Svpbmt) {
            menvcfg |= envcfg::PBMTE;
        }
        if features.supervisor && features.has(Extension::Svadu) && !features.has(Extension::Svade) {
            menvcfg |= envcfg::ADUE;
        }
        Csrs {
            mstatus: if features.supervisor { mstatus::SXL } else { 0 } | mstatus::UXL,
            satp: 0,
            mie: 0,
            mip: 0,
            mideleg: 0,
            medeleg: 0,
            fflags: 0,
            frm: 0,
            mtvec: 0,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            stvec: 0,
            sscratch: 0,
            sepc: 0,
            scause: 0,
            stval: 0,
            stimecmp: 0,
            menvcfg,
            senvcfg: 0,
            mcounteren: 0,
            scounteren: 0,
            mcountinhibit: 0,
            cycle: 0,
            instret: 0,
            pmp: Pmp::new(features.pmp_entries),
        }
    }

    /// `mstatus` with SD, which says whether FS is dirty.
    #[inline]
    pub fn mstatus_with_sd(&self) -> u64 {
        if self.mstatus & mstatus::FS == mstatus::FS { self.mstatus | mstatus::SD } else { self.mstatus }
    }

    /// The mode in `mstatus.MPP`.
    #[inline]
    pub fn mpp(&self) -> Mode {
        match self.mstatus & mstatus::MPP {
            0 => Mode::U,
            mstatus::MPP => Mode::M,
            _ => Mode::S,
        }
    }

    /// Whether floating-point instructions are legal: FS is not off.
    #[inline(always)]
    pub fn fp_on(&self) -> bool {
        self.mstatus & mstatus::FS != 0
    }

    /// Notes that floating-point state has changed.
    #[inline(always)]
    pub fn set_fp_dirty(&mut self) {
        self.mstatus |= mstatus::FS;
    }

    /// Whether `stimecmp` drives STIP.
    #[inline(always)]
    pub fn stce(&self) -> bool {
        // Only a hart with Sstc can have the bit set.
        self.menvcfg & envcfg::STCE != 0
    }

    /// When STIP next rises: `stimecmp`, if it is enabled. STIP is set while `time` is not less.
    #[inline]
    pub fn next_timer(&self) -> Option<u64> {
        self.stce().then_some(self.stimecmp)
    }

    /// `mip` with the outside lines (bits of [`irq::LINES`]) and the timer at `time`, which is
    /// looked at only if [`Csrs::stce`].
    #[inline]
    pub fn pending(&self, lines: u64, time: u64) -> u64 {
        let software = if self.stce() {
            let stip = if time >= self.stimecmp { irq::STI } else { 0 };
            self.mip & !irq::STI | stip
        } else {
            self.mip
        };
        software | lines & irq::LINES
    }

    /// `mcycle` after `retired` instructions: one cycle each.
    pub fn mcycle(&self, retired: u64) -> u64 {
        self.counter(self.cycle, counter::CY, retired)
    }

    /// `minstret` after `retired` instructions.
    pub fn minstret(&self, retired: u64) -> u64 {
        self.counter(self.instret, counter::IR, retired)
    }

    /// Makes `mcycle` `v` for the instruction before which `retired` have retired.
    pub fn set_mcycle(&mut self, v: u64, retired: u64) {
        self.cycle = self.stored(v, counter::CY, retired);
    }

    /// Makes `minstret` `v` for the instruction before which `retired` have retired.
    pub fn set_minstret(&mut self, v: u64, retired: u64) {
        self.instret = self.stored(v, counter::IR, retired);
    }

    /// Stops and starts counters before the instruction before which `retired` have retired.
    pub fn set_mcountinhibit(&mut self, inhibit: u64, retired: u64) {
        let (cycle, instret) = (self.mcycle(retired), self.minstret(retired));
        self.mcountinhibit = inhibit;
        self.set_mcycle(cycle, retired);
        self.set_minstret(instret, retired);
    }

    fn counter(&self, stored: u64, bit: u64, retired: u64) -> u64 {
        if self.mcountinhibit & bit != 0 { stored } else { stored.wrapping_add(retired) }
    }

    fn stored(&self, v: u64, bit: u64, retired: u64) -> u64 {
        if self.mcountinhibit & bit != 0 { v } else { v.wrapping_sub(retired) }
    }
}
