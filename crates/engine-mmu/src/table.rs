//! One direct-mapped table of remembered pages.

use crate::{Context, PAGE_MASK};

/// Entries of a table; a power of two.
pub const ENTRIES: usize = 1024;

/// One remembered page.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Page address | context number. No context is 0, so the empty entry matches nothing.
    tag: u64,
    /// Added to a virtual address, gives the offset in the RAM arena.
    addend: u64,
}

/// A direct-mapped table for one kind of access.
#[derive(Clone, Debug)]
pub struct Table {
    entries: Box<[Entry; ENTRIES]>,
}

impl Default for Table {
    fn default() -> Self {
        Table { entries: Box::new([Entry { tag: 0, addend: 0 }; ENTRIES]) }
    }
}

#[inline(always)]
fn slot(context: Context, va: u64) -> usize {
    (va >> 12) as usize & (ENTRIES - 1) ^ context.spread as usize
}

impl Table {
    /// The arena offset of `va`, if its page is remembered in `context`.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "slot() is below ENTRIES; the compiler drops the check")]
    pub fn find(&self, context: Context, va: u64) -> Option<u64> {
        let entry = &self.entries[slot(context, va) & (ENTRIES - 1)];
        (entry.tag == (va & !PAGE_MASK | context.number)).then(|| va.wrapping_add(entry.addend))
    }

    /// Remembers that the page of `va` starts at `offset` of the arena, in `context`.
    #[allow(clippy::indexing_slicing, reason = "slot() is below ENTRIES")]
    pub fn fill(&mut self, context: Context, va: u64, offset: u64) {
        let page = va & !PAGE_MASK;
        let entry = Entry { tag: page | context.number, addend: (offset & !PAGE_MASK).wrapping_sub(page) };
        self.entries[slot(context, va) & (ENTRIES - 1)] = entry;
    }

    /// Forgets the page of `va` in `context`.
    #[allow(clippy::indexing_slicing, reason = "slot() is below ENTRIES")]
    pub fn forget(&mut self, context: Context, va: u64) {
        let entry = &mut self.entries[slot(context, va) & (ENTRIES - 1)];
        if entry.tag == va & !PAGE_MASK | context.number {
            entry.tag = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for entry in self.entries.iter_mut() {
            entry.tag = 0;
        }
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
        let mut table = Table::default();
        assert_eq!(table.find(a, 0), None);
        table.fill(a, 0x7fff_1234, 0x5678);
        assert_eq!(table.find(a, 0x7fff_1abc), Some(0x5abc));
        assert_eq!(table.find(b, 0x7fff_1abc), None);
        assert_eq!(table.find(a, 0x7fff_2abc), None);
        table.forget(a, 0x7fff_1000);
        assert_eq!(table.find(a, 0x7fff_1abc), None);
    }

    #[test]
    fn high_addresses_work() {
        let mut contexts = Contexts::default();
        let c = contexts.get(Key { space: 0, mode: 1 }).0;
        let mut table = Table::default();
        table.fill(c, 0xffff_ffff_ffff_f000, 0);
        assert_eq!(table.find(c, u64::MAX), Some(0xfff));
    }
}
