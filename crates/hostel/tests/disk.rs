//! Disks: what `--disk` takes, what a machine with one has, what is said of those that cannot be.

mod guest;

use guest::*;
use snapbox::str;

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

fn first(files: &Files, more: &[&str], expected: i32) {
    files.add("k", elf(EM_RISCV, &flat(&TYPE_OF_FIRST), &[]));
    let arguments =
        [&["run", "--bios", "none", "--kernel", "k", "--memory", "64M", "--console", "none"], more];
    files.hostel(&arguments.concat()).assert().code(expected).stderr_eq("");
}

#[test]
fn disks_come_first_and_entropy_is_always_there() {
    let files = Files::new();
    files.add("d", [0; 4096]);
    for clock in ["real", "virtual"] {
        first(&files, &["--clock", clock], 4);
        first(&files, &["--clock", clock, "--disk", "d"], 2);
        first(&files, &["--clock", clock, "--disk", "d,ro,format=raw", "--disk", "d,ro"], 2);
    }
}

#[test]
fn what_is_printed_of_disks_is_read_back() {
    let files = Files::new();
    let run = |arguments: &[&str]| {
        let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let kernel = ["run", "--print-config", "--bios", "none", "--kernel", "/k"];
    let disks = ["--disk", "/a,,b,overlay,cache=none", "--disk", "/c,ro,format=qcow2,backing=/x,backing=any"];
    let printed = run(&[&kernel[..], &disks].concat());
    let tail = printed.split_once("kernel = \"/k\"\n").unwrap().1;
    snapbox::assert_data_eq!(
        tail,
        str![[r#"

[[disk]]
file = "/a,b"
overlay = true
cache = "none"

[[disk]]
file = "/c"
ro = true
format = "qcow2"
backing = ["/x", "any"]

"#]]
    );
    files.add("m.toml", &printed);
    assert_eq!(run(&["run", "--print-config", "m.toml"]), printed);
    let other = run(&["run", "--print-config", "m.toml", "--disk", "/d"]);
    assert!(other.ends_with("\n[[disk]]\nfile = \"/d\"\n") && !other.contains("/a,b"), "{other}");
}

#[test]
fn disks_that_cannot_be() {
    let files = Files::new();
    files.add("k", elf(EM_RISCV, &flat(&TYPE_OF_FIRST), &[]));
    let wrong = |more: &[&str], expected: snapbox::data::Inline| {
        let arguments = [&["run", "--bios", "none", "--kernel", "k"], more];
        files.wrong(&arguments.concat(), expected);
    };
    wrong(&["--disk", "none.img"], str!["cannot open none.img: No such file or directory (os error 2)"]);
    wrong(
        &["--machine", "spike", "--disk", "d"],
        str!["the board spike has no place for a disk; use --machine virt"],
    );
    wrong(
        &["--disk", "d,ro,overlay"],
        str!["the disk d is read-only, so that an overlay has no effect; leave one out"],
    );
    wrong(&["--disk=d"; 8], str!["the board virt has room for 7 disks, not 8"]);
    // A guest's own counts, before anything is fetched.
    for machine in ["sifive_u", "spike"] {
        let expected = format!(
            "the board {machine} has no place for a disk, and the guest debian has one; use --machine virt"
        );
        files.wrong(&["run", "--offline", "--machine", machine, "debian"], expected);
    }
    let seven = [&["run", "--offline", "debian"][..], &["--disk=d"; 7]].concat();
    files.wrong(&seven, str!["the board virt has room for 6 disks beside that of the guest debian, not 7"]);
    files.add("m.toml", "kernel = \"k\"\nbios = \"none\"\n\n[[disk]]\nfile = \"none.img\"\n");
    files.wrong(
        &["run", "m.toml"],
        str!["m.toml:4:1: cannot open [..]none.img: No such file or directory (os error 2)"],
    );
}
