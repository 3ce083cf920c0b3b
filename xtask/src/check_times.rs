//! Compile time is a feature: the steps that measure it against its limits.

use crate::check::{Outcome, Run};
use crate::process;
use anyhow::{Context, Result};
use std::fs;
use std::time::{Duration, SystemTime};

/// A clean release build on two processors.
const CLEAN: Duration = Duration::from_secs(6 * 60);
/// `cargo check` of the binary after one row of an instruction table was touched.
const TOUCHED: Duration = Duration::from_secs(20);
/// The file that stands for a touched row: its crate and all above it are checked anew.
const ROW: &str = "crates/isa-riscv/src/lib.rs";

const BUILD: [&str; 4] = ["build", "--release", "--package", "hostel"];

/// The release build; if there was none before, it is the clean one that is measured.
///
/// # Errors
/// If cargo cannot be run.
pub fn release_build(run: &Run) -> Result<Outcome> {
    let clean = !process::target_folder().join("release/.fingerprint").exists();
    // Downloads are not compile time.
    process::run(&mut process::cargo(&["fetch"]), true)?;
    let done = process::run(&mut process::cargo(&BUILD), true)?;
    if !done.ok {
        return Ok(Outcome::Failed("the release build fails".to_owned()));
    }
    if clean {
        run.clean_build.set(Some(done.time));
    }
    let binary = process::target_folder().join("release/hostel");
    let size = fs::metadata(&binary).with_context(|| format!("no {}", binary.display()))?.len();
    Ok(Outcome::Passed(format!("hostel is {:.1} MB", size as f64 / 1e6)))
}

/// A clean release build, in a folder of its own if the ordinary one was not clean.
///
/// # Errors
/// If cargo cannot be run.
pub fn clean_build(run: &Run) -> Result<Outcome> {
    if let Some(time) = run.clean_build.get() {
        return Ok(judge("clean release build", time, CLEAN));
    }
    if !run.timings {
        return Ok(Outcome::Skipped("takes minutes: --timings".to_owned()));
    }
    let folder = process::target_folder().join("timings");
    let remove = || if folder.exists() { fs::remove_dir_all(&folder) } else { Ok(()) };
    remove().with_context(|| format!("cannot empty {}", folder.display()))?;
    let done = process::run(process::cargo(&BUILD).env("CARGO_TARGET_DIR", &folder), true)?;
    remove().with_context(|| format!("cannot empty {}", folder.display()))?;
    if !done.ok {
        return Ok(Outcome::Failed("the release build fails".to_owned()));
    }
    Ok(judge("clean release build", done.time, CLEAN))
}

/// Touches a row and times `cargo check`.
///
/// # Errors
/// If cargo cannot be run or the file cannot be touched.
pub fn row_touched(_run: &Run) -> Result<Outcome> {
    let path = crate::tree::root().join(ROW);
    if !path.exists() {
        return Ok(Outcome::Skipped(format!("this tree has no {ROW} yet")));
    }
    let check = ["check", "--package", "hostel"];
    if !process::run(&mut process::cargo(&check), true)?.ok {
        return Ok(Outcome::Failed("cargo check fails".to_owned()));
    }
    let file = fs::File::options().append(true).open(&path)?;
    file.set_modified(SystemTime::now()).with_context(|| format!("cannot touch {ROW}"))?;
    let done = process::run(&mut process::cargo(&check), true)?;
    if !done.output.contains("Checking isa-riscv") {
        return Ok(Outcome::Skipped("hostel does not depend on isa-riscv yet".to_owned()));
    }
    Ok(judge("one row touched, cargo check", done.time, TOUCHED))
}

fn judge(what: &str, time: Duration, limit: Duration) -> Outcome {
    let note = format!("{what}: {:.1} s; the limit is {} s", time.as_secs_f64(), limit.as_secs());
    if time <= limit { Outcome::Passed(note) } else { Outcome::Failed(note) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_limits() {
        let Outcome::Passed(note) = judge("x", CLEAN, CLEAN) else { panic!("refused") };
        assert_eq!(note, "x: 360.0 s; the limit is 360 s");
        assert!(matches!(judge("x", TOUCHED + Duration::from_millis(1), TOUCHED), Outcome::Failed(_)));
    }
}
