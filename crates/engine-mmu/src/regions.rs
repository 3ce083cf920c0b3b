//! Where walks ended: the table of the last step, by region of virtual addresses, so that the next walk of the region
//! takes that step only.

use crate::Context;

/// Binary logarithm of the size of a region: what one table of the lowest level maps, in every format with 4 KiB pages
/// and eight-byte entries.
const REGION_BITS: u32 = 21;
const REGION_MASK: u64 = (1 << REGION_BITS) - 1;
/// Regions remembered; a power of two. So many span 512 MiB, in 4 KiB of the host's first-level cache.
const REGIONS: usize = 256;
/// Bits of an offset that give the level.
const LEVEL: u64 = 7;

/// A direct-mapped cache of the upper levels of page tables. An entry says in which table a walk of a region ended, and
/// at which level; whoever uses it reads the leaf itself anew, so that an entry stands for pointers only. It has to go
/// where the pages of the same context go.
#[derive(Clone, Debug)]
pub struct Regions {
    /// Region | the context's tag (no context has tag 0); arena offset of the table | its level.
    entries: [(u64, u64); REGIONS],
}

impl Default for Regions {
    fn default() -> Self {
        Regions { entries: [(0, 0); REGIONS] }
    }
}

#[inline(always)]
fn tag(context: Context, va: u64) -> u64 {
    va & !REGION_MASK | context.tag
}

#[inline(always)]
fn slot(va: u64) -> usize {
    (va >> REGION_BITS) as usize & (REGIONS - 1)
}

impl Regions {
    /// The number of the region of `va`.
    pub fn number(va: u64) -> u64 {
        va >> REGION_BITS
    }

    /// The arena offset of the table in which the last walk of the region of `va` ended, and the table's level.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "slot() is below REGIONS; the compiler drops the check")]
    pub fn find(&self, context: Context, va: u64) -> Option<(u64, u32)> {
        let (held, table) = self.entries[slot(va)];
        (held == tag(context, va)).then_some((table & !LEVEL, (table & LEVEL) as u32))
    }

    /// Remembers that walks of the region of `va` end in the table at `offset` of the arena (a multiple of 8), of `level`
    /// (below 8).
    #[allow(clippy::indexing_slicing, reason = "slot() is below REGIONS")]
    pub fn fill(&mut self, context: Context, va: u64, offset: u64, level: u32) {
        self.entries[slot(va)] = (tag(context, va), offset & !LEVEL | u64::from(level) & LEVEL);
    }

    /// Forgets the region of `va` in `context`.
    #[allow(clippy::indexing_slicing, reason = "slot() is below REGIONS")]
    pub fn forget(&mut self, context: Context, va: u64) {
        let entry = &mut self.entries[slot(va)];
        if entry.0 == tag(context, va) {
            entry.0 = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.fill((0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contexts, Key};

    #[test]
    fn a_region_is_found_in_its_context_until_it_is_forgotten() {
        let mut contexts = Contexts::default();
        let (a, b) = (contexts.get(Key { space: 1, mode: 0 }).0, contexts.get(Key { space: 2, mode: 0 }).0);
        let mut regions = Regions::default();
        assert_eq!(regions.find(a, 0), None);
        regions.fill(a, 0xffff_ffff_8020_0123, 0x5000, 1);
        assert_eq!(regions.find(a, 0xffff_ffff_803f_ffff), Some((0x5000, 1)));
        assert_eq!(regions.find(a, 0xffff_ffff_8040_0000), None);
        assert_eq!(regions.find(a, 0x8020_0123), None);
        assert_eq!(regions.find(b, 0xffff_ffff_8020_0123), None);
        regions.forget(b, 0xffff_ffff_8020_0000);
        regions.forget(a, 0xffff_ffff_8000_0000);
        assert_eq!(regions.find(a, 0xffff_ffff_8020_0000), Some((0x5000, 1)));
        regions.forget(a, 0xffff_ffff_803f_f000);
        assert_eq!(regions.find(a, 0xffff_ffff_8020_0000), None);
        regions.fill(b, 0, 0, 0);
        assert_eq!(regions.find(b, 0x1f_ffff), Some((0, 0)));
        regions.clear();
        assert_eq!(regions.find(b, 0), None);
    }
}
