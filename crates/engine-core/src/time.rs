//! Time as a processor sees it.

use fabric_clock::{Clock, NEVER, Nanos, Timers};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Guest nanoseconds per retired instruction when time follows the instruction count: a machine of
/// a thousand million instructions a second.
const NANOS_PER_INSN: u64 = 1;

/// Pauses after which a spinning processor yields: one or two microseconds of a spin loop.
const PAUSES: u32 = 32;

/// The machine's clock and timers, and how a processor relates to them.
#[derive(Clone)]
pub struct TimeSource {
    timers: Arc<Timers>,
    tick: Nanos,
    /// With a virtual clock: guest time when no instruction had been retired, as far as idle time
    /// has moved it.
    base: Nanos,
    /// What the `time` counter shows beyond the ticks of guest time, wrapping.
    offset: Arc<AtomicU64>,
    /// How often the processor has paused.
    pauses: u32,
}

impl TimeSource {
    /// Time from `timers`' clock, in ticks of `timebase_hz` (which divides a thousand million).
    pub fn new(timers: Arc<Timers>, timebase_hz: u64) -> Self {
        let tick = (1_000_000_000 / timebase_hz.max(1)).max(1);
        TimeSource { timers, tick, base: 0, offset: Arc::default(), pauses: 0 }
    }

    /// The same, with a counter that shows `offset` more, wrapping: whoever holds the platform's
    /// `mtime` keeps it there, as `time` is a view of `mtime` (Unprivileged ISA, "Zicntr"). A hart
    /// that sleeps must be kicked when it changes.
    #[must_use]
    pub fn shifted_by(mut self, offset: Arc<AtomicU64>) -> Self {
        self.offset = offset;
        self
    }

    /// The processor is in a spin loop (`pause`). With more processors than the host has, the one that is waited for may be
    /// waiting for ours. A few pauses cost nothing; to yield can cost a time slice.
    pub fn pause(&mut self) {
        self.pauses = self.pauses.wrapping_add(1);
        if self.pauses.is_multiple_of(PAUSES) && !self.is_virtual() {
            std::thread::yield_now();
        }
    }

    /// Whether time is a function of the instruction count.
    pub fn is_virtual(&self) -> bool {
        self.clock().is_virtual()
    }

    /// Guest time after `retired` instructions. A virtual clock is brought up to it.
    pub fn now(&self, retired: u64) -> Nanos {
        if self.is_virtual() {
            self.clock().advance_to(self.base.saturating_add(retired.saturating_mul(NANOS_PER_INSN)));
        }
        self.clock().now()
    }

    /// The `time` counter after `retired` instructions.
    pub fn ticks(&self, retired: u64) -> u64 {
        self.counter(self.now(retired))
    }

    /// The `time` counter at the clock's present time, for whoever is not running instructions.
    pub fn ticks_now(&self) -> u64 {
        self.counter(self.clock().now())
    }

    fn counter(&self, now: Nanos) -> u64 {
        (now / self.tick).wrapping_add(self.offset.load(Ordering::Acquire))
    }

    /// Guest time at which the counter, which shows `ticks` now, reaches `at`; `None` if it is there
    /// already or that time never comes.
    pub fn at_tick(&self, ticks: u64, at: u64) -> Option<Nanos> {
        let raw = ticks.wrapping_sub(self.offset.load(Ordering::Acquire));
        let ahead = at.checked_sub(ticks).filter(|&ahead| ahead > 0)?;
        raw.checked_add(ahead)?.checked_mul(self.tick).filter(|&at| at < NEVER)
    }

    /// Time of the same rate on a virtual clock of its own, with no timers, at `now` and with a counter that shows `offset`
    /// more: for a processor that runs beside the machine's.
    #[must_use]
    pub fn apart(&self, now: Nanos, offset: u64) -> TimeSource {
        TimeSource {
            timers: Timers::new(Arc::new(Clock::virtual_from(now))),
            tick: self.tick,
            base: 0,
            offset: Arc::new(AtomicU64::new(offset)),
            pauses: 0,
        }
    }

    /// Brings a source made by [`TimeSource::apart`] to where the machine's is.
    pub fn follow(&self, now: Nanos, offset: u64) {
        self.clock().advance_to(now);
        self.offset.store(offset, Ordering::Release);
    }

    /// What the counter shows beyond the ticks of guest time.
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<Clock> {
        self.timers.clock()
    }

    /// Takes note that a virtual clock has been moved while the processor was idle after `retired`
    /// instructions, and runs the timers that are due.
    pub fn catch_up(&mut self, retired: u64) {
        if self.is_virtual() {
            let own = retired.saturating_mul(NANOS_PER_INSN);
            self.base = self.base.max(self.clock().now().saturating_sub(own));
            self.timers.run_due(self.now(retired));
        }
    }

    /// How many instructions from `retired` on until guest time is `at` or a timer is due: the processor
    /// must look around then. `None` on a real clock.
    pub fn insns_until(&self, retired: u64, at: Option<Nanos>) -> Option<u64> {
        if !self.is_virtual() {
            return None;
        }
        let next = match (at, self.timers.next_deadline()) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(Nanos::MAX),
        };
        Some(next.saturating_sub(self.now(retired)).div_ceil(NANOS_PER_INSN))
    }
}
