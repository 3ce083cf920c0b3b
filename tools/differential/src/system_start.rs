//! What a bare-metal case starts with: mode, delegation, interrupts, page tables, PMP.

use crate::assembler::word;
use crate::random::{Random, Values};
use crate::system_case::{Case, Lines, arena_at, code_at};
use crate::system_runtime::{ALIAS, END, GRANTED, RAM, S_VECTOR};
use crate::system_tables::{DATA_PAGE, Tables, Wanted, data_pages};
use differential_core::word_at;
use isa_riscv::csr_fields::mstatus;

/// Registers that a slot may write: x2 to x14. Each slot that reads CSRs has two of its own.
pub const RESULTS: [i64; 13] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
/// Registers that hold constants.
pub const CONSTANT: std::ops::Range<i64> = 15..24;
/// MPRV and a mode for MPP.
pub const MPRV: i64 = 24;
/// `pmpcfg0` of the case.
pub const PMPCFG0: i64 = 25;
/// `satp` of the case.
pub const SATP: i64 = 26;
/// `stvec` of the case.
pub const STVEC: i64 = 27;
/// What slots may use besides.
pub const TEMPORARY: i64 = 28;

#[rustfmt::skip]
const PMPADDR: [&str; 16] = [
    "pmpaddr0", "pmpaddr1", "pmpaddr2", "pmpaddr3", "pmpaddr4", "pmpaddr5", "pmpaddr6", "pmpaddr7",
    "pmpaddr8", "pmpaddr9", "pmpaddr10", "pmpaddr11", "pmpaddr12", "pmpaddr13", "pmpaddr14", "pmpaddr15",
];

/// M-mode, as a set of modes.
pub const M: u8 = 4;
/// S-mode.
pub const S: u8 = 2;
/// U-mode.
pub const U: u8 = 1;

/// A case in the making.
pub struct Draft<'a> {
    /// Where choices come from.
    pub random: &'a mut Random,
    /// What there is of it.
    pub case: Case,
    /// Its place in the image.
    pub index: usize,
    /// The next constant register that is free.
    pub constants: i64,
    /// Constant registers that hold addresses for accesses.
    pub addresses: Vec<i64>,
    /// Constant registers that a slot overwrites, as a set.
    pub spoilt: u32,
    /// How many result registers are in use.
    pub results: i64,
    /// Modes that the next slot may run in.
    pub modes: u8,
    /// Its page tables, if it has any.
    pub tables: Option<Tables>,
    /// Traps are delegated that a fetch in S-mode can cause: nothing may take its handler away.
    pub delicate: bool,
    /// `mstatus.TW` is on whatever the slots do.
    pub tw: bool,
    /// The last case of an image may lock PMP entries.
    pub last: bool,
    /// The hart has C.
    pub compressed: bool,
}

impl<'a> Draft<'a> {
    /// Nothing chosen yet.
    pub fn new(random: &'a mut Random, index: usize, last: bool, compressed: bool) -> Draft<'a> {
        Draft {
            random,
            case: Case::empty(index),
            index,
            constants: CONSTANT.start,
            addresses: Vec::new(),
            spoilt: 0,
            results: 0,
            modes: M,
            tables: None,
            delicate: false,
            tw: false,
            last,
            compressed,
        }
    }
}

impl Draft<'_> {
    /// The state to start in.
    pub fn start(&mut self) {
        let mode = self.random.pick(&[M, M, S, S, U]);
        self.modes = mode;
        let delegated = match self.random.below(3) {
            0 => 0,
            1 => 0xb3ff,
            _ => self.random.bits() & 0xb3ff,
        };
        let delegated = self.choose_escape(delegated);
        let levels = self.random.pick(&[0, 0, 3, 4, 5, 3]);
        let mut satp = 0;
        let code = code_at(self.index);
        if levels > 0 {
            self.delicate = delegated & (1 << 1 | 1 << 12) != 0;
            let wanted = Wanted { arena: arena_at(self.index), code, levels, code_must_work: self.delicate };
            let tables = Tables::new(self.random, &wanted);
            satp = tables.satp;
            self.case.arena.clone_from(&tables.bytes);
            self.tables = Some(tables);
            if mode == U {
                self.case.pc += ALIAS;
            }
        }
        self.case.arena.resize((DATA_PAGE * 4096) as usize, 0);
        let pages = data_pages(self.random);
        self.case.arena.extend(pages);
        let stvec = (code + S_VECTOR) | self.random.below(2);
        let pmpcfg0 = self.pmp();
        let (mideleg, mie, mip) = self.interrupts();
        // Mostly, cache-block instructions are legal: where they are not, QEMU's mtval is stale.
        let blocks = if self.random.one_in(16) { self.random.bits() & 0xd0 } else { 0xd0 };
        let menvcfg = match self.random.below(4) {
            0 => blocks,
            _ => blocks | self.random.bits() & 0xe000_0000_0000_0001,
        };
        let counters = |d: &mut Self| if d.random.one_in(2) { 7 } else { d.random.bits() & 7 };
        let (mcounteren, scounteren) = (counters(self), counters(self));
        let senvcfg = if self.random.one_in(16) { self.random.bits() & 0xd1 } else { 0xd0 };
        let scratch = self.random.integer();
        self.case.csrs.extend([
            ("menvcfg", menvcfg),
            ("senvcfg", senvcfg),
            ("mcounteren", mcounteren),
            ("scounteren", scounteren),
            ("sscratch", scratch),
            ("stvec", stvec),
            ("satp", satp),
            ("medeleg", delegated),
            ("mideleg", mideleg),
            ("mie", mie),
            ("mip", mip),
            ("mtvec", crate::system_runtime::HANDLER | self.random.below(2)),
        ]);
        self.status(mode, delegated | mideleg != 0);
        self.case.x[1] = code + END - 32;
        self.case.x[MPRV as usize] = 1 << 17 | self.random.pick(&[0, 1 << 11]);
        self.case.x[PMPCFG0 as usize] = pmpcfg0;
        self.case.x[SATP as usize] = satp;
        self.case.x[STVEC as usize] = stvec;
        for i in RESULTS {
            self.case.x[i as usize] = self.random.integer();
        }
    }

    /// `mstatus`, from which `mret` goes to `mode`.
    fn status(&mut self, mode: u8, delegated: bool) {
        let free = mstatus::S_WRITABLE | mstatus::MPIE | mstatus::TVM | mstatus::TW | mstatus::TSR;
        let mut status = self.random.bits() & free;
        if self.random.one_in(2) {
            status |= mstatus::FS;
        }
        // It lasts only if mret stays in M-mode.
        if self.random.one_in(4) {
            status |= mstatus::MPRV;
        }
        // Else the handler in S-mode could not return.
        if delegated {
            status &= !mstatus::TSR;
        }
        status |= match mode {
            M => 3 << mstatus::MPP_SHIFT,
            S => 1 << mstatus::MPP_SHIFT,
            _ => 0,
        };
        self.tw = status & mstatus::TW != 0;
        self.case.mstatus = status;
    }

    /// `mideleg`, `mie`, `mip`. Mostly one interrupt at most can be taken, for QEMU has an order of
    /// its own.
    fn interrupts(&mut self) -> (u64, u64, u64) {
        let mideleg = if self.random.one_in(2) { 0 } else { self.random.bits() & 0x222 };
        if self.random.one_in(2) {
            return (mideleg, 0, 0);
        }
        if self.random.one_in(8) {
            let mut line = || self.random.one_in(2);
            self.case.lines = Lines { msip: line(), mtip: line(), meip: line(), seip: line() };
            return (mideleg, self.random.bits() & 0xaaa, self.random.bits() & 0x222);
        }
        let number = self.random.pick(&[1, 3, 5, 7, 9, 11]);
        let mie = 1 << number;
        let mut line = |own| number == own || self.random.one_in(8);
        self.case.lines = Lines { msip: line(3), mtip: line(7), meip: line(11), seip: line(9) };
        let mip = if self.random.one_in(4) { self.random.bits() & 0x222 } else { 0x222 };
        (mideleg, mie, mip)
    }

    /// An instruction that gets from S-mode to M-mode while `delegated` is in force.
    fn choose_escape(&mut self, delegated: u64) -> u64 {
        let (ecall, illegal, ebreak) = (delegated >> 9 & 1, delegated >> 2 & 1, delegated >> 3 & 1);
        // In U-mode the end of a case goes to S-mode first if calls from there are delegated.
        if ecall == 0 {
            return delegated;
        }
        if illegal == 0 {
            self.case.escape = 0;
            return delegated;
        }
        if ebreak == 0 {
            self.case.escape = word("ebreak", &[]);
            return delegated;
        }
        delegated & !(1 << 9)
    }

    /// PMP entries: number 0 grants the program around the case, number 15 perhaps all, those between
    /// are random. Gives `pmpcfg0`.
    fn pmp(&mut self) -> u64 {
        let (mut cfg, mut addr) = ([0u8; 16], [0u64; 16]);
        cfg[0] = 0x1f;
        addr[0] = RAM >> 2 | (GRANTED / 8 - 1);
        if self.delicate || !self.random.one_in(8) {
            cfg[15] = 0x1f;
            addr[15] = (1 << 54) - 1;
        }
        if self.random.one_in(3) {
            for i in 1..1 + self.random.below(6) as usize {
                let page = if !self.delicate && self.random.one_in(16) {
                    self.random.below(10)
                } else {
                    DATA_PAGE + self.random.below(6)
                };
                let at = arena_at(self.index) + page * 4096 + (self.random.below(64) * 64);
                let rwx = self.random.pick(&[0, 1, 3, 4, 5, 7]);
                let lock = if self.last && self.random.one_in(2) { 0x80 } else { 0 };
                // A range that begins where the entry before ends may be large.
                let kinds: &[u8] = if self.delicate { &[2, 3] } else { &[1, 2, 3] };
                let kind = self.random.pick(kinds);
                cfg[i] = rwx | kind << 3 | lock;
                addr[i] = at >> 2;
                if kind == 3 {
                    let ones = (1u64 << self.random.below(11)) - 1;
                    addr[i] = at >> 2 & !(ones << 1 | 1) | ones;
                }
            }
        }
        for (i, addr) in addr.into_iter().enumerate() {
            if addr != 0 {
                self.case.csrs.push((PMPADDR[i], addr));
            }
        }
        self.case.csrs.push(("pmpcfg2", word_at(&cfg, 8)));
        self.case.csrs.push(("pmpcfg0", word_at(&cfg, 0)));
        word_at(&cfg, 0)
    }
}
