//! 9P2000.L: the server's entry, its sessions and fids, and which message is which.
//!
//! The protocol is 9P2000 (Plan 9 manual, section 5) with the messages that Linux added (kernel documentation,
//! filesystems/9p; include/net/9p/9p.h), which is what a Linux guest speaks over virtio (Virtual I/O Device specification,
//! device 9). It shows the same folder in the same way as FUSE does: see there for whose files are whose.
//!
//! A fid is a node that the guest has walked to. It may be opened, once. Locks are the guest's own: each is granted.
//!
//! Requests must be handled one after another: then what is to be flushed has been answered already.

use crate::options::{Cache, Options};
use crate::tree::Tree;
use crate::wire::{Input, Output};
use rustix::fd::OwnedFd;
use rustix::fs::Statx;
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a message before its own part: size, type, tag.
pub const HEADER: usize = 7;

/// The longest message: data of the largest size, and what stands before it (`P9_IOHDRSZ`).
pub const LONGEST_MESSAGE: usize = crate::files::MOST + 24;

/// The shortest limit of messages that a guest may ask for.
const SHORTEST: u32 = 4096;

const VERSION: &[u8] = b"9P2000.L";

/// Fids that hold an extended attribute's value, of which each may be long.
const MOST_ATTRIBUTES: usize = 64;

/// What a guest has walked to.
#[derive(Debug)]
pub(crate) struct Fid {
    /// The node; it counts as looked up for this.
    pub node: u64,
    /// What has been made of it.
    pub state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) enum State {
    /// Nothing yet.
    Walked,
    /// An open file, with its handle.
    File { handle: u64, append: bool },
    /// An open folder, with its handle.
    Folder { handle: u64 },
    /// An attribute's value, or the names of all, to be read.
    Attribute(Vec<u8>),
    /// An attribute that is set when the fid is closed.
    NewAttribute { name: Vec<u8>, value: Vec<u8>, size: usize, flags: u32 },
}

impl Fid {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub fids: HashMap<u32, Arc<Fid>>,
    /// The longest message that both sides agreed on.
    pub longest: u32,
}

impl Session {
    /// How many fids hold an attribute.
    fn attributes(&self) -> usize {
        let holds =
            |fid: &&Arc<Fid>| matches!(*fid.state(), State::Attribute(_) | State::NewAttribute { .. });
        self.fids.values().filter(holds).count()
    }
}

/// A server of one guest's 9P2000.L messages.
#[derive(Debug)]
pub struct NineServer {
    pub(crate) tree: Tree,
    session: Mutex<Session>,
}

/// What the server makes of a message.
pub(crate) type Answer = Result<(), Errno>;

impl NineServer {
    /// Serves the folder that `root` is a descriptor of.
    ///
    /// # Errors
    /// What the host says of the folder.
    pub fn new(root: OwnedFd, options: Options) -> Result<Self, Errno> {
        let session = Session { fids: HashMap::new(), longest: LONGEST_MESSAGE as u32 };
        // No reply says how long it may be believed.
        let options = Options { cache: Cache::None, ..options };
        Ok(NineServer { tree: Tree::new(root, options)?, session: Mutex::new(session) })
    }

    /// What the guest knows, and what it has open.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        // A map and a number beside it: whole at any time.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one message: puts the whole reply into `reply`.
    pub fn handle(&self, request: &[u8], reply: &mut Vec<u8>) {
        let mut input = Input::new(request);
        let mut header = || Ok::<_, Errno>((input.u32()?, input.u8()?, input.u16()?));
        let Ok((size, kind, tag)) = header() else {
            return refuse(reply, NO_TAG, Errno::INVAL);
        };
        let own = (size as usize).checked_sub(HEADER).and_then(|own| input.bytes(own).ok());
        let Some(own) = own else { return refuse(reply, tag, Errno::INVAL) };
        start(reply, kind.wrapping_add(1), tag);
        match self.answer(kind, Input::new(own), reply) {
            Ok(()) => finish(reply),
            Err(errno) => refuse(reply, tag, errno),
        }
    }

    fn answer(&self, kind: u8, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        match kind {
            message::VERSION => self.version(input, reply),
            message::ATTACH => self.attach(input, reply),
            message::WALK => self.walk(input, reply),
            message::CLUNK => self.clunk(input.u32()?),
            // Everything before has been answered.
            message::FLUSH => Ok(()),
            message::STATFS => self.statfs(input, reply),
            message::GETATTR => self.getattr(input, reply),
            message::SETATTR => self.setattr(input),
            message::LOPEN => self.lopen(input, reply),
            message::LCREATE => self.lcreate(input, reply),
            message::READ => self.read(input, reply),
            message::WRITE => self.write(input, reply),
            message::READDIR => self.readdir(input, reply),
            message::FSYNC => self.fsync(input),
            message::SYMLINK => self.symlink(input, reply),
            message::MKNOD => self.mknod(input, reply),
            message::MKDIR => self.mkdir(input, reply),
            message::LINK => self.link(input),
            message::READLINK => self.readlink(input, reply),
            message::RENAMEAT => self.renameat(input),
            message::UNLINKAT => self.unlinkat(input),
            message::XATTRWALK => self.xattrwalk(input, reply),
            message::XATTRCREATE => self.xattrcreate(input),
            message::LOCK => self.lock(input, reply),
            message::GETLOCK => self.getlock(input, reply),
            // Which removes the fid, whatever becomes of it; Linux asks so only those that have no UNLINKAT.
            message::REMOVE => self.clunk(input.u32()?).and(Err(Errno::OPNOTSUPP)),
            // AUTH (the folder is for whoever has the device), RENAME (as REMOVE), and what does not exist.
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    /// Ends the session before, if there was one.
    fn version(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (longest, version) = (input.u32()?, input.counted()?);
        let longest = longest.min(LONGEST_MESSAGE as u32);
        if longest < SHORTEST {
            return Err(Errno::INVAL);
        }
        *self.session() = Session { fids: HashMap::new(), longest };
        self.tree.clear();
        reply.u32(longest);
        put_text(reply, if version == VERSION { VERSION } else { b"unknown" });
        Ok(())
    }

    /// The fid of that number.
    pub(crate) fn fid(&self, number: u32) -> Result<Arc<Fid>, Errno> {
        self.session().fids.get(&number).cloned().ok_or(Errno::BADF)
    }

    /// A new fid for a node that has been looked up for it; if that cannot be, the look-up is undone.
    pub(crate) fn add_fid(&self, number: u32, node: u64, state: State) -> Answer {
        let mut session = self.session();
        let most = self.tree.options.limits.nodes.min(65_536);
        let error = if session.fids.contains_key(&number) {
            Errno::BADF
        } else if session.fids.len() >= most
            || (matches!(state, State::Attribute(_)) && session.attributes() >= MOST_ATTRIBUTES)
        {
            Errno::NFILE
        } else {
            session.fids.insert(number, Arc::new(Fid { node, state: Mutex::new(state) }));
            return Ok(());
        };
        drop(session);
        self.tree.nodes.forget(node, 1);
        Err(error)
    }

    /// How many fids hold attributes may not grow by turning others into such.
    pub(crate) fn room_for_attribute(&self) -> Answer {
        if self.session().attributes() < MOST_ATTRIBUTES { Ok(()) } else { Err(Errno::NFILE) }
    }

    fn attach(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let number = input.u32()?;
        // afid, uname, aname, n_uname: anyone may, and there is one folder.
        input.u32()?;
        input.counted()?;
        input.counted()?;
        let root = self.tree.lookup(self.tree.root(), b".")?;
        self.put_qid(reply, &root.stat);
        self.add_fid(number, root.node, State::Walked)
    }

    fn walk(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// The most steps of one walk (`P9_MAXWELEM`).
        const MOST: u16 = 16;
        let (from, to, steps) = (input.u32()?, input.u32()?, input.u16()?);
        if steps > MOST {
            return Err(Errno::INVAL);
        }
        let fid = self.fid(from)?;
        if !matches!(*fid.state(), State::Walked) && steps > 0 {
            return Err(Errno::INVAL);
        }
        let mut at = self.tree.lookup(fid.node, b".")?.node;
        let counted = reply.len();
        reply.u16(0);
        for step in 0..steps {
            let found = input.counted().and_then(|name| self.tree.lookup(at, name));
            self.tree.nodes.forget(at, 1);
            match found {
                Ok(found) => {
                    at = found.node;
                    self.put_qid(reply, &found.stat);
                }
                Err(errno) if step == 0 => return Err(errno),
                Err(_) => {
                    // Some of the way: the guest is told how far, and the new fid is not made.
                    set_u16(reply, counted, step);
                    return Ok(());
                }
            }
        }
        set_u16(reply, counted, steps);
        if from == to {
            self.clunk(from).inspect_err(|_| self.tree.nodes.forget(at, 1))?;
        }
        self.add_fid(to, at, State::Walked)
    }

    /// Removes a fid, closes what it has open, and sets the attribute that it was to set.
    fn clunk(&self, number: u32) -> Answer {
        let fid = self.session().fids.remove(&number).ok_or(Errno::BADF)?;
        let state = std::mem::replace(&mut *fid.state(), State::Walked);
        let result = match state {
            State::Walked | State::Attribute(_) => Ok(()),
            State::File { handle, .. } | State::Folder { handle } => {
                self.tree.handles.close(handle, fid.node)
            }
            State::NewAttribute { name, value, size, flags } => {
                self.set_new_attribute(fid.node, (&name, &value), size, flags)
            }
        };
        self.tree.nodes.forget(fid.node, 1);
        result
    }

    fn set_new_attribute(&self, node: u64, (name, value): (&[u8], &[u8]), size: usize, flags: u32) -> Answer {
        /// `XATTR_CREATE` and `XATTR_REPLACE`.
        const CREATE: u32 = 1;
        const REPLACE: u32 = 2;
        match value.len() == size {
            // Linux removes an attribute by replacing it by nothing; with no flags, the value is to be empty.
            true if size == 0 && flags == REPLACE => self.tree.remove_attribute(node, name),
            true => self.tree.set_attribute(node, name, value, (flags & CREATE != 0, flags & REPLACE != 0)),
            false => Err(Errno::IO),
        }
    }

    /// `qid`: kind, version (changes when the file does), inode.
    pub(crate) fn put_qid(&self, reply: &mut Vec<u8>, stat: &Statx) {
        reply.u8(match stat.stx_mode & 0o170_000 {
            0o040_000 => 0x80,
            0o120_000 => 0x02,
            _ => 0,
        });
        let time = stat.stx_mtime;
        reply.u32((time.tv_sec as u32).wrapping_mul(1_000_003) ^ time.tv_nsec ^ (stat.stx_size as u32) << 8);
        reply.u64(self.tree.ids.inode(stat));
    }
}

/// `P9_NOTAG`.
const NO_TAG: u16 = 0xffff;

fn start(reply: &mut Vec<u8>, kind: u8, tag: u16) {
    reply.clear();
    reply.u32(0);
    reply.u8(kind);
    reply.u16(tag);
}

fn finish(reply: &mut Vec<u8>) {
    let length = u32::try_from(reply.len()).unwrap_or(u32::MAX);
    reply.set_u32(0, length);
}

/// `Rlerror`.
fn refuse(reply: &mut Vec<u8>, tag: u16, errno: Errno) {
    start(reply, message::LERROR + 1, tag);
    reply.u32(errno.raw_os_error().cast_unsigned());
    finish(reply);
}

fn set_u16(reply: &mut [u8], offset: usize, value: u16) {
    if let Some(place) = reply.get_mut(offset..offset.saturating_add(2)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

pub(crate) fn put_text(reply: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    reply.u16(length);
    reply.bytes(text.get(..length.into()).unwrap_or_default());
}

/// The requests' types (`enum p9_msg_t`); a reply's is one more.
pub mod message {
    #![allow(missing_docs, reason = "the protocol's names")]
    pub const LERROR: u8 = 6;
    pub const STATFS: u8 = 8;
    pub const LOPEN: u8 = 12;
    pub const LCREATE: u8 = 14;
    pub const SYMLINK: u8 = 16;
    pub const MKNOD: u8 = 18;
    pub const READLINK: u8 = 22;
    pub const GETATTR: u8 = 24;
    pub const SETATTR: u8 = 26;
    pub const XATTRWALK: u8 = 30;
    pub const XATTRCREATE: u8 = 32;
    pub const READDIR: u8 = 40;
    pub const FSYNC: u8 = 50;
    pub const LOCK: u8 = 52;
    pub const GETLOCK: u8 = 54;
    pub const LINK: u8 = 70;
    pub const MKDIR: u8 = 72;
    pub const RENAMEAT: u8 = 74;
    pub const UNLINKAT: u8 = 76;
    pub const VERSION: u8 = 100;
    pub const ATTACH: u8 = 104;
    pub const FLUSH: u8 = 108;
    pub const WALK: u8 = 110;
    pub const READ: u8 = 116;
    pub const WRITE: u8 = 118;
    pub const CLUNK: u8 = 120;
    pub const REMOVE: u8 = 122;
}
