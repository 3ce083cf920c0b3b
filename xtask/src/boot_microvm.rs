//! `cargo xtask boot`: Debian's x86-64 kernel on the least of a PC, as a bzImage and by its PVH entry.

use crate::boot::NoTool;
use crate::boot_tests::Setup;
use crate::guest::Guest;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// What the kernel says, in this order, until it starts process 1.
const SAYS: &[&str] = &[
    "Linux version",
    "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
    "tsc: Detected 1000.000 MHz processor",
    "printk: legacy console [ttyS0] enabled",
    "Calibrating delay loop (skipped)",
    "clocksource: Switched to clocksource tsc",
    "serial8250: ttyS0 at I/O 0x3f8 (irq = 4, base_baud = 115200) is a 16550A",
    "rtc_cmos: setting system clock to",
    "Run /init as init process",
];

/// More lines than that come before process 1.
const LINES: usize = 200;

/// The kernel `kernel` with these arguments.
fn starts(setup: &Setup, kernel: &str, more: &[&str]) -> Result<Guest> {
    setup.starts("", &[&["--machine", "microvm", "--memory", "512M", "--kernel", kernel], more].concat())
}

/// Process 1 is where this ends: Debian's busybox begins with SSE2 instructions, which the interpreter does not have.
fn reaches_init(setup: &Setup, kernel: &str) -> Result<()> {
    let more = ["--initrd", "@initramfs-amd64.cpio", "--append", "console=ttyS0"];
    let mut guest = starts(setup, kernel, &more)?;
    let mut said = String::new();
    for text in SAYS {
        said += &guest.waits_for(text)?;
    }
    let lines = said.lines().count();
    ensure!(lines > LINES, "only {lines} lines came:\n{said}");
    let trouble = ["WARNING: CPU", "BUG:", "Call Trace"].iter().find(|text| said.contains(**text));
    ensure!(trouble.is_none(), "the kernel complains:\n{said}");
    Ok(())
}

pub fn linux(setup: &Setup) -> Result<()> {
    reaches_init(setup, "@vmlinuz")
}

/// The ELF file that is compressed in a bzImage.
pub fn pvh(setup: &Setup) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("vmlinux");
    extract(&std::fs::read(setup.file("vmlinuz")?)?, folder.path(), &path)?;
    let path = path.to_str().context("the temporary folder's path is not UTF-8")?;
    reaches_init(setup, path)
}

/// A little-endian word.
fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

/// The compressed kernel in a bzImage, without the size that is behind it (Linux, Documentation/arch/x86/boot.rst:
/// `setup_sects`, `payload_offset`, `payload_length`).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let sectors = usize::from(*image.get(0x1f1)?) + 1;
    let start = sectors * 512 + word(image, 0x248)?;
    image.get(start..(start + word(image, 0x24c)?).checked_sub(4)?)
}

/// Unpacks the kernel in `image` to `to`.
fn extract(image: &[u8], scratch: &Path, to: &Path) -> Result<()> {
    let payload = payload(image).context("this bzImage has no payload")?;
    let tool = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0xfd, b'7', b'z', ..] => "xz",
        _ => return Err(NoTool("program for how this kernel is compressed").into()),
    };
    let packed = scratch.join("payload");
    std::fs::write(&packed, payload)?;
    let mut unpacking = Command::new(tool);
    match unpacking.arg("-dcq").stdin(File::open(&packed)?).stdout(File::create(to)?).status() {
        Ok(status) => ensure!(status.success(), "{tool} ended with {status}"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(NoTool(tool).into()),
        Err(error) => return Err(error).with_context(|| format!("cannot run {tool}")),
    }
    Ok(())
}

/// Without a root file system the kernel waits as long as it is told, then panics and resets the machine.
pub fn reset(setup: &Setup) -> Result<()> {
    let append = "console=ttyS0 rootdelay=1 panic=-1 cryptomgr.notests";
    let mut guest = starts(setup, "@vmlinuz", &["--append", append])?;
    guest.waits_for("Waiting 1 sec before mounting root device")?;
    guest.waits_for("Kernel panic - not syncing: VFS: Unable to mount root fs")?;
    guest.waits_for("Linux version").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_where_the_header_says() {
        let mut image = vec![0; 1024 + 64];
        image[0x1f1] = 1;
        image[0x248] = 16;
        image[0x24c] = 12;
        image[1040..1052].copy_from_slice(b"kernelxxsize");
        assert_eq!(payload(&image), Some(&b"kernelxx"[..]));
        image[0x24d] = 1;
        assert_eq!(payload(&image), None, "beyond the end");
        assert_eq!(payload(&image[..0x240]), None);
    }
}
