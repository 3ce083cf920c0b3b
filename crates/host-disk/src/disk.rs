//! The trait of all disks, and what can go wrong with one.

use std::any::Any;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use support_hostmap::Pieces;

/// Bytes of a sector, the unit of a disk's size. Requests need not be aligned to it.
pub const SECTOR: u64 = 512;

/// Why a disk did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The request leaves the disk.
    #[error("{len} bytes at {at} are beyond the end of a disk of {size} bytes")]
    OutOfRange {
        /// Offset asked for.
        at: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes of the disk.
        size: u64,
    },
    /// A write to what is only read.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The image contradicts itself. Nothing was written that would make it worse.
    #[error(
        "the image is corrupt: {what} (at offset {offset:#x} of the file); `hostel image check` tells more"
    )]
    Corrupt {
        /// What is wrong.
        what: &'static str,
        /// Where in the file.
        offset: u64,
    },
    /// An earlier write of the image's tables failed, so that what is in memory and in the file may differ.
    #[error("an earlier write of the image's tables failed; the disk takes no more writes")]
    Broken,
    /// Something the image's format or the host has no way to do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The host's file system or device.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where in a file the bytes of a request are, all of them, so that they can be transferred without the disk.
#[derive(Debug)]
pub struct Plan {
    /// The file.
    pub file: Arc<File>,
    /// Where in it.
    pub offset: u64,
    /// As long as this lives, the place in the file is used for nothing else.
    pub lease: Option<Arc<dyn Any + Send + Sync>>,
}

/// A run of bytes of which the same is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many.
    pub len: u64,
    /// Whether they are known to read as zeroes, so that nobody needs to.
    pub zero: bool,
}

/// A disk: sectors that keep what was written.
///
/// Every method may be called by several threads at once. Requests that overlap in time and place have no order between
/// them; what they leave is some mix of both, but never damage to an image's tables. No request is trusted: one that
/// leaves the disk is an error.
pub trait Disk: Send + Sync + Debug {
    /// Size in bytes, a multiple of [`SECTOR`].
    fn size(&self) -> u64;

    /// Whether it refuses to be written.
    fn read_only(&self) -> bool;

    /// Reads all of `into` from offset `at`, or fails. May wait for the host.
    ///
    /// # Errors
    /// As [`DiskError`] says; `into` may then hold anything.
    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError>;

    /// Writes all of `from` at offset `at`, or fails. May wait for the host.
    ///
    /// # Errors
    /// As [`DiskError`] says; the sectors may then hold old or new contents.
    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError>;

    /// [`Disk::read`] for who must not wait: `None` if it would.
    fn try_read(&self, _at: u64, _into: &Pieces) -> Option<Result<(), DiskError>> {
        None
    }

    /// [`Disk::write`] for who must not wait: `None` if it would.
    fn try_write(&self, _at: u64, _from: &Pieces) -> Option<Result<(), DiskError>> {
        None
    }

    /// Where the `len` bytes at `at` are in a file, if they are there in one run, can be transferred without more ado
    /// and that is known without waiting.
    fn plan(&self, _write: bool, _at: u64, _len: u64) -> Option<Plan> {
        None
    }

    /// Brings everything that was written before to stable storage.
    ///
    /// # Errors
    /// If the host cannot promise that; some of it may be lost.
    fn flush(&self) -> Result<(), DiskError>;

    /// Says that the contents of a range are not needed any more; what is read there then is old contents or zeroes.
    ///
    /// # Errors
    /// As [`DiskError`] says. That the host cannot free the space is none.
    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError>;

    /// Makes a range read as zeroes. `may_unmap`: its space may be given back.
    ///
    /// # Errors
    /// As for [`Disk::write`].
    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError>;

    /// Changes the size; new space reads as zeroes.
    ///
    /// # Errors
    /// If it is no multiple of [`SECTOR`], or the format or the host cannot.
    fn resize(&self, size: u64) -> Result<(), DiskError>;

    /// What is known of the bytes from `at` on, without reading them; at least one byte, if there is one.
    ///
    /// # Errors
    /// As for [`Disk::read`].
    fn span(&self, at: u64) -> Result<Span, DiskError> {
        Ok(Span { len: self.size().saturating_sub(at), zero: false })
    }

    /// Flushes and leaves the image as one that was closed in order. What drops a disk does the same, but cannot tell of errors.
    ///
    /// # Errors
    /// As for [`Disk::flush`].
    fn close(&self) -> Result<(), DiskError> {
        self.flush()
    }
}

/// Refuses a range that leaves a disk of `size` bytes.
pub(crate) fn check_range(at: u64, len: u64, size: u64) -> Result<(), DiskError> {
    match at.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(DiskError::OutOfRange { at, len, size }),
    }
}

/// Takes a lock; what it covers is valid between any two statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
