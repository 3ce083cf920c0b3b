//! Building a fuzz target with coverage, running it, and saying what was reached.

use crate::fuzz::Target;
use crate::fuzz_coverage::{self, Reached};
use crate::process::{self, Finished};
use crate::tree;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells the compiler to run LLVM's coverage pass ("SanitizerCoverage" in Clang's documentation): a
/// counter for each edge, a table of their addresses, and comparisons told to libFuzzer. No
/// sanitizer runtime is involved, which is why the stable toolchain will do. Symbols are mangled in
/// the way that names the crate. The two thresholds keep the optimizer from turning branches into
/// arithmetic, which has no edges to count.
const FLAGS: [&str; 10] = [
    "-Cllvm-args=-phi-node-folding-threshold=0",
    "-Cllvm-args=-two-entry-phi-node-folding-threshold=0",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Csymbol-mangling-version=v0",
    "--cfg",
    "fuzzing",
];

/// Seconds after which one input counts as a hang. They pass by the wall clock, and a busy host stands still
/// for seconds at times.
const HANG: &str = "-timeout=60";
/// Megabytes above which an input counts as asking for too much.
const MEMORY: &str = "-rss_limit_mb=2048";

/// The host, as the compiler calls it.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = process::run(Command::new(rustc).arg("-vV"), false)?;
    let host = version.output.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Builds the binary of one target and returns where it is.
///
/// # Errors
/// If there is no C++ compiler or the build fails.
pub fn build(target: &Target, planted: bool) -> Result<PathBuf> {
    if !process::present("c++") {
        bail!("libFuzzer is C++ and there is no c++ here: apt install g++");
    }
    let host = host()?;
    // With an explicit target, build scripts and macros are built without these flags.
    let mut arguments =
        vec!["build", "--quiet", "--package", "hostel-fuzz", "--profile", "fuzz", "--target", &host];
    if planted {
        arguments.extend(["--features", "planted"]);
    }
    let mut command = process::cargo(&arguments);
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")).env("HOSTEL_FUZZ_TARGET", &target.name);
    let folder = process::target_folder().join("fuzz-build");
    command.env("CARGO_TARGET_DIR", &folder);
    if !process::run(&mut command, true)?.ok {
        bail!("the fuzz target `{}` does not build", target.name);
    }
    // All targets are one cargo binary, so keep each under a name of its own.
    let built = folder.join(&host).join("fuzz/hostel-fuzz");
    let kept = folder.join(if planted { format!("{}-planted", target.name) } else { target.name.clone() });
    fs::copy(&built, &kept).with_context(|| format!("no {}", built.display()))?;
    Ok(kept)
}

/// How libFuzzer searches. Comparisons count as progress by how nearly they held, and inputs are picked
/// evenly: of the settings tried, this one found both planted bugs with each of five seeds (2 to 9 s);
/// the defaults found neither in 20 s.
const SEARCH: [&str; 2] = ["-use_value_profile=1", "-entropic=0"];

/// Runs a fuzz binary for some seconds on `corpus` and the committed seeds; crashes go to `found`.
///
/// # Errors
/// If it cannot be started.
pub fn fuzz(binary: &Path, target: &Target, corpus: &Path, found: &Path, seconds: u32) -> Result<Finished> {
    for folder in [corpus, found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Command::new(binary);
    command.args([HANG, MEMORY, "-print_final_stats=1"]).args(SEARCH);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", found.display())).arg(corpus).args(seeds(target));
    command.env("RUST_BACKTRACE", "1");
    let done = process::run(&mut command, false)?;
    if !done.output.contains("inline 8-bit counters") {
        bail!("libFuzzer saw no coverage counters in `{}`: its search would be blind", target.name);
    }
    Ok(done)
}

fn seeds(target: &Target) -> Option<PathBuf> {
    let folder = tree::root().join("fuzz/seeds").join(&target.name);
    folder.is_dir().then_some(folder)
}

/// Fuzzes each target and prints one line for each; false if one was broken.
///
/// # Errors
/// If one cannot be built or run.
pub fn run(targets: &[&Target], seconds: u32, unreached: bool) -> Result<bool> {
    let folder = process::target_folder();
    let mut broken = Vec::new();
    let mut inputs = 0;
    for target in targets {
        let binary = build(target, false)?;
        let corpus = folder.join("fuzz-corpus").join(&target.name);
        let found = folder.join("fuzz-found").join(&target.name);
        let done = fuzz(&binary, target, &corpus, &found, seconds)?;
        inputs += statistic(&done.output, "number_of_executed_units").unwrap_or(0);
        if !done.ok {
            broken.push(target.name.as_str());
            print!("{}", complaint(&done.output));
        }
        let reached = coverage(&binary, target, &corpus)?;
        println!("{}", line(target, &done, &reached, fs::read_dir(&corpus)?.count()));
        if unreached {
            reached.unreached.iter().for_each(|name| println!("    never reached: {name}"));
        }
    }
    if broken.is_empty() {
        println!("fuzz: {} targets, {inputs} inputs, nothing broken", targets.len());
    } else {
        println!("fuzz: BROKEN: {}; inputs in {}", broken.join(", "), folder.join("fuzz-found").display());
    }
    Ok(broken.is_empty())
}

/// Runs the corpus once more and asks which points of our crates it reaches.
fn coverage(binary: &Path, target: &Target, corpus: &Path) -> Result<Reached> {
    let list = binary.with_extension("coverage");
    let mut command = Command::new(binary);
    command.args([HANG, MEMORY, "-runs=0"]).arg(corpus).args(seeds(target));
    command.env("HOSTEL_FUZZ_COVERAGE", &list);
    process::run(&mut command, false)?;
    let points = fs::read_to_string(&list).with_context(|| format!("{} wrote no coverage", target.name))?;
    fuzz_coverage::reached(&fs::read(binary)?, &points)
}

fn line(target: &Target, done: &Finished, reached: &Reached, corpus: usize) -> String {
    let statistic = |name| statistic(&done.output, name).unwrap_or(0);
    let features = done.output.lines().rev().find_map(|l| {
        let mut words = l.split_whitespace().skip_while(|w| *w != "ft:");
        words.nth(1)
    });
    format!(
        "{:<18}{} edges {:>5}/{:<5} {:>5.1} %   functions {:>3}/{:<3}  ft {:<6} corpus {corpus:<5} {:>9} inputs, {}/s",
        target.name,
        if done.ok { "ok     " } else { "BROKEN " },
        reached.edges.0,
        reached.edges.1,
        100.0 * reached.edges.0 as f64 / reached.edges.1.max(1) as f64,
        reached.functions.0,
        reached.functions.1,
        features.unwrap_or("?"),
        statistic("number_of_executed_units"),
        statistic("average_exec_per_sec"),
    )
}

/// What libFuzzer wrote, without its lines of progress.
pub fn complaint(output: &str) -> String {
    let mut text = String::new();
    for line in output
        .lines()
        .filter(|l| !["#", "WARNING: Failed to find", "INFO:", "stat::"].iter().any(|p| l.starts_with(p)))
    {
        text += line;
        text.push('\n');
    }
    text
}

/// One of libFuzzer's final statistics, `stat::NAME: VALUE`.
fn statistic(output: &str, name: &str) -> Option<u64> {
    let value =
        |l: &str| l.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
    output.lines().rev().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_words_are_understood() {
        let output = "#1\tNEW    cov: 3 ft: 5 corp: 1/1b\n#2 DONE   cov: 10 ft: 12 corp: 5/9b\n\
                      stat::number_of_executed_units: 1037\nstat::average_exec_per_sec:     51\n";
        assert_eq!(statistic(output, "number_of_executed_units"), Some(1037));
        assert_eq!(statistic(output, "average_exec_per_sec"), Some(51));
        assert_eq!(statistic(output, "peak_rss_mb"), None);
        assert_eq!(complaint("#1\tNEW\nINFO: x\nthread panicked\nstat::a: 1\n"), "thread panicked\n");
        let target = Target { name: "a".into(), kind: String::new(), about: String::new() };
        let done = Finished { ok: true, output: output.into(), time: std::time::Duration::ZERO };
        let reached = Reached { edges: (1, 4), functions: (1, 2), unreached: Vec::new() };
        let line = line(&target, &done, &reached, 5);
        assert!(line.contains("edges     1/4      25.0 %") && line.contains("ft 12"), "{line}");
    }
}
