//! Host memory mappings: a guest's memory and a translator's code, at stable addresses for their whole life.
//!
//! An island of `unsafe`: it owns the mapping and hands out its address and length, and moves bytes between ranges of it
//! ([`Pieces`]) and files: by a system call ([`read_at`], [`write_at`]) or by io_uring ([`Uring`]). It knows nothing of
//! guests; what may be read and written in the mapping is its users' concern.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod lock;
mod pieces;
mod transfer;
mod uring;

pub use lock::{is_byte_locked, release_byte, share_byte};
pub use pieces::Pieces;
pub use transfer::{read_at, write_at};
pub use uring::{Completion, Operation, Uring};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect, mremap,
    munmap,
};
use std::io;
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
}

impl Drop for MemoryMap {
    fn drop(&mut self) {
        // SAFETY: address and length are those of our own mapping, which nobody may use after us.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.len) };
    }
}

/// Memory for emitted code: the same pages mapped twice, once to write and once to execute, so that no address is both.
///
/// The memory is anonymous, not a file's, as Linux `perf` takes names from `/tmp/perf-PID.map` for such memory only.
#[derive(Debug)]
pub struct CodeMap {
    writable: NonNull<u8>,
    code: NonNull<u8>,
    len: usize,
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
        let (access, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let writable = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, shared) }?;
        // SAFETY: of a shared mapping, 0 bytes at the old address make another one of the same pages, elsewhere; the old
        // one stays as it is (mremap(2)).
        let code = unsafe { mremap(writable, 0, len, MremapFlags::MAYMOVE) };
        let code = code.and_then(|code| {
            // SAFETY: the mapping is ours, and nobody has its address yet.
            let protected = unsafe { mprotect(code, len, MprotectFlags::READ | MprotectFlags::EXEC) };
            if protected.is_err() {
                // SAFETY: likewise.
                let _ = unsafe { munmap(code, len) };
            }
            protected.map(|()| code)
        });
        match (NonNull::new(writable.cast()), code.map(|code| NonNull::new(code.cast()))) {
            (Some(writable), Ok(Some(code))) => Ok(CodeMap { writable, code, len }),
            (_, code) => {
                // SAFETY: the mapping is ours, and nobody has its address yet.
                let _ = unsafe { munmap(writable, len) };
                code?;
                Err(io::ErrorKind::OutOfMemory.into())
            }
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

impl Drop for CodeMap {
    fn drop(&mut self) {
        for address in [self.writable, self.code] {
            // SAFETY: address and length are those of our own mapping, which nobody may use after us.
            let _ = unsafe { munmap(address.as_ptr().cast(), self.len) };
        }
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
    fn a_map_is_zeroed_and_writable() {
        let map = MemoryMap::new(8192).unwrap();
        // SAFETY: offset 4096 lies in the mapping and no one else uses it.
        unsafe {
            assert_eq!(map.address().as_ptr().add(4096).read(), 0);
            map.address().as_ptr().add(4096).write(7);
            assert_eq!(map.address().as_ptr().add(4096).read(), 7);
        }
    }

    #[test]
    fn no_bytes_is_an_error() {
        assert!(MemoryMap::new(0).is_err());
        assert!(CodeMap::new(0).is_err());
    }
}
