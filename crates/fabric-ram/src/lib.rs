//! Guest RAM: one arena, addressed by offset, safe to use from every thread.
//!
//! An island of `unsafe`. The arena holds all RAM and ROM blocks of a machine back to back; which
//! guest-physical address is which offset is the bus's business. Guest memory is shared with other
//! harts, with I/O threads and with translated code, so it is only ever
//! touched by atomic accesses of at most eight bytes or by byte copies that promise nothing about
//! order; no reference into it is ever formed. Values are little-endian, as RISC-V and x86 see them.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod dirty;
mod watch;
mod word;

pub use dirty::DirtyLog;
pub use watch::Watch;
pub use word::Word;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support_hostmap::MemoryMap;

/// Size and alignment of a guest page, the grain of mapping and of the dirty log.
pub const PAGE: u64 = 4096;

/// The RAM arena of one machine.
#[derive(Debug)]
pub struct GuestRam {
    map: Arc<MemoryMap>,
    size: u64,
    dirty: DirtyLog,
    watch: Watch,
}

impl GuestRam {
    /// An arena of `size` bytes of zeroes; `size` is a positive multiple of [`PAGE`].
    ///
    /// # Errors
    /// `InvalidInput` for a bad size; otherwise what the host says.
    pub fn new(size: u64) -> io::Result<Self> {
        let len = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if size == 0 || !size.is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "RAM size must be a multiple of 4 KiB"));
        }
        let map = Arc::new(MemoryMap::new(len)?);
        Ok(GuestRam { map, size, dirty: DirtyLog::new(size / PAGE), watch: Watch::new(size / PAGE) })
    }

    /// Size in bytes.
    #[inline(always)]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The host mapping, for engines that access it by address and for file transfers that go straight into it.
    pub fn map(&self) -> &Arc<MemoryMap> {
        &self.map
    }

    /// Which pages were written. Engines mark a page when they let a hart write it freely.
    pub fn dirty(&self) -> &DirtyLog {
        &self.dirty
    }

    /// Which pages code was translated from. In a machine whose engine translates, whoever stores without marking the
    /// dirty log behind it calls [`Watch::touch`] behind the store.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Marks the page that holds `offset` dirty and written, behind a store.
    #[inline]
    pub fn written(&self, offset: u64) {
        self.dirty.mark(offset);
        self.watch.touch(offset);
    }

    /// The same for every page of a range.
    pub fn written_range(&self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let last = offset.saturating_add(len - 1) / PAGE;
        (offset / PAGE..=last).for_each(|page| self.written(page * PAGE));
    }

    /// Gives the host what of the range are whole pages of its own: they hold zeroes from then on, and take none of its memory
    /// until they are touched. It is a store like any other: code of these pages is no longer what it was, and they are dirty.
    ///
    /// # Errors
    /// `InvalidInput` if the range leaves the arena; otherwise what the host says, and nothing is changed.
    pub fn release(&self, range: Range<u64>) -> io::Result<()> {
        if range.start > range.end || range.end > self.size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let page = support_hostmap::page_size() as u64;
        let (start, end) = (range.start.next_multiple_of(page), range.end / page * page);
        if start >= end {
            return Ok(());
        }
        // Both lie in the arena, which is no larger than what can be addressed.
        self.map.discard(start as usize..end as usize)?;
        self.written_range(start, end - start);
        Ok(())
    }

    /// A pointer to `T` at `offset`, if it is aligned and lies inside.
    #[inline(always)]
    fn at<T: Word>(&self, offset: u64) -> Option<*mut T> {
        let bytes = size_of::<T>() as u64;
        if offset > self.size - bytes || offset & (bytes - 1) != 0 {
            return None;
        }
        // SAFETY: offset + size_of::<T>() <= size, the length of the mapping.
        Some(unsafe { self.map.address().as_ptr().add(offset as usize) }.cast())
    }

    /// Reads a naturally aligned word; `None` outside the arena or when misaligned.
    #[inline(always)]
    pub fn load<T: Word>(&self, offset: u64) -> Option<T> {
        let pointer = self.at::<T>(offset)?;
        // SAFETY: `at` gave an aligned pointer into the live mapping; every other access is atomic
        // or a byte copy of the kind described in the crate's comment.
        Some(unsafe { T::load(pointer, Ordering::Relaxed) })
    }

    /// Writes a naturally aligned word; `None` outside the arena or when misaligned. Does not mark
    /// the page dirty.
    #[inline(always)]
    pub fn store<T: Word>(&self, offset: u64, value: T) -> Option<()> {
        let pointer = self.at::<T>(offset)?;
        // SAFETY: as in `load`.
        unsafe { T::store(pointer, value, Ordering::Relaxed) };
        Some(())
    }

    /// Reads a naturally aligned word of `size` bytes (1, 2, 4, else 8), zero-extended; `None` as for
    /// [`GuestRam::load`].
    #[inline(always)]
    pub fn load_sized(&self, offset: u64, size: u8) -> Option<u64> {
        match size {
            1 => self.load::<u8>(offset).map(u64::from),
            2 => self.load::<u16>(offset).map(u64::from),
            4 => self.load::<u32>(offset).map(u64::from),
            _ => self.load::<u64>(offset),
        }
    }

    /// Writes the low `size` bytes (1, 2, 4, else 8) of `value`, naturally aligned; `None` and the dirty
    /// log as for [`GuestRam::store`].
    #[inline(always)]
    pub fn store_sized(&self, offset: u64, size: u8, value: u64) -> Option<()> {
        match size {
            1 => self.store(offset, value as u8),
            2 => self.store(offset, value as u16),
            4 => self.store(offset, value as u32),
            _ => self.store(offset, value),
        }
    }

    /// Replaces `old` by `new` if the word holds `old` (sequentially consistent): `Ok(old)`, else
    /// `Err` with what it holds. `None` outside the arena or when misaligned.
    #[inline(always)]
    pub fn compare_exchange<T: Word>(&self, offset: u64, old: T, new: T) -> Option<Result<T, T>> {
        let pointer = self.at::<T>(offset)?;
        // SAFETY: as in `load`.
        Some(unsafe { T::compare_exchange(pointer, old, new) })
    }

    /// Applies `f` to the word in one atomic step (sequentially consistent) and returns what it held
    /// before. `None` outside the arena or when misaligned.
    #[inline(always)]
    pub fn fetch_update<T: Word>(&self, offset: u64, f: impl Fn(T) -> T) -> Option<T> {
        let mut old = self.load::<T>(offset)?;
        loop {
            match self.compare_exchange(offset, old, f(old))? {
                Ok(before) => return Some(before),
                Err(now) => old = now,
            }
        }
    }

    fn range(&self, offset: u64, len: usize) -> Option<*mut u8> {
        if offset.checked_add(len as u64)? > self.size {
            return None;
        }
        // SAFETY: offset <= size, so the result is inside the mapping or one past its end.
        Some(unsafe { self.map.address().as_ptr().add(offset as usize) })
    }

    /// Copies bytes out; `None` if the range leaves the arena.
    pub fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Option<()> {
        let from = self.range(offset, bytes.len())?;
        // SAFETY: the source range lies in the mapping and cannot overlap a Rust-owned slice. Other
        // threads may write it meanwhile: then the bytes are whatever mix was there, and plain
        // bytes have no invalid values.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Some(())
    }

    /// Copies bytes in and marks the pages dirty; `None` if the range leaves the arena.
    pub fn copy_in(&self, offset: u64, bytes: &[u8]) -> Option<()> {
        let to = self.range(offset, bytes.len())?;
        // SAFETY: as in `copy_out`, with the directions exchanged.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        self.written_range(offset, bytes.len() as u64);
        Some(())
    }

    /// Fills a range with `byte` and marks the pages dirty; `None` if the range leaves the arena.
    pub fn fill(&self, offset: u64, len: u64, byte: u8) -> Option<()> {
        let len = usize::try_from(len).ok()?;
        let to = self.range(offset, len)?;
        // SAFETY: the range lies in the mapping.
        unsafe { std::ptr::write_bytes(to, byte, len) };
        self.written_range(offset, len as u64);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_little_endian_and_bounded() {
        let ram = GuestRam::new(PAGE).unwrap();
        ram.store::<u64>(8, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(ram.load::<u8>(8), Some(8));
        assert_eq!(ram.load::<u32>(12), Some(0x0102_0304));
        assert_eq!(ram.load::<u64>(PAGE - 8), Some(0));
        assert_eq!(ram.load::<u64>(PAGE - 4), None);
        assert_eq!(ram.load::<u64>(PAGE), None);
        assert_eq!(ram.load::<u16>(u64::MAX), None);
        assert_eq!(ram.load::<u32>(2), None);
    }

    #[test]
    fn updates_are_atomic_between_threads() {
        let ram = GuestRam::new(PAGE).unwrap();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    (0..10_000).for_each(|_| {
                        ram.fetch_update::<u32>(16, |v| v.wrapping_add(1));
                    })
                });
            }
        });
        assert_eq!(ram.load::<u32>(16), Some(40_000));
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "such a range is what is tested")]
    fn released_pages_are_whole_and_dirty_and_their_code_is_old() {
        let page = support_hostmap::page_size() as u64;
        let ram = GuestRam::new(4 * page).unwrap();
        ram.fill(0, 4 * page, 7).unwrap();
        ram.dirty().take();
        ram.watch().add(2 * page);
        let before = ram.watch().version(2 * page);
        ram.release(page - 1..3 * page + 1).unwrap();
        assert_ne!(ram.watch().version(2 * page), before);
        assert_eq!(ram.dirty().take(), (page / PAGE..3 * page / PAGE).collect::<Vec<_>>());
        let at = [page - 1, page, 3 * page - 1, 3 * page].map(|at| ram.load::<u8>(at).unwrap());
        assert_eq!(at, [7, 0, 0, 7]);
        ram.release(1..page).unwrap();
        ram.release(4 * page..4 * page).unwrap();
        assert_eq!((ram.load::<u8>(1), ram.dirty().take()), (Some(7), vec![]), "no whole page");
        for range in [page..0, 0..4 * page + 1, 0..u64::MAX, u64::MAX..u64::MAX] {
            assert!(ram.release(range).is_err());
        }
    }

    #[test]
    fn copies_mark_the_pages_they_write() {
        let ram = GuestRam::new(4 * PAGE).unwrap();
        ram.copy_in(PAGE - 1, &[1, 2]).unwrap();
        assert_eq!(ram.dirty().take(), vec![0, 1]);
        assert_eq!(ram.dirty().take(), Vec::<u64>::new());
        let mut two = [0; 2];
        ram.copy_out(PAGE - 1, &mut two).unwrap();
        assert_eq!(two, [1, 2]);
        assert!(ram.copy_in(4 * PAGE - 1, &[1, 2]).is_none());
        assert!(ram.copy_in(u64::MAX, &[1, 2]).is_none());
    }
}
