//! Code that address spaces have in common.
//!
//! A kernel is mapped alike in all address spaces. Were its code known for each of them apart, each new process would have to
//! find all of it again. So there are contexts that stand for several address spaces ([`SHARED`]), and a list of the mappings
//! that whoever remembers anything in such a context relies on. An address space may use these contexts once its page tables
//! have been looked at and found to have all that is on the list; when there is more on the list, for the rest of it too; and
//! after a fence that concerns the space, for all of it anew.

use std::collections::BTreeMap;

/// The address space of keys whose contexts several address spaces share: no `satp` has this value, whose MODE is reserved.
pub const SHARED: u64 = u64::MAX;

/// The most mappings on the list.
const MOST: usize = 4096;
/// The most address spaces of which is known what they have.
const SPACES: usize = 256;

/// A page of any size that was fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// An address in it.
    pub va: u64,
    /// What that address leads to, as an offset in the arena.
    pub offset: u64,
    /// Binary logarithm of the page's size.
    pub bits: u8,
}

impl Mapping {
    /// The first address.
    fn first(self) -> u64 {
        self.va & !(self.mask())
    }

    fn mask(self) -> u64 {
        1u64.checked_shl(u32::from(self.bits)).map_or(u64::MAX, |size| size - 1)
    }

    /// Where the first address leads.
    fn base(self) -> u64 {
        self.offset.wrapping_sub(self.va & self.mask())
    }

    fn covers(self, va: u64) -> bool {
        va & !self.mask() == self.first()
    }
}

/// How a mapping stands to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is on the list.
    There,
    /// It is not, but may be.
    New,
    /// It cannot be: something else is where it would be, or the list is full.
    Never,
}

/// The list, and what is known of address spaces.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    list: Vec<Mapping>,
    /// Places in the list by first addresses.
    by_first: BTreeMap<u64, usize>,
    /// Address spaces, and how much of the list they have. Those that were looked at last are at the end.
    have: Vec<(u64, usize)>,
    /// Address spaces that do not have all of it.
    apart: Vec<u64>,
    /// Address spaces that cannot share, whatever is on the list.
    own: Vec<u64>,
}

/// Puts an address space at the end of some of them, of which there are not too many.
fn put(spaces: &mut Vec<u64>, space: u64) {
    spaces.retain(|of| *of != space);
    if spaces.len() == SPACES {
        spaces.remove(0);
    }
    spaces.push(space);
}

impl Shared {
    /// The part of the list that `space` is not known to have; `None` if it shares nothing.
    pub fn unseen(&self, space: u64) -> Option<&[Mapping]> {
        if self.apart.contains(&space) || self.own.contains(&space) {
            return None;
        }
        let from = self.have.iter().rev().find(|(of, _)| *of == space).map_or(0, |(_, from)| *from);
        Some(self.list.get(from..).unwrap_or_default())
    }

    /// `space` has all of the list.
    pub fn admit(&mut self, space: u64) {
        let all = (space, self.list.len());
        if self.have.last() == Some(&all) {
            return;
        }
        self.have.retain(|(of, _)| *of != space);
        if self.have.len() == SPACES {
            self.have.remove(0);
        }
        self.have.push(all);
    }

    /// `space` does not have all of the list: it shares nothing until a fence concerns it.
    pub fn refuse(&mut self, space: u64) {
        self.have.retain(|(of, _)| *of != space);
        put(&mut self.apart, space);
    }

    /// `space` has code that cannot be shared.
    pub fn exclude(&mut self, space: u64) {
        self.have.retain(|(of, _)| *of != space);
        put(&mut self.own, space);
    }

    /// Whether any other address space than `space` has all of the list.
    pub fn others(&self, space: u64) -> bool {
        self.have.iter().any(|&(of, upto)| of != space && upto == self.list.len())
    }

    /// How `mapping` stands to the list.
    pub fn standing(&self, mapping: Mapping) -> Standing {
        match self.covering(mapping.va) {
            Some(known) if known.bits == mapping.bits && known.base() == mapping.base() => Standing::There,
            None if self.list.len() < MOST => Standing::New,
            _ => Standing::Never,
        }
    }

    /// Puts a new mapping on the list, of `space`, which has all that was there.
    pub fn rely(&mut self, mapping: Mapping, space: u64) {
        self.by_first.insert(mapping.first(), self.list.len());
        self.list.push(mapping);
        self.admit(space);
    }

    fn covering(&self, va: u64) -> Option<&Mapping> {
        let (_, &at) = self.by_first.range(..=va).next_back()?;
        self.list.get(at).filter(|known| known.covers(va))
    }

    /// Whether the page of `va` is on the list.
    pub fn covers(&self, va: u64) -> bool {
        self.covering(va).is_some()
    }

    /// Of the address spaces that satisfy `which` nothing is known any more.
    pub fn doubt(&mut self, which: impl Fn(u64) -> bool) {
        self.have.retain(|(of, _)| !which(*of));
        self.apart.retain(|of| !which(*of));
    }

    /// Begins again with an empty list: the contexts of [`SHARED`] must be forgotten.
    pub fn restart(&mut self) {
        self.list.clear();
        self.by_first.clear();
        self.have.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(va: u64, offset: u64) -> Mapping {
        Mapping { va, offset, bits: 12 }
    }

    fn rely(shared: &mut Shared, mapping: Mapping, space: u64) -> Standing {
        let standing = shared.standing(mapping);
        if standing == Standing::New {
            shared.rely(mapping, space);
        }
        standing
    }

    #[test]
    fn a_space_has_what_it_was_found_to_have() {
        let mut shared = Shared::default();
        assert_eq!(shared.unseen(1), Some(&[][..]));
        shared.admit(1);
        assert_eq!(rely(&mut shared, page(0x1234, 0x9234), 1), Standing::New);
        assert_eq!(rely(&mut shared, page(0x1ffe, 0x9ffe), 1), Standing::There);
        assert_eq!(rely(&mut shared, page(0x2000, 0x5000), 1), Standing::New);
        assert_eq!(shared.unseen(1), Some(&[][..]));
        assert_eq!(shared.unseen(2).unwrap().len(), 2);
        assert!(!shared.others(1) && shared.others(2));
        shared.admit(2);
        assert_eq!(rely(&mut shared, page(0x3000, 0x6000), 2), Standing::New);
        assert_eq!(shared.unseen(1), Some(&[page(0x3000, 0x6000)][..]));
        shared.refuse(1);
        shared.exclude(3);
        assert_eq!((shared.unseen(1), shared.unseen(3)), (None, None));
        shared.doubt(|space| space == 1);
        assert_eq!(shared.unseen(1).unwrap().len(), 3);
        assert_eq!(shared.unseen(2), Some(&[][..]));
        shared.doubt(|_| true);
        assert_eq!((shared.unseen(2).unwrap().len(), shared.unseen(3)), (3, None));
        shared.restart();
        assert_eq!((shared.unseen(2), shared.unseen(3)), (Some(&[][..]), None));
        assert!(!shared.covers(0x1000));
    }

    #[test]
    fn a_page_is_in_one_place_only() {
        let mut shared = Shared::default();
        shared.rely(page(0x1234, 0x9234), 1);
        assert_eq!(shared.standing(page(0x1234, 0x8234)), Standing::Never);
        assert_eq!(shared.standing(Mapping { va: 0x1000, offset: 0x9000, bits: 21 }), Standing::Never);
        assert!(shared.covers(0x1fff) && !shared.covers(0x2000) && !shared.covers(0xfff));
    }

    #[test]
    fn large_pages_count_once() {
        let mut shared = Shared::default();
        let large = |va: u64, offset| Mapping { va, offset, bits: 21 };
        shared.rely(large(0x40_1000, 0x1000), 1);
        assert_eq!(shared.standing(large(0x5f_f000, 0x1f_f000)), Standing::There);
        assert_eq!(shared.standing(large(0x5f_e000, 0x1f_f000)), Standing::Never);
        assert_eq!(shared.standing(large(0x60_0000, 0x1f_f000)), Standing::New);
        // The first address of a page may lead to nowhere in the arena.
        shared.rely(large(0x81_0000, 0x1000), 1);
        assert_eq!(shared.standing(large(0x81_1000, 0x2000)), Standing::There);
        assert!(shared.covers(0x80_0000) && shared.covers(0x9f_ffff) && !shared.covers(0xa0_0000));
        assert_eq!(Mapping { va: 5, offset: 5, bits: 64 }.first(), 0);
    }

    #[test]
    fn lists_end() {
        let mut shared = Shared::default();
        for n in 0..MOST as u64 {
            assert_eq!(rely(&mut shared, page(n << 12, 0), n), Standing::New);
        }
        assert_eq!(shared.standing(page(1 << 40, 0)), Standing::Never);
        (0..1000).for_each(|n| shared.refuse(n));
        (0..1000).for_each(|n| shared.exclude(n));
        assert!(shared.have.len() <= SPACES && shared.apart.len() == SPACES && shared.own.len() == SPACES);
    }
}
