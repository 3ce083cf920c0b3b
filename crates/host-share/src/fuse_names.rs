//! FUSE: requests about names and attributes.

use crate::attributes::{Change, Time};
use crate::fuse::FuseServer;
use crate::tree::Found;
use crate::wire::{Input, Output};
use rustix::fs::{RenameFlags, Statx, StatxTimestamp};
use rustix::io::Errno;

type Answer = Result<(), Errno>;

impl FuseServer {
    pub(crate) fn lookup(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let valid = self.tree.options.cache.seconds();
        match self.tree.lookup(node, input.text()?) {
            Ok(found) => {
                self.entry_out(&found, reply);
                Ok(())
            }
            // Node 0: there is none, which may be believed for a while.
            Err(Errno::NOENT) if valid != 0 => {
                reply.u64(0);
                reply.u64(0);
                reply.u64(valid);
                reply.bytes(&[0; 104]);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    pub(crate) fn getattr(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// `FUSE_GETATTR_FH`.
        const BY_HANDLE: u32 = 1;
        let flags = input.u32()?;
        input.u32()?;
        let handle = input.u64()?;
        let stat = match flags & BY_HANDLE {
            0 => self.tree.status(node)?,
            _ => self.tree.folder.look_at(&self.tree.handles.file(handle, node)?.descriptor)?,
        };
        self.attr_out(&stat, reply);
        Ok(())
    }

    /// `fuse_setattr_in`.
    pub(crate) fn setattr(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let valid = input.u32()?;
        input.u32()?;
        let (handle, size) = (input.u64()?, input.u64()?);
        input.u64()?;
        let (accessed, modified) = (input.u64()?, input.u64()?);
        // The time of change is the host's.
        input.u64()?;
        let (accessed_ns, modified_ns) = (input.u32()?, input.u32()?);
        input.u32()?;
        let mode = input.u32()?;
        input.u32()?;
        let (uid, gid) = (input.u32()?, input.u32()?);
        // FATTR_*.
        let has = |bit: u32| valid & (1 << bit) != 0;
        let time = |set, now, seconds: u64, nanoseconds| match (has(set), has(now)) {
            (_, true) => Time::Now,
            (true, false) => Time::At(seconds.cast_signed(), nanoseconds),
            (false, false) => Time::Keep,
        };
        let change = Change {
            mode: has(0).then_some(mode),
            uid: has(1).then_some(uid),
            gid: has(2).then_some(gid),
            size: has(3).then_some(size),
            accessed: time(4, 7, accessed, accessed_ns),
            modified: time(5, 8, modified, modified_ns),
        };
        let stat = self.tree.change(node, has(6).then_some(handle), &change)?;
        self.attr_out(&stat, reply);
        Ok(())
    }

    /// `fuse_statx_in`, `fuse_statx_out`.
    pub(crate) fn statx(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let flags = input.u32()?;
        input.u32()?;
        let handle = input.u64()?;
        let stat = match flags & 1 {
            0 => self.tree.status(node)?,
            _ => self.tree.folder.look_at(&self.tree.handles.file(handle, node)?.descriptor)?,
        };
        reply.u64(self.tree.options.cache.seconds());
        reply.bytes(&[0; 24]);
        self.put_statx(&stat, reply);
        Ok(())
    }

    /// `fuse_statx`: its layout is that of Linux's `struct statx`.
    fn put_statx(&self, stat: &Statx, reply: &mut Vec<u8>) {
        /// `STATX_BASIC_STATS | STATX_BTIME`.
        const SAID: u32 = 0xfff;
        reply.u32(stat.stx_mask & SAID);
        reply.u32(stat.stx_blksize);
        // Attributes, such as immutable, are the host's.
        reply.u64(0);
        reply.u32(stat.stx_nlink);
        reply.u32(self.tree.ids.uid(stat));
        reply.u32(self.tree.ids.gid(stat));
        reply.u16(stat.stx_mode);
        reply.u16(0);
        reply.u64(self.tree.ids.inode(stat));
        reply.u64(stat.stx_size);
        reply.u64(stat.stx_blocks);
        reply.u64(0);
        for time in [&stat.stx_atime, &stat.stx_btime, &stat.stx_ctime, &stat.stx_mtime] {
            reply.u64(time.tv_sec.cast_unsigned());
            reply.u32(time.tv_nsec);
            reply.u32(0);
        }
        reply.u32(stat.stx_rdev_major);
        reply.u32(stat.stx_rdev_minor);
        reply.bytes(&[0; 120]);
    }

    /// `fuse_statfs_out`.
    pub(crate) fn statfs(&self, reply: &mut Vec<u8>) -> Answer {
        let has = rustix::fs::fstatvfs(self.tree.folder.root())?;
        for value in [has.f_blocks, has.f_bfree, has.f_bavail, has.f_files, has.f_ffree] {
            reply.u64(value);
        }
        for value in [has.f_bsize, has.f_namemax, has.f_frsize] {
            reply.u32(u32::try_from(value).unwrap_or(u32::MAX));
        }
        reply.bytes(&[0; 28]);
        Ok(())
    }

    pub(crate) fn readlink(&self, node: u64, reply: &mut Vec<u8>) -> Answer {
        reply.bytes(&self.tree.read_link(node)?);
        Ok(())
    }

    pub(crate) fn symlink(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (name, target) = (input.text()?, input.text()?);
        self.entry_out(&self.tree.make_symlink(node, name, target)?, reply);
        Ok(())
    }

    pub(crate) fn mknod(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let mode = input.u32()?;
        // rdev, umask (applied by the guest), padding.
        input.bytes(12)?;
        self.entry_out(&self.tree.make_node(node, input.text()?, mode)?, reply);
        Ok(())
    }

    pub(crate) fn mkdir(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let mode = input.u32()?;
        input.u32()?;
        self.entry_out(&self.tree.make_folder(node, input.text()?, mode)?, reply);
        Ok(())
    }

    pub(crate) fn unlink(&self, node: u64, mut input: Input<'_>, folder: bool) -> Answer {
        self.tree.remove(node, input.text()?, folder)
    }

    pub(crate) fn rename(&self, node: u64, mut input: Input<'_>) -> Answer {
        let to = input.u64()?;
        self.tree.rename((node, input.text()?), (to, input.text()?), RenameFlags::empty())
    }

    pub(crate) fn rename2(&self, node: u64, mut input: Input<'_>) -> Answer {
        let (to, flags) = (input.u64()?, input.u32()?);
        input.u32()?;
        let flags = RenameFlags::from_bits_retain(flags);
        self.tree.rename((node, input.text()?), (to, input.text()?), flags)
    }

    pub(crate) fn link(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let old = input.u64()?;
        self.entry_out(&self.tree.link(old, node, input.text()?)?, reply);
        Ok(())
    }

    /// `fuse_setxattr_in` without its later extension, which is not asked for.
    pub(crate) fn setxattr(&self, node: u64, mut input: Input<'_>) -> Answer {
        let (size, flags) = (input.u32()?, input.u32()?);
        let name = input.text()?;
        let value = input.bytes(size as usize)?;
        // XATTR_CREATE, XATTR_REPLACE.
        self.tree.set_attribute(node, name, value, (flags & 1 != 0, flags & 2 != 0))
    }

    pub(crate) fn getxattr(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let size = input.u32()?;
        input.u32()?;
        sized(&self.tree.attribute(node, input.text()?)?, size, reply)
    }

    pub(crate) fn listxattr(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let size = input.u32()?;
        sized(&self.tree.attribute_names(node)?, size, reply)
    }

    /// `fuse_entry_out`.
    pub(crate) fn entry_out(&self, found: &Found, reply: &mut Vec<u8>) {
        let valid = self.tree.options.cache.seconds();
        reply.u64(found.node);
        // Nodes' numbers are never used twice, so they need no generation.
        reply.u64(0);
        reply.u64(valid);
        reply.u64(valid);
        reply.u64(0);
        self.put_attr(&found.stat, reply);
    }

    /// `fuse_attr_out`.
    fn attr_out(&self, stat: &Statx, reply: &mut Vec<u8>) {
        reply.u64(self.tree.options.cache.seconds());
        reply.u64(0);
        self.put_attr(stat, reply);
    }

    /// `fuse_attr`.
    fn put_attr(&self, stat: &Statx, reply: &mut Vec<u8>) {
        let times: [&StatxTimestamp; 3] = [&stat.stx_atime, &stat.stx_mtime, &stat.stx_ctime];
        reply.u64(self.tree.ids.inode(stat));
        reply.u64(stat.stx_size);
        reply.u64(stat.stx_blocks);
        for time in times {
            reply.u64(time.tv_sec.cast_unsigned());
        }
        for time in times {
            reply.u32(time.tv_nsec);
        }
        reply.u32(stat.stx_mode.into());
        reply.u32(stat.stx_nlink);
        reply.u32(self.tree.ids.uid(stat));
        reply.u32(self.tree.ids.gid(stat));
        reply.u32(device(stat.stx_rdev_major, stat.stx_rdev_minor));
        reply.u32(stat.stx_blksize);
        reply.u32(0);
    }
}

/// A device's number as the kernel packs it into 32 bits (include/linux/kdev_t.h, `new_encode_dev`).
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | major << 8 | (minor & !0xff) << 12
}

/// A value for a guest that has room for `size` bytes, or asks how long it is (0).
fn sized(value: &[u8], size: u32, reply: &mut Vec<u8>) -> Answer {
    match size as usize {
        0 => {
            reply.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
            reply.u32(0);
            Ok(())
        }
        size if value.len() > size => Err(Errno::RANGE),
        _ => {
            reply.bytes(value);
            Ok(())
        }
    }
}
