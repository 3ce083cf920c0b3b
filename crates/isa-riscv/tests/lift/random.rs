//! Random machines and instructions, the same on every run.

use isa_core::Width;
use isa_riscv::csr::{self, CsrAction};
use isa_riscv::csr_fields::mstatus;
use isa_riscv::random::random_insn;
use isa_riscv::rows::{Kind, Row};
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Features, Mode, csr_name};

pub const BASE: u64 = 0x8000_0000;
/// Where random addresses point: not to the code at the start.
pub const DATA: u64 = BASE + 0x800;
pub const SIZE: u64 = 0x2000;

/// Pseudo-random numbers (xorshift64*).
pub struct Random {
    state: u64,
    memory: Vec<u8>,
    csrs: Vec<u16>,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random { state: seed, memory: Vec::new(), csrs: Vec::new() };
        random.memory = (0..SIZE).map(|_| (random.next() >> 32) as u8).collect();
        random.csrs = (0..0x1000).filter(|n| csr_name(*n).is_some()).collect();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    /// An integer register: an address in or at the edge of memory, something small, special or
    /// arbitrary.
    pub fn integer(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(64).wrapping_sub(32),
            1 => 1 << self.below(64),
            2 => [0, u64::MAX, i64::MIN as u64, i64::MAX as u64, 1 << 31, 0x8000_0000 - 1, 1 << 32, 1]
                [self.below(8) as usize],
            3 => self.next() as i32 as u64,
            4 => self.next(),
            5 => BASE + SIZE - 16 + self.below(32),
            _ => (DATA + self.below(SIZE - 0x800)) & !(8 * self.below(2)).saturating_sub(1),
        }
    }

    /// A floating-point register: any format, boxed mostly, with exponents that meet.
    pub fn float(&mut self) -> u64 {
        let narrow = |bits: u32, v: u64| v | u64::MAX << bits;
        let special = self.below(3) == 0;
        let v = self.next();
        match self.below(4) {
            0 if special => {
                narrow(32, [0, 1 << 31, 0x7f80_0000, 0x7fc0_0000, 0x7f80_0001, 1][v as usize % 6])
            }
            0 => narrow(32, (v & 0x807f_ffff) | (120 + self.below(16)) << 23),
            1 if special => narrow(16, [0, 1 << 15, 0x7c00, 0x7e00, 0x7c01, 1][v as usize % 6]),
            1 => narrow(16, (v & 0x83ff) | (10 + self.below(12)) << 10),
            2 if special => [0, 1 << 63, 0x7ff0 << 48, 0x7ff8 << 48, 0x7ff0 << 48 | 1, 1][v as usize % 6],
            2 => (v & (0x800f << 48 | 0xffff_ffff_ffff)) | (1015 + self.below(16)) << 52,
            _ => v,
        }
    }

    /// A machine in a state that software can reach, its program counter at [`BASE`].
    pub fn machine(&mut self) -> TestMachine {
        let mut m = TestMachine::new(&Features::FULL, BASE, 0);
        for name in
            ["mstatus", "mie", "mip", "menvcfg", "senvcfg", "mcounteren", "scounteren", "mepc", "sepc"]
        {
            let number = isa_riscv::csr_number(name).expect(name);
            let v = self.next();
            csr::access(&mut m, number, CsrAction::Write(v)).expect(name);
        }
        if self.below(4) != 0 {
            m.hart.csr.mstatus |= 1 << mstatus::FS.trailing_zeros();
        }
        m.hart.csr.fflags = self.below(32) as u8;
        m.hart.csr.frm = if self.below(4) == 0 { self.below(8) } else { self.below(5) } as u8;
        for r in 1..32 {
            m.hart.x[r] = self.integer();
        }
        for r in 0..32 {
            m.hart.f[r] = self.float();
        }
        m.hart.mode = [Mode::U, Mode::S, Mode::M, Mode::M][self.below(4) as usize];
        m.memory.clone_from(&self.memory);
        (m.time, m.retired) = (self.next(), self.next() >> 1);
        m.changes.clear();
        m
    }

    /// An instance of `row`; of CSRs mostly one that there is.
    pub fn insn(&mut self, row: &Row) -> u32 {
        let word = random_insn(row, &mut || self.next());
        let csr = row.fields.iter().find(|f| f.kind == Kind::Csr);
        match csr {
            Some(field) if self.below(8) != 0 => {
                let at = self.below(self.csrs.len() as u64) as usize;
                let number = self.csrs[at];
                word & !field.mask() | field.put(number.into()).expect("a CSR number")
            }
            _ => word,
        }
    }

    /// Makes it likely that an `sc` in `row` finds its reservation: at the address in its `rs1`.
    pub fn reserve(&mut self, m: &mut TestMachine, row: &Row, word: u32) {
        let rs1 = row.fields.iter().find(|f| f.name == "rs1").map(|f| f.get(word) as usize);
        if let Some(rs1) = rs1
            && row.name.starts_with("sc.")
            && self.below(2) == 0
        {
            let width = if row.name == "sc.d" { Width::B8 } else { Width::B4 };
            m.reservation = Some((m.hart.x[rs1], width));
        }
    }
}
