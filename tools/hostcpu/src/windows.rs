//! The memory of the oracle: the windows of [`crate::layout`] and a second view of the data.

use crate::Unavailable;
use crate::layout::{CODE, CODE_BYTES, DATA, DATA_BYTES, EXITS, PAGE, READ_ONLY, RESERVED, WRITABLE_BYTES};
use libc::{MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_POPULATE, MAP_PRIVATE};
use libc::{MAP_SHARED, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE, c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::null_mut;

/// Where a branch may end: `hlt`, a general protection fault with RIP on it. (`int3` is as short and as
/// fast; but a debugger wants it.)
pub const FILL: u8 = 0xf4;

/// The mappings; unmapped when dropped.
pub struct Windows {
    /// A view of the data that may be written throughout.
    view: *mut u8,
}

const RESERVED_BYTES: usize = (RESERVED.end - RESERVED.start) as usize;

impl Windows {
    /// Maps everything; `exits` is what [`EXITS`] begins with.
    ///
    /// # Errors
    /// If something is there already, or the kernel does not let us.
    pub fn new(exits: [u64; 2]) -> Result<Windows, Unavailable> {
        // SAFETY: a name of our own, ending in zero.
        let fd = unsafe { libc::memfd_create(c"hostcpu".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(refused("a memfd"));
        }
        // SAFETY: the descriptor is new and ours.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(DATA_BYTES as u64).map_err(|e| Unavailable::Kernel("memory", e))?;
        let nothing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
        map("the addresses of its windows", RESERVED.start, RESERVED_BYTES, PROT_NONE, nothing, None)?;
        let mut windows = Windows { view: null_mut() };
        let shared = MAP_SHARED | MAP_POPULATE;
        let (write, fixed) = (PROT_READ | PROT_WRITE, shared | MAP_FIXED);
        windows.view = map("memory", 0, DATA_BYTES, write, shared, Some((&file, 0)))?;
        map("memory", DATA, WRITABLE_BYTES, write, fixed, Some((&file, 0)))?;
        map("memory", READ_ONLY, PAGE, PROT_READ, fixed, Some((&file, WRITABLE_BYTES)))?;
        // Written where it is fetched from: by another address, a serializing instruction would have to
        // stand between (SDM volume 3, "Handling Self- and Cross-Modifying Code").
        let private = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_FIXED;
        map("writable code", CODE, CODE_BYTES, write | PROT_EXEC, private, None)?;
        windows.code().fill(FILL);
        let page = map("memory", EXITS, PAGE, write, private, None)?;
        // SAFETY: a page mapped just now, which has room for two words.
        unsafe { page.cast::<[u64; 2]>().write(exits) };
        // SAFETY: the page is ours, and nobody has a borrow of it.
        if unsafe { libc::mprotect(page.cast(), PAGE, PROT_READ) } != 0 {
            return Err(refused("read-only memory"));
        }
        Ok(windows)
    }

    /// The data, with the page that instructions may only read.
    pub fn data(&mut self) -> &mut [u8] {
        // SAFETY: mapped while this lives; instructions, the only others that use these pages, run
        // while nobody has this borrow.
        unsafe { std::slice::from_raw_parts_mut(self.view, DATA_BYTES) }
    }

    /// The code.
    pub fn code(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(CODE as *mut u8, CODE_BYTES) }
    }

    /// Puts `bytes` at `address` in the code, as far as there is room.
    #[inline]
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - CODE) as usize;
        let end = CODE_BYTES.min(at + bytes.len());
        if let (Some(there), Some(bytes)) = (self.code().get_mut(at..end), bytes.get(..end - at)) {
            there.copy_from_slice(bytes);
        }
    }

    /// The same, unless they are there. Says whether they were not.
    #[inline]
    pub fn ensure(&mut self, address: u64, bytes: &[u8]) -> bool {
        let at = (address - CODE) as usize;
        let end = CODE_BYTES.min(at + bytes.len());
        let there = self.code().get(at..end) == bytes.get(..end - at);
        if !there {
            self.put(address, bytes);
        }
        !there
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        // SAFETY: the mappings are ours, and nobody has a borrow of them.
        unsafe { libc::munmap(RESERVED.start as *mut c_void, RESERVED_BYTES) };
        if !self.view.is_null() {
            // SAFETY: as above.
            unsafe { libc::munmap(self.view.cast(), DATA_BYTES) };
        }
    }
}

fn refused(what: &'static str) -> Unavailable {
    Unavailable::Kernel(what, io::Error::last_os_error())
}

fn map(
    what: &'static str,
    at: u64,
    len: usize,
    protection: c_int,
    flags: c_int,
    file: Option<(&File, usize)>,
) -> Result<*mut u8, Unavailable> {
    let (fd, offset) = file.map_or((-1, 0), |(file, offset)| (file.as_raw_fd(), offset));
    // SAFETY: the address is the kernel's choice, or free (else this fails), or in what we reserved.
    let got = unsafe { libc::mmap(at as *mut c_void, len, protection, flags, fd, offset as libc::off_t) };
    if got == libc::MAP_FAILED {
        return Err(refused(what));
    }
    // A kernel that does not know MAP_FIXED_NOREPLACE takes the address for a hint.
    if at != 0 && got as u64 != at {
        // SAFETY: mapped just now, used by nobody.
        unsafe { libc::munmap(got, len) };
        return Err(Unavailable::Kernel(what, io::ErrorKind::AddrInUse.into()));
    }
    Ok(got.cast())
}
