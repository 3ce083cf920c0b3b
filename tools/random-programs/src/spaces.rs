//! Address spaces: page tables that map a program's code and data in windows, and the contexts that run there.

use crate::layout::{DATA, LINEAR, RAM, RANDOM_PAGES, SLOT, TABLE_PAGES, TABLES, WINDOW};
use crate::pte::{A, D, G, R, U, V, W, X};
use crate::random::Random;
use differential_core::word_at;

/// Pages of a window.
const PAGES: u64 = WINDOW / 4096;

/// A mode in an address space, with what is where.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// 0: user, 1: supervisor, 3: machine.
    pub mode: u64,
    /// `satp`.
    pub satp: u64,
    /// Where the code is.
    pub code: u64,
    /// Where the data is.
    pub data: u64,
    /// Offset in the slot of the leaf entry of the first page of data; 0: none.
    pub pte: u64,
    /// Where S-mode of the address space has the code.
    pub s_code: u64,
    /// Where the slot is for code.
    pub linear: u64,
    /// Where the slot is for the handler in S-mode.
    pub s_linear: u64,
}

/// All contexts of a program.
#[derive(Clone, Debug)]
pub struct Spaces {
    /// Number 0 is M-mode.
    pub contexts: Vec<Context>,
    /// Page tables.
    pub tables: Vec<u8>,
    /// A switch of context flushes everything: address spaces have the same number.
    pub flush: bool,
}

/// Where a window lies.
#[derive(Clone, Copy, Debug)]
struct Region {
    code: u64,
    data: u64,
    /// By one large page.
    large: bool,
}

struct Maker<'a> {
    random: &'a mut Random,
    slot: u64,
    spaces: Spaces,
    used: u64,
    code_faults: bool,
    /// Two-megabyte pieces of address space that windows lie in: of code at even places, of data at odd ones, in all
    /// spaces. So an address that is used in a context that it was not made for reaches what it should, or nothing.
    pieces: [u64; 3],
    /// The piece for large pages.
    large: u64,
    /// Usual places in a piece: code and data of S-mode, code and data of user mode.
    places: [u64; 4],
}

/// Random address spaces for the program in `slot`, whose code may be in pages that are not marked as accessed, where
/// fetching it can fault.
pub fn spaces(random: &mut Random, slot: u64, code_faults: bool) -> Spaces {
    let low = |random: &mut Random| 0x10_0000_0000 + (random.below(0x0b_0000_0000) & !0x1f_ffff);
    let high = |random: &mut Random| 0xffff_ffc0_0000_0000 + (random.below(0x3f_0000_0000) & !0x1f_ffff);
    let pieces = [low(random), high(random), if random.one_in(2) { low(random) } else { high(random) }];
    let large = 0x1c_0000_0000 + random.below(16) * 0x20_0000;
    let places = std::array::from_fn(|_| random.below(8));
    let flush = random.one_in(4);
    let tables = vec![0; (TABLE_PAGES * 4096) as usize];
    let spaces = Spaces { contexts: Vec::new(), tables, flush };
    let mut maker = Maker { random, slot, spaces, used: 0, code_faults, pieces, large, places };
    maker.all();
    maker.spaces
}

/// A leaf entry for page `page` of the data, mostly one that permits much.
pub fn data_entry(random: &mut Random, slot: u64, page: u64, user: u64) -> u64 {
    let all = V | R | W | A | D | user;
    let leaf = ((slot + DATA) / 4096 + page) << 10 | all;
    let leaf = if random.one_in(4) { leaf | X } else { leaf };
    match random.below(20) {
        0..9 => leaf,
        9 | 10 => leaf & !W,
        11 => leaf & !(R | W) | X,
        12 => leaf & !V,
        13 => leaf & !A,
        14 | 15 => leaf & !D,
        16 => leaf & !(A | D),
        17 => leaf ^ U,
        // Reserved: W without R.
        18 => leaf & !R,
        _ => leaf | random.below(3) << 61 | random.below(4) << 8,
    }
}

impl Maker<'_> {
    fn all(&mut self) {
        let count = 1 + self.random.below(3);
        let mut contexts = Vec::new();
        for number in 0..count {
            if self.random.one_in(7) {
                contexts.extend(self.bare());
            } else {
                contexts.extend(self.space(number));
            }
        }
        // What M-mode finds in `satp`, for accesses as another mode.
        let other: Context = self.random.pick(&contexts);
        let physical =
            Context { mode: 3, code: self.slot, data: self.slot + DATA, pte: 0, linear: self.slot, ..other };
        self.spaces.contexts = vec![physical];
        self.spaces.contexts.extend(contexts);
    }

    /// No translation.
    fn bare(&mut self) -> [Context; 2] {
        let s = Context {
            mode: 1,
            satp: 0,
            code: self.slot,
            data: self.slot + DATA,
            pte: 0,
            s_code: self.slot,
            linear: self.slot,
            s_linear: self.slot,
        };
        // User mode must not reach page tables: it has no fences for them.
        [s, Context { mode: 0, linear: LINEAR, ..s }]
    }

    fn space(&mut self, number: u64) -> [Context; 2] {
        let levels = self.random.pick(&[3, 3, 3, 4, 5]);
        let root = self.page();
        let asid = match self.spaces.flush {
            true => 0,
            false => self.random.pick(&[1, 0x8000, 0xff00]) + number,
        };
        let satp = (levels + 5) << 60 | asid << 44 | ((self.slot + TABLES) / 4096 + root);
        let global = if self.spaces.flush { 0 } else { G };
        let linear = (RAM / 4096) << 10 | V | R | W | A | D | global;
        self.map(root, levels, LINEAR, 2, linear);
        let (s, u) = self.regions();
        let linear = LINEAR + (self.slot - RAM);
        let s_pte = self.windows(root, levels, s, 0);
        let u_pte = self.windows(root, levels, u, U);
        let context = Context {
            mode: 1,
            satp,
            code: s.code,
            data: s.data,
            pte: s_pte,
            s_code: s.code,
            linear,
            s_linear: linear,
        };
        [context, Context { mode: 0, code: u.code, data: u.data, pte: u_pte, ..context }]
    }

    /// Where supervisor and user have their windows; often the same in several spaces.
    fn regions(&mut self) -> (Region, Region) {
        let random = &mut *self.random;
        let (s_piece, u_piece) = (random.pick(&self.pieces), random.pick(&self.pieces));
        let mut place = |piece: u64, k: usize| {
            // Often the usual place, always one that is only S-mode's or only user mode's.
            let mut choose = |usual: u64| if random.one_in(4) { random.below(8) } else { usual };
            let (code, data) = (choose(self.places[2 * k]), choose(self.places[2 * k + 1]));
            let half = piece + 16 * WINDOW * k as u64;
            Region { code: half + 2 * code * WINDOW, data: half + (2 * data + 1) * WINDOW, large: false }
        };
        let (mut s, mut u) = (place(s_piece, 0), place(u_piece, 1));
        let identity = Region { code: self.slot, data: self.slot + DATA, large: false };
        match self.random.below(8) {
            0 => s = identity,
            1 => u = identity,
            2 => {
                let at = self.large + (self.slot & 0x1f_ffff);
                s = Region { code: at, data: at + DATA, large: true };
            }
            _ => {}
        }
        (s, u)
    }

    fn page(&mut self) -> u64 {
        assert!(self.used < TABLE_PAGES, "page tables need more than {TABLE_PAGES} pages");
        self.used += 1;
        self.used - 1
    }

    /// Makes `leaf` the entry for `va` at `level`, 0 being the lowest; gives its offset in the tables.
    fn map(&mut self, root: u64, levels: u64, va: u64, level: u64, leaf: u64) -> u64 {
        let mut table = root;
        for l in (level..levels).rev() {
            let at = table * 4096 + (va >> (12 + 9 * l) & 0x1ff) * 8;
            let bytes = at as usize..at as usize + 8;
            if l == level {
                self.spaces.tables[bytes].copy_from_slice(&leaf.to_le_bytes());
                return at;
            }
            let entry = word_at(&self.spaces.tables, at);
            table = if entry & V != 0 {
                (entry >> 10) - (self.slot + TABLES) / 4096
            } else {
                let next = self.page();
                let pointer = ((self.slot + TABLES) / 4096 + next) << 10 | V;
                self.spaces.tables[bytes].copy_from_slice(&pointer.to_le_bytes());
                next
            };
        }
        0
    }

    /// Maps both windows; gives the offset in the slot of the first leaf entry of the data, if it can be edited.
    fn windows(&mut self, root: u64, levels: u64, region: Region, user: u64) -> u64 {
        if region.large {
            let leaf = ((self.slot & !0x1f_ffff) / 4096) << 10 | V | R | W | X | A | D | user;
            self.map(root, levels, region.code & !0x1f_ffff, 1, leaf);
            return 0;
        }
        self.code_window(root, levels, region.code, user);
        let mut order: Vec<u64> = (0..RANDOM_PAGES).collect();
        if self.random.one_in(2) {
            self.random.shuffle(&mut order);
        }
        let mut first = 0;
        for page in 0..PAGES {
            let leaf = if page < RANDOM_PAGES {
                let target = if self.random.one_in(6) {
                    self.random.below(RANDOM_PAGES)
                } else {
                    order[page as usize]
                };
                data_entry(self.random, self.slot, target, user)
            } else {
                ((self.slot + DATA) / 4096 + page) << 10 | V | R | W | A | D | user
            };
            let at = self.map(root, levels, region.data + page * 4096, 0, leaf);
            if page == 0 {
                first = TABLES + at;
            }
        }
        first
    }

    fn code_window(&mut self, root: u64, levels: u64, code: u64, user: u64) {
        let writable = if self.random.one_in(2) { W } else { 0 };
        // 64 KiB as one ("Svnapot").
        let contiguous = self.random.one_in(8);
        for page in 0..PAGES {
            let mut leaf = V | R | X | A | D | user | writable;
            let mut target = self.slot / 4096 + page;
            if contiguous {
                target = target & !0xf | 8;
                leaf |= 1 << 63;
            } else if page > 0 {
                match self.random.below(12) {
                    0 => leaf &= !(R | W),
                    1 if self.code_faults => leaf &= !A,
                    2 => leaf ^= W,
                    _ => {}
                }
            }
            self.map(root, levels, code + page * 4096, 0, target << 10 | leaf);
        }
    }
}

/// The number of a slot's place in RAM must be whole: page tables and windows are made for it.
pub fn is_slot(address: u64) -> bool {
    address >= RAM && (address - RAM).is_multiple_of(SLOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `va` is, by the tables alone: the last entry, and the bits of the address that it does not translate.
    fn walk(spaces: &Spaces, slot: u64, satp: u64, va: u64) -> (u64, u64) {
        let tables = slot + TABLES;
        let mut table = (satp & ((1 << 44) - 1)) * 4096;
        for level in (0..(satp >> 60) - 5).rev() {
            let at = (table - tables + (va >> (12 + 9 * level) & 0x1ff) * 8) as usize;
            let bytes = spaces.tables[at..at + 8].try_into().unwrap();
            let entry = u64::from_le_bytes(bytes);
            if entry & (V | R | X | W) != V {
                return (entry, (4096 << (9 * level)) - 1);
            }
            table = (entry >> 10 & ((1 << 44) - 1)) * 4096;
        }
        panic!("no leaf for {va:#x}");
    }

    #[test]
    fn every_context_has_its_code_its_stack_and_the_whole_slot() {
        for number in 0..2000 {
            let slot = RAM + number % 8 * SLOT;
            let spaces = spaces(&mut Random::new(7, number), slot, true);
            for context in spaces.contexts.iter().filter(|c| c.satp != 0 && c.mode != 3) {
                let user = if context.mode == 0 { U } else { 0 };
                let check = |va: u64, pa: u64, need: u64, user: u64| {
                    let (entry, inside) = walk(&spaces, slot, context.satp, va);
                    assert_eq!(entry & (need | U), need | user, "{va:#x} of {context:x?}, number {number}");
                    if entry >> 63 == 0 {
                        assert_eq!(
                            (entry >> 10 << 12) & !inside | va & inside,
                            pa,
                            "{va:#x}, number {number}"
                        );
                    }
                };
                check(context.code, slot, V | X | A, user);
                check(context.s_code, slot, V | R | X | A, 0);
                check(context.data + 0xfff0, slot + DATA + 0xfff0, V | R | W | A | D, user);
                check(context.s_linear, slot, V | R | W | A | D, 0);
                check(context.s_linear + TABLES, slot + TABLES, V | R | W, 0);
            }
        }
    }
}
