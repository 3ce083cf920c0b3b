//! The host's side of a guest's socket device: Unix sockets at a path, as users of Firecracker and Cloud Hypervisor know them.
//!
//! Who connects to the socket at PATH and says `CONNECT PORT\n` is joined to that port of the guest's, and hears `OK PORT\n` when
//! the guest has taken the connection, with the port that they have on the host's side; else the connection is closed. The guest's
//! connections to port PORT of the host go to the socket at PATH_PORT, if its user allows connections out of the guest at all.
//!
//! What the device knows of all this are the traits [`Host`] and [`Stream`]: nothing here knows packets.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod caller;
mod unix;
#[cfg(test)]
mod unix_test;

pub use unix::UnixHost;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What kind of connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes.
    Stream,
    /// Messages, each of which comes whole.
    SeqPacket,
}

/// One end of a connection, which never blocks: [`io::ErrorKind::WouldBlock`] if nothing is there, or no room.
pub trait Stream: Send {
    /// Reads bytes, or a message; of one that is longer than `into`, the rest is lost, and the number says how long it was. 0: the
    /// other side sends no more.
    ///
    /// # Errors
    /// As the host has them.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes bytes, or a message, which is written whole or not at all.
    ///
    /// # Errors
    /// As the host has them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Nothing more will be written.
    fn close_writing(&mut self);

    /// To be waited for.
    fn descriptor(&self) -> Arc<OwnedFd>;
}

/// A connection from the host to a port of the guest's.
pub struct Call {
    /// The guest's port.
    pub port: u32,
    /// The caller's end.
    pub stream: Box<dyn Stream>,
}

/// Who is on the host.
pub trait Host: Send + Sync {
    /// The next of those who call the guest, if there is one.
    fn accept(&self) -> Option<Call>;

    /// What becomes readable when there may be somebody to accept. To be asked for again after each [`Host::accept`].
    fn descriptors(&self) -> Vec<Arc<OwnedFd>>;

    /// Connects to a port of the host's.
    ///
    /// # Errors
    /// If there is none, or the guest may not.
    fn connect(&self, port: u32, kind: Kind) -> io::Result<Box<dyn Stream>>;

    /// Those who were calling are nobody's: the guest begins anew.
    fn forget(&self);
}
