//! `cargo xtask boot`: consoles and named ports on virtio. Debian's kernel has their driver built in, and that of virtio on PCI.

use crate::boot_sifive::hears;
use crate::boot_tests::{SHELL, Setup, linux, types_much};
use crate::guest::Guest;
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The Linux guest with its console on virtio.
const ON_HVC: [&str; 10] = [
    "--kernel",
    "@vmlinux",
    "--initrd",
    "@initramfs.cpio",
    "--append",
    "console=hvc0",
    "--virtio",
    "pci",
    "--hvc",
    "stdio",
];

/// A folder with a socket that a port is joined to, and the option that says so.
fn port() -> Result<(tempfile::TempDir, PathBuf, String)> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("port");
    let option = format!("org.hostel.test.0,unix={}", socket.display());
    Ok((folder, socket, option))
}

/// What programs write to a port comes out of its socket, and the other way; both see who comes and who goes.
fn talks(guest: &mut Guest, device: &str, socket: &PathBuf, word: &str, setup: &Setup) -> Result<()> {
    // Nobody is there: it waits until somebody is.
    guest.says(&format!("sh -c 'echo ready; read x; echo got-$x-twice-$x' <>{device} >&0 &"))?;
    let mut line = UnixStream::connect(socket).context("the port's socket")?;
    hears(&mut line, "ready", setup.patience)?;
    line.write_all(format!("{word}\n").as_bytes())?;
    hears(&mut line, &format!("got-{word}-twice-{word}"), setup.patience)?;
    guest.says("wait").map(drop)
}

/// The console is where the kernel and the shell are, and a port beside it works.
pub fn hvc(setup: &Setup) -> Result<()> {
    let (_folder, socket, option) = port()?;
    let arguments = [&ON_HVC[..], &["--port", &option]].concat();
    let mut guest = setup.boots(SHELL, &arguments)?;
    guest.answers("tty; cat /proc/consoles", &["/dev/hvc0", "hvc0  ", "(EC"])?;
    guest.answers("cat /sys/class/virtio-ports/vport0p1/name", &["org.hostel.test.0"])?;
    talks(&mut guest, "/dev/vport0p1", &socket, "hello", setup)?;
    guest.resizes(132, 50)?;
    // The shell hears of it and prompts anew.
    guest.typed("until stty size </dev/hvc0 | grep '50 132'; do sleep 1; done\n")?;
    guest.waits_for("\n50 132\n")?;
    guest.prompts()?;
    let log = guest.says("dmesg | grep -i -e hvc -e virtio -e vport")?.to_lowercase();
    ensure!(!log.contains("error") && !log.contains("fail"), "the kernel complains:\n{log}");
    guest.ends_after("poweroff -f").map(drop)
}

/// 1 MiB typed into it arrives.
pub fn typing(setup: &Setup) -> Result<()> {
    types_much(setup, &ON_HVC)
}

/// A driver lets go of the device and takes it again.
pub fn again(setup: &Setup) -> Result<()> {
    let (_folder, socket, option) = port()?;
    let mut guest = setup.boots(SHELL, &linux(&["--virtio", "pci", "--port", &option]))?;
    let device = "/dev/$(ls /sys/class/virtio-ports)";
    talks(&mut guest, device, &socket, "one", setup)?;
    let driver = "/sys/bus/virtio/drivers/virtio_console";
    guest.says(&format!("echo virtio0 >{driver}/unbind; echo virtio0 >{driver}/bind"))?;
    talks(&mut guest, device, &socket, "two", setup)?;
    guest.ends_after("poweroff -f").map(drop)
}
