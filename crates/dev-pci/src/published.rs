//! Routes that many threads read often and that are seldom replaced.
//!
//! A reader keeps what it has read and asks only whether that is the newest still, which is one load of a word that nobody
//! writes meanwhile. A lock for readers costs each of them a write to a word that all of them write.

use crate::routes::Routes;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The newest routes of a root complex.
pub(crate) struct Published {
    /// Which root complex, of all that there have been.
    number: u64,
    /// How often the routes have been replaced. Changes while they are locked.
    generation: AtomicU64,
    routes: Mutex<Arc<Routes>>,
}

/// What a thread has read last.
struct Kept {
    number: u64,
    generation: u64,
    routes: Arc<Routes>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

impl Published {
    pub fn new(routes: Routes) -> Published {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Published { number, generation: AtomicU64::new(0), routes: Mutex::new(Arc::new(routes)) }
    }

    /// Replaces them: who looks something up after this has returned sees the new ones.
    pub fn replace(&self, routes: Routes) {
        let mut newest = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Arc::new(routes);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Looks something up. `f` must not come here again.
    pub fn with<R>(&self, f: impl FnOnce(&Routes) -> R) -> R {
        let generation = self.generation.load(Ordering::Acquire);
        KEPT.with_borrow_mut(|kept| {
            let newest = |kept: &&mut Kept| kept.number == self.number && kept.generation == generation;
            if let Some(kept) = kept.as_mut().filter(newest) {
                return f(&kept.routes);
            }
            let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
            let generation = self.generation.load(Ordering::Relaxed);
            let now = Kept { number: self.number, generation, routes: Arc::clone(&routes) };
            drop(routes);
            f(&kept.insert(now).routes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Claim, Decode, Space};
    use crate::routes::Position;

    /// Routes in which one function has the 16 ports from `base` on.
    fn routes(base: u64) -> Routes {
        let claim = Claim { space: Space::Io, base, last: base + 15, at: 1 << 40 };
        let decode = Decode { claims: vec![claim], bridge: None };
        Routes::new(&[Position { port: None, devfn: 0 }], &[decode])
    }

    fn has(published: &Published, port: u64) -> bool {
        published.with(|routes| routes.find(Space::Io, port, 1).is_some())
    }

    #[test]
    fn readers_see_the_newest_of_the_right_complex() {
        let (one, other) = (Published::new(routes(0)), Published::new(routes(16)));
        for _ in 0..2 {
            assert!(has(&one, 0) && !has(&one, 16) && has(&other, 16) && !has(&other, 0));
        }
        one.replace(routes(32));
        assert!(has(&one, 32) && !has(&one, 0) && has(&other, 16));
    }

    /// A thread that has been told of a change sees it; one that has not may see either, but never goes back.
    #[test]
    fn other_threads_see_what_they_have_been_told_of() {
        const ROUNDS: u64 = 5_000;
        let published = Published::new(routes(0));
        let told = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < ROUNDS {
                        let least = told.load(Ordering::Acquire);
                        let seen = published.with(|routes| routes.io.first().map_or(0, |r| r.base / 16));
                        assert!(seen >= least && seen >= last, "{seen} after {last}, told of {least}");
                        last = seen;
                    }
                });
            }
            for round in 1..=ROUNDS {
                published.replace(routes(16 * round));
                told.store(round, Ordering::Release);
            }
        });
    }
}
