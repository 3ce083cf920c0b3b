//! Contexts: which number stands for which address space and mode right now.

use crate::PAGE_MASK;
use crate::shared::{SHARED, Shared};
use std::collections::BTreeMap;

/// What makes two accesses to one virtual address differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The address space (RISC-V: `satp`; 0 where addresses are physical; [`SHARED`] for several of them).
    pub space: u64,
    /// Privilege and every status bit that changes permissions, packed by the engine.
    pub mode: u32,
}

/// A context in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Context {
    pub(crate) number: u64,
    pub(crate) tag: u64,
}

impl Context {
    /// Its number, never given to another context: for tagging things that are valid as long as the context is.
    #[inline(always)]
    pub fn number(self) -> u64 {
        self.number
    }

    /// What stands beside the page's address in the tag of an entry: bits 3 to 11. Bits 0 to 2 are 0, so that a
    /// comparison which leaves them in the address refuses misaligned accesses too.
    #[inline(always)]
    pub fn tag(self) -> u64 {
        self.tag
    }

    /// Where [`Context::number`] and [`Context::tag`] are, in bytes from the start, for emitted code.
    pub const OFFSETS: (usize, usize) =
        (std::mem::offset_of!(Context, number), std::mem::offset_of!(Context, tag));
}

/// A context whose entries may be in the tables.
#[derive(Clone, Debug)]
struct Live {
    key: Key,
    context: Context,
    /// Where the pages are that whoever remembers more than the tables do relies on; `None` if not all of them are known.
    relied_on: Option<Pages>,
}

/// Pages by their virtual addresses, and where each is in the arena.
pub type Pages = BTreeMap<u64, u64>;

/// The contexts whose entries may be in the tables.
#[derive(Clone, Debug)]
pub struct Contexts {
    live: Vec<Live>,
    /// The number and the tag of the next one.
    next: u64,
    next_tag: u64,
    /// Counts what was forgotten.
    stamp: u64,
    /// What address spaces have in common.
    shared: Shared,
    /// Virtual ranges (first, last byte) that were filled from large pages: one page-table entry
    /// there stands for many table entries. Forgotten when no translating context is left.
    large: Vec<(u64, u64)>,
}

impl Default for Contexts {
    fn default() -> Self {
        Contexts {
            live: Vec::new(),
            next: 1,
            next_tag: 1,
            stamp: 0,
            shared: Shared::default(),
            large: Vec::new(),
        }
    }
}

/// How many contexts are kept; the oldest is forgotten beyond that.
const KEPT: usize = 128;
/// The most pages of a context of which it is noted where they are.
const MOST_PAGES: usize = 1 << 14;
/// How many separate ranges of large pages are told apart.
const RANGES: usize = 8;
/// Large pages this close together make one range.
const NEAR: u64 = 1 << 31;

impl Contexts {
    /// How many tags there are: bits 3 to 11, and not 0.
    const TAGS: u64 = 0x1ff;

    /// The context of `key`, and whether all tags are used up and begin again: then every table must be
    /// cleared before the context is used, and others that are there have other tags.
    pub fn get(&mut self, key: Key) -> (Context, bool) {
        // The last ones used are at the end, and asked for most.
        if let Some(at) = self.live.iter().rposition(|live| live.key == key) {
            let found = self.live.remove(at);
            let context = found.context;
            self.live.push(found);
            return (context, false);
        }
        if self.live.len() == KEPT {
            // One of several address spaces is wanted by all of them, though it may not have been asked for lately.
            let oldest = self.live.iter().position(|live| live.key.space != SHARED);
            self.live.remove(oldest.unwrap_or(0));
            self.stamp += 1;
        }
        let wrapped = self.next_tag > Self::TAGS;
        if wrapped {
            self.tags_again();
        }
        let context = Context { number: self.next, tag: self.next_tag << 3 };
        self.next += 1;
        self.next_tag += 1;
        self.live.push(Live { key, context, relied_on: Some(Pages::new()) });
        (context, wrapped)
    }

    /// Gives those that are there the first tags. Their numbers stay.
    fn tags_again(&mut self) {
        for (tag, live) in (1..).zip(&mut self.live) {
            live.context.tag = tag << 3;
        }
        self.next_tag = self.live.len() as u64 + 1;
        self.stamp += 1;
    }

    /// What address spaces have in common.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The same to change, after which no context may be the one that it was.
    pub fn shared_mut(&mut self) -> &mut Shared {
        self.stamp += 1;
        &mut self.shared
    }

    /// `space` has all that address spaces have in common: contexts stay what they are.
    pub fn admit(&mut self, space: u64) {
        self.shared.admit(space);
    }

    /// Forgets the contexts of [`SHARED`], and begins their list again.
    pub fn share_anew(&mut self) {
        self.flush(|key| key.space == SHARED);
        self.shared_mut().restart();
    }

    /// Forgets the contexts whose key satisfies `which`: their entries match nothing any more.
    pub fn flush(&mut self, which: impl Fn(Key) -> bool) {
        let before = self.live.len();
        self.live.retain(|live| !which(live.key));
        self.stamp += u64::from(self.live.len() != before);
        if self.live.iter().all(|live| live.key.space == 0) {
            self.large.clear();
        }
    }

    /// A number that changes when a context is forgotten: until then, the context of a key stays the same.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The contexts whose key satisfies `which`.
    pub fn matching(&self, which: impl Fn(Key) -> bool) -> impl Iterator<Item = Context> {
        self.live.iter().filter(move |live| which(live.key)).map(|live| live.context)
    }

    /// Notes that somebody relies on the page of `va` being at `offset` of the arena as long as `context` is there; on more
    /// than can be said, if there is no offset.
    pub fn rely(&mut self, context: Context, va: u64, offset: Option<u64>) {
        let Some(live) = self.live.iter_mut().rfind(|live| live.context == context) else { return };
        match (offset, &mut live.relied_on) {
            (Some(offset), Some(pages)) if pages.len() < MOST_PAGES => {
                pages.insert(va & !PAGE_MASK, offset & !PAGE_MASK);
            }
            _ => live.relied_on = None,
        }
    }

    /// Forgets the contexts whose key satisfies `which` and in which, as far as is known, somebody relies on where the page of
    /// `va` is; gives whether there was one.
    pub fn flush_relying(&mut self, va: u64, which: impl Fn(Key) -> bool) -> bool {
        let page = va & !PAGE_MASK;
        let before = self.live.len();
        self.live.retain(|live| {
            let relies = live.relied_on.as_ref().is_none_or(|pages| pages.contains_key(&page));
            !(relies && which(live.key))
        });
        let any = self.live.len() != before;
        self.stamp += u64::from(any);
        any
    }

    /// The contexts whose key satisfies `which`, where it is known what is relied on in them, and that.
    pub fn relied_on(&self, which: impl Fn(Key) -> bool) -> impl Iterator<Item = (Key, &Pages)> {
        self.live
            .iter()
            .filter(move |live| which(live.key))
            .filter_map(|live| Some((live.key, live.relied_on.as_ref()?)))
    }

    /// Notes that `size` bytes around `va` were filled from one large page.
    pub fn note_large(&mut self, va: u64, size: u64) {
        let first = va & !(size - 1);
        let last = first | (size - 1);
        for range in &mut self.large {
            if first >= range.0 && last <= range.1 {
                return;
            }
            if first.saturating_sub(NEAR) <= range.1 && last.saturating_add(NEAR) >= range.0 {
                *range = (range.0.min(first), range.1.max(last));
                return;
            }
        }
        if self.large.len() == RANGES {
            self.large = vec![(0, u64::MAX)];
        } else {
            self.large.push((first, last));
        }
    }

    /// Whether the page of `va` may have been filled from a large page.
    pub fn maybe_large(&self, va: u64) -> bool {
        self.large.iter().any(|&(first, last)| first <= va && va <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(space: u64) -> Key {
        Key { space, mode: 0 }
    }

    #[test]
    fn a_context_keeps_its_number_until_flushed() {
        let mut c = Contexts::default();
        let a = c.get(key(1)).0;
        let b = c.get(key(2)).0;
        assert_eq!(c.get(key(1)).0, a);
        assert_ne!(a, b);
        let stamp = c.stamp();
        c.flush(|k| k.space == 3);
        assert_eq!(c.stamp(), stamp);
        c.flush(|k| k.space == 1);
        assert_ne!(c.stamp(), stamp);
        assert_ne!(c.get(key(1)).0, a);
        assert_eq!(c.get(key(2)).0, b);
    }

    #[test]
    fn tags_are_never_reused_without_saying_so() {
        let mut c = Contexts::default();
        let mut seen = std::collections::HashSet::new();
        let mut wraps = 0;
        for i in 0..10_000 {
            let (context, wrapped) = c.get(key(i));
            if wrapped {
                seen.clear();
                wraps += 1;
            }
            assert_eq!(context.number(), i + 1);
            assert!(context.tag() != 0 && context.tag() & !0xff8 == 0 && seen.insert(context.tag()));
        }
        // The first time all tags are free, then all but those of the contexts that are kept.
        assert_eq!(wraps, 1 + (10_000 - 511) / (511 - KEPT as u64 + 1));
    }

    #[test]
    fn contexts_outlive_their_tags() {
        let mut c = Contexts::default();
        let shared = c.get(key(SHARED)).0;
        for n in 0..300 {
            c.get(key(n));
        }
        let before = c.get(key(299)).0;
        let wrapped = (300..).find(|n| c.get(key(*n)).1);
        assert!(wrapped.is_some());
        let (again, after) = (c.get(key(SHARED)).0, c.get(key(299)));
        assert_eq!(again.number(), shared.number());
        if KEPT > 210 {
            assert_eq!((after.0.number(), after.1), (before.number(), false));
        }
        let mut tags: Vec<u64> = c.matching(|_| true).map(Context::tag).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), c.live.len());
    }

    #[test]
    fn large_pages_are_remembered_in_ranges() {
        let mut c = Contexts::default();
        c.note_large(0xffff_ffff_8020_1000, 1 << 21);
        c.note_large(0x40_0000, 1 << 21);
        assert!(c.maybe_large(0xffff_ffff_8020_0000));
        assert!(c.maybe_large(0x5f_ffff));
        assert!(!c.maybe_large(0x1_0000_0000));
        for i in 0..20 {
            c.note_large(i << 40, 1 << 21);
        }
        assert!(c.maybe_large(0x7777_7777_7777));
    }

    #[test]
    fn what_is_relied_on_is_known_until_it_is_too_much() {
        let mut c = Contexts::default();
        let (a, b) = (c.get(key(1)).0, c.get(key(2)).0);
        c.rely(a, 0x1234, Some(0x5678));
        c.rely(a, 0x1fff, Some(0x5000));
        c.rely(a, 0x3000, Some(0x9000));
        c.rely(b, 0x1000, Some(0x6000));
        let of =
            |c: &Contexts, space| c.relied_on(|k| k.space == space).map(|(_, pages)| pages.clone()).next();
        assert_eq!(of(&c, 1), Some(Pages::from([(0x1000, 0x5000), (0x3000, 0x9000)])));
        c.rely(a, 0x1000, None);
        c.rely(a, 0x1000, Some(0x5000));
        assert_eq!((of(&c, 1), of(&c, 2)), (None, Some(Pages::from([(0x1000, 0x6000)]))));
        (0..=MOST_PAGES as u64).for_each(|n| c.rely(b, n << 12, Some(n << 12)));
        assert_eq!(of(&c, 2), None);
        c.flush(|k| k.space == 1);
        c.get(key(1));
        assert_eq!(of(&c, 1), Some(Pages::new()));
    }

    #[test]
    fn large_pages_are_forgotten_with_the_last_address_space() {
        let mut c = Contexts::default();
        c.get(key(0));
        c.get(key(1));
        c.get(key(2));
        c.note_large(0x40_0000, 1 << 21);
        c.flush(|k| k.space == 1);
        assert!(c.maybe_large(0x40_0000));
        c.flush(|k| k.space != 0);
        assert!(!c.maybe_large(0x40_0000));
    }
}
