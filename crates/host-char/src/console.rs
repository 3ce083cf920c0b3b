//! The pump: two threads between a port and a guest's serial line.

use crate::bell::{Bell, Bells, Event, wait};
use crate::port::{Cleanup, KEPT, News, Port};
use crate::terminal::{self, SizeWatch};
use crate::{Command, Escape, HELP, Key, OpenError, Sink, Source};
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is done about an escape key. [`Command::Help`] and [`Command::Break`] the console does itself.
pub type OnCommand = Box<dyn Fn(Command) + Send>;

/// What is done when standard output or another open file takes no more output, once: the rest is
/// thrown away. Who disconnects from a socket or a pseudo-terminal loses nothing and is not told of.
pub type OnLost = Box<dyn FnOnce(io::Error) + Send>;

/// Bytes read at a time.
const READ: usize = 16 * 1024;
/// Typed bytes that wait for the guest before reading stops. Large, so that escape keys typed at a
/// guest that reads nothing are still seen.
const TYPED: usize = 1024 * 1024;
/// Most that is written at a time: a pipe that polls writable takes so many without blocking.
const WRITE: usize = 4096;
/// How long the first byte of output waits for company; then it is one system call for many bytes.
const GATHER: Duration = Duration::from_micros(200);
/// How long, at the end, output may make no progress before it is given up.
const PATIENCE: Duration = Duration::from_secs(2);

struct Shared {
    bells: Arc<Bells>,
    closing: AtomicBool,
    /// Rung once, at the end, and never cleared.
    closed: Event,
    /// Who reads the output.
    link: Mutex<Option<Arc<OwnedFd>>>,
    /// Pieces of output written, for who waits for the last.
    written: AtomicU64,
    /// The console's own words to the user.
    notice: Mutex<Vec<u8>>,
}

impl Shared {
    fn link(&self) -> Option<Arc<OwnedFd>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_link(&self, link: Option<Arc<OwnedFd>>) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
        self.bells.output.ring_once();
    }

    /// Forgets `gone`, unless somebody else has come meanwhile.
    fn unlink(&self, gone: &Arc<OwnedFd>) {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if link.as_ref().is_some_and(|now| Arc::ptr_eq(now, gone)) {
            *link = None;
        }
    }

    fn say(&self, words: &str) {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(words.as_bytes());
        self.bells.output.ring_once();
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

/// A running console. Dropping it writes the last output and gives the terminal its modes back.
pub struct Console {
    shared: Arc<Shared>,
    input: Option<JoinHandle<()>>,
    output: Option<JoinHandle<()>>,
    path: Option<PathBuf>,
    _size: Option<SizeWatch>,
    _cleanup: Cleanup,
}

impl Console {
    /// Starts pumping between `port` and the guest. With `on_command`, escape keys are looked for in
    /// the input; without, every byte goes to the guest.
    ///
    /// # Errors
    /// [`OpenError::Resources`].
    pub fn start(
        mut port: Port,
        source: Arc<dyn Source>,
        sink: Arc<dyn Sink>,
        on_command: Option<OnCommand>,
        on_lost: OnLost,
    ) -> Result<Self, OpenError> {
        let shared = shared(&port).map_err(OpenError::Resources)?;
        let path = port.path().map(Path::to_owned);
        let cleanup = port.take_cleanup();
        let (reconnects, lossy, kept) = (port.reconnects(), port.lossy(), port.kept());
        let size = port.connected().filter(|_| port.is_terminal()).cloned();
        let size = size.and_then(|fd| SizeWatch::start(fd, Arc::clone(&source)).ok());
        let mut console = Console { shared, input: None, output: None, path, _size: size, _cleanup: cleanup };
        let on_lost = if reconnects { None } else { Some(on_lost) };
        let shared = Arc::clone(&console.shared);
        let waiting = VecDeque::new();
        let writer = Writer { shared, sink, waiting, reconnects, lossy, kept, end: None, on_lost };
        console.output = Some(spawn("console output", || writer.run())?);
        let reader = Reader {
            shared: Arc::clone(&console.shared),
            source,
            port,
            typed: VecDeque::new(),
            taken: 0,
            breaks: VecDeque::new(),
            escape: Escape::new(),
            on_command,
        };
        console.input = Some(spawn("console input", || reader.run())?);
        Ok(console)
    }

    /// What the guest's side is to ring; see [`Source`] and [`Sink`].
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.shared.bells))
    }

    /// Where to connect: the pseudo-terminal's device or the socket.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Writes the last output and gives the terminal its modes back. To be called when the guest has
    /// stopped: what it sends later is lost.
    pub fn close(self) {}
}

impl Drop for Console {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.closed.ring();
        self.shared.bells.output.event.ring();
        self.shared.bells.room.event.ring();
        // A thread can be stuck in a system call on a terminal that others read or have stopped:
        // then it is left behind, rather than the process with it.
        let written = || self.shared.written.load(Ordering::SeqCst);
        finish(self.input.take(), Duration::from_millis(200), || 0);
        finish(self.output.take(), PATIENCE + Duration::from_millis(200), written);
    }
}

fn shared(port: &Port) -> io::Result<Arc<Shared>> {
    Ok(Arc::new(Shared {
        bells: Arc::new(Bells::new()?),
        closing: AtomicBool::new(false),
        closed: Event::new()?,
        link: Mutex::new(port.output()),
        written: AtomicU64::new(0),
        notice: Mutex::default(),
    }))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(OpenError::Resources)
}

/// Waits for `thread` to end, for as long as `progress` changes at least every `patience`.
fn finish(thread: Option<JoinHandle<()>>, patience: Duration, progress: impl Fn() -> u64) {
    let Some(thread) = thread else { return };
    let (mut seen, mut since) = (progress(), Instant::now());
    while !thread.is_finished() {
        if progress() != seen {
            (seen, since) = (progress(), Instant::now());
        } else if since.elapsed() >= patience {
            return;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let _ = thread.join();
}

/// The input thread.
struct Reader {
    shared: Arc<Shared>,
    source: Arc<dyn Source>,
    port: Port,
    typed: VecDeque<u8>,
    /// How many typed bytes the guest has taken, ever.
    taken: u64,
    /// After how many typed bytes, counted so, a break was typed.
    breaks: VecDeque<u64>,
    escape: Escape,
    on_command: Option<OnCommand>,
}

impl Reader {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut buffer = vec![0; READ];
        if let Some(fd) = self.port.connected().cloned() {
            self.came(&fd);
        }
        while !shared.closing() {
            self.offer();
            let room = self.typed.len() + self.breaks.len() < TYPED;
            match self.port.wait(&shared.bells.room.event, room, &mut buffer) {
                News::Nothing => {}
                News::Bytes(n) => self.filter(buffer.get(..n).unwrap_or_default()),
                News::Connected(fd) => {
                    self.escape = Escape::new();
                    self.came(&fd);
                    shared.set_link(Some(fd));
                }
                News::Disconnected => {
                    shared.set_link(None);
                    self.source.connected(false);
                }
            }
        }
    }

    /// Tells the guest of who is there now.
    fn came(&self, fd: &OwnedFd) {
        if let Some((columns, rows)) = terminal::size(fd) {
            self.source.resized(columns, rows);
        }
        self.source.connected(true);
    }

    /// Gives the guest what it takes. If that is not all, the bell will ring: the flag is set before
    /// the guest is asked, so that it cannot ring in between unheard.
    fn offer(&mut self) {
        loop {
            while self.breaks.front() == Some(&self.taken) {
                self.breaks.pop_front();
                self.source.send_break();
            }
            self.shared.bells.room.set(!self.typed.is_empty());
            let (next, _) = self.typed.as_slices();
            let until = self.breaks.front().map_or(u64::MAX, |at| at - self.taken);
            let next = usize::try_from(until).ok().and_then(|until| next.get(..until)).unwrap_or(next);
            let offered = next.len();
            if offered == 0 {
                return;
            }
            let taken = self.source.offer(next).min(offered);
            self.typed.drain(..taken);
            self.taken += taken as u64;
            if taken < offered {
                return;
            }
        }
    }

    fn filter(&mut self, bytes: &[u8]) {
        let Some(on_command) = &self.on_command else {
            self.typed.extend(bytes);
            return;
        };
        for &byte in bytes {
            match self.escape.feed(byte) {
                Key::Byte(byte) => self.typed.push_back(byte),
                Key::Prefix | Key::Unknown(_) => {}
                Key::Command(Command::Help) => self.shared.say(HELP),
                // In order: what was typed before it may still wait for the guest.
                Key::Command(Command::Break) => self.breaks.push_back(self.taken + self.typed.len() as u64),
                Key::Command(command) => on_command(command),
            }
        }
    }
}

/// The output thread.
struct Writer {
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    /// Taken from the guest and not yet written.
    waiting: VecDeque<u8>,
    reconnects: bool,
    /// Whoever does not read in time loses what is older than the newest output.
    lossy: bool,
    /// Newest output that is kept for who connects next.
    kept: usize,
    /// Until when they may still read, at the end.
    end: Option<Instant>,
    on_lost: Option<OnLost>,
}

impl Writer {
    fn run(mut self) {
        let mut taken = Vec::new();
        loop {
            // Asked before the last look, so that nothing sent before the end is missed.
            let last = self.shared.closing();
            // Cleared before the guest is asked, so that what comes later rings again.
            self.shared.bells.output.set(false);
            taken.append(&mut self.shared.notice.lock().unwrap_or_else(PoisonError::into_inner));
            self.sink.take(&mut taken);
            let idle = taken.is_empty();
            self.waiting.extend(taken.drain(..));
            let delivered = self.deliver();
            if !idle || !delivered {
                continue;
            }
            if last {
                return;
            }
            wait(Some(&self.shared.bells.output.event), None, None);
            self.shared.bells.output.event.clear();
            if !self.shared.closing() {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// Writes all that waits, or keeps or drops it if nobody is there. False if it was not to be had out in time, and there is
    /// more of it to be taken.
    fn deliver(&mut self) -> bool {
        while !self.waiting.is_empty() {
            let link = self.shared.link();
            if link.is_none() || self.lossy {
                let keep = if link.is_none() { self.kept } else { KEPT };
                self.waiting.drain(..self.waiting.len().saturating_sub(keep));
            }
            let Some(link) = link else { return true };
            if self.lossy && !self.shared.closing() && self.overtaken(&link) {
                return false;
            }
            if !self.write(&link) {
                self.shared.unlink(&link);
            }
        }
        true
    }

    /// Waits until `link` takes output or is gone. True if the guest has more before that.
    fn overtaken(&self, link: &Arc<OwnedFd>) -> bool {
        let event = &self.shared.bells.output.event;
        let (rung, _) = wait(Some(event), Some((link.as_fd(), PollFlags::OUT)), None);
        if rung {
            event.clear();
        }
        rung
    }

    /// How long output may take at the end: of somebody who has no claim to all of it, in all, else without any progress.
    fn patience(&mut self) -> Duration {
        if !self.lossy {
            return PATIENCE;
        }
        let end = *self.end.get_or_insert_with(|| Instant::now() + PATIENCE);
        end.saturating_duration_since(Instant::now())
    }

    /// Writes one piece; false if whoever read the output is gone, or is not reading at the end.
    fn write(&mut self, link: &Arc<OwnedFd>) -> bool {
        let last = self.shared.closing();
        let file = Some((link.as_fd(), PollFlags::OUT));
        // Once closing, that bell stays rung, and only the file and the patience count.
        let (event, timeout) =
            if last { (None, Some(self.patience())) } else { (Some(&self.shared.closed), None) };
        let (_, happened) = wait(event, file, timeout);
        if happened.is_empty() {
            return !last;
        }
        if happened.contains(PollFlags::HUP) && self.reconnects {
            return false;
        }
        let (piece, _) = self.waiting.as_slices();
        let piece = piece.get(..WRITE).unwrap_or(piece);
        match rustix::io::write(&**link, piece) {
            Ok(n) => {
                self.waiting.drain(..n.min(self.waiting.len()));
                self.shared.written.fetch_add(1, Ordering::SeqCst);
                true
            }
            Err(Errno::INTR) => true,
            // Writable, but not yet: a terminal's way.
            Err(Errno::AGAIN) => {
                std::thread::sleep(Duration::from_millis(1));
                true
            }
            Err(error) => {
                if let Some(tell) = self.on_lost.take() {
                    tell(error.into());
                }
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "console_test.rs"]
mod tests;

#[cfg(test)]
#[path = "door_test.rs"]
mod door_tests;
