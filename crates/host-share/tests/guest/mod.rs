//! A place for attacks, and a guest's side of FUSE, by hand: makes requests, takes replies apart.
#![allow(dead_code, reason = "no test uses all of it")]

use host_share::{FuseServer, HEADER_OUT, Limits, Options, opcode};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Errors as they are sent (errno.h).
pub mod errno {
    pub const PERM: i32 = 1;
    pub const NOENT: i32 = 2;
    pub const NXIO: i32 = 6;
    pub const BADF: i32 = 9;
    pub const EXIST: i32 = 17;
    pub const XDEV: i32 = 18;
    pub const NOTDIR: i32 = 20;
    pub const ISDIR: i32 = 21;
    pub const INVAL: i32 = 22;
    pub const NFILE: i32 = 23;
    pub const FBIG: i32 = 27;
    pub const ROFS: i32 = 30;
    pub const RANGE: i32 = 34;
    pub const NAMETOOLONG: i32 = 36;
    pub const NOSYS: i32 = 38;
    pub const NOTEMPTY: i32 = 39;
    pub const LOOP: i32 = 40;
    pub const NODATA: i32 = 61;
    pub const PROTO: i32 = 71;
    pub const OPNOTSUPP: i32 = 95;
    pub const STALE: i32 = 116;
}

pub const ROOT: u64 = 1;

/// A folder that is shared, beside a secret that is not.
pub struct Place {
    _all: TempDir,
    pub shared: PathBuf,
    pub outside: PathBuf,
}

pub fn place() -> Place {
    let all = tempfile::tempdir().unwrap();
    let (shared, outside) = (all.path().join("shared"), all.path().join("outside"));
    fs::create_dir(&shared).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    Place { _all: all, shared, outside }
}

/// The secret is as it was, and nothing has come to it.
pub fn unharmed(place: &Place) {
    assert_eq!(fs::read_to_string(place.outside.join("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(&place.outside).unwrap().count(), 1);
}

/// A server, and the replies it gives.
pub struct Guest {
    pub server: FuseServer,
}

/// What is said of an entry (`fuse_entry_out`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub node: u64,
    pub attr: Attr,
}

/// `fuse_attr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub times: [(i64, u32); 3],
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
}

pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk::<N>().expect("the reply is long enough");
        self.0 = rest;
        *first
    }

    pub fn entry(&mut self) -> Entry {
        let node = self.u64();
        self.take::<32>();
        Entry { node, attr: self.attr() }
    }

    pub fn attr(&mut self) -> Attr {
        let (ino, size, blocks) = (self.u64(), self.u64(), self.u64());
        let seconds = [self.u64(), self.u64(), self.u64()];
        let nanoseconds = [self.u32(), self.u32(), self.u32()];
        let times = std::array::from_fn(|n| (seconds[n] as i64, nanoseconds[n]));
        let (mode, nlink, uid, gid) = (self.u32(), self.u32(), self.u32(), self.u32());
        self.take::<12>();
        Attr { ino, size, blocks, times, mode, nlink, uid, gid }
    }
}

/// The bytes of a request's own part.
#[derive(Default, Clone)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, value: impl AsRef<[u8]>) -> Self {
        self.0.extend(value.as_ref());
        self
    }

    pub fn text(self, value: impl AsRef<[u8]>) -> Self {
        self.bytes(value).bytes([0])
    }
}

pub fn body() -> Body {
    Body::default()
}

/// A whole request.
pub fn request(opcode: u32, unique: u64, node: u64, body: &Body) -> Vec<u8> {
    let header = super::guest::body().u32((40 + body.0.len()) as u32).u32(opcode).u64(unique).u64(node);
    header.u32(0).u32(0).u32(1).u32(0).bytes(&body.0).0
}

/// A reply's own part, or its error.
pub fn open_reply(reply: &[u8], unique: u64) -> Result<Vec<u8>, i32> {
    let mut reader = Reader(reply);
    assert_eq!(reader.u32() as usize, reply.len(), "the length is the reply's");
    let error = reader.u32() as i32;
    assert_eq!(reader.u64(), unique);
    if error == 0 { Ok(reply[HEADER_OUT..].to_vec()) } else { Err(-error) }
}

pub type Answer<T> = Result<T, i32>;

impl Guest {
    pub fn new(folder: &Path, options: Options) -> Self {
        let server = FuseServer::new(File::open(folder).unwrap().into(), options).unwrap();
        Guest { server }
    }

    pub fn with_limits(folder: &Path, nodes: usize, descriptors: usize, open: usize) -> Self {
        let limits = Limits { nodes, descriptors, open };
        Guest::new(folder, Options { limits, ..Options::default() })
    }

    pub fn ask(&self, opcode: u32, node: u64, body: &Body) -> Answer<Vec<u8>> {
        let mut reply = Vec::new();
        self.server.handle(&request(opcode, 77, node, body), &mut reply);
        open_reply(&reply, 77)
    }

    pub fn tell(&self, opcode: u32, node: u64, body: &Body) {
        let mut reply = vec![1];
        self.server.handle(&request(opcode, 77, node, body), &mut reply);
        assert_eq!(reply, [], "no reply");
    }

    /// A look-up; no entry is an error, whether the server said so or that it may be believed for a while.
    pub fn lookup(&self, node: u64, name: impl AsRef<[u8]>) -> Answer<Entry> {
        let reply = self.ask(opcode::LOOKUP, node, &body().text(name))?;
        let entry = Reader(&reply).entry();
        if entry.node == 0 { Err(errno::NOENT) } else { Ok(entry) }
    }

    /// Looks up each name of a path.
    pub fn walk(&self, path: &str) -> Answer<Entry> {
        let mut at = Err(errno::NOENT);
        let mut node = ROOT;
        for name in path.split('/') {
            at = self.lookup(node, name);
            node = at.as_ref().map_err(|e| *e)?.node;
        }
        at
    }

    pub fn getattr(&self, node: u64) -> Answer<Attr> {
        let reply = self.ask(opcode::GETATTR, node, &body().u32(0).u32(0).u64(0))?;
        Ok(Reader(&reply[16..]).attr())
    }

    pub fn forget(&self, node: u64, count: u64) {
        self.tell(opcode::FORGET, node, &body().u64(count));
    }

    pub fn open(&self, node: u64, flags: u32) -> Answer<u64> {
        let reply = self.ask(opcode::OPEN, node, &body().u32(flags).u32(0))?;
        Ok(Reader(&reply).u64())
    }

    /// The flags of the reply to an opening, which is closed again.
    pub fn open_flags(&self, node: u64) -> u32 {
        let reply = self.ask(opcode::OPEN, node, &body().u32(0).u32(0)).unwrap();
        let mut reader = Reader(&reply);
        let handle = reader.u64();
        self.release(node, handle).unwrap();
        reader.u32()
    }

    pub fn create(&self, parent: u64, name: impl AsRef<[u8]>, flags: u32, mode: u32) -> Answer<(Entry, u64)> {
        let reply =
            self.ask(opcode::CREATE, parent, &body().u32(flags).u32(mode).u32(0).u32(0).text(name))?;
        let mut reader = Reader(&reply);
        Ok((reader.entry(), reader.u64()))
    }

    pub fn read(&self, node: u64, handle: u64, offset: u64, size: u32) -> Answer<Vec<u8>> {
        let body = body().u64(handle).u64(offset).u32(size).u32(0).u64(0).u32(0).u32(0);
        self.ask(opcode::READ, node, &body)
    }

    pub fn write(&self, node: u64, handle: u64, offset: u64, data: &[u8]) -> Answer<u32> {
        self.write_with(node, handle, offset, data, 0)
    }

    pub fn write_with(&self, node: u64, handle: u64, offset: u64, data: &[u8], flags: u32) -> Answer<u32> {
        let body = body().u64(handle).u64(offset).u32(data.len() as u32).u32(0).u64(0).u32(flags).u32(0);
        Ok(Reader(&self.ask(opcode::WRITE, node, &body.bytes(data))?).u32())
    }

    pub fn release(&self, node: u64, handle: u64) -> Answer<()> {
        self.ask(opcode::RELEASE, node, &body().u64(handle).u32(0).u32(0).u64(0)).map(drop)
    }

    pub fn mkdir(&self, parent: u64, name: impl AsRef<[u8]>) -> Answer<Entry> {
        let reply = self.ask(opcode::MKDIR, parent, &body().u32(0o755).u32(0).text(name))?;
        Ok(Reader(&reply).entry())
    }

    pub fn mknod(&self, parent: u64, name: impl AsRef<[u8]>, mode: u32) -> Answer<Entry> {
        let reply =
            self.ask(opcode::MKNOD, parent, &body().u32(mode).u32(0x0103).u32(0).u32(0).text(name))?;
        Ok(Reader(&reply).entry())
    }

    pub fn symlink(&self, parent: u64, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Answer<Entry> {
        let reply = self.ask(opcode::SYMLINK, parent, &body().text(name).text(target))?;
        Ok(Reader(&reply).entry())
    }

    pub fn link(&self, node: u64, parent: u64, name: impl AsRef<[u8]>) -> Answer<Entry> {
        let reply = self.ask(opcode::LINK, parent, &body().u64(node).text(name))?;
        Ok(Reader(&reply).entry())
    }

    pub fn unlink(&self, parent: u64, name: impl AsRef<[u8]>) -> Answer<()> {
        self.ask(opcode::UNLINK, parent, &body().text(name)).map(drop)
    }

    pub fn rename(&self, from: (u64, &str), to: (u64, &str), flags: u32) -> Answer<()> {
        let body = body().u64(to.0).u32(flags).u32(0).text(from.1).text(to.1);
        self.ask(opcode::RENAME2, from.0, &body).map(drop)
    }

    /// `fuse_setattr_in`, of which a test sets what it wants.
    pub fn setattr(&self, node: u64, set: &Set) -> Answer<Attr> {
        let body = body().u32(set.valid).u32(0).u64(set.handle).u64(set.size).u64(0);
        let body = body.u64(set.atime.0).u64(set.mtime.0).u64(0).u32(set.atime.1).u32(set.mtime.1).u32(0);
        let body = body.u32(set.mode).u32(0).u32(set.uid).u32(set.gid).u32(0);
        let reply = self.ask(opcode::SETATTR, node, &body)?;
        Ok(Reader(&reply[16..]).attr())
    }

    pub fn opendir(&self, node: u64) -> Answer<u64> {
        Ok(Reader(&self.ask(opcode::OPENDIR, node, &body())?).u64())
    }

    /// One piece of a listing: position behind, kind, name, and the entry if `plus`.
    pub fn piece(&self, node: u64, handle: u64, offset: u64, size: u32, plus: bool) -> Answer<Vec<Listed>> {
        let opcode = if plus { opcode::READDIRPLUS } else { opcode::READDIR };
        let body = body().u64(handle).u64(offset).u32(size).u32(0).u64(0).u32(0).u32(0);
        let reply = self.ask(opcode, node, &body)?;
        assert!(reply.len() <= size as usize);
        let (mut reader, mut listed) = (Reader(&reply), Vec::new());
        while !reader.0.is_empty() {
            let entry = plus.then(|| reader.entry());
            let (ino, next, length, kind) = (reader.u64(), reader.u64(), reader.u32() as usize, reader.u32());
            let name = String::from_utf8_lossy(&reader.0[..length]).into_owned();
            reader.0 = &reader.0[(24 + length).next_multiple_of(8) - 24..];
            listed.push(Listed { ino, next, kind, name, entry });
        }
        Ok(listed)
    }

    /// All of a folder, in pieces of that size.
    pub fn list(&self, node: u64, size: u32, plus: bool) -> Vec<Listed> {
        let handle = self.opendir(node).unwrap();
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let piece = self.piece(node, handle, offset, size, plus).unwrap();
            let Some(last) = piece.last() else { break };
            offset = last.next;
            all.extend(piece);
        }
        self.ask(opcode::RELEASEDIR, node, &body().u64(handle).u32(0).u32(0).u64(0)).unwrap();
        all
    }
}

#[derive(Debug, Clone)]
pub struct Listed {
    pub ino: u64,
    pub next: u64,
    pub kind: u32,
    pub name: String,
    pub entry: Option<Entry>,
}

/// What SETATTR is to set.
#[derive(Debug, Default, Clone)]
pub struct Set {
    pub valid: u32,
    pub handle: u64,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: (u64, u32),
    pub mtime: (u64, u32),
}

impl Set {
    pub fn size(size: u64) -> Self {
        Set { valid: 1 << 3, size, ..Set::default() }
    }

    pub fn mode(mode: u32) -> Self {
        Set { valid: 1, mode, ..Set::default() }
    }
}
