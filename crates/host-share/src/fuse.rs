//! FUSE: the server's entry, the start of a session, and which request is which.
//!
//! The protocol is that of Linux (include/uapi/linux/fuse.h, version 7.39), which virtio-fs carries as it is (Virtual I/O
//! Device specification 1.2, section 5.11.6). Names of structures and fields here are that header's.
//!
//! Not offered, and why: a write-back cache (the host could change a file under it without the guest's noticing); locks
//! (they are the guest's own, and cost no requests); access control lists and security contexts (the host's).

use crate::files::MOST;
use crate::options::{Cache, Options};
use crate::tree::Tree;
use crate::wire::{Input, Output};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Bytes of a request before its own part (`fuse_in_header`).
pub const HEADER_IN: usize = 40;
/// Bytes of a reply before its own part (`fuse_out_header`).
pub const HEADER_OUT: usize = 16;
/// The longest request that is served: a write of the largest size, or the longest attribute.
pub const LONGEST_REQUEST: usize = HEADER_IN + 40 + MOST + 4096;
/// The longest reply.
pub const LONGEST_REPLY: usize = HEADER_OUT + MOST;

/// The protocol's version, and the oldest minor one of a guest that is served: virtio-fs came with it.
const VERSION: (u32, u32) = (7, 39);
const OLDEST: u32 = 31;

/// The pages of a request at most, of 4096 bytes each.
const MAX_PAGES: u16 = (MOST / 4096) as u16;

/// Flags of a session that are taken if the guest offers them (`FUSE_*` of fuse.h).
mod flag {
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub const EXPORT_SUPPORT: u64 = 1 << 4;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const AUTO_INVAL_DATA: u64 = 1 << 12;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
}

/// `fuse_in_header`, as far as it is used. The ids of the process that asks are the guest's own: its kernel has checked
/// them against modes and owners already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub opcode: u32,
    pub unique: u64,
    pub node: u64,
}

/// A server of one guest's FUSE requests.
#[derive(Debug)]
pub struct FuseServer {
    pub(crate) tree: Tree,
}

/// What the server makes of a request.
type Answer = Result<(), Errno>;

impl FuseServer {
    /// Serves the folder that `root` is a descriptor of.
    ///
    /// # Errors
    /// What the host says of the folder.
    pub fn new(root: OwnedFd, options: Options) -> Result<Self, Errno> {
        Ok(FuseServer { tree: Tree::new(root, options)? })
    }

    /// Answers one request: puts the whole reply into `reply`, nothing if the request is of a kind that has none. May be
    /// called from several threads at once.
    pub fn handle(&self, request: &[u8], reply: &mut Vec<u8>) {
        reply.clear();
        let (header, input) = match read_header(request) {
            Ok(read) => read,
            Err((unique, errno)) => return refuse(reply, unique, errno),
        };
        if self.without_reply(&header, input) {
            return;
        }
        start(reply, header.unique);
        match self.answer(&header, input, reply) {
            Ok(()) => {
                let length = u32::try_from(reply.len()).unwrap_or(u32::MAX);
                reply.set_u32(0, length);
            }
            Err(errno) => refuse(reply, header.unique, errno),
        }
    }

    /// What the guest knows, and what it has open.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Requests that are not answered. An interruption has nothing to interrupt: no request waits for another.
    fn without_reply(&self, header: &Header, mut input: Input<'_>) -> bool {
        match header.opcode {
            opcode::FORGET => {
                if let Ok(count) = input.u64() {
                    self.tree.nodes.forget(header.node, count);
                }
            }
            opcode::BATCH_FORGET => {
                let (Ok(count), Ok(_)) = (input.u32(), input.u32()) else { return true };
                for _ in 0..count {
                    let (Ok(node), Ok(count)) = (input.u64(), input.u64()) else { break };
                    self.tree.nodes.forget(node, count);
                }
            }
            opcode::INTERRUPT | opcode::NOTIFY_REPLY => {}
            _ => return false,
        }
        true
    }

    fn answer(&self, header: &Header, input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let node = header.node;
        match header.opcode {
            opcode::INIT => self.init(input, reply),
            opcode::DESTROY => {
                self.tree.clear();
                Ok(())
            }
            opcode::LOOKUP => self.lookup(node, input, reply),
            opcode::GETATTR => self.getattr(node, input, reply),
            opcode::SETATTR => self.setattr(node, input, reply),
            opcode::STATX => self.statx(node, input, reply),
            opcode::STATFS => self.statfs(reply),
            opcode::READLINK => self.readlink(node, reply),
            opcode::SYMLINK => self.symlink(node, input, reply),
            opcode::MKNOD => self.mknod(node, input, reply),
            opcode::MKDIR => self.mkdir(node, input, reply),
            opcode::UNLINK => self.unlink(node, input, false),
            opcode::RMDIR => self.unlink(node, input, true),
            opcode::RENAME => self.rename(node, input),
            opcode::RENAME2 => self.rename2(node, input),
            opcode::LINK => self.link(node, input, reply),
            opcode::OPEN => self.open(node, input, reply),
            opcode::CREATE => self.create(node, input, reply),
            opcode::TMPFILE => self.tmpfile(node, input, reply),
            opcode::READ => self.read(node, input, reply),
            opcode::WRITE => self.write(node, input, reply),
            opcode::RELEASE | opcode::RELEASEDIR => self.release(node, input),
            opcode::FSYNC => self.fsync(node, input),
            opcode::FALLOCATE => self.fallocate(node, input),
            opcode::LSEEK => self.lseek(node, input, reply),
            opcode::COPY_FILE_RANGE => self.copy_file_range(node, input, reply),
            opcode::OPENDIR => self.opendir(node, reply),
            opcode::READDIR => self.readdir(node, input, reply, false),
            opcode::READDIRPLUS => self.readdir(node, input, reply, true),
            opcode::FSYNCDIR => self.fsyncdir(node, input),
            opcode::SYNCFS => self.tree.sync_all(),
            opcode::SETXATTR => self.setxattr(node, input),
            opcode::GETXATTR => self.getxattr(node, input, reply),
            opcode::LISTXATTR => self.listxattr(node, input, reply),
            opcode::REMOVEXATTR => self.tree.remove_attribute(node, { input }.text()?),
            // Upon this, Linux does without for the rest of the session: ACCESS, locks, BMAP, IOCTL, POLL, DAX mappings; and
            // FLUSH, a request for each close(2), which has nothing to say where nothing is kept back.
            _ => Err(Errno::NOSYS),
        }
    }

    /// `fuse_init_in`, `fuse_init_out`: a guest that starts (again) knows nothing and has nothing open.
    fn init(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (major, minor) = (input.u32()?, input.u32()?);
        if major > VERSION.0 {
            // A newer guest asks again, with what it is told.
            reply.u32(VERSION.0);
            reply.u32(VERSION.1);
            reply.bytes(&[0; 56]);
            return Ok(());
        }
        if major < VERSION.0 || minor < OLDEST {
            return Err(Errno::PROTO);
        }
        let (readahead, low) = (input.u32()?, input.u32()?);
        let high = if u64::from(low) & flag::INIT_EXT != 0 { input.u32()? } else { 0 };
        self.tree.clear();
        let flags = self.flags() & (u64::from(high) << 32 | u64::from(low));
        reply.u32(VERSION.0);
        reply.u32(VERSION.1);
        reply.u32(readahead);
        reply.u32(flags as u32);
        // max_background, congestion_threshold: how many requests nobody waits for may be under way.
        reply.u16(64);
        reply.u16(48);
        reply.u32(MOST as u32);
        // time_gran: times are in nanoseconds.
        reply.u32(1);
        reply.u16(MAX_PAGES);
        reply.u16(0);
        reply.u32((flags >> 32) as u32);
        reply.bytes(&[0; 28]);
        Ok(())
    }

    fn flags(&self) -> u64 {
        use flag::{ASYNC_DIO, ASYNC_READ, ATOMIC_O_TRUNC, BIG_WRITES, CACHE_SYMLINKS, DO_READDIRPLUS};
        let always = ASYNC_READ
            | ATOMIC_O_TRUNC
            | flag::EXPORT_SUPPORT
            | BIG_WRITES
            | DO_READDIRPLUS
            | flag::READDIRPLUS_AUTO
            | ASYNC_DIO
            | flag::PARALLEL_DIROPS
            | flag::MAX_PAGES
            | flag::INIT_EXT
            // The host clears bits that lend rights when somebody writes, as it does for every file.
            | flag::HANDLE_KILLPRIV_V2;
        match self.tree.options.cache {
            Cache::Auto => always | CACHE_SYMLINKS | flag::AUTO_INVAL_DATA,
            Cache::Always => always | CACHE_SYMLINKS,
            Cache::None => always | flag::DIRECT_IO_ALLOW_MMAP,
        }
    }
}

fn read_header(request: &[u8]) -> Result<(Header, Input<'_>), (u64, Errno)> {
    let mut input = Input::new(request);
    let mut read = || -> Result<(u32, Header), Errno> {
        let (length, opcode) = (input.u32()?, input.u32()?);
        let (unique, node) = (input.u64()?, input.u64()?);
        // uid, gid, pid, total_extlen, padding.
        input.bytes(16)?;
        Ok((length, Header { opcode, unique, node }))
    };
    let (length, header) = read().map_err(|errno| (0, errno))?;
    // Behind the length there may be what the request has no use for.
    let own = (length as usize).checked_sub(HEADER_IN).ok_or((header.unique, Errno::INVAL))?;
    let own = input.bytes(own).map_err(|errno| (header.unique, errno))?;
    Ok((header, Input::new(own)))
}

/// Starts a reply; its length is not known yet.
fn start(reply: &mut Vec<u8>, unique: u64) {
    reply.clear();
    reply.u32(HEADER_OUT as u32);
    reply.u32(0);
    reply.u64(unique);
}

fn refuse(reply: &mut Vec<u8>, unique: u64, errno: Errno) {
    start(reply, unique);
    reply.set_u32(4, errno.raw_os_error().wrapping_neg() as u32);
}

/// `enum fuse_opcode`, as far as it is served.
pub mod opcode {
    #![allow(missing_docs, reason = "the header's names")]
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const NOTIFY_REPLY: u32 = 41;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const COPY_FILE_RANGE: u32 = 47;
    pub const SYNCFS: u32 = 50;
    pub const TMPFILE: u32 = 51;
    pub const STATX: u32 = 52;
}
