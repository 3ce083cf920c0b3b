//! What an image is in: a file's bytes.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::sync::Arc;
use support_hostmap::Pieces;

/// Bytes that an image is kept in. It is a file of the host ([`crate::HostFile`]) but for tests.
///
/// What lies behind the end reads as zeroes, and a write there makes the end move. Writes reach stable storage in any
/// order until [`Medium::sync`] returns.
pub trait Medium: Send + Sync + Debug {
    /// Where the end is.
    ///
    /// # Errors
    /// What the host says, as of all methods.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing.
    ///
    /// # Errors
    /// As [`Medium::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads all of `into`.
    ///
    /// # Errors
    /// What the host says.
    fn read_bytes(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `from`.
    ///
    /// # Errors
    /// What the host says; any part of it may have been written.
    fn write_bytes(&self, at: u64, from: &[u8]) -> io::Result<()>;

    /// Reads all of `into`, straight into the mapping.
    ///
    /// # Errors
    /// What the host says.
    fn read(&self, at: u64, into: &Pieces) -> io::Result<()>;

    /// Writes all of `from`, straight out of the mapping.
    ///
    /// # Errors
    /// What the host says; any part of it may have been written.
    fn write(&self, at: u64, from: &Pieces) -> io::Result<()>;

    /// Reads without waiting; `None` if that cannot be.
    fn try_read(&self, _at: u64, _into: &Pieces) -> Option<io::Result<()>> {
        None
    }

    /// Writes without waiting; `None` if that cannot be.
    fn try_write(&self, _at: u64, _from: &Pieces) -> Option<io::Result<()>> {
        None
    }

    /// The file that [`Medium::read`] and [`Medium::write`] of these bytes go to, if they go to one unchanged and nothing else needs
    /// doing.
    fn file(&self, _at: u64, _pieces_len: u64) -> Option<Arc<File>> {
        None
    }

    /// Makes a range read as zeroes without writing them, freeing its space if `unmap`; false if that is not possible
    /// (then nothing has changed).
    ///
    /// # Errors
    /// What the host says.
    fn zero(&self, at: u64, len: u64, unmap: bool) -> io::Result<bool>;

    /// Moves the end.
    ///
    /// # Errors
    /// What the host says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Brings everything written before to stable storage, with what is needed to find it.
    ///
    /// # Errors
    /// What the host says.
    fn sync(&self) -> io::Result<()>;

    /// Where the next data is at or behind `at`, as far as the host knows; `None` if there is none.
    ///
    /// # Errors
    /// What the host says.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        Ok((at < self.len()?).then_some(at))
    }

    /// Where the next hole is at or behind `at`; at the latest, the end.
    ///
    /// # Errors
    /// What the host says.
    fn next_hole(&self, _at: u64) -> io::Result<u64> {
        self.len()
    }
}
