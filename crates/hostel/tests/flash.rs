//! Flash memory: a program that runs where it lies, and what is kept of what it writes.

mod guest;

use guest::*;
use rustix::process::Signal;
use snapbox::str;
use std::io::Read;
use std::process::Stdio;

/// Bytes of a bank.
const BANK: usize = 32 << 20;

/// Loads eight bytes of itself from an odd address, programs a word of the second bank, reads it back, and ends the machine
/// with status 7; or jumps to address 0, where nothing is.
const PROGRAM: &[u32] = &[
    0x0000_0297, // auipc t0,0x0
    0x0592_b303, // ld t1,89(t0)
    0x0070_0393, // li t2,7
    0x0473_1463, // bne t1,t2,54
    0x2200_03b7, // lui t2,0x22000
    0x0040_0e37, // lui t3,0x400
    0x040e_0e13, // add t3,t3,64
    0x01c3_a023, // sw t3,0(t2)
    0x1234_5eb7, // lui t4,0x12345
    0x678e_8e93, // add t4,t4,1656
    0x11d3_a023, // sw t4,256(t2)
    0x00ff_0e37, // lui t3,0xff0
    0x0ffe_0e13, // add t3,t3,255
    0x01c3_a023, // sw t3,0(t2)
    0x1003_af03, // lw t5,256(t2)
    0x01ee_9c63, // bne t4,t5,54
    0x0010_02b7, // lui t0,0x100
    0x0007_3337, // lui t1,0x73
    0x3333_0313, // add t1,t1,819
    0x0062_a023, // sw t1,0(t0)
    0x0000_006f, // j 50
    0x0000_0067, // jr zero
    0x0000_0700, // .byte 0, 7, 0, 0, 0, 0, 0, 0, 0
    0x0000_0000,
    0x0000_0000,
];

/// Programs one word of the second bank after the other with zeroes, and sends a dot for each that is done.
const DOTS: &[u32] = &[
    0x2200_03b7, // lui t2,0x22000
    0x0040_0e37, // lui t3,0x400
    0x040e_0e13, // add t3,t3,64
    0x1000_02b7, // lui t0,0x10000
    0x02e0_0313, // li t1,46
    0x0003_8e93, // mv t4,t2
    0x01c3_a023, // sw t3,0(t2)
    0x000e_a023, // sw zero,0(t4)
    0x0062_8023, // sb t1,0(t0)
    0x004e_8e93, // add t4,t4,4
    0xff1f_f06f, // j 18
];

fn run(files: &Files, second: &str, more: &[&str]) {
    files.add("code", flat(PROGRAM));
    let arguments = [
        "run",
        "--bios",
        "none",
        "--memory",
        "64M",
        "--console",
        "none",
        "--pflash",
        "code,ro",
        "--pflash",
        second,
    ];
    files.hostel(&[&arguments[..], more].concat()).assert().code(7).stderr_eq("");
}

fn word(files: &Files, name: &str) -> [u8; 4] {
    std::fs::read(files.path().join(name)).unwrap()[0x100..0x104].try_into().unwrap()
}

#[test]
fn a_program_runs_in_flash_and_what_it_writes_is_kept() {
    let files = Files::new();
    files.add("vars", vec![0xff; BANK]);
    for engine in ["interp", "jit,threshold=0"] {
        run(&files, "vars,overlay", &["--engine", engine]);
        assert_eq!(word(&files, "vars"), [0xff; 4], "an overlay is forgotten");
    }
    // What is there already can be programmed again.
    for clock in ["real", "virtual"] {
        run(&files, "vars", &["--clock", clock]);
        assert_eq!(word(&files, "vars"), [0x78, 0x56, 0x34, 0x12]);
    }
}

#[test]
fn a_killed_machine_has_lost_nothing_that_the_guest_saw_done() {
    let files = Files::new();
    files.add("code", flat(DOTS));
    for wanted in [1, 2, 3, 50, 1000, 5000] {
        files.add("vars", vec![0xff; BANK]);
        let arguments =
            ["run", "--bios", "none", "--memory", "64M", "--pflash", "code,ro", "--pflash", "vars"];
        let mut command = files.process(&arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running(command.spawn().unwrap());
        let mut dots = running.0.stdout.take().unwrap();
        let mut seen = vec![0; wanted];
        dots.read_exact(&mut seen).unwrap();
        running.signal(Signal::KILL);
        running.ends();
        // What was still under way to us counts as well.
        let mut rest = Vec::new();
        dots.read_to_end(&mut rest).unwrap();
        let kept = std::fs::read(files.path().join("vars")).unwrap();
        let zeroes = kept.iter().take_while(|&&byte| byte == 0).count();
        assert!(zeroes >= 4 * (wanted + rest.len()), "{wanted} and {} dots, {zeroes} bytes", rest.len());
        // A word under way may be there in part, and nothing else.
        assert!(kept.iter().skip(zeroes + 4).all(|&byte| byte == 0xff));
    }
}

#[test]
fn what_is_printed_of_flash_is_read_back() {
    let files = Files::new();
    let print = |arguments: &[&str]| {
        let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let printed = print(&["run", "--print-config", "--pflash", "/c,ro", "--pflash", "/v,overlay"]);
    assert!(!printed.contains("guest"), "no default guest where there is a program: {printed}");
    let tail = "\n[[pflash]]\nfile = \"/c\"\nro = true\n\n[[pflash]]\nfile = \"/v\"\noverlay = true\n";
    assert!(printed.ends_with(tail), "{printed}");
    files.add("m.toml", &printed);
    assert_eq!(print(&["run", "--print-config", "m.toml"]), printed);
}

#[test]
fn flash_that_cannot_be() {
    let files = Files::new();
    files.add("code", flat(PROGRAM));
    files.add("short", [0xff; 4096]);
    let wrong = |more: &[&str], expected: snapbox::data::Inline| {
        files.wrong(&[&["run"], more].concat(), expected);
    };
    wrong(&["--pflash", "none,ro"], str!["cannot open none: No such file or directory (os error 2)"]);
    wrong(
        &["--pflash", "code"],
        str![
            "the machine starts from the first bank of its flash memory, so code must not change; write code,ro"
        ],
    );
    wrong(
        &["--pflash", "code,ro", "--pflash", "short"],
        str!["flash bank 1: its contents must be 32 MiB, and are less; only what is read-only may be"],
    );
    wrong(
        &["--pflash", "code,ro,bus=pci"],
        str!["code is flash memory, which is on no bus for virtio devices; leave ,bus out"],
    );
    wrong(&["--pflash=code,ro"; 3], str!["the board virt has 2 banks of flash memory, not 3"]);
    wrong(
        &["--machine", "spike", "--pflash", "code,ro"],
        str!["the board spike has no flash memory; use --machine virt"],
    );
    wrong(
        &["--pflash", "code,ro", "--initrd", "code"],
        str!["an initrd has no effect without a kernel; add --kernel FILE"],
    );
    files.add("m.toml", "[[pflash]]\nfile = \"code\"\n");
    wrong(
        &["m.toml"],
        str![
            "m.toml:1:1: the machine starts from the first bank of its flash memory, so code must not change; write code,ro"
        ],
    );
}

#[test]
fn boot_loaders_take_no_kernel_and_edk2_a_bank() {
    let files = Files::new();
    let wrong = |more: &[&str], expected: snapbox::data::Inline| {
        files.wrong(&[&["run", "--offline"], more].concat(), expected);
    };
    wrong(
        &["u-boot", "--append", "x"],
        str![
            "--append has no effect: u-boot is a boot loader, which gives a kernel what its disk says; leave it out"
        ],
    );
    wrong(
        &["edk2", "--machine", "sifive_u"],
        str!["the guest edk2 is in flash memory, and the board sifive_u has none; use --machine virt"],
    );
    wrong(
        &["edk2", "--pflash", "a", "--pflash", "b"],
        str!["the guest edk2 is in the first bank of the flash memory; give one file, for the second, not 2"],
    );
}
