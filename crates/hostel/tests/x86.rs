//! x86-64 kernels on `microvm`: tiny ones that run, and files, memory and guests that do not fit.

mod guest;

use guest::*;
use snapbox::str;

/// Faults where no handler is: the IDT is empty at the start.
const TRIPLE_FAULT: &[u8] = &[0x0f, 0x0b]; // ud2

/// A bzImage whose 64-bit entry is `code`: two sectors of setup, then the protected-mode code, 4 KiB.
fn bzimage(code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 1024 + 4096];
    file[0x1f1] = 1; // setup_sects
    put(&mut file, 0x1f4, &256_u32.to_le_bytes()); // syssize
    put(&mut file, 0x1fe, b"\x55\xaa\xeb\x6aHdrS");
    put(&mut file, 0x206, &0x020f_u16.to_le_bytes()); // version
    file[0x211] = 1; // loadflags: LOADED_HIGH
    put(&mut file, 0x22c, &0x7fff_ffff_u32.to_le_bytes()); // initrd_addr_max
    put(&mut file, 0x230, &0x20_0000_u32.to_le_bytes()); // kernel_alignment
    file[0x234] = 1; // relocatable_kernel
    file[0x236] = 1; // xloadflags: XLF_KERNEL_64
    put(&mut file, 0x238, &255_u32.to_le_bytes()); // cmdline_size
    put(&mut file, 0x258, &0x100_0000_u64.to_le_bytes()); // pref_address
    put(&mut file, 0x260, &0x10_0000_u32.to_le_bytes()); // init_size
    put(&mut file, 1024 + 0x200, code);
    file
}

/// The same with other bytes somewhere.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = bzimage(POWER_OFF);
    put(&mut file, at, bytes);
    file
}

/// Runs the kernel `k` on microvm; all that is said is one line, `expected`.
#[track_caller]
fn check(files: &Files, more: &[&str], expected: impl snapbox::IntoData) {
    let arguments = [&["run", "--machine", "microvm", "--kernel", "k"], more].concat();
    files.wrong(&arguments, expected);
}

#[track_caller]
fn check_kernel(kernel: &[u8], expected: impl snapbox::IntoData) {
    let files = Files::new();
    files.add("k", kernel);
    check(&files, &["--memory", "64M"], expected);
}

#[test]
fn kernels_run_from_either_entry() {
    for (code, status) in [(POWER_OFF, 0), (EXIT_7, 7)] {
        for kernel in [bzimage(code), pvh(code)] {
            let files = Files::new();
            files.add("k", kernel);
            let arguments = ["run", "--machine", "microvm", "--memory", "64M", "--kernel", "k"];
            files.hostel(&arguments).assert().code(status).stdout_eq("").stderr_eq("");
        }
    }
}

#[test]
fn a_triple_fault_is_said() {
    check_kernel(
        &bzimage(TRIPLE_FAULT),
        str![
            "processor 0 has shut down: a triple fault, which began with exception 6 at rip 0x1000200, error code 0x0; the guest's handlers for it fault, too"
        ],
    );
    check_kernel(
        &pvh(TRIPLE_FAULT),
        str![
            "processor 0 has shut down: a triple fault, which began with exception 6 at rip 0x100000, error code 0x0; the guest's handlers for it fault, too"
        ],
    );
}

#[test]
fn damaged_bzimages() {
    let whole = bzimage(POWER_OFF);
    check_kernel(
        &whole[..0x240],
        str![
            "k: this bzImage is truncated: its protected-mode code would end at byte 5120, but the file has 576 bytes; fetch or build it again"
        ],
    );
    check_kernel(
        &whole[..5000],
        str![
            "k: this bzImage is truncated: its protected-mode code would end at byte 5120, but the file has 5000 bytes; fetch or build it again"
        ],
    );
    check_kernel(
        &changed(0x1f4, &[0xff; 4]),
        str![
            "k: this bzImage is truncated: its protected-mode code would end at byte 68719477744, but the file has 5120 bytes; fetch or build it again"
        ],
    );
    check_kernel(&changed(0x201, &[0]), str!["k: this bzImage is damaged: its setup header ends at 0x202"]);
    check_kernel(
        &changed(0x206, &[9, 2]),
        str!["k: this kernel speaks version 2.09 of the boot protocol, 2.10 is needed"],
    );
    check_kernel(&changed(0x211, &[0]), str!["k: this is a zImage that is loaded low, a bzImage is needed"]);
    check_kernel(
        &changed(0x230, &[1, 2]),
        str!["k: this bzImage is damaged: its kernel_alignment is no power of two"],
    );
    check_kernel(
        &changed(0x258, &[0xff; 8]),
        str!["k: this bzImage is damaged: its pref_address is at the end of the address space"],
    );
    check_kernel(&changed(0x260, &[0; 4]), str!["k: this bzImage is damaged: its init_size is 0"]);
}

#[test]
fn executables_that_cannot_be_entered() {
    let entry = (LOAD as u32).to_le_bytes();
    // A note of another kind; one without an address, with too long a one, and one that ends outside of its segment.
    check_kernel(
        &noted(1, &entry, POWER_OFF),
        str![
            "k: this executable has no PVH entry point (a note XEN_ELFNOTE_PHYS32_ENTRY); give a bzImage, or link the note in"
        ],
    );
    check_kernel(
        &noted(18, &entry[..3], POWER_OFF),
        str!["k: this ELF is malformed: its PVH entry note has 3 bytes, not 4 or 8"],
    );
    check_kernel(
        &noted(18, &(LOAD << 32).to_le_bytes(), POWER_OFF),
        str!["k: this ELF is malformed: its PVH entry 0x10000000000000 is not below 4 GiB"],
    );
    let mut past = pvh(POWER_OFF);
    put(&mut past, 0xf4, &100_u32.to_le_bytes());
    check_kernel(&past, str!["k: this ELF is malformed: the note at byte 240 reaches past its segment"]);
    let mut beyond = pvh(POWER_OFF);
    put(&mut beyond, 0x40 + 56 + 32, &0x1000_u64.to_le_bytes());
    check_kernel(
        &beyond,
        str!["k: this ELF is truncated: its notes would end at byte 4336, but the file has 524 bytes"],
    );
    let mut low = pvh(POWER_OFF);
    put(&mut low, 0x40 + 24, &0x8000_u64.to_le_bytes());
    check_kernel(&low, str!["the kernel has a segment at 0x8000; below 1 MiB is no room for it"]);
    check_kernel(&elf(EM_RISCV, &flat(OFF), &[]), str!["k: this is a riscv ELF, an x86-64 one is needed"]);
    check_kernel(POWER_OFF, str!["k: this is neither a bzImage nor an ELF executable"]);
}

#[test]
fn what_does_not_fit_into_memory() {
    let files = Files::new();
    files.add("k", changed(0x260, &0x400_0000_u32.to_le_bytes()));
    check(
        &files,
        &["--memory", "64M"],
        str!["the kernel does not fit into 64 MiB of memory; give more with --memory"],
    );
    check(
        &files,
        &["--memory", "1M"],
        str!["the kernel does not fit into 1 MiB of memory; give more with --memory"],
    );
    check(
        &files,
        &["--memory", "4G"],
        str!["4 GiB of memory are too much; the microvm board has room for 3 GiB: try a smaller --memory"],
    );
    files.add("k", bzimage(POWER_OFF));
    std::fs::File::create(files.path().join("large")).unwrap().set_len(60 << 20).unwrap();
    check(
        &files,
        &["--memory", "64M", "--initrd", "large"],
        str!["the initrd does not fit into 64 MiB of memory; give more with --memory"],
    );
    check(
        &files,
        &["--memory", "32M", "--initrd", "large"],
        str!["the initrd large (60 MiB) does not fit in 32 MiB of memory; try --memory 256M"],
    );
    let long = "x".repeat(256);
    check(
        &files,
        &["--memory", "64M", "--append", &long],
        str!["the command line has 256 bytes; this kernel takes at most 255"],
    );
    files.add("k", pvh(POWER_OFF));
    std::fs::File::create(files.path().join("large")).unwrap().set_len(63 << 20).unwrap();
    check(
        &files,
        &["--memory", "64M", "--initrd", "large"],
        str!["the initrd does not fit into 64 MiB of memory; give more with --memory"],
    );
}

#[test]
fn a_guest_chooses_its_board() {
    let files = Files::new();
    let printed = |arguments: &[&str]| {
        let arguments = [&["run", "--print-config"], arguments].concat();
        let assert = files.hostel(&arguments).assert().code(0).stderr_eq("");
        String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
    };
    files.add("m.toml", "guest = \"debian-cloud-amd64\"\nmemory = \"1G\"\n");
    for arguments in
        [&["debian-cloud-amd64"][..], &["debian-cloud-amd64", "--machine", "microvm"], &["m.toml"]]
    {
        let text = printed(arguments);
        for line in [
            "machine = \"microvm\"\n",
            "bios = \"none\"\nguest = \"debian-cloud-amd64\"\nappend = \"console=ttyS0 loglevel=6\"\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("cpu = "), "an instruction set of RISC-V says nothing of it: {text}");
    }
    // The kernel of one's own takes the guest's place, and there is no reason for its board any more.
    assert!(printed(&["m.toml", "--kernel", "/k"]).contains("machine = \"virt\"\n"));
}

#[test]
fn a_guest_for_other_processors_is_refused() {
    let files = Files::new();
    files.wrong(
        &["run", "debian-cloud-amd64", "--machine", "virt"],
        str![
            "the guest debian-cloud-amd64 is for amd64, and the board virt has riscv64 processors; leave --machine out, or use --machine microvm"
        ],
    );
    files.wrong(
        &["run", "debian-busybox", "--machine", "microvm"],
        str![
            "the guest debian-busybox is for riscv64, and the board microvm has amd64 processors; leave --machine out, or use --machine virt"
        ],
    );
    files.wrong(
        &["run", "debian-cloud-amd64", "--bios", "builtin"],
        str!["the board microvm has no firmware, kernels start by themselves; leave --bios out"],
    );
    files.wrong(
        &["run", "--machine", "microvm"],
        str![
            "there is nothing to run: name a guest, such as debian-cloud-amd64, or give a bzImage, or an ELF executable with a PVH entry, with --kernel FILE"
        ],
    );
    files.add("m.toml", "guest = \"debian-cloud-amd64\"\nmachine = \"sifive_u\"\n");
    files.wrong(
        &["run", "m.toml"],
        str![
            "m.toml:2:11: the guest debian-cloud-amd64 is for amd64, and the board sifive_u has riscv64 processors; leave --machine out, or use --machine microvm"
        ],
    );
}
