//! The virtual machine's side: starts the process that serves a folder, and talks to it.
//!
//! Both ends of a `SOCK_SEQPACKET` pair: a message is a token of eight bytes, which the sender chooses, and a request; the
//! answer is the same token and the reply, in whatever order replies come. Every request is answered once, also those that
//! have no reply in their protocol: by the token alone. Linux limits a message to the socket's send buffer, 212,992 bytes
//! less some by default (net.core.wmem_default), so that requests and replies of [`crate::MOST`] bytes of data fit.

use crate::fuse::{LONGEST_REPLY, LONGEST_REQUEST};
use crate::options::{Cache, Options};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support_hostmap::Pieces;

/// The hidden verb of the binary that serves: `PROGRAM VERB WORD…`, with the socket as standard input and the folder as
/// standard output.
pub const VERB: &str = "serve-folder";

/// The token of the message by which the process says that it has confined itself; no request may have it.
pub const READY: u64 = u64::MAX;

/// Bytes of a token.
pub const TOKEN: usize = 8;

/// How long the process may take to start.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end once nobody asks any more.
const END: Duration = Duration::from_secs(2);

/// What the folder's server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// FUSE, for virtio-fs.
    #[default]
    Fuse,
    /// 9P2000.L, for virtio-9p.
    Nine,
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Protocol::Fuse => "fuse",
            Protocol::Nine => "9p",
        }
    }
}

/// A folder that is to be shared.
#[derive(Debug, Clone)]
pub struct Share {
    /// The folder on the host.
    pub folder: PathBuf,
    /// What its server speaks.
    pub protocol: Protocol,
    /// How it is shared. Its limits are not used: the process takes what the host lets it have.
    pub options: Options,
}

/// A folder that cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It cannot be opened.
    #[error("cannot share {path}: {source}; name a folder that exists and that you may enter")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The process cannot be started.
    #[error("cannot start the process that serves a shared folder: {0}")]
    Start(io::Error),
    /// It has ended at once, with a message of its own.
    #[error("the process that serves {path} ended before it was ready ({status})")]
    Ended {
        /// The folder.
        path: PathBuf,
        /// How.
        status: String,
    },
}

impl Share {
    /// Starts a process of this same program that serves the folder, and waits until it is ready.
    ///
    /// # Errors
    /// If the folder cannot be opened or the process not be started, or if it fails to confine itself.
    pub fn spawn(&self) -> Result<ShareLink, ShareError> {
        self.spawn_program(Path::new("/proc/self/exe"))
    }

    /// As [`Share::spawn`], of another program that has the verb [`VERB`].
    ///
    /// # Errors
    /// As there.
    pub fn spawn_program(&self, program: &Path) -> Result<ShareLink, ShareError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &self.folder, flags, Mode::empty())
            .map_err(|errno| ShareError::Folder { path: self.folder.clone(), source: errno.into() })?;
        let (ours, theirs) = pair().map_err(|errno| ShareError::Start(errno.into()))?;
        let child = Command::new(program)
            .arg(VERB)
            .args(words(self.protocol, &self.options))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(folder))
            // Keys typed at the terminal are for the guest or for the virtual machine.
            .process_group(0)
            .spawn()
            .map_err(ShareError::Start)?;
        let mut link = ShareLink {
            socket: Arc::new(ours),
            child,
            landlock: None,
            protocol: self.protocol,
            next: AtomicU64::new(0),
        };
        link.await_ready(&self.folder)?;
        Ok(link)
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (one, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for end in [&one, &other] {
        // As much as the host allows; the default will do.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, 1 << 20);
    }
    Ok((one, other))
}

/// The verb's arguments.
fn words(protocol: Protocol, options: &Options) -> Vec<String> {
    let access = if options.read_only { "ro" } else { "rw" };
    let owner = options.owner;
    [protocol.word(), access, options.cache.word(), &owner.uid.to_string(), &owner.gid.to_string()]
        .map(str::to_owned)
        .into()
}

/// The protocol and options that the verb's arguments say; none if they were not made by [`Share::spawn`].
pub fn of_words(words: &[String]) -> Option<(Protocol, Options)> {
    let [protocol, access, cache, uid, gid] = words else { return None };
    let protocol = [Protocol::Fuse, Protocol::Nine].into_iter().find(|p| p.word() == protocol)?;
    let read_only = match access.as_str() {
        "ro" => true,
        "rw" => false,
        _ => return None,
    };
    let owner = crate::Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? };
    Some((protocol, Options { read_only, cache: Cache::of_word(cache)?, owner, ..Options::default() }))
}

/// The connection to the process that serves a folder. Dropping it ends the process.
#[derive(Debug)]
pub struct ShareLink {
    socket: Arc<OwnedFd>,
    child: Child,
    landlock: Option<u32>,
    protocol: Protocol,
    next: AtomicU64,
}

impl ShareLink {
    /// A token that no request of this link had yet.
    pub fn token(&self) -> u64 {
        // In 500 years of a request a nanosecond it comes to `READY`.
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// What the process speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sends a request of at most [`LONGEST_REQUEST`] bytes. Does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if the process has enough to do: wait until the descriptor can be written, but go on receiving. Any
    /// other: it has ended.
    pub fn send(&self, token: u64, request: &[u8]) -> io::Result<()> {
        within(request.len())?;
        let token = token.to_le_bytes();
        let pieces = [IoSlice::new(&token), IoSlice::new(request)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(&self.socket, &pieces, &mut SendAncillaryBuffer::default(), flags)?;
        Ok(())
    }

    /// As [`ShareLink::send`], of a request that lies in a mapping, guest memory for one: the kernel takes it from there.
    ///
    /// # Errors
    /// As there; `InvalidInput` if it is too long or in more than 1023 ranges.
    pub fn send_mapped(&self, token: u64, request: &Pieces) -> io::Result<()> {
        within(request.len())?;
        match support_hostmap::send_message(&*self.socket, &token.to_le_bytes(), request) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Receives a reply: its bytes into `reply`, whose contents are replaced, and returns its token. None if there is none
    /// yet. Does not wait.
    ///
    /// # Errors
    /// `UnexpectedEof` if the process has ended.
    pub fn receive(&self, reply: &mut Vec<u8>) -> io::Result<Option<u64>> {
        reply.resize(LONGEST_REPLY, 0);
        let received = self.receive_into(reply)?;
        reply.truncate(received.map_or(0, |(_, length)| length));
        Ok(received.map(|(token, _)| token))
    }

    /// As [`ShareLink::receive`], into a buffer of at least [`LONGEST_REPLY`] bytes that is left as it is behind the reply;
    /// returns the reply's length, too.
    ///
    /// # Errors
    /// As there; of a shorter buffer, `EPROTO` if the reply was longer.
    pub fn receive_into(&self, reply: &mut [u8]) -> io::Result<Option<(u64, usize)>> {
        match receive(self.socket.as_fd(), reply, RecvFlags::DONTWAIT) {
            Ok(Some(received)) => Ok(Some(received)),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits so long at most until there is a reply, or, if `room` is wanted, room for a request, or the process has ended.
    /// May return early.
    pub fn wait(&self, room: bool, longest: Duration) {
        let flags = if room { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let longest =
            Timespec { tv_sec: longest.as_secs().cast_signed(), tv_nsec: longest.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&self.socket, flags)], Some(&longest));
    }

    /// The version of Landlock by which the process is confined; none if the host has none.
    pub fn landlock(&self) -> Option<u32> {
        self.landlock
    }

    /// The process's number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// To be polled, as by [`AsFd`]; the link hangs up when it is dropped, whoever has this still.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    fn await_ready(&mut self, path: &Path) -> Result<(), ShareError> {
        let mut version = [0; 4];
        let socket = self.socket.as_fd();
        if readable_within(socket, START)
            && let Ok(Some((READY, 4))) = receive(socket, &mut version, RecvFlags::DONTWAIT)
        {
            self.landlock = Some(u32::from_le_bytes(version)).filter(|v| *v > 0);
            return Ok(());
        }
        self.end();
        let status = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "it had to be stopped".to_owned(),
        };
        Err(ShareError::Ended { path: path.to_owned(), status })
    }

    /// Hangs up, upon which the process ends; makes sure of that.
    fn end(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        let asked = Instant::now();
        while asked.elapsed() < END {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ShareLink {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsFd for ShareLink {
    /// To be polled: readable when there is a reply or the process has ended, writable when there is room for a request.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Refuses a request that is longer than the process takes.
fn within(length: usize) -> io::Result<()> {
    if length > LONGEST_REQUEST { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
}

/// Waits until there is something to receive; false if there is not in that time.
fn readable_within(socket: BorrowedFd<'_>, patience: Duration) -> bool {
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&left)) {
            // A signal is not the end of it.
            Err(Errno::INTR) => {}
            ready => return ready.is_ok_and(|n| n > 0),
        }
    }
}

/// Receives a message: its token, and how many bytes are in `rest`. None if the other side has hung up. What is too long
/// or too short for a message is `EPROTO`.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    rest: &mut [u8],
    flags: RecvFlags,
) -> Result<Option<(u64, usize)>, Errno> {
    let mut token = [0; TOKEN];
    let mut pieces = [IoSliceMut::new(&mut token), IoSliceMut::new(rest)];
    let received = rustix::net::recvmsg(socket, &mut pieces, &mut RecvAncillaryBuffer::default(), flags)?;
    match received.bytes {
        0 => Ok(None),
        _ if received.flags.contains(ReturnFlags::TRUNC) => Err(Errno::PROTO),
        bytes => {
            let length = bytes.checked_sub(TOKEN).ok_or(Errno::PROTO)?;
            Ok(Some((u64::from_le_bytes(token), length)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn arguments_say_what_they_were_made_of() {
        let owner = Owner { uid: 1000, gid: 100 };
        for cache in [Cache::Auto, Cache::Always, Cache::None] {
            for read_only in [false, true] {
                let options = Options { read_only, cache, owner, ..Options::default() };
                for protocol in [Protocol::Fuse, Protocol::Nine] {
                    assert_eq!(of_words(&words(protocol, &options)), Some((protocol, options)));
                }
            }
        }
        assert_eq!(of_words(&["fuse".to_owned(), "rx".to_owned()]), None);
    }

    #[test]
    fn the_longest_messages_fit_into_a_socket() {
        let (one, other) = pair().unwrap();
        let longest = vec![7; LONGEST_REQUEST.max(LONGEST_REPLY) + TOKEN];
        rustix::net::send(&one, &longest, SendFlags::DONTWAIT).unwrap();
        let mut buffer = vec![0; longest.len()];
        let received = receive(other.as_fd(), &mut buffer, RecvFlags::empty());
        assert_eq!(received, Ok(Some((0x0707_0707_0707_0707, longest.len() - TOKEN))));
        // With the default, too, which is what a host may limit it to.
        rustix::net::sockopt::set_socket_send_buffer_size(&one, 212_992 / 2).unwrap();
        rustix::net::send(&one, &longest, SendFlags::DONTWAIT).unwrap();
        let too_short = receive(other.as_fd(), &mut buffer[..100], RecvFlags::empty());
        assert_eq!(too_short, Err(Errno::PROTO));
    }

    #[test]
    fn a_signal_does_not_end_the_wait() {
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(libc::SIGUSR1, Arc::clone(&came)).unwrap();
        let (one, other) = pair().unwrap();
        // Of a process's threads, Linux prefers the one by whose number the signal is sent.
        let waiting = rustix::thread::gettid();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                rustix::process::kill_process(waiting, rustix::process::Signal::USR1).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                rustix::net::send(&one, b"ready", SendFlags::empty()).unwrap();
            });
            assert!(readable_within(other.as_fd(), Duration::from_secs(20)));
        });
        assert!(came.load(Ordering::Relaxed));
        assert!(!readable_within(one.as_fd(), Duration::from_millis(10)), "nothing comes");
    }

    #[test]
    fn a_folder_that_is_none_is_said_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let share =
            Share { folder: file.path().into(), protocol: Protocol::Fuse, options: Options::default() };
        let error = share.spawn_program(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("Not a directory") && error.contains("name a folder"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_serve_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let share =
            Share { folder: folder.path().into(), protocol: Protocol::Fuse, options: Options::default() };
        let error = share.spawn_program(Path::new("/bin/false")).unwrap_err().to_string();
        assert!(error.contains("ended before it was ready") && error.contains("exit status: 1"), "{error}");
    }
}
