//! Telling a machine that can make no progress from a hart that merely waits by trapping.
//!
//! A hart that takes one and the same trap again and again may be freed by another: a page that is
//! mapped at last, code that is written. So the machine counts as wedged only if all its other harts
//! stay away from guest code, or trap for ever as well, for some time.

use crate::control::Port;
use std::time::{Duration, Instant};

/// How long the others must have done nothing.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether one that traps for ever still does.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one hart knows of its own plight and of the others.
#[derive(Debug, Default)]
pub(crate) struct Wedge {
    watch: Option<Watch>,
}

/// A time during which nothing but futile traps has been seen.
#[derive(Debug)]
struct Watch {
    since: Instant,
    /// Instructions that the watching hart has retired.
    retired: u64,
    /// What each hart had done at its start, and at the last look at all of them.
    first: Vec<Activity>,
    last: Vec<Activity>,
    looked: Instant,
}

/// How often a hart has begun to run guest code, how often it left because it traps for ever, and whether
/// it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    pub entries: u64,
    pub wedges: u64,
    pub inside: bool,
}

impl Activity {
    /// Whether nothing has happened since `first` but trapping on, and that also since `last`. Another
    /// thread counts: it may be just between an entry and the count of how it ended.
    fn is_idle(self, first: Activity, last: Activity) -> bool {
        let other = |a: Activity| a.entries.saturating_sub(a.wedges);
        other(self) <= other(first) + 1 && (!self.inside || self.wedges > last.wedges)
    }
}

impl Wedge {
    /// Hart `own` of `ports` traps for ever, with `retired` instructions behind it. Whether the machine
    /// as a whole makes no progress.
    pub fn hopeless(&mut self, ports: &[Port], own: u32, retired: u64) -> bool {
        if ports.len() < 2 {
            return true;
        }
        let now: Vec<Activity> = ports.iter().map(Port::activity).collect();
        let Some(watch) = self.watch.as_mut().filter(|watch| watch.retired == retired) else {
            self.watch = Some(Watch::new(now, retired));
            return false;
        };
        if watch.looked.elapsed() < INTERVAL {
            return false;
        }
        let idle = |(hart, now): (usize, &Activity)| {
            let at = |list: &[Activity]| list.get(hart).copied().unwrap_or_default();
            hart == own as usize || now.is_idle(at(&watch.first), at(&watch.last))
        };
        if !now.iter().enumerate().all(idle) {
            self.watch = Some(Watch::new(now, retired));
            return false;
        }
        (watch.last, watch.looked) = (now, Instant::now());
        watch.since.elapsed() >= PATIENCE
    }
}

impl Watch {
    fn new(now: Vec<Activity>, retired: u64) -> Watch {
        let since = Instant::now();
        Watch { since, retired, first: now.clone(), last: now, looked: since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hart_is_idle_that_stays_out_or_only_traps_on() {
        let at = |entries, wedges, inside| Activity { entries, wedges, inside };
        assert!(at(5, 0, false).is_idle(at(5, 0, false), at(5, 0, false)));
        assert!(at(99, 94, true).is_idle(at(5, 0, false), at(50, 45, true)));
        assert!(!at(5, 0, true).is_idle(at(5, 0, true), at(5, 0, true)), "it runs");
        assert!(!at(7, 0, false).is_idle(at(5, 0, false), at(5, 0, false)), "it has run");
        assert!(!at(50, 45, true).is_idle(at(5, 0, false), at(50, 45, true)), "it was freed since");
    }
}
