//! Host memory mappings: a guest's memory and a translator's code, at stable addresses for their whole life.
//!
//! An island of `unsafe`: it owns the mapping and hands out its address and length, and moves bytes between ranges of it
//! ([`Pieces`]) and files or sockets: by a system call ([`read_at`], [`write_at`], [`send_message`], [`receive_message`]) or by
//! io_uring ([`Uring`]). It knows nothing of
//! guests; what may be read and written in the mapping is its users' concern.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod landlock;
mod lock;
mod message;
mod pieces;
mod transfer;
mod uring;

pub use lock::{is_byte_locked, release_byte, share_byte};
pub use message::{read_frame, receive_message, send_message, write_frame};
pub use pieces::Pieces;
pub use transfer::{read_at, write_at};
pub use uring::{Completion, Operation, Uring};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect, mremap_fixed,
    munmap,
};
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// A zero-filled, read-write mapping of anonymous memory. Pages cost nothing until they are touched.
///
/// The host is asked for huge pages: a guest's page that the engine has just translated else misses the host's TLB as well,
/// which under a hypervisor takes as long as all the rest. Only private memory gets them on most hosts.
#[derive(Debug)]
pub struct MemoryMap {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory with no thread affinity; the struct only carries its address.
unsafe impl Send for MemoryMap {}
// SAFETY: as above; all access goes through raw pointers whose users answer for their own races.
unsafe impl Sync for MemoryMap {}

impl MemoryMap {
    /// Maps `len` bytes (more than zero).
    ///
    /// # Errors
    /// What the host says: too little address space or memory, or `len` of zero.
    pub fn new(len: usize) -> io::Result<Self> {
        let (access, private) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let address = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, private) }?;
        // SAFETY: the mapping is ours, and the advice changes none of its contents. A host without huge pages refuses.
        let _ = unsafe { madvise(address, len, Advice::LinuxHugepage) };
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(MemoryMap { address, len })
    }

    /// First byte of the mapping; valid for reads and writes of [`MemoryMap::len`] bytes while the
    /// map lives.
    #[inline(always)]
    pub fn address(&self) -> NonNull<u8> {
        self.address
    }

    /// Length in bytes.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "a map is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives the pages of `range` back to the host: they are as if they had never been touched, all zeroes. Both ends are
    /// multiples of [`page_size`].
    ///
    /// A transfer that the kernel has begun goes on in the pages that were there, and nobody sees what it writes.
    ///
    /// # Errors
    /// `InvalidInput` for a range that is none of whole pages inside; otherwise what the host says, and nothing is changed.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        let whole = |at: usize| at.is_multiple_of(page_size());
        if range.start > range.end || range.end > self.len || !whole(range.start) || !whole(range.end) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: the range lies inside the mapping, which stays; that its bytes change is no more than what `Pieces::fill`
        // does to them, as private anonymous memory reads as zeroes behind this (madvise(2)).
        let advised = unsafe {
            let start = self.address.as_ptr().add(range.start);
            madvise(start.cast(), range.len(), Advice::LinuxDontNeed)
        };
        Ok(advised?)
    }
}

/// Bytes of a page of the host: the grain in which memory can be given back.
pub fn page_size() -> usize {
    rustix::param::page_size()
}

impl Drop for MemoryMap {
    fn drop(&mut self) {
        // SAFETY: address and length are those of our own mapping, which nobody may use after us.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.len) };
    }
}

/// Memory for emitted code: the same pages mapped twice, once to write and once to execute, so that no address is both.
///
/// The memory is anonymous, not a file's, as Linux `perf` takes names from `/tmp/perf-PID.map` for such memory only. Both
/// mappings begin at a multiple of [`HUGE`].
#[derive(Debug)]
pub struct CodeMap {
    writable: NonNull<u8>,
    code: NonNull<u8>,
    len: usize,
    /// The addresses that were set aside for the mappings, which end with them.
    _reserved: [Reserved; 2],
}

/// Bytes of a huge page of the host.
pub const HUGE: usize = 2 << 20;

/// Addresses that nobody else gets.
#[derive(Debug)]
struct Reserved {
    address: *mut c_void,
    len: usize,
}

impl Reserved {
    /// Room for `len` bytes at a multiple of [`HUGE`].
    fn new(len: usize) -> io::Result<Reserved> {
        let len = len.checked_add(HUGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let address = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::empty(), flags) }?;
        Ok(Reserved { address, len })
    }

    /// The multiple of [`HUGE`] in it.
    fn aligned(&self) -> *mut c_void {
        self.address.map_addr(|address| address.next_multiple_of(HUGE))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: the addresses are ours, with whatever was mapped there, which nobody may use after us.
        let _ = unsafe { munmap(self.address, self.len) };
    }
}

// SAFETY: as for `MemoryMap`.
unsafe impl Send for CodeMap {}
// SAFETY: as for `MemoryMap`.
unsafe impl Sync for CodeMap {}

impl CodeMap {
    /// Maps `len` bytes (more than zero) twice.
    ///
    /// # Errors
    /// What the host says: too little address space or memory, or that it lets nobody execute such memory.
    pub fn new(len: usize) -> io::Result<Self> {
        let reserved = [Reserved::new(len)?, Reserved::new(len)?];
        let [writable, code] = reserved.each_ref().map(Reserved::aligned);
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: the addresses were set aside for this, and nobody uses them yet.
        unsafe { mmap_anonymous(writable, len, access, flags | MapFlags::FIXED) }?;
        // SAFETY: of a shared mapping, 0 bytes at the old address make another one of the same pages, elsewhere; the old
        // one stays as it is (mremap(2)). The new address was set aside for this.
        unsafe { mremap_fixed(writable, 0, len, MremapFlags::MAYMOVE, code) }?;
        // SAFETY: the mapping is ours, and nobody has its address yet.
        unsafe { mprotect(code, len, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        match (NonNull::new(writable.cast()), NonNull::new(code.cast())) {
            (Some(writable), Some(code)) => Ok(CodeMap { writable, code, len, _reserved: reserved }),
            _ => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// Asks the host to make the [`HUGE`] bytes from `offset` on, a multiple of that of which some have been written, one of
    /// its pages: code that is spread over many small ones misses its TLB. It takes a millisecond; hosts before Linux 6.1
    /// refuse, and nothing depends on it.
    pub fn gather(&mut self, offset: usize) {
        let end = offset.checked_add(HUGE);
        if !offset.is_multiple_of(HUGE) || end.is_none_or(|end| end > self.len) {
            return;
        }
        for address in [self.writable, self.code] {
            // SAFETY: the range lies in a mapping of ours, whose contents this does not change (madvise(2)).
            let _ = unsafe { libc::madvise(address.as_ptr().add(offset).cast(), HUGE, libc::MADV_COLLAPSE) };
        }
    }

    /// The first byte as it is executed.
    pub fn code(&self) -> NonNull<u8> {
        self.code
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a map is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` to `offset`; false if they do not fit.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let fits = offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len);
        if fits {
            // SAFETY: the range lies in the mapping, and nobody else writes there: `self` is borrowed.
            unsafe {
                let to = self.writable.as_ptr().add(offset);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_written_at_one_address_and_seen_at_another() {
        let mut map = CodeMap::new(4096).unwrap();
        assert!(map.write(4090, &[1, 2, 3, 4, 5, 6]));
        assert!(!map.write(4091, &[0; 6]) && !map.write(usize::MAX, &[0]));
        // SAFETY: the byte lies in the mapping, and nobody writes it now.
        assert_eq!(unsafe { map.code().as_ptr().add(4095).read() }, 6);
        // What `perf` takes for memory that has no file of its own.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let place = format!("{:x}-", map.code().as_ptr() as usize);
        let line = maps.lines().find(|line| line.starts_with(&place)).unwrap();
        assert!(line.contains(" r-xs ") && line.contains(" /dev/zero"), "{line}");
    }

    #[test]
    fn code_that_is_gathered_stays_what_it_was() {
        let mut map = CodeMap::new(2 * HUGE + 4096).unwrap();
        for at in [0, HUGE - 1, HUGE, 2 * HUGE] {
            assert!(map.write(at, &[at as u8 | 1]));
        }
        for at in [0, 4096, HUGE, 2 * HUGE, usize::MAX - HUGE + 1] {
            map.gather(at);
        }
        assert!(map.write(5000, &[7]));
        for (at, value) in [(0, 1), (4096, 0), (5000, 7), (HUGE - 1, 0xff), (HUGE, 1), (2 * HUGE, 1)] {
            // SAFETY: the byte lies in the mapping, and nobody writes it now.
            assert_eq!(unsafe { map.code().as_ptr().add(at).read() }, value, "{at:#x}");
        }
    }

    #[test]
    fn a_map_is_zeroed_and_writable() {
        let map = MemoryMap::new(8192).unwrap();
        // SAFETY: offset 4096 lies in the mapping and no one else uses it.
        unsafe {
            assert_eq!(map.address().as_ptr().add(4096).read(), 0);
            map.address().as_ptr().add(4096).write(7);
            assert_eq!(map.address().as_ptr().add(4096).read(), 7);
        }
    }

    /// Whether the host has memory for the page at that address (proc_pid_pagemap(5)).
    fn is_present(address: usize) -> bool {
        use std::os::unix::fs::FileExt;
        let mut entry = [0; 8];
        let file = std::fs::File::open("/proc/self/pagemap").unwrap();
        file.read_exact_at(&mut entry, (address / page_size() * 8) as u64).unwrap();
        entry[7] & 0x80 != 0
    }

    #[test]
    fn pages_that_are_discarded_are_the_hosts_and_read_as_zeroes() {
        let page = page_size();
        let map = std::sync::Arc::new(MemoryMap::new(4 * page).unwrap());
        let all = Pieces::one(&map, 0..4 * page).unwrap();
        all.fill(0, 4 * page, 7).unwrap();
        let present = || [0, 1, 2, 3].map(|n| is_present(map.address().as_ptr() as usize + n * page));
        assert_eq!(present(), [true; 4]);
        map.discard(page..3 * page).unwrap();
        assert_eq!(present(), [true, false, false, true]);
        let bytes = all.to_vec();
        assert!(bytes[page..3 * page].iter().all(|&byte| byte == 0));
        assert!(bytes[..page].iter().chain(&bytes[3 * page..]).all(|&byte| byte == 7));
        all.fill(page, 1, 9).unwrap();
        assert_eq!((all.to_vec()[page], present()[1]), (9, true), "it can be used again");
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "such a range is what is tested")]
    fn only_whole_pages_inside_are_discarded() {
        let page = page_size();
        let map = std::sync::Arc::new(MemoryMap::new(2 * page).unwrap());
        let all = Pieces::one(&map, 0..2 * page).unwrap();
        all.fill(0, 2 * page, 7).unwrap();
        for range in [0..1, 1..page, 0..3 * page, page..0, 2 * page..3 * page, 0..usize::MAX - page + 1] {
            let error = map.discard(range.clone()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{range:?}");
        }
        map.discard(page..page).unwrap();
        map.discard(2 * page..2 * page).unwrap();
        assert!(all.to_vec().iter().all(|&byte| byte == 7));
    }

    #[test]
    fn no_bytes_is_an_error() {
        assert!(MemoryMap::new(0).is_err());
        assert!(CodeMap::new(0).is_err());
    }
}
