//! Doorbells between the guest and the console's threads.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, time::Duration};

/// What the guest's side rings. Ringing never blocks, and costs one load while the last ring has not
/// been answered or nobody waits for it, so it may be rung as often as one likes.
#[derive(Clone, Debug)]
pub struct Bell(pub(crate) Arc<Bells>);

impl Bell {
    /// The guest has bytes for the user.
    pub fn output(&self) {
        self.0.output.ring_once();
    }

    /// The guest takes bytes again, after it had turned some away.
    pub fn room(&self) {
        self.0.room.ring_once();
    }
}

/// The two bells of a console.
#[derive(Debug)]
pub(crate) struct Bells {
    /// The flag says that somebody waits for it.
    pub(crate) room: Flagged,
    /// The flag says that it has been rung.
    pub(crate) output: Flagged,
}

impl Bells {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Bells { room: Flagged::new(true)?, output: Flagged::new(false)? })
    }
}

/// Something a thread can sleep on, along with files.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Event(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // It fails only when the counter is full, and then the sleeper is awake already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

/// Sleeps until `event` has been rung or something happens to `file`; what happened to each. Nothing
/// happens within `timeout`, or a signal: both empty.
pub(crate) fn wait(
    event: Option<&Event>,
    file: Option<(BorrowedFd<'_>, PollFlags)>,
    timeout: Option<Duration>,
) -> (bool, PollFlags) {
    let timeout =
        timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
    let bell = event.map(|e| PollFd::from_borrowed_fd(e.0.as_fd(), PollFlags::IN));
    let file = file.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
    let mut fds: Vec<PollFd<'_>> = bell.into_iter().chain(file).collect();
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {
            let happened = |n: usize| fds.get(n).map_or(PollFlags::empty(), PollFd::revents);
            match event {
                Some(_) => (!happened(0).is_empty(), happened(1)),
                None => (false, happened(0)),
            }
        }
        Err(Errno::INTR) => (false, PollFlags::empty()),
        Err(_) => {
            // Out of kernel memory: try again, but not at once.
            std::thread::sleep(Duration::from_millis(10));
            (false, PollFlags::empty())
        }
    }
}

/// An [`Event`] with a flag that says whether a ring is worth a system call.
#[derive(Debug)]
pub(crate) struct Flagged {
    pub(crate) event: Event,
    flag: AtomicBool,
    /// The value of the flag that asks for a ring.
    armed: bool,
}

impl Flagged {
    /// `armed`: the value of the flag at which [`Flagged::ring_once`] rings, and then turns it.
    pub(crate) fn new(armed: bool) -> io::Result<Self> {
        Ok(Flagged { event: Event::new()?, flag: AtomicBool::new(false), armed })
    }

    pub(crate) fn set(&self, value: bool) {
        self.flag.store(value, Ordering::SeqCst);
    }

    pub(crate) fn ring_once(&self) {
        if self.flag.load(Ordering::SeqCst) == self.armed
            && self.flag.swap(!self.armed, Ordering::SeqCst) == self.armed
        {
            self.event.ring();
        }
    }
}
