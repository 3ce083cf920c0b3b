//! Ports: what a console's user has in hand, and who is connected to it now.

use crate::OpenError;
use crate::bell::{Event, wait};
use crate::door::Door;
use crate::socket::Socket;
use crate::terminal::{self, RawMode};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a pseudo-terminal that nobody has open is looked at: the kernel tells when it is closed,
/// but not when it is opened.
const PTY_LOOK: Duration = Duration::from_millis(100);

/// Newest output that is kept for who connects next.
pub(crate) const KEPT: usize = 64 * 1024;

/// What a console is to be joined to.
#[derive(Debug)]
pub enum Backend {
    /// Nobody: output is thrown away, input never comes.
    None,
    /// Standard input and output; a terminal is put into raw mode.
    Stdio,
    /// A new pseudo-terminal; see [`Port::path`].
    Pty,
    /// A socket at this path that one client at a time can connect to.
    Unix(PathBuf),
    /// Whoever comes through this door.
    Door(Door),
    /// Open files.
    Files {
        /// Where input comes from.
        input: OwnedFd,
        /// Where output goes.
        output: OwnedFd,
    },
}

#[derive(Debug)]
enum Kind {
    /// Input and output as they were given; once ended they stay ended.
    Files,
    Pty(Arc<OwnedFd>),
    Unix(UnixListener),
    Door(Door),
}

/// The input side's view of who is there.
#[derive(Debug)]
enum Line {
    /// Nobody, ever again.
    Ended,
    /// Nobody at the moment.
    Waiting,
    /// Somebody; `reading` until they have sent end of file.
    Connected { fd: Arc<OwnedFd>, reading: bool },
}

/// What [`Port::wait`] has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// The event was rung, or nothing at all.
    Nothing,
    /// That many bytes were read.
    Bytes(usize),
    /// Somebody came: write to this.
    Connected(Arc<OwnedFd>),
    /// They went.
    Disconnected,
}

/// An open backend.
#[derive(Debug)]
pub struct Port {
    kind: Kind,
    line: Line,
    output: Option<Arc<OwnedFd>>,
    path: Option<PathBuf>,
    socket: Option<Socket>,
    terminal: bool,
    raw: Option<RawMode>,
    kept: usize,
}

impl Port {
    /// Opens `backend`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(backend: Backend) -> Result<Self, OpenError> {
        match backend {
            Backend::None => Ok(Port::new(Kind::Files, Line::Ended)),
            Backend::Files { input, output } => Ok(Port::files(input, output)),
            Backend::Stdio => Port::stdio().map_err(OpenError::Stdio),
            Backend::Pty => Port::pty().map_err(OpenError::Pty),
            Backend::Unix(path) => Port::unix(path),
            Backend::Door(door) => Ok(Port::new(Kind::Door(door), Line::Waiting)),
        }
    }

    fn new(kind: Kind, line: Line) -> Self {
        Port { kind, line, output: None, path: None, socket: None, terminal: false, raw: None, kept: KEPT }
    }

    fn files(input: OwnedFd, output: OwnedFd) -> Self {
        let terminal = rustix::termios::isatty(&input);
        let line = Line::Connected { fd: Arc::new(input), reading: true };
        Port { output: Some(Arc::new(output)), terminal, ..Port::new(Kind::Files, line) }
    }

    fn stdio() -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        let raw = RawMode::enter(&input)?;
        Ok(Port { raw, ..Port::files(input, output) })
    }

    fn pty() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname(&master, Vec::new())?.to_string_lossy().into_owned());
        // The modes outlive this descriptor; closing it makes "nobody has it open" visible.
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        let mut modes = tcgetattr(&slave)?;
        modes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        drop(slave);
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        Ok(Port { path: Some(path), ..Port::new(Kind::Pty(Arc::new(master)), Line::Waiting) })
    }

    fn unix(path: PathBuf) -> Result<Self, OpenError> {
        let (listener, made) = Socket::listen(&path)?;
        let port = Port::new(Kind::Unix(listener), Line::Waiting);
        Ok(Port { path: Some(path), socket: Some(made), ..port })
    }

    /// The same that keeps no output for who connects next: for a stream that begins with its reader.
    pub fn keeping_nothing(self) -> Self {
        Port { kept: 0, ..self }
    }

    /// Newest output that is kept for who connects next.
    pub(crate) fn kept(&self) -> usize {
        if self.reconnects() { self.kept } else { 0 }
    }

    /// Who is there.
    pub(crate) fn connected(&self) -> Option<&Arc<OwnedFd>> {
        match &self.line {
            Line::Connected { fd, .. } => Some(fd),
            Line::Ended | Line::Waiting => None,
        }
    }

    /// Where to connect: the pseudo-terminal's device or the socket.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether input comes from a terminal, where escape keys make sense.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Where output goes, to begin with.
    pub(crate) fn output(&self) -> Option<Arc<OwnedFd>> {
        self.output.clone()
    }

    /// Whether somebody may come later.
    pub(crate) fn reconnects(&self) -> bool {
        !matches!(self.kind, Kind::Files)
    }

    /// Whether who does not read their output in time loses it, rather than that the guest waits for them.
    pub(crate) fn lossy(&self) -> bool {
        matches!(self.kind, Kind::Door(_))
    }

    /// What must be done when the console is closed: the terminal's modes, the socket's name.
    pub(crate) fn take_cleanup(&mut self) -> Cleanup {
        Cleanup { _raw: self.raw.take(), _socket: self.socket.take() }
    }

    /// Sleeps until `event` is rung or something happens on the line. Reads into `buffer` only if
    /// there is `room`.
    pub(crate) fn wait(&mut self, event: &Event, room: bool, buffer: &mut [u8]) -> News {
        let file = match (&self.line, &self.kind) {
            (Line::Connected { fd, reading: true }, _) if room => Some((fd.as_fd(), PollFlags::IN)),
            // Who has typed more than there is room for may go all the same, and the next one come.
            (Line::Connected { fd, reading: true }, Kind::Door(_)) => Some((fd.as_fd(), PollFlags::empty())),
            (Line::Connected { fd, reading: false }, _) => Some((fd.as_fd(), PollFlags::empty())),
            (Line::Waiting, Kind::Unix(listener)) => Some((listener.as_fd(), PollFlags::IN)),
            (Line::Waiting, Kind::Door(door)) => Some((door.0.event.fd(), PollFlags::IN)),
            _ => None,
        };
        let look = matches!((&self.line, &self.kind), (Line::Waiting, Kind::Pty(_)));
        let (rung, happened) = wait(Some(event), file, look.then_some(PTY_LOOK));
        if rung {
            event.clear();
        }
        match &self.line {
            Line::Connected { .. } if !happened.is_empty() => self.serve(happened, buffer),
            Line::Waiting if look || !happened.is_empty() => self.connect(),
            _ => News::Nothing,
        }
    }

    /// Something happened to who is connected.
    fn serve(&mut self, happened: PollFlags, buffer: &mut [u8]) -> News {
        let Line::Connected { fd, reading } = &mut self.line else { return News::Nothing };
        let gone = happened.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        if *reading {
            match rustix::io::read(&**fd, buffer) {
                Ok(n) if n > 0 => {
                    if self.terminal {
                        terminal::key_read();
                    }
                    return News::Bytes(n);
                }
                Err(Errno::INTR | Errno::AGAIN) => return News::Nothing,
                Ok(_) if self.reconnects() && !gone => {
                    // They may still be reading.
                    if let Line::Connected { reading, .. } = &mut self.line {
                        *reading = false;
                    }
                    return News::Nothing;
                }
                Ok(_) | Err(_) => {}
            }
        } else if !gone {
            return News::Nothing;
        }
        if self.reconnects() {
            self.line = Line::Waiting;
            if let Kind::Door(door) = &self.kind {
                door.leave();
            }
            News::Disconnected
        } else {
            // End of file on the input is not the end of the output.
            self.line = Line::Ended;
            News::Nothing
        }
    }

    /// Looks whether somebody has come.
    fn connect(&mut self) -> News {
        let fd = match &self.kind {
            Kind::Files => return News::Nothing,
            Kind::Door(door) => match door.next() {
                Some(user) => Arc::new(user),
                None => return News::Nothing,
            },
            Kind::Unix(listener) => match listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => Arc::new(OwnedFd::from(stream)),
                // They went away again. If the host is out of descriptors this must not spin.
                _ => {
                    std::thread::sleep(Duration::from_millis(10));
                    return News::Nothing;
                }
            },
            Kind::Pty(master) => {
                let file = Some((master.as_fd(), PollFlags::empty()));
                if wait(None, file, Some(Duration::ZERO)).1.contains(PollFlags::HUP) {
                    return News::Nothing;
                }
                Arc::clone(master)
            }
        };
        self.line = Line::Connected { fd: Arc::clone(&fd), reading: true };
        News::Connected(fd)
    }
}

/// Undoes, when dropped, what opening a port did to the world.
#[derive(Debug)]
pub(crate) struct Cleanup {
    _raw: Option<RawMode>,
    _socket: Option<Socket>,
}
