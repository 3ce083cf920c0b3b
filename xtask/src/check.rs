//! `cargo xtask check`: what CI runs, in order, each step timed, with a table at the end.

use crate::check_steps::STEPS;
use anyhow::{Result, bail};
use std::cell::Cell;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a step ended, with what the table says of it.
#[derive(Debug)]
pub enum Outcome {
    /// As it should.
    Passed(String),
    /// Not as it should.
    Failed(String),
    /// It did not run, and why.
    Skipped(String),
}

/// What the steps know of the run.
pub struct Run {
    /// Runs on a CI machine: the lock file is not to be changed, and everything is measured.
    pub ci: bool,
    /// Measure a clean release build, which takes minutes.
    pub timings: bool,
    /// How long the release build took, if there was none before.
    pub clean_build: Cell<Option<Duration>>,
}

/// One step.
pub struct Step {
    /// Its name in the table and for `--only`.
    pub name: &'static str,
    /// What it does, for `--list`.
    pub about: &'static str,
    /// Does it.
    pub run: fn(&Run) -> Result<Outcome>,
}

/// The whole run should take no longer than this on two processors.
const WHOLE: Duration = Duration::from_secs(15 * 60);

/// Runs everything CI runs, in order, each step timed
#[derive(clap::Parser)]
#[command(
    after_help = "A step that this machine cannot do is skipped, and the table says what is missing.\n\
                        Exit status: 0 nothing failed, 1 a step failed."
)]
struct Options {
    /// As on a CI machine: Cargo.lock must be current, and everything is measured (implies --timings)
    #[arg(long)]
    ci: bool,
    /// Measure a clean release build too, in target/timings
    #[arg(long)]
    timings: bool,
    /// Only these steps (see --list), comma-separated
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Say what the steps are and do nothing
    #[arg(long)]
    list: bool,
}

/// The verb.
///
/// # Errors
/// If `--only` names no step.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("check", arguments);
    if options.list {
        STEPS.iter().for_each(|step| println!("{:<24}{}", step.name, step.about));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(wrong) = options.only.iter().find(|name| STEPS.iter().all(|step| step.name != *name)) {
        bail!("no step `{wrong}`; `cargo xtask check --list` says which there are");
    }
    let run = Run { ci: options.ci, timings: options.ci || options.timings, clean_build: Cell::new(None) };
    let start = Instant::now();
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|s| options.only.is_empty() || options.only.iter().any(|n| n == s.name)) {
        eprintln!("\n==> {}: {}", step.name, step.about);
        let began = Instant::now();
        let outcome = (step.run)(&run).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        rows.push((step.name, outcome, began.elapsed()));
    }
    print!("\n{}", table(&rows, start.elapsed()));
    let failed = rows.iter().any(|row| matches!(row.1, Outcome::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(rows: &[(&str, Outcome, Duration)], whole: Duration) -> String {
    let mut text = format!("{:<24}{:<9}{:>8}  \n", "step", "result", "time");
    let mut counts = [0; 3];
    for (name, outcome, time) in rows {
        let (kind, word, note) = match outcome {
            Outcome::Passed(note) => (0, "ok", note),
            Outcome::Failed(note) => (1, "FAILED", note),
            Outcome::Skipped(note) => (2, "skipped", note),
        };
        counts[kind] += 1;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<24}{word:<9}{:>6.1} s  {note}", time.as_secs_f64());
    }
    let [passed, failed, skipped] = counts;
    let seconds = whole.as_secs_f64();
    let _ = writeln!(text, "check: {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0} s");
    if whole > WHOLE {
        let _ = writeln!(text, "check: that is over the {} s it should take", WHOLE.as_secs());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_everything() {
        let rows = [
            ("one", Outcome::Passed("fine".into()), Duration::from_millis(1500)),
            ("two", Outcome::Failed("bad".into()), Duration::ZERO),
            ("three", Outcome::Skipped("apt install x".into()), Duration::ZERO),
        ];
        let text = table(&rows, Duration::from_secs(1000));
        for line in [
            "one                     ok          1.5 s  fine\n",
            "two                     FAILED      0.0 s  bad\n",
            "three                   skipped     0.0 s  apt install x\n",
            "check: 1 passed, 1 failed, 1 skipped in 1000 s\n",
            "check: that is over the 900 s it should take\n",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(!table(&rows, Duration::from_secs(899)).contains("over"));
    }

    #[test]
    fn steps_have_names_of_their_own() {
        for (n, step) in STEPS.iter().enumerate() {
            assert!(STEPS.iter().skip(n + 1).all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
