//! `hostel bench`, with as little work as it can do.

mod guest;

use guest::Files;
use snapbox::cmd::cargo_bin;
use snapbox::str;
use std::path::PathBuf;
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
    // The host's own processor does the work of two harts only where it has two.
    let two = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    for form in ["bare", "sv39"] {
        for name in ["core", "nbody_f32", "interp", "smp.1", "smp.2"] {
            let who = if two || !name.starts_with("smp") { "on native, hostel" } else { "on hostel" };
            assert!(line(form, name).ends_with(who), "{text}");
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
    let arguments = ["bench", "--form", "bare", "--kernel", "trap", "--kernel", "sieve", "--rounds", "1"];
    let outputs = ["--plot", plot.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let assert = patient(&files, &[&arguments[..], &outputs].concat()).assert().code(0).stderr_eq("");
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let cells = |name: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    // A trap is never free, and not everything else is; the host's own processor runs kernels only.
    let trap = cells("ecall_mret");
    let nanoseconds: f64 = trap[3].parse().unwrap();
    assert!(trap[1] == "ns" && trap[2] == "-" && (1.0..1e6).contains(&nanoseconds), "{text}");
    let sieve: Vec<f64> = cells("sieve")[2..].iter().map(|cell| cell.parse().unwrap()).collect();
    let [native, hostel, times] = sieve[..] else { panic!("{text}") };
    assert!(native > 0.0 && hostel > 0.0 && (times / (hostel / native) - 1.0).abs() < 0.1, "{text}");
    let plot = std::fs::read_to_string(plot).unwrap();
    let bars =
        plot.lines().filter(|line| line.starts_with("<rect") && line.contains("height=\"14\"")).count();
    assert!(plot.contains(">sieve<") && bars == 1, "{plot}");
    let json = std::fs::read_to_string(json).unwrap();
    assert!(json.contains("\"ecall_mret\"") && json.contains("\"empty\": ["), "{json}");
}

/// A program in place of another Hostel.
fn peer(files: &Files, script: &str) -> PathBuf {
    let path = files.path().join("before");
    std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[test]
fn two_that_do_not_compute_the_same_are_told() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    let peer = peer(&files, "\"$HOSTEL\" \"$@\" | sed -u 's/^end fib [0-9a-f]*/end fib 0000000000000bad/'\n");
    let arguments =
        ["bench", "--check", "--form", "bare", "--kernel", "fib", "--kernel", "sieve", "--against"];
    let command = patient(&files, &[&arguments[..], &[peer.to_str().unwrap()]].concat());
    let assert = command.env("HOSTEL", cargo_bin!("hostel")).assert().code(1).stderr_eq("");
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert!(text.contains("NOT THE SAME: bare fib\n") && text.contains("0000000000000bad"), "{text}");
    let agreed = |name: &str| text.lines().any(|line| line.starts_with("bare") && line.contains(name));
    assert!(agreed(" sieve ") && !agreed(" fib "), "{text}");
}

#[test]
fn a_guest_that_does_less_than_it_should_is_an_error() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    let arguments = ["bench", "--check", "--form", "bare", "--kernel", "trap", "--against"];
    for (script, why) in [
        ("\"$HOSTEL\" \"$@\" | sed -u '/ ecall_mret /d'\n", "ecall_mret did not end"),
        ("\"$HOSTEL\" \"$@\" | sed -u '/ecall_mret[ \\r]*$/d; / ecall_mret /d'\n", "ecall_mret was not done"),
        ("echo begin trap; kill -SEGV $$\n", "SIGSEGV"),
    ] {
        let peer = peer(&files, script);
        let command = patient(&files, &[&arguments[..], &[peer.to_str().unwrap()]].concat());
        let assert = command.env("HOSTEL", cargo_bin!("hostel")).assert().code(125);
        let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(error.starts_with("hostel: trap on before, bare: ") && error.contains(why), "{error}");
    }
}

#[test]
fn what_is_asked_for_and_missing_is_an_error_and_else_is_left_out() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    for asked in [["--form", "linux"], ["--kernel", "py_fib"]] {
        let arguments = [&["bench", "--offline"][..], &asked].concat();
        patient(&files, &arguments).assert().code(125).stdout_eq("").stderr_eq(str![[r#"
hostel: guest image "debian-busybox" is not in the cache ([..]) and may not be fetched offline: run `hostel image get debian-busybox`[..]

"#]]);
    }
    let arguments = ["bench", "--offline", "--check", "--kernel", "fib"];
    let assert = patient(&files, &arguments).assert().code(0).stderr_eq(str![[r#"
hostel: nothing runs inside a Linux guest: guest image "debian-busybox" is not in the cache [..]

"#]]);
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let forms: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(forms, ["bare", "sv39"]);
}

#[test]
fn an_empty_machine_starts_and_takes_little_memory() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    let arguments = ["bench", "--offline", "--form", "machine", "--rounds", "1"];
    // Without an image there is no boot of Linux, which was asked for.
    let assert = patient(&files, &arguments).assert().code(125);
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
    };
    let (start, end) = (value("start            ms"), value("start and end    ms"));
    assert!(0.1 < start && start < end && end < 60e3, "{text}");
    // The guest has 128 MiB, which are not among these.
    assert!((0.5..100.0).contains(&value("memory          MiB")), "{text}");
}

#[test]
fn what_was_measured_before_a_failure_is_said() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    // A Hostel that fails in what comes second.
    let peer = peer(&files, "case \"$*\" in *sieve*) exit 3;; esac\nexec \"$HOSTEL\" \"$@\"\n");
    let json = files.path().join("speed.json");
    let arguments = ["bench", "--form", "bare", "--kernel", "fib", "--kernel", "sieve", "--rounds", "1"];
    let more = ["--against", peer.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let command = patient(&files, &[&arguments[..], &more].concat()).env("HOSTEL", cargo_bin!("hostel"));
    let assert = command.assert().code(125).stderr_eq(str![[r#"
hostel: sieve on before, bare: [..]/before ended with exit status: 3[..]

"#]]);
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let has = |name: &str| text.lines().any(|line| line.starts_with(name));
    assert!(has("fib ") && has("sieve "), "{text}");
    let json = std::fs::read_to_string(json).unwrap();
    assert!(json.contains("\"failure\": \"sieve on before, bare"), "{json}");
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_measured() {
    if lacks(CROSS) {
        return;
    }
    let files = Files::new();
    let arguments = ["bench", "--form", "bare", "--kernel", "fib", "--json", "/proc/no/such.json"];
    patient(&files, &arguments).assert().code(125).stdout_eq("").stderr_eq(str![[r#"
hostel: cannot write /proc/no/such.json: [..]

"#]]);
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
        &["bench", "--check", "--form", "machine"],
        str![[r#"
hostel: --check compares what is computed, and whole machines compute nothing; leave --form machine out

"#]],
    );
    error(
        &["bench", "--engine", "jit", "--engine", "jit"],
        str![[r#"
hostel: two would be called hostel-jit; name each once, and give another binary a file name of its own

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
