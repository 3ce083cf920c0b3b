//! One bare-metal case: the state it starts in, and its slots.

use crate::assembler::{Assembler, row, word};
use crate::random::Random;
use crate::system_runtime::{
    ALIAS, ARENA, ARENAS, CLINT, CODES, CONSTANTS, END, GRANTED, LOG, LOG_AT, LOG_END, META, METAS, MTIMECMP,
    RAM, S_COMMON, S_VECTOR, SLOTS,
};
use crate::system_tables::{DATA_PAGE, JUMP_PAGE, Tables, Wanted, data_pages};
use isa_riscv::csr_table::{self, TABLE};
use isa_riscv::disasm::length;
use isa_riscv::random::random_insn;
use isa_riscv::rows::{Kind, flag};
use isa_riscv::{ROWS, decode16, decode32};

/// What a slot tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// An access to the CSR with this number.
    Csr(u16),
    /// A load, store, atomic or cache-block instruction.
    Access,
    /// A jump.
    Jump,
    /// A change of mode.
    Return,
    /// An instruction that traps, or may.
    Trap,
    /// `wfi`
    Wait,
    /// A change to a page table, and a fence.
    Fence,
}

/// Sixteen bytes of program.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What it tries.
    pub what: Try,
    /// Its instructions.
    pub words: Vec<u32>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// CSRs and their values at the start.
    pub csrs: Vec<(&'static str, u64)>,
    /// x1 to x27 at the start.
    pub x: [u64; 28],
    /// The slots.
    pub slots: Vec<Slot>,
    /// Tables and data.
    pub arena: Vec<u8>,
    /// `mstatus` at the start, and the address where the slots are run.
    pub mstatus: u64,
    /// Which address.
    pub pc: u64,
    /// How the handler in S-mode calls M-mode.
    pub escape: u32,
    /// MSIP and MTIP.
    pub lines: (bool, bool),
}

/// Registers that a slot may write: x2 to x14. Each slot that reads CSRs has two of its own.
const RESULTS: [i64; 13] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
/// Registers that hold constants.
const CONSTANT: std::ops::Range<i64> = 15..24;
/// MPRV and a mode for MPP.
const MPRV: i64 = 24;
/// `pmpcfg0` of the case.
const PMPCFG0: i64 = 25;
/// `satp` of the case.
const SATP: i64 = 26;
/// `stvec` of the case.
const STVEC: i64 = 27;
/// What slots may use besides.
const TEMPORARY: i64 = 28;

const M: u8 = 4;
const S: u8 = 2;
const U: u8 = 1;

struct Draft<'a> {
    random: &'a mut Random,
    case: Case,
    index: usize,
    /// Constant registers in use.
    constants: i64,
    results: i64,
    /// Modes that the next slot may run in.
    modes: u8,
    tables: Option<Tables>,
    /// `mstatus.TW` is on whatever the slots do.
    tw: bool,
    last: bool,
}

/// Address of a case's code page.
pub fn code_at(index: usize) -> u64 {
    CODES + index as u64 * 4096
}

/// Address of a case's meta page.
pub fn meta_at(index: usize) -> u64 {
    METAS + index as u64 * META
}

/// Address of a case's arena.
pub fn arena_at(index: usize) -> u64 {
    ARENAS + index as u64 * ARENA
}

impl Case {
    /// A random case, which will be number `index` of an image; the last one of an image may lock PMP
    /// entries.
    pub fn new(random: &mut Random, index: usize, last: bool) -> Case {
        let case = Case {
            csrs: Vec::new(),
            x: [0; 28],
            slots: Vec::new(),
            arena: Vec::new(),
            mstatus: 0,
            pc: code_at(index) + SLOTS,
            escape: word("ecall", &[]),
            lines: (false, false),
        };
        let mut draft = Draft {
            random,
            case,
            index,
            constants: CONSTANT.start,
            results: 0,
            modes: M,
            tables: None,
            tw: false,
            last,
        };
        draft.start();
        draft.slots();
        draft.case
    }

    /// The case's code page, for the place number `index`.
    pub fn code(&self, index: usize) -> Vec<u8> {
        let base = code_at(index);
        let mut a = Assembler::new(base);
        let mut constant = CONSTANTS;
        let mut next = || {
            constant += 8;
            constant - 8
        };
        a.opi("addi", 30, 5, 0);
        for (csr, _) in &self.csrs {
            a.ld(6, next(), 30);
            a.csrrw(0, csr, 6);
        }
        a.li(6, CLINT);
        a.li(7, u64::from(self.lines.0));
        a.op("sw", &[("rs2", 7), ("rs1", 6)]);
        if self.lines.1 {
            a.li(6, MTIMECMP);
            a.sd(0, 0, 6);
        }
        a.ld(6, next(), 30);
        a.csrrw(0, "mepc", 6);
        for i in 1..28 {
            a.ld(i, next(), 30);
        }
        a.ld(TEMPORARY, next(), 30);
        a.csrrw(0, "mstatus", TEMPORARY);
        a.op("mret", &[]);
        a.pad_to(SLOTS as usize);
        for slot in &self.slots {
            let end = a.bytes.len() + 16;
            slot.words.iter().for_each(|w| a.raw(*w));
            while a.bytes.len() < end {
                a.raw(if end - a.bytes.len() == 2 { word("c.nop", &[]) } else { word("addi", &[]) });
            }
        }
        let (common, ending) = (a.label(), a.label());
        a.jal(0, ending);
        a.pad_to(S_VECTOR as usize);
        for _ in 0..16 {
            a.jal(TEMPORARY, common);
        }
        a.pad_to(S_COMMON as usize);
        a.bind(common);
        a.bytes.extend(self.escape.to_le_bytes());
        a.op("sret", &[]);
        a.pad_to(END as usize);
        a.bind(ending);
        a.bytes.extend(self.escape.to_le_bytes());
        a.pad_to(4096);
        a.finish()
    }

    /// The case's meta page.
    pub fn meta(&self, index: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for v in [code_at(index), 0, meta_at(index) + LOG, meta_at(index) + META, 0, 0, 0, 0] {
            bytes.extend(v.to_le_bytes());
        }
        debug_assert_eq!((LOG_AT, LOG_END, CONSTANTS), (16, 24, 64));
        let constants = self.csrs.iter().map(|c| c.1).chain([self.pc]);
        let constants = constants.chain(self.x[1..].iter().copied()).chain([self.mstatus]);
        constants.for_each(|v| bytes.extend(v.to_le_bytes()));
        bytes
    }
}

impl Draft<'_> {
    /// The state to start in.
    fn start(&mut self) {
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
            let code_must_work = delegated & (1 << 1 | 1 << 12) != 0;
            let wanted = Wanted { arena: arena_at(self.index), code, levels, code_must_work };
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
        let mideleg = if self.random.one_in(2) { 0 } else { self.random.bits() & 0x222 };
        let quiet = self.random.one_in(2);
        let mie = if quiet { 0 } else { self.random.bits() & 0xaaa };
        let mip = if quiet { 0 } else { self.random.bits() & 0x222 };
        self.case.lines = (!quiet && self.random.one_in(4), !quiet && self.random.one_in(4));
        let menvcfg = if self.random.one_in(4) { 0 } else { self.random.bits() & (0xe000_0000_0000_00d1) };
        let counters = |d: &mut Self| if d.random.one_in(2) { 7 } else { d.random.bits() & 7 };
        let (mcounteren, scounteren) = (counters(self), counters(self));
        let senvcfg = self.random.bits() & 0xd1;
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
        // SIE, SPIE, SPP, MPIE, FS, SUM, MXR, TVM, TW, TSR.
        let mut status = self.random.bits() & 0x7c_61a2;
        if self.random.one_in(2) {
            status |= 0x6000;
        }
        status |= match mode {
            M => 3 << 11,
            S => 1 << 11,
            _ => 0,
        };
        self.tw = status >> 21 & 1 != 0;
        self.case.mstatus = status;
        self.case.x[1] = code + END - 32;
        self.case.x[MPRV as usize] = 1 << 17 | self.random.pick(&[0, 1 << 11]);
        self.case.x[PMPCFG0 as usize] = pmpcfg0;
        self.case.x[SATP as usize] = satp;
        self.case.x[STVEC as usize] = stvec;
        for i in RESULTS {
            self.case.x[i as usize] = self.random.integer();
        }
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
        if !self.random.one_in(8) {
            cfg[15] = 0x1f;
            addr[15] = (1 << 54) - 1;
        }
        if self.random.one_in(3) {
            for i in 1..1 + self.random.below(6) as usize {
                let page = if self.random.one_in(16) {
                    self.random.below(10)
                } else {
                    DATA_PAGE + self.random.below(6)
                };
                let at = arena_at(self.index) + page * 4096 + (self.random.below(64) * 64);
                let rwx = self.random.pick(&[0, 1, 3, 4, 5, 7]);
                let lock = if self.last && self.random.one_in(2) { 0x80 } else { 0 };
                let kind = self.random.below(3) as u8 + 1;
                cfg[i] = rwx | kind << 3 | lock;
                addr[i] = at >> 2;
                if kind == 3 {
                    let ones = (1u64 << self.random.below(11)) - 1;
                    addr[i] = at >> 2 & !(ones << 1 | 1) | ones;
                }
            }
        }
        for (i, addr) in addr.into_iter().enumerate() {
            const NAMES: [&str; 16] = [
                "pmpaddr0",
                "pmpaddr1",
                "pmpaddr2",
                "pmpaddr3",
                "pmpaddr4",
                "pmpaddr5",
                "pmpaddr6",
                "pmpaddr7",
                "pmpaddr8",
                "pmpaddr9",
                "pmpaddr10",
                "pmpaddr11",
                "pmpaddr12",
                "pmpaddr13",
                "pmpaddr14",
                "pmpaddr15",
            ];
            if addr != 0 {
                self.case.csrs.push((NAMES[i], addr));
            }
        }
        let (low, high) = cfg.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
        self.case.csrs.push(("pmpcfg2", number(high)));
        self.case.csrs.push(("pmpcfg0", number(low)));
        number(low)
    }

    fn slots(&mut self) {
        for _ in 0..6 + self.random.below(10) {
            let before = self.case.slots.len();
            match self.random.below(16) {
                0..4 => self.csr(),
                4..9 => self.access(),
                9 | 10 => self.jump(),
                11 => self.mode_return(),
                12 => self.wait(),
                13 => self.fence(),
                _ => self.trap(),
            }
            debug_assert!(self.case.slots[before..].iter().all(|s| s.words.len() <= 8));
        }
    }

    fn push(&mut self, what: Try, words: Vec<u32>) {
        self.case.slots.push(Slot { what, words });
    }

    /// A register that holds `value` for good; some other constant if there is no more room.
    fn constant(&mut self, value: u64) -> i64 {
        if let Some(r) = (CONSTANT.start..self.constants).find(|&r| self.case.x[r as usize] == value) {
            return r;
        }
        if self.constants == CONSTANT.end {
            return CONSTANT.start + self.random.below((CONSTANT.end - CONSTANT.start) as u64) as i64;
        }
        self.case.x[self.constants as usize] = value;
        self.constants += 1;
        self.constants - 1
    }

    fn full(&self) -> bool {
        self.constants == CONSTANT.end
    }

    /// A value for a CSR, mostly of bits that mean something in it and that both sides treat alike.
    fn csr_value(&mut self, number: u16) -> u64 {
        let v = if self.random.one_in(3) { self.random.integer() } else { self.random.bits() };
        let exotic = self.random.one_in(16);
        match number {
            // Bits that QEMU keeps though nothing is behind them.
            0x302 if !exotic => v & 0xb3ff,
            0x303 if !exotic => v & 0x222,
            0x304 if !exotic => v & 0xaaa,
            0x344 if !exotic => v & 0x222,
            0x30a if !exotic => v & 0xe000_0000_0000_00d1,
            0x10a if !exotic => v & 0xd1,
            0x141 | 0x341 if !exotic => v & !1,
            0x300 | 0x100 if !exotic => v & !(3 << 32),
            0x306 | 0x106 | 0x320 if !exotic => v & 0x7_ffff,
            0x14d => self.random.pick(&[0, u64::MAX, 1 << 60]),
            0x3b0..=0x3ef if !exotic => v & ((1 << 54) - 1),
            0x3a0..=0x3af => {
                let byte =
                    |random: &mut Random| random.pick(&[0u8, 1, 3, 4, 5, 7]) | (random.below(4) as u8) << 3;
                let mut bytes = [0; 8];
                bytes.fill_with(|| byte(self.random));
                u64::from_le_bytes(bytes)
            }
            0x180 => v & !(0xf << 60) | self.random.pick(&[0, 1, 7, 8, 9, 10, 11, 15]) << 60,
            _ => v,
        }
    }

    fn csr(&mut self) {
        if self.results + 2 > RESULTS.len() as i64 || self.full() {
            return self.access();
        }
        let number = if self.random.one_in(12) {
            self.random.below(4096) as u16
        } else {
            TABLE[self.random.below(TABLE.len() as u64) as usize].number
        };
        // Half of the accesses are to the registers that do something.
        let number = if self.random.one_in(2) {
            let few = TABLE.iter().filter(|r| r.number < 0x323 || matches!(r.number, 0x340..=0x3bf));
            let few: Vec<u16> = few.map(|r| r.number).collect();
            self.random.pick(&few)
        } else {
            number
        };
        let (rd, again) = (RESULTS[self.results as usize], RESULTS[self.results as usize + 1]);
        self.results += 2;
        let value = self.csr_value(number);
        let rs = self.constant(value);
        let csr = i64::from(number);
        let name = self.random.pick(&["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"]);
        let op = |name: &str, rd: i64, rs: i64| {
            let source = if name.ends_with('i') { "zimm" } else { "rs1" };
            word(name, &[("rd", rd), ("csr", csr), (source, rs)])
        };
        let zero = self.random.one_in(8);
        let rs = if zero { 0 } else { rs };
        let small = if zero { 0 } else { self.random.below(32) as i64 };
        let plain = op(name, rd, if name.ends_with('i') { small } else { rs });
        let read = word("csrrs", &[("rd", again), ("csr", csr), ("rs1", 0)]);
        let m_only = self.modes == M;
        let words = match number {
            // Counters: only whether they can be accessed.
            0xb00..=0xb9f | 0xc00..=0xc9f => vec![plain, word("addi", &[("rd", rd)])],
            0x305 => vec![op("csrrw", rd, rs), op("csrrw", again, 29)],
            0x105 => vec![op("csrrw", rd, rs), op("csrrw", again, STVEC)],
            0x302 => vec![op("csrrw", rd, rs), op("csrrw", again, 0)],
            0x180 if m_only => vec![op("csrrw", rd, rs), op("csrrw", again, SATP)],
            0x180 => vec![op("csrrs", rd, 0)],
            0x3a0 => vec![op("csrrw", rd, rs), op("csrrw", again, PMPCFG0)],
            0x3a1..=0x3af if name != "csrrw" || self.case.x[rs as usize] & 0x8080_8080_8080_8080 != 0 => {
                vec![op("csrrs", rd, 0)]
            }
            0x3b0 => vec![op("csrrs", rd, 0)],
            // What is written must not come to pass while the comparison runs.
            0x14d => {
                let rs = self.constant(u64::MAX);
                let fits = matches!(self.case.x[rs as usize], 0 | 0x1000_0000_0000_0000..);
                vec![if fits { op("csrrw", rd, rs) } else { op("csrrs", rd, 0) }, read]
            }
            _ => vec![plain, read],
        };
        if matches!(number, 0x300 | 0x100) {
            self.tw = false;
        }
        self.push(Try::Csr(number), words);
    }

    /// An address to try.
    fn probe(&mut self, page_of_code: bool) -> u64 {
        let mut list: Vec<(u64, u64)> = match &self.tables {
            // Where nothing is translated, this would be an access to nowhere.
            Some(tables) => tables.probes.clone(),
            None => (DATA_PAGE..16).map(|p| (arena_at(self.index) + p * 4096, p)).collect(),
        };
        if self.modes & M != 0 && self.random.one_in(3) {
            list = (DATA_PAGE..16).map(|p| (arena_at(self.index) + p * 4096, p)).collect();
        }
        list.retain(|(_, page)| (*page >= JUMP_PAGE) == page_of_code);
        if list.is_empty() {
            return arena_at(self.index) + (if page_of_code { JUMP_PAGE } else { DATA_PAGE }) * 4096;
        }
        let (mut va, page) = self.random.pick(&list);
        va += match self.random.below(8) {
            0..3 => self.random.below(512) * 8,
            3 => self.random.below(4096),
            4 => 4096 - 1 - self.random.below(8),
            5 => 4096 - 8,
            _ => self.random.below(64) * 64,
        };
        if page_of_code {
            va &= !1;
            if page == JUMP_PAGE && self.random.one_in(3) {
                va |= 0xffe;
            }
        }
        if self.random.one_in(24) && self.tables.is_some() {
            va ^= 1 << (63 - self.random.below(7));
        }
        va
    }

    fn access(&mut self) {
        const NAMES: [&str; 34] = [
            "lb",
            "lh",
            "lw",
            "ld",
            "lbu",
            "lhu",
            "lwu",
            "sb",
            "sh",
            "sw",
            "sd",
            "ld",
            "sd",
            "lw",
            "sw",
            "flw",
            "fld",
            "flh",
            "fsw",
            "fsd",
            "fsh",
            "amoadd.w",
            "amoswap.d",
            "amomax.d",
            "amoor.w",
            "lr.w",
            "lr.d",
            "sc.w",
            "cbo.zero",
            "cbo.clean",
            "cbo.flush",
            "cbo.inval",
            "prefetch.r",
            "amominu.d",
        ];
        let name = self.random.pick(&NAMES);
        let address = self.probe(false);
        let base = self.constant(address);
        let row = row(name);
        let rd = self.result();
        let source = CONSTANT.start + self.random.below(9) as i64;
        let fields: Vec<(&str, i64)> = row
            .fields
            .iter()
            .map(|f| match f.name {
                "rs1" => ("rs1", base),
                "rd" => ("rd", rd),
                "rs2" => ("rs2", source),
                name => (name, 0),
            })
            .collect();
        let access = word(name, &fields);
        // In M-mode, half of the accesses are made as if in another mode.
        let mut words = Vec::new();
        if self.modes == M && self.random.one_in(2) {
            words.push(word("csrrs", &[("rd", 0), ("csr", 0x300), ("rs1", MPRV)]));
            words.push(access);
            words.push(word("csrrc", &[("rd", 0), ("csr", 0x300), ("rs1", MPRV)]));
        } else {
            words.push(access);
        }
        if name == "lr.w" {
            words.push(word("sc.w", &[("rd", rd), ("rs2", source), ("rs1", base)]));
        }
        self.push(Try::Access, words);
    }

    /// A register for a result that may be overwritten.
    fn result(&mut self) -> i64 {
        if self.results < RESULTS.len() as i64 {
            self.results += 1;
        }
        RESULTS[self.results as usize - 1]
    }

    fn jump(&mut self) {
        let target = self.probe(true);
        let base = self.constant(target);
        // A constant of another slot is no place to jump to, unless it is one.
        if self.case.x[base as usize] != target {
            return self.trap();
        }
        self.push(Try::Jump, vec![word("jalr", &[("rd", 1), ("rs1", base), ("imm_i", 0)])]);
    }

    fn mode_return(&mut self) {
        let (csr, name) = if self.random.one_in(2) { (0x341, "mret") } else { (0x141, "sret") };
        let alias = if self.tables.is_some() && self.random.one_in(2) { ALIAS } else { 0 };
        let distance = self.constant(16 + alias);
        if self.case.x[distance as usize] != 16 + alias {
            return self.trap();
        }
        let words = vec![
            word("auipc", &[("rd", TEMPORARY)]),
            word("add", &[("rd", TEMPORARY), ("rs1", TEMPORARY), ("rs2", distance)]),
            word("csrrw", &[("rd", 0), ("csr", csr), ("rs1", TEMPORARY)]),
            word(name, &[]),
        ];
        self.modes |= U | S;
        self.push(Try::Return, words);
    }

    fn wait(&mut self) {
        let wfi = word("wfi", &[]);
        if self.modes == M {
            let set = |csr: i64| word("csrrsi", &[("rd", 0), ("csr", csr), ("zimm", 2)]);
            self.push(Try::Wait, vec![set(0x304), set(0x344), wfi]);
        } else if self.modes == U || self.modes & M == 0 && self.tw {
            self.push(Try::Wait, vec![wfi]);
        } else {
            self.trap();
        }
    }

    fn fence(&mut self) {
        let leaf = self.tables.as_ref().filter(|t| !t.leaves.is_empty()).map(|t| t.leaves.clone());
        if self.modes == M
            && let Some(leaves) = leaf
            && self.random.one_in(2)
        {
            let (va, at, pte) = self.random.pick(&leaves);
            let new = pte ^ 1 << self.random.below(8);
            let (pointer, value, probe) = (self.constant(at), self.constant(new), self.constant(va));
            let exact = |r: i64, v: u64| self.case.x[r as usize] == v;
            if exact(pointer, at) && exact(value, new) && exact(probe, va) {
                let named = if self.random.one_in(2) { probe } else { 0 };
                self.push(
                    Try::Fence,
                    vec![
                        word("sd", &[("rs2", value), ("rs1", pointer)]),
                        word("sfence.vma", &[("rs1", named), ("rs2", 0)]),
                    ],
                );
                let rd = self.result();
                self.push(
                    Try::Access,
                    vec![
                        word("csrrs", &[("rd", 0), ("csr", 0x300), ("rs1", MPRV)]),
                        word("ld", &[("rd", rd), ("rs1", probe)]),
                        word("csrrc", &[("rd", 0), ("csr", 0x300), ("rs1", MPRV)]),
                    ],
                );
                return;
            }
        }
        let name = self.random.pick(&["sfence.vma", "sinval.vma"]);
        let (a, b) =
            (CONSTANT.start + self.random.below(9) as i64, CONSTANT.start + self.random.below(9) as i64);
        let (a, b) = (if self.random.one_in(2) { 0 } else { a }, if self.random.one_in(2) { 0 } else { b });
        self.push(Try::Fence, vec![word(name, &[("rs1", a), ("rs2", b)])]);
    }

    fn trap(&mut self) {
        let word = match self.random.below(12) {
            0 | 1 => word("ecall", &[]),
            2 => word("ebreak", &[]),
            3 => word("c.ebreak", &[]),
            4 => word("sfence.w.inval", &[]),
            5 => word("sfence.inval.ir", &[]),
            // In M-mode it would go to wherever mepc points.
            6 if self.modes & M == 0 => word("mret", &[]),
            7 if self.modes == U => word("sret", &[]),
            8 => word("fadd.d", &[("rm", 7)]),
            9 => word("fence.i", &[]),
            _ => self.illegal(),
        };
        self.push(Try::Trap, vec![word]);
    }

    /// A word that is no instruction.
    fn illegal(&mut self) -> u32 {
        loop {
            let row = &ROWS[self.random.below(ROWS.len() as u64) as usize];
            let word = match self.random.below(3) {
                0 => self.random.bits() as u32 | 3,
                1 => u32::from(self.random.bits() as u16),
                _ => {
                    random_insn(row, &mut || self.random.bits())
                        ^ 1 << self.random.below(u64::from(row.length))
                }
            };
            let decodes = if length(word) == 2 { decode16(word as u16) } else { decode32(word) };
            if decodes.is_none() && word & 0x1f != 0x1f {
                return word;
            }
        }
    }
}

/// The CSR's name, or its number.
pub fn csr_text(number: u16) -> String {
    csr_table::csr_name(number).map_or_else(|| format!("{number:#x}"), str::to_string)
}

/// Rows that a bare-metal comparison must reach: those that user programs cannot execute.
pub fn rows() -> impl Iterator<Item = &'static isa_riscv::rows::Row> {
    ROWS.iter().filter(|row| {
        row.flags & flag::PRIVILEGED != 0
            || row.fields.iter().any(|f| f.kind == Kind::Csr)
            || matches!(row.name, "ecall" | "ebreak" | "c.ebreak")
    })
}
