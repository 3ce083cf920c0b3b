//! Names as a guest may use them: one step down in a folder, and nothing else.

use rustix::io::Errno;

/// The longest name that Linux has (limits.h, `NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// A name of one entry in a folder: not empty, at most [`NAME_MAX`] bytes, without a slash or a zero byte, neither `.`
/// nor `..`. Handed to a system call beside a folder's descriptor, it leads to that entry or to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Takes a name from a guest.
    ///
    /// # Errors
    /// `ENOENT` for an empty name, `ENAMETOOLONG`, and `EINVAL` for the rest of what a name is not.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        match bytes {
            [] => Err(Errno::NOENT),
            b"." | b".." => Err(Errno::INVAL),
            _ if bytes.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
            _ if bytes.iter().any(|b| matches!(b, b'/' | 0)) => Err(Errno::INVAL),
            _ => Ok(Name(bytes)),
        }
    }

    /// The bytes of the name.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_steps_down_are_names() {
        for good in [&b"a"[..], b"...", b".git", b" ", b"\xff\xfe", b"-", &[b'x'; 255]] {
            assert_eq!(Name::new(good).map(Name::bytes), Ok(good));
        }
        for (bad, errno) in [
            (&b""[..], Errno::NOENT),
            (b".", Errno::INVAL),
            (b"..", Errno::INVAL),
            (b"a/b", Errno::INVAL),
            (b"/", Errno::INVAL),
            (b"../x", Errno::INVAL),
            (b"a\0b", Errno::INVAL),
            (&[b'x'; 256], Errno::NAMETOOLONG),
        ] {
            assert_eq!(Name::new(bad), Err(errno), "{bad:?}");
        }
    }
}
