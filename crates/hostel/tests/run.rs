//! `hostel run`: machines run to their ends, by exit status and console.

mod guest;

use guest::*;
use rustix::process::Signal;
use snapbox::str;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

const BARE: [&str; 4] = ["run", "--bios", "none", "--kernel"];

#[test]
fn the_exit_status_is_the_guests() {
    for (program, code) in [(OFF, 0), (FAIL_7, 7), (FAIL_0, 0)] {
        let files = Files::new();
        files.add("flat.bin", flat(program));
        files.add("program.elf", elf(EM_RISCV, &flat(program), &[]));
        for kernel in ["flat.bin", "program.elf"] {
            files.hostel(&BARE).arg(kernel).assert().code(code).stdout_eq("").stderr_eq("");
        }
    }
}

#[test]
fn a_status_above_255_is_255_and_said() {
    let files = Files::new();
    files.add("k", flat(FAIL_256));
    files.hostel(&BARE).arg("k").assert().code(255).stderr_eq(str![[r#"
hostel: the guest's exit status is 256; a process can only say 255

"#]]);
}

#[test]
fn standard_input_and_output_are_the_serial_line() {
    let files = Files::new();
    files.add("k", flat(ECHO));
    let typed: String = ('0'..='9').cycle().take(5000).chain(['x']).collect();
    let answer = format!(">{typed}");
    files.hostel(&BARE).arg("k").stdin(typed).assert().code(0).stdout_eq(answer).stderr_eq("");
}

#[test]
fn the_keys_are_plain_bytes_where_input_is_no_terminal() {
    let files = Files::new();
    files.add("k", flat(ECHO));
    files.hostel(&BARE).arg("k").stdin("\x01h\x01x").assert().code(0).stdout_eq(">\x01h\x01x");
}

#[test]
fn a_reset_starts_the_machine_anew_on_the_same_console() {
    let files = Files::new();
    files.add("k", flat(ECHO));
    let mut child = files.process(&BARE);
    let mut child = child.arg("k").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map(Running).unwrap();
    let (mut typed, mut shown) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
    let mut expect = |text: &str| {
        let mut got = vec![0; text.len()];
        shown.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), text);
    };
    expect(">");
    for _ in 0..3 {
        typed.write_all(b"r").unwrap();
        expect("r>");
    }
    typed.write_all(b"x").unwrap();
    expect("x");
    assert_eq!(child.ends().code(), Some(0));
}

#[test]
fn end_of_file_quits_nothing() {
    let files = Files::new();
    files.add("k", flat(ECHO));
    let mut child = files.process(&BARE);
    let mut child = child.arg("k").stdin(Stdio::null()).stdout(Stdio::null()).spawn().map(Running).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child.signal(Signal::TERM);
    // Had it ended by itself, this would be another status.
    assert_eq!(child.ends().code(), Some(128 + 15));
}

#[test]
fn signals_stop_the_machine() {
    for (signal, code, programs) in
        [(Signal::TERM, 143, &[ECHO, WAIT, FLOOD][..]), (Signal::INT, 130, &[ECHO])]
    {
        for program in programs {
            let files = Files::new();
            files.add("k", flat(program));
            let mut child = files.process(&BARE);
            child.arg("k").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = child.spawn().map(Running).unwrap();
            // FLOOD fills the pipe: the console's last words must not hold the process for ever.
            std::thread::sleep(Duration::from_millis(200));
            child.signal(signal);
            let mut stderr = child.0.stderr.take().unwrap();
            assert_eq!(child.ends().code(), Some(code));
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            assert_eq!(said, "");
        }
    }
}

/// Runs `program` with this standard output; the exit status, and what is said.
fn run_into(program: &[u32], typed: &[u8], output: impl Into<Stdio>) -> (Option<i32>, String) {
    let files = Files::new();
    files.add("k", flat(program));
    let mut child = files.process(&BARE);
    child.arg("k").stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
    let mut child = child.spawn().map(Running).unwrap();
    child.0.stdin.take().unwrap().write_all(typed).unwrap();
    let mut stderr = child.0.stderr.take().unwrap();
    let status = child.ends().code();
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    (status, said)
}

#[test]
fn a_reader_who_goes_away_ends_the_machine_as_a_signal_would() {
    let (reader, output) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run_into(FLOOD, b"", output), (Some(128 + 13), String::new()));
}

#[test]
fn output_that_cannot_be_written_is_said_and_stops_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let said =
        "hostel: cannot write the console's output (No space left on device); the rest is thrown away\n";
    assert_eq!(run_into(ECHO, b"abcx", full), (Some(0), said.to_owned()));
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    let files = Files::new();
    files.add("k", flat(WAIT));
    // As `nohup` and the `&` of a script do.
    let mut shell = std::process::Command::new("sh");
    let script = "trap '' HUP INT; exec \"$0\" \"$@\"";
    shell.args(["-c", script]).arg(files.process(&[]).get_program()).args(BARE).arg("k");
    shell.current_dir(files.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = shell.spawn().map(Running).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    child.signal(Signal::HUP);
    child.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(200));
    child.signal(Signal::TERM);
    assert_eq!(child.ends().code(), Some(143));
}

#[test]
fn a_program_that_jumps_into_nothing_is_reported() {
    let files = Files::new();
    files.add("k", flat(NOTHING));
    files.hostel(&BARE).arg("k").assert().code(125).stdout_eq("").stderr_eq(str![[r#"
hostel: hart 0: instruction access fault (cause 1) at pc 0x0, value 0x0, for ever; no trap handler is installed: traps lead to address 0

"#]]);
}

#[test]
fn the_spike_machine_ends_through_tohost() {
    let files = Files::new();
    let code = elf(EM_RISCV, &flat(TOHOST_3), &[("tohost", RAM + 0x1000), ("fromhost", RAM + 0x1040)]);
    files.add("k", code);
    files.hostel(&BARE).args(["k", "--machine", "spike"]).assert().code(3).stdout_eq("").stderr_eq("");
}

/// As on Spike: `tohost` and `fromhost` are memory to a program, and what lies between them is no
/// more than that; the console of HTIF is shown next to the UART's.
#[test]
fn the_spike_machine_shows_the_console_of_htif() {
    let files = Files::new();
    files.add("k", elf(EM_RISCV, &flat(HTIF_H), &[("tohost", RAM + 0x1000), ("fromhost", RAM + 0x1040)]));
    files.hostel(&BARE).args(["k", "--machine", "spike"]).assert().code(3).stdout_eq("h").stderr_eq("");
}

#[test]
fn what_is_written_to_htif_is_shown_and_what_is_typed_reaches_it() {
    let files = Files::new();
    let code = elf(EM_RISCV, &flat(HTIF_HI), &[("tohost", RAM + 0x1000), ("fromhost", RAM + 0x1040)]);
    files.add("k", code);
    let run = files.hostel(&BARE).args(["k", "--machine", "spike"]).stdin("!");
    run.assert().code(3).stdout_eq("hi!").stderr_eq("");
}

#[test]
fn a_virtual_clock_and_a_small_cpu_run_too() {
    let files = Files::new();
    files.add("k", flat(FAIL_7));
    let options =
        ["k", "--clock", "virtual", "--cpu", "rv64i_svbare", "--memory", "1M", "--engine", "interp"];
    files.hostel(&BARE).args(options).assert().code(7);
    files.hostel(&BARE).args(["k", "--cpus", "3"]).assert().code(7);
}

#[test]
fn translated_code_has_names_for_perf() {
    if engine_jit::Jit::missing().is_some() {
        return;
    }
    let files = Files::new();
    files.add("k", flat(FAIL_7));
    let mut child = files.process(&BARE);
    child.args(["k", "--engine", "jit,threshold=0", "--perf-map"]).stdin(Stdio::null());
    let mut child = child.spawn().map(Running).unwrap();
    let path = format!("/tmp/perf-{}.map", child.0.id());
    assert_eq!(child.ends().code(), Some(7));
    let map = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let names: Vec<&str> = map.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(names[0], "hostel_shared", "{map}");
    // The boot ROM goes first.
    assert!(names.contains(&"guest_0x80000000"), "{map}");
    for line in map.lines() {
        let numbers = line.split(' ').take(2).map(|number| u64::from_str_radix(number, 16));
        assert!(numbers.flatten().filter(|n| *n > 0).count() == 2, "{line}");
    }
}

#[test]
fn without_a_console_nothing_is_shown() {
    let files = Files::new();
    files.add("k", flat(ECHO));
    let mut child = files.process(&BARE);
    child.args(["k", "--console", "none"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = child.spawn().map(Running).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    child.signal(Signal::TERM);
    let mut shown = String::new();
    child.0.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!((shown.as_str(), child.ends().code()), ("", Some(143)));
}

#[test]
fn a_socket_can_be_the_console() {
    use std::os::unix::net::UnixStream;
    let files = Files::new();
    files.add("k", flat(ECHO));
    let mut child = files.process(&BARE);
    child.args(["k", "--console", "unix=line"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = child.spawn().map(Running).unwrap();
    let mut said = [0; 1024];
    let n = child.0.stderr.take().unwrap().read(&mut said).unwrap();
    let path = files.path().join("line");
    assert_eq!(String::from_utf8_lossy(&said[..n]), "hostel: the console is at line\n");
    let mut line = UnixStream::connect(&path).unwrap();
    line.write_all(b"hello x").unwrap();
    let mut shown = String::new();
    line.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, ">hello x");
    assert_eq!(child.ends().code(), Some(0));
    assert!(!path.exists(), "the socket is taken away again");
}

#[test]
fn each_serial_line_has_its_console() {
    use std::os::unix::net::UnixStream;
    let files = Files::new();
    files.add("k", flat(LINES));
    let mut child = files.process(&BARE);
    child.args(["k", "--machine", "sifive_u", "--cpus", "1", "--console", "stdio", "--console", "unix=line"]);
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().map(Running).unwrap();
    let mut said = [0; 1024];
    let n = child.0.stderr.take().unwrap().read(&mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said[..n]), "hostel: console 2 is at line\n");
    let mut line = UnixStream::connect(files.path().join("line")).unwrap();
    line.write_all(b"across x").unwrap();
    let (mut first, mut second) = (String::new(), String::new());
    line.read_to_string(&mut second).unwrap();
    child.0.stdout.take().unwrap().read_to_string(&mut first).unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("0across x", "1"));
    assert_eq!(child.ends().code(), Some(0));
}

#[test]
fn with_one_console_the_second_line_leads_nowhere() {
    let files = Files::new();
    files.add("k", flat(LINES));
    let mut child = files.process(&BARE);
    child.args(["k", "--machine", "sifive_u", "--cpus", "1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().map(Running).unwrap();
    child.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    let mut output = child.0.stdout.take().unwrap();
    let mut first = [0];
    output.read_exact(&mut first).unwrap();
    // What was typed does not come to the second line, where it would end the machine.
    std::thread::sleep(Duration::from_millis(200));
    child.signal(Signal::TERM);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!((first, rest.as_str(), child.ends().code()), (*b"0", "", Some(143)));
}

#[test]
fn a_guest_comes_from_the_cache() {
    let files = Files::new();
    files.cache("debian-busybox", FAIL_7);
    for arguments in [&["run"][..], &["run", "debian-busybox"], &["run", "--offline", "--append", "quiet"]] {
        // The kernel is a program for M-mode here; in S-mode too it may write to the finisher.
        let arguments = [arguments, &["--bios", "builtin"]].concat();
        files.hostel(&arguments).assert().code(7).stdout_eq("").stderr_eq("");
    }
}
