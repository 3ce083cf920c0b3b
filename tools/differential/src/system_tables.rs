//! Random page tables: a way to the case's code that usually works, and one to its data that often does
//! not.

use crate::random::Random;
use crate::system_runtime::{ALIAS, ARENA};
use random_programs::pte::{A, D, R, U, V, W, X};

/// In an arena: the first page of data; tables come before. The last two are code.
pub const DATA_PAGE: u64 = 10;
/// The first page of code among the data.
pub const JUMP_PAGE: u64 = 14;

/// A pointer to where no memory is.
pub const OUTSIDE: u64 = 0x10_0000 << 10 | V;

/// Page tables with what they lead to.
pub struct Tables {
    /// `satp`.
    pub satp: u64,
    /// Contents of the first pages of the arena.
    pub bytes: Vec<u8>,
    /// Virtual addresses of pages (or of parts of larger ones) of data, with the physical page of the
    /// arena they lead to if all is well.
    pub probes: Vec<(u64, u64)>,
    /// Physical addresses of the leaf entries behind some of the probes, and their contents.
    pub leaves: Vec<(u64, u64, u64)>,
}

/// What the tables are made for.
pub struct Wanted {
    /// Physical address of the arena.
    pub arena: u64,
    /// Physical address of the code page.
    pub code: u64,
    /// Levels: 3, 4 or 5.
    pub levels: u32,
    /// The code page must be executable in S-mode, for traps are delegated that it could cause itself.
    pub code_must_work: bool,
}

struct Maker<'a> {
    random: &'a mut Random,
    wanted: &'a Wanted,
    tables: Tables,
    used: u64,
}

impl Tables {
    /// Random tables.
    pub fn new(random: &mut Random, wanted: &Wanted) -> Tables {
        let mode = u64::from(wanted.levels) + 5;
        let asid = if random.one_in(2) { random.below(1 << 16) } else { 0 };
        let satp = mode << 60 | asid << 44 | wanted.arena >> 12;
        let tables = Tables {
            satp,
            bytes: vec![0; (DATA_PAGE * 4096) as usize],
            probes: Vec::new(),
            leaves: Vec::new(),
        };
        let mut maker = Maker { random, wanted, tables, used: 1 };
        maker.code();
        maker.data();
        maker.tables
    }
}

impl Maker<'_> {
    fn put(&mut self, table: u64, index: u64, pte: u64) -> u64 {
        let at = table * 4096 + index * 8;
        self.tables.bytes[at as usize..at as usize + 8].copy_from_slice(&pte.to_le_bytes());
        self.wanted.arena + at
    }

    fn page(&mut self) -> u64 {
        self.used += 1;
        self.used - 1
    }

    fn pointer(&self, page: u64) -> u64 {
        (self.wanted.arena / 4096 + page) << 10 | V
    }

    /// The code page at its own address for S-mode, and at [`ALIAS`] above for U-mode.
    fn code(&mut self) {
        let code = self.wanted.code;
        let index = |va: u64, level: u32| va >> (12 + 9 * level) & 0x1ff;
        let mut table = 0;
        for level in (2..self.wanted.levels).rev() {
            let next = self.page();
            let pte = self.pointer(next);
            self.put(table, index(code, level), pte);
            table = next;
        }
        for (va, user) in [(code, 0), (code + ALIAS, U)] {
            let bottom = self.page();
            let pte = self.pointer(bottom);
            self.put(table, index(va, 1), pte);
            let mut leaf = code >> 12 << 10 | V | R | X | A | D | user;
            if !self.wanted.code_must_work && self.random.one_in(12) {
                leaf = self.spoil(leaf);
            }
            self.put(bottom, index(va, 0), leaf);
        }
    }

    /// An entry with a few bits wrong.
    fn spoil(&mut self, mut leaf: u64) -> u64 {
        for _ in 0..1 + self.random.below(2) {
            leaf ^= 1 << self.random.below(8);
        }
        match self.random.below(12) {
            0 => leaf | 1 << (54 + self.random.below(7)),
            1 => leaf | self.random.below(3) << 61,
            2 => leaf | 1 << 63,
            3 => leaf | self.random.below(4) << 8,
            _ => leaf,
        }
    }

    /// A leaf for a page of the arena, or a larger one that holds it; `level` 0 is the smallest.
    fn leaf(&mut self, level: u32, target: u64) -> u64 {
        let size = 4096u64 << (9 * level);
        let mut pa = target & !(size - 1);
        if level > 0 && self.random.one_in(8) {
            // A misaligned superpage.
            pa |= 4096 << self.random.below(9 * u64::from(level));
        }
        let user = if self.random.one_in(2) { U } else { 0 };
        let leaf = pa >> 12 << 10 | V | R | W | X | A | D | user;
        match self.random.below(10) {
            0..4 => leaf,
            4 => leaf & !A,
            5 => leaf & !D,
            6 => leaf & !(A | D),
            _ => self.spoil(leaf),
        }
    }

    fn data(&mut self) {
        let levels = self.wanted.levels;
        let indices: &[u64] = if levels == 3 { &[5, 9, 256, 300, 511] } else { &[1, 7, 256, 400, 511] };
        let mut index = self.random.pick(indices);
        let (mut table, mut base) = (0, 0u64);
        for level in (1..levels).rev() {
            let shift = 12 + 9 * level;
            // A larger page beside the way down.
            if self.random.one_in(2) {
                let beside = (index + 1 + self.random.below(3)) & 0x1ff;
                if table != 0 || !matches!(beside, 0..=4) {
                    self.larger(table, beside, base | beside << shift, level);
                }
            }
            let next = self.page();
            let mut pte = self.pointer(next);
            if self.random.one_in(24) {
                pte = match self.random.below(6) {
                    0 => pte | self.random.pick(&[A, D, U]),
                    1 => pte | 1 << (54 + self.random.below(7)),
                    2 => pte | self.random.pick(&[1 << 61, 1 << 62, 1 << 63]),
                    3 => OUTSIDE,
                    4 => pte & !V,
                    _ => pte | 1 << 5 | self.random.below(4) << 8,
                };
            }
            self.put(table, index, pte);
            base |= index << shift;
            table = next;
            index = self.random.below(512);
        }
        let first = self.random.below(31) * 16;
        for (k, page) in (DATA_PAGE..16).enumerate() {
            // One after the other, so that accesses cross; with an index for which 64 KiB fit.
            let index = first + page;
            let mut leaf = self.leaf(0, self.wanted.arena + page * 4096);
            if self.random.one_in(8) {
                let nibble = if self.random.one_in(3) { self.random.below(16) } else { 8 };
                leaf = leaf & !(0xf << 10) | 1 << 63 | nibble << 10;
            }
            let at = self.put(table, index, leaf);
            let va = canonical(base | index << 12, levels);
            self.tables.probes.push((va, page));
            if k % 2 == 0 {
                self.tables.leaves.push((va, at, leaf));
            }
        }
    }

    fn larger(&mut self, table: u64, index: u64, base: u64, level: u32) {
        let page = DATA_PAGE + self.random.below(16 - DATA_PAGE);
        let target = self.wanted.arena + page * 4096;
        let leaf = self.leaf(level, target);
        let size = 4096u64 << (9 * level);
        self.put(table, index, leaf);
        let va = canonical(base | target & (size - 1), self.wanted.levels);
        self.tables.probes.push((va, page));
    }
}

/// The address with its top bits equal to the highest that is translated.
fn canonical(va: u64, levels: u32) -> u64 {
    let unused = 64 - (12 + 9 * levels);
    (va << unused) as i64 as u64 >> unused
        | if va >> (63 - unused) & 1 != 0 { u64::MAX << (64 - unused) } else { 0 }
}

/// What is in the data pages of the arena at first: numbers; and in the last two, `ret` everywhere, but
/// for an instruction that lies across the two.
pub fn data_pages(random: &mut Random) -> Vec<u8> {
    let numbers = (JUMP_PAGE - DATA_PAGE) * 4096;
    let mut bytes: Vec<u8> = (0..numbers / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
    // c.jr ra
    bytes.extend([0x82, 0x80].repeat(4096));
    let cross = ((JUMP_PAGE + 1 - DATA_PAGE) * 4096) as usize;
    // addi zero, zero, 0
    bytes[cross - 2..cross + 2].copy_from_slice(&[0x13, 0, 0, 0]);
    assert_eq!(bytes.len() as u64, ARENA - DATA_PAGE * 4096);
    bytes
}
