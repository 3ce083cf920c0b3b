//! The shared folder on the host: from a descriptor one step down, and from a descriptor to an open file. Nothing here
//! follows a symbolic link, goes up, or leaves the mount that the folder is on.
//!
//! Three means keep a guest inside: names are single steps ([`Name`]), so that none leads up; `openat2` has the kernel
//! refuse links on the way and other mounts, too (openat2(2): `RESOLVE_BENEATH`, `RESOLVE_NO_MAGICLINKS`,
//! `RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_XDEV`); and Landlock, where the host has it, confines what the process that serves
//! may open and change to what is beneath the folder, also when the host moves things out of it.
//!
//! What lies under a mount point inside the folder is not shared: somebody mounted it for himself, and mounting on first
//! use would let a guest wait for a file server that may not answer.

use crate::name::Name;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::path::DecInt;

/// A folder of the host that is shared.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    /// `/proc/self/fd`: the only way to open what an `O_PATH` descriptor stands for (open(2)).
    descriptors: OwnedFd,
}

const STEP: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Without the last: a symbolic link may be opened itself, by `O_PATH` with `O_NOFOLLOW`, and is not followed.
const LAST_STEP: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

impl Folder {
    /// Shares the folder that `root` is a descriptor of (`O_PATH` is enough).
    ///
    /// # Errors
    /// `ENOTDIR` if it is no folder; what the host says of `/proc/self/fd`.
    pub fn new(root: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&root, ".", flags, Mode::empty())?;
        let descriptors = rustix::fs::openat(CWD, "/proc/self/fd", flags, Mode::empty())?;
        Ok(Folder { root, descriptors })
    }

    /// The folder itself, opened with `O_PATH`.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// An `O_PATH` descriptor of an entry: of a symbolic link itself, if it is one.
    ///
    /// # Errors
    /// What openat2(2) says; `EXDEV` for a mount point.
    pub fn step(&self, folder: impl AsFd, name: Name<'_>) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(folder, name.bytes(), flags, Mode::empty(), LAST_STEP)
    }

    /// Makes a regular file that was not there and opens it.
    ///
    /// # Errors
    /// What openat2(2) says; `EEXIST` if anything has that name.
    pub fn make(
        &self,
        folder: impl AsFd,
        name: Name<'_>,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(folder, name.bytes(), flags, mode, STEP)
    }

    /// What an entry is, without following it.
    ///
    /// # Errors
    /// What statx(2) says; `EXDEV` for a mount point.
    pub fn look(&self, folder: impl AsFd, name: Name<'_>) -> Result<Statx, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(folder, name.bytes(), flags, WANTED)?;
        match stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            true => Err(Errno::XDEV),
            false => Ok(stat),
        }
    }

    /// What a descriptor stands for.
    ///
    /// # Errors
    /// What statx(2) says.
    pub fn look_at(&self, what: impl AsFd) -> Result<Statx, Errno> {
        rustix::fs::statx(what, c"", AtFlags::EMPTY_PATH, WANTED)
    }

    /// Opens the regular file or folder that an `O_PATH` descriptor stands for. Whoever calls has made sure that it is
    /// one: opening a fifo would wait, and opening a device may do anything.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(&self, what: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        rustix::fs::openat(&self.descriptors, DecInt::from_fd(what), flags, Mode::empty())
    }

    /// Runs a system call that only takes paths on what a descriptor stands for: of a folder's descriptor and a path in
    /// it. The last step is to be followed: it leads to the descriptor, not on.
    pub fn by_path<T>(&self, what: impl AsFd, call: impl FnOnce(BorrowedFd<'_>, DecInt) -> T) -> T {
        call(self.descriptors.as_fd(), DecInt::from_fd(what))
    }
}

/// The path by which system calls that know no descriptor of a folder reach what a descriptor stands for.
pub fn own_path(what: impl AsFd) -> String {
    use rustix::fd::AsRawFd;
    format!("/proc/self/fd/{}", what.as_fd().as_raw_fd())
}
