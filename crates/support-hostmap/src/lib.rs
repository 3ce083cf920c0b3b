//! Host memory mappings: a memfd mapped shared, at a stable address for its whole life.
//!
//! An island of `unsafe`: it owns the mapping and hands out its address and length. It knows
//! nothing of guests; what may be read and written in the mapping is its users' concern.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
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
#[derive(Debug)]
pub struct CodeMap {
    writable: SharedMap,
    code: NonNull<u8>,
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
    pub fn new(name: &str, len: usize) -> io::Result<Self> {
        let writable = SharedMap::new(name, len)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing but the writable one, which is what
        // it is for.
        let code = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::EXEC,
                MapFlags::SHARED | MapFlags::NORESERVE,
                writable.fd(),
                0,
            )
        }?;
        let code = NonNull::new(code.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(CodeMap { writable, code })
    }

    /// The first byte as it is executed.
    pub fn code(&self) -> NonNull<u8> {
        self.code
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a map is never empty")]
    pub fn len(&self) -> usize {
        self.writable.len()
    }

    /// Copies `bytes` to `offset`; false if they do not fit.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let fits = offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len());
        if fits {
            // SAFETY: the range lies in the mapping, and nobody else writes there: `self` is borrowed.
            unsafe {
                let to = self.writable.address().as_ptr().add(offset);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
        }
        fits
    }
}

impl Drop for CodeMap {
    fn drop(&mut self) {
        // SAFETY: address and length are those of our own mapping, which nobody may use after us.
        let _ = unsafe { munmap(self.code.as_ptr().cast(), self.writable.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_written_at_one_address_and_seen_at_another() {
        let mut map = CodeMap::new("test", 4096).unwrap();
        assert!(map.write(4090, &[1, 2, 3, 4, 5, 6]));
        assert!(!map.write(4091, &[0; 6]) && !map.write(usize::MAX, &[0]));
        // SAFETY: the byte lies in the mapping, and nobody writes it now.
        assert_eq!(unsafe { map.code().as_ptr().add(4095).read() }, 6);
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
    }
}
