//! How a processor with nothing to do waits.

use fabric_clock::{Nanos, Timers};
use fabric_wire::PendingWord;

/// Sleeps until something in `wake` is pending, or its own timer (`until`) or a device's fires.
pub(crate) fn sleep(timers: &Timers, pending: &PendingWord, until: Option<Nanos>, wake: u64) {
    let clock = timers.clock();
    let awake = |word: u64| word & wake != 0;
    if !clock.is_virtual() {
        let deadline = until.and_then(|at| clock.instant_of(at));
        pending.park(deadline, awake);
        return;
    }
    let next = match (until, timers.next_deadline()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    match next {
        // Input that has come ends the sleep before time moves.
        _ if awake(pending.load()) => {}
        // Nothing runs meanwhile, so time jumps.
        Some(at) => {
            clock.advance_to(at);
            timers.run_due(clock.now());
        }
        None => {
            pending.park(None, awake);
        }
    }
}
