//! Open files and folders: what is read from them and written to them.

use crate::folder::Folder;
use crate::handles::{OpenFile, OpenFolder};
use crate::listing::Listing;
use crate::name::Name;
use crate::options::Cache;
use crate::tree::{Found, Tree, permissions};
use rustix::fs::{FallocateFlags, FileType, OFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};
use std::io::IoSlice;
use std::sync::{Mutex, PoisonError};

/// The most bytes that are read or written in one request.
pub const MOST: usize = 128 << 10;

/// The most bytes that are copied in one request, so that no other waits long; the guest asks on.
const MOST_COPIED: u64 = 16 << 20;

/// The guest's open flags that are not [`Opening`]'s (fcntl.h).
pub(crate) mod guest {
    pub const EXCLUSIVE: u32 = 0o200;
    pub const APPEND: u32 = 0o2000;
}

/// How a file is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening(OFlags);

impl Opening {
    /// From the guest's open flags. The bits in use are the same on all hosts and guests (fcntl.h): the others that a
    /// guest may set concern itself. Appending is asked for with each write.
    pub fn of_flags(flags: u32) -> Self {
        const KEPT: u32 = 0o3 | 0o1000 | 0o10_000 | 0o4_010_000;
        let kept = OFlags::from_bits_retain(flags & KEPT);
        // Reserved by Linux for a third meaning; a guest's kernel never sends it.
        let both = OFlags::WRONLY | OFlags::RDWR;
        Opening(if kept.contains(both) { kept.difference(OFlags::WRONLY) } else { kept })
    }

    fn writes(self) -> bool {
        self.0.intersects(OFlags::WRONLY | OFlags::RDWR)
    }
}

/// An opened file.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// Its number.
    pub handle: u64,
    /// It is as it was when the guest opened it last. Only asked with [`Cache::Auto`].
    pub unchanged: bool,
}

impl Tree {
    /// Opens a regular file. Nothing else can be opened: the guest's kernel has fifos, sockets and devices of its own.
    ///
    /// # Errors
    /// `EISDIR`, `ELOOP` for a symbolic link, `ENXIO` for fifos, sockets and devices, `ENFILE`, `EROFS`; what the host says.
    pub fn open(&self, node: u64, how: Opening) -> Result<Opened, Errno> {
        if how.writes() || how.0.contains(OFlags::TRUNC) {
            self.writable()?;
        }
        self.handles.room()?;
        match self.nodes.kind(node)? {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NXIO),
        }
        // The kind is part of what the descriptor was checked against.
        let found = self.nodes.descriptor(&self.folder, node)?;
        let descriptor = self.folder.open(&found, how.0)?;
        let unchanged = self.options.cache == Cache::Auto && self.unchanged(node, &descriptor);
        let handle = self.handles.add_file(OpenFile { descriptor, node, writable: how.writes() })?;
        Ok(Opened { handle, unchanged })
    }

    /// Makes a file and opens it; opens the one that is there, unless it must be new (`exclusive`).
    ///
    /// # Errors
    /// As for making and opening.
    pub fn create(
        &self,
        parent: u64,
        name: &[u8],
        (how, exclusive): (Opening, bool),
        mode: u32,
    ) -> Result<(Found, Opened), Errno> {
        self.writable()?;
        self.handles.room()?;
        let folder = self.folder_of(parent)?;
        let name = Name::new(name)?;
        // The host may make and remove it in between; it will not do so for ever.
        for _ in 0..8 {
            match self.folder.make(&folder, name, how.0, permissions(mode)?) {
                Ok(descriptor) => {
                    let stat = self.folder.look_at(&descriptor)?;
                    let node = self.nodes.enter(&stat, parent, name.bytes())?;
                    let file = OpenFile { descriptor, node, writable: how.writes() };
                    let added = self.handles.add_file(file).inspect_err(|_| self.nodes.forget(node, 1));
                    return Ok((Found { node, stat }, Opened { handle: added?, unchanged: false }));
                }
                Err(Errno::EXIST) if !exclusive => {}
                Err(other) => return Err(other),
            }
            let found = match self.lookup(parent, name.bytes()) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            let opened = self.open(found.node, how).inspect_err(|_| self.nodes.forget(found.node, 1))?;
            // It may have been cut off by opening it.
            let stat = self.status(found.node).unwrap_or(found.stat);
            return Ok((Found { node: found.node, stat }, opened));
        }
        Err(Errno::AGAIN)
    }

    /// Makes a file without a name and opens it.
    ///
    /// # Errors
    /// As for making and opening; `EOPNOTSUPP` if the host's file system has none.
    pub fn create_nameless(
        &self,
        parent: u64,
        how: Opening,
        exclusive: bool,
        mode: u32,
    ) -> Result<(Found, Opened), Errno> {
        self.writable()?;
        self.handles.room()?;
        let folder = self.folder_of(parent)?;
        let flags = how.0 | OFlags::TMPFILE | OFlags::CLOEXEC;
        let flags = if exclusive { flags | OFlags::EXCL } else { flags };
        let descriptor = rustix::fs::openat(&folder, ".", flags, permissions(mode)?)?;
        let stat = self.folder.look_at(&descriptor)?;
        // It cannot be found again by any name.
        let known = self.folder.open(&descriptor, OFlags::PATH)?;
        let node = self.nodes.enter(&stat, parent, b"")?;
        self.nodes.keep(node, known.into());
        let file = OpenFile { descriptor, node, writable: how.writes() };
        let added = self.handles.add_file(file).inspect_err(|_| self.nodes.forget(node, 1));
        Ok((Found { node, stat }, Opened { handle: added?, unchanged: false }))
    }

    /// Appends to `into` up to `size` bytes from `offset`: fewer only at the file's end.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for more than [`MOST`]; what the host says.
    pub fn read(
        &self,
        (node, handle): (u64, u64),
        offset: u64,
        size: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        if size > MOST {
            return Err(Errno::INVAL);
        }
        let file = self.handles.file(handle, node)?;
        let start = into.len();
        into.resize(start + size, 0);
        let mut done = 0;
        let result = loop {
            let Some(rest) = into.get_mut(start + done..).filter(|rest| !rest.is_empty()) else {
                break Ok(());
            };
            let Some(at) = offset.checked_add(done as u64) else { break Err(Errno::INVAL) };
            match rustix::io::pread(&file.descriptor, rest, at) {
                Ok(0) => break Ok(()),
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(error) if done == 0 => break Err(error),
                Err(_) => break Ok(()),
            }
        };
        into.truncate(start + done);
        result
    }

    /// Writes at `offset`, or at the end of the file if `append`. Returns how many bytes: fewer only if there was an error
    /// behind them.
    ///
    /// # Errors
    /// `EBADF`; what the host says: `EFBIG` past the process's limit of file sizes, which raises a signal too that whoever
    /// serves must have taken care of.
    pub fn write(
        &self,
        (node, handle): (u64, u64),
        offset: u64,
        data: &[u8],
        append: bool,
    ) -> Result<usize, Errno> {
        self.writable()?;
        let file = self.handles.file(handle, node)?;
        let flags = if append { ReadWriteFlags::APPEND } else { ReadWriteFlags::empty() };
        let mut rest = data;
        while !rest.is_empty() {
            let done = data.len() - rest.len();
            let at =
                offset.checked_add(done as u64).filter(|at| i64::try_from(*at).is_ok()).ok_or(Errno::FBIG)?;
            match rustix::io::pwritev2(&file.descriptor, &[IoSlice::new(rest)], at, flags) {
                Ok(0) => break,
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(data.len() - rest.len())
    }

    /// Has the host put a file on its disk.
    ///
    /// # Errors
    /// `EBADF`; what the host says.
    pub fn sync(&self, (node, handle): (u64, u64), only_data: bool) -> Result<(), Errno> {
        let file = self.handles.file(handle, node)?;
        match only_data {
            true => rustix::fs::fdatasync(&file.descriptor),
            false => rustix::fs::fsync(&file.descriptor),
        }
    }

    /// Allocates, frees or zeroes part of a file.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for other modes than allocating (0), and these with the size kept: allocating (1), punching a hole (3),
    /// zeroing (0x10, 0x11); what the host says.
    pub fn allocate(
        &self,
        (node, handle): (u64, u64),
        mode: u32,
        offset: u64,
        length: u64,
    ) -> Result<(), Errno> {
        self.writable()?;
        if !matches!(mode, 0 | 1 | 3 | 0x10 | 0x11) {
            return Err(Errno::OPNOTSUPP);
        }
        let file = self.handles.file(handle, node)?;
        rustix::fs::fallocate(&file.descriptor, FallocateFlags::from_bits_retain(mode), offset, length)
    }

    /// Where data (`SEEK_DATA`, 3) or a hole (`SEEK_HOLE`, 4) comes next.
    ///
    /// # Errors
    /// `EINVAL` for another `whence`, `EBADF`, `ENXIO` behind the end.
    pub fn seek(&self, (node, handle): (u64, u64), offset: u64, whence: u32) -> Result<u64, Errno> {
        let file = self.handles.file(handle, node)?;
        let to = match whence {
            3 => SeekFrom::Data(offset),
            4 => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        rustix::fs::seek(&file.descriptor, to)
    }

    /// Copies between two open files, perhaps the same; returns how many bytes, fewer than asked for if that is much.
    ///
    /// # Errors
    /// `EBADF`; what the host says.
    pub fn copy(&self, from: (u64, u64, u64), to: (u64, u64, u64), length: u64) -> Result<usize, Errno> {
        self.writable()?;
        let (source, target) = (self.handles.file(from.1, from.0)?, self.handles.file(to.1, to.0)?);
        let (mut at, mut into) = (from.2, to.2);
        let length = usize::try_from(length.min(MOST_COPIED)).unwrap_or(usize::MAX);
        rustix::fs::copy_file_range(
            &source.descriptor,
            Some(&mut at),
            &target.descriptor,
            Some(&mut into),
            length,
        )
    }

    /// Opens a folder for listing.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENFILE`; what the host says.
    pub fn open_folder(&self, node: u64) -> Result<u64, Errno> {
        self.handles.room()?;
        let folder = self.folder_of(node)?;
        let descriptor = self.open_as_folder(&folder)?;
        let listing = Mutex::new(Listing::new(descriptor));
        self.handles.add_folder(OpenFolder { node, listing })
    }

    fn open_as_folder(&self, folder: &rustix::fd::OwnedFd) -> Result<rustix::fd::OwnedFd, Errno> {
        Folder::open(&self.folder, folder, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Goes through an open folder from a position, handing entries to `take` until it says no or they end.
    ///
    /// # Errors
    /// `EBADF`; what the host says.
    pub fn list(
        &self,
        (node, handle): (u64, u64),
        mut position: u64,
        mut take: impl FnMut(&crate::listing::Entry) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let folder = self.handles.folder(handle, node)?;
        // Positions and entries ahead; whole between any two steps.
        let mut listing = folder.listing.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(entry) = listing.peek(position)? {
            if !take(&entry)? {
                return Ok(());
            }
            listing.advance();
            position = entry.next;
        }
        Ok(())
    }

    /// Has the host put a folder's names on its disk.
    ///
    /// # Errors
    /// `EBADF`; what the host says.
    pub fn sync_folder(&self, (node, handle): (u64, u64), only_data: bool) -> Result<(), Errno> {
        let folder = self.handles.folder(handle, node)?;
        let listing = folder.listing.lock().unwrap_or_else(PoisonError::into_inner);
        match only_data {
            true => rustix::fs::fdatasync(listing.descriptor()),
            false => rustix::fs::fsync(listing.descriptor()),
        }
    }

    /// Has the host put all of the folder's file system on its disk.
    ///
    /// # Errors
    /// What the host says.
    pub fn sync_all(&self) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        rustix::fs::syncfs(self.folder.open(self.folder.root(), flags)?)
    }
}
