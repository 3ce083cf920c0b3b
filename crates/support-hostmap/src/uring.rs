//! File transfers that go on while nobody waits: io_uring(7), with what the kernel works on kept until it is done.
//!
//! The kernel may have no io_uring, or refuse it (a sandbox's filter, `kernel.io_uring_disabled`). That is normal: then
//! [`Uring::new`] fails, and its user has another way.

use crate::Pieces;
use crate::transfer::MOST_RANGES;
use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What to do with a file.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Read from an offset.
    Read(u64, Pieces),
    /// Write at an offset.
    Write(u64, Pieces),
    /// Bring the file's contents, and what is needed to find them again, to stable storage (fdatasync(2)).
    Sync,
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// What [`Uring::push`] was given.
    pub token: u64,
    /// Bytes transferred, perhaps fewer than asked for; 0 for [`Operation::Sync`].
    pub result: io::Result<usize>,
}

/// What an operation needs as long as the kernel may work on it.
struct Flight {
    token: u64,
    _file: Arc<File>,
    _pieces: Option<Pieces>,
    _vectors: Vec<libc::iovec>,
}

// SAFETY: the vectors are addresses in the mapping that `_pieces` keeps alive; nobody follows them but the kernel.
unsafe impl Send for Flight {}

#[derive(Default)]
struct Flights {
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
    flying: usize,
    /// The slots that were pushed last, oldest first; as many as the submission queue has room for.
    pushed: VecDeque<usize>,
    /// Whether nothing may be submitted any more.
    closed: bool,
}

/// An io_uring. Operations are pushed and submitted by any thread; their ends are waited for and taken by any other.
pub struct Uring {
    ring: IoUring,
    /// Held while the submission queue is written. It also covers the table of what is in flight.
    flights: Mutex<Flights>,
    /// Held while the completion queue is read. Taken before `flights` where both are.
    reaping: Mutex<()>,
    /// Written to wake a waiting thread.
    waker: OwnedFd,
    entries: usize,
}

/// User data of a request to cancel another.
const CANCEL: u64 = u64::MAX - 1;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks cover is valid between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uring {
    /// A ring for at most `entries` operations at a time (a power of two, at most 4096).
    ///
    /// # Errors
    /// If the host has none, does not let us have one, or it lacks an operation.
    pub fn new(entries: u32) -> io::Result<Self> {
        let ring = IoUring::new(entries)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [
            opcode::Read::CODE,
            opcode::Readv::CODE,
            opcode::Write::CODE,
            opcode::Writev::CODE,
            opcode::Fsync::CODE,
            opcode::AsyncCancel::CODE,
        ];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let flights = Mutex::new(Flights::default());
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Uring { ring, flights, reaping: Mutex::new(()), waker, entries: entries as usize })
    }

    /// Puts an operation into the queue; [`Uring::submit`] makes the kernel look. False if too many are in flight: take
    /// some completions, or do it another way.
    #[must_use]
    pub fn push(&self, file: &Arc<File>, operation: &Operation, token: u64) -> bool {
        let mut flights = locked(&self.flights);
        // The completion queue is twice as long, so that it has room for every answer.
        if flights.closed || flights.flying >= self.entries {
            return false;
        }
        let slot = flights.free.pop().unwrap_or_else(|| {
            flights.slots.push(None);
            flights.slots.len() - 1
        });
        let fd = types::Fd(file.as_raw_fd());
        let (pieces, vectors) = match operation {
            Operation::Read(_, pieces) | Operation::Write(_, pieces) => {
                let single = pieces.single().is_some();
                let vectors = if single { Vec::new() } else { pieces.vectors(0, MOST_RANGES) };
                (Some(pieces.clone()), vectors)
            }
            Operation::Sync => (None, Vec::new()),
        };
        let (list, count) = (vectors.as_ptr(), vectors.len() as u32);
        let short = |len: usize| u32::try_from(len).unwrap_or(1 << 30).min(1 << 30);
        let entry = match operation {
            Operation::Read(offset, pieces) => match pieces.single() {
                Some((at, len)) => opcode::Read::new(fd, at, short(len)).offset(*offset).build(),
                None => opcode::Readv::new(fd, list, count).offset(*offset).build(),
            },
            Operation::Write(offset, pieces) => match pieces.single() {
                Some((at, len)) => opcode::Write::new(fd, at, short(len)).offset(*offset).build(),
                None => opcode::Writev::new(fd, list, count).offset(*offset).build(),
            },
            Operation::Sync => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
        };
        // Moving the vectors' owner does not move the vectors.
        let flight = Flight { token, _file: Arc::clone(file), _pieces: pieces, _vectors: vectors };
        let pushed = self.put(&entry.user_data(slot as u64));
        if pushed {
            flights.flying += 1;
            flights.pushed.push_back(slot);
            if flights.pushed.len() > self.entries {
                flights.pushed.pop_front();
            }
            if let Some(place) = flights.slots.get_mut(slot) {
                *place = Some(flight);
            }
        } else {
            flights.free.push(slot);
        }
        pushed
    }

    /// Writes an entry of the submission queue. The caller holds `flights`.
    fn put(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller holds the lock, so nobody else has the submission queue.
        let mut queue = unsafe { self.ring.submission_shared() };
        if queue.is_full() {
            // Nothing is taken out of the queue until it is submitted.
            let _ = self.ring.submit();
            queue.sync();
        }
        // SAFETY: what the entry points to is kept in `flights` until its completion was taken.
        unsafe { queue.push(entry) }.is_ok()
    }

    /// Makes the kernel look at what was pushed.
    ///
    /// # Errors
    /// What the kernel says; what it did not take is then still in the queue.
    pub fn submit(&self) -> io::Result<()> {
        // The library counts the queue's entries for the kernel, so nobody may be pushing.
        let flights = locked(&self.flights);
        if flights.closed {
            return Ok(());
        }
        loop {
            match self.ring.submit() {
                // SAFETY: the lock is held, so nobody else has the submission queue.
                Ok(_) if unsafe { self.ring.submission_shared() }.is_empty() => return Ok(()),
                Ok(0) => return Err(io::ErrorKind::WouldBlock.into()),
                // It stops where it has no memory for the next one, and says so if that is the first.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// For when the kernel goes on refusing to look: nothing is pushed or submitted from now on. Gives the tokens of what the
    /// kernel has not seen, and now never will; what it has seen ends as usual.
    pub fn close(&self) -> Vec<u64> {
        let mut flights = locked(&self.flights);
        if std::mem::replace(&mut flights.closed, true) {
            return Vec::new();
        }
        // SAFETY: the lock is held, so nobody else has the submission queue.
        let unseen = unsafe { self.ring.submission_shared() }.len();
        let first = flights.pushed.len().saturating_sub(unseen);
        let slots = flights.pushed.split_off(first);
        let taken = slots.into_iter().filter_map(|slot| flights.slots.get_mut(slot).and_then(Option::take));
        let tokens: Vec<u64> = taken.map(|flight| flight.token).collect();
        flights.flying -= tokens.len();
        tokens
    }

    /// Waits until there is a completion to take, or [`Uring::wake`] was called.
    ///
    /// # Errors
    /// What the kernel says; a signal is not among it.
    pub fn wait(&self) -> io::Result<()> {
        // SAFETY: the ring is open as long as `self` lives.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        loop {
            let mut ready = [PollFd::new(&ring, PollFlags::IN), PollFd::new(&self.waker, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // If nobody woke us, there is nothing to read.
        let _ = rustix::io::read(&self.waker, &mut [0; 8]);
        Ok(())
    }

    /// Takes all completions there are, and does not wait.
    pub fn reap(&self, into: &mut Vec<Completion>) {
        let _reaping = locked(&self.reaping);
        // SAFETY: the lock is held, so nobody else has the completion queue.
        for entry in unsafe { self.ring.completion_shared() } {
            if entry.user_data() == CANCEL {
                continue;
            }
            let slot = entry.user_data() as usize;
            let mut flights = locked(&self.flights);
            let Some(flight) = flights.slots.get_mut(slot).and_then(Option::take) else { continue };
            flights.free.push(slot);
            flights.flying -= 1;
            drop(flights);
            let code = entry.result();
            let result = usize::try_from(code).map_err(|_| io::Error::from_raw_os_error(code.wrapping_neg()));
            into.push(Completion { token: flight.token, result });
        }
    }

    /// Makes [`Uring::wait`] return.
    pub fn wake(&self) {
        // It fails only if so many wakes are unread that one more makes no difference.
        let _ = rustix::io::write(&self.waker, &1_u64.to_ne_bytes());
    }

    /// How many operations were pushed and not taken.
    pub fn in_flight(&self) -> usize {
        locked(&self.flights).flying
    }
}

impl Drop for Uring {
    /// Cancels what is in flight and waits for the rest, so that nothing is written to memory that is no longer ours.
    fn drop(&mut self) {
        let flights = locked(&self.flights);
        let slots = flights.slots.iter().enumerate().filter(|(_, flight)| flight.is_some());
        for (slot, _) in slots.filter(|_| !flights.closed) {
            let _ = self.put(&opcode::AsyncCancel::new(slot as u64).build().user_data(CANCEL));
        }
        drop(flights);
        let mut ends = Vec::new();
        loop {
            // What cannot be submitted cannot be waited for; the kernel has not seen it.
            let submitted = self.submit();
            self.reap(&mut ends);
            if self.in_flight() == 0 || submitted.is_err() || self.wait().is_err() {
                break;
            }
        }
        if self.in_flight() > 0 {
            // The kernel may still work on it: its memory is better lost than reused.
            let mut flights = locked(&self.flights);
            std::mem::forget(std::mem::take(&mut flights.slots));
        }
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("entries", &self.entries).finish_non_exhaustive()
    }
}
