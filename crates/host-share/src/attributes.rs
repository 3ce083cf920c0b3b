//! What a guest is told of a file, and what it may change of that.
//!
//! The server acts as one user of the host. To the guest, that user's files belong to the guest's main user
//! ([`crate::Owner`]). A file's owner cannot be changed: a request to set what it is already succeeds (archives are
//! unpacked by that), any other is `EPERM`. Nor can a file be made to run with its owner's rights (`S_ISUID`, `S_ISGID`):
//! on the host that would lend the sharing user's rights to anyone there. A file that has these bits already keeps its mode
//! or loses them: the guest may have written it.

use crate::nodes::Seen;
use crate::options::Owner;
use crate::tree::Tree;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// Nobody's number, of users and of groups.
const NOBODY: u32 = 65_534;

/// Bits of a mode that lend rights on execution.
pub const LENDING: u32 = 0o6000;

/// Whose files are whose.
#[derive(Debug)]
pub struct Ids {
    host: Owner,
    guest: Owner,
    /// File systems beside the folder's own, in the order seen: inodes of different ones must differ.
    devices: Mutex<HashMap<(u32, u32), u64>>,
}

impl Ids {
    /// Files of the user that this process runs as are the guest's `guest`; `root` is the shared folder.
    pub fn new(guest: Owner, root: &Statx) -> Self {
        let host =
            Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let devices = Mutex::new(HashMap::from([((root.stx_dev_major, root.stx_dev_minor), 0)]));
        Ids { host, guest, devices }
    }

    /// A file's user in the guest.
    pub fn uid(&self, stat: &Statx) -> u32 {
        translate(stat.stx_uid, self.host.uid, self.guest.uid)
    }

    /// A file's group in the guest.
    pub fn gid(&self, stat: &Statx) -> u32 {
        translate(stat.stx_gid, self.host.gid, self.guest.gid)
    }

    /// A file's inode in the guest: the host's, unless it is on another file system (a subvolume).
    pub fn inode(&self, stat: &Statx) -> u64 {
        const MOST: usize = 4096;
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, device) = (devices.len(), (stat.stx_dev_major, stat.stx_dev_minor));
        let index = match devices.get(&device) {
            Some(index) => *index,
            None if known < MOST => *devices.entry(device).or_insert(known as u64),
            None => MOST as u64,
        };
        stat.stx_ino ^ (index << 48)
    }
}

fn translate(id: u32, host: u32, guest: u32) -> u32 {
    match id {
        _ if id == host => guest,
        _ if id == guest => NOBODY,
        _ => id,
    }
}

/// A time to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Time {
    /// It stays.
    #[default]
    Keep,
    /// The host's.
    Now,
    /// Seconds since 1970, and nanoseconds.
    At(i64, u32),
}

impl Time {
    fn timespec(self) -> Result<Timespec, Errno> {
        match self {
            Time::Keep => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
            Time::Now => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }),
            // Beyond are the two special values above.
            Time::At(_, nanoseconds) if nanoseconds >= 1_000_000_000 => Err(Errno::INVAL),
            Time::At(seconds, nanoseconds) => Ok(Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() }),
        }
    }
}

/// What a guest wants to change of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// User in the guest.
    pub uid: Option<u32>,
    /// Group in the guest.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Time of the last access.
    pub accessed: Time,
    /// Time of the last modification.
    pub modified: Time,
}

impl Tree {
    /// What a node is now.
    ///
    /// # Errors
    /// `ESTALE` if it is not known or no longer where it was.
    pub fn status(&self, node: u64) -> Result<Statx, Errno> {
        self.nodes.status(&self.folder, node)
    }

    /// Changes what is asked for; `handle` is an open file through which the length may be set. Returns what the node is
    /// then.
    ///
    /// # Errors
    /// `EPERM` for another owner and for modes that lend rights, `EINVAL` for times that are none and for lengths of what
    /// has none, `EROFS`; else what the host says. Of several changes, those before the failing one have been made.
    pub fn change(&self, node: u64, handle: Option<u64>, change: &Change) -> Result<Statx, Errno> {
        self.writable()?;
        let Change { mode, uid, gid, size, accessed, modified } = *change;
        let times = Timestamps { last_access: accessed.timespec()?, last_modification: modified.timespec()? };
        let descriptor = self.nodes.descriptor(&self.folder, node)?;
        let stat = self.folder.look_at(&descriptor)?;
        let differs = |wanted: Option<u32>, has| wanted.is_some_and(|id| id != has);
        if differs(uid, self.ids.uid(&stat)) || differs(gid, self.ids.gid(&stat)) {
            return Err(Errno::PERM);
        }
        if let Some(mode) = mode {
            self.change_mode(&descriptor, &stat, mode)?;
        }
        if let Some(size) = size {
            self.change_size(&descriptor, node, &stat, handle, size)?;
        }
        if (accessed, modified) != (Time::Keep, Time::Keep) {
            rustix::fs::utimensat(&descriptor, c"", &times, AtFlags::EMPTY_PATH)?;
        }
        self.folder.look_at(&descriptor)
    }

    fn change_mode(&self, descriptor: &Arc<OwnedFd>, stat: &Statx, mode: u32) -> Result<(), Errno> {
        let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
        match kind {
            // chmod(2) would follow it, were it not for the descriptor; Linux has no modes of symbolic links.
            FileType::Symlink => return Err(Errno::OPNOTSUPP),
            FileType::Directory => {}
            // Not even a bit that it has is given again: between the look and the call, writing may have taken it away.
            _ if mode & LENDING != 0 => {
                let same = (mode ^ u32::from(stat.stx_mode)) & 0o7777 == 0;
                return if same { Ok(()) } else { Err(Errno::PERM) };
            }
            _ => {}
        }
        let mode = Mode::from_raw_mode(mode & 0o7777);
        self.folder.by_path(descriptor, |at, path| rustix::fs::chmodat(at, path, mode, AtFlags::empty()))
    }

    fn change_size(
        &self,
        descriptor: &Arc<OwnedFd>,
        node: u64,
        stat: &Statx,
        handle: Option<u64>,
        size: u64,
    ) -> Result<(), Errno> {
        match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        let open = handle.map(|handle| self.handles.file(handle, node)).transpose()?;
        match open.filter(|open| open.writable) {
            Some(open) => rustix::fs::ftruncate(&open.descriptor, size),
            None => rustix::fs::ftruncate(self.folder.open(descriptor, OFlags::WRONLY)?, size),
        }
    }

    /// Whether a file that is being opened is as it was the last time, so that the guest may keep what it has read.
    ///
    /// A change within a clock tick of the one before cannot be seen by the times; so while the last is that young, the
    /// answer is no.
    pub(crate) fn unchanged(&self, node: u64, file: impl AsFd) -> bool {
        const TICK: Duration = Duration::from_millis(20);
        let Ok(stat) = self.folder.look_at(file) else { return false };
        let (modified, changed) = (stat.stx_mtime, stat.stx_ctime);
        let at = u64::try_from(changed.tv_sec).map(|s| UNIX_EPOCH + Duration::new(s, changed.tv_nsec));
        let settled = at.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TICK));
        let seen = Seen {
            size: stat.stx_size,
            modified: (modified.tv_sec, modified.tv_nsec),
            changed: (changed.tv_sec, changed.tv_nsec),
        };
        let before = self.nodes.see(node, settled.then_some(seen));
        settled && before == Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sharing_users_files_are_the_owners() {
        let user = |id| translate(id, 1000, 0);
        assert_eq!([user(1000), user(0), user(33)], [0, NOBODY, 33]);
        let same = |id| translate(id, 0, 0);
        assert_eq!([same(0), same(1000)], [0, 1000]);
    }

    #[test]
    fn times_with_a_second_meaning_are_refused() {
        assert_eq!(Time::At(0, 0x3fff_ffff).timespec(), Err(Errno::INVAL));
        assert_eq!(Time::At(0, 0x3fff_fffe).timespec(), Err(Errno::INVAL));
        assert_eq!(Time::At(5, 999_999_999).timespec().map(|t| t.tv_nsec), Ok(999_999_999));
    }
}
