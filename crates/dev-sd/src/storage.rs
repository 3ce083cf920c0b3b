//! A card's jobs, done on a host's disk: without waiting where there is a thread to take their ends, else at once.
//!
//! A card has no command that flushes, and what it has programmed when it is not busy any more stays (section 4.3.4). So a
//! write of one block, the end of a write of many, and an erase are followed by a flush of the disk, and the card is busy
//! until that is done.

use crate::BLOCK;
use crate::data::AHEAD;
use crate::job::{Job, Wanted};
use host_disk::{Disk, DiskError, DiskQueue, Kind, QueueOptions, Request};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use support_hostmap::Pieces;

/// How long a wait for the disk lasts until it looks again by itself.
const LOOK: Duration = Duration::from_millis(100);
/// Most bytes of a read or a write.
const MOST: usize = AHEAD as usize * BLOCK;

/// Told of what the host's disk could not do.
pub type Trouble = Box<dyn Fn(&DiskError) + Send>;

/// The end of a job: its number, and what [`crate::Card::finish`] is told.
pub type Ended = (u64, Option<Vec<u8>>);

/// Who waits for the disk, and must be woken.
#[derive(Default)]
struct Waiter {
    rung: Mutex<bool>,
    changed: Condvar,
}

/// How the disk is asked.
enum Way {
    Straight(Arc<dyn Disk>),
    Queue(DiskQueue, Arc<Waiter>),
}

/// A step of a job that the disk is at.
struct Flight {
    /// The job's number.
    job: u64,
    /// What is read or written is in its beginning.
    buffer: Option<Pieces>,
    /// So many bytes are read.
    read: usize,
    /// A flush comes behind it.
    flush: bool,
}

/// A disk that a card is on.
pub struct Storage {
    way: Way,
    flights: HashMap<u64, Flight>,
    token: u64,
    /// Memory that no step uses.
    spare: Option<Pieces>,
    trouble: Trouble,
}

impl Storage {
    fn new(way: Way, trouble: Trouble) -> Storage {
        Storage { way, flights: HashMap::new(), token: 0, spare: None, trouble }
    }

    /// One that waits for `disk`, so that jobs have ended when they have begun.
    pub fn straight(disk: Arc<dyn Disk>, trouble: Trouble) -> Storage {
        Storage::new(Way::Straight(disk), trouble)
    }

    /// One that waits for nothing; `bell` is rung, from any thread, when there are ends to take.
    ///
    /// # Errors
    /// If the host gives no threads.
    pub fn queued(
        disk: Arc<dyn Disk>,
        trouble: Trouble,
        bell: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Storage> {
        let waiter = Arc::new(Waiter::default());
        let woken = Arc::clone(&waiter);
        let ring = Arc::new(move || {
            *woken.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
            woken.changed.notify_all();
            bell();
        });
        // A card does one thing at a time; a read that it has given up may still be going on.
        let options = QueueOptions { threads: 2, ring: 4 };
        let way = Way::Queue(DiskQueue::new(disk, options, ring)?, waiter);
        Ok(Storage::new(way, trouble))
    }

    /// Begins a job; gives its end if that has come already.
    pub fn begin(&mut self, wanted: Wanted) -> Option<Ended> {
        let Wanted { number, job } = wanted;
        let none = Flight { job: number, buffer: None, read: 0, flush: false };
        let (kind, flight) = match job {
            Job::Flush => (Kind::Flush, none),
            Job::Erase { at, len } => {
                (Kind::WriteZeroes { at, len, may_unmap: true }, Flight { flush: true, ..none })
            }
            Job::Read { len, .. } if len as usize > MOST => return Some((number, None)),
            Job::Write { bytes, .. } if bytes.len() > MOST => return Some((number, None)),
            Job::Read { at, len } => match self.buffer() {
                Ok(buffer) => {
                    let read = len as usize;
                    let into = buffer.slice(0..read)?;
                    (Kind::Read(at, into), Flight { buffer: Some(buffer), read, ..none })
                }
                Err(error) => return Some(self.failed(number, &error.into())),
            },
            Job::Write { at, bytes, through } => match self.buffer() {
                Ok(buffer) => {
                    let from = buffer.slice(0..bytes.len())?;
                    from.copy_in(0, &bytes)?;
                    (Kind::Write(at, from), Flight { buffer: Some(buffer), flush: through, ..none })
                }
                Err(error) => return Some(self.failed(number, &error.into())),
            },
        };
        let ended = self.ask(kind, flight);
        if let Way::Queue(queue, _) = &self.way {
            queue.kick();
        }
        ended
    }

    fn failed(&self, number: u64, error: &DiskError) -> Ended {
        (self.trouble)(error);
        (number, None)
    }

    fn ask(&mut self, kind: Kind, flight: Flight) -> Option<Ended> {
        self.token = self.token.wrapping_add(1);
        let token = self.token;
        let result = match &self.way {
            Way::Queue(queue, _) => queue.submit(Request { kind, token }).map(|done| done.result),
            Way::Straight(disk) => Some(match &kind {
                Kind::Read(at, into) => disk.read(*at, into),
                Kind::Write(at, from) => disk.write(*at, from),
                Kind::Flush => disk.flush(),
                Kind::Discard(at, len) => disk.discard(*at, *len),
                Kind::WriteZeroes { at, len, may_unmap } => disk.write_zeroes(*at, *len, *may_unmap),
            }),
        };
        match result {
            Some(result) => self.step(flight, result),
            None => {
                self.flights.insert(token, flight);
                None
            }
        }
    }

    /// The disk has done a step.
    fn step(&mut self, mut flight: Flight, result: Result<(), DiskError>) -> Option<Ended> {
        let mut bytes = Vec::new();
        if let Some(buffer) = flight.buffer.take() {
            if let (true, Some(read)) = (result.is_ok(), buffer.slice(0..flight.read)) {
                bytes = read.to_vec();
            }
            self.spare = Some(buffer);
        }
        match result {
            Err(error) => Some(self.failed(flight.job, &error)),
            Ok(()) if flight.flush => self.ask(Kind::Flush, Flight { flush: false, ..flight }),
            Ok(()) => Some((flight.job, Some(bytes))),
        }
    }

    /// Memory for [`MOST`] bytes.
    fn buffer(&mut self) -> io::Result<Pieces> {
        self.spare.take().map_or_else(|| Pieces::scratch(MOST), Ok)
    }

    /// The ends that have come.
    pub fn take(&mut self) -> Vec<Ended> {
        let mut done = Vec::new();
        if let Way::Queue(queue, _) = &self.way {
            queue.take(&mut done);
        }
        let mut all = Vec::new();
        for end in done {
            if let Some(flight) = self.flights.remove(&end.token) {
                all.extend(self.step(flight, end.result));
            }
        }
        if let Way::Queue(queue, _) = &self.way {
            queue.kick();
        }
        all
    }

    /// Whether there is nothing to be taken any more.
    pub fn is_quiet(&self) -> bool {
        self.flights.is_empty()
    }

    /// Waits a while for ends to come.
    pub fn wait(&self) {
        if let Way::Queue(_, waiter) = &self.way {
            let rung = waiter.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = waiter.changed.wait_timeout_while(rung, LOOK, |rung| !*rung);
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use host_disk::{Memory, Raw};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SIZE: u64 = 1 << 20;

    fn disk() -> Arc<dyn Disk> {
        let medium = Memory::new(&vec![0; SIZE as usize]);
        Arc::new(Raw::new(Arc::new(medium), false).unwrap())
    }

    /// The end of a job, however long it takes.
    fn end(storage: &mut Storage, number: u64, job: Job) -> Option<Vec<u8>> {
        let mut ends: Vec<Ended> = storage.begin(Wanted { number, job }).into_iter().collect();
        while ends.is_empty() {
            storage.wait();
            ends = storage.take();
        }
        assert_eq!((ends.len(), ends[0].0), (1, number));
        assert!(storage.is_quiet());
        ends.remove(0).1
    }

    fn all_jobs(storage: &mut Storage) {
        let (block, nothing) = (vec![7; BLOCK], Some(Vec::new()));
        let write = Job::Write { at: 4096, bytes: block.clone(), through: true };
        assert_eq!(end(storage, 1, write), nothing);
        assert_eq!(end(storage, 2, Job::Read { at: 4096, len: BLOCK as u32 }), Some(block));
        assert_eq!(end(storage, 3, Job::Flush), nothing);
        assert_eq!(end(storage, 4, Job::Erase { at: 0, len: 8192 }), nothing);
        assert_eq!(end(storage, 5, Job::Read { at: 0, len: 8192 }), Some(vec![0; 8192]));
        assert_eq!(end(storage, 6, Job::Read { at: SIZE, len: 512 }), None);
        assert_eq!(end(storage, 7, Job::Read { at: 0, len: u32::MAX }), None);
    }

    #[test]
    fn jobs_are_done_at_once_and_by_threads_alike() {
        let told = Arc::new(AtomicUsize::new(0));
        let trouble = || {
            let told = Arc::clone(&told);
            Box::new(move |_: &DiskError| _ = told.fetch_add(1, Ordering::SeqCst))
        };
        all_jobs(&mut Storage::straight(disk(), trouble()));
        all_jobs(&mut Storage::queued(disk(), trouble(), || ()).unwrap());
        assert_eq!(told.load(Ordering::SeqCst), 2, "one for each read behind the end");
    }
}
