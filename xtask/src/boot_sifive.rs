//! `cargo xtask boot`: the tests of SiFive's board, whose console is on SiFive's UART.

use crate::boot_tests::{self, SHELL, Setup};
use crate::guest::Guest;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const BOARD: [&str; 8] = [
    "--machine",
    "sifive_u",
    "--kernel",
    "@vmlinux",
    "--initrd",
    "@initramfs.cpio",
    "--append",
    "console=ttySIF0",
];
const OPENSBI: [&str; 4] = ["--cpus", "2", "--bios", "@fw_dynamic.bin"];

/// The Linux guest on that board with more arguments.
fn linux<'a>(more: &[&'a str]) -> Vec<&'a str> {
    BOARD.iter().chain(more).copied().collect()
}

/// The interrupts that the UART of that name has raised so far, on all harts.
fn interrupts(guest: &mut Guest, uart: &str) -> Result<u64> {
    let answer = guest.says("cat /proc/interrupts")?;
    let line = answer.lines().find(|line| line.trim_end().ends_with(uart));
    let line = line.with_context(|| format!("{uart} has no interrupt:\n{answer}"))?;
    ensure!(line.contains("SiFive PLIC"), "not at the PLIC: {line}");
    let counts = line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok());
    Ok(counts.sum())
}

/// What the board says of itself, and whether its UART interrupts; then it powers off.
fn is_sifives(mut guest: Guest, harts: &str) -> Result<()> {
    guest.answers("nproc", &[harts])?;
    guest.answers("cat /proc/cpuinfo", &["hart\t\t: 1", "sv39", "sifive,u54-mc"])?;
    guest.answers("cat /sys/firmware/devicetree/base/model; echo", &["SiFive HiFive Unleashed A00"])?;
    guest.answers("dmesg | grep CCACHE", &["4 banks, 16 ways, sets/bank=512"])?;
    let before = interrupts(&mut guest, "10010000.serial")?;
    guest.says("echo some characters more")?;
    let after = interrupts(&mut guest, "10010000.serial")?;
    ensure!(before > 0 && after > before, "{before} interrupts, then {after}");
    guest.ends_after("poweroff -f").map(drop)
}

pub fn opensbi(setup: &Setup) -> Result<()> {
    let mut guest = setup.starts(SHELL, &linux(&OPENSBI))?;
    guest.waits_for("Platform Console Device     : sifive_uart")?;
    // OpenSBI goes on with the hart that comes first, which is none that has no S-mode.
    guest.waits_for("Boot HART ID                : ")?;
    let said = guest.prompts()?;
    ensure!(said.starts_with(['1', '2']), "OpenSBI goes on with hart {:?}", said.get(..8));
    is_sifives(guest, "2\n")
}

pub fn jump(setup: &Setup) -> Result<()> {
    boot_tests::at_work(setup, &linux(&["--bios", "@fw_jump.bin"]))
}

pub fn built_in(setup: &Setup) -> Result<()> {
    is_sifives(setup.boots(SHELL, &linux(&[]))?, "4\n")
}

pub fn reboot(setup: &Setup) -> Result<()> {
    boot_tests::comes_back(setup, &linux(&OPENSBI))
}

pub fn u_boot(setup: &Setup) -> Result<()> {
    let files = ["--machine", "sifive_u", "--bios", "@fw_dynamic.bin", "--kernel", "@u-boot.bin"];
    let mut guest = boot_tests::at_u_boot(setup, &files)?;
    let said = guest.says("bdinfo")?;
    let hart = said.split("boot hart   = 0x000000000000000").nth(1);
    ensure!(hart.is_some_and(|hart| hart.starts_with(['1', '2', '3', '4'])), "no hart with S-mode:\n{said}");
    guest.answers("fdt addr ${fdtcontroladdr}", &["Working FDT set to"])?;
    guest.answers("fdt print /cpus/cpu@0", &["status = \"disabled\"", "rv64imac"])?;
    guest.answers("fdt print /soc/serial@10010000", &["sifive,fu540-c000-uart"])?;
    // The serial number's word of the OTP, by the pins: PDSTB, PTRIM, PCE, PA.
    for pin in ["1007001c 1", "10070034 1", "1007000c 1", "10070000 fc"] {
        guest.says(&format!("mw.l {pin}"))?;
    }
    guest.answers("md.l 10070018 1", &["10070018: 00000001"])?;
    guest.ends_after("poweroff").map(drop)
}

pub fn typing(setup: &Setup) -> Result<()> {
    boot_tests::types_much(setup, &linux(&OPENSBI))
}

pub fn virtual_clock(setup: &Setup) -> Result<()> {
    let arguments = ["--cpus", "1", "--clock", "virtual", "--bios", "@fw_dynamic.bin"];
    boot_tests::says_the_same(setup, &linux(&arguments))
}

/// Reads from `line` until `text` has come.
pub fn hears(line: &mut UnixStream, text: &str, patience: Duration) -> Result<()> {
    line.set_read_timeout(Some(Duration::from_millis(200)))?;
    let deadline = Instant::now() + patience;
    let (mut heard, mut bytes) = (String::new(), [0; 4096]);
    while !heard.contains(text) {
        match line.read(&mut bytes) {
            Ok(0) => bail!("the second console was closed; it had said {heard:?}"),
            Ok(n) => heard.push_str(&String::from_utf8_lossy(bytes.get(..n).unwrap_or_default())),
            Err(_) if Instant::now() < deadline => {}
            Err(error) => bail!("{text:?} did not come: {error}; heard {heard:?}"),
        }
    }
    Ok(())
}

/// A program that answers on the second UART, while the shell is on the first.
pub fn consoles(setup: &Setup) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("second");
    let second = format!("unix={}", socket.display());
    let more = [&OPENSBI[..], &["--console", "stdio", "--console", &second]].concat();
    let mut guest = setup.boots(SHELL, &linux(&more))?;
    let mut line = UnixStream::connect(&socket).context("the second console's socket")?;
    guest.says("sh -c 'while read x; do echo got-$x-twice-$x; done' </dev/ttySIF1 >/dev/ttySIF1 &")?;
    for word in ["one", "two"] {
        line.write_all(format!("{word}\n").as_bytes())?;
        hears(&mut line, &format!("got-{word}-twice-{word}"), setup.patience)?;
    }
    ensure!(interrupts(&mut guest, "10011000.serial")? > 0, "the second UART has not interrupted");
    guest.ends_after("poweroff -f").map(drop)
}
