//! The VMM's side of a user network: starts its process, and is a [`NetPort`].

use crate::config::Config;
use crate::frame::LONGEST_FRAME;
use crate::message;
use crate::port::{NetPort, Offloads, SendError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
    recv, recvmsg, sendmsg, socketpair, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use support_hostmap::{Pieces, receive_message, send_message};

/// The hidden verb of the binary that runs the other side; its argument is the configuration's text, its standard input
/// the socket.
pub const VERB: &str = "serve-network";
/// How long the process may take to set itself up.
const START: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// Bytes that may be on their way in each direction, if the host allows so many.
const BUFFER: usize = 4 << 20;
/// Messages that are no frames, of which an honest network sends none, before a reader gets a rest.
const MOST_OTHERS: usize = 64;

/// A user network that was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No socket pair.
    #[error("cannot make a socket for the user network: {0}")]
    Socket(Errno),
    /// No process.
    #[error("cannot start the user network's process: {0}")]
    Process(std::io::Error),
    /// The process has said why it cannot.
    #[error("{0}")]
    Refused(String),
    /// The process ended, or said nothing.
    #[error("the user network's process did not start; what it said stands above")]
    Silent,
}

/// Both ends of a new connection between a VMM and its user network: the VMM's first.
///
/// # Errors
/// If the host has none.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for end in [&ours, &theirs] {
        // The host gives what it allows.
        let _ = sockopt::set_socket_send_buffer_size(end, BUFFER);
    }
    Ok((ours, theirs))
}

/// A running user network.
#[derive(Debug)]
pub struct UserNet {
    socket: OwnedFd,
    child: Option<Child>,
    published: Vec<SocketAddr>,
    mtu: u16,
    down: AtomicBool,
}

impl UserNet {
    /// Starts a user network in a process of its own: this binary again, with [`VERB`].
    ///
    /// # Errors
    /// If it cannot be started, or says that it cannot do what the configuration asks for.
    pub fn spawn(config: &Config) -> Result<UserNet, SpawnError> {
        UserNet::spawn_from(Path::new("/proc/self/exe"), config)
    }

    /// The same with another binary that knows [`VERB`].
    ///
    /// # Errors
    /// As for [`UserNet::spawn`].
    pub fn spawn_from(program: &Path, config: &Config) -> Result<UserNet, SpawnError> {
        let (ours, theirs) = pair().map_err(SpawnError::Socket)?;
        let child = Command::new(program)
            .arg(VERB)
            .arg(config.to_string())
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // The terminal's signals are for the VMM, which ends its network when it ends.
            .process_group(0)
            .spawn()
            .map_err(SpawnError::Process)?;
        let mut port = UserNet::new(ours, config.mtu);
        port.child = Some(child);
        port.wait_until_ready()?;
        Ok(port)
    }

    /// A port at this end of a [`pair`], whose other end somebody serves.
    pub fn new(socket: OwnedFd, mtu: u16) -> UserNet {
        UserNet { socket, child: None, published: Vec::new(), mtu, down: AtomicBool::new(false) }
    }

    /// Waits for the other side's first message.
    ///
    /// # Errors
    /// If there is none, or it says that the network cannot be.
    pub fn wait_until_ready(&mut self) -> Result<(), SpawnError> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        if !matches!(retry_on_intr(|| poll(&mut fds, Some(&START))), Ok(1)) {
            return Err(SpawnError::Silent);
        }
        let mut bytes = vec![0; 65_536];
        let (_, length) =
            recv(&self.socket, &mut *bytes, RecvFlags::DONTWAIT).map_err(|_| SpawnError::Silent)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match message::split(bytes.get(..length).unwrap_or_default()) {
            Some((message::READY, addresses)) => {
                self.published = text(addresses).lines().filter_map(|line| line.parse().ok()).collect();
                Ok(())
            }
            Some((message::FAILED, why)) => Err(SpawnError::Refused(text(why))),
            _ => Err(SpawnError::Silent),
        }
    }

    /// Where the host listens for each published port, in the order of the configuration.
    pub fn published(&self) -> &[SocketAddr] {
        &self.published
    }

    /// The process's number, if it was started by [`UserNet::spawn`].
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Tells the network that the host's `/etc/resolv.conf` has changed to `text`: it opens no file itself. A
    /// configuration that names name servers keeps those.
    ///
    /// # Errors
    /// If the network did not hear it.
    pub fn set_resolvers(&self, text: &str) -> Result<(), SendError> {
        // More than any resolver reads, and less than a message holds.
        let text = text.as_bytes();
        self.transmit(message::RESOLVERS, text.get(..text.len().min(16_384)).unwrap_or_default())
    }

    fn transmit(&self, kind: u32, bytes: &[u8]) -> Result<(), SendError> {
        let word = kind.to_le_bytes();
        let parts = [IoSlice::new(&word), IoSlice::new(bytes)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.sent(sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags))
    }

    /// Takes messages by `take`, which puts the first word where it is told, until one is a frame; how many bytes that has.
    fn next_frame(&self, mut take: impl FnMut(&mut [u8; 4]) -> Result<usize, Errno>) -> Option<usize> {
        for _ in 0..MOST_OTHERS {
            let mut word = [0; 4];
            match take(&mut word) {
                Ok(0) => {
                    self.down.store(true, Ordering::Relaxed);
                    return None;
                }
                Ok(bytes) if u32::from_le_bytes(word) == message::FRAME => return bytes.checked_sub(4),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => {
                    self.down.store(true, Ordering::Relaxed);
                    return None;
                }
            }
        }
        None
    }

    /// What has become of a message.
    fn sent(&self, result: Result<usize, Errno>) -> Result<(), SendError> {
        match result {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Err(SendError::Full),
            // A frame longer than any is not one.
            Err(Errno::MSGSIZE) => Ok(()),
            Err(_) => {
                self.down.store(true, Ordering::Relaxed);
                Err(SendError::Down)
            }
        }
    }
}

/// Of an error that is the kernel's.
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl NetPort for UserNet {
    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        if frame.len() > LONGEST_FRAME {
            return Ok(());
        }
        self.transmit(message::FRAME, frame)
    }

    fn send_from(&self, frame: &Pieces) -> Result<(), SendError> {
        if frame.len() > LONGEST_FRAME {
            return Ok(());
        }
        let sent = send_message(&self.socket, &message::FRAME.to_le_bytes(), frame);
        self.sent(sent.map_err(errno))
    }

    fn receive(&self, into: &mut [u8]) -> Option<usize> {
        self.next_frame(|word| {
            let mut parts = [IoSliceMut::new(word), IoSliceMut::new(&mut *into)];
            let flags = RecvFlags::DONTWAIT;
            recvmsg(&self.socket, &mut parts, &mut RecvAncillaryBuffer::default(), flags)
                .map(|message| message.bytes)
        })
    }

    fn receive_into(&self, into: &Pieces) -> Option<usize> {
        self.next_frame(|word| receive_message(&self.socket, word, into).map_err(errno))
    }

    fn supports(&self) -> Offloads {
        Offloads::ALL
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn set_offloads(&self, offloads: Offloads) {
        let word = offloads.bits().to_le_bytes();
        // The socket may be full of frames; this one message is worth waiting for.
        while self.transmit(message::OFFLOADS, &word) == Err(SendError::Full) {
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            if retry_on_intr(|| poll(&mut fds, Some(&START))).unwrap_or(0) == 0 {
                break;
            }
        }
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn is_up(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }
}

impl Drop for UserNet {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It keeps nothing that could be lost; what its sockets still have to send, the kernel sends.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_frame_keeps_nobody_for_long() {
        let (ours, theirs) = pair().unwrap();
        let (port, network) = (UserNet::new(ours, 1500), UserNet::new(theirs, 1500));
        for _ in 0..MOST_OTHERS {
            network.transmit(message::READY, b"x").unwrap();
        }
        network.send(b"frame").unwrap();
        let mut bytes = [0; 16];
        assert_eq!(port.receive(&mut bytes), None);
        assert!(port.is_up());
        assert_eq!(port.receive(&mut bytes), Some(5));
        assert_eq!(&bytes[..5], b"frame");
    }
}
