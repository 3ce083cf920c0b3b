//! Extended attributes: those of users (`user.*`), on regular files and folders. The others belong to the host's kernel,
//! its security modules and its administrator (xattr(7)).

use crate::folder::own_path;
use crate::tree::Tree;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, XattrFlags};
use rustix::io::Errno;
use std::sync::Arc;

/// The longest name (limits.h, `XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;
/// The longest value, and the longest list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
pub const SIZE_MAX: usize = 65_536;

const PREFIX: &[u8] = b"user.";

fn allowed(name: &[u8]) -> Result<&[u8], Errno> {
    match name.strip_prefix(PREFIX) {
        None => Err(Errno::OPNOTSUPP),
        Some(b"") => Err(Errno::INVAL),
        Some(_) if name.len() > NAME_MAX => Err(Errno::RANGE),
        Some(_) => Ok(name),
    }
}

impl Tree {
    /// The node's descriptor, if it is of a kind that has attributes.
    fn with_attributes(&self, node: u64, otherwise: Errno) -> Result<Arc<OwnedFd>, Errno> {
        match self.nodes.kind(node)? {
            FileType::RegularFile | FileType::Directory => self.nodes.descriptor(&self.folder, node),
            _ => Err(otherwise),
        }
    }

    /// An attribute's value.
    ///
    /// # Errors
    /// `ENODATA` if there is none, `EOPNOTSUPP` if it is not a user's; what the host says.
    pub fn attribute(&self, node: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let name = allowed(name)?;
        let file = self.with_attributes(node, Errno::NODATA)?;
        let mut value = Vec::with_capacity(SIZE_MAX);
        rustix::fs::getxattr(own_path(&file), name, rustix::buffer::spare_capacity(&mut value))?;
        Ok(value)
    }

    /// The names of all attributes, each with a zero byte behind it.
    ///
    /// # Errors
    /// What the host says.
    pub fn attribute_names(&self, node: u64) -> Result<Vec<u8>, Errno> {
        let file = match self.with_attributes(node, Errno::NODATA) {
            Err(Errno::NODATA) => return Ok(Vec::new()),
            file => file?,
        };
        let mut names = Vec::with_capacity(SIZE_MAX);
        rustix::fs::listxattr(own_path(&file), rustix::buffer::spare_capacity(&mut names))?;
        let users = names.split_inclusive(|b| *b == 0).filter(|name| name.starts_with(PREFIX));
        Ok(users.flatten().copied().collect())
    }

    /// Sets an attribute: only a new one (`create`), only one that is there (`replace`), or either.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if it is not a user's, `EPERM` on files that have none, `EROFS`; what the host says.
    pub fn set_attribute(
        &self,
        node: u64,
        name: &[u8],
        value: &[u8],
        (create, replace): (bool, bool),
    ) -> Result<(), Errno> {
        self.writable()?;
        let name = allowed(name)?;
        let file = self.with_attributes(node, Errno::PERM)?;
        let mut flags = XattrFlags::empty();
        flags.set(XattrFlags::CREATE, create);
        flags.set(XattrFlags::REPLACE, replace);
        rustix::fs::setxattr(own_path(&file), name, value, flags)
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// As for setting one; `ENODATA` if there is none.
    pub fn remove_attribute(&self, node: u64, name: &[u8]) -> Result<(), Errno> {
        self.writable()?;
        let name = allowed(name)?;
        let file = self.with_attributes(node, Errno::PERM)?;
        rustix::fs::removexattr(own_path(&file), name)
    }
}
