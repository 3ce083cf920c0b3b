//! Address spaces of small pages only (Privileged Architecture, "Sv39"): a fence of one address is one of that page.

use super::{Pair, RAM};
use fabric_ram::PAGE;
use isa_riscv::{Features, Hart, Mode};

pub const V: u64 = 1;
pub const R: u64 = 2;
pub const W: u64 = 4;
pub const X: u64 = 8;
pub const U: u64 = 16;
pub const A: u64 = 64;
pub const D: u64 = 128;
/// A page of code.
pub const CODE: u64 = V | R | X | A | D;
/// A page of data.
pub const DATA_PAGE: u64 = V | R | W | A | D;

/// An address space whose pages lie within 2 MiB from a multiple of that on. Its tables take three pages of RAM.
#[derive(Clone, Copy)]
pub struct Space {
    /// Physical address of its tables.
    pub tables: u64,
    /// Its number.
    pub asid: u64,
    /// Where it begins.
    pub start: u64,
}

/// An entry for the page at a physical address.
pub fn entry(to: u64, rights: u64) -> u64 {
    to >> 12 << 10 | rights
}

impl Space {
    /// One without pages.
    pub fn new(pair: &mut Pair, tables: u64, asid: u64, start: u64) -> Space {
        let space = Space { tables, asid, start };
        pair.put(tables, &[0; 3 * PAGE as usize]);
        let mut put = |at: u64, to: u64| pair.put(at, &entry(to, V).to_le_bytes());
        put(tables + 8 * (start >> 30 & 511), tables + PAGE);
        put(tables + PAGE + 8 * (start >> 21 & 511), tables + 2 * PAGE);
        space
    }

    /// Where the entry for an address is.
    pub fn at(&self, va: u64) -> u64 {
        self.tables + 2 * PAGE + 8 * (va >> 12 & 511)
    }

    /// Maps a page.
    pub fn map(&self, pair: &mut Pair, va: u64, to: u64, rights: u64) {
        pair.put(self.at(va), &entry(to, rights).to_le_bytes());
    }

    /// What `satp` is for it.
    pub fn satp(&self) -> u64 {
        8 << 60 | self.asid << 44 | self.tables >> 12
    }

    /// A hart there, in S-mode, that may do everything with all of memory.
    pub fn hart(&self, pc: u64) -> Hart {
        let mut hart = Hart::new(0, &Features::FULL);
        hart.pc = pc;
        hart.mode = Mode::S;
        hart.csr.mtvec = super::HANDLER;
        hart.csr.satp = self.satp();
        hart.csr.pmp.set_addr(0, u64::MAX);
        hart.csr.pmp.set_cfg_register(0, 0x1f);
        hart
    }
}

/// Physical address of page `n` of RAM.
pub fn page(n: u64) -> u64 {
    RAM + n * PAGE
}
