//! Mistakes in machine descriptions: one line on standard error, with the place where there is one.

mod guest;

use guest::*;
use snapbox::str;

/// Runs `hostel run` with `arguments`; what it says must be one line, `expected`.
#[track_caller]
fn check(files: &Files, arguments: &[&str], expected: impl snapbox::IntoData) {
    let assert = files.hostel(&["run"]).args(arguments).assert().code(125).stdout_eq("");
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let line = said.strip_prefix("hostel: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("{said}"));
    snapbox::assert_data_eq!(line, expected);
}

#[test]
fn mistakes_have_a_place() {
    let files = Files::new();
    for (text, expected) in [
        (
            "cpus = 2\ncpuz = 3\n",
            str![
                "m.toml:2:1: unknown field `cpuz`, expected one of `engine`, `machine`, `cpu`, `cpus`, `memory`, `clock`, `console`, `hvc`, `bios`, `guest`, `kernel`, `initrd`, `append`, `virtio`, `balloon`, `disk`, `port`, `share`, `net`, `vsock`, `pflash`"
            ],
        ),
        (
            "machine = \"virt\"\n\n  memory = true\n",
            str![[
                r#"m.toml:3:12: invalid type: boolean `true`, expected an amount of memory, such as "512M""#
            ]],
        ),
        (
            "cpus = \"two\"",
            str![[r#"m.toml:1:8: invalid type: string "two", expected a number of CPUs, such as 4"#]],
        ),
        ("cpus = -1", str![[r#"m.toml:1:8: "-1" is no number of CPUs; write a whole number such as 4"#]]),
        ("memory = -1", str!["m.toml:1:10: memory cannot be less than nothing"]),
        (
            "memory = \"lots\"",
            str![[
                r#"m.toml:1:10: "lots" is no amount of memory; write bytes or a number with K, M, G or T, such as 512M"#
            ]],
        ),
        (
            "machine = \"pc\"",
            str![[
                r#"m.toml:1:11: there is no machine "pc"; known machines: virt, spike, sifive_u, microvm"#
            ]],
        ),
        (
            "machine = 3",
            str![[
                r#"m.toml:1:11: invalid type: integer `3`, expected the name of a machine, such as "virt""#
            ]],
        ),
        (
            "cpu = \"rv64gc_zvbb\"",
            str![[
                r#"m.toml:1:7: no CPU has the extension "zvbb"; extensions are i zfhmin m a f d c b zicbom zicbop zicboz zicntr zicond zicsr zifencei zihpm zfh zba zbb zbc zbs sstc svade svadu svinval svnapot svpbmt"#
            ]],
        ),
        (
            "console = \"tty\"",
            str![[r#"m.toml:1:11: there is no console "tty"; consoles are stdio, none, pty and unix=PATH"#]],
        ),
        ("cpus = 1\ncpus = 2", str!["m.toml:2:1: duplicate key"]),
        ("cpus 1", str!["m.toml:1:6: key with no value, expected `=`"]),
        ("\u{1}garbage", str!["m.toml:1:9: key with no value, expected `=`"]),
        (
            "[machine]\nname = \"virt\"",
            str![[r#"m.toml:1:1: invalid type: map, expected the name of a machine, such as "virt""#]],
        ),
    ] {
        files.add("m.toml", text);
        check(&files, &["m.toml"], expected);
    }
    files.add("m.toml", b"\xff\xfe");
    check(
        &files,
        &["m.toml"],
        str!["cannot read the machine description m.toml: stream did not contain valid UTF-8"],
    );
}

#[test]
fn values_that_no_machine_can_have_have_a_place() {
    let files = Files::new();
    for (text, expected) in [
        (
            "guest = \"debian-busybox\"\nkernel = \"k\"",
            str!["m.toml:2:10: both a guest (debian-busybox) and a kernel (k) are given; leave one out"],
        ),
        (
            "clock = \"virtual\"\ncpus = 2",
            str![
                "m.toml:2:8: a virtual clock follows the instructions of one hart; use --cpus 1, or --clock real"
            ],
        ),
        ("cpus = 0", str!["m.toml:1:8: a machine needs at least one CPU; try --cpus 1"]),
        (
            "cpus = 1\nmemory = 3",
            str![
                "m.toml:2:10: 3 bytes of memory is too little; a machine needs at least 1 MiB, Linux about 128 MiB: try --memory 128M"
            ],
        ),
        (
            "guest = \"debain\"",
            str![[
                r#"m.toml:1:9: there is no guest image "debain"; known images: debian-busybox, debian, debian-cloud-amd64, debian-python, debian-installer, edk2, opensbi, systemd-boot, u-boot"#
            ]],
        ),
        (
            "guest = \"opensbi\"",
            str![
                "m.toml:1:9: the image opensbi has no kernel to boot; `hostel image path opensbi` says where its files are, for --bios, --kernel or --initrd"
            ],
        ),
        ("kernel = \"\"", str!["m.toml:1:10: the path is empty; name a file, or leave kernel out"]),
        ("bios = \"\"", str!["m.toml:1:8: the firmware's name is empty; give builtin, none or a file"]),
        (
            "kernel = \"absent\"",
            str![
                "m.toml:1:10: cannot read the kernel absent (No such file or directory (os error 2)); name a file that can be read"
            ],
        ),
    ] {
        files.add("m.toml", text);
        check(&files, &["m.toml"], expected);
    }
}

#[test]
fn an_option_in_the_place_of_a_value_is_not_the_files_mistake() {
    let files = Files::new();
    files.add("m.toml", "cpus = 0\nmemory = \"1G\"\n");
    check(&files, &["m.toml", "--cpus", "0"], str!["a machine needs at least one CPU; try --cpus 1"]);
    files.add("m.toml", "clock = \"virtual\"\n");
    check(
        &files,
        &["m.toml", "--cpus", "2"],
        str![
            "m.toml:1:9: a virtual clock follows the instructions of one hart; use --cpus 1, or --clock real"
        ],
    );
}

#[test]
fn what_is_no_description() {
    let files = Files::new();
    files.add("m.TOML", "");
    for name in ["m.TOML", "absent.Toml"] {
        let expected = format!("{name}: the name of a machine description ends in .toml, in small letters");
        check(&files, &[name], expected);
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        files.path().join("pipe.toml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    check(&files, &["pipe.toml"], str!["pipe.toml is not a file; a machine description must be one"]);
}

#[test]
fn consoles_are_as_many_as_serial_lines() {
    let files = Files::new();
    for (text, expected) in [
        ("console = []", str!["m.toml:1:11: the list of consoles is empty; leave it out"]),
        (
            "console = [\"none\", \"pty\", \"pty\", \"pty\", \"pty\"]",
            str![
                "m.toml:1:11: the machine virt has at most 4 serial lines, and 5 consoles are given; leave out the rest"
            ],
        ),
    ] {
        files.add("m.toml", text);
        check(&files, &["m.toml"], expected);
    }
}
