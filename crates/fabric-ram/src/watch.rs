//! Watched pages: those that code was translated from. Whoever writes to one leaves a trace, so that a `fence.i` costs
//! nothing where nothing was written.
//!
//! A hart that may store to a page without coming by (through an entry of its software TLB) would leave none. So an
//! engine remembers no watched page for stores; when a page comes to be watched, the [`Watch::epoch`] moves, and every
//! hart drops what it has remembered for stores and acknowledges that. A page that is written often is *opened*: it may be
//! remembered again, and counts as written always.

use crate::PAGE;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The version of a page that is not watched.
const UNWATCHED: u32 = 0;
/// The version of a page that counts as written always.
const OPEN: u32 = u32::MAX;
/// Writes that leave a trace, after which a page is opened: each costs the hart a detour.
const MANY: u32 = 200;
/// Bits of a version that count writes, from 1 on. The others tell apart the times that the page was watched, so that a page
/// that was given up and watched again meanwhile is never taken for one that has not been written.
const COUNT: u32 = 0xff;
/// Harts that can acknowledge.
const HARTS: usize = 64;
/// What a hart that is not running has acknowledged.
const ALL: u64 = u64::MAX;

/// Which pages are watched, and how often each has been written.
#[derive(Debug)]
pub struct Watch {
    versions: Box<[AtomicU32]>,
    epoch: AtomicU64,
    /// How often a page came to be watched.
    times: AtomicU64,
    /// Changes of versions that were begun, and that are done.
    begun: AtomicU64,
    writes: AtomicU64,
    acknowledged: [AtomicU64; HARTS],
}

impl Watch {
    pub(crate) fn new(pages: u64) -> Self {
        // Zeroed memory costs nothing until it is touched; with optimisation this conversion does not.
        let zeroes = vec![0u32; usize::try_from(pages).unwrap_or(0)];
        let versions = zeroes.into_iter().map(AtomicU32::new).collect();
        let acknowledged = std::array::from_fn(|_| AtomicU64::new(ALL));
        Watch {
            versions,
            epoch: AtomicU64::new(0),
            times: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            acknowledged,
        }
    }

    #[inline]
    fn version_of(&self, offset: u64) -> Option<&AtomicU32> {
        self.versions.get((offset / PAGE) as usize)
    }

    /// Watches the page that holds `offset`; true if it was not watched before, so that the epoch has moved.
    pub fn add(&self, offset: u64) -> bool {
        let Some(version) = self.version_of(offset) else { return false };
        if version.load(Ordering::SeqCst) != UNWATCHED {
            return false;
        }
        let first = (self.times.fetch_add(1, Ordering::SeqCst) as u32) << COUNT.count_ones() | 1;
        let new = version.compare_exchange(UNWATCHED, first, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if new {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
        new
    }

    /// Whether a hart must not remember the page that holds `offset` for stores.
    #[inline]
    pub fn holds(&self, offset: u64) -> bool {
        self.version_of(offset).is_some_and(|v| !matches!(v.load(Ordering::SeqCst), UNWATCHED | OPEN))
    }

    /// The version of the page that holds `offset`: another one if it was written meanwhile. `None` if it counts as
    /// written always.
    pub fn version(&self, offset: u64) -> Option<u32> {
        self.version_of(offset).map(|v| v.load(Ordering::SeqCst)).filter(|&v| v != OPEN)
    }

    /// Takes note that the page that holds `offset` has been written.
    #[inline]
    pub fn touch(&self, offset: u64) {
        if self.holds(offset) {
            self.note(offset);
        }
    }

    #[cold]
    fn note(&self, offset: u64) {
        let Some(version) = self.version_of(offset) else { return };
        let next = |v| match v {
            UNWATCHED | OPEN => None,
            v if v & COUNT == MANY => Some(OPEN),
            v => Some(v + 1),
        };
        self.change(|| {
            let _ = version.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        });
    }

    /// Changes a version. Whoever asks [`Watch::writes`] meanwhile learns that something is going on: what another hart
    /// stores as soon as the version has changed may leave no trace of its own.
    fn change(&self, change: impl FnOnce()) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        change();
        self.writes.fetch_add(1, Ordering::SeqCst);
    }

    /// Watches the page that holds `offset` no longer: nobody runs code from it.
    pub fn remove(&self, offset: u64) {
        if let Some(version) = self.version_of(offset) {
            self.change(|| version.store(UNWATCHED, Ordering::SeqCst));
        }
    }

    /// Takes note that the hart with this number has dropped what it had remembered for stores when the epoch was `epoch`;
    /// `None` if it is not running.
    pub fn acknowledge(&self, hart: u64, epoch: Option<u64>) {
        if let Some(slot) = usize::try_from(hart).ok().and_then(|n| self.acknowledged.get(n)) {
            slot.store(epoch.unwrap_or(ALL), Ordering::SeqCst);
        }
    }

    /// Whether every hart has acknowledged `epoch`. Never, if there are harts that cannot.
    pub fn settled(&self, epoch: u64, harts: u64) -> bool {
        harts <= HARTS as u64 && self.acknowledged.iter().all(|slot| slot.load(Ordering::SeqCst) >= epoch)
    }

    /// Moves whenever a page comes to be watched.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Moves whenever a watched page is written; `None` while a version is being changed.
    #[inline]
    pub fn writes(&self) -> Option<u64> {
        let done = self.writes.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == done).then_some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_watched_pages_leave_a_trace() {
        let watch = Watch::new(4);
        watch.touch(0);
        assert_eq!((watch.writes(), watch.epoch()), (Some(0), 0));
        assert!(watch.add(PAGE + 5) && !watch.add(PAGE));
        assert_eq!(watch.epoch(), 1);
        assert!(watch.holds(PAGE) && !watch.holds(0));
        let before = watch.version(PAGE);
        watch.touch(PAGE + 100);
        assert_ne!(watch.version(PAGE), before);
        assert_eq!(watch.writes(), Some(1));
        watch.change(|| assert_eq!(watch.writes(), None));
        assert_eq!(watch.writes(), Some(2));
    }

    #[test]
    fn a_page_that_is_written_often_counts_as_written_always() {
        let watch = Watch::new(1);
        watch.add(0);
        (0..MANY).for_each(|_| watch.touch(0));
        assert!(!watch.holds(0) && !watch.add(0));
        assert_eq!(watch.version(0), None);
        watch.touch(0);
        assert_eq!(watch.version(0), None);
        watch.remove(0);
        assert!(watch.add(0) && watch.holds(0));
    }

    /// What happens between is not seen by a hart that keeps code of the page.
    #[test]
    fn a_page_that_is_watched_again_has_another_version() {
        let watch = Watch::new(1);
        watch.add(0);
        let before = watch.version(0);
        watch.remove(0);
        watch.add(0);
        assert_ne!(watch.version(0), before);
    }

    #[test]
    fn an_epoch_is_settled_when_all_who_run_have_seen_it() {
        let watch = Watch::new(1);
        watch.acknowledge(0, Some(0));
        watch.add(0);
        assert!(!watch.settled(1, 2));
        watch.acknowledge(0, Some(1));
        assert!(watch.settled(1, 2) && !watch.settled(1, 65));
        watch.acknowledge(1, Some(0));
        assert!(!watch.settled(1, 2));
        watch.acknowledge(1, None);
        assert!(watch.settled(1, 2));
        watch.acknowledge(99, Some(0));
    }

    #[test]
    fn pages_beyond_the_arena_are_nobodys() {
        let watch = Watch::new(1);
        assert!(!watch.add(PAGE) && !watch.holds(PAGE));
        watch.touch(u64::MAX);
        watch.remove(u64::MAX);
        assert_eq!(watch.version(PAGE), None);
    }
}
