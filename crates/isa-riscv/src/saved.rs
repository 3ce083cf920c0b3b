//! The saved state of a hart: plain values, numbered by version; how they are encoded is for others.

use crate::csr::{epc_writable, legal_envcfgs, legal_mstatus, legal_satp, legal_tvec};
use crate::csr_fields::{MEDELEG, counter, irq, mstatus};
use crate::{Csrs, Features, Hart, Mode};

/// The version of [`SavedHart`] that this crate writes.
pub const VERSION: u32 = 1;

/// All architectural state of one hart. Zero is the reset value of whatever a later version adds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the register of its name")]
pub struct SavedHart {
    pub version: u32,
    pub hartid: u64,
    /// 0 U, 1 S, 3 M.
    pub mode: u8,
    pub pc: u64,
    pub x: [u64; 32],
    pub f: [u64; 32],
    pub fflags: u8,
    pub frm: u8,
    pub mstatus: u64,
    pub satp: u64,
    pub mie: u64,
    /// The bits that software wrote, without lines from outside.
    pub mip: u64,
    pub mideleg: u64,
    pub medeleg: u64,
    pub mtvec: u64,
    pub mscratch: u64,
    pub mepc: u64,
    pub mcause: u64,
    pub mtval: u64,
    pub stvec: u64,
    pub sscratch: u64,
    pub sepc: u64,
    pub scause: u64,
    pub stval: u64,
    pub stimecmp: u64,
    pub menvcfg: u64,
    pub senvcfg: u64,
    pub mcounteren: u64,
    pub scounteren: u64,
    pub mcountinhibit: u64,
    /// As software reads it.
    pub mcycle: u64,
    /// As software reads it.
    pub minstret: u64,
    pub pmpcfg: [u8; 64],
    pub pmpaddr: [u64; 64],
}

/// Why a saved hart cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A version that this program does not know.
    Version(u32),
    /// A privilege mode that does not exist, or not on this hart.
    Mode(u8),
    /// `satp` with a translation mode that the hart does not have.
    Satp(u64),
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LoadError::Version(version) => write!(
                f,
                "hart state of version {version}; this program reads {VERSION}: use the program \
                 that saved it, or a newer one"
            ),
            LoadError::Mode(mode) => {
                write!(f, "hart state names privilege mode {mode}, which does not exist: the file is damaged")
            }
            LoadError::Satp(satp) => write!(
                f,
                "hart state has satp {satp:#x}, a translation mode that this hart lacks: choose the \
                 processor that it was saved on"
            ),
        }
    }
}

impl core::error::Error for LoadError {}

impl SavedHart {
    /// The state of `hart`, which has retired `retired` instructions (as [`crate::Env::retired`]).
    pub fn of(hart: &Hart, retired: u64) -> SavedHart {
        let Hart { x, f, pc, mode, csr, features: _, hartid } = hart;
        let (mcycle, minstret) = (csr.mcycle(retired), csr.minstret(retired));
        let Csrs {
            mstatus,
            satp,
            mie,
            mip,
            mideleg,
            medeleg,
            fflags,
            frm,
            mtvec,
            mscratch,
            mepc,
            mcause,
            mtval,
            stvec,
            sscratch,
            sepc,
            scause,
            stval,
            stimecmp,
            menvcfg,
            senvcfg,
            mcounteren,
            scounteren,
            mcountinhibit,
            cycle: _,
            instret: _,
            pmp,
        } = csr;
        SavedHart {
            version: VERSION,
            hartid: *hartid,
            mode: *mode as u8,
            pc: *pc,
            x: *x,
            f: *f,
            fflags: *fflags,
            frm: *frm,
            mstatus: *mstatus,
            satp: *satp,
            mie: *mie,
            mip: *mip,
            mideleg: *mideleg,
            medeleg: *medeleg,
            mtvec: *mtvec,
            mscratch: *mscratch,
            mepc: *mepc,
            mcause: *mcause,
            mtval: *mtval,
            stvec: *stvec,
            sscratch: *sscratch,
            sepc: *sepc,
            scause: *scause,
            stval: *stval,
            stimecmp: *stimecmp,
            menvcfg: *menvcfg,
            senvcfg: *senvcfg,
            mcounteren: *mcounteren,
            scounteren: *scounteren,
            mcountinhibit: *mcountinhibit,
            mcycle,
            minstret,
            pmpcfg: core::array::from_fn(|i| pmp.cfg(i as u8)),
            pmpaddr: core::array::from_fn(|i| pmp.addr(i as u8)),
        }
    }

    /// The hart with this state on a processor with `features`, going on after `retired`
    /// instructions. Values that such a hart cannot hold become ones that it can.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, features: &Features, retired: u64) -> Result<Hart, LoadError> {
        if self.version != VERSION {
            return Err(LoadError::Version(self.version));
        }
        let mode = Mode::from_bits(u64::from(self.mode));
        let mode = mode.filter(|&mode| mode != Mode::S || features.supervisor);
        let mode = mode.ok_or(LoadError::Mode(self.mode))?;
        let satp = legal_satp(features, self.satp).ok_or(LoadError::Satp(self.satp))?;
        let (menvcfg, senvcfg) = legal_envcfgs(features, self.menvcfg, self.senvcfg);
        let epc = epc_writable(features);
        let counters = u64::from(features.counter_mask);
        let mut hart = Hart::new(self.hartid, features);
        hart.mode = mode;
        hart.pc = self.pc & epc;
        hart.x = self.x;
        let [zero, ..] = &mut hart.x;
        *zero = 0;
        hart.f = self.f;
        let csr = &mut hart.csr;
        csr.mstatus = legal_mstatus(features, 0, self.mstatus);
        // Below M-mode MPRV is 0: every way there clears it.
        if mode != Mode::M {
            csr.mstatus &= !mstatus::MPRV;
        }
        let levels = irq::s_level(features.supervisor);
        csr.satp = satp;
        csr.mie = self.mie & (irq::M_LEVEL | levels);
        csr.mip = self.mip & levels;
        csr.mideleg = self.mideleg & levels;
        csr.medeleg = if features.supervisor { self.medeleg & MEDELEG } else { 0 };
        csr.fflags = self.fflags & 0x1f;
        csr.frm = self.frm & 7;
        csr.mtvec = legal_tvec(0, self.mtvec);
        csr.mscratch = self.mscratch;
        csr.mepc = self.mepc & epc;
        csr.mcause = self.mcause;
        csr.mtval = self.mtval;
        csr.stvec = legal_tvec(0, self.stvec);
        csr.sscratch = self.sscratch;
        csr.sepc = self.sepc & epc;
        csr.scause = self.scause;
        csr.stval = self.stval;
        csr.stimecmp = self.stimecmp;
        csr.menvcfg = menvcfg;
        csr.senvcfg = senvcfg;
        csr.mcounteren = self.mcounteren & counters;
        csr.scounteren = self.scounteren & counters;
        csr.mcountinhibit = self.mcountinhibit & counters & !counter::TM;
        csr.set_mcycle(self.mcycle, retired);
        csr.set_minstret(self.minstret, retired);
        csr.pmp.restore(&self.pmpcfg, &self.pmpaddr);
        Ok(hart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state in which every field differs from reset.
    fn odd_hart() -> Hart {
        let mut hart = Hart::new(3, &Features::FULL);
        hart.x = core::array::from_fn(|i| i as u64 * 0x1111);
        hart.f = core::array::from_fn(|i| !(i as u64));
        (hart.pc, hart.mode) = (0x8000_0002, Mode::S);
        let csr = &mut hart.csr;
        csr.mstatus = legal_mstatus(&Features::FULL, 0, !(1 << 12 | mstatus::MPRV));
        (csr.satp, csr.mie, csr.mip) = (9 << 60 | 5, 0xaaa, 0x222);
        (csr.mideleg, csr.medeleg, csr.fflags, csr.frm) = (0x222, 0xb3ff, 0x1f, 4);
        (csr.mtvec, csr.mscratch, csr.mepc, csr.mcause) = (0x101, 1, 2, 3);
        (csr.mtval, csr.stvec, csr.sscratch, csr.sepc) = (4, 0x201, 5, 6);
        (csr.scause, csr.stval, csr.stimecmp) = (7, 8, 9);
        (csr.menvcfg, csr.senvcfg) = (7 << 61 | 0xf1, 0xf1);
        (csr.mcounteren, csr.scounteren) = (7, 0x7_ffff);
        csr.set_mcountinhibit(1, 100);
        csr.set_minstret(1234, 100);
        csr.pmp.set_addr(0, 77);
        csr.pmp.set_cfg_register(0, 0x9f);
        hart
    }

    #[test]
    fn a_saved_hart_loads_the_same_whatever_has_retired_since() {
        let hart = odd_hart();
        let saved = SavedHart::of(&hart, 100);
        assert_eq!(saved.load(&Features::FULL, 100), Ok(hart));
        let later = saved.load(&Features::FULL, 5).unwrap();
        assert_eq!(later.csr.minstret(7), 1236);
        assert_eq!(SavedHart::of(&later, 5), saved);
    }

    #[test]
    fn hostile_states_become_legal_or_errors() {
        let good = SavedHart::of(&odd_hart(), 0);
        let load = |change: fn(&mut SavedHart)| {
            let mut saved = good.clone();
            change(&mut saved);
            saved.load(&Features::RV64GC, 0)
        };
        assert_eq!(load(|s| s.version = 9), Err(LoadError::Version(9)));
        assert_eq!(load(|s| s.mode = 2), Err(LoadError::Mode(2)));
        assert_eq!(load(|_| ()), Err(LoadError::Satp(9 << 60 | 5)));
        let hart = load(|s| {
            s.satp = 0;
            s.x[0] = 1;
            s.mstatus = !0;
            s.frm = 0xff;
            s.mtvec = 3;
            s.menvcfg = !0;
            s.pmpcfg[0] = 0x62;
        })
        .unwrap();
        assert_eq!((hart.x[0], hart.csr.frm, hart.csr.mtvec), (0, 7, 0));
        assert_eq!((hart.csr.menvcfg, hart.csr.pmp.cfg(0)), (1, 0));
        assert_eq!(hart.csr.mstatus, 0xa_007c_79aa, "S-mode: no MPRV");
    }
}
