//! `--engine check`: what it says of a machine without a difference, and what it does not take.

mod guest;

use guest::*;
use snapbox::str;

/// Whether this host has no translator, which is said.
fn skipped() -> bool {
    let missing = engine_jit::Jit::missing();
    missing.inspect(|what| eprintln!("skipped: this host lacks {what}")).is_some()
}

#[test]
fn a_machine_without_a_difference_ends_as_ever_and_says_over_how_much() {
    if skipped() {
        return;
    }
    let files = Files::new();
    files.add("k", flat(ECHO));
    for engine in ["check", "check,threshold=0"] {
        let run = ["run", "--bios", "none", "--kernel", "k", "--engine", engine];
        let checked = files.hostel(&run).stdin("abcx").assert().code(0).stdout_eq(">abcx");
        checked.stderr_eq(str![[r#"
hostel: translator and interpreter did the same over [..] instructions

"#]]);
    }
}

#[test]
fn engines_are_compared_on_one_hart_with_a_virtual_clock() {
    if skipped() {
        return;
    }
    let files = Files::new();
    files.add("k", flat(OFF));
    files.wrong(
        &["run", "--kernel", "k", "--engine", "check", "--clock", "real"],
        str![
            "two engines can be compared only where time counts instructions; use --clock virtual, or leave --clock out"
        ],
    );
    files.wrong(
        &["run", "--kernel", "k", "--engine", "check,threshold=0", "--cpus", "2"],
        str!["two engines are compared on one hart; use --cpus 1"],
    );
    files.wrong(
        &["run", "--kernel", "k", "--engine", "check", "--machine", "microvm"],
        str![
            "the translator is for boards of RISC-V harts, and the board microvm has x86-64 processors; use --engine interp, or --engine kvm"
        ],
    );
}
