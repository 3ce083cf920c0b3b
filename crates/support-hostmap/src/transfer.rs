//! File transfers straight into and out of a mapping: preadv2(2) and pwritev2(2).

use crate::Pieces;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How many ranges one system call takes (`UIO_MAXIOV`, uio.h). What is over it makes a transfer short.
pub(crate) const MOST_RANGES: usize = 1024;

/// Reads from `offset` of a file into `pieces`: how many bytes, which may be fewer than asked for, and 0 at the end.
///
/// With `nowait`, only what needs no waiting (`RWF_NOWAIT`): `WouldBlock` if that is nothing, and `Unsupported` where the
/// file system does not know the flag.
///
/// # Errors
/// What the kernel says; a signal is not among it, the call is made again.
pub fn read_at(file: impl AsFd, offset: u64, pieces: &Pieces, nowait: bool) -> io::Result<usize> {
    transfer(file, offset, pieces, nowait, libc::preadv2)
}

/// Writes `pieces` at `offset` of a file: how many bytes, which may be fewer than given.
///
/// # Errors
/// As for [`read_at`].
pub fn write_at(file: impl AsFd, offset: u64, pieces: &Pieces, nowait: bool) -> io::Result<usize> {
    transfer(file, offset, pieces, nowait, libc::pwritev2)
}

type Call = unsafe extern "C" fn(
    libc::c_int,
    *const libc::iovec,
    libc::c_int,
    libc::off_t,
    libc::c_int,
) -> libc::ssize_t;

fn transfer(file: impl AsFd, offset: u64, pieces: &Pieces, nowait: bool, call: Call) -> io::Result<usize> {
    // An offset of -1 would mean the file's own position.
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    if pieces.is_empty() {
        return Ok(0);
    }
    let one;
    let many;
    let vectors: &[libc::iovec] = match pieces.single() {
        Some((address, len)) => {
            one = [libc::iovec { iov_base: address.cast(), iov_len: len }];
            &one
        }
        None => {
            many = pieces.vectors(0, MOST_RANGES);
            &many
        }
    };
    let flags = if nowait { libc::RWF_NOWAIT } else { 0 };
    loop {
        // SAFETY: every vector lies in the mapping that `pieces` keeps alive, and there are at most 1024 of them. Others may
        // access those bytes meanwhile, as the kernel does: no reference to them exists.
        let count = unsafe {
            call(file.as_fd().as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int, offset, flags)
        };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryMap;
    use std::io::{Read, Write};
    use std::sync::Arc;

    #[test]
    fn bytes_come_and_go_in_order() {
        let map = Arc::new(MemoryMap::new(4096).unwrap());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let pieces = Pieces::new(&map, [20..23, 0..4]).unwrap();
        assert_eq!(read_at(&file, 2, &pieces, false).unwrap(), 7);
        assert_eq!(pieces.to_vec(), b"2345678");
        assert_eq!(write_at(&file, 100, &pieces, false).unwrap(), 7);
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert_eq!(&all[90..], b"2345678");
    }

    #[test]
    fn a_transfer_at_the_end_is_short() {
        let map = Arc::new(MemoryMap::new(4096).unwrap());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let pieces = Pieces::new(&map, [20..23, 0..4]).unwrap();
        assert_eq!(read_at(&file, 6, &pieces, false).unwrap(), 4);
        assert_eq!(read_at(&file, 10, &pieces, false).unwrap(), 0);
        assert_eq!(read_at(&file, u64::MAX, &pieces, false).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn more_ranges_than_a_call_takes_make_it_short() {
        let map = Arc::new(MemoryMap::new(65536).unwrap());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let pieces = Pieces::new(&map, (0..3000).map(|n| n * 4..n * 4 + 1)).unwrap();
        assert_eq!(pieces.count(), 3000);
        assert_eq!(read_at(&file, 0, &pieces, false).unwrap(), 1024);
        assert_eq!(pieces.to_vec().iter().filter(|b| **b == 7).count(), 1024);
    }

    #[test]
    fn what_would_wait_says_so() {
        let (read, write) = std::io::pipe().unwrap();
        let map = Arc::new(MemoryMap::new(4096).unwrap());
        let pieces = Pieces::one(&map, 0..4).unwrap();
        // A pipe has no offsets: the kernel refuses to read at one, with or without the flag.
        assert!(read_at(&read, 0, &pieces, true).is_err());
        drop(write);
        // What was just written is in the page cache; a file system that does not know the flag says so.
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcd").unwrap();
        match read_at(&file, 0, &pieces, true) {
            Ok(count) => assert_eq!((count, pieces.to_vec()), (4, b"abcd".to_vec())),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP)),
        }
    }
}
