//! Locks on bytes of a file that belong to the open file, not to the process (`F_OFD_SETLK`, fcntl(2)).
//!
//! They are here because no safe library has them, and this crate is where system calls without a safe form are.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

fn request(kind: libc::c_int, byte: u64) -> io::Result<libc::flock> {
    let start = libc::off_t::try_from(byte).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    })
}

fn call(file: impl AsFd, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: both commands read and write one `flock`, which is borrowed for the call.
    let code = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Locks one byte of a file for sharing. Nobody waits, and the lock ends when the last copy of the descriptor does.
///
/// # Errors
/// If somebody has it exclusively, or the file system has no locks.
pub fn share_byte(file: impl AsFd, byte: u64) -> io::Result<()> {
    call(file, libc::F_OFD_SETLK, &mut request(libc::F_RDLCK, byte)?)
}

/// Gives up what [`share_byte`] locked.
///
/// # Errors
/// What the kernel says.
pub fn release_byte(file: impl AsFd, byte: u64) -> io::Result<()> {
    call(file, libc::F_OFD_SETLK, &mut request(libc::F_UNLCK, byte)?)
}

/// Whether somebody else, by another open file, has a lock of any kind on one byte.
///
/// # Errors
/// If the file system has no locks.
pub fn is_byte_locked(file: impl AsFd, byte: u64) -> io::Result<bool> {
    let mut lock = request(libc::F_WRLCK, byte)?;
    call(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_lock_is_seen_through_another_open_file_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || OpenOptions::new().read(true).open(file.path()).unwrap();
        let (one, two) = (open(), open());
        share_byte(&one, 100).unwrap();
        assert!(!is_byte_locked(&one, 100).unwrap());
        assert!(is_byte_locked(&two, 100).unwrap());
        assert!(!is_byte_locked(&two, 101).unwrap());
        share_byte(&two, 100).unwrap();
        assert!(is_byte_locked(&one, 100).unwrap());
        release_byte(&two, 100).unwrap();
        assert!(!is_byte_locked(&one, 100).unwrap());
        drop(one);
        assert!(!is_byte_locked(&two, 100).unwrap());
        assert!(share_byte(&two, u64::MAX).is_err());
    }
}
