//! Locks against using an image twice, which QEMU and its tools understand and keep too.
//!
//! Every user of a file has locks on two bytes for each kind of access: byte 100 + n, shared, if it does n; byte 200 + n,
//! shared, if it does not let others do n. Who comes later looks whether anybody has the opposite. (QEMU's manual, "Disk
//! image file locking"; the numbers are those of `BLK_PERM_*`: 0 read what is consistent, 1 write, 3 resize.) The
//! locks belong to the open file, so they end with it, however its process ends.

use crate::HostFile;
use crate::disk::locked;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support_hostmap::{is_byte_locked, release_byte, share_byte};

/// What somebody will do with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it, and rely on nobody changing it.
    Read,
    /// Write it, and rely on nobody else doing so.
    Write,
}

/// Why an image may not be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Somebody has the opposite.
    #[error(
        "{} is in use by another process that {what}; end that first, or open the image read-only in both \
         (or give each its own overlay: FILE,overlay)", path.display()
    )]
    InUse {
        /// The image.
        path: PathBuf,
        /// What the other process does or forbids.
        what: &'static str,
    },
    /// The locks do not work.
    #[error("cannot lock {}: {error}", path.display())]
    Io {
        /// The image.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
}

/// The kinds of access that are used here, by QEMU's numbers.
const READ: u64 = 0;
const WRITE: u64 = 1;
const RESIZE: u64 = 3;

/// First of the bytes that say what is done, and of those that say what is forbidden.
const DOES: u64 = 100;
const FORBIDS: u64 = 200;

/// How long who finds an image in use asks again: a process that was killed may have had requests of io_uring under way, and
/// the kernel lets go of their files some moments after it.
const PATIENCE: Duration = Duration::from_millis(300);
/// After how long at least it asks again.
const STEP: Duration = Duration::from_millis(5);

/// The locks on one image. They end with the [`HostFile`] it was made of; the value is only the proof.
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// Locks `file`, which is at `path`.
    ///
    /// A file system without locks is no error: then there are none, as with QEMU.
    ///
    /// # Errors
    /// If another open file has locks that contradict, and keeps them for longer than a killed process may; then none are left.
    pub fn new(host: &HostFile, path: &Path, access: Access) -> Result<Self, GuardError> {
        // Of two that come at once, and refuse each other, one is to ask again before the other.
        let step = STEP + Duration::from_millis(u64::from(std::process::id() % 8));
        let end = Instant::now() + PATIENCE;
        loop {
            match Guard::at_once(host, path, access) {
                Err(GuardError::InUse { .. }) if Instant::now() < end => std::thread::sleep(step),
                result => return result,
            }
        }
    }

    fn at_once(host: &HostFile, path: &Path, access: Access) -> Result<Self, GuardError> {
        let does: &[u64] = match access {
            Access::Read => &[READ],
            Access::Write => &[READ, WRITE, RESIZE],
        };
        let forbids = [WRITE, RESIZE];
        let file = host.as_file();
        let bytes = || does.iter().map(|n| DOES + n).chain(forbids.map(|n| FORBIDS + n));
        // First say, then look: of two that come at once, at least one sees the other.
        let result = Self::share_and_look(file, path, bytes(), does, &forbids);
        if let Err(error) = result {
            for byte in bytes() {
                let _ = release_byte(file, byte);
            }
            return Err(error);
        }
        locked(&host.guarded).extend(bytes());
        Ok(Guard(()))
    }

    fn share_and_look(
        file: &std::fs::File,
        path: &Path,
        bytes: impl Iterator<Item = u64>,
        does: &[u64],
        forbids: &[u64],
    ) -> Result<(), GuardError> {
        let failed = |error| GuardError::Io { path: path.to_owned(), error };
        for byte in bytes {
            match share_byte(file, byte) {
                Ok(()) => {}
                Err(error) if no_locks_here(&error) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
        for n in does {
            if is_byte_locked(file, FORBIDS + n).map_err(failed)? {
                let what = if *n == READ { "lets nobody read it" } else { "lets nobody else write it" };
                return Err(GuardError::InUse { path: path.to_owned(), what });
            }
        }
        for n in forbids {
            if is_byte_locked(file, DOES + n).map_err(failed)? {
                return Err(GuardError::InUse { path: path.to_owned(), what: "writes it" });
            }
        }
        Ok(())
    }
}

/// Whether the file system, or the host, has no such locks at all.
fn no_locks_here(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL]
        .iter()
        .any(|e| code == Some(e.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cache;

    fn open(path: &Path) -> HostFile {
        HostFile::open(path, true, Cache::Writeback).unwrap()
    }

    #[test]
    fn one_may_write_and_many_may_read_but_not_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let [a, b, c] = [open(path), open(path), open(path)];
        Guard::new(&a, path, Access::Read).unwrap();
        Guard::new(&b, path, Access::Read).unwrap();
        let error = Guard::new(&c, path, Access::Write).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        drop((a, b));
        Guard::new(&c, path, Access::Write).unwrap();
        let again = open(path);
        assert!(Guard::new(&again, path, Access::Write).is_err());
        assert!(Guard::new(&again, path, Access::Read).is_err());
        drop(c);
        Guard::new(&again, path, Access::Write).unwrap();
    }

    #[test]
    fn what_ends_a_moment_later_is_waited_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let [old, new] = [open(path), open(path)];
        Guard::new(&old, path, Access::Write).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(PATIENCE / 6);
                drop(old);
            });
            Guard::new(&new, path, Access::Write).unwrap();
        });
    }

    #[test]
    fn who_was_refused_leaves_no_locks() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let [reader, refused, other] = [open(path), open(path), open(path)];
        Guard::new(&reader, path, Access::Read).unwrap();
        Guard::new(&refused, path, Access::Write).unwrap_err();
        Guard::new(&other, path, Access::Read).unwrap();
    }
}
