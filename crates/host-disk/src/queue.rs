//! Requests to a disk that nobody waits for: their ends are told by a bell.
//!
//! A request is tried at once, without waiting; most of what the host has in memory ends there. What would wait goes to io_uring, if the
//! host has it and the bytes' place in a file is known, else to one of a few threads. A flush covers what was complete before it
//! was submitted, as virtio defines it (VIRTIO 1.2, 5.2.6.2), so that nothing needs to be held back for it.

use crate::disk::{Disk, DiskError, Plan, locked};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use support_hostmap::{Operation, Pieces, Uring};

/// What a disk is to do.
#[derive(Clone, Debug)]
pub enum Kind {
    /// [`Disk::read`]: offset, and where to.
    Read(u64, Pieces),
    /// [`Disk::write`]: offset, and where from.
    Write(u64, Pieces),
    /// [`Disk::flush`].
    Flush,
    /// [`Disk::discard`]: offset, length.
    Discard(u64, u64),
    /// [`Disk::write_zeroes`].
    WriteZeroes {
        /// Offset.
        at: u64,
        /// Length.
        len: u64,
        /// Whether the space may be given back.
        may_unmap: bool,
    },
}

/// A request, and by what its end is known.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub kind: Kind,
    /// Given back with the end.
    pub token: u64,
}

/// The end of a request.
#[derive(Debug)]
pub struct Done {
    /// The request's.
    pub token: u64,
    /// How it went.
    pub result: Result<(), DiskError>,
}

/// How a queue works.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Threads for what may wait, at least one.
    pub threads: usize,
    /// Requests in io_uring at a time (a power of two); 0: it is not used.
    pub ring: u32,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions { threads: 4, ring: 128 }
    }
}

/// How often the kernel is asked to look at what is in io_uring, before threads do it.
const KICKS: u32 = 20;
/// What is waited between.
const KICK_AGAIN: Duration = Duration::from_millis(1);

/// What is in io_uring.
struct Flight {
    request: Request,
    len: usize,
    _lease: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    bell: Arc<dyn Fn() + Send + Sync>,
    done: Mutex<Vec<Done>>,
    /// Locked before `flights` where both are.
    jobs: Mutex<VecDeque<Request>>,
    work: Condvar,
    ring: Option<Uring>,
    flights: Mutex<(u64, HashMap<u64, Flight>)>,
    /// Whether anything was put into the ring and not shown to the kernel.
    unseen: AtomicBool,
    /// Requests whose ends were not put among the done.
    pending: AtomicUsize,
    stopping: AtomicBool,
}

/// A queue of requests to one disk. When it is dropped, it waits for their ends.
pub struct DiskQueue {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for DiskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.shared.ring.is_some();
        f.debug_struct("DiskQueue")
            .field("disk", &self.shared.disk)
            .field("ring", &ring)
            .finish_non_exhaustive()
    }
}

impl DiskQueue {
    /// A queue for `disk`. `bell` is rung, from any thread, when there are ends to take.
    ///
    /// # Errors
    /// If the host gives us no thread. That it has no io_uring is none.
    pub fn new(
        disk: Arc<dyn Disk>,
        options: QueueOptions,
        bell: Arc<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        let ring = if options.ring == 0 { None } else { Uring::new(options.ring).ok() };
        let shared = Arc::new(Shared {
            disk,
            bell,
            done: Mutex::default(),
            jobs: Mutex::default(),
            work: Condvar::new(),
            ring,
            flights: Mutex::default(),
            unseen: AtomicBool::new(false),
            pending: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let mut queue = DiskQueue { shared, threads: Vec::new() };
        for _ in 0..options.threads.max(1) {
            queue.spawn("disk-job", Shared::work)?;
        }
        if queue.shared.ring.is_some() {
            queue.spawn("disk-ring", Shared::reap)?;
        }
        Ok(queue)
    }

    fn spawn(&mut self, name: &str, run: fn(&Shared)) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))?;
        self.threads.push(thread);
        Ok(())
    }

    /// The disk.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    /// Begins a request; gives its end, if it has come already. After the last one of several, [`DiskQueue::kick`] must be
    /// called.
    pub fn submit(&self, request: Request) -> Option<Done> {
        let disk = &self.shared.disk;
        let tried = match &request.kind {
            Kind::Read(at, into) => disk.try_read(*at, into),
            Kind::Write(at, from) => disk.try_write(*at, from),
            _ => None,
        };
        if let Some(result) = tried {
            return Some(Done { token: request.token, result });
        }
        // Asked for first: if that panics, there is no request that anybody waits for.
        let plan = self.shared.plan(&request.kind);
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        if let Some(request) = self.shared.fly(request, plan) {
            self.shared.job(request);
        }
        None
    }

    /// Shows the kernel what was submitted. If it has no memory to look for longer than a moment, threads do it, and what
    /// comes later too.
    pub fn kick(&self) {
        let shared = &self.shared;
        let Some(ring) = shared.ring.as_ref().filter(|_| shared.unseen.swap(false, Ordering::AcqRel)) else {
            return;
        };
        for _ in 0..KICKS {
            if ring.submit().is_ok() {
                return;
            }
            std::thread::sleep(KICK_AGAIN);
        }
        shared.ground(ring);
    }

    /// Takes the ends that have come.
    pub fn take(&self, into: &mut Vec<Done>) {
        into.append(&mut locked(&self.shared.done));
    }

    /// Requests whose ends were not to be taken yet.
    pub fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Acquire)
    }
}

impl Drop for DiskQueue {
    fn drop(&mut self) {
        self.kick();
        self.shared.stopping.store(true, Ordering::Release);
        // Under the lock, so that no thread is between looking and waiting.
        drop(locked(&self.shared.jobs));
        self.shared.work.notify_all();
        if let Some(ring) = &self.shared.ring {
            ring.wake();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Where in a file io_uring can do it, if it can.
    fn plan(&self, kind: &Kind) -> Option<Plan> {
        self.ring.as_ref()?;
        match kind {
            Kind::Read(at, into) => self.disk.plan(false, *at, into.len() as u64),
            Kind::Write(at, from) => self.disk.plan(true, *at, from.len() as u64),
            _ => None,
        }
    }

    /// Gives a request to io_uring; back, if that cannot be.
    fn fly(&self, request: Request, plan: Option<Plan>) -> Option<Request> {
        let (Some(ring), Some(plan)) = (&self.ring, plan) else { return Some(request) };
        let (operation, pieces) = match &request.kind {
            Kind::Read(_, into) => (Operation::Read(plan.offset, into.clone()), into),
            Kind::Write(_, from) => (Operation::Write(plan.offset, from.clone()), from),
            _ => return Some(request),
        };
        let len = pieces.len();
        let id = {
            let mut flights = locked(&self.flights);
            flights.0 += 1;
            let id = flights.0;
            flights.1.insert(id, Flight { request, len, _lease: plan.lease });
            id
        };
        if ring.push(&plan.file, &operation, id) {
            self.unseen.store(true, Ordering::Release);
            return None;
        }
        locked(&self.flights).1.remove(&id).map(|flight| flight.request)
    }

    /// Does without the ring from now on; what the kernel has not seen becomes jobs.
    fn ground(&self, ring: &Uring) {
        for id in ring.close() {
            let flight = locked(&self.flights).1.remove(&id);
            if let Some(flight) = flight {
                self.job(flight.request);
            }
        }
    }

    fn job(&self, request: Request) {
        locked(&self.jobs).push_back(request);
        self.work.notify_one();
    }

    fn end(&self, token: u64, result: Result<(), DiskError>) {
        locked(&self.done).push(Done { token, result });
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    /// What each thread for jobs does.
    fn work(&self) {
        loop {
            let mut jobs = locked(&self.jobs);
            let request = loop {
                if let Some(request) = jobs.pop_front() {
                    break request;
                }
                // The ring may still give something back that has to be done the long way.
                let flying = !locked(&self.flights).1.is_empty();
                if self.stopping.load(Ordering::Acquire) && !flying {
                    return;
                }
                jobs = self.work.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            };
            drop(jobs);
            // A request that never ends would leave its guest waiting, and whoever stops the device.
            let done = catch_unwind(AssertUnwindSafe(|| self.perform(&request.kind)));
            let panicked = |_| Err(io::Error::other("the thread at work on it panicked").into());
            self.end(request.token, done.unwrap_or_else(panicked));
            (self.bell)();
        }
    }

    fn perform(&self, kind: &Kind) -> Result<(), DiskError> {
        match kind {
            Kind::Read(at, into) => self.disk.read(*at, into),
            Kind::Write(at, from) => self.disk.write(*at, from),
            Kind::Flush => self.disk.flush(),
            Kind::Discard(at, len) => self.disk.discard(*at, *len),
            Kind::WriteZeroes { at, len, may_unmap } => self.disk.write_zeroes(*at, *len, *may_unmap),
        }
    }

    /// What the thread does that takes from the ring.
    fn reap(&self) {
        let Some(ring) = &self.ring else { return };
        let mut ends = Vec::new();
        loop {
            ring.reap(&mut ends);
            let mut any = false;
            for end in ends.drain(..) {
                // Until it is among the jobs, no thread may look whether there are none and nothing flies.
                let mut jobs = locked(&self.jobs);
                let Some(flight) = locked(&self.flights).1.remove(&end.token) else { continue };
                match end.result {
                    Ok(count) if count == flight.len => {
                        drop(jobs);
                        self.end(flight.request.token, Ok(()));
                        any = true;
                    }
                    // The end of a file, an interrupted transfer or an error: the long way knows what to make of it.
                    _ => {
                        jobs.push_back(flight.request);
                        drop(jobs);
                        self.work.notify_one();
                    }
                }
            }
            if any {
                (self.bell)();
            }
            if self.stopping.load(Ordering::Acquire) && ring.in_flight() == 0 {
                // The threads wait for this.
                drop(locked(&self.jobs));
                self.work.notify_all();
                return;
            }
            if ring.wait().is_err() {
                // Nothing can be waited for; what is in flight is looked at now and then.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, HostFile, Medium, Plan};

    /// A disk whose requests all go to the ring, if there is one.
    #[derive(Debug)]
    struct Planned(HostFile);

    impl Disk for Planned {
        fn size(&self) -> u64 {
            1 << 20
        }
        fn read_only(&self) -> bool {
            false
        }
        fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
            Ok(self.0.read(at, into)?)
        }
        fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
            Ok(self.0.write(at, from)?)
        }
        fn plan(&self, _write: bool, at: u64, len: u64) -> Option<Plan> {
            Some(Plan { file: self.0.file(at, len)?, offset: at, lease: None })
        }
        fn flush(&self) -> Result<(), DiskError> {
            Ok(())
        }
        fn discard(&self, _at: u64, _len: u64) -> Result<(), DiskError> {
            Ok(())
        }
        fn write_zeroes(&self, _at: u64, _len: u64, _may_unmap: bool) -> Result<(), DiskError> {
            Ok(())
        }
        fn resize(&self, _size: u64) -> Result<(), DiskError> {
            Ok(())
        }
    }

    #[test]
    fn what_the_kernel_does_not_look_at_threads_do() {
        let file = HostFile::new(tempfile::tempfile().unwrap(), true, Cache::Writeback).unwrap();
        let disk = Arc::new(Planned(file));
        let queue = DiskQueue::new(disk.clone(), QueueOptions::default(), Arc::new(|| {})).unwrap();
        let write = |n: u64| {
            let from = Pieces::scratch(512).unwrap();
            from.fill(0, 512, n as u8).unwrap();
            assert!(queue.submit(Request { kind: Kind::Write(n * 512, from), token: n }).is_none());
        };
        (1..20).for_each(write);
        if let Some(ring) = &queue.shared.ring {
            assert_eq!(queue.pending(), 19, "nobody has seen them");
            queue.shared.ground(ring);
        }
        (20..40).for_each(write);
        queue.kick();
        drop(queue);
        let into = Pieces::scratch(40 * 512).unwrap();
        disk.read(0, &into).unwrap();
        assert!(into.to_vec().iter().enumerate().all(|(n, byte)| *byte == (n / 512) as u8));
    }
}
