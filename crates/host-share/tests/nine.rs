//! 9P2000.L by hand: the results against the host's view of the folder, and the same attacks as by FUSE.

mod guest;

use guest::{Place, errno, place, unharmed};
use host_share::{LONGEST_MESSAGE, NineServer, Options, message};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

const BOTH: u32 = 2;
const EXCLUSIVE: u32 = 0o200;

struct Guest {
    server: NineServer,
}

#[derive(Default, Clone)]
struct Body(Vec<u8>);

impl Body {
    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn text(self, value: impl AsRef<[u8]>) -> Self {
        let mut next = self.u16(value.as_ref().len() as u16);
        next.0.extend(value.as_ref());
        next
    }
    fn bytes(mut self, value: impl AsRef<[u8]>) -> Self {
        self.0.extend(value.as_ref());
        self
    }
}

fn body() -> Body {
    Body::default()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

type Answer<T> = Result<T, i32>;

impl Guest {
    /// Attached to the folder as fid 0.
    fn new(folder: &Path, options: Options) -> Self {
        let server = NineServer::new(File::open(folder).unwrap().into(), options).unwrap();
        let guest = Guest { server };
        let reply = guest.ask(message::VERSION, &body().u32(1 << 20).text("9P2000.L")).unwrap();
        assert_eq!((u32_at(&reply, 0) as usize, &reply[6..]), (LONGEST_MESSAGE, &b"9P2000.L"[..]));
        guest.ask(message::ATTACH, &body().u32(0).u32(u32::MAX).text("").text("").u32(0)).unwrap();
        guest
    }

    fn ask(&self, kind: u8, own: &Body) -> Answer<Vec<u8>> {
        let whole = body().u32(7 + own.0.len() as u32).u8(kind).u16(3).bytes(&own.0);
        let mut reply = Vec::new();
        self.server.handle(&whole.0, &mut reply);
        assert_eq!(u32_at(&reply, 0) as usize, reply.len());
        assert_eq!(reply[5..7], [3, 0], "the tag");
        match reply[4] {
            7 => Err(u32_at(&reply, 7) as i32),
            answered => {
                assert_eq!(answered, kind + 1);
                Ok(reply[7..].to_vec())
            }
        }
    }

    fn walk(&self, from: u32, to: u32, names: &[&str]) -> Answer<usize> {
        let start = body().u32(from).u32(to).u16(names.len() as u16);
        let reply = self.ask(message::WALK, &names.iter().fold(start, |b, name| b.text(name)))?;
        let walked = usize::from(u16::from_le_bytes([reply[0], reply[1]]));
        assert_eq!(reply.len(), 2 + 13 * walked);
        Ok(walked)
    }

    fn open(&self, fid: u32, flags: u32) -> Answer<Vec<u8>> {
        self.ask(message::LOPEN, &body().u32(fid).u32(flags))
    }

    fn create(&self, fid: u32, name: &str, flags: u32, mode: u32) -> Answer<Vec<u8>> {
        self.ask(message::LCREATE, &body().u32(fid).text(name).u32(flags).u32(mode).u32(0))
    }

    fn read(&self, fid: u32, offset: u64, count: u32) -> Answer<Vec<u8>> {
        let reply = self.ask(message::READ, &body().u32(fid).u64(offset).u32(count))?;
        assert_eq!(u32_at(&reply, 0) as usize, reply.len() - 4);
        Ok(reply[4..].to_vec())
    }

    fn write(&self, fid: u32, offset: u64, data: &[u8]) -> Answer<u32> {
        let body = body().u32(fid).u64(offset).u32(data.len() as u32).bytes(data);
        Ok(u32_at(&self.ask(message::WRITE, &body)?, 0))
    }

    fn clunk(&self, fid: u32) -> Answer<()> {
        self.ask(message::CLUNK, &body().u32(fid)).map(drop)
    }

    fn getattr(&self, fid: u32) -> Answer<Vec<u8>> {
        self.ask(message::GETATTR, &body().u32(fid).u64(0x7ff))
    }

    fn unlink(&self, fid: u32, name: &str, flags: u32) -> Answer<()> {
        self.ask(message::UNLINKAT, &body().u32(fid).text(name).u32(flags)).map(drop)
    }

    fn rename(&self, from: (u32, &str), to: (u32, &str)) -> Answer<()> {
        self.ask(message::RENAMEAT, &body().u32(from.0).text(from.1).u32(to.0).text(to.1)).map(drop)
    }

    fn mkdir(&self, fid: u32, name: &str) -> Answer<Vec<u8>> {
        self.ask(message::MKDIR, &body().u32(fid).text(name).u32(0o755).u32(0))
    }

    fn mknod(&self, fid: u32, name: &str, mode: u32) -> Answer<Vec<u8>> {
        self.ask(message::MKNOD, &body().u32(fid).text(name).u32(mode).u32(1).u32(3).u32(0))
    }

    fn setattr(&self, fid: u32, valid: u32, mode: u32, size: u64, mtime: (u64, u64)) -> Answer<Vec<u8>> {
        let body = body().u32(fid).u32(valid).u32(mode).u32(7).u32(7).u64(size);
        self.ask(message::SETATTR, &body.u64(0).u64(0).u64(mtime.0).u64(mtime.1))
    }

    /// Names in a folder, listed in pieces of that size.
    fn list(&self, fid: u32, size: u32) -> Vec<String> {
        let (mut names, mut offset) = (Vec::new(), 0);
        loop {
            let reply = self.ask(message::READDIR, &body().u32(fid).u64(offset).u32(size)).unwrap();
            let mut rest = &reply[4..];
            if rest.is_empty() {
                return names;
            }
            while !rest.is_empty() {
                offset = u64_at(rest, 13);
                let length = usize::from(u16::from_le_bytes([rest[22], rest[23]]));
                names.push(String::from_utf8(rest[24..24 + length].to_vec()).unwrap());
                rest = &rest[24 + length..];
            }
        }
    }
}

fn guest(place: &Place) -> Guest {
    Guest::new(&place.shared, Options::default())
}

#[test]
fn other_versions_are_unknown() {
    let guest = guest(&place());
    let reply = guest.ask(message::VERSION, &body().u32(8192).text("9P2000.u")).unwrap();
    assert_eq!((u32_at(&reply, 0), &reply[6..]), (8192, &b"unknown"[..]));
    assert_eq!(guest.ask(message::VERSION, &body().u32(100).text("9P2000.L")), Err(errno::INVAL));
    assert_eq!(guest.getattr(0), Err(errno::BADF), "the session before has ended");
    assert_eq!(guest.server.tree().counts().nodes, 1);
}

#[test]
fn walking_and_looking() {
    let place = place();
    fs::create_dir_all(place.shared.join("a/b")).unwrap();
    fs::write(place.shared.join("a/b/file"), "hello").unwrap();
    let guest = guest(&place);
    assert_eq!(guest.walk(0, 1, &["a", "b", "file"]), Ok(3));
    assert_eq!(guest.walk(0, 2, &["a", "none", "file"]), Ok(1), "how far it goes");
    assert_eq!(guest.getattr(2), Err(errno::BADF), "and no fid");
    assert_eq!(guest.walk(0, 2, &["none"]), Err(errno::NOENT));
    assert_eq!(guest.walk(1, 2, &["x"]), Err(errno::NOTDIR));
    let host = fs::metadata(place.shared.join("a/b/file")).unwrap();
    let attr = guest.getattr(1).unwrap();
    assert_eq!(attr.len(), 8 + 13 + 12 + 15 * 8);
    assert_eq!((u64_at(&attr, 13), u32_at(&attr, 21)), (host.ino(), host.mode()));
    assert_eq!((u64_at(&attr, 33), u64_at(&attr, 49)), (host.nlink(), host.size()));
    assert_eq!(u64_at(&attr, 89) as i64, host.mtime());
    assert_eq!(u64_at(&attr, 97) as i64, host.mtime_nsec());
    // A fid keeps what it stands for, though nothing else knows the way there.
    assert_eq!(guest.walk(1, 3, &[]), Ok(0));
    guest.clunk(1).unwrap();
    assert_eq!(guest.walk(3, 3, &[]), Ok(0));
    assert!(guest.getattr(3).is_ok());
    assert_eq!(guest.walk(0, 4, &["a", "..", "a", "b", "..", ".."]), Ok(6));
    assert_eq!(u64_at(&guest.getattr(4).unwrap(), 13), fs::metadata(&place.shared).unwrap().ino());
    for fid in [3, 4, 0] {
        guest.clunk(fid).unwrap();
    }
    assert_eq!(guest.server.tree().counts().nodes, 1, "everything is forgotten");
}

#[test]
fn files_are_made_written_and_read() {
    let place = place();
    let guest = guest(&place);
    guest.walk(0, 1, &[]).unwrap();
    guest.create(1, "file", BOTH | EXCLUSIVE, 0o640).unwrap();
    let data: Vec<u8> = (0..131_072u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(guest.write(1, 0, &data), Ok(131_072));
    assert!(fs::read(place.shared.join("file")).unwrap() == data);
    assert!(guest.read(1, 0, u32::MAX).unwrap() == data, "as much as a message takes");
    assert_eq!(guest.read(1, 131_070, 10).unwrap(), data[131_070..]);
    guest.ask(message::FSYNC, &body().u32(1).u32(0)).unwrap();
    guest.setattr(1, 8, 0, 5, (0, 0)).unwrap();
    guest.setattr(1, 1 | 0x20 | 0x100, 0o600, 0, (77, 5)).unwrap();
    let host = fs::metadata(place.shared.join("file")).unwrap();
    assert_eq!((host.len(), host.mode(), host.mtime(), host.mtime_nsec()), (5, 0o100_600, 77, 5));
    assert_eq!(guest.setattr(1, 2, 0, 0, (0, 0)), Err(errno::PERM), "another owner");
    assert_eq!(guest.open(1, 0), Err(errno::INVAL), "twice");
    guest.clunk(1).unwrap();
    guest.walk(0, 1, &["file"]).unwrap();
    guest.open(1, 1 | 0o2000).unwrap();
    fs::write(place.shared.join("file"), "longer than before").unwrap();
    guest.write(1, 0, b"!").unwrap();
    assert_eq!(fs::read(place.shared.join("file")).unwrap(), b"longer than before!", "appended");
    assert_eq!(guest.read(1, 0, 1), Err(errno::BADF), "opened for writing");
}

#[test]
fn names_are_made_moved_listed_and_removed() {
    let place = place();
    let guest = guest(&place);
    guest.mkdir(0, "dir").unwrap();
    guest.walk(0, 1, &["dir"]).unwrap();
    guest.mknod(1, "fifo", 0o010_600).unwrap();
    assert!(fs::metadata(place.shared.join("dir/fifo")).unwrap().file_type().is_fifo());
    guest.mknod(1, "file", 0o100_600).unwrap();
    guest.ask(message::SYMLINK, &body().u32(1).text("link").text("../target").u32(0)).unwrap();
    guest.walk(0, 2, &["dir", "link"]).unwrap();
    let target = guest.ask(message::READLINK, &body().u32(2)).unwrap();
    assert_eq!(target, body().text("../target").0);
    guest.walk(0, 3, &["dir", "file"]).unwrap();
    guest.ask(message::LINK, &body().u32(0).u32(3).text("hard")).unwrap();
    assert_eq!(fs::metadata(place.shared.join("hard")).unwrap().nlink(), 2);
    guest.rename((1, "file"), (0, "moved")).unwrap();
    assert_eq!(u64_at(&guest.getattr(3).unwrap(), 33), 2, "the fid moved along");
    for size in [60, 100, 4096, u32::MAX] {
        guest.walk(0, 4, &["dir"]).unwrap();
        guest.open(4, 0).unwrap();
        let names: BTreeSet<String> = guest.list(4, size).into_iter().collect();
        assert_eq!(names, [".", "..", "fifo", "link"].map(str::to_owned).into());
        guest.clunk(4).unwrap();
    }
    guest.unlink(1, "fifo", 0).unwrap();
    guest.unlink(1, "link", 0).unwrap();
    guest.unlink(0, "dir", 0x200).unwrap();
    guest.unlink(0, "moved", 0).unwrap();
    guest.unlink(0, "hard", 0).unwrap();
    assert_eq!(u64_at(&guest.getattr(3).unwrap(), 33), 0, "removed, and known still");
    assert_eq!(fs::read_dir(&place.shared).unwrap().count(), 0);
}

#[test]
fn extended_attributes() {
    let place = place();
    fs::write(place.shared.join("file"), "").unwrap();
    let guest = guest(&place);
    let set = |name: &str, announced: u64, value: &[u8], flags: u32| -> Answer<()> {
        guest.walk(0, 1, &["file"])?;
        let made = guest.ask(message::XATTRCREATE, &body().u32(1).text(name).u64(announced).u32(flags));
        let written = made.and_then(|_| guest.write(1, 0, value));
        let closed = guest.clunk(1);
        written?;
        closed
    };
    set("user.one", 5, b"value", 0).unwrap();
    let get = |name: &str| -> Answer<Vec<u8>> {
        guest.walk(0, 1, &["file"])?;
        let size = guest.ask(message::XATTRWALK, &body().u32(1).u32(2).text(name)).map(|r| u64_at(&r, 0));
        guest.clunk(1)?;
        let value = guest.read(2, 0, size? as u32)?;
        guest.clunk(2)?;
        Ok(value)
    };
    assert_eq!(get("user.one").unwrap(), b"value");
    assert_eq!(get("").unwrap(), b"user.one\0");
    assert_eq!(get("user.two"), Err(errno::NODATA));
    assert_eq!(get("security.x"), Err(errno::OPNOTSUPP));
    assert_eq!(set("user.two", 3, b"longer", 0), Err(errno::INVAL));
    assert_eq!(set("user.two", 9, b"short", 0), Err(5), "EIO: less than announced");
    assert_eq!(set("user.two", 1 << 40, b"", 0), Err(errno::RANGE));
    set("user.one", 0, b"", 0).unwrap();
    assert_eq!(get("user.one").unwrap(), b"", "an empty value");
    assert_eq!(set("user.one", 1, b"v", 1), Err(errno::EXIST), "XATTR_CREATE");
    set("user.one", 0, b"", 2).unwrap();
    assert_eq!(get("user.one"), Err(errno::NODATA), "replaced by nothing is removed");
    assert_eq!(set("user.one", 0, b"", 2), Err(errno::NODATA));
    assert_eq!(set("user.one", 1, b"v", 2), Err(errno::NODATA), "XATTR_REPLACE");
}

#[test]
fn locks_are_the_guests_own() {
    let place = place();
    fs::write(place.shared.join("file"), "").unwrap();
    let guest = guest(&place);
    guest.walk(0, 1, &["file"]).unwrap();
    guest.open(1, BOTH).unwrap();
    let lock = body().u32(1).u8(1).u32(0).u64(0).u64(10).u32(5).text("guest");
    assert_eq!(guest.ask(message::LOCK, &lock), Ok(vec![0]));
    let asked = body().u32(1).u8(1).u64(2).u64(10).u32(5).text("guest");
    let reply = guest.ask(message::GETLOCK, &asked).unwrap();
    assert_eq!(reply, body().u8(2).u64(2).u64(10).u32(5).text("guest").0);
}

#[test]
fn a_read_only_folder_stays_as_it_is() {
    let place = place();
    fs::write(place.shared.join("file"), "x").unwrap();
    let guest = Guest::new(&place.shared, Options { read_only: true, ..Options::default() });
    guest.walk(0, 1, &["file"]).unwrap();
    for (what, result) in [
        ("open", guest.open(1, 1)),
        ("create", guest.create(0, "new", BOTH, 0o644)),
        ("mkdir", guest.mkdir(0, "new")),
        ("mknod", guest.mknod(0, "new", 0o100_644)),
        ("unlink", guest.unlink(0, "file", 0).map(|()| vec![])),
        ("rename", guest.rename((0, "file"), (0, "new")).map(|()| vec![])),
        ("setattr", guest.setattr(1, 1, 0o600, 0, (0, 0))),
        ("xattrcreate", guest.ask(message::XATTRCREATE, &body().u32(1).text("user.a").u64(1).u32(0))),
        ("link", guest.ask(message::LINK, &body().u32(0).u32(1).text("new"))),
    ] {
        assert_eq!(result, Err(errno::ROFS), "{what}");
    }
    guest.open(1, 0).unwrap();
    assert_eq!(guest.read(1, 0, 9).unwrap(), b"x");
    assert_eq!(guest.write(1, 0, b"y"), Err(errno::ROFS));
}

#[test]
fn symlink_out_of_the_folder() {
    let place = place();
    symlink(place.outside.join("secret"), place.shared.join("file")).unwrap();
    symlink(&place.outside, place.shared.join("dir")).unwrap();
    let guest = guest(&place);
    for (fid, name) in [(1, "file"), (2, "dir")] {
        assert_eq!(guest.walk(0, fid, &[name, "secret"]), Ok(1), "the link itself, and no further");
        guest.walk(0, fid, &[name]).unwrap();
        assert_eq!(guest.open(fid, 0), Err(errno::LOOP));
        assert_eq!(guest.create(fid, "new", BOTH, 0o644), Err(errno::NOTDIR));
        assert_eq!(guest.setattr(fid, 8, 0, 0, (0, 0)), Err(errno::INVAL));
        assert_eq!(guest.setattr(fid, 1, 0o777, 0, (0, 0)), Err(errno::OPNOTSUPP));
    }
    assert_eq!(guest.create(0, "file", 1 | 0o1000, 0o644), Err(errno::LOOP));
    unharmed(&place);
}

#[test]
fn names_with_dots_and_slashes() {
    let place = place();
    fs::create_dir(place.shared.join("dir")).unwrap();
    fs::write(place.shared.join("file"), "").unwrap();
    let guest = guest(&place);
    guest.walk(0, 1, &["dir"]).unwrap();
    assert_eq!(guest.walk(1, 2, &["..", "..", ".."]), Ok(3));
    assert_eq!(u64_at(&guest.getattr(2).unwrap(), 13), fs::metadata(&place.shared).unwrap().ino());
    for name in ["../outside/secret", "/etc", "dir/", "a\0b"] {
        assert_eq!(guest.walk(1, 3, &[name]), Err(errno::INVAL), "{name}");
        assert_eq!(guest.create(1, name, BOTH, 0o644), Err(errno::INVAL), "{name}");
        assert_eq!(guest.mkdir(1, name), Err(errno::INVAL), "{name}");
        assert_eq!(guest.unlink(1, name, 0), Err(errno::INVAL), "{name}");
        assert_eq!(guest.rename((0, "file"), (1, name)), Err(errno::INVAL), "{name}");
        assert_eq!(guest.rename((1, name), (0, "x")), Err(errno::INVAL), "{name}");
    }
    for name in [".", ".."] {
        assert_eq!(guest.create(1, name, BOTH, 0o644), Err(errno::INVAL), "{name}");
        assert_eq!(guest.unlink(1, name, 0x200), Err(errno::INVAL), "{name}");
    }
    let zero = body().u32(1).text("link").text("a\0b").u32(0);
    assert_eq!(guest.ask(message::SYMLINK, &zero), Err(errno::INVAL));
    unharmed(&place);
}

#[test]
fn directory_and_file_swapped_with_symlinks() {
    let place = place();
    fs::create_dir(place.shared.join("dir")).unwrap();
    fs::write(place.shared.join("dir/secret"), "mine").unwrap();
    fs::write(place.shared.join("secret"), "mine").unwrap();
    let guest = guest(&place);
    guest.walk(0, 1, &["dir"]).unwrap();
    guest.walk(0, 2, &["secret"]).unwrap();
    fs::rename(place.shared.join("dir"), place.shared.join("moved")).unwrap();
    symlink(&place.outside, place.shared.join("dir")).unwrap();
    fs::remove_file(place.shared.join("secret")).unwrap();
    symlink(place.outside.join("secret"), place.shared.join("secret")).unwrap();
    assert_eq!(guest.walk(1, 3, &["secret"]), Err(errno::STALE));
    assert_eq!(guest.open(1, 0), Err(errno::STALE));
    assert_eq!(guest.open(2, BOTH), Err(errno::STALE));
    unharmed(&place);
}

#[test]
fn fifo_device_and_mount_point() {
    let place = place();
    let shared = guest(&place);
    shared.mknod(0, "fifo", 0o010_600).unwrap();
    shared.walk(0, 1, &["fifo"]).unwrap();
    for flags in [0, 1, BOTH] {
        assert_eq!(shared.open(1, flags), Err(errno::NXIO));
    }
    for device in [0o020_600, 0o060_600] {
        assert_eq!(shared.mknod(0, "device", device), Err(errno::PERM));
    }
    let root = Guest::new(Path::new("/"), Options { read_only: true, ..Options::default() });
    assert_eq!(root.walk(0, 1, &["proc"]), Err(errno::XDEV));
    let magic = Guest::new(Path::new("/proc/self"), Options { read_only: true, ..Options::default() });
    assert_eq!(magic.walk(0, 1, &["root", "etc"]), Ok(1));
    magic.walk(0, 1, &["exe"]).unwrap();
    assert_eq!(magic.open(1, 0), Err(errno::LOOP));
}

#[test]
fn wild_fids_and_double_clunk() {
    let place = place();
    fs::write(place.shared.join("file"), "x").unwrap();
    let guest = guest(&place);
    guest.walk(0, 1, &["file"]).unwrap();
    for wild in [2, 1 << 31, u32::MAX] {
        assert_eq!(guest.getattr(wild), Err(errno::BADF));
        assert_eq!(guest.walk(wild, 9, &[]), Err(errno::BADF));
        assert_eq!(guest.open(wild, 0), Err(errno::BADF));
        assert_eq!(guest.read(wild, 0, 1), Err(errno::BADF));
        assert_eq!(guest.clunk(wild), Err(errno::BADF));
        assert_eq!(guest.rename((wild, "a"), (0, "b")), Err(errno::BADF));
    }
    assert_eq!(guest.walk(0, 1, &[]), Err(errno::BADF), "in use");
    assert_eq!(guest.read(1, 0, 1), Err(errno::BADF), "not open");
    guest.clunk(1).unwrap();
    assert_eq!(guest.clunk(1), Err(errno::BADF));
    assert_eq!(guest.server.tree().counts().nodes, 1);
}

#[test]
fn many_fids_and_many_attributes() {
    let place = place();
    fs::write(place.shared.join("file"), "x").unwrap();
    let limits = host_share::Limits { nodes: 200, descriptors: 8, open: 10 };
    let guest = Guest::new(&place.shared, Options { limits, ..Options::default() });
    let walked = (1..1000).take_while(|fid| guest.walk(0, *fid, &["file"]).is_ok()).count();
    assert_eq!(walked, 199);
    assert_eq!(guest.walk(0, 5000, &["file"]), Err(errno::NFILE));
    let opened = (1..200).filter(|fid| guest.open(*fid, 0).is_ok()).count();
    assert_eq!(opened, 10);
    let create =
        |fid: u32| guest.ask(message::XATTRCREATE, &body().u32(fid).text("user.a").u64(60_000).u32(0));
    assert_eq!((20..200).filter(|fid| create(*fid).is_ok()).count(), 64);
    guest.clunk(150).unwrap();
    assert_eq!(guest.ask(message::XATTRWALK, &body().u32(1).u32(150).text("")), Err(errno::NFILE));
    // Fids are gone with the session, and what they held.
    guest.ask(message::VERSION, &body().u32(1 << 20).text("9P2000.L")).unwrap();
    assert_eq!((guest.server.tree().counts().nodes, guest.server.tree().counts().open), (1, 0));
}

#[test]
fn huge_counts_offsets_and_malformed_messages() {
    let place = place();
    let guest = guest(&place);
    guest.walk(0, 1, &[]).unwrap();
    guest.create(1, "file", BOTH, 0o600).unwrap();
    for huge in [1 << 63, u64::MAX, i64::MAX as u64] {
        assert!(guest.write(1, huge, b"data").is_err());
        assert!(guest.setattr(1, 8, 0, huge, (0, 0)).is_err());
        assert!(guest.read(1, huge, 1).map_or(true, |d| d.is_empty()));
    }
    assert_eq!(guest.ask(message::WRITE, &body().u32(1).u64(0).u32(u32::MAX).bytes("x")), Err(errno::INVAL));
    assert_eq!(guest.ask(message::WALK, &body().u32(0).u32(9).u16(u16::MAX)), Err(errno::INVAL));
    assert_eq!(guest.setattr(1, 0x20 | 0x100, 0, 0, (0, u64::MAX)), Err(errno::INVAL));
    let mut reply = Vec::new();
    for length in 0..7 {
        guest.server.handle(&vec![0; length], &mut reply);
        assert_eq!((reply[4], u32_at(&reply, 7) as i32), (7, errno::INVAL));
    }
    for kind in 0..=255 {
        for length in 0..60 {
            let own = vec![0xff; length];
            let said = body().u32(8 + length as u32).u8(kind).u16(1).bytes(&own);
            guest.server.handle(&said.0, &mut reply);
            assert_eq!(
                (reply[4], u32_at(&reply, 7) as i32),
                (7, errno::INVAL),
                "{kind}: says more than there is"
            );
            let whole = body().u32(7 + length as u32).u8(kind).u16(1).bytes(&own);
            guest.server.handle(&whole.0, &mut reply);
            assert!(reply.len() >= 7 && reply.len() < 64);
        }
    }
}
