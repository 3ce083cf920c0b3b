//! Sockets that are made at a path: for their owner only, and gone at the end.

use crate::OpenError;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes of a socket's path with the zero at its end: `sun_path` of `sockaddr_un`.
pub(crate) const SOCKET_PATH: usize = 108;

/// A socket that was made, by its name and by what tells it from others that come to have that name. Dropped, it is
/// removed, unless something else is there by then.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Listens at `path`, without blocking whoever accepts. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn listen(path: &Path) -> Result<(UnixListener, Socket), OpenError> {
        if path.as_os_str().len() >= SOCKET_PATH {
            return Err(OpenError::LongPath { path: path.to_owned() });
        }
        let socket = |source| OpenError::Socket { path: path.to_owned(), source };
        let listener = match UnixListener::bind(path) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                let is_socket = std::fs::symlink_metadata(path).map_err(socket)?.file_type().is_socket();
                if !is_socket {
                    return Err(OpenError::NotSocket { path: path.to_owned() });
                }
                if UnixStream::connect(path).is_ok() {
                    return Err(OpenError::InUse { path: path.to_owned() });
                }
                // Left behind by a process that is no more.
                std::fs::remove_file(path).map_err(socket)?;
                UnixListener::bind(path)
            }
            other => other,
        }
        .map_err(socket)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(socket)?;
        listener.set_nonblocking(true).map_err(socket)?;
        let inode = inode(path).map_err(socket)?;
        Ok((listener, Socket { path: path.to_owned(), inode }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for Socket {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
