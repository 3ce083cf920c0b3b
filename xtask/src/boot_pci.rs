//! `cargo xtask boot`: PCI Express on the `virt` board, by its serial cards and its virtio devices.

use crate::boot_sifive::hears;
use crate::boot_tests::{SHELL, Setup, linux};
use crate::guest::Guest;
use anyhow::{Context, Result, ensure};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Words of a kernel that is not content.
const COMPLAINTS: [&str; 9] =
    ["fail", "error", "can't", "cannot", "no space", "bogus", "conflict", "broken", "unable"];

/// A guest with a card whose line ends in a socket.
struct Machine {
    guest: Guest,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

fn boots(setup: &Setup) -> Result<Machine> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("card");
    let second = format!("unix={}", socket.display());
    let guest = setup.boots(SHELL, &linux(&["--console", "stdio", "--console", &second]))?;
    Ok(Machine { guest, socket, _folder: folder })
}

/// What files of a function say, one after the other.
fn tells(guest: &mut Guest, function: &str, files: &str, texts: &[&str]) -> Result<()> {
    guest.answers(&format!("(cd /sys/bus/pci/devices/{function} && cat {files})"), texts)
}

/// What is written to the card comes out of the socket and the other way.
fn talks(machine: &mut Machine, word: &str, setup: &Setup) -> Result<()> {
    use std::io::Write;
    let mut line = UnixStream::connect(&machine.socket).context("the card's socket")?;
    // A 16550's FIFOs are cleared when it is opened: what comes before is lost.
    machine.guest.says("sh -c 'echo ready; read x; echo got-$x-twice-$x' </dev/ttyS1 >/dev/ttyS1 &")?;
    hears(&mut line, "ready", setup.patience)?;
    line.write_all(format!("{word}\n").as_bytes())?;
    hears(&mut line, &format!("got-{word}-twice-{word}"), setup.patience)
}

pub fn card(setup: &Setup) -> Result<()> {
    let mut machine = boots(setup)?;
    let guest = &mut machine.guest;
    tells(guest, "0000:00:00.0", "vendor device class", &["0x1b36\n0x0008\n0x060000"])?;
    tells(guest, "0000:00:01.0", "vendor device class", &["0x1b36\n0x000c\n0x060400"])?;
    tells(guest, "0000:01:00.0", "vendor device class", &["0x1b36\n0x0002\n0x070002"])?;
    // Its ports have a place inside the bridge's window, and both have drivers.
    tells(guest, "0000:01:00.0", "resource", &["0x0000000000001000 0x0000000000001007 0x0000000000040101"])?;
    guest.answers(
        "cat /proc/ioports",
        &["00001000-00001fff : PCI Bus 0000:01", "00001000-00001007 : 0000:01:00.0"],
    )?;
    guest.answers(
        "ls /sys/bus/pci/drivers/pcieport /sys/bus/pci/drivers/serial",
        &["0000:00:01.0", "0000:01:00.0"],
    )?;
    guest.answers("dmesg | grep ttyS1", &["ttyS1 at I/O 0x1000", "is a 16550A"])?;
    let log = guest.says("dmesg | grep -i -e pci -e 0000:")?.to_lowercase();
    let complaint = log.lines().find(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
    ensure!(complaint.is_none(), "the kernel complains: {complaint:?}");
    talks(&mut machine, "hello", setup)?;
    machine.guest.ends_after("poweroff -f").map(drop)
}

pub fn again(setup: &Setup) -> Result<()> {
    let mut machine = boots(setup)?;
    talks(&mut machine, "one", setup)?;
    let guest = &mut machine.guest;
    tells(guest, "0000:01:00.0", "reset_method", &["flr"])?;
    guest.says("echo 1 >/sys/bus/pci/devices/0000:01:00.0/remove")?;
    guest.answers("ls /sys/bus/pci/devices", &["0000:00:01.0"])?;
    let left = guest.says("echo 0x$(od -A n -t x4 -N 4 /sys/bus/pci/devices/0000:01:00.0/config)")?;
    ensure!(left.contains("No such file"), "it is there still: {left}");
    guest.says("echo 1 >/sys/bus/pci/rescan")?;
    tells(guest, "0000:01:00.0", "resource", &["0x0000000000001000 0x0000000000001007"])?;
    talks(&mut machine, "two", setup)?;
    let guest = &mut machine.guest;
    // Without a driver: by the function itself, then by the port's bus.
    guest.says("echo 0000:01:00.0 >/sys/bus/pci/drivers/serial/unbind")?;
    for method in ["flr", "bus"] {
        guest.says(&format!("echo {method} >/sys/bus/pci/devices/0000:01:00.0/reset_method"))?;
        guest.answers("echo 1 >/sys/bus/pci/devices/0000:01:00.0/reset && echo re\"\"set", &["reset\n"])?;
    }
    guest.says("echo 0000:01:00.0 >/sys/bus/pci/drivers/serial/bind")?;
    talks(&mut machine, "three", setup)?;
    machine.guest.ends_after("poweroff -f").map(drop)
}

/// The entropy device on PCI, for which the kernel has its bus and no driver of its own.
pub fn virtio(setup: &Setup) -> Result<()> {
    const AT: &str = "0000:00:04.0";
    let mut guest = setup.boots(SHELL, &linux(&["--virtio", "pci"]))?;
    tells(&mut guest, AT, "vendor device class", &["0x1af4\n0x1044\n0x00ff00"])?;
    // It has been reset, and is acknowledged.
    tells(&mut guest, AT, "virtio0/device virtio0/status", &["0x0004\n0x00000001"])?;
    tells(&mut guest, AT, "reset_method", &["flr"])?;
    let driver = "/sys/bus/pci/drivers/virtio-pci";
    guest.says(&format!("echo {AT} >{driver}/unbind"))?;
    guest.answers(&format!("echo 1 >/sys/bus/pci/devices/{AT}/reset && echo re\"\"set"), &["reset\n"])?;
    guest.says(&format!("echo {AT} >{driver}/bind"))?;
    tells(&mut guest, AT, "virtio0/status", &["0x00000001"])?;
    let log = guest.says("dmesg | grep -i -e virtio -e 0000:00:04")?.to_lowercase();
    let complaint = log.lines().find(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
    ensure!(complaint.is_none(), "the kernel complains: {complaint:?}");
    guest.ends_after("poweroff -f").map(drop)
}
