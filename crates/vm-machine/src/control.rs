//! What the threads of a machine share: whether it has ended, and how to reach each hart.

use crate::wedge::Activity;
use engine_core::Fault;
use fabric_wire::PendingWord;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest powered off; the status is its own.
    Exit(u64),
    /// The guest asked for a reset.
    Reset,
    /// Somebody outside stopped it.
    Stopped,
    /// The instruction budget is used up.
    Budget,
    /// A hart traps for ever without making progress.
    Wedged {
        /// Which hart.
        hart: u32,
        /// The trap that it began with.
        first: Fault,
        /// The trap that is taken for ever.
        last: Fault,
    },
    /// An x86 processor has shut down: a triple fault.
    Shutdown {
        /// Which processor.
        cpu: u32,
        /// What it began with, where the engine knows.
        fault: Option<Fault>,
    },
    /// An engine cannot go on, for what the host is or does: in words.
    Failed(String),
    /// A thread of the machine died: an error of Hostel's.
    Broken(String),
}

/// Something another hart (or the firmware on its behalf) wants a hart to do before it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Make stores visible to fetches.
    FenceCode,
    /// Forget translations of a range (all if `None`), of an address space (all if `None`).
    FenceVma { range: Option<(u64, u64)>, asid: Option<u16> },
}

/// How others reach a hart.
#[derive(Debug)]
pub(crate) struct Port {
    pub pending: Arc<PendingWord>,
    requests: Mutex<Vec<Request>>,
    /// Requests ever posted, and ever done.
    posted: AtomicU64,
    done: AtomicU64,
    /// Whether the hart may be running guest code right now.
    inside: AtomicBool,
    /// How often it began to, and how often it left because it traps for ever.
    entries: AtomicU64,
    wedges: AtomicU64,
}

impl Port {
    fn new() -> Self {
        Port {
            pending: Arc::new(PendingWord::new()),
            requests: Mutex::default(),
            posted: AtomicU64::new(0),
            done: AtomicU64::new(0),
            inside: AtomicBool::new(false),
            entries: AtomicU64::new(0),
            wedges: AtomicU64::new(0),
        }
    }

    /// The hart is about to run guest code: hands it what it must do first.
    pub fn enter(&self) -> Vec<Request> {
        self.inside.store(true, Ordering::SeqCst);
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.pending.lower(PendingWord::KICK | PendingWord::WORK);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        self.done.store(self.posted.load(Ordering::SeqCst), Ordering::SeqCst);
        std::mem::take(&mut *requests)
    }

    /// The hart has left guest code.
    pub fn leave(&self) {
        self.inside.store(false, Ordering::SeqCst);
    }

    /// The hart has left guest code because it traps for ever.
    pub fn wedged(&self) {
        self.wedges.fetch_add(1, Ordering::Relaxed);
    }

    /// What the hart has been doing.
    pub fn activity(&self) -> Activity {
        Activity {
            entries: self.entries.load(Ordering::Relaxed),
            wedges: self.wedges.load(Ordering::Relaxed),
            inside: self.inside.load(Ordering::SeqCst),
        }
    }

    fn post(&self, request: Request) -> u64 {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request);
        let number = self.posted.fetch_add(1, Ordering::SeqCst) + 1;
        drop(requests);
        self.pending.raise(PendingWord::WORK);
        number
    }

    /// Whether the hart has taken request `number`, or will before it runs guest code again.
    fn settled(&self, number: u64) -> bool {
        !self.inside.load(Ordering::SeqCst) || self.done.load(Ordering::SeqCst) >= number
    }
}

/// The control block of a machine.
#[derive(Debug)]
pub(crate) struct Control {
    pub ports: Vec<Port>,
    end: Mutex<Option<End>>,
    /// Something may have happened that ends the machine or that its owner must do.
    noticed: AtomicBool,
    changed: Condvar,
}

impl Control {
    pub fn new(harts: u32) -> Arc<Self> {
        Arc::new(Control {
            ports: (0..harts).map(|_| Port::new()).collect(),
            end: Mutex::new(None),
            noticed: AtomicBool::new(false),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the machine, unless it has ended already; every hart leaves its run loop.
    pub fn finish(&self, end: End) {
        self.lock().get_or_insert(end);
        self.changed.notify_all();
        for port in &self.ports {
            port.pending.raise(PendingWord::KICK);
        }
    }

    /// Whether the machine has ended.
    pub fn ended(&self) -> bool {
        self.lock().is_some()
    }

    /// Rings for the owner of the machine to look around.
    pub fn notice(&self) {
        self.noticed.store(true, Ordering::SeqCst);
        // The lock orders this against a waiter that has just looked.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits until the machine ends; calls `look` whenever somebody rang.
    pub fn wait(&self, mut look: impl FnMut()) -> End {
        loop {
            if self.noticed.swap(false, Ordering::SeqCst) {
                look();
            }
            let guard = self.lock();
            if let Some(end) = guard.clone() {
                return end;
            }
            if !self.noticed.load(Ordering::SeqCst) {
                let waited = self.changed.wait_timeout(guard, Duration::from_secs(1));
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Has every hart in `harts` do `request` before it runs another instruction, and waits until
    /// that is certain. The caller is not running guest code.
    pub fn ask(&self, harts: impl Iterator<Item = u32>, request: Request) {
        let mut open: Vec<(&Port, u64)> = Vec::new();
        for hart in harts {
            if let Some(port) = self.ports.get(hart as usize) {
                open.push((port, port.post(request)));
            }
        }
        let mut spins = 0u32;
        while !self.ended() {
            open.retain(|(port, number)| !port.settled(*number));
            if open.is_empty() {
                return;
            }
            spins += 1;
            if spins < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_a_hart_outside_is_settled_at_once_and_done_when_it_enters() {
        let control = Control::new(2);
        control.ask([1].into_iter(), Request::FenceCode);
        assert_eq!(control.ports[1].enter(), vec![Request::FenceCode]);
        assert_eq!(control.ports[1].enter(), vec![]);
    }

    #[test]
    fn a_request_to_a_running_hart_waits_for_it() {
        let control = Control::new(1);
        assert_eq!(control.ports[0].enter(), vec![]);
        let other = Arc::clone(&control);
        let asker = std::thread::spawn(move || other.ask([0].into_iter(), Request::FenceCode));
        while control.ports[0].pending.load() & PendingWord::WORK == 0 {
            std::thread::yield_now();
        }
        assert!(!asker.is_finished());
        assert_eq!(control.ports[0].enter(), vec![Request::FenceCode]);
        asker.join().unwrap();
    }

    #[test]
    fn the_first_end_stands() {
        let control = Control::new(1);
        control.finish(End::Exit(3));
        control.finish(End::Stopped);
        assert_eq!(control.wait(|| ()), End::Exit(3));
        assert!(control.ports[0].pending.load() & PendingWord::KICK != 0);
    }
}
