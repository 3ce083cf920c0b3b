//! The socket device: what `--vsock` takes, the sockets that it makes, and what is said of those that cannot be.

mod guest;

use guest::*;
use snapbox::str;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Ends the machine with the device type (section 4.2.2 of the VIRTIO specification) of the first virtio place.
const TYPE_OF_FIRST: [u32; 9] = [
    0x1000_1537, // lui a0, 0x10001
    0x0085_2583, // lw a1, 8(a0)
    0x0105_9593, // slli a1, a1, 16
    0x0000_3637, // lui a2, 3
    0x3336_0613, // addi a2, a2, 0x333
    0x00c5_e5b3, // or a1, a1, a2
    0x0010_06b7, // lui a3, 0x100
    0x00b6_a023, // sw a1, 0(a3)
    0x0000_006f, // j .
];
/// j .
const FOR_EVER: [u32; 1] = [0x0000_006f];

const RUN: [&str; 9] = ["run", "--bios", "none", "--kernel", "k", "--memory", "64M", "--console", "none"];

fn files(program: &[u32]) -> Files {
    let files = Files::new();
    files.add("k", elf(EM_RISCV, &flat(program), &[]));
    files
}

#[test]
fn it_is_there_before_entropy_and_its_socket_is_gone_at_the_end() {
    let files = files(&TYPE_OF_FIRST);
    let run = |more: &[&str], said: &'static str| {
        files.hostel(&[&RUN[..], more].concat()).assert().code(19).stdout_eq("").stderr_eq(said);
        assert!(!files.path().join("v").exists());
    };
    run(&["--vsock", "v"], "hostel: the guest's ports are at v\n");
    run(
        &["--vsock", "v,cid=9,host=allow"],
        "hostel: the guest's ports are at v, and its connections to port N go to v_N\n",
    );
}

#[test]
fn attack_callers_of_a_guest_without_a_driver_do_not_hold_it_up() {
    let files = files(&FOR_EVER);
    let mut process = files.process(&[&RUN[..], &["--vsock", "v"]].concat()).spawn().unwrap();
    let path = files.path().join("v");
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is no socket");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let callers: Vec<_> = (0..20).filter_map(|_| UnixStream::connect(&path).ok()).collect();
    assert!(!callers.is_empty());
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    process.wait().unwrap();
    assert!(!path.exists());
}

#[test]
fn what_is_printed_of_it_is_read_back() {
    let files = files(&FOR_EVER);
    let printed = |arguments: &[&str]| {
        let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let kernel = ["run", "--print-config", "--bios", "none", "--kernel", "/k"];
    let text = printed(&[&kernel[..], &["--vsock", "/v,cid=7,host=allow"]].concat());
    assert!(text.ends_with("\n[vsock]\npath = \"/v\"\ncid = 7\nhost = \"allow\"\n"), "{text}");
    files.add("m.toml", text.clone());
    assert_eq!(printed(&["run", "--print-config", "m.toml"]), text);
    let other = printed(&["run", "--print-config", "m.toml", "--vsock", "/w"]);
    assert!(other.ends_with("\n[vsock]\npath = \"/w\"\n"), "{other}");
}

#[test]
fn socket_devices_that_cannot_be() {
    let files = files(&FOR_EVER);
    files.add("file", "");
    let wrong =
        |more: &[&str], expected: snapbox::data::Inline| files.wrong(&[&RUN[..], more].concat(), expected);
    wrong(
        &["--machine", "spike", "--vsock", "v"],
        str!["the board spike has no place for a socket device; use --machine virt"],
    );
    wrong(
        &["--clock", "virtual", "--vsock", "v"],
        str![
            "connections come when the host makes them, which no virtual clock can repeat; leave --vsock out, or use --clock real"
        ],
    );
    wrong(&["--vsock", "v,cid=2"], str!["2 cannot be a guest's context id; choose one from 3 to 4294967294"]);
    wrong(
        &["--vsock", "file"],
        str![
            "cannot make the guest's socket device: file exists and is not a socket; choose another path for the socket"
        ],
    );
    wrong(
        &["--vsock", "v,host=yes"],
        str![[
            r#"invalid value 'v,host=yes' for '--vsock <PATH[,...]>': there is no option "host=yes" of a socket device; they are cid=N and host=allow; a comma in a path is written twice; see `hostel run --help`"#
        ]],
    );
    files.add("m.toml", "kernel = \"k\"\nbios = \"none\"\n[vsock]\npath = \"v\"\nhost = \"yes\"\n");
    files.wrong(&["run", "m.toml"], str![[r#"m.toml:5:8: "yes" is neither allow nor refuse"#]]);
}
