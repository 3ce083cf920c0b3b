//! Writes the "newc" cpio format, which the Linux kernel unpacks as its initramfs.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. The output depends on the
//! calls alone: inode numbers count up, owners are root, times are zero.
use std::io::{self, Write};

/// File type bits of `c_mode` (inode(7)).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive being written. Names are relative ("bin/sh"); a directory comes before what is in it.
#[derive(Debug)]
pub struct Newc<W: Write> {
    out: W,
    inode: u32,
}

struct Member<'a> {
    name: &'a str,
    mode: u32,
    links: u32,
    device: (u32, u32),
    data: &'a [u8],
}

impl<W: Write> Newc<W> {
    /// Starts an archive on `out`, which should be buffered.
    pub fn new(out: W) -> Newc<W> {
        Newc { out, inode: 0 }
    }

    /// Adds a directory with permission bits `mode`.
    pub fn directory(&mut self, name: &str, mode: u32) -> io::Result<()> {
        self.member(Member { name, mode: DIRECTORY | mode, links: 2, device: (0, 0), data: &[] })
    }

    /// Adds a regular file with permission bits `mode`.
    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.member(Member { name, mode: REGULAR | mode, links: 1, device: (0, 0), data })
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.member(Member { name, mode: SYMLINK | 0o777, links: 1, device: (0, 0), data: target.as_bytes() })
    }

    /// Adds a character device node. Needs no privilege: it is only a record in the archive.
    pub fn character_device(&mut self, name: &str, mode: u32, major: u32, minor: u32) -> io::Result<()> {
        self.member(Member { name, mode: CHARACTER | mode, links: 1, device: (major, minor), data: &[] })
    }

    /// Writes the trailer and hands the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.record(0, &Member { name: "TRAILER!!!", mode: 0, links: 1, device: (0, 0), data: &[] })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn member(&mut self, member: Member<'_>) -> io::Result<()> {
        self.inode += 1;
        self.record(self.inode, &member)
    }

    fn record(&mut self, inode: u32, member: &Member<'_>) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, "a cpio member is below 4 GiB");
        let size = u32::try_from(member.data.len()).map_err(too_long)?;
        // c_namesize counts the terminating zero.
        let name_size = u32::try_from(member.name.len() + 1).map_err(too_long)?;
        let (uid, gid, mtime, major, minor, check) = (0, 0, 0, 0, 0, 0);
        let fields = [
            inode,
            member.mode,
            uid,
            gid,
            member.links,
            mtime,
            size,
            major,
            minor,
            member.device.0,
            member.device.1,
            name_size,
            check,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(member.name.as_bytes())?;
        self.out.write_all(b"\0")?;
        // The header is 110 bytes; the data begin at a multiple of four from the start of the header.
        self.pad(110 + member.name.len() + 1)?;
        self.out.write_all(member.data)?;
        self.pad(member.data.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() & 3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields by hand from buffer-format.rst: magic, then 13 numbers of eight hexadecimal digits.
    #[test]
    fn a_file_is_laid_out_as_the_kernel_documents() {
        let mut archive = Newc::new(Vec::new());
        archive.file("ab", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let expected = concat!(
            "070701",
            "00000001",
            "000081ed",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000003",
            "00000000",
            "ab\0",
            "\0\0\0",
            "hello",
            "\0\0\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000b",
            "00000000",
            "TRAILER!!!\0",
            "\0\0\0"
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn device_numbers_go_to_rdev_and_types_to_mode() {
        let mut archive = Newc::new(Vec::new());
        archive.directory("dev", 0o755).unwrap();
        archive.character_device("dev/console", 0o600, 5, 1).unwrap();
        archive.symlink("l", "dev").unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        let field = |start: usize, n: usize| text[start + 6 + 8 * n..][..8].to_owned();
        // "dev" and its zero fill 110 + 4 bytes, padded to 116; "dev/console" begins there: 110 + 12 = 122, to 124.
        let (directory, console, link) = (0, 116, 116 + 124);
        assert_eq!((field(directory, 1), field(directory, 4)), ("000041ed".into(), "00000002".into()));
        assert_eq!(field(console, 1), "00002180");
        assert_eq!((field(console, 9), field(console, 10)), ("00000005".into(), "00000001".into()));
        assert_eq!((field(link, 1), field(link, 6)), ("0000a1ff".into(), "00000003".into()));
    }

    #[test]
    fn every_member_begins_at_a_multiple_of_four() {
        for length in 0..9 {
            let mut archive = Newc::new(Vec::new());
            archive.file(&"n".repeat(length + 1), 0, &vec![b'x'; length]).unwrap();
            let bytes = archive.finish().unwrap();
            assert_eq!(bytes.len() % 4, 0);
            let trailer = bytes.windows(6).rposition(|window| window == b"070701").unwrap();
            assert_eq!(trailer % 4, 0, "data of {length} bytes");
        }
    }
}
