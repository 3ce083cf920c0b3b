//! Guests with names: made once, gone on with, in the background, stopped, removed.

mod guest;

use guest::*;
use rustix::process::{Pid, Signal, kill_process};
use snapbox::str;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const BARE: [&str; 7] = ["run", "--bios", "none", "--memory", "64M", "--kernel", "k"];

/// Files with a program that answers, and a guest of that name in the background; ended with it.
struct Background(Files);

impl Background {
    fn new(program: &[u32]) -> Background {
        let files = Files::new();
        files.add("k", flat(program));
        let run = [&BARE[..], &["--name", "work", "--detach"]].concat();
        files.hostel(&run).assert().code(0).stderr_eq("").stdout_eq(str![[r#"
work runs as process [..]; `hostel attach work` is its console

"#]]);
        Background(files)
    }

    fn pid(&self) -> Option<Pid> {
        let output = self.0.hostel(&["list", "--json"]).assert().code(0).get_output().stdout.clone();
        let text = String::from_utf8(output).unwrap();
        let (_, rest) = text.split_once("\"pid\": ")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Pid::from_raw(digits.parse().ok()?)
    }

    fn attach(&self) -> Running {
        let mut attach = self.0.process(&["attach", "work"]);
        attach
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Running)
            .unwrap()
    }

    fn state(&self) -> String {
        let output = self.0.hostel(&["list"]).assert().code(0).stderr_eq("").get_output().stdout.clone();
        String::from_utf8(output).unwrap().split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn becomes(&self, state: &str) {
        let end = Instant::now() + PATIENCE;
        while self.state() != state {
            assert!(Instant::now() < end, "the guest is {} and not {state}", self.state());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[track_caller]
fn expect(child: &mut Child, text: &str) {
    let mut got = vec![0; text.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), text);
}

fn type_in(child: &mut Child, text: &str) {
    child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}

fn said(child: &mut Child) -> String {
    let mut said = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_guest_is_made_once_and_gone_on_with() {
    let files = Files::new();
    files.cache("debian-busybox", OFF);
    files.hostel(&["list"]).assert().code(0).stdout_eq("");
    files.hostel(&["list", "--json"]).assert().code(0).stdout_eq("[]\n");
    let first =
        ["run", "debian-busybox", "--name", "work", "--memory", "64M", "--offline", "--append", "a b"];
    files.hostel(&first).assert().code(0).stderr_eq("");
    let machine = std::fs::read_to_string(files.path().join("data/hostel/guests/work/machine.toml")).unwrap();
    for line in ["memory = \"64M\"", "kernel = \"kernel\"", "initrd = \"initrd\"", "append = \"a b\""] {
        assert!(machine.contains(line), "{machine}");
    }
    // Without the cache, by its name alone or with what it was made from.
    std::fs::remove_dir_all(files.path().join("cache")).unwrap();
    files.hostel(&["run", "--name", "work"]).assert().code(0).stderr_eq("");
    files.hostel(&["run", "debian-busybox", "--name", "work", "--offline"]).assert().code(0).stderr_eq("");
    let printed = files.hostel(&["run", "--name", "work", "--print-config"]).assert().code(0).stderr_eq("");
    let printed = String::from_utf8(printed.get_output().stdout.clone()).unwrap();
    assert!(printed.contains("memory = \"64M\"") && printed.contains("/guests/work/kernel\""), "{printed}");
    // Other options hold for one run.
    let once = ["run", "--name", "work", "--memory", "32M", "--print-config"];
    let once = files.hostel(&once).assert().code(0).get_output().stdout.clone();
    assert!(String::from_utf8(once).unwrap().contains("memory = \"32M\""));
    assert_eq!(
        std::fs::read_to_string(files.path().join("data/hostel/guests/work/machine.toml")).unwrap(),
        machine
    );
    files.hostel(&["list"]).assert().code(0).stdout_eq(str![[r#"
work         stopped         - -                    [..] debian-busybox

"#]]);
    files.hostel(&["remove", "work"]).assert().code(0).stdout_eq(str![[r#"
removed work: [..] in [..]/data/hostel/guests/work

"#]]);
    files.hostel(&["list"]).assert().code(0).stdout_eq("");
}

#[test]
fn a_guest_keeps_its_base_and_has_its_disk() {
    let files = Files::new();
    files.cache_with_disk("debian", OFF, &vec![7; 1 << 20]);
    let folder = files.path().join("data/hostel/guests/work");
    let cached = files.path().join("cache/hostel/v1/files/debian/d/root.raw");
    files.hostel(&["run", "debian", "--name", "work", "--offline"]).assert().code(0).stderr_eq("");
    let inode = |path: &std::path::Path| std::fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&folder.join("base")), inode(&cached));
    let info = files.hostel(&["image", "info", folder.join("disk.qcow2").to_str().unwrap()]);
    let info = String::from_utf8(info.assert().code(0).get_output().stdout.clone()).unwrap();
    assert!(info.contains("base"), "{info}");
    // A new image in the cache changes nothing, nor does an empty cache.
    std::fs::write(files.path().join("new"), vec![9; 1 << 20]).unwrap();
    std::fs::rename(files.path().join("new"), &cached).unwrap();
    files.hostel(&["run", "--name", "work"]).assert().code(0).stderr_eq("");
    std::fs::remove_dir_all(files.path().join("cache")).unwrap();
    files.hostel(&["run", "--name", "work"]).assert().code(0).stderr_eq("");
    assert_eq!(std::fs::read(folder.join("base")).unwrap(), vec![7; 1 << 20]);
    let machine = std::fs::read_to_string(folder.join("machine.toml")).unwrap();
    assert!(machine.contains("systemd.hostname=work\""), "{machine}");
    let rest = "\n[[disk]]\nfile = \"disk.qcow2\"\nformat = \"qcow2\"\n\n[[net]]\nkind = \"user\"\n";
    assert!(machine.ends_with(rest), "{machine}");
}

#[test]
fn mistakes_with_names() {
    let files = Files::new();
    files.cache("debian-busybox", OFF);
    files.add("k", flat(OFF));
    files.wrong(
        &["run", "--name", "work"],
        str!["there is no guest work; say what to make it of, as in `hostel run debian --name work`"],
    );
    files.wrong(&["attach", "work"], str!["there is no guest work; `hostel list` shows those there are"]);
    files.wrong(&["stop", "work"], str!["there is no guest work; `hostel list` shows those there are"]);
    files.wrong(&["remove", "work"], str!["there is no guest work; `hostel list` shows those there are"]);
    files.wrong(&["run", "--detach"], str!["[..]--name <NAME>[..]"]);
    files.hostel(&[&BARE[..], &["--name", "work"]].concat()).assert().code(0).stderr_eq("");
    files.wrong(&["stop", "work"], str!["the guest work is not running; `hostel run --name work` starts it"]);
    files.wrong(
        &["attach", "work"],
        str!["the guest work is not running; `hostel run --name work` starts it"],
    );
    files.wrong(
        &["run", "debian-busybox", "--offline", "--name", "work"],
        str![
            "there is a guest work already, with a machine of its own; leave debian-busybox out, or choose another name"
        ],
    );
    // What goes wrong in the background is said at the terminal.
    files.wrong(
        &["run", "--bios", "none", "--kernel", "none", "--name", "other", "--detach"],
        str!["cannot read the kernel none ([..]); name a file that can be read"],
    );
}

#[test]
fn attack_names_that_lead_out_of_the_folder() {
    let files = Files::new();
    files.add("k", flat(OFF));
    files.add("data/hostel/victim/machine.toml", "");
    for name in ["../victim", "..", "/etc", "a/b", ".x", ""] {
        for arguments in
            [&[&BARE[..], &["--name", name]].concat(), &vec!["remove", name], &vec!["stop", name]]
        {
            let assert = files.hostel(arguments).assert().code(125).stdout_eq("");
            let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
            assert!(
                said.contains("is no name for a guest") || said.contains("a value is required"),
                "{said}"
            );
        }
    }
    assert!(files.path().join("data/hostel/victim/machine.toml").exists());
    assert!(!files.path().join("data/hostel/guests").exists());
}

#[test]
fn in_the_background_it_is_attached_to_and_left() {
    let guest = Background::new(ECHO);
    assert_eq!(guest.state(), "running");
    let mut one = guest.attach();
    // What it wrote before is shown.
    expect(&mut one.0, ">");
    type_in(&mut one.0, "hello");
    expect(&mut one.0, "hello");
    // One at a time.
    guest.0.wrong(&["attach", "work"], str!["somebody is attached to the guest work already"]);
    one.signal(Signal::TERM);
    one.ends();
    let mut two = guest.attach();
    type_in(&mut two.0, "again");
    expect(&mut two.0, "again");
    type_in(&mut two.0, "x");
    expect(&mut two.0, "x");
    assert_eq!((two.ends().code(), said(&mut two.0).as_str()), (Some(0), ""));
    guest.becomes("stopped");
}

#[test]
fn two_runs_of_one_name_are_refused() {
    let guest = Background::new(ECHO);
    let pid = guest.pid().unwrap().as_raw_nonzero();
    guest.0.wrong(&["run", "--name", "work"], format!("the guest work is in use by process {pid}"));
    guest.0.wrong(
        &["remove", "work"],
        format!("the guest work is in use by process {pid}; `hostel stop work` ends it"),
    );
    guest.0.hostel(&["stop", "work", "--force"]).assert().code(0).stderr_eq("").stdout_eq("work was ended\n");
    assert_eq!(guest.state(), "stopped");
    guest.0.hostel(&["remove", "work"]).assert().code(0).stderr_eq("");
}

#[test]
fn a_guest_that_does_not_listen_is_ended() {
    let guest = Background::new(ECHO);
    guest.0.hostel(&["stop", "work"]).assert().code(0).stdout_eq("work was ended\n").stderr_eq(str![[r#"
hostel: the guest work does not listen to its power button; it is ended now

"#]]);
    assert_eq!(guest.state(), "stopped");
}

#[test]
fn a_guest_that_listens_powers_off() {
    let guest = Background::new(BUTTON);
    let mut attach = guest.attach();
    expect(&mut attach.0, ">");
    guest.0.hostel(&["stop", "work"]).assert().code(0).stderr_eq("").stdout_eq("work has stopped\n");
    assert_eq!(attach.ends().code(), Some(0));
    assert_eq!(guest.state(), "stopped");
}

#[test]
fn attack_a_guest_that_listens_and_does_nothing_is_ended() {
    let guest = Background::new(&deaf());
    let mut attach = guest.attach();
    expect(&mut attach.0, ">");
    let stop = ["stop", "work", "--timeout", "1"];
    guest.0.hostel(&stop).assert().code(0).stdout_eq("work was ended\n").stderr_eq(str![[r#"
hostel: the guest work has not powered off within 1 s; it is ended now

"#]]);
    assert_eq!(guest.state(), "stopped");
}

/// [`BUTTON`] without an ear for what comes.
fn deaf() -> Vec<u32> {
    let mut program = BUTTON.to_vec();
    let wait = program.iter().position(|word| *word == 0x002f_5583).unwrap();
    program[wait] = 0x0000_006f; // j .
    program
}

/// Runs a program in the foreground until it has said '>'.
fn foreground(files: &Files, program: &[u32], more: &[&str]) -> Running {
    files.add("k", flat(program));
    let mut run = files.process(&[&BARE[..], more].concat());
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().map(Running).unwrap();
    expect(&mut child.0, ">");
    child
}

#[test]
fn a_signal_has_a_guest_power_off() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let files = Files::new();
        let mut child = foreground(&files, BUTTON, &[]);
        child.signal(signal);
        // The guest's own status, not that of a signal.
        assert_eq!(child.ends().code(), Some(0), "{signal:?}");
        assert_eq!(
            said(&mut child.0),
            "hostel: the guest was asked to power off; a second signal ends it at once\n"
        );
    }
}

#[test]
fn a_second_signal_ends_a_guest_that_does_nothing() {
    let files = Files::new();
    let mut child = foreground(&files, &deaf(), &[]);
    child.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(child.0.try_wait().unwrap(), None);
    child.signal(Signal::INT);
    assert_eq!(child.ends().code(), Some(128 + 2));
    // And one that asks for no courtesy is not a question.
    let mut child = foreground(&files, BUTTON, &[]);
    child.signal(Signal::QUIT);
    assert_eq!((child.ends().code(), said(&mut child.0).as_str()), (Some(128 + 3), ""));
}

#[test]
fn with_a_virtual_clock_or_no_place_left_there_is_no_button() {
    let files = Files::new();
    files.add("d", [0; 4096]);
    let mut child = foreground(&files, ECHO, &["--clock", "virtual"]);
    child.signal(Signal::TERM);
    assert_eq!((child.ends().code(), said(&mut child.0).as_str()), (Some(143), ""));
    let mut child = foreground(&files, ECHO, &["--disk=d,ro"; 7]);
    child.signal(Signal::TERM);
    assert_eq!((child.ends().code(), said(&mut child.0).as_str()), (Some(143), ""));
}

#[test]
fn in_the_foreground_its_console_is_where_it_was_started() {
    let files = Files::new();
    let mut child = foreground(&files, ECHO, &["--name", "work"]);
    files.wrong(
        &["attach", "work"],
        format!(
            "the guest work was not started with --detach: its console is where process {} was started",
            child.0.id()
        ),
    );
    files.hostel(&["stop", "work", "--force"]).assert().code(0).stdout_eq("work was ended\n");
    assert_eq!((child.ends().code(), said(&mut child.0).as_str()), (Some(143), ""));
}

#[test]
fn attack_what_a_killed_process_leaves_is_not_taken_for_it() {
    let guest = Background::new(ECHO);
    kill_process(guest.pid().unwrap(), Signal::KILL).unwrap();
    guest.becomes("stopped");
    let folder = guest.0.path().join("data/hostel/guests/work");
    assert!(folder.join("control").exists());
    guest.0.wrong(
        &["attach", "work"],
        str!["the guest work is not running; `hostel run --name work` starts it"],
    );
    guest.0.hostel(&["run", "--name", "work", "--detach"]).assert().code(0).stderr_eq("");
    let mut attach = guest.attach();
    expect(&mut attach.0, ">");
}

#[test]
fn attack_others_cannot_reach_a_guest() {
    let guest = Background::new(ECHO);
    let folder = guest.0.path().join("data/hostel/guests/work");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&folder), mode(&folder.join("control")), mode(&folder.join("log"))),
        (0o700, 0o600, 0o600)
    );
}

#[test]
fn attack_a_client_that_reads_nothing_does_not_stall_the_guest() {
    let guest = Background::new(FLOOD);
    let attach = guest.attach();
    std::thread::sleep(Duration::from_millis(300));
    // Its pipe is full, then its socket; the guest goes on, and ends when it is told.
    let start = Instant::now();
    guest.0.hostel(&["stop", "work", "--force"]).assert().code(0).stdout_eq("work was ended\n");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(attach);
}
