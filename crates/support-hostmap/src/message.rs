//! Messages and frames straight out of and into a mapping: sendmsg(2) and recvmsg(2) on a socket, writev(2) and readv(2) on a
//! device that gives and takes a frame a call.

use crate::Pieces;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `head` as the kernel takes it, and behind it the ranges.
fn vectors(head: (*mut u8, usize), pieces: &Pieces) -> Vec<libc::iovec> {
    let mut all = Vec::with_capacity(pieces.count() + 1);
    if head.1 > 0 {
        all.push(libc::iovec { iov_base: head.0.cast(), iov_len: head.1 });
    }
    all.extend(pieces.vectors(0, usize::MAX));
    all
}

fn header(vectors: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all zeroes are a `msghdr` without an address, vectors and control data, whatever padding it has.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len() as _;
    message
}

fn result(count: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends one message: `head`, and behind it `pieces`. Waits for nothing, and raises no signal.
///
/// # Errors
/// What the kernel says, of more than 1024 ranges, too, that this is no message (`EMSGSIZE`).
pub fn send_message(socket: impl AsFd, head: &[u8], pieces: &Pieces) -> io::Result<usize> {
    let mut vectors = vectors((head.as_ptr().cast_mut(), head.len()), pieces);
    let message = header(&mut vectors);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel only reads what the vectors name: `head`, which outlives the call, and ranges of the mapping that
    // `pieces` keeps alive. Others may write to those meanwhile; no reference to them exists.
    result(unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, flags) })
}

/// Takes one message: its first bytes into `head`, the others into `pieces`. Gives how many came, of which a message that is
/// longer loses the rest; none at the end. Waits for nothing.
///
/// # Errors
/// What the kernel says.
pub fn receive_message(socket: impl AsFd, head: &mut [u8], pieces: &Pieces) -> io::Result<usize> {
    let mut vectors = vectors((head.as_mut_ptr(), head.len()), pieces);
    let mut message = header(&mut vectors);
    // SAFETY: as in `send_message`, and `head` is ours alone to be written to.
    result(unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
}

/// Writes `pieces` in one call, as the frame that a device takes so.
///
/// # Errors
/// What the kernel says.
pub fn write_frame(file: impl AsFd, pieces: &Pieces) -> io::Result<usize> {
    let vectors = vectors((std::ptr::null_mut(), 0), pieces);
    // SAFETY: as in `send_message`.
    result(unsafe { libc::writev(file.as_fd().as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) })
}

/// Reads in one call into `pieces`, as the frame that a device gives so. Gives how many bytes came.
///
/// # Errors
/// What the kernel says.
pub fn read_frame(file: impl AsFd, pieces: &Pieces) -> io::Result<usize> {
    let vectors = vectors((std::ptr::null_mut(), 0), pieces);
    // SAFETY: the kernel writes to ranges of the mapping that `pieces` keeps alive, and to no other memory; no reference to
    // them exists.
    result(unsafe { libc::readv(file.as_fd().as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryMap;
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;

    #[test]
    fn a_message_goes_from_ranges_to_ranges() {
        let map = Arc::new(MemoryMap::new(4096).unwrap());
        let (a, b) = UnixDatagram::pair().unwrap();
        let from = Pieces::new(&map, [10..13, 0..4]).unwrap();
        from.copy_in(0, b"abcdefg").unwrap();
        assert_eq!(send_message(&a, b"12", &from).unwrap(), 9);
        let into = Pieces::new(&map, [100..101, 200..206]).unwrap();
        let mut head = [0; 3];
        assert_eq!(receive_message(&b, &mut head, &into).unwrap(), 9);
        assert_eq!((&head, &*into.to_vec()), (b"12a", &b"bcdefg\0"[..]));
        let error = receive_message(&b, &mut head, &into).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // One that is longer loses the rest.
        a.send(b"0123456789abc").unwrap();
        assert_eq!(receive_message(&b, &mut head, &into).unwrap(), 10);
        assert_eq!(into.to_vec(), b"3456789");
        while send_message(&a, b"12", &from).is_ok() {}
        assert_eq!(send_message(&a, b"12", &from).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(b);
        assert!(send_message(&a, b"", &from).is_err(), "and no signal");
    }

    #[test]
    fn more_ranges_than_a_message_has_are_an_error() {
        let map = Arc::new(MemoryMap::new(8192).unwrap());
        let (a, _b) = UnixDatagram::pair().unwrap();
        let many = Pieces::new(&map, (0..1025).map(|n| n * 4..n * 4 + 1)).unwrap();
        assert_eq!(send_message(&a, b"", &many).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        assert!(receive_message(&a, &mut [], &many).is_err() && write_frame(&a, &many).is_err());
        assert!(read_frame(&a, &many).is_err());
    }

    #[test]
    fn a_frame_is_one_call() {
        let map = Arc::new(MemoryMap::new(4096).unwrap());
        let (a, b) = UnixDatagram::pair().unwrap();
        let from = Pieces::new(&map, [10..13, 0..4]).unwrap();
        from.copy_in(0, b"abcdefg").unwrap();
        assert_eq!(write_frame(&a, &from).unwrap(), 7);
        let into = Pieces::new(&map, [100..102, 200..206]).unwrap();
        assert_eq!(read_frame(&b, &into).unwrap(), 7);
        assert_eq!(into.to_vec(), b"abcdefg\0");
    }
}
