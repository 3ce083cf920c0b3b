//! Landlock: a thread gives up, for good, all of the file system but what lies beneath some folders.
//!
//! The kernel's interface is include/uapi/linux/landlock.h and Documentation/userspace-api/landlock.rst. It has three
//! system calls for which no safe wrapper exists; this is one, for the single pattern in use here: everything that the
//! kernel can refuse is refused, then folders are given back. What a process has open stays open.

use std::ffi::c_long;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What may be done beneath a folder: a set of the kernel's `LANDLOCK_ACCESS_FS_*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u64);

impl Access {
    /// Reading files and listing folders.
    pub const READ: Access = Access(1 << 2 | 1 << 3);
    /// Reading, writing, making, linking and removing of files, folders, symbolic links, fifos and sockets. Neither
    /// executing nor device nodes.
    pub const WRITE: Access = Access(
        Access::READ.0
            | 1 << 1
            | 1 << 4
            | 1 << 5
            | 1 << 7
            | 1 << 8
            | 1 << 9
            | 1 << 10
            | 1 << 12
            | REFER
            | TRUNCATE,
    );
}

/// Renaming and linking between folders: known from version 2 on; before, always refused.
const REFER: u64 = 1 << 13;
/// Known from version 3 on; before, never refused.
const TRUNCATE: u64 = 1 << 14;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The version of Landlock that this host's kernel has; none if it has none or has it switched off.
pub fn version() -> Option<u32> {
    // SAFETY: with this flag the kernel takes no memory of ours and only returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<Ruleset>(), 0usize, VERSION)
    };
    u32::try_from(version).ok().filter(|v| *v > 0)
}

/// The bits of files that a kernel of this version can refuse.
fn file_bits(version: u32) -> u64 {
    let bits = match version {
        0 => 0,
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

/// Takes from the calling thread, and from threads and programs that it starts from now on, all access to files except
/// beneath the given folders; and, as far as the kernel can, TCP and the sending of signals and of messages to abstract
/// sockets of others. Returns the kernel's version of Landlock, none if nothing could be taken.
///
/// The thread needs `no_new_privs`, or `CAP_SYS_ADMIN`.
///
/// # Errors
/// What the kernel says to a rule, or to restricting the thread; nothing has been taken then.
pub fn confine_thread(allowed: &[(BorrowedFd<'_>, Access)]) -> io::Result<Option<u32>> {
    let Some(version) = version() else { return Ok(None) };
    let handled = file_bits(version);
    let ruleset = Ruleset { handled_access_fs: handled, handled_access_net: 0b11, scoped: 0b11 };
    // The kernel refuses bits that it does not know, and sizes are how it knows what we know.
    let size: usize = match version {
        0..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    // SAFETY: the kernel reads `size` bytes of a structure that has at least as many.
    let made = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0u32) };
    // SAFETY: a result that is no error is a fresh descriptor, which nobody else has.
    let rules = unsafe { OwnedFd::from_raw_fd(checked(made)?) };
    for (folder, access) in allowed {
        let rule = PathBeneath { allowed_access: access.0 & handled, parent_fd: folder.as_raw_fd() };
        let rules = rules.as_fd().as_raw_fd();
        // SAFETY: the kernel reads one structure of this type, and both descriptors are open.
        let added =
            unsafe { libc::syscall(libc::SYS_landlock_add_rule, rules, PATH_BENEATH, &raw const rule, 0u32) };
        checked(added)?;
    }
    // SAFETY: takes a descriptor and no memory.
    let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0u32) };
    checked(restricted)?;
    Ok(Some(version))
}

fn checked(result: c_long) -> io::Result<i32> {
    i32::try_from(result).ok().filter(|r| *r >= 0).ok_or_else(io::Error::last_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn versions_know_more_and_more() {
        assert_eq!(file_bits(1), 0x1fff);
        assert_eq!(file_bits(2) & !file_bits(1), REFER);
        assert_eq!(file_bits(3) & !file_bits(2), TRUNCATE);
        assert_eq!(file_bits(7), 0xffff);
    }

    /// Runs `attempt` in a thread that has `access` to the folder `inside` of the place and to nothing else, unless the
    /// host has no Landlock. Both `inside` and `outside` have a file.
    fn confined(place: &Path, access: Access, attempt: fn(inside: &Path, outside: &Path)) {
        let (inside, outside) = (place.join("inside"), place.join("outside"));
        for folder in [&inside, &outside] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "text").unwrap();
        }
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let folder = fs::File::open(&inside).unwrap();
            match confine_thread(&[(folder.as_fd(), access)]).unwrap() {
                Some(_) => attempt(&inside, &outside),
                None => assert!(version().is_none(), "Landlock is there and was not used"),
            }
        });
        thread.join().unwrap();
    }

    fn refused<T: std::fmt::Debug>(result: io::Result<T>) {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_confined_thread_sees_one_folder() {
        let place = tempfile::tempdir().unwrap();
        confined(place.path(), Access::WRITE, |inside, outside| {
            fs::write(inside.join("mine"), "yes").unwrap();
            refused(fs::read(outside.join("file")));
            refused(fs::write(outside.join("new"), "no"));
            assert!(fs::rename(inside.join("mine"), outside.join("mine")).is_err());
        });
        // Only that thread was confined.
        fs::write(place.path().join("outside/new"), "yes").unwrap();
    }

    #[test]
    fn a_folder_for_reading_is_only_read() {
        let place = tempfile::tempdir().unwrap();
        confined(place.path(), Access::READ, |inside, outside| {
            let file = inside.join("file");
            assert_eq!(fs::read_to_string(&file).unwrap(), "text");
            assert_eq!(fs::read_dir(inside).unwrap().count(), 1);
            refused(fs::read(outside.join("file")));
            refused(fs::write(&file, "no"));
            refused(fs::OpenOptions::new().append(true).open(&file));
            refused(fs::write(inside.join("new"), "no"));
            refused(fs::create_dir(inside.join("new")));
            refused(std::os::unix::fs::symlink("file", inside.join("new")));
            refused(fs::hard_link(&file, inside.join("new")));
            refused(fs::rename(&file, inside.join("new")));
            refused(fs::remove_file(&file));
        });
        assert_eq!(fs::read_to_string(place.path().join("inside/file")).unwrap(), "text");
    }
}
