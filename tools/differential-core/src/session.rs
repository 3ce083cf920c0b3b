//! A run of a comparison: how long it goes on, and what its process ends with.

use anyhow::Result;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The most minutes that can be asked for: a leap year of them.
pub const MINUTES: u64 = 366 * 24 * 60;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    end: Option<Instant>,
    cases: u64,
}

impl Limit {
    /// For so many minutes, at most [`MINUTES`], and so many cases; `otherwise` cases if neither is said.
    pub fn new(minutes: Option<u64>, cases: Option<u64>, otherwise: u64) -> Limit {
        let seconds = minutes.map(|minutes| 60 * minutes.min(MINUTES));
        let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let cases = cases.unwrap_or(if end.is_some() { u64::MAX } else { otherwise });
        Limit { end, cases }
    }

    /// How many cases may be done after `done`: none once time is over.
    pub fn left(&self, done: u64) -> u64 {
        if self.end.is_some_and(|end| Instant::now() >= end) { 0 } else { self.cases.saturating_sub(done) }
    }
}

/// What `main` returns: success if all is well. An error is said.
pub fn exit_code(all_well: Result<bool>) -> ExitCode {
    match all_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_by_what_is_said() {
        assert_eq!(Limit::new(None, None, 7).left(3), 4);
        assert_eq!(Limit::new(None, Some(5), 7).left(6), 0);
        assert_eq!(Limit::new(Some(u64::MAX), None, 7).left(8), u64::MAX - 8);
        assert_eq!(Limit::new(Some(0), None, 7).left(0), 0);
        assert_eq!(Limit::new(Some(1), Some(9), 7).left(2), 7);
    }
}
