//! FUSE: requests about open files and folders.

use crate::files::{MOST, Opened, Opening, guest};
use crate::fuse::{FuseServer, HEADER_OUT};
use crate::listing::Entry;
use crate::name::Name;
use crate::options::Cache;
use crate::tree::Found;
use crate::wire::{Input, Output};
use rustix::io::Errno;

type Answer = Result<(), Errno>;

/// `FOPEN_*` of a reply.
mod fopen {
    pub const DIRECT_IO: u32 = 1 << 0;
    pub const KEEP_CACHE: u32 = 1 << 1;
    pub const CACHE_DIR: u32 = 1 << 3;
}

/// Bytes of `fuse_entry_out`, and of `fuse_dirent` before its name.
const ENTRY_OUT: usize = 128;
const DIRENT: usize = 24;

impl FuseServer {
    pub(crate) fn open(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let opened = self.tree.open(node, Opening::of_flags(input.u32()?))?;
        self.open_out(opened, reply);
        Ok(())
    }

    pub(crate) fn create(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (flags, mode) = (input.u32()?, input.u32()?);
        // umask (applied by the guest), open_flags.
        input.u64()?;
        let how = (Opening::of_flags(flags), flags & guest::EXCLUSIVE != 0);
        let (found, opened) = self.tree.create(node, input.text()?, how, mode)?;
        self.entry_out(&found, reply);
        self.open_out(opened, reply);
        Ok(())
    }

    /// As CREATE; what name comes with it means nothing.
    pub(crate) fn tmpfile(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (flags, mode) = (input.u32()?, input.u32()?);
        let exclusive = flags & guest::EXCLUSIVE != 0;
        let (found, opened) = self.tree.create_nameless(node, Opening::of_flags(flags), exclusive, mode)?;
        self.entry_out(&found, reply);
        self.open_out(opened, reply);
        Ok(())
    }

    /// `fuse_open_out`.
    fn open_out(&self, opened: Opened, reply: &mut Vec<u8>) {
        let cache = match self.tree.options.cache {
            Cache::None => fopen::DIRECT_IO,
            Cache::Always => fopen::KEEP_CACHE,
            Cache::Auto if opened.unchanged => fopen::KEEP_CACHE,
            Cache::Auto => 0,
        };
        reply.u64(opened.handle);
        reply.u32(cache);
        reply.u32(0);
    }

    pub(crate) fn read(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (handle, offset, size) = (input.u64()?, input.u64()?, input.u32()?);
        self.tree.read((node, handle), offset, size as usize, reply)
    }

    /// `fuse_write_in`, and the data.
    pub(crate) fn write(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        /// `FUSE_WRITE_CACHE`: a page that was written through a mapping, which never is at the end.
        const FROM_CACHE: u32 = 1;
        let (handle, offset, size) = (input.u64()?, input.u64()?, input.u32()?);
        let how = input.u32()?;
        input.u64()?;
        let flags = input.u32()?;
        input.u32()?;
        let data = input.bytes(size as usize)?;
        let append = flags & guest::APPEND != 0 && how & FROM_CACHE == 0;
        let written = self.tree.write((node, handle), offset, data, append)?;
        reply.u32(u32::try_from(written).unwrap_or(u32::MAX));
        reply.u32(0);
        Ok(())
    }

    pub(crate) fn release(&self, node: u64, mut input: Input<'_>) -> Answer {
        self.tree.handles.close(input.u64()?, node)
    }

    pub(crate) fn fsync(&self, node: u64, mut input: Input<'_>) -> Answer {
        let (handle, flags) = (input.u64()?, input.u32()?);
        self.tree.sync((node, handle), flags & 1 != 0)
    }

    pub(crate) fn fsyncdir(&self, node: u64, mut input: Input<'_>) -> Answer {
        let (handle, flags) = (input.u64()?, input.u32()?);
        self.tree.sync_folder((node, handle), flags & 1 != 0)
    }

    pub(crate) fn fallocate(&self, node: u64, mut input: Input<'_>) -> Answer {
        let (handle, offset, length, mode) = (input.u64()?, input.u64()?, input.u64()?, input.u32()?);
        self.tree.allocate((node, handle), mode, offset, length)
    }

    pub(crate) fn lseek(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (handle, offset, whence) = (input.u64()?, input.u64()?, input.u32()?);
        reply.u64(self.tree.seek((node, handle), offset, whence)?);
        Ok(())
    }

    /// `fuse_copy_file_range_in`.
    pub(crate) fn copy_file_range(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>) -> Answer {
        let (handle, offset) = (input.u64()?, input.u64()?);
        let (to_node, to_handle, to_offset) = (input.u64()?, input.u64()?, input.u64()?);
        let (length, flags) = (input.u64()?, input.u64()?);
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        let copied = self.tree.copy((node, handle, offset), (to_node, to_handle, to_offset), length)?;
        reply.u32(u32::try_from(copied).unwrap_or(u32::MAX));
        reply.u32(0);
        Ok(())
    }

    pub(crate) fn opendir(&self, node: u64, reply: &mut Vec<u8>) -> Answer {
        reply.u64(self.tree.open_folder(node)?);
        let always = self.tree.options.cache == Cache::Always;
        reply.u32(if always { fopen::CACHE_DIR | fopen::KEEP_CACHE } else { 0 });
        reply.u32(0);
        Ok(())
    }

    /// READDIR: `fuse_dirent`s as many as fit; READDIRPLUS (`plus`): each with what a look-up would say.
    pub(crate) fn readdir(&self, node: u64, mut input: Input<'_>, reply: &mut Vec<u8>, plus: bool) -> Answer {
        let (handle, offset, size) = (input.u64()?, input.u64()?, input.u32()?);
        let room = HEADER_OUT + (size as usize).min(MOST);
        let folder = if plus { Some(self.tree.folder_of(node)?) } else { None };
        let before = reply.len();
        let result = self.tree.list((node, handle), offset, |entry| {
            let front = if plus { ENTRY_OUT } else { 0 };
            let padded = (DIRENT + entry.name.len()).next_multiple_of(8);
            if reply.len() + front + padded > room {
                return Ok(false);
            }
            if let Some(folder) = &folder {
                self.put_entry(node, folder, entry, reply);
            }
            let end = reply.len() + padded;
            reply.u64(entry.inode);
            reply.u64(entry.next);
            reply.u32(u32::try_from(entry.name.len()).unwrap_or(0));
            reply.u32(entry.kind_number().into());
            reply.bytes(&entry.name);
            reply.resize(end, 0);
            Ok(true)
        });
        // What has been listed counts; the error comes again with the next piece.
        if reply.len() > before { Ok(()) } else { result }
    }

    /// What a look-up would say; nothing (node 0, which does not count) for `.` and `..`, which Linux passes over, for what
    /// has gone meanwhile and for what is not shared.
    fn put_entry(&self, node: u64, folder: &rustix::fd::OwnedFd, entry: &Entry, reply: &mut Vec<u8>) {
        let look = || {
            let stat = self.tree.folder.look(folder, Name::new(&entry.name)?)?;
            Ok::<_, Errno>(Found { node: self.tree.nodes.enter(&stat, node, &entry.name)?, stat })
        };
        match look() {
            Ok(found) => self.entry_out(&found, reply),
            Err(_) => reply.bytes(&[0; ENTRY_OUT]),
        }
    }
}
