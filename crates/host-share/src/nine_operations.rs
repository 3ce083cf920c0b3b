//! 9P2000.L: the messages about files, names and attributes.

use crate::attributes::{Change, Time};
use crate::files::{MOST, Opening, guest};
use crate::nine::{Answer, HEADER, NineServer, State, put_text};
use crate::wire::{Input, Output};
use crate::xattrs::SIZE_MAX;
use rustix::fs::{AtFlags, RenameFlags, StatxTimestamp};
use rustix::io::Errno;

impl NineServer {
    /// How many bytes of data a reply may have.
    fn room(&self, wanted: u32) -> usize {
        let longest = self.session().longest as usize;
        (wanted as usize).min(longest.saturating_sub(HEADER + 4)).min(MOST)
    }

    pub(crate) fn statfs(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// `V9FS_MAGIC`.
        const KIND: u32 = 0x0102_1997;
        self.fid(input.u32()?)?;
        let has = rustix::fs::fstatvfs(self.tree.folder.root())?;
        reply.u32(KIND);
        reply.u32(u32::try_from(has.f_bsize).unwrap_or(u32::MAX));
        for value in [has.f_blocks, has.f_bfree, has.f_bavail, has.f_files, has.f_ffree, has.f_fsid] {
            reply.u64(value);
        }
        reply.u32(u32::try_from(has.f_namemax).unwrap_or(255));
        Ok(())
    }

    pub(crate) fn getattr(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// `P9_STATS_BASIC | P9_STATS_BTIME`.
        const SAID: u64 = 0xfff;
        let fid = self.fid(input.u32()?)?;
        input.u64()?;
        let stat = self.tree.status(fid.node)?;
        reply.u64(SAID);
        self.put_qid(reply, &stat);
        reply.u32(stat.stx_mode.into());
        reply.u32(self.tree.ids.uid(&stat));
        reply.u32(self.tree.ids.gid(&stat));
        reply.u64(stat.stx_nlink.into());
        reply.u64(rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor));
        reply.u64(stat.stx_size);
        reply.u64(stat.stx_blksize.into());
        reply.u64(stat.stx_blocks);
        let times: [&StatxTimestamp; 4] =
            [&stat.stx_atime, &stat.stx_mtime, &stat.stx_ctime, &stat.stx_btime];
        for time in times {
            reply.u64(time.tv_sec.cast_unsigned());
            reply.u64(time.tv_nsec.into());
        }
        // gen, data_version: not said.
        reply.u64(0);
        reply.u64(0);
        Ok(())
    }

    pub(crate) fn setattr(&self, mut input: Input<'_>) -> Answer {
        let fid = self.fid(input.u32()?)?;
        let valid = input.u32()?;
        let (mode, uid, gid, size) = (input.u32()?, input.u32()?, input.u32()?, input.u64()?);
        let (accessed, accessed_ns) = (input.u64()?, input.u64()?);
        let (modified, modified_ns) = (input.u64()?, input.u64()?);
        // P9_SETATTR_*: 6 is the time of change, which is the host's.
        let has = |bit: u32| valid & (1 << bit) != 0;
        let time = |change, set, seconds: u64, nanoseconds: u64| match (has(change), has(set)) {
            (false, _) => Ok(Time::Keep),
            (true, false) => Ok(Time::Now),
            (true, true) => {
                let nanoseconds = u32::try_from(nanoseconds).map_err(|_| Errno::INVAL)?;
                Ok(Time::At(seconds.cast_signed(), nanoseconds))
            }
        };
        let change = Change {
            mode: has(0).then_some(mode),
            uid: has(1).then_some(uid),
            gid: has(2).then_some(gid),
            size: has(3).then_some(size),
            accessed: time(4, 7, accessed, accessed_ns)?,
            modified: time(5, 8, modified, modified_ns)?,
        };
        let handle = match &*fid.state() {
            State::File { handle, .. } => Some(*handle),
            _ => None,
        };
        self.tree.change(fid.node, handle, &change).map(drop)
    }

    /// Opens the fid. `iounit` 0: as much as a message takes.
    pub(crate) fn lopen(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, flags) = (self.fid(input.u32()?)?, input.u32()?);
        let mut state = fid.state();
        if !matches!(*state, State::Walked) {
            return Err(Errno::INVAL);
        }
        let stat = self.tree.status(fid.node)?;
        *state = if stat.stx_mode & 0o170_000 == 0o040_000 {
            State::Folder { handle: self.tree.open_folder(fid.node)? }
        } else {
            let opened = self.tree.open(fid.node, Opening::of_flags(flags))?;
            State::File { handle: opened.handle, append: flags & guest::APPEND != 0 }
        };
        drop(state);
        self.put_qid(reply, &stat);
        reply.u32(0);
        Ok(())
    }

    /// Makes a file in the fid's folder and opens it; the fid becomes the file's.
    pub(crate) fn lcreate(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (number, name) = (input.u32()?, input.counted()?);
        let (flags, mode) = (input.u32()?, input.u32()?);
        let fid = self.fid(number)?;
        if !matches!(*fid.state(), State::Walked) {
            return Err(Errno::INVAL);
        }
        let how = (Opening::of_flags(flags), flags & guest::EXCLUSIVE != 0);
        let (found, opened) = self.tree.create(fid.node, name, how, mode)?;
        self.put_qid(reply, &found.stat);
        reply.u32(0);
        self.session().fids.remove(&number);
        self.tree.nodes.forget(fid.node, 1);
        let state = State::File { handle: opened.handle, append: flags & guest::APPEND != 0 };
        self.add_fid(number, found.node, state).inspect_err(|_| {
            let _ = self.tree.handles.close(opened.handle, found.node);
        })
    }

    pub(crate) fn read(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, offset, count) = (self.fid(input.u32()?)?, input.u64()?, input.u32()?);
        let count = self.room(count);
        let place = reply.len();
        reply.u32(0);
        match &*fid.state() {
            State::File { handle, .. } => self.tree.read((fid.node, *handle), offset, count, reply)?,
            State::Attribute(value) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = value.get(from..).unwrap_or_default();
                reply.bytes(rest.get(..count).unwrap_or(rest));
            }
            _ => return Err(Errno::BADF),
        }
        let read = u32::try_from(reply.len() - place - 4).unwrap_or(0);
        reply.set_u32(place, read);
        Ok(())
    }

    pub(crate) fn write(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, offset, count) = (self.fid(input.u32()?)?, input.u64()?, input.u32()?);
        let data = input.bytes(count as usize)?;
        let written = match &mut *fid.state() {
            State::File { handle, append } => self.tree.write((fid.node, *handle), offset, data, *append)?,
            State::NewAttribute { value, size, .. } => {
                // In order, and no more than announced.
                if offset != value.len() as u64 || data.len() > *size - value.len() {
                    return Err(Errno::INVAL);
                }
                value.extend_from_slice(data);
                data.len()
            }
            _ => return Err(Errno::BADF),
        };
        reply.u32(u32::try_from(written).unwrap_or(u32::MAX));
        Ok(())
    }

    pub(crate) fn readdir(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// Bytes of an entry before its name: qid, offset, type, length.
        const ENTRY: usize = 13 + 8 + 1 + 2;
        let (fid, offset, count) = (self.fid(input.u32()?)?, input.u64()?, input.u32()?);
        let State::Folder { handle } = *fid.state() else { return Err(Errno::BADF) };
        let place = reply.len();
        reply.u32(0);
        let end = place + 4 + self.room(count);
        let result = self.tree.list((fid.node, handle), offset, |entry| {
            if reply.len() + ENTRY + entry.name.len() > end {
                return Ok(false);
            }
            // A listing need not say more of an entry than its kind and inode.
            let kind = entry.kind_number();
            reply.u8(match kind {
                4 => 0x80,
                10 => 0x02,
                _ => 0,
            });
            reply.u32(0);
            reply.u64(entry.inode);
            reply.u64(entry.next);
            reply.u8(kind);
            put_text(reply, &entry.name);
            Ok(true)
        });
        let listed = u32::try_from(reply.len() - place - 4).unwrap_or(0);
        reply.set_u32(place, listed);
        if listed > 0 { Ok(()) } else { result }
    }

    pub(crate) fn fsync(&self, mut input: Input<'_>) -> Answer {
        let fid = self.fid(input.u32()?)?;
        let only_data = input.u32().is_ok_and(|data| data != 0);
        match &*fid.state() {
            State::File { handle, .. } => self.tree.sync((fid.node, *handle), only_data),
            State::Folder { handle } => self.tree.sync_folder((fid.node, *handle), only_data),
            _ => Err(Errno::BADF),
        }
    }

    pub(crate) fn symlink(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, name, target) = (self.fid(input.u32()?)?, input.counted()?, input.counted()?);
        if target.contains(&0) {
            return Err(Errno::INVAL);
        }
        self.made(self.tree.make_symlink(fid.node, name, target)?, reply)
    }

    pub(crate) fn mknod(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, name, mode) = (self.fid(input.u32()?)?, input.counted()?, input.u32()?);
        self.made(self.tree.make_node(fid.node, name, mode)?, reply)
    }

    pub(crate) fn mkdir(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, name, mode) = (self.fid(input.u32()?)?, input.counted()?, input.u32()?);
        self.made(self.tree.make_folder(fid.node, name, mode)?, reply)
    }

    /// The guest is told of it, and has no fid of it.
    fn made(&self, found: crate::tree::Found, reply: &mut Vec<u8>) -> Answer {
        self.put_qid(reply, &found.stat);
        self.tree.nodes.forget(found.node, 1);
        Ok(())
    }

    pub(crate) fn link(&self, mut input: Input<'_>) -> Answer {
        let (folder, file, name) = (self.fid(input.u32()?)?, self.fid(input.u32()?)?, input.counted()?);
        let found = self.tree.link(file.node, folder.node, name)?;
        self.tree.nodes.forget(found.node, 1);
        Ok(())
    }

    pub(crate) fn readlink(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        put_text(reply, &self.tree.read_link(self.fid(input.u32()?)?.node)?);
        Ok(())
    }

    pub(crate) fn renameat(&self, mut input: Input<'_>) -> Answer {
        let (old, old_name) = (self.fid(input.u32()?)?, input.counted()?);
        let (new, new_name) = (self.fid(input.u32()?)?, input.counted()?);
        self.tree.rename((old.node, old_name), (new.node, new_name), RenameFlags::empty())
    }

    pub(crate) fn unlinkat(&self, mut input: Input<'_>) -> Answer {
        let (fid, name, flags) = (self.fid(input.u32()?)?, input.counted()?, input.u32()?);
        self.tree.remove(fid.node, name, flags & AtFlags::REMOVEDIR.bits() != 0)
    }

    /// A new fid from which an attribute can be read, or the names of all if the name is empty.
    pub(crate) fn xattrwalk(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (fid, number, name) = (self.fid(input.u32()?)?, input.u32()?, input.counted()?);
        let value = match name {
            b"" => self.tree.attribute_names(fid.node)?,
            _ => self.tree.attribute(fid.node, checked(name)?)?,
        };
        reply.u64(value.len() as u64);
        self.tree.nodes.again(fid.node)?;
        self.add_fid(number, fid.node, State::Attribute(value))
    }

    /// Makes the fid one to which an attribute's value is written.
    pub(crate) fn xattrcreate(&self, mut input: Input<'_>) -> Answer {
        let (fid, name) = (self.fid(input.u32()?)?, input.counted()?);
        let (size, flags) = (input.u64()?, input.u32()?);
        self.tree.writable()?;
        let size = usize::try_from(size).ok().filter(|size| *size <= SIZE_MAX).ok_or(Errno::RANGE)?;
        self.room_for_attribute()?;
        let name = checked(name)?.to_vec();
        let mut state = fid.state();
        if !matches!(*state, State::Walked) {
            return Err(Errno::INVAL);
        }
        *state = State::NewAttribute { name, value: Vec::new(), size, flags };
        Ok(())
    }

    /// Granted: the guest's kernel has asked its own processes before.
    pub(crate) fn lock(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// `P9_LOCK_SUCCESS`.
        const GRANTED: u8 = 0;
        self.fid(input.u32()?)?;
        reply.u8(GRANTED);
        Ok(())
    }

    /// Nobody else has it.
    pub(crate) fn getlock(&self, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// `P9_LOCK_TYPE_UNLCK`.
        const UNLOCKED: u8 = 2;
        self.fid(input.u32()?)?;
        input.u8()?;
        let (start, length, process) = (input.u64()?, input.u64()?, input.u32()?);
        let client = input.counted()?;
        reply.u8(UNLOCKED);
        reply.u64(start);
        reply.u64(length);
        reply.u32(process);
        put_text(reply, client);
        Ok(())
    }
}

/// An attribute's name, which the host takes up to a zero byte.
fn checked(name: &[u8]) -> Result<&[u8], Errno> {
    if name.contains(&0) { Err(Errno::INVAL) } else { Ok(name) }
}
