//! Host memory mappings: a memfd mapped shared, at a stable address for its whole life.
//!
//! An island of `unsafe`: it owns the mapping and hands out its address and length. It knows
//! nothing of guests; what may be read and written in the mapping is its users' concern.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap, munmap,
};
use std::io;
use std::ptr::NonNull;

/// A zero-filled, shared, read-write mapping of a memfd. Pages cost nothing until they are touched.
#[derive(Debug)]
pub struct SharedMap {
    address: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping is plain memory with no thread affinity; the struct only carries its address.
unsafe impl Send for SharedMap {}
// SAFETY: as above; all access goes through raw pointers whose users answer for their own races.
unsafe impl Sync for SharedMap {}

impl SharedMap {
    /// Maps `len` bytes (more than zero); `name` shows up in `/proc/PID/maps`.
    ///
    /// # Errors
    /// What the host says: too little address space or memory, or `len` of zero.
    pub fn new(name: &str, len: usize) -> io::Result<Self> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, len as u64)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of ours.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &fd,
                0,
            )
        }?;
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMap { address, len, fd })
    }

    /// First byte of the mapping; valid for reads and writes of [`SharedMap::len`] bytes while the
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

    /// The memfd, for mapping the same pages elsewhere.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SharedMap {
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

// SAFETY: as for `SharedMap`.
unsafe impl Send for CodeMap {}
// SAFETY: as for `SharedMap`.
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
    fn a_map_is_zeroed_writable_and_shared_through_its_fd() {
        let map = SharedMap::new("test", 8192).unwrap();
        // SAFETY: offset 4096 lies in the mapping and no one else uses it.
        unsafe {
            assert_eq!(map.address().as_ptr().add(4096).read(), 0);
            map.address().as_ptr().add(4096).write(7);
        }
        let mut byte = [0u8];
        rustix::io::pread(map.fd(), &mut byte, 4096).unwrap();
        assert_eq!(byte, [7]);
    }

    #[test]
    fn no_bytes_is_an_error() {
        assert!(SharedMap::new("test", 0).is_err());
        assert!(CodeMap::new(0).is_err());
    }
}
