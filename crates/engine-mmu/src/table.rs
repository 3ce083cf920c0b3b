//! One direct-mapped table of remembered pages.

use crate::{Context, PAGE_MASK};

/// Entries of a table whose engine has no wish of its own.
pub const ENTRIES: usize = 1024;

/// One remembered page.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// Page address | the context's tag. No context has tag 0, so the empty entry matches nothing.
    tag: u64,
    /// Added to a virtual address, gives the offset in the RAM arena, plus the table's bias.
    addend: u64,
}

impl Entry {
    /// Where tag and addend are, in bytes from the start, for emitted code.
    pub const OFFSETS: (usize, usize) =
        (std::mem::offset_of!(Entry, tag), std::mem::offset_of!(Entry, addend));
}

/// A direct-mapped table for one kind of access. Its entries lie in it, entry n for the pages whose number is n
/// modulo `N`, a power of two, so that emitted code finds them at a fixed distance.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Table<const N: usize = ENTRIES> {
    entries: [Entry; N],
    bias: u64,
    /// Counts what was forgotten.
    version: u64,
    /// A bit for each 64th of the entries: some of them has been filled since the table was cleared.
    filled: u64,
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Table::biased(0)
    }
}

impl<const N: usize> Table<N> {
    const MASK: usize = {
        assert!(N.is_power_of_two());
        N - 1
    };

    /// Where the count of what was forgotten is, in bytes from the start, for emitted code that remembers pages elsewhere.
    pub const VERSION: usize = std::mem::offset_of!(Table<N>, version);

    /// Entries for which one bit says whether any is filled.
    const PART: usize = N.div_ceil(64);

    #[inline(always)]
    fn slot(va: u64) -> usize {
        (va >> 12) as usize & Self::MASK
    }

    /// An empty table whose addends give the arena offset plus `bias`: the arena's address in the host, for an engine
    /// that accesses memory by adding an addend to a virtual address.
    pub fn biased(bias: u64) -> Self {
        Table { entries: [Entry { tag: 0, addend: 0 }; N], bias, version: 0, filled: 0 }
    }

    /// The arena offset of `va`, if its page is remembered in `context`.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "slot() is below N; the compiler drops the check")]
    pub fn find(&self, context: Context, va: u64) -> Option<u64> {
        let entry = &self.entries[Self::slot(va)];
        (entry.tag == (va & !PAGE_MASK | context.tag))
            .then(|| va.wrapping_add(entry.addend).wrapping_sub(self.bias))
    }

    /// Remembers that the page of `va` starts at `offset` of the arena, in `context`.
    #[allow(clippy::indexing_slicing, reason = "slot() is below N")]
    pub fn fill(&mut self, context: Context, va: u64, offset: u64) {
        let page = va & !PAGE_MASK;
        let addend = (offset & !PAGE_MASK).wrapping_add(self.bias).wrapping_sub(page);
        let entry = Entry { tag: page | context.tag, addend };
        self.entries[Self::slot(va)] = entry;
        self.filled |= 1 << (Self::slot(va) / Self::PART);
    }

    /// Forgets the page of `va` in `context`.
    #[allow(clippy::indexing_slicing, reason = "slot() is below N")]
    pub fn forget(&mut self, context: Context, va: u64) {
        self.version += 1;
        let entry = &mut self.entries[Self::slot(va)];
        if entry.tag == va & !PAGE_MASK | context.tag {
            entry.tag = 0;
        }
    }

    /// Forgets every page that stands for the arena page of `offset`, in any context.
    pub fn forget_offset(&mut self, offset: u64) {
        self.version += 1;
        let place = (offset & !PAGE_MASK).wrapping_add(self.bias);
        for entry in self.parts().flatten() {
            if (entry.tag & !PAGE_MASK).wrapping_add(entry.addend) == place {
                entry.tag = 0;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.version += 1;
        for part in self.parts() {
            part.iter_mut().for_each(|entry| entry.tag = 0);
        }
        self.filled = 0;
    }

    /// The parts that may hold something.
    fn parts(&mut self) -> impl Iterator<Item = &mut [Entry]> {
        let filled = self.filled;
        let parts = self.entries.chunks_mut(Self::PART).enumerate();
        parts.filter(move |(at, _)| filled >> at & 1 != 0).map(|(_, part)| part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contexts, Key};

    #[test]
    fn a_page_is_found_in_its_context_only() {
        let mut contexts = Contexts::default();
        let (a, b) = (contexts.get(Key { space: 1, mode: 0 }).0, contexts.get(Key { space: 2, mode: 0 }).0);
        let mut table = <Table>::default();
        assert_eq!(table.find(a, 0), None);
        table.fill(a, 0x7fff_1234, 0x5678);
        assert_eq!(table.find(a, 0x7fff_1abc), Some(0x5abc));
        assert_eq!(table.find(b, 0x7fff_1abc), None);
        assert_eq!(table.find(a, 0x7fff_2abc), None);
        table.forget(a, 0x7fff_1000);
        assert_eq!(table.find(a, 0x7fff_1abc), None);
    }

    #[test]
    fn a_biased_table_finds_offsets_and_forgets_by_them() {
        let mut contexts = Contexts::default();
        let (a, b) = (contexts.get(Key { space: 1, mode: 0 }).0, contexts.get(Key { space: 2, mode: 0 }).0);
        let mut table = Table::<8>::biased(0x7f00_1234_5000);
        table.fill(a, 0x1000, 0x8000);
        table.fill(b, 0x2000, 0x8000);
        table.fill(a, 0x3000, 0x9000);
        assert_eq!(table.find(a, 0x1010), Some(0x8010));
        assert_eq!(table.find(b, 0x2010), Some(0x8010));
        table.forget_offset(0x8fff);
        assert_eq!((table.find(a, 0x1010), table.find(b, 0x2010)), (None, None));
        assert_eq!(table.find(a, 0x3010), Some(0x9010));
    }

    #[test]
    fn high_addresses_work() {
        let mut contexts = Contexts::default();
        let c = contexts.get(Key { space: 0, mode: 1 }).0;
        let mut table = <Table>::default();
        table.fill(c, 0xffff_ffff_ffff_f000, 0);
        assert_eq!(table.find(c, u64::MAX), Some(0xfff));
    }
}
