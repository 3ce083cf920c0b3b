//! Who has a guest: a lock on a file, which ends with the process.

use crate::{GuestError, Name};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a lock is tried for: who only looks holds it for an instant.
const PATIENCE: Duration = Duration::from_millis(500);
/// A lock's file has two numbers.
const MOST: u64 = 64;

/// Who holds a lock, by their own word: for people, who would like to know. That somebody holds it is certain without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Number of the process.
    pub pid: u32,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// The lock of a guest, held until this is dropped.
#[derive(Debug)]
pub struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    pub(crate) fn take(path: &Path, name: &Name) -> Result<Held, GuestError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let open =
                File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
            let mut file = open.map_err(GuestError::host("open", path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Who removes a guest takes the file away, with the lock held: then it is not this one.
                Ok(()) if is_at(&file, path) => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                    let write = file.set_len(0).and_then(|()| writeln!(file, "{} {now}", std::process::id()));
                    write.map_err(GuestError::host("write", path))?;
                    return Ok(Held { file, path: path.to_owned() });
                }
                Ok(()) => continue,
                Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(10))
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(GuestError::InUse { name: name.clone(), holder: holder(&mut file) });
                }
                Err(error) => return Err(GuestError::host("lock", path)(error)),
            }
        }
    }

    /// Takes the lock's file away: the guest is no more.
    pub(crate) fn discard(self) -> Result<(), GuestError> {
        let removed = fs::remove_file(&self.path).map_err(GuestError::host("remove", &self.path));
        drop(self.file);
        removed
    }
}

/// Whether somebody holds the lock at `path`, and who.
pub(crate) fn look(path: &Path) -> Result<Option<Option<Holder>>, GuestError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(GuestError::host("open", path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(Some(holder(&mut file))),
        Err(error) => Err(GuestError::host("lock", path)(error)),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().is_ok_and(|one| fs::symlink_metadata(path).is_ok_and(|other| same(one, other)))
}

fn holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).ok()?;
    let (pid, since) = text.trim().split_once(' ')?;
    Some(Holder { pid: pid.parse().ok()?, since: since.parse().ok()? })
}
