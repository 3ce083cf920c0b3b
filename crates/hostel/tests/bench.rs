//! `hostel bench`, with as little work as it can do.

mod guest;

use guest::Files;
use snapbox::str;
use std::process::{Command, Stdio};
use std::time::Duration;

const CROSS: &str = "riscv64-linux-gnu-gcc";

fn lacks(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let lacks = found.is_err();
    if lacks {
        println!("SKIPPED: no {program} on PATH (Debian: gcc-riscv64-linux-gnu)");
    }
    lacks
}

/// Compilers run, on a host that may be busy.
fn patient(files: &Files, arguments: &[&str]) -> snapbox::cmd::Command {
    files.hostel(arguments).timeout(Duration::from_secs(300))
}

#[test]
fn kernels_and_operations_compute_the_same_on_hostel_and_on_the_host() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    let arguments = ["bench", "--check", "--form", "bare", "--form", "sv39"];
    let some = ["core", "nbody_f32", "interp", "smp", "call", "trap", "syscall"];
    let chosen: Vec<&str> = some.iter().flat_map(|name| ["--kernel", name]).collect();
    let assert = patient(&files, &[&arguments[..], &chosen].concat()).assert().code(0).stderr_eq("");
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let line = |form: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(form) && line.contains(&format!(" {name} ")));
        line.unwrap_or_else(|| panic!("no {form} {name} in\n{text}")).to_owned()
    };
    for form in ["bare", "sv39"] {
        for name in ["core", "nbody_f32", "interp", "smp.1", "smp.2"] {
            assert!(line(form, name).ends_with("on native, hostel"), "{text}");
        }
        assert!(line(form, "call").ends_with("on hostel"), "{text}");
    }
    line("bare", "ecall_mret");
    line("sv39", "ebreak_sret");
    line("sv39", "syscall");
}

#[test]
fn a_kernel_is_timed_and_drawn() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    let (plot, json) = (files.path().join("speed.svg"), files.path().join("speed.json"));
    let arguments = ["bench", "--form", "bare", "--kernel", "csrr", "--rounds", "1"];
    let outputs = ["--plot", plot.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let assert = patient(&files, &[&arguments[..], &outputs].concat()).assert().code(0).stderr_eq("");
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let line = text.lines().find(|line| line.starts_with("csrr")).unwrap();
    let nanoseconds: f64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!((0.0..1e6).contains(&nanoseconds), "{text}");
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg"));
    assert!(std::fs::read_to_string(json).unwrap().contains("\"csrr\""));
}

#[test]
fn mistakes_are_said_in_one_line() {
    let files = Files::new();
    let error = |arguments: &[&str], line: snapbox::data::Inline| {
        files.hostel(arguments).assert().code(125).stdout_eq("").stderr_eq(line);
    };
    error(
        &["bench", "--kernel", "fub"],
        str![[r#"
hostel: there is nothing called "fub" to measure; `hostel bench --list` says what there is

"#]],
    );
    error(
        &["bench", "--kernel", "fib", "--against", "bochs"],
        str![[r#"
hostel: there is no file bochs; --against takes qemu or the path of a hostel

"#]],
    );
    error(
        &["bench", "--form", "bare", "--suite", "stable"],
        str![[r#"
hostel: --suite has no effect: what is measured needs no guest image; leave it out

"#]],
    );
}

#[test]
fn without_a_cross_compiler_its_package_is_named() {
    let files = Files::new();
    files.hostel(&["bench", "--kernel", "fib"]).env("PATH", "").assert().code(125).stdout_eq("").stderr_eq(str![[r#"
hostel: there is no riscv64-linux-gnu-gcc, which builds the guests: apt install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross

"#]]);
}
