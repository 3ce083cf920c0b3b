//! `hostel bench`: how fast guests run.

use crate::command::MeasureOptions;
use crate::{say, status};
use anyhow::{Context, bail};

/// Measures what was asked for and gives the exit status.
///
/// # Errors
/// If something that it needs is not there, or a guest fails.
pub fn bench(options: MeasureOptions) -> anyhow::Result<u8> {
    if let (Some(option), false) = (options.fetch.given(), options.bench.needs_images()) {
        bail!("{option} has no effect: what is measured needs no guest image; leave it out");
    }
    // What is measured is this program, as people start it.
    let hostel = std::env::current_exe().context("cannot find Hostel's own binary")?;
    let outcome = app_bench::run(&options.bench, options.fetch.options(), hostel, say::note)?;
    say::answer(&outcome.text)?;
    if let Some(failure) = outcome.failure {
        // What was measured before it is said all the same.
        return Err(failure);
    }
    Ok(if outcome.agreed { status::SUCCESS } else { status::DISAGREED })
}
