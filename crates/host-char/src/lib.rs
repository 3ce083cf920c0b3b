//! The host side of a console: terminal, pseudo-terminal, socket, pipe or nothing.
//!
//! A [`Console`] pumps bytes between a [`Port`] (what the user has) and a guest's serial line, which
//! it knows only as a [`Source`] that takes bytes and a [`Sink`] that has some. It knows no device and
//! no machine. Two threads do the work, so the guest never waits for the host:
//!
//! - the input thread reads, filters the escape keys and offers the bytes to the guest. What the guest
//!   has no room for waits here, and the thread sleeps until the guest's [`Bell`] rings;
//! - the output thread sleeps until the bell rings, then takes and writes until nothing is left.
//!
//! End of file on the input ends only the input.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bell;
mod console;
mod door;
mod escape;
mod port;
mod socket;
pub mod terminal;

pub use bell::Bell;
pub use console::{Console, OnCommand, OnLost};
pub use door::Door;
pub use escape::{Command, Escape, HELP, Key};
pub use port::{Backend, Port};
pub use socket::Socket;

use std::io;
use std::path::PathBuf;

/// What takes the user's bytes: the receiver of a guest's serial line.
pub trait Source: Send + Sync {
    /// Offers bytes; returns how many were taken, from the front. If not all were, the console's bell
    /// must ring once there is room again.
    fn offer(&self, bytes: &[u8]) -> usize;

    /// A break on the line.
    fn send_break(&self) {}

    /// Somebody came to the console, or went. Who is there from the start comes then; nobody ever comes to none.
    fn connected(&self, _there: bool) {}

    /// The console is a terminal of so many characters in a line and so many lines.
    fn resized(&self, _columns: u16, _rows: u16) {}
}

/// What has bytes for the user: the transmitter of a guest's serial line.
pub trait Sink: Send + Sync {
    /// Appends to `into` all that is there. The console's bell must ring when there is more.
    fn take(&self, into: &mut Vec<u8>);
}

/// A console that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No pseudo-terminal to be had.
    #[error("cannot open a pseudo-terminal for the console: {0}; is /dev/pts mounted?")]
    Pty(io::Error),
    /// The socket cannot be made.
    #[error("cannot make the socket {path}: {source}; choose a path in a directory you may write to")]
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel keeps a socket's path in 108 bytes, the last of them zero (unix(7)).
    #[error(
        "the socket's path {path} has {} bytes; choose one shorter than {} bytes",
        path.as_os_str().len(), socket::SOCKET_PATH
    )]
    LongPath {
        /// Where it was to be.
        path: PathBuf,
    },
    /// Somebody listens there already.
    #[error("the socket {path} is in use by another process; choose another path")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// There is a file that is no socket.
    #[error("{path} exists and is not a socket; choose another path for the socket")]
    NotSocket {
        /// Where.
        path: PathBuf,
    },
    /// Standard input or output cannot be used.
    #[error("cannot use standard input and output as the console: {0}; try --console none")]
    Stdio(io::Error),
    /// The host has no threads or file descriptors left.
    #[error("cannot start the console: {0}; the host is out of threads or file descriptors")]
    Resources(io::Error),
}
