//! Timers: who wants to be called at which guest time.

use crate::{Clock, NEVER, Nanos};
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Something with a deadline (a device's slot).
pub trait Timed: Send + Sync {
    /// Called once guest time has reached the armed deadline. May arm itself again.
    fn expired(&self, now: Nanos);
}

/// The number of a registered timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(usize);

#[derive(Default)]
struct Queue {
    owners: Vec<Weak<dyn Timed>>,
    armed: Vec<Option<Nanos>>,
    order: BTreeSet<(Nanos, usize)>,
    closed: bool,
}

/// The timers of one machine. On a real clock one thread sleeps until the next deadline; on a
/// virtual clock whoever advances the clock calls [`Timers::run_due`].
pub struct Timers {
    clock: Arc<Clock>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Timers {
    /// Timers on `clock`; nothing runs until [`Timers::spawn`] or [`Timers::run_due`].
    pub fn new(clock: Arc<Clock>) -> Arc<Self> {
        Arc::new(Timers { clock, queue: Mutex::default(), changed: Condvar::new() })
    }

    /// The clock these timers wait on.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers `owner`, unarmed.
    pub fn register(&self, owner: Weak<dyn Timed>) -> TimerId {
        let mut queue = self.lock();
        queue.owners.push(owner);
        queue.armed.push(None);
        TimerId(queue.owners.len() - 1)
    }

    /// Sets or clears the deadline of `id`.
    pub fn arm(&self, id: TimerId, deadline: Option<Nanos>) {
        let mut queue = self.lock();
        let Some(slot) = queue.armed.get_mut(id.0) else { return };
        if *slot == deadline {
            return;
        }
        let old = std::mem::replace(slot, deadline);
        if let Some(at) = old {
            queue.order.remove(&(at, id.0));
        }
        let first = queue.order.first().copied();
        if let Some(at) = deadline {
            queue.order.insert((at, id.0));
        }
        if queue.order.first().copied() != first {
            self.changed.notify_all();
        }
    }

    /// The earliest deadline, if it will ever come.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.lock().order.first().map(|&(at, _)| at).filter(|&at| at < NEVER)
    }

    /// Calls everyone whose deadline is not after `now`, earliest first; whether there was one.
    pub fn run_due(&self, now: Nanos) -> bool {
        let mut any = false;
        loop {
            let owner = {
                let mut queue = self.lock();
                let Some(&(at, id)) = queue.order.first().filter(|(at, _)| *at <= now) else { return any };
                queue.order.remove(&(at, id));
                if let Some(slot) = queue.armed.get_mut(id) {
                    *slot = None;
                }
                queue.owners.get(id).and_then(Weak::upgrade)
            };
            any = true;
            if let Some(owner) = owner {
                owner.expired(now);
            }
        }
    }

    /// Starts the thread that serves these timers on a real clock; it ends after [`Timers::close`].
    pub fn spawn(self: &Arc<Self>) -> std::io::Result<std::thread::JoinHandle<()>> {
        let timers = Arc::clone(self);
        std::thread::Builder::new().name("timers".into()).spawn(move || timers.serve())
    }

    fn serve(&self) {
        /// How often a sleeping thread looks again while the clock is paused.
        const PAUSED: Duration = Duration::from_millis(50);
        /// No sooner than this after a round that called somebody comes the next one: a guest may set up a timer with a
        /// period of a nanosecond, and must not get a processor of the host's for it. With Linux's usual timer
        /// slack a round takes some 90 µs then, about as much as any deadline is late.
        const REST: Duration = Duration::from_micros(20);
        loop {
            if self.run_due(self.clock.now()) {
                std::thread::sleep(REST);
            }
            let queue = self.lock();
            if queue.closed {
                return;
            }
            let next = queue.order.first().map(|&(at, _)| at);
            let wait = match next {
                None => Duration::from_secs(3600),
                Some(at) if at <= self.clock.now() => continue,
                Some(at) => self
                    .clock
                    .instant_of(at)
                    .map_or(PAUSED, |i| i.saturating_duration_since(std::time::Instant::now())),
            };
            drop(self.changed.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Ends the serving thread.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Count(AtomicU64);
    impl Timed for Count {
        fn expired(&self, _now: Nanos) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_due_timer_fires_once_and_a_cleared_one_never() {
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let count = Arc::new(Count::default());
        let weak: Weak<dyn Timed> = Arc::downgrade(&(Arc::clone(&count) as Arc<dyn Timed>));
        let id = timers.register(weak);
        timers.arm(id, Some(10));
        timers.run_due(9);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        timers.run_due(10);
        timers.run_due(11);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        timers.arm(id, Some(NEVER));
        assert_eq!(timers.next_deadline(), None);
        timers.arm(id, Some(20));
        assert_eq!(timers.next_deadline(), Some(20));
        timers.arm(id, None);
        timers.run_due(30);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    /// A timer with a period of a nanosecond.
    struct Eager {
        timers: Arc<Timers>,
        id: std::sync::OnceLock<TimerId>,
        rounds: AtomicU64,
    }
    impl Timed for Eager {
        fn expired(&self, _now: Nanos) {
            self.rounds.fetch_add(1, Ordering::SeqCst);
            self.timers.arm(*self.id.get().unwrap(), Some(self.timers.clock().now() + 1));
        }
    }

    #[test]
    fn an_eager_timer_gets_no_processor_of_its_own() {
        let timers = Timers::new(Arc::new(Clock::real()));
        let eager = Arc::new(Eager {
            timers: Arc::clone(&timers),
            id: std::sync::OnceLock::new(),
            rounds: AtomicU64::new(0),
        });
        let weak: Weak<dyn Timed> = Arc::downgrade(&(Arc::clone(&eager) as Arc<dyn Timed>));
        eager.id.set(timers.register(weak)).unwrap();
        let start = std::time::Instant::now();
        let thread = timers.spawn().unwrap();
        timers.arm(*eager.id.get().unwrap(), Some(1));
        std::thread::sleep(Duration::from_millis(50));
        timers.close();
        thread.join().unwrap();
        let (rounds, took) = (eager.rounds.load(Ordering::SeqCst), start.elapsed());
        assert!(rounds > 1 && u128::from(rounds) <= took.as_micros() / 20 + 1, "{rounds} rounds in {took:?}");
    }

    #[test]
    fn the_thread_serves_a_real_clock() {
        let timers = Timers::new(Arc::new(Clock::real()));
        let count = Arc::new(Count::default());
        let weak: Weak<dyn Timed> = Arc::downgrade(&(Arc::clone(&count) as Arc<dyn Timed>));
        let id = timers.register(weak);
        let thread = timers.spawn().unwrap();
        timers.arm(id, Some(timers.clock().now() + 2_000_000));
        while count.0.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        timers.close();
        thread.join().unwrap();
    }
}
