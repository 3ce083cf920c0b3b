//! Random states and instructions. `HOSTEL_CASES` multiplies how many, `HOSTEL_SEED` gives another start.

use super::{DATA, DATA_SIZE, DEVICE, RAM};
use isa_riscv::csr_fields::mstatus;
use isa_riscv::random::random_insn;
use isa_riscv::rows::{Kind, Row};
use isa_riscv::{Features, Hart, csr_name};

/// `usual` cases, or as many as the environment asks for.
pub fn count(usual: u64) -> u64 {
    std::env::var("HOSTEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Where random numbers start.
pub fn seed(usual: u64) -> u64 {
    std::env::var("HOSTEL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Pseudo-random numbers (xorshift64*).
pub struct Random {
    state: u64,
    csrs: Vec<u16>,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        let csrs = (0..0x1000).filter(|n| csr_name(*n).is_some()).collect();
        let mut random = Random { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, csrs };
        (0..8).for_each(|_| {
            random.next();
        });
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

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// An address: of data, mostly aligned, often near the end of a page; of the device; of nothing.
    pub fn address(&mut self) -> u64 {
        let at = match self.below(16) {
            0 => return (DEVICE + self.below(0x1000)) & !7,
            1 => return self.next(),
            2 => DATA + DATA_SIZE - 16 + self.below(16),
            3..5 => DATA + 0x1000 * self.below(3) + 0xff0 + self.below(16),
            _ => DATA + self.below(DATA_SIZE - 16),
        };
        if self.below(4) == 0 { at } else { at & !7 }
    }

    /// An integer register.
    pub fn integer(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(64).wrapping_sub(32),
            1 => 1 << self.below(64),
            2 => self.one_of(&[
                0,
                u64::MAX,
                i64::MIN as u64,
                i64::MAX as u64,
                1 << 31,
                (1 << 31) - 1,
                1 << 32,
                1,
            ]),
            3 => self.next() as i32 as u64,
            4 => self.next(),
            _ => self.address(),
        }
    }

    /// Bits of a number of the format whose exponent has `exponent` bits and whose fraction has `fraction`: specials,
    /// subnormals, edges, numbers near 1, integers' edges, anything.
    pub fn number(&mut self, exponent: u32, fraction: u32) -> u64 {
        let ones = (1u64 << exponent) - 1;
        let bias = ones >> 1;
        let sign = self.below(2) << (exponent + fraction);
        let any = self.next() & ((1 << fraction) - 1);
        let (e, f) = match self.below(16) {
            0 => (0, 0),
            1 => (0, self.one_of(&[1, (1 << fraction) - 1, 1 << (fraction - 1)])),
            2 => (0, any),
            3 => (1, self.one_of(&[0, 1, any])),
            4 => (ones - 1, self.one_of(&[(1 << fraction) - 1, (1 << fraction) - 2, any])),
            5 => (ones, 0),
            6 => (ones, 1 << (fraction - 1)),
            7 => (ones, self.one_of(&[1, any >> 1 | 1])),
            8 => (ones, any | 1 << (fraction - 1)),
            9 => (bias + self.one_of(&[15, 30, 31, 32, 62, 63, 64]).min(bias), self.one_of(&[0, 1, any])),
            10 => (bias, self.one_of(&[0, 1, (1 << fraction) - 1])),
            11 => (bias - self.below(u64::from(fraction) + 3).min(bias - 1), any),
            12 | 13 => (bias - 4 + self.below(9), any),
            _ => (self.next() & ones, any),
        };
        sign | e << fraction | f
    }

    /// A floating-point register: any format, boxed mostly.
    pub fn float(&mut self) -> u64 {
        match self.below(16) {
            0..7 => self.number(11, 52),
            7..14 => self.number(8, 23) | u64::MAX << 32,
            14 => self.number(5, 10) | u64::MAX << 16,
            _ => self.next(),
        }
    }

    /// A hart in M-mode with random registers. Its floating-point unit is mostly on, mostly dirty.
    pub fn hart(&mut self, features: &Features, pc: u64) -> Hart {
        let mut hart = Hart::new(0, features);
        hart.pc = pc;
        hart.csr.mtvec = super::HANDLER;
        for r in 1..32 {
            hart.x[r] = self.integer();
            hart.f[r] = self.float();
        }
        hart.f[0] = self.float();
        let fs = self.one_of(&[3, 3, 3, 3, 3, 3, 2, 1, 0]);
        hart.csr.mstatus |= fs << mstatus::FS.trailing_zeros();
        hart.csr.fflags = self.one_of(&[0, 0, 0, 31, 5, 16]);
        hart.csr.frm = self.one_of(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
        hart
    }

    /// An instance of `row`; of CSRs mostly one that there is. Jumps of every distance.
    pub fn insn(&mut self, row: &Row) -> u32 {
        let word = random_insn(row, &mut || self.next());
        let csr = row.fields.iter().find(|f| f.kind == Kind::Csr);
        match csr {
            Some(field) if self.below(8) != 0 => {
                let at = self.below(self.csrs.len() as u64) as usize;
                let number = self.csrs[at];
                word & !field.mask() | field.put(number.into()).unwrap()
            }
            _ => word,
        }
    }

    /// Random contents for the pages of data.
    pub fn data(&mut self) -> Vec<u8> {
        (0..DATA_SIZE / 8).flat_map(|_| self.integer().to_le_bytes()).collect()
    }

    /// A place for code: pages from the second on to the one before data.
    pub fn place(&mut self) -> u64 {
        RAM + 0x1000 * (1 + self.below(30)) + 2 * self.below(0x780)
    }
}
