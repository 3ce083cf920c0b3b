//! The steps of `check`, in the order they run. To add one, add a line to [`STEPS`].

use crate::check::{Outcome, Run, Step};
use crate::{check_times, conformance, process};
use anyhow::Result;
use std::path::Path;

/// Every step, in order: what is quick and often wrong comes first.
pub const STEPS: &[Step] = &[
    Step { name: "fmt", about: "every file is formatted", run: |_| plain(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", about: "the rules of the house", run: |_| verb("tidy", &["--quiet"], &[]) },
    Step { name: "clippy", about: "no warning anywhere", run: |run| clippy(run) },
    Step { name: "build", about: "the release binary", run: check_times::release_build },
    Step { name: "test", about: "the tests of every crate", run: tests },
    Step { name: "doctest", about: "the examples in the documentation", run: doctests },
    Step { name: "conformance", about: "official test programs, built elsewhere", run: |_| conformance() },
    Step {
        name: "differential",
        about: "a sample of runs against QEMU",
        run: |_| verb("differential", &["--sample"], &[QEMU_USER]),
    },
    Step {
        name: "mutants",
        about: "planted mistakes differ from QEMU",
        run: |_| verb("differential", &["--mutants"], &[QEMU_USER]),
    },
    Step {
        name: "programs",
        about: "a sample of whole random programs, on interpreter, translator and QEMU",
        run: |_| verb("differential", &["--isa", "programs", "--sample"], &[]),
    },
    Step {
        name: "mutants programs",
        about: "planted mistakes of an engine show in random programs",
        run: |_| verb("differential", &["--isa", "programs", "--mutants"], &[]),
    },
    Step {
        name: "differential x86",
        about: "a sample of instructions against this processor",
        run: |_| verb("differential", &["--isa", "x86", "--sample"], &[]),
    },
    Step {
        name: "mutants x86",
        about: "planted mistakes differ from this processor",
        run: |_| verb("differential", &["--isa", "x86", "--mutants"], &[]),
    },
    Step {
        name: "differential x86 system",
        about: "a sample of the system architecture against QEMU",
        run: |_| verb("differential", &["--isa", "x86-system", "--sample"], &[QEMU_X86]),
    },
    Step {
        name: "mutants x86 system",
        about: "planted mistakes of the system architecture differ from QEMU",
        run: |_| verb("differential", &["--isa", "x86-system", "--mutants"], &[QEMU_X86]),
    },
    Step { name: "boot", about: "a sample of guests", run: |_| verb("boot", &[], &[]) },
    Step {
        name: "kills",
        about: "machines killed while their guests write",
        run: |_| verb("kills", &["--sample"], &[]),
    },
    Step {
        name: "fuzz",
        about: "three seconds of every target",
        run: |_| verb("fuzz", &["--seconds", "3"], &[CXX]),
    },
    Step {
        name: "planted",
        about: "fuzzing finds planted bugs",
        run: |_| verb("fuzz", &["--planted"], &[CXX]),
    },
    Step { name: "clean build", about: "a clean release build in time", run: check_times::clean_build },
    Step {
        name: "row touched",
        about: "cargo check after a touched row in time",
        run: check_times::row_touched,
    },
];

/// Something a step needs of the machine.
struct Need {
    /// A program of the search path, or a path.
    what: &'static str,
    /// The Debian package that brings it, or what else to do.
    package: &'static str,
}

const CXX: Need = Need { what: "c++", package: "apt install g++" };
const QEMU_USER: Need =
    Need { what: "qemu-riscv64", package: "apt install qemu-user (bookworm: -t bookworm-backports)" };
const QEMU_X86: Need = Need {
    what: "qemu-system-x86_64",
    package: "apt install qemu-system-x86 (bookworm: -t bookworm-backports)",
};

/// The first thing this machine lacks.
fn lacking(needs: &[Need]) -> Option<Outcome> {
    let missing = needs.iter().find(|need| {
        let is_path = need.what.starts_with('/');
        if is_path { !Path::new(need.what).exists() } else { !process::present(need.what) }
    })?;
    Some(Outcome::Skipped(format!("no {} here: {}", missing.what, missing.package)))
}

/// A cargo command that says all there is to say by itself.
fn plain(arguments: &[&str]) -> Result<Outcome> {
    let done = process::run(&mut process::cargo(arguments), true)?;
    Ok(if done.ok {
        Outcome::Passed(String::new())
    } else {
        Outcome::Failed(format!("cargo {}", arguments.join(" ")))
    })
}

/// Another verb of xtask, if this tree and this machine have what it takes.
fn verb(name: &str, arguments: &[&str], needs: &[Need]) -> Result<Outcome> {
    if crate::verb(name).is_none() {
        return Ok(Outcome::Skipped(format!("this tree has no `cargo xtask {name}` yet")));
    }
    if let Some(skipped) = lacking(needs) {
        return Ok(skipped);
    }
    let all: Vec<&str> = std::iter::once(name).chain(arguments.iter().copied()).collect();
    let done = process::run(&mut process::xtask(&all)?, true)?;
    Ok(judge_verb(done.ok, done.last_line()))
}

/// A program that finds that it can do nothing here says so last, with what is missing, and is content.
fn judge_verb(ok: bool, last_line: &str) -> Outcome {
    match (ok, last_line.strip_prefix("skipped: ")) {
        (true, Some(why)) => Outcome::Skipped(why.to_owned()),
        (true, None) => Outcome::Passed(last_line.to_owned()),
        (false, _) => Outcome::Failed(last_line.to_owned()),
    }
}

/// No suite is part of this tree, and none is fetched: whoever has one says where it is.
fn conformance() -> Result<Outcome> {
    if conformance::folder().is_none() {
        return Ok(Outcome::Skipped(conformance::ADVICE.to_owned()));
    }
    verb("conformance", &[], &[])
}

fn locked(run: &Run) -> &'static [&'static str] {
    if run.ci { &["--locked"] } else { &[] }
}

fn clippy(run: &Run) -> Result<Outcome> {
    let arguments =
        [&["clippy", "--workspace", "--all-targets"], locked(run), &["--", "-D", "warnings"]].concat();
    plain(&arguments)
}

fn tests(run: &Run) -> Result<Outcome> {
    let nextest = process::present("cargo-nextest");
    let first: &[&str] = if nextest { &["nextest", "run"] } else { &["test", "--lib", "--bins", "--tests"] };
    let arguments = [first, &["--workspace", "--no-fail-fast"], locked(run)].concat();
    let done = process::run(&mut process::cargo(&arguments), true)?;
    let note = if nextest { summary(&done.output) } else { totals(&done.output) };
    Ok(judge_tests(done.ok, note))
}

fn doctests(run: &Run) -> Result<Outcome> {
    let arguments = [&["test", "--doc", "--workspace", "--no-fail-fast"], locked(run)].concat();
    let done = process::run(&mut process::cargo(&arguments), true)?;
    Ok(judge_tests(done.ok, totals(&done.output)))
}

fn judge_tests(ok: bool, note: Option<String>) -> Outcome {
    match (ok, note) {
        (true, Some(note)) => Outcome::Passed(note),
        // A run that tells of no tests has tested nothing.
        (true, None) => Outcome::Failed("no test ran".to_owned()),
        (false, note) => Outcome::Failed(note.unwrap_or_else(|| "the tests do not build".to_owned())),
    }
}

/// The summary line of nextest: `Summary [ 0.1s] 42 tests run: 42 passed, 0 skipped`.
fn summary(output: &str) -> Option<String> {
    let line = output.lines().rev().find(|l| l.trim_start().starts_with("Summary ["))?;
    line.split_once(']').map(|(_, rest)| rest.trim().to_owned())
}

/// The sum of cargo's `test result: ok. 3 passed; 0 failed; …` lines, one for each binary.
fn totals(output: &str) -> Option<String> {
    let (mut passed, mut failed, mut lines) = (0u64, 0u64, 0);
    for line in output.lines().filter_map(|l| l.trim().strip_prefix("test result: ")) {
        let words: Vec<&str> = line.split([' ', ';', '.']).collect();
        for pair in words.windows(2) {
            match pair {
                [n, "passed"] => passed += n.parse().unwrap_or(0),
                [n, "failed"] => failed += n.parse().unwrap_or(0),
                _ => {}
            }
        }
        lines += 1;
    }
    (lines > 0).then(|| format!("{} tests run: {passed} passed, {failed} failed", passed + failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted() {
        let text = "test a ... ok\n\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured\n\
                    test result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        assert_eq!(totals(text).as_deref(), Some("17 tests run: 15 passed, 2 failed"));
        assert_eq!(totals("error: could not compile"), None);
        let text = "------------\n     Summary [   0.100s] 42 tests run: 42 passed, 0 skipped\nerror: x\n";
        assert_eq!(summary(text).as_deref(), Some("42 tests run: 42 passed, 0 skipped"));
    }

    #[test]
    fn a_run_without_tests_is_no_success() {
        assert!(matches!(judge_tests(true, None), Outcome::Failed(_)));
        assert!(matches!(judge_tests(false, Some("1".into())), Outcome::Failed(_)));
        assert!(matches!(judge_tests(true, Some("1".into())), Outcome::Passed(_)));
    }

    #[test]
    fn what_has_done_nothing_has_not_passed() {
        let why = "skipped: the host is no x86-64 Linux";
        assert!(matches!(judge_verb(true, why), Outcome::Skipped(w) if w == "the host is no x86-64 Linux"));
        assert!(matches!(judge_verb(false, why), Outcome::Failed(_)));
        assert!(matches!(judge_verb(true, "1 case"), Outcome::Passed(_)));
    }

    #[test]
    fn what_is_missing_is_said_with_its_package() {
        let needs = [Need { what: "sh", package: "" }, Need { what: "/no/such/device", package: "load kvm" }];
        let Some(Outcome::Skipped(note)) = lacking(&needs) else { panic!("not skipped") };
        assert_eq!(note, "no /no/such/device here: load kvm");
        assert!(lacking(&[Need { what: "/dev/null", package: "" }]).is_none());
        assert!(matches!(verb("no-such-verb", &[], &[]), Ok(Outcome::Skipped(_))));
    }
}
