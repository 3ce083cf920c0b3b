//! Bad input: each mistake is one clear line on standard error and exit status 125.

mod guest;

use guest::*;
use snapbox::str;

/// Runs `hostel run` with `arguments`; what it says must be one line, `expected`.
#[track_caller]
fn check(files: &Files, arguments: &[&str], expected: impl snapbox::IntoData) {
    wrong(files, &[&["run"], arguments].concat(), expected);
}

#[track_caller]
fn wrong(files: &Files, arguments: &[&str], expected: impl snapbox::IntoData) {
    let assert = files.hostel(arguments).assert().code(125).stdout_eq("");
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    let line = said.strip_prefix("hostel: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    snapbox::assert_data_eq!(line.replace(&files.path().display().to_string(), "DIRECTORY"), expected);
}

/// Runs a program without firmware.
#[track_caller]
fn check_kernel(contents: &[u8], expected: impl snapbox::IntoData) {
    let files = Files::new();
    files.add("k", contents);
    check(&files, &["--bios", "none", "--kernel", "k", "--memory", "64M"], expected);
}

#[test]
fn programs_that_are_not_for_this_machine() {
    check_kernel(&elf(EM_X86_64, &flat(OFF), &[]), str!["k: this is an x86-64 ELF, a riscv64 one is needed"]);
    let mut image = vec![0; 64];
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    check_kernel(&image, str!["k: this is an arm64 Linux Image, a riscv64 kernel is needed"]);
    check_kernel(b"", str!["k: this file is empty; name another one"]);
    check_kernel(b"#!/bin/sh\necho hello\n", str!["k: this is a text file, not a program for a machine"]);
    check_kernel(b"\x1f\x8b\x08 and so on", str!["k: this is gzip-compressed; unpack it first"]);
}

#[test]
fn damaged_programs() {
    let whole = elf(EM_RISCV, &flat(OFF), &[]);
    check_kernel(
        &whole[..130],
        str![
            "k: this ELF is truncated: its loadable segment would end at byte 140, but the file has 130 bytes; fetch or build it again"
        ],
    );
    check_kernel(
        &whole[..40],
        str![
            "k: this ELF is truncated: its header would end at byte 64, but the file has 40 bytes; fetch or build it again"
        ],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let files = Files::new();
    files.add("directory/x", "");
    files.add("k", flat(OFF));
    check(&files, &["--kernel", "directory"], str!["directory is a directory; the kernel must be a file"]);
    check(
        &files,
        &["--kernel", "absent"],
        str![
            "cannot read the kernel absent (No such file or directory (os error 2)); name a file that can be read"
        ],
    );
    check(
        &files,
        &["--bios", "absent"],
        str![
            "cannot read the firmware absent (No such file or directory (os error 2)); name a file that can be read"
        ],
    );
    check(
        &files,
        &["--kernel", "k", "--initrd", "absent"],
        str![
            "cannot read the initrd absent (No such file or directory (os error 2)); name a file that can be read"
        ],
    );
    check(&files, &["--kernel", "/dev/zero"], str!["/dev/zero is a device; the kernel must be a file"]);
    // Opens for its own process, but the first page is not mapped.
    check(
        &files,
        &["--kernel", "/proc/self/mem"],
        str![
            "cannot read the kernel /proc/self/mem (Input/output error (os error 5)); name a file that can be read"
        ],
    );
    check(
        &files,
        &["absent.toml"],
        str!["cannot read the machine description absent.toml: No such file or directory (os error 2)"],
    );
    check(
        &files,
        &["k"],
        str![
            "k is neither a guest nor a machine description (FILE.toml); a kernel is given with --kernel FILE"
        ],
    );
}

#[test]
fn files_that_do_not_fit() {
    let files = Files::new();
    files.add("k", flat(OFF));
    std::fs::File::create(files.path().join("huge")).unwrap().set_len(3 << 30).unwrap();
    let bare = ["--bios", "none", "--kernel", "k"];
    check(
        &files,
        &[&bare[..], &["--initrd", "huge"]].concat(),
        str!["the initrd huge (3 GiB) does not fit in 2 GiB of memory; try --memory 4G"],
    );
    check(
        &files,
        &[&bare[..], &["--initrd", "huge", "--memory", "16M"]].concat(),
        str!["the initrd huge (3 GiB) does not fit in 16 MiB of memory; try --memory 4G"],
    );
    check(
        &files,
        &["--kernel", "huge", "--memory", "1G"],
        str!["the kernel huge (3 GiB) does not fit in 1 GiB of memory; try --memory 4G"],
    );
    std::fs::File::create(files.path().join("large")).unwrap().set_len(15 << 20).unwrap();
    check(
        &files,
        &[&bare[..], &["--initrd", "large", "--memory", "16M"]].concat(),
        str![
            "the initrd (15 MiB) does not fit beside the other boot files in 16 MiB of memory; try --memory 32M"
        ],
    );
}

#[test]
fn machines_that_cannot_be() {
    let files = Files::new();
    files.add("k", flat(OFF));
    for (option, value, expected) in [
        ("--cpus", "0", str!["a machine needs at least one CPU; try --cpus 1"]),
        ("--cpus", "5000", str!["5000 CPUs are too many; the virt board has room for 512"]),
        (
            "--cpus",
            "-1",
            str![[
                r#"invalid value '-1' for '--cpus <N>': "-1" is no number of CPUs; write a whole number such as 4; see `hostel run --help`"#
            ]],
        ),
        (
            "--cpus",
            "many",
            str![[
                r#"invalid value 'many' for '--cpus <N>': "many" is no number of CPUs; write a whole number such as 4; see `hostel run --help`"#
            ]],
        ),
        (
            "--memory",
            "3",
            str![
                "3 bytes of memory is too little; a machine needs at least 1 MiB, Linux about 128 MiB: try --memory 128M"
            ],
        ),
        (
            "--memory",
            "1M5",
            str![[
                r#"invalid value '1M5' for '--memory <SIZE>': "1M5" is no amount of memory; write bytes or a number with K, M, G or T, such as 512M; see `hostel run --help`"#
            ]],
        ),
        (
            "--memory",
            "2097153",
            str!["2097153 bytes of memory are not a whole number of 4096-byte pages; try --memory 3M"],
        ),
        (
            "--memory",
            "1000T",
            str![
                "this host does not give a guest 1000 TiB of memory (Cannot allocate memory (os error 12)); try a smaller --memory"
            ],
        ),
        (
            "--memory",
            "100000T",
            str![
                "100000 TiB of memory are too much; physical addresses have 56 bits: try a smaller --memory"
            ],
        ),
    ] {
        let option = format!("{option}={value}");
        check(&files, &["--bios", "none", "--kernel", "k", &option], expected);
    }
}

#[test]
fn names_of_translated_code_want_a_translator() {
    let files = Files::new();
    files.add("k", flat(OFF));
    files.wrong(
        &["run", "--kernel", "k", "--engine", "interp", "--perf-map"],
        str!["--perf-map has no effect with --engine interp: only the translator has code to name"],
    );
}

#[test]
fn values_that_no_option_takes() {
    let files = Files::new();
    files.add("k", flat(OFF));
    for (option, value, expected) in [
        (
            "--machine",
            "pc",
            str![[
                r#"invalid value 'pc' for '--machine <NAME>': there is no machine "pc"; known machines: virt, spike, sifive_u, microvm; see `hostel run --help`"#
            ]],
        ),
        (
            "--balloon",
            "some",
            str![[
                r#"invalid value 'some' for '--balloon <SIZE | none>': "some" is no amount of memory; write bytes or a number with K, M, G or T, such as 512M; see `hostel run --help`"#
            ]],
        ),
        (
            "--engine",
            "tcg",
            str![[
                r#"invalid value 'tcg' for '--engine <NAME>': there is no engine "tcg"; known engines: interp, jit, check, kvm, kvm,irqchip=user; see `hostel run --help`"#
            ]],
        ),
        (
            "--engine",
            "jit,threshold=256",
            str![[
                r#"invalid value 'jit,threshold=256' for '--engine <NAME>': "256" is no number of times that code is interpreted before it is translated; write a number up to 255; see `hostel run --help`"#
            ]],
        ),
        (
            "--cpu",
            "pentium",
            str![[
                r#"invalid value 'pentium' for '--cpu <NAME>': there is no CPU "pentium"; give max or an instruction set such as rv64gc_zba_zbb_sv39; see `hostel run --help`"#
            ]],
        ),
        (
            "--cpu",
            "rv64gc_zvbb",
            str![[
                r#"invalid value 'rv64gc_zvbb' for '--cpu <NAME>': no CPU has the extension "zvbb"; extensions are i zfhmin m a f d c b zicbom zicbop zicboz zicntr zicond zicsr zifencei zihpm zfh zba zbb zbc zbs sstc svade svadu svinval svnapot svpbmt; see `hostel run --help`"#
            ]],
        ),
        (
            "--cpu",
            "rv64id_zicsr",
            str![[
                r#"invalid value 'rv64id_zicsr' for '--cpu <NAME>': the extension "d" needs "f"; add it; see `hostel run --help`"#
            ]],
        ),
        (
            "--clock",
            "slow",
            str![[
                r#"invalid value 'slow' for '--clock <KIND>': there is no clock "slow"; known clocks: real, virtual; see `hostel run --help`"#
            ]],
        ),
        (
            "--console",
            "tcp=1",
            str![[
                r#"invalid value 'tcp=1' for '--console <WHERE>': there is no console "tcp=1"; consoles are stdio, none, pty and unix=PATH; see `hostel run --help`"#
            ]],
        ),
    ] {
        let option = format!("{option}={value}");
        check(&files, &["--bios", "none", "--kernel", "k", &option], expected);
    }
    check(
        &files,
        &["--bios", "none", "--kernel", "k", "--clock", "virtual", "--cpus", "2"],
        str!["a virtual clock follows the instructions of one hart; use --cpus 1, or --clock real"],
    );
}

#[test]
fn options_without_effect() {
    let files = Files::new();
    files.add("k", flat(OFF));
    check(
        &files,
        &["--machine", "spike", "--bios", "none", "--initrd", "k"],
        str!["there is nothing to run: with --bios none, give a program for M-mode with --kernel FILE"],
    );
    check(
        &files,
        &["--bios", "k", "--initrd", "k"],
        str!["an initrd has no effect without a kernel; add --kernel FILE"],
    );
    check(
        &files,
        &["--bios", "k", "--append", "quiet"],
        str!["a command line (--append) has no effect without a kernel; add --kernel FILE"],
    );
    check(
        &files,
        &["--kernel", "k", "--mirror", "file:///m"],
        str!["--mirror has no effect: this machine starts from files of your own, so no image is fetched"],
    );
    check(
        &files,
        &["--kernel", "k", "--suite", "stable"],
        str!["--suite has no effect: this machine starts from files of your own, so no image is fetched"],
    );
    check(
        &files,
        &["--kernel", "k", "--offline"],
        str!["--offline has no effect: this machine starts from files of your own, so no image is fetched"],
    );
    check(
        &files,
        &["--offline", "--mirror", "file:///m"],
        str!["the argument '--offline' cannot be used with '--mirror <URL>'; see `hostel run --help`"],
    );
    check(
        &files,
        &["--print-config", "--offline"],
        str!["the argument '--print-config' cannot be used with '--offline'; see `hostel run --help`"],
    );
    check(
        &files,
        &["--machine", "spike", "--kernel", "k", "--balloon", "1M"],
        str!["the board spike has no place for a memory balloon; leave --balloon out"],
    );
    check(
        &files,
        &["--kernel", "k", "--memory", "1G", "--balloon", "1024M"],
        str!["a memory balloon of 1 GiB leaves nothing of the guest's 1 GiB; choose a smaller --balloon"],
    );
    check(
        &files,
        &["debian-busybox", "--kernel", "k"],
        str!["both a guest (debian-busybox) and a kernel (k) are given; leave one out"],
    );
    check(
        &files,
        &["debian-busybox", "--bios", "none"],
        str!["the guest debian-busybox needs firmware; use --bios builtin, or --bios FILE"],
    );
    check(
        &files,
        &["--bios", "none"],
        str!["there is nothing to run: with --bios none, give a program for M-mode with --kernel FILE"],
    );
}

#[test]
fn guests_that_are_not_there() {
    let files = Files::new();
    check(
        &files,
        &["debain"],
        str![[
            r#"there is no guest image "debain"; known images: debian-busybox, debian, debian-cloud-amd64, debian-python, debian-installer, edk2, opensbi, systemd-boot, u-boot"#
        ]],
    );
    check(
        &files,
        &["--print-config", "debain"],
        str![[
            r#"there is no guest image "debain"; known images: debian-busybox, debian, debian-cloud-amd64, debian-python, debian-installer, edk2, opensbi, systemd-boot, u-boot"#
        ]],
    );
    // Before anything is fetched, and also where nothing is run.
    check(
        &files,
        &["opensbi", "--print-config"],
        str![
            "the image opensbi has no kernel to boot; `hostel image path opensbi` says where its files are, for --bios, --kernel or --initrd"
        ],
    );
    check(
        &files,
        &["opensbi"],
        str![
            "the image opensbi has no kernel to boot; `hostel image path opensbi` says where its files are, for --bios, --kernel or --initrd"
        ],
    );
    check(
        &files,
        &["--offline"],
        str![[
            r#"guest image "debian-busybox" is not in the cache (DIRECTORY/cache/hostel) and may not be fetched offline: run `hostel image get debian-busybox` once while online, or name files of your own with --kernel and --initrd"#
        ]],
    );
    check(
        &files,
        &["--mirror", "not a url"],
        str![[
            r#""not a url" is no archive URL (it contains a space or a control character): --mirror wants something like http://HOST/debian or file:///DIRECTORY"#
        ]],
    );
}

#[test]
fn usage() {
    let files = Files::new();
    check(
        &files,
        &["--frobnicate"],
        str!["unexpected argument '--frobnicate' found; see `hostel run --help`"],
    );
    check(
        &files,
        &["--memry", "1G"],
        str![
            "unexpected argument '--memry' found; tip: a similar argument exists: '--memory'; see `hostel run --help`"
        ],
    );
    check(&files, &["a", "b"], str!["unexpected argument 'b' found; see `hostel run --help`"]);
    check(
        &files,
        &["--kernel"],
        str!["a value is required for '--kernel <FILE>' but none was supplied; see `hostel run --help`"],
    );
    check(
        &files,
        &["--bios", ""],
        str![
            "invalid value '' for '--bios <NAME | FILE>': the firmware's name is empty; give builtin, none or a file; see `hostel run --help`"
        ],
    );
    wrong(&files, &["help", "rnu"], str![[r#"there is no verb "rnu"; see `hostel --help`"#]]);
    wrong(&files, &["rnu"], str!["unrecognized subcommand 'rnu'; see `hostel --help`"]);
    wrong(
        &files,
        &["image", "got"],
        str![
            "unrecognized subcommand 'got'; tip: a similar subcommand exists: 'get'; see `hostel image --help`"
        ],
    );
    wrong(
        &files,
        &["image", "get"],
        str!["the following required arguments were not provided: <NAME>; see `hostel image get --help`"],
    );
    wrong(
        &files,
        &["image", "get", "u-boot", "--refresh", "--offline"],
        str!["the argument '--refresh' cannot be used with '--offline'; see `hostel image get --help`"],
    );
    wrong(
        &files,
        &["image", "info", "u-boot"],
        str!["u-boot is not in the cache; `hostel image get u-boot` fetches it"],
    );
    wrong(
        &files,
        &["image", "path", "nothing"],
        str![[
            r#"there is no guest image "nothing"; known images: debian-busybox, debian, debian-cloud-amd64, debian-python, debian-installer, edk2, opensbi, systemd-boot, u-boot"#
        ]],
    );
}

#[test]
fn what_a_real_board_does_not_have() {
    let files = Files::new();
    files.add("k", flat(OFF));
    let board = ["--machine", "sifive_u", "--bios", "none", "--kernel", "k"];
    for (options, expected) in [
        (&["--cpus", "5"][..], str!["5 CPUs are too many; the sifive_u board has room for 4"]),
        (
            &["--memory", "127G"],
            str![
                "127 GiB of memory are too much; the sifive_u board has room for 126 GiB: try a smaller --memory"
            ],
        ),
        (
            &["--clock", "virtual", "--cpus", "2"],
            str!["a virtual clock follows the instructions of one hart; use --cpus 1, or --clock real"],
        ),
        (
            &["--console", "none", "--console", "pty", "--console", "none"],
            str!["the machine sifive_u has 2 serial lines, and 3 consoles are given; leave out the rest"],
        ),
        (
            &["--console", "stdio", "--console", "stdio"],
            str!["two lines cannot both be joined to stdio; choose another for one of them"],
        ),
    ] {
        check(&files, &[&board, options].concat(), expected);
    }
    check(
        &files,
        &["--machine", "spike", "--bios", "none", "--kernel", "k", "--console", "none", "--console", "pty"],
        str!["the machine spike has one serial line, and 2 consoles are given; leave out the rest"],
    );
}
