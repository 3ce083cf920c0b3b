//! `cargo xtask fuzz --planted`: does the fuzzer find bugs at all? For each kind of target there is one
//! on purpose (`fuzz/src/planted.rs`); it must be found, from nothing, in a minute.

use crate::fuzz::Target;
use crate::{fuzz_run, process};
use anyhow::{Context, Result};
use std::fs;

/// How long the search may take.
const SECONDS: u32 = 60;
/// What the panic of a planted bug says.
const MESSAGE: &str = "planted bug reached";

/// Looks for the planted bug of each kind that `targets` are of; false if one was not found.
///
/// # Errors
/// If a target cannot be built or run.
pub fn run(targets: &[&Target]) -> Result<bool> {
    let mut kinds = Vec::new();
    let mut found = 0;
    let mut tried = 0;
    for target in targets {
        if kinds.contains(&&target.kind) {
            continue;
        }
        kinds.push(&target.kind);
        let binary = fuzz_run::build(target, true)?;
        let folder = process::target_folder().join("fuzz-planted").join(&target.kind);
        if folder.exists() {
            // What an earlier search learned would make this one easy.
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let done = fuzz_run::fuzz(&binary, target, &folder.join("corpus"), &folder.join("found"), SECONDS)?;
        let hit = !done.ok && done.output.contains(MESSAGE);
        let seconds = done.time.as_secs_f64();
        let inputs = inputs(&done.output);
        let word = if hit { "found after" } else { "NOT FOUND in" };
        println!("{:<9}planted bug {word} {seconds:.1} s, {inputs} inputs", target.kind);
        if !hit && !done.ok {
            print!("{}", fuzz_run::complaint(&done.output));
        }
        tried += 1;
        found += usize::from(hit);
    }
    println!("planted: {found} of {tried} found");
    Ok(found == tried)
}

/// How many inputs were tried: the number that libFuzzer's last progress line begins with.
fn inputs(output: &str) -> u64 {
    let number = |l: &str| l.strip_prefix('#')?.split_whitespace().next()?.parse().ok();
    output.lines().rev().find_map(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn progress_is_understood() {
        assert_eq!(super::inputs("#2\tINITED cov: 9\n#51934\tREDUCE cov: 13\nthread panicked\n"), 51934);
        assert_eq!(super::inputs(""), 0);
    }
}
