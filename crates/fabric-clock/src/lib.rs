//! Time: the one clock of a machine, and the timers that wait on it.
//!
//! All guest-visible time is nanoseconds since the machine was first started. It advances with the
//! host's monotonic clock ([`Clock::real`]) or only when the engine says so ([`Clock::virtual_`]: a
//! function of the instruction count, which makes a run repeatable). Nothing else in Hostel may ask
//! the host for the time on a guest's behalf; the wall clock at start is a parameter of the machine.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod timers;

pub use timers::{Timed, TimerId, Timers};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Nanoseconds of guest time since the machine was first started.
pub type Nanos = u64;

/// A guest time that never comes: the machine would have to run for 292 years. A deadline from here
/// on is none, so that an idle machine on a virtual clock does not jump to the end of time.
pub const NEVER: Nanos = 1 << 63;

/// The clock of one machine.
#[derive(Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Real(Real),
    Virtual(AtomicU64),
}

/// A clock that follows the host's. Harts read it often and it is hardly ever paused, so readers
/// take no lock.
#[derive(Debug)]
struct Real {
    start: Instant,
    /// Guest time then.
    from: Nanos,
    /// How long it stood still in all.
    lost: AtomicU64,
    /// Guest time at which it stands still; [`RUNNING`] while it does not.
    stopped: AtomicU64,
    /// Held by whoever pauses or resumes.
    change: Mutex<()>,
}

const RUNNING: Nanos = Nanos::MAX;

impl Real {
    fn host(&self) -> Nanos {
        self.from.saturating_add(self.start.elapsed().as_nanos() as u64)
    }

    fn now(&self) -> Nanos {
        loop {
            let stopped = self.stopped.load(Ordering::Acquire);
            if stopped != RUNNING {
                return stopped;
            }
            let lost = self.lost.load(Ordering::Acquire);
            let now = self.host().saturating_sub(lost);
            // A pause meanwhile would show in the sum.
            if self.lost.load(Ordering::Acquire) == lost {
                return now;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    /// A clock that follows the host's monotonic clock from now on.
    pub fn real() -> Self {
        Clock::real_from(0)
    }

    /// The same for a machine that has run before: guest time is `from` now.
    pub fn real_from(from: Nanos) -> Self {
        Clock {
            source: Source::Real(Real {
                start: Instant::now(),
                from,
                lost: AtomicU64::new(0),
                stopped: AtomicU64::new(RUNNING),
                change: Mutex::new(()),
            }),
        }
    }

    /// The same, standing still until [`Clock::resume`]: the machine is being put together.
    pub fn real_stopped_at(at: Nanos) -> Self {
        let clock = Clock::real_from(at);
        if let Source::Real(real) = &clock.source {
            real.stopped.store(at, Ordering::Release);
        }
        clock
    }

    /// A clock that stands still until [`Clock::advance_to`] moves it.
    pub fn virtual_() -> Self {
        Clock::virtual_from(0)
    }

    /// The same for a machine that has run before: guest time is `from` now.
    pub fn virtual_from(from: Nanos) -> Self {
        Clock { source: Source::Virtual(AtomicU64::new(from)) }
    }

    /// Whether time is a function of the instruction count.
    pub fn is_virtual(&self) -> bool {
        matches!(self.source, Source::Virtual(_))
    }

    /// Guest time now.
    pub fn now(&self) -> Nanos {
        match &self.source {
            Source::Virtual(now) => now.load(Ordering::Acquire),
            Source::Real(real) => real.now(),
        }
    }

    /// Moves a virtual clock forward to `now`; it never goes back. Without effect on a real clock.
    pub fn advance_to(&self, now: Nanos) {
        if let Source::Virtual(cell) = &self.source {
            cell.fetch_max(now, Ordering::AcqRel);
        }
    }

    /// Stops a real clock, so that a paused machine does not age. Idempotent.
    pub fn pause(&self) {
        if let Source::Real(real) = &self.source {
            let _guard = real.lock();
            real.stopped.store(real.now(), Ordering::Release);
        }
    }

    /// Lets a paused real clock run again. Idempotent.
    pub fn resume(&self) {
        if let Source::Real(real) = &self.source {
            let _guard = real.lock();
            let stopped = real.stopped.load(Ordering::Acquire);
            if stopped != RUNNING {
                real.lost.store(real.host().saturating_sub(stopped), Ordering::Release);
                real.stopped.store(RUNNING, Ordering::Release);
            }
        }
    }

    /// The host instant at which guest time will be `at`; `None` for a virtual or paused clock.
    pub fn instant_of(&self, at: Nanos) -> Option<Instant> {
        match &self.source {
            Source::Virtual(_) => None,
            Source::Real(real) => {
                let _guard = real.lock();
                let running = real.stopped.load(Ordering::Acquire) == RUNNING;
                let host = at.saturating_add(real.lost.load(Ordering::Acquire)).saturating_sub(real.from);
                real.start.checked_add(Duration::from_nanos(host)).filter(|_| running)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_moves_only_when_told_and_never_back() {
        let clock = Clock::virtual_();
        clock.advance_to(50);
        clock.advance_to(20);
        assert_eq!(clock.now(), 50);
    }

    #[test]
    fn a_clock_goes_on_from_where_another_stood() {
        assert_eq!(Clock::virtual_from(70).now(), 70);
        let clock = Clock::real_from(1 << 40);
        let now = clock.now();
        assert!((1 << 40..(1 << 40) + 1_000_000_000).contains(&now));
        let instant = clock.instant_of(now + 2_000_000).unwrap();
        std::thread::sleep(instant.saturating_duration_since(Instant::now()));
        assert!(clock.now() >= now + 2_000_000);
    }

    #[test]
    fn a_stopped_clock_shows_exactly_where_it_stands() {
        let clock = Clock::real_stopped_at(1 << 40);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(clock.now(), 1 << 40);
        clock.resume();
        assert!((1 << 40..(1 << 40) + 1_000_000_000).contains(&clock.now()));
    }

    #[test]
    fn a_paused_clock_stands_still_and_goes_on_where_it_stood() {
        let clock = Clock::real();
        clock.pause();
        let at = clock.now();
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert_eq!(clock.now(), at);
        clock.pause();
        assert_eq!(clock.instant_of(at), None);
        clock.resume();
        assert!(clock.now() >= at && clock.now() < at + 1_000_000_000);
        let soon = clock.now() + 2_000_000;
        let instant = clock.instant_of(soon).unwrap();
        std::thread::sleep(instant.saturating_duration_since(Instant::now()));
        assert!(clock.now() >= soon);
    }
}
