//! What a driver is told when there is no reply to tell it.
//!
//! Sources: Linux's include/uapi/linux/fuse.h (`fuse_in_header`, `fuse_out_header`), include/net/9p/9p.h (`P9_RLERROR`).

use host_share::{HEADER_OUT, Protocol};

/// Bytes of a request that an error is made of.
pub(crate) const HEAD: usize = 16;
/// EIO, as Linux numbers it on every processor.
const EIO: u32 = 5;
/// EINVAL.
const EINVAL: u32 = 22;
/// `P9_RLERROR`.
const RLERROR: u8 = 7;

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody serves the folder any more, or the reply has no room.
    Io,
    /// It is no request.
    Invalid,
}

/// The error in place of the reply to the request that begins with `head`.
pub(crate) fn reply(protocol: Protocol, head: &[u8; HEAD], failure: Failure) -> Vec<u8> {
    let number = match failure {
        Failure::Io => EIO,
        Failure::Invalid => EINVAL,
    };
    match protocol {
        Protocol::Fuse => {
            // len, error, unique.
            let [_, _, _, _, _, _, _, _, unique @ ..] = head;
            let error = number.wrapping_neg();
            [&(HEADER_OUT as u32).to_le_bytes()[..], &error.to_le_bytes(), unique].concat()
        }
        Protocol::Nine => {
            // size[4] Rlerror tag[2] ecode[4].
            let [_, _, _, _, _, tag0, tag1, ..] = *head;
            [&11u32.to_le_bytes()[..], &[RLERROR, tag0, tag1], &number.to_le_bytes()].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_the_protocol() {
        let head = b"LLLLOOOOuniquely";
        let fuse = reply(Protocol::Fuse, head, Failure::Io);
        assert_eq!(fuse, b"\x10\0\0\0\xfb\xff\xff\xffuniquely");
        let head = b"LLLLTtgxxxxxxxxx";
        let nine = reply(Protocol::Nine, head, Failure::Invalid);
        assert_eq!(nine, b"\x0b\0\0\0\x07tg\x16\0\0\0");
    }
}
