//! The tree of names: looking up, making, linking, moving and removing. What the protocols' servers have in common is this
//! and what is in [`crate::attributes`], [`crate::files`] and [`crate::xattrs`].

use crate::attributes::{Ids, LENDING};
use crate::folder::Folder;
use crate::handles::Handles;
use crate::name::Name;
use crate::nodes::{Nodes, ROOT};
use crate::options::Options;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, RenameFlags, Statx};
use rustix::io::Errno;
use std::sync::Arc;

/// A shared folder, and what one guest knows of it and has open in it.
#[derive(Debug)]
pub struct Tree {
    pub(crate) folder: Folder,
    pub(crate) nodes: Nodes,
    pub(crate) handles: Handles,
    pub(crate) ids: Ids,
    pub(crate) options: Options,
}

/// How much a guest has the server remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Files and folders known, the shared folder among them.
    pub nodes: usize,
    /// Of these have a descriptor, the shared folder aside.
    pub descriptors: usize,
    /// Files and folders open.
    pub open: usize,
}

/// An entry that the guest has been told of; it counts as looked up once more.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub node: u64,
    /// What it is.
    pub stat: Statx,
}

impl Tree {
    /// Shares the folder that `root` is a descriptor of.
    ///
    /// # Errors
    /// What the host says of the folder.
    pub fn new(root: OwnedFd, options: Options) -> Result<Self, Errno> {
        let folder = Folder::new(root)?;
        let nodes = Nodes::new(&folder, options.limits)?;
        let ids = Ids::new(options.owner, &folder.look_at(folder.root())?);
        Ok(Tree { folder, nodes, handles: Handles::new(options.limits.open), ids, options })
    }

    /// Forgets all that the guest knew and had open.
    pub fn clear(&self) {
        self.handles.clear();
        self.nodes.clear();
    }

    /// How much the guest has the server remember.
    pub fn counts(&self) -> Counts {
        let (nodes, descriptors) = (self.nodes.known(), self.nodes.descriptors());
        Counts { nodes, descriptors, open: self.handles.open() }
    }

    /// Whether the guest may change anything.
    ///
    /// # Errors
    /// `EROFS`.
    pub fn writable(&self) -> Result<(), Errno> {
        if self.options.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// The descriptor of a folder.
    pub(crate) fn folder_of(&self, node: u64) -> Result<Arc<OwnedFd>, Errno> {
        match self.nodes.kind(node)? {
            FileType::Directory => self.nodes.descriptor(&self.folder, node),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The entry of that name. `.` is the folder itself, and `..` where it was found: the shared folder is its own.
    ///
    /// # Errors
    /// `ENOENT` and what else [`Name::new`] and the host say.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Found, Errno> {
        let known = match name {
            b"." => parent,
            b".." => self.nodes.parent(parent)?,
            _ => {
                let folder = self.folder_of(parent)?;
                let stat = self.folder.look(&folder, Name::new(name)?)?;
                return Ok(Found { node: self.nodes.enter(&stat, parent, name)?, stat });
            }
        };
        let stat = self.status(known)?;
        self.nodes.again(known)?;
        Ok(Found { node: known, stat })
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// `EROFS`; what the host says.
    pub fn make_folder(&self, parent: u64, name: &[u8], mode: u32) -> Result<Found, Errno> {
        self.writable()?;
        let folder = self.folder_of(parent)?;
        rustix::fs::mkdirat(&folder, Name::new(name)?.bytes(), Mode::from_raw_mode(mode & 0o1777))?;
        self.lookup(parent, name)
    }

    /// Makes a regular file, a fifo or a socket, without opening it.
    ///
    /// # Errors
    /// `EPERM` for device nodes and for modes that lend rights, `EROFS`; what the host says.
    pub fn make_node(&self, parent: u64, name: &[u8], mode: u32) -> Result<Found, Errno> {
        self.writable()?;
        let kind = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => FileType::RegularFile,
            FileType::Unknown if mode & 0o170_000 == 0 => FileType::RegularFile,
            kind @ (FileType::Fifo | FileType::Socket) => kind,
            // Linux may allow it: of devices, overlayfs's whiteout (0, 0) needs no rights.
            FileType::CharacterDevice | FileType::BlockDevice => return Err(Errno::PERM),
            _ => return Err(Errno::INVAL),
        };
        let mode = permissions(mode)?;
        let folder = self.folder_of(parent)?;
        rustix::fs::mknodat(&folder, Name::new(name)?.bytes(), kind, mode, 0)?;
        self.lookup(parent, name)
    }

    /// Makes a symbolic link. Whatever it says: only the guest will follow it.
    ///
    /// # Errors
    /// `EROFS`; what the host says.
    pub fn make_symlink(&self, parent: u64, name: &[u8], target: &[u8]) -> Result<Found, Errno> {
        self.writable()?;
        let folder = self.folder_of(parent)?;
        rustix::fs::symlinkat(target, &folder, Name::new(name)?.bytes())?;
        self.lookup(parent, name)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// `EROFS`; what the host says: `EPERM` for a folder.
    pub fn link(&self, node: u64, parent: u64, name: &[u8]) -> Result<Found, Errno> {
        self.writable()?;
        if self.nodes.kind(node)? == FileType::Directory {
            return Err(Errno::PERM);
        }
        let file = self.nodes.descriptor(&self.folder, node)?;
        let folder = self.folder_of(parent)?;
        let name = Name::new(name)?;
        self.folder.by_path(&file, |at, path| {
            rustix::fs::linkat(at, path, &folder, name.bytes(), AtFlags::SYMLINK_FOLLOW)
        })?;
        self.lookup(parent, name.bytes())
    }

    /// Removes a name: a folder's if `is_folder`, else one of anything else. The file stays reachable for a guest that
    /// knows it, until it forgets it.
    ///
    /// # Errors
    /// `EROFS`; what the host says.
    pub fn remove(&self, parent: u64, name: &[u8], is_folder: bool) -> Result<(), Errno> {
        self.writable()?;
        let folder = self.folder_of(parent)?;
        let name = Name::new(name)?;
        let stat = self.folder.look(&folder, name)?;
        let pinned = self.nodes.pin(&self.folder, &stat);
        let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let removed = rustix::fs::unlinkat(&folder, name.bytes(), flags);
        removed.inspect_err(|_| pinned.into_iter().for_each(|number| self.nodes.unpin(number)))
    }

    /// Moves an entry; what had the new name is removed, refused (`NOREPLACE`) or gets the old name (`EXCHANGE`).
    ///
    /// # Errors
    /// `EROFS`, `EINVAL` for flags that are not served; what the host says.
    pub fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), flags: RenameFlags) -> Result<(), Errno> {
        self.writable()?;
        if !(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE).contains(flags) {
            return Err(Errno::INVAL);
        }
        let (old, new) = (Name::new(from.1)?, Name::new(to.1)?);
        let (old_folder, new_folder) = (self.folder_of(from.0)?, self.folder_of(to.0)?);
        let pinned = match self.folder.look(&new_folder, new) {
            _ if !flags.is_empty() => None,
            Ok(stat) => self.nodes.pin(&self.folder, &stat),
            Err(Errno::NOENT) => None,
            Err(other) => return Err(other),
        };
        let moved = rustix::fs::renameat_with(&old_folder, old.bytes(), &new_folder, new.bytes(), flags);
        moved.inspect_err(|_| pinned.into_iter().for_each(|number| self.nodes.unpin(number)))?;
        if let Ok(stat) = self.folder.look(&new_folder, new) {
            self.nodes.moved(&stat, to.0, to.1);
        }
        if flags.contains(RenameFlags::EXCHANGE)
            && let Ok(stat) = self.folder.look(&old_folder, old)
        {
            self.nodes.moved(&stat, from.0, from.1);
        }
        Ok(())
    }

    /// What a symbolic link says.
    ///
    /// # Errors
    /// `EINVAL` if it is none.
    pub fn read_link(&self, node: u64) -> Result<Vec<u8>, Errno> {
        match self.nodes.kind(node)? {
            FileType::Symlink => {}
            _ => return Err(Errno::INVAL),
        }
        let link = self.nodes.descriptor(&self.folder, node)?;
        Ok(rustix::fs::readlinkat(&link, c"", Vec::new())?.into_bytes())
    }

    /// The node of the shared folder itself.
    pub fn root(&self) -> u64 {
        ROOT
    }
}

/// The permission bits with which a file that is not a folder may be made.
pub(crate) fn permissions(mode: u32) -> Result<Mode, Errno> {
    match mode & LENDING {
        0 => Ok(Mode::from_raw_mode(mode & 0o1777)),
        _ => Err(Errno::PERM),
    }
}
