//! The CSRs: number, name, register, and when each exists (Privileged Architecture, "CSR Listing").
//!
//! The least privilege mode and whether a CSR is read-only are in its number.

use crate::{Extension, Features, Mode};

/// A CSR by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Csr {
    Fflags,
    Frm,
    Fcsr,
    Cycle,
    Time,
    Instret,
    Hpmcounter(u8),
    Sstatus,
    Sie,
    Stvec,
    Scounteren,
    Senvcfg,
    Sscratch,
    Sepc,
    Scause,
    Stval,
    Sip,
    Stimecmp,
    Satp,
    Mvendorid,
    Marchid,
    Mimpid,
    Mhartid,
    Mconfigptr,
    Mstatus,
    Misa,
    Medeleg,
    Mideleg,
    Mie,
    Mtvec,
    Mcounteren,
    Menvcfg,
    Mcountinhibit,
    Mscratch,
    Mepc,
    Mcause,
    Mtval,
    Mip,
    /// Holds the configuration of eight entries; the number is even.
    Pmpcfg(u8),
    Pmpaddr(u8),
    Mcycle,
    Minstret,
    Mhpmcounter(u8),
    Mhpmevent(u8),
    Tselect,
    Tdata1,
    Tdata2,
    Tdata3,
    Tinfo,
}

/// When a CSR exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On every hart.
    Always,
    /// With this extension.
    With(Extension),
    /// If [`Features::pmp_csrs`] is greater than this.
    Pmp(u8),
    /// With S-mode.
    Supervisor,
    /// With S-mode and this extension.
    SupervisorWith(Extension),
    /// With Zicntr, if [`Features::time_csr`] says so.
    TimeCsr,
}

/// One CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its 12-bit number.
    pub number: u16,
    /// Its name in assembly.
    pub name: &'static str,
    /// What it is.
    pub csr: Csr,
    /// When it exists.
    pub when: When,
}

impl Row {
    /// The least mode that may access the CSR: bits 9:8 of the number ("CSR Address Mapping
    /// Conventions"). The hypervisor's 2 counts as M.
    pub const fn least_mode(&self) -> Mode {
        match self.number >> 8 & 3 {
            0 => Mode::U,
            1 => Mode::S,
            _ => Mode::M,
        }
    }

    /// Whether a write is an illegal instruction: bits 11:10 of the number are both set.
    pub const fn read_only(&self) -> bool {
        self.number >> 10 & 3 == 3
    }

    /// Whether a hart with `features` has the CSR.
    pub const fn exists(&self, features: &Features) -> bool {
        match self.when {
            When::Always => true,
            When::With(extension) => features.has(extension),
            When::Pmp(first) => first < features.pmp_csrs,
            When::Supervisor => features.supervisor,
            When::SupervisorWith(extension) => features.supervisor && features.has(extension),
            When::TimeCsr => features.has(Extension::Zicntr) && features.time_csr,
        }
    }
}

const fn row(number: u16, name: &'static str, csr: Csr, when: When) -> Row {
    Row { number, name, csr, when }
}

/// Position in [`TABLE`] plus 1, or 0, for each number.
static INDEX: [u16; 4096] = {
    let mut index = [0; 4096];
    let mut position = 0;
    while position < TABLE.len() {
        #[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
        let number = TABLE[position].number as usize;
        #[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            index[number] = position as u16 + 1;
        }
        position += 1;
    }
    index
};

/// The CSR with `number`.
#[inline]
pub fn find(number: u16) -> Option<&'static Row> {
    let position = *INDEX.get(usize::from(number))?;
    TABLE.get(usize::from(position).wrapping_sub(1))
}

/// The name of the CSR with `number`.
pub fn csr_name(number: u16) -> Option<&'static str> {
    find(number).map(|row| row.name)
}

/// The number of the CSR called `name`.
pub fn csr_number(name: &str) -> Option<u16> {
    TABLE.iter().find(|row| row.name == name).map(|row| row.number)
}

use Csr::*;
use When::{Always, Pmp, Supervisor, TimeCsr};
const F: When = When::With(Extension::F);
const SSTC: When = When::SupervisorWith(Extension::Sstc);
const ZICNTR: When = When::With(Extension::Zicntr);
const ZIHPM: When = When::With(Extension::Zihpm);

/// Every CSR, by number.
#[rustfmt::skip]
pub static TABLE: [Row; 203] = [
    row(0x001, "fflags", Fflags, F),
    row(0x002, "frm", Frm, F),
    row(0x003, "fcsr", Fcsr, F),
    row(0x100, "sstatus", Sstatus, Supervisor),
    row(0x104, "sie", Sie, Supervisor),
    row(0x105, "stvec", Stvec, Supervisor),
    row(0x106, "scounteren", Scounteren, Supervisor),
    row(0x10a, "senvcfg", Senvcfg, Supervisor),
    row(0x140, "sscratch", Sscratch, Supervisor),
    row(0x141, "sepc", Sepc, Supervisor),
    row(0x142, "scause", Scause, Supervisor),
    row(0x143, "stval", Stval, Supervisor),
    row(0x144, "sip", Sip, Supervisor),
    row(0x14d, "stimecmp", Stimecmp, SSTC),
    row(0x180, "satp", Satp, Supervisor),
    row(0x300, "mstatus", Mstatus, Always),
    row(0x301, "misa", Misa, Always),
    row(0x302, "medeleg", Medeleg, Supervisor),
    row(0x303, "mideleg", Mideleg, Supervisor),
    row(0x304, "mie", Mie, Always),
    row(0x305, "mtvec", Mtvec, Always),
    row(0x306, "mcounteren", Mcounteren, Always),
    row(0x30a, "menvcfg", Menvcfg, Always),
    row(0x320, "mcountinhibit", Mcountinhibit, Always),
    row(0x323, "mhpmevent3", Mhpmevent(3), Always),
    row(0x324, "mhpmevent4", Mhpmevent(4), Always),
    row(0x325, "mhpmevent5", Mhpmevent(5), Always),
    row(0x326, "mhpmevent6", Mhpmevent(6), Always),
    row(0x327, "mhpmevent7", Mhpmevent(7), Always),
    row(0x328, "mhpmevent8", Mhpmevent(8), Always),
    row(0x329, "mhpmevent9", Mhpmevent(9), Always),
    row(0x32a, "mhpmevent10", Mhpmevent(10), Always),
    row(0x32b, "mhpmevent11", Mhpmevent(11), Always),
    row(0x32c, "mhpmevent12", Mhpmevent(12), Always),
    row(0x32d, "mhpmevent13", Mhpmevent(13), Always),
    row(0x32e, "mhpmevent14", Mhpmevent(14), Always),
    row(0x32f, "mhpmevent15", Mhpmevent(15), Always),
    row(0x330, "mhpmevent16", Mhpmevent(16), Always),
    row(0x331, "mhpmevent17", Mhpmevent(17), Always),
    row(0x332, "mhpmevent18", Mhpmevent(18), Always),
    row(0x333, "mhpmevent19", Mhpmevent(19), Always),
    row(0x334, "mhpmevent20", Mhpmevent(20), Always),
    row(0x335, "mhpmevent21", Mhpmevent(21), Always),
    row(0x336, "mhpmevent22", Mhpmevent(22), Always),
    row(0x337, "mhpmevent23", Mhpmevent(23), Always),
    row(0x338, "mhpmevent24", Mhpmevent(24), Always),
    row(0x339, "mhpmevent25", Mhpmevent(25), Always),
    row(0x33a, "mhpmevent26", Mhpmevent(26), Always),
    row(0x33b, "mhpmevent27", Mhpmevent(27), Always),
    row(0x33c, "mhpmevent28", Mhpmevent(28), Always),
    row(0x33d, "mhpmevent29", Mhpmevent(29), Always),
    row(0x33e, "mhpmevent30", Mhpmevent(30), Always),
    row(0x33f, "mhpmevent31", Mhpmevent(31), Always),
    row(0x340, "mscratch", Mscratch, Always),
    row(0x341, "mepc", Mepc, Always),
    row(0x342, "mcause", Mcause, Always),
    row(0x343, "mtval", Mtval, Always),
    row(0x344, "mip", Mip, Always),
    row(0x3a0, "pmpcfg0", Pmpcfg(0), Pmp(0)),
    row(0x3a2, "pmpcfg2", Pmpcfg(2), Pmp(8)),
    row(0x3a4, "pmpcfg4", Pmpcfg(4), Pmp(16)),
    row(0x3a6, "pmpcfg6", Pmpcfg(6), Pmp(24)),
    row(0x3a8, "pmpcfg8", Pmpcfg(8), Pmp(32)),
    row(0x3aa, "pmpcfg10", Pmpcfg(10), Pmp(40)),
    row(0x3ac, "pmpcfg12", Pmpcfg(12), Pmp(48)),
    row(0x3ae, "pmpcfg14", Pmpcfg(14), Pmp(56)),
    row(0x3b0, "pmpaddr0", Pmpaddr(0), Pmp(0)),
    row(0x3b1, "pmpaddr1", Pmpaddr(1), Pmp(1)),
    row(0x3b2, "pmpaddr2", Pmpaddr(2), Pmp(2)),
    row(0x3b3, "pmpaddr3", Pmpaddr(3), Pmp(3)),
    row(0x3b4, "pmpaddr4", Pmpaddr(4), Pmp(4)),
    row(0x3b5, "pmpaddr5", Pmpaddr(5), Pmp(5)),
    row(0x3b6, "pmpaddr6", Pmpaddr(6), Pmp(6)),
    row(0x3b7, "pmpaddr7", Pmpaddr(7), Pmp(7)),
    row(0x3b8, "pmpaddr8", Pmpaddr(8), Pmp(8)),
    row(0x3b9, "pmpaddr9", Pmpaddr(9), Pmp(9)),
    row(0x3ba, "pmpaddr10", Pmpaddr(10), Pmp(10)),
    row(0x3bb, "pmpaddr11", Pmpaddr(11), Pmp(11)),
    row(0x3bc, "pmpaddr12", Pmpaddr(12), Pmp(12)),
    row(0x3bd, "pmpaddr13", Pmpaddr(13), Pmp(13)),
    row(0x3be, "pmpaddr14", Pmpaddr(14), Pmp(14)),
    row(0x3bf, "pmpaddr15", Pmpaddr(15), Pmp(15)),
    row(0x3c0, "pmpaddr16", Pmpaddr(16), Pmp(16)),
    row(0x3c1, "pmpaddr17", Pmpaddr(17), Pmp(17)),
    row(0x3c2, "pmpaddr18", Pmpaddr(18), Pmp(18)),
    row(0x3c3, "pmpaddr19", Pmpaddr(19), Pmp(19)),
    row(0x3c4, "pmpaddr20", Pmpaddr(20), Pmp(20)),
    row(0x3c5, "pmpaddr21", Pmpaddr(21), Pmp(21)),
    row(0x3c6, "pmpaddr22", Pmpaddr(22), Pmp(22)),
    row(0x3c7, "pmpaddr23", Pmpaddr(23), Pmp(23)),
    row(0x3c8, "pmpaddr24", Pmpaddr(24), Pmp(24)),
    row(0x3c9, "pmpaddr25", Pmpaddr(25), Pmp(25)),
    row(0x3ca, "pmpaddr26", Pmpaddr(26), Pmp(26)),
    row(0x3cb, "pmpaddr27", Pmpaddr(27), Pmp(27)),
    row(0x3cc, "pmpaddr28", Pmpaddr(28), Pmp(28)),
    row(0x3cd, "pmpaddr29", Pmpaddr(29), Pmp(29)),
    row(0x3ce, "pmpaddr30", Pmpaddr(30), Pmp(30)),
    row(0x3cf, "pmpaddr31", Pmpaddr(31), Pmp(31)),
    row(0x3d0, "pmpaddr32", Pmpaddr(32), Pmp(32)),
    row(0x3d1, "pmpaddr33", Pmpaddr(33), Pmp(33)),
    row(0x3d2, "pmpaddr34", Pmpaddr(34), Pmp(34)),
    row(0x3d3, "pmpaddr35", Pmpaddr(35), Pmp(35)),
    row(0x3d4, "pmpaddr36", Pmpaddr(36), Pmp(36)),
    row(0x3d5, "pmpaddr37", Pmpaddr(37), Pmp(37)),
    row(0x3d6, "pmpaddr38", Pmpaddr(38), Pmp(38)),
    row(0x3d7, "pmpaddr39", Pmpaddr(39), Pmp(39)),
    row(0x3d8, "pmpaddr40", Pmpaddr(40), Pmp(40)),
    row(0x3d9, "pmpaddr41", Pmpaddr(41), Pmp(41)),
    row(0x3da, "pmpaddr42", Pmpaddr(42), Pmp(42)),
    row(0x3db, "pmpaddr43", Pmpaddr(43), Pmp(43)),
    row(0x3dc, "pmpaddr44", Pmpaddr(44), Pmp(44)),
    row(0x3dd, "pmpaddr45", Pmpaddr(45), Pmp(45)),
    row(0x3de, "pmpaddr46", Pmpaddr(46), Pmp(46)),
    row(0x3df, "pmpaddr47", Pmpaddr(47), Pmp(47)),
    row(0x3e0, "pmpaddr48", Pmpaddr(48), Pmp(48)),
    row(0x3e1, "pmpaddr49", Pmpaddr(49), Pmp(49)),
    row(0x3e2, "pmpaddr50", Pmpaddr(50), Pmp(50)),
    row(0x3e3, "pmpaddr51", Pmpaddr(51), Pmp(51)),
    row(0x3e4, "pmpaddr52", Pmpaddr(52), Pmp(52)),
    row(0x3e5, "pmpaddr53", Pmpaddr(53), Pmp(53)),
    row(0x3e6, "pmpaddr54", Pmpaddr(54), Pmp(54)),
    row(0x3e7, "pmpaddr55", Pmpaddr(55), Pmp(55)),
    row(0x3e8, "pmpaddr56", Pmpaddr(56), Pmp(56)),
    row(0x3e9, "pmpaddr57", Pmpaddr(57), Pmp(57)),
    row(0x3ea, "pmpaddr58", Pmpaddr(58), Pmp(58)),
    row(0x3eb, "pmpaddr59", Pmpaddr(59), Pmp(59)),
    row(0x3ec, "pmpaddr60", Pmpaddr(60), Pmp(60)),
    row(0x3ed, "pmpaddr61", Pmpaddr(61), Pmp(61)),
    row(0x3ee, "pmpaddr62", Pmpaddr(62), Pmp(62)),
    row(0x3ef, "pmpaddr63", Pmpaddr(63), Pmp(63)),
    row(0x7a0, "tselect", Tselect, Always),
    row(0x7a1, "tdata1", Tdata1, Always),
    row(0x7a2, "tdata2", Tdata2, Always),
    row(0x7a3, "tdata3", Tdata3, Always),
    row(0x7a4, "tinfo", Tinfo, Always),
    row(0xb00, "mcycle", Mcycle, Always),
    row(0xb02, "minstret", Minstret, Always),
    row(0xb03, "mhpmcounter3", Mhpmcounter(3), Always),
    row(0xb04, "mhpmcounter4", Mhpmcounter(4), Always),
    row(0xb05, "mhpmcounter5", Mhpmcounter(5), Always),
    row(0xb06, "mhpmcounter6", Mhpmcounter(6), Always),
    row(0xb07, "mhpmcounter7", Mhpmcounter(7), Always),
    row(0xb08, "mhpmcounter8", Mhpmcounter(8), Always),
    row(0xb09, "mhpmcounter9", Mhpmcounter(9), Always),
    row(0xb0a, "mhpmcounter10", Mhpmcounter(10), Always),
    row(0xb0b, "mhpmcounter11", Mhpmcounter(11), Always),
    row(0xb0c, "mhpmcounter12", Mhpmcounter(12), Always),
    row(0xb0d, "mhpmcounter13", Mhpmcounter(13), Always),
    row(0xb0e, "mhpmcounter14", Mhpmcounter(14), Always),
    row(0xb0f, "mhpmcounter15", Mhpmcounter(15), Always),
    row(0xb10, "mhpmcounter16", Mhpmcounter(16), Always),
    row(0xb11, "mhpmcounter17", Mhpmcounter(17), Always),
    row(0xb12, "mhpmcounter18", Mhpmcounter(18), Always),
    row(0xb13, "mhpmcounter19", Mhpmcounter(19), Always),
    row(0xb14, "mhpmcounter20", Mhpmcounter(20), Always),
    row(0xb15, "mhpmcounter21", Mhpmcounter(21), Always),
    row(0xb16, "mhpmcounter22", Mhpmcounter(22), Always),
    row(0xb17, "mhpmcounter23", Mhpmcounter(23), Always),
    row(0xb18, "mhpmcounter24", Mhpmcounter(24), Always),
    row(0xb19, "mhpmcounter25", Mhpmcounter(25), Always),
    row(0xb1a, "mhpmcounter26", Mhpmcounter(26), Always),
    row(0xb1b, "mhpmcounter27", Mhpmcounter(27), Always),
    row(0xb1c, "mhpmcounter28", Mhpmcounter(28), Always),
    row(0xb1d, "mhpmcounter29", Mhpmcounter(29), Always),
    row(0xb1e, "mhpmcounter30", Mhpmcounter(30), Always),
    row(0xb1f, "mhpmcounter31", Mhpmcounter(31), Always),
    row(0xc00, "cycle", Cycle, ZICNTR),
    row(0xc01, "time", Time, TimeCsr),
    row(0xc02, "instret", Instret, ZICNTR),
    row(0xc03, "hpmcounter3", Hpmcounter(3), ZIHPM),
    row(0xc04, "hpmcounter4", Hpmcounter(4), ZIHPM),
    row(0xc05, "hpmcounter5", Hpmcounter(5), ZIHPM),
    row(0xc06, "hpmcounter6", Hpmcounter(6), ZIHPM),
    row(0xc07, "hpmcounter7", Hpmcounter(7), ZIHPM),
    row(0xc08, "hpmcounter8", Hpmcounter(8), ZIHPM),
    row(0xc09, "hpmcounter9", Hpmcounter(9), ZIHPM),
    row(0xc0a, "hpmcounter10", Hpmcounter(10), ZIHPM),
    row(0xc0b, "hpmcounter11", Hpmcounter(11), ZIHPM),
    row(0xc0c, "hpmcounter12", Hpmcounter(12), ZIHPM),
    row(0xc0d, "hpmcounter13", Hpmcounter(13), ZIHPM),
    row(0xc0e, "hpmcounter14", Hpmcounter(14), ZIHPM),
    row(0xc0f, "hpmcounter15", Hpmcounter(15), ZIHPM),
    row(0xc10, "hpmcounter16", Hpmcounter(16), ZIHPM),
    row(0xc11, "hpmcounter17", Hpmcounter(17), ZIHPM),
    row(0xc12, "hpmcounter18", Hpmcounter(18), ZIHPM),
    row(0xc13, "hpmcounter19", Hpmcounter(19), ZIHPM),
    row(0xc14, "hpmcounter20", Hpmcounter(20), ZIHPM),
    row(0xc15, "hpmcounter21", Hpmcounter(21), ZIHPM),
    row(0xc16, "hpmcounter22", Hpmcounter(22), ZIHPM),
    row(0xc17, "hpmcounter23", Hpmcounter(23), ZIHPM),
    row(0xc18, "hpmcounter24", Hpmcounter(24), ZIHPM),
    row(0xc19, "hpmcounter25", Hpmcounter(25), ZIHPM),
    row(0xc1a, "hpmcounter26", Hpmcounter(26), ZIHPM),
    row(0xc1b, "hpmcounter27", Hpmcounter(27), ZIHPM),
    row(0xc1c, "hpmcounter28", Hpmcounter(28), ZIHPM),
    row(0xc1d, "hpmcounter29", Hpmcounter(29), ZIHPM),
    row(0xc1e, "hpmcounter30", Hpmcounter(30), ZIHPM),
    row(0xc1f, "hpmcounter31", Hpmcounter(31), ZIHPM),
    row(0xf11, "mvendorid", Mvendorid, Always),
    row(0xf12, "marchid", Marchid, Always),
    row(0xf13, "mimpid", Mimpid, Always),
    row(0xf14, "mhartid", Mhartid, Always),
    row(0xf15, "mconfigptr", Mconfigptr, Always),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_names_lead_back() {
        assert!(TABLE.windows(2).all(|pair| pair[0].number < pair[1].number));
        for row in &TABLE {
            assert_eq!(find(row.number), Some(row));
            assert_eq!(csr_number(row.name), Some(row.number));
            assert_eq!(csr_name(row.number), Some(row.name));
        }
        assert_eq!(find(0x400), None);
        assert_eq!(find(0xffff), None);
        assert_eq!(csr_number("mstatush"), None);
    }

    #[test]
    fn mode_and_access_are_in_the_number() {
        let mode = |name| find(csr_number(name).unwrap()).unwrap().least_mode();
        assert_eq!((mode("fcsr"), mode("sepc"), mode("mepc")), (Mode::U, Mode::S, Mode::M));
        assert!(find(0xc00).unwrap().read_only() && find(0xf14).unwrap().read_only());
        assert!(!find(0xb00).unwrap().read_only() && !find(0x301).unwrap().read_only());
    }
}
