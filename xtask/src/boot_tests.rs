//! The tests of `cargo xtask boot`: what a user would type, and what must come.

use crate::boot_balloon;
use crate::boot_console;
use crate::boot_firmware;
use crate::boot_images::Images;
use crate::boot_microvm;
use crate::boot_pci;
use crate::boot_sd;
use crate::boot_share;
use crate::boot_sifive;
use crate::boot_vsock;
use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Duration;

/// What a test starts its guest with.
pub struct Setup {
    /// The binary.
    pub hostel: PathBuf,
    /// The guests' files.
    pub images: Images,
    /// How long to wait for one answer.
    pub patience: Duration,
    /// Whether to print what guests say.
    pub show: bool,
    /// What runs RISC-V guests, if not the default.
    pub engine: Option<String>,
}

/// One test.
pub struct Test {
    /// Name, for choosing it.
    pub name: &'static str,
    /// One line for `--list`.
    pub about: &'static str,
    /// Files without which it is skipped.
    pub needs: &'static [&'static str],
    /// Whether it is one of the few that run by default.
    pub sample: bool,
    /// The test.
    pub run: fn(&Setup) -> Result<()>,
}

const LINUX: &[&str] = &["vmlinux", "initramfs.cpio"];
const DYNAMIC: &[&str] = &["fw_dynamic.bin", "vmlinux", "initramfs.cpio"];
const JUMP: &[&str] = &["fw_jump.bin", "vmlinux", "initramfs.cpio"];
const AMD64: &[&str] = &["vmlinuz", "initramfs-amd64.cpio"];
const U_BOOT: &[&str] = &["fw_dynamic.bin", "u-boot.bin"];
const U_BOOT_DISK: &[&str] = &["u-boot.bin", "vmlinux", "initramfs.cpio"];
const U_BOOT_OPENSBI: &[&str] = &["fw_dynamic.bin", "u-boot.bin", "vmlinux", "initramfs.cpio"];
const U_BOOT_EFI: &[&str] = &["u-boot.bin", "vmlinux", "initramfs.cpio", "systemd-bootriscv64.efi"];
const EDK2: &[&str] =
    &["RISCV_VIRT_CODE.fd", "RISCV_VIRT_VARS.fd", "vmlinux", "initramfs.cpio", "systemd-bootriscv64.efi"];
const EDK2_OPENSBI: &[&str] = &[
    "fw_dynamic.bin",
    "RISCV_VIRT_CODE.fd",
    "RISCV_VIRT_VARS.fd",
    "vmlinux",
    "initramfs.cpio",
    "systemd-bootriscv64.efi",
];
const EDK2_KERNEL: &[&str] = &["RISCV_VIRT_CODE.fd", "RISCV_VIRT_VARS.fd", "vmlinux", "initramfs.cpio"];
const INSTALLER: &[&str] = &["linux", "initrd.gz"];

/// Every test.
#[rustfmt::skip]
pub const TESTS: &[Test] = &[
    Test { name: "one-hart", about: "the default guest: shell, cpuinfo, power-off", needs: LINUX, sample: true, run: one_hart },
    Test { name: "four-harts", about: "four harts at work under the built-in SBI", needs: LINUX, sample: false, run: four_harts },
    Test { name: "opensbi-one-hart", about: "OpenSBI's fw_dynamic below Linux", needs: DYNAMIC, sample: false, run: opensbi_one_hart },
    Test { name: "opensbi-four-harts", about: "the same with four harts at work", needs: DYNAMIC, sample: true, run: opensbi_four_harts },
    Test { name: "opensbi-jump", about: "OpenSBI's fw_jump below Linux", needs: JUMP, sample: false, run: opensbi_jump },
    Test { name: "u-boot", about: "OpenSBI, then U-Boot: its prompt and its commands", needs: U_BOOT, sample: true, run: u_boot },
    Test { name: "u-boot-reset", about: "U-Boot resets the machine", needs: U_BOOT, sample: false, run: u_boot_reset },
    Test { name: "u-boot-built-in", about: "U-Boot on the built-in SBI", needs: &["u-boot.bin"], sample: false, run: u_boot_built_in },
    Test { name: "network", about: "U-Boot asks the user network for an address, and sees its gateway and no more of the host", needs: &["u-boot.bin"], sample: true, run: network },
    Test { name: "u-boot-extlinux", about: "U-Boot starts Linux from a disk, as extlinux.conf says", needs: U_BOOT_DISK, sample: true, run: boot_firmware::u_boot_extlinux },
    Test { name: "u-boot-extlinux-opensbi", about: "the same under OpenSBI", needs: U_BOOT_OPENSBI, sample: false, run: boot_firmware::u_boot_opensbi },
    Test { name: "u-boot-efi", about: "U-Boot starts systemd-boot, and that Linux, from a disk", needs: U_BOOT_EFI, sample: false, run: boot_firmware::u_boot_efi },
    Test { name: "edk2", about: "EDK2 in flash memory does so too, and keeps its variables", needs: EDK2, sample: false, run: boot_firmware::edk2_built_in },
    Test { name: "edk2-opensbi", about: "the same under OpenSBI, two harts", needs: EDK2_OPENSBI, sample: false, run: boot_firmware::edk2_opensbi },
    Test { name: "edk2-kernel", about: "EDK2 starts the kernel that it finds by fw_cfg", needs: EDK2_KERNEL, sample: false, run: boot_firmware::edk2_kernel },
    Test { name: "installer", about: "Debian's installer asks its first question", needs: INSTALLER, sample: false, run: boot_firmware::installer },
    Test { name: "reboot", about: "Linux reboots, then powers off", needs: LINUX, sample: false, run: reboot },
    Test { name: "reboot-opensbi", about: "the same under OpenSBI, four harts", needs: DYNAMIC, sample: false, run: reboot_opensbi },
    Test { name: "typing", about: "1 MiB typed arrives intact", needs: LINUX, sample: false, run: typing },
    Test { name: "pci", about: "Linux finds a port and the serial card in it, which talks", needs: LINUX, sample: true, run: boot_pci::card },
    Test { name: "pci-again", about: "a serial card is reset, removed and found again", needs: LINUX, sample: false, run: boot_pci::again },
    Test { name: "virtio-pci", about: "Linux finds a virtio device on PCI, resets it and binds it again", needs: LINUX, sample: true, run: boot_pci::virtio },
    Test { name: "share", about: "folders of the host's in the guest debian, by virtio-fs and 9P, and no way out of them", needs: &[], sample: false, run: boot_share::folders },
    Test { name: "balloon", about: "what the guest debian frees is the host's again", needs: &[], sample: false, run: boot_balloon::reports },
    Test { name: "console", about: "the console on virtio, and a named port beside it", needs: LINUX, sample: true, run: boot_console::hvc },
    Test { name: "console-typing", about: "1 MiB typed into a virtio console arrives intact", needs: LINUX, sample: false, run: boot_console::typing },
    Test { name: "console-again", about: "a driver lets go of a virtio console and takes it again", needs: LINUX, sample: false, run: boot_console::again },
    Test { name: "vsock", about: "connections between the guest debian and its host, without a network", needs: &[], sample: false, run: boot_vsock::both },
    Test { name: "sifive-u", about: "SiFive's board with OpenSBI: its UART interrupts, power-off", needs: DYNAMIC, sample: true, run: boot_sifive::opensbi },
    Test { name: "sifive-u-jump", about: "the same with fw_jump and four U54 harts at work", needs: JUMP, sample: false, run: boot_sifive::jump },
    Test { name: "sifive-u-built-in", about: "the same on the built-in SBI", needs: LINUX, sample: false, run: boot_sifive::built_in },
    Test { name: "sifive-u-reboot", about: "SiFive's board reboots, then powers off", needs: DYNAMIC, sample: false, run: boot_sifive::reboot },
    Test { name: "sifive-u-u-boot", about: "OpenSBI, then U-Boot, on SiFive's board", needs: U_BOOT, sample: false, run: boot_sifive::u_boot },
    Test { name: "sifive-u-typing", about: "1 MiB typed into SiFive's UART arrives intact", needs: DYNAMIC, sample: false, run: boot_sifive::typing },
    Test { name: "sifive-u-consoles", about: "a second console on SiFive's second UART", needs: DYNAMIC, sample: false, run: boot_sifive::consoles },
    Test { name: "sifive-u-virtual-clock", about: "two boots of it by the instruction count say the same", needs: DYNAMIC, sample: false, run: boot_sifive::virtual_clock },
    Test { name: "sifive-u-sd", about: "an SD card on SiFive's board: read, written, discarded, and what the host has of it", needs: &[], sample: false, run: boot_sd::card },
    Test { name: "sifive-u-debian", about: "the guest debian on SiFive's board, from an SD card, with an address by its network card", needs: &[], sample: false, run: boot_sd::debian },
    Test { name: "microvm-linux", about: "Debian's x86-64 kernel up to process 1", needs: AMD64, sample: true, run: boot_microvm::linux },
    Test { name: "microvm-pvh", about: "the same by its PVH entry, unpacked", needs: AMD64, sample: false, run: boot_microvm::pvh },
    Test { name: "microvm-reset", about: "it waits, panics and resets the machine", needs: &["vmlinuz"], sample: false, run: boot_microvm::reset },
    Test { name: "check", about: "translator and interpreter in lock-step to the shell and power-off", needs: LINUX, sample: false, run: check },
    Test { name: "check-all", about: "the same with all code translated when it first runs", needs: LINUX, sample: false, run: check_all },
    Test { name: "virtual-clock", about: "two boots by the instruction count say the same", needs: LINUX, sample: false, run: virtual_clock },
];

pub const SHELL: &str = "~ # ";
// Some answers have an arrow in them.
const U_BOOT_PROMPT: &str = "\n=> ";
const GUEST: [&str; 6] = ["--kernel", "@vmlinux", "--initrd", "@initramfs.cpio", "--append", "console=ttyS0"];

/// The Linux guest with more arguments.
pub fn linux<'a>(more: &[&'a str]) -> Vec<&'a str> {
    GUEST.iter().chain(more).copied().collect()
}

fn one_hart(setup: &Setup) -> Result<()> {
    let mut guest = setup.boots(SHELL, &linux(&[]))?;
    guest.answers("uname -a", &["Linux", "riscv64 GNU/Linux"])?;
    guest.answers("cat /proc/cpuinfo", &["processor\t: 0", "isa\t\t: rv64imafdc", "mmu\t\t: sv57"])?;
    guest.ends_after("poweroff -f").map(drop)
}

/// Every hart works on its own, bound there, and says so; then all are still there.
const AT_WORK: &str = "for i in 0 1 2 3; do taskset -c $i sh -c \
    'n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; echo hart-$n' & done; wait; echo";

fn four_at_work(setup: &Setup, more: &[&str]) -> Result<()> {
    at_work(setup, &linux(more))
}

/// Boots that guest and has four harts work.
pub fn at_work(setup: &Setup, arguments: &[&str]) -> Result<()> {
    let mut guest = setup.boots(SHELL, arguments)?;
    guest.answers("nproc", &["4\n"])?;
    let answer = guest.says(AT_WORK)?;
    ensure!(answer.matches("hart-20000").count() == 4, "not every hart did its work:\n{answer}");
    guest.ends_after("poweroff -f").map(drop)
}

fn four_harts(setup: &Setup) -> Result<()> {
    four_at_work(setup, &["--cpus", "4"])
}

fn opensbi_one_hart(setup: &Setup) -> Result<()> {
    let mut guest = setup.starts(SHELL, &linux(&["--bios", "@fw_dynamic.bin"]))?;
    guest.waits_for("OpenSBI v")?;
    guest.prompts()?;
    guest.answers("uname -a", &["riscv64 GNU/Linux"])?;
    guest.ends_after("poweroff -f").map(drop)
}

fn opensbi_four_harts(setup: &Setup) -> Result<()> {
    four_at_work(setup, &["--cpus", "4", "--bios", "@fw_dynamic.bin"])
}

fn opensbi_jump(setup: &Setup) -> Result<()> {
    let mut guest = setup.boots(SHELL, &linux(&["--bios", "@fw_jump.bin"]))?;
    guest.answers("nproc", &["1\n"])?;
    guest.ends_after("poweroff -f").map(drop)
}

/// U-Boot, stopped before it boots anything by itself.
pub fn at_u_boot(setup: &Setup, arguments: &[&str]) -> Result<crate::guest::Guest> {
    let mut guest = setup.starts(U_BOOT_PROMPT, arguments)?;
    guest.waits_for("Hit any key to stop autoboot")?;
    guest.typed(" ")?;
    guest.prompts()?;
    Ok(guest)
}

/// Commands of U-Boot and what they must say.
const COMMANDS: &[(&str, &[&str])] = &[
    ("version", &["U-Boot 20"]),
    ("printenv", &["bootcmd=", "fdtcontroladdr=", "arch=riscv"]),
    ("bdinfo", &["0x0000000080000000", "boot hart"]),
    ("md 80200000 4", &["80200000: "]),
    ("mw.l 84000000 12345678 100", &[]),
    ("md.l 84000000 4", &["84000000: 12345678 12345678 12345678 12345678"]),
    ("cp.l 84000000 84100000 100", &[]),
    ("cmp.l 84000000 84100000 100", &["Total of 256 word(s) were the same"]),
    ("mw.l 84100008 0", &[]),
    ("cmp.l 84000000 84100000 100", &["Total of 2 word(s) were the same"]),
    ("flinfo 1", &["CFI conformant flash", "Size: 16 MB in 128 Sectors"]),
    ("erase 20000000 2003ffff", &["Erased 2 sectors"]),
    ("cp.l 84000000 20000100 100", &["Copy to Flash... done"]),
    ("cmp.l 84000000 20000100 100", &["Total of 256 word(s) were the same"]),
    // The CRC-32 of IEEE 802.3 over 32 zero bytes, as zlib gives it.
    ("mw.l 84000000 0 8", &[]),
    ("crc32 84000000 20", &["==> 190a55ad"]),
    ("fdt addr ${fdtcontroladdr}", &["Working FDT set to"]),
    ("fdt print /cpus", &["cpu@0", "riscv,isa", "timebase-frequency = <0x00989680>"]),
];

fn u_boot(setup: &Setup) -> Result<()> {
    let mut guest = at_u_boot(setup, &["--bios", "@fw_dynamic.bin", "--kernel", "@u-boot.bin"])?;
    for (command, texts) in COMMANDS {
        guest.answers(command, texts)?;
    }
    guest.ends_after("poweroff").map(drop)
}

fn u_boot_built_in(setup: &Setup) -> Result<()> {
    let mut guest = at_u_boot(setup, &["--kernel", "@u-boot.bin"])?;
    guest.answers("version", &["U-Boot 20"])?;
    guest.answers("sbi", &["SBI 3.0", "Debug Console Extension"])?;
    guest.ends_after("poweroff").map(drop)
}

/// By a driver that knows nothing of merged buffers and offloads; Linux does, and is tried by hand.
fn network(setup: &Setup) -> Result<()> {
    let mut guest = at_u_boot(setup, &["--kernel", "@u-boot.bin", "--net", "user"])?;
    guest.answers("setenv autoload no; dhcp", &["DHCP client bound to address 10.0.2.15"])?;
    guest.answers("ping 10.0.2.2", &["host 10.0.2.2 is alive"])?;
    guest.answers("ping 127.0.0.1", &["host 127.0.0.1 is not alive"])?;
    guest.ends_after("poweroff").map(drop)
}

fn u_boot_reset(setup: &Setup) -> Result<()> {
    let mut guest = at_u_boot(setup, &["--bios", "@fw_dynamic.bin", "--kernel", "@u-boot.bin"])?;
    guest.typed("reset\n")?;
    guest.waits_for("Hit any key to stop autoboot")?;
    guest.typed(" ")?;
    guest.prompts()?;
    guest.ends_after("poweroff").map(drop)
}

/// Reboots a guest that left a mark, which must be gone then.
pub fn comes_back(setup: &Setup, arguments: &[&str]) -> Result<()> {
    let mut guest = setup.boots(SHELL, arguments)?;
    guest.answers("echo mark >/tmp/mark; cat /tmp/mark", &["mark\n"])?;
    guest.typed("reboot -f\n")?;
    guest.prompts()?;
    guest.answers("cat /tmp/mark", &["No such file"])?;
    guest.ends_after("poweroff -f").map(drop)
}

fn reboot(setup: &Setup) -> Result<()> {
    comes_back(setup, &linux(&[]))
}

fn reboot_opensbi(setup: &Setup) -> Result<()> {
    comes_back(setup, &linux(&["--cpus", "4", "--bios", "@fw_dynamic.bin"]))
}

/// A mebibyte of lines of 63 characters: the terminal's line discipline keeps at most 4095 of a line.
fn much_text() -> String {
    let mut number = 1u64;
    let mut text = String::new();
    while text.len() < 1 << 20 {
        for _ in 0..63 {
            // Knuth's MMIX generator: any numbers will do, as long as no two lines are alike.
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push(char::from(b'0' + (number >> 60) as u8));
        }
        text.push('\n');
    }
    text
}

fn typing(setup: &Setup) -> Result<()> {
    types_much(setup, &linux(&[]))
}

/// Boots that guest and types a mebibyte, whose sum the guest must know.
pub fn types_much(setup: &Setup, arguments: &[&str]) -> Result<()> {
    let text = much_text();
    let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut guest = setup.boots(SHELL, arguments)?;
    guest.typed("stty -echo; cat >/tmp/x; stty echo; wc -c /tmp/x; sha256sum /tmp/x\n")?;
    guest.waits_for("sha256sum /tmp/x\n")?;
    // `stty` has run once `cat` has its file; what is typed before would be echoed.
    std::thread::sleep(Duration::from_millis(300));
    guest.typed(&text)?;
    guest.typed("\x04")?;
    let answer = guest.prompts()?;
    ensure!(answer.contains(&format!("{} /tmp/x", text.len())), "not everything arrived:\n{answer}");
    ensure!(answer.contains(&sum), "what arrived is not what was typed:\n{answer}");
    guest.ends_after("poweroff -f").map(drop)
}

/// A difference between the engines ends the guest before it has powered off.
fn check(setup: &Setup) -> Result<()> {
    setup.boots(SHELL, &linux(&["--engine", "check"]))?.ends_after("poweroff -f")
}

fn check_all(setup: &Setup) -> Result<()> {
    setup.boots(SHELL, &linux(&["--engine", "check,threshold=0"]))?.ends_after("poweroff -f")
}

fn virtual_clock(setup: &Setup) -> Result<()> {
    says_the_same(setup, &linux(&["--clock", "virtual"]))
}

/// Boots that guest twice. The kernel stamps its lines with the time: equal texts are equal runs.
pub fn says_the_same(setup: &Setup, arguments: &[&str]) -> Result<()> {
    let one = || -> Result<String> {
        let mut guest = setup.starts(SHELL, arguments)?;
        let said = guest.prompts()?;
        guest.ends_after("poweroff -f").map(|_| said)
    };
    let (first, second) = (one()?, one()?);
    let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    ensure!(first == second, "two runs said different things; first {differs:?}");
    ensure!(first.contains("Linux version"), "nothing was compared:\n{first}");
    Ok(())
}
