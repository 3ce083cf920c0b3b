//! The pending word: the one 64-bit word a hart looks at between blocks.

use crate::Sink;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bits that others set for a hart: its interrupt lines (bit = number of the line, which the
/// instruction set assigns, for RISC-V the bit of `mip`) and requests (the upper 32 bits).
///
/// Any thread may raise and lower bits; the hart reads them without a lock, and sleeps on the word
/// when it has nothing to do.
#[derive(Default)]
pub struct PendingWord {
    bits: AtomicU64,
    parked: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
    /// How to reach a hart that does not look at the word while it runs.
    caller: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for PendingWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingWord({:#x})", self.load())
    }
}

impl PendingWord {
    /// Request bit: leave the run loop and return to the caller of `run`.
    pub const KICK: u64 = 1 << 32;
    /// Request bit: the owner of the machine has queued work for this hart (remote fences, start).
    pub const WORK: u64 = 1 << 33;
    /// The bits that are interrupt lines.
    pub const LINES: u64 = 0xffff_ffff;

    /// A word with nothing pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// All bits, as they are now.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        self.bits.load(Ordering::Acquire)
    }

    /// Raises `bits`, wakes the hart if it sleeps, and calls it ([`PendingWord::call_with`]).
    pub fn raise(&self, bits: u64) {
        let before = self.bits.fetch_or(bits, Ordering::SeqCst);
        if before & bits == bits {
            return;
        }
        if self.parked.load(Ordering::SeqCst) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.bell.notify_all();
        }
        if let Some(call) = self.caller.get() {
            call();
        }
    }

    /// Has `call` called whenever a bit has gone up, on the thread that raised it: for an engine that runs the guest
    /// where it cannot look at the word. Only the first one counts.
    pub fn call_with(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.caller.set(call);
    }

    /// Lowers `bits`; returns which of them had been up.
    pub fn lower(&self, bits: u64) -> u64 {
        self.bits.fetch_and(!bits, Ordering::SeqCst) & bits
    }

    /// Sleeps until `wake` says so of the word, or until `deadline`. Returns the word.
    pub fn park(&self, deadline: Option<Instant>, wake: impl Fn(u64) -> bool) -> u64 {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.store(true, Ordering::SeqCst);
        let word = loop {
            let word = self.bits.load(Ordering::SeqCst);
            if wake(word) {
                break word;
            }
            guard = match deadline {
                None => self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        break word;
                    }
                    self.bell.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        self.parked.store(false, Ordering::SeqCst);
        drop(guard);
        word
    }
}

impl Sink for PendingWord {
    fn set(&self, input: u32, high: bool) {
        let bit = 1u64.checked_shl(input).unwrap_or(0) & PendingWord::LINES;
        if high {
            self.raise(bit);
        } else {
            self.lower(bit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn raising_a_line_wakes_a_parked_hart() {
        let word = Arc::new(PendingWord::new());
        let sleeper = Arc::clone(&word);
        let hart = std::thread::spawn(move || sleeper.park(None, |w| w & 2 != 0));
        word.set(1, true);
        assert_eq!(hart.join().unwrap(), 2);
    }

    #[test]
    fn only_a_bit_that_goes_up_calls() {
        let (word, calls) = (PendingWord::new(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&calls);
        word.call_with(Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        word.raise(1);
        word.raise(1);
        word.lower(1);
        word.set(0, true);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_deadline_ends_the_sleep() {
        let word = PendingWord::new();
        let end = Instant::now() + Duration::from_millis(5);
        assert_eq!(word.park(Some(end), |w| w != 0), 0);
        assert!(Instant::now() >= end);
    }

    #[test]
    fn a_wire_cannot_reach_the_request_bits() {
        let word = PendingWord::new();
        word.set(32, true);
        word.set(200, true);
        assert_eq!(word.load(), 0);
    }
}
