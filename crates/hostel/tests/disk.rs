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

/// The same with the device ID of device 4 of PCI's bus 0, less 0x1040; 63 if there is none.
const TYPE_ON_PCI: [u32; 11] = [
    0x3002_0537, // lui a0, 0x30020
    0x0005_2583, // lw a1, 0(a0)
    0x0105_d593, // srli a1, a1, 16
    0x03f5_f593, // andi a1, a1, 63
    0x0105_9593, // slli a1, a1, 16
    0x0000_3637, // lui a2, 3
    0x3336_0613, // addi a2, a2, 0x333
    0x00c5_e5b3, // or a1, a1, a2
    0x0010_06b7, // lui a3, 0x100
    0x00b6_a023, // sw a1, 0(a3)
    0x0000_006f, // j .
];

fn first(files: &Files, more: &[&str], expected: i32) {
    ends(files, &TYPE_OF_FIRST, more, expected);
}

fn ends(files: &Files, program: &[u32], more: &[&str], expected: i32) {
    files.add("k", elf(EM_RISCV, &flat(program), &[]));
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
fn devices_are_on_pci_if_so_said_or_if_there_is_no_room() {
    let files = Files::new();
    files.add("d", [0; 4096]);
    // Where nothing else is, the power button and the balloon are.
    let (disk, entropy, balloon, button, nothing) = (2, 4, 5, 18, 63);
    for (more, at_registers, on_pci) in [
        (&[][..], entropy, nothing),
        (&["--virtio", "mmio"], entropy, nothing),
        (&["--virtio", "pci"], button, entropy),
        (&["--virtio", "pci", "--disk", "d"], button, disk),
        (&["--virtio", "pci", "--disk", "d,bus=mmio"], disk, entropy),
        (&["--disk", "d,bus=pci"], entropy, disk),
        (&["--disk=d,ro"; 7], disk, balloon),
        (&["--disk=d,ro"; 8], entropy, disk),
    ] {
        first(&files, more, at_registers);
        ends(&files, &TYPE_ON_PCI, more, on_pci);
    }
    ends(&files, &TYPE_ON_PCI, &["--clock", "virtual", "--disk", "d,bus=pci"], disk);
}

#[test]
fn what_is_printed_of_disks_is_read_back() {
    let files = Files::new();
    let run = |arguments: &[&str]| {
        let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let kernel = ["run", "--print-config", "--bios", "none", "--kernel", "/k"];
    let disks = [
        "--virtio",
        "pci",
        "--disk",
        "/a,,b,overlay,cache=none,bus=mmio",
        "--disk",
        "/c,ro,format=qcow2,backing=/x,backing=any",
    ];
    let printed = run(&[&kernel[..], &disks].concat());
    let tail = printed.split_once("kernel = \"/k\"\n").unwrap().1;
    snapbox::assert_data_eq!(
        tail,
        str![[r#"
virtio = "pci"

[[disk]]
file = "/a,b"
overlay = true
cache = "none"
bus = "mmio"

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
    wrong(&["--disk=d"; 36], str!["the board virt has room for 35 disks, not 36"]);
    wrong(
        &["--disk=d"; 29],
        str!["the board virt has room for 28 virtio devices with bus pci, not 29; put some on bus mmio"],
    );
    wrong(
        &["--disk=d,bus=mmio"; 9],
        str!["the board virt has room for 8 virtio devices with bus mmio, not 9; put some on bus pci"],
    );
    wrong(
        &["--machine", "spike", "--virtio", "pci"],
        str!["the board spike has no virtio devices to put on bus pci; leave --virtio out"],
    );
    // A guest's own counts, before anything is fetched.
    files.wrong(
        &["run", "--offline", "--machine", "spike", "debian"],
        str!["the board spike has no place for a disk, and the guest debian has one; use --machine virt"],
    );
    let many = [&["run", "--offline", "debian"][..], &["--disk=d"; 35]].concat();
    files.wrong(&many, str!["the board virt has room for 34 disks beside that of the guest debian, not 35"]);
    files.add("m.toml", "kernel = \"k\"\nbios = \"none\"\n\n[[disk]]\nfile = \"none.img\"\n");
    files.wrong(
        &["run", "m.toml"],
        str!["m.toml:4:1: cannot open [..]none.img: No such file or directory (os error 2)"],
    );
}

#[test]
fn the_disk_of_sifive_u_is_an_sd_card() {
    let files = Files::new();
    files.add("d", vec![0; 1 << 20]);
    files.add("odd", vec![0; (1 << 20) + 512]);
    // Hart 1 writes to a register of the controller that the card is behind, and powers off.
    let program = [
        0xf140_2573, // csrr a0, mhartid
        0x0005_0e63, // beqz a0, 32
        0x1005_0537, // lui a0, 0x10050
        0x0405_2023, // sw zero, 64(a0)
        0x0010_06b7, // lui a3, 0x100
        0x0000_5637, // lui a2, 5
        0x5556_0613, // addi a2, a2, 0x555
        0x00c6_a023, // sw a2, 0(a3)
        0x0000_006f, // j .
    ];
    files.add("k", elf(EM_RISCV, &flat(&program), &[]));
    fn run<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let base = ["run", "--bios", "none", "--kernel", "k", "--memory", "64M", "--console", "none"];
        [&base[..], &["--machine", "sifive_u", "--cpus", "1"], more].concat()
    }
    for clock in ["real", "virtual"] {
        for disk in ["d", "d,bus=sd", "d,ro"] {
            files.hostel(&run(&["--clock", clock, "--disk", disk])).assert().code(0).stderr_eq("");
        }
    }
    files.wrong(
        &run(&["--disk", "odd"]),
        str![
            "the disk can be no SD card: it has 1049088 bytes, and an SD card a multiple of 512 KiB; make it 1572864 \
             bytes long"
        ],
    );
    files
        .wrong(&run(&["--disk", "d", "--disk", "d"]), str!["the board sifive_u has room for 1 disks, not 2"]);
    files.wrong(
        &run(&["--disk", "d,bus=pci"]),
        str![
            "the board sifive_u has no virtio devices to put on bus pci; its disk is an SD card: leave bus=pci out"
        ],
    );
    files.wrong(
        &["run", "--bios", "none", "--kernel", "k", "--disk", "d,bus=sd"],
        str!["the board virt has no slot for an SD card; leave bus=sd out"],
    );
}
