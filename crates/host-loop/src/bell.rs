//! A bell that wakes a thread.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    /// Rung, and not heard yet.
    rung: AtomicBool,
}

/// A bell, by as many handles as one likes. Ringing never waits, and costs no system call while the last ring has not been heard.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Inner>);

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// If the host gives no more descriptors.
    pub fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(Arc::new(Inner { event, rung: AtomicBool::new(false) })))
    }

    /// Wakes whoever listens. What was done before is seen by them.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::SeqCst) {
            // It fails only when the counter is full, and then whoever listens is awake already.
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        }
    }

    /// Whether it has been rung since this was last asked.
    pub(crate) fn heard(&self) -> bool {
        self.0.rung.load(Ordering::SeqCst) && self.clear()
    }

    /// The same for who has been woken by the descriptor. That may be ready though the ring has been heard: it is rung in two
    /// steps.
    pub(crate) fn clear(&self) -> bool {
        // In this order: a ring behind the first is either seen by the work that follows, or makes the descriptor ready again.
        let _ = rustix::io::read(&self.0.event, &mut [0u8; 8]);
        self.0.rung.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
