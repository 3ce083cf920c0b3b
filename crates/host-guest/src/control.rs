//! The keeper's end of a control socket: one thread that waits for nobody.

use crate::request::{LONGEST, Tail, answer_line};
use crate::{GuestError, Request};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The socket's name in a guest's folder.
pub(crate) const SOCKET: &str = "control";
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most clients that have not said it yet; the next one is turned away.
const MOST_ASKING: usize = 16;
/// Most that wait for the end; the first is let go for the next.
const MOST_KEPT: usize = 32;

/// What is waited for before clients: the bell and the listener.
const FIXED: usize = 2;

/// What is done about a request. None of it may wait.
pub enum Reply {
    /// These words; then the connection is closed.
    Words(Result<String, String>),
    /// These words; then the connection stays until the end.
    Stay(String),
    /// These words; then the connection is somebody else's, who gets it not blocking.
    Over(String, Box<dyn FnOnce(OwnedFd)>),
}

/// A control socket that is being listened to, until this is dropped.
pub struct Control {
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// A client that has not said all that it wants.
struct Asking {
    stream: UnixStream,
    said: Vec<u8>,
    until: Instant,
}

/// The path by which a socket in `folder` is bound and reached, however long the folder's own is: the kernel takes 107 bytes of
/// one (unix(7)). It is good as long as the folder is open.
pub(crate) fn short_path(folder: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, path))
}

impl Control {
    /// Listens in a guest's folder, whose lock the caller holds: a socket that is there was left behind.
    ///
    /// # Errors
    /// If the socket or the thread cannot be had.
    pub fn listen(
        folder: &Path,
        reply: impl FnMut(Request) -> Reply + Send + 'static,
    ) -> Result<Control, GuestError> {
        let path = folder.join(SOCKET);
        let start = || {
            let (_folder, short) = short_path(folder)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&short)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
            let keeper =
                Keeper { listener, bell: Arc::clone(&bell), reply, asking: Vec::new(), kept: Vec::new() };
            let thread = std::thread::Builder::new().name("control".into()).spawn(|| keeper.run())?;
            Ok((bell, thread))
        };
        let (bell, thread) = start().map_err(GuestError::host::<io::Error>("make the socket", &path))?;
        Ok(Control { bell, thread: Some(thread), path })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

struct Keeper<F> {
    listener: UnixListener,
    bell: Arc<OwnedFd>,
    reply: F,
    asking: Vec<Asking>,
    kept: Vec<UnixStream>,
}

impl<F: FnMut(Request) -> Reply> Keeper<F> {
    fn run(mut self) {
        loop {
            let now = Instant::now();
            self.asking.retain(|asking| asking.until > now);
            let next = self.asking.iter().map(|asking| asking.until.saturating_duration_since(now)).min();
            let timeout = next.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let fixed: [_; FIXED] = [self.bell.as_fd(), self.listener.as_fd()];
            let fds = fixed.into_iter().chain(self.asking.iter().map(|asking| asking.stream.as_fd()));
            let mut fds: Vec<PollFd<'_>> =
                fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            if poll(&mut fds, timeout.as_ref()).is_err() {
                // Interrupted, or the host is out of memory: not at once again.
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready.first() == Some(&true) {
                return;
            }
            let asking = std::mem::take(&mut self.asking);
            for (n, asking) in asking.into_iter().enumerate() {
                if ready.get(n + FIXED) == Some(&true) {
                    self.hear(asking);
                } else {
                    self.asking.push(asking);
                }
            }
            if ready.get(1) == Some(&true) {
                self.accept();
            }
        }
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((stream, _)) => {
                // The folder lets nobody else in; should it have been opened to others, this does not.
                let own = is_own(&stream);
                if own && self.asking.len() < MOST_ASKING && stream.set_nonblocking(true).is_ok() {
                    self.asking.push(Asking { stream, said: Vec::new(), until: Instant::now() + PATIENCE });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // If the host is out of descriptors this must not spin.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }

    /// Something has come from a client, or it has gone.
    fn hear(&mut self, mut asking: Asking) {
        let mut bytes = [0; LONGEST];
        match asking.stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(n) => asking.said.extend(bytes.iter().take(n)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
        match Request::read(&asking.said) {
            Tail::Open => self.asking.push(asking),
            Tail::Wrong => say(&asking.stream, &Err("that is no request of this version's".to_owned())),
            Tail::Whole(request) => match (self.reply)(request) {
                Reply::Words(words) => say(&asking.stream, &words),
                Reply::Stay(words) => {
                    say(&asking.stream, &Ok(words));
                    if self.kept.len() == MOST_KEPT {
                        self.kept.remove(0);
                    }
                    self.kept.push(asking.stream);
                }
                Reply::Over(words, take) => {
                    say(&asking.stream, &Ok(words));
                    take(asking.stream.into());
                }
            },
        }
    }
}

/// Answers; who does not take a line does not get it.
fn say(mut stream: &UnixStream, answer: &Result<String, String>) {
    let _ = stream.write_all(answer_line(answer).as_bytes());
}

/// Whether this user, or root, is at the other end.
fn is_own(stream: &UnixStream) -> bool {
    let uid = rustix::net::sockopt::socket_peercred(stream).map(|peer| peer.uid);
    uid.is_ok_and(|uid| uid == rustix::process::geteuid() || uid.is_root())
}
