//! `cargo xtask boot`: the SD card and the network card of SiFive's board, by Debian's drivers, which are modules of the guest
//! `debian`.

use crate::boot_images::{cached, cached_files};
use crate::boot_tests::{SHELL, Setup};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;

/// Bytes of the card; a whole number of 512 KiB.
const SIZE: usize = 8 << 20;
/// Where the guest writes, in blocks of 512 bytes, and how many.
const WRITTEN: (usize, usize) = (5000, 300);
/// What it discards, in MiB: from where on, and how many.
const DISCARDED: (usize, usize) = (6, 1);

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of which no two blocks are alike.
fn contents() -> Vec<u8> {
    let mut number = 1_u64;
    let byte = || {
        // Knuth's MMIX generator.
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 56) as u8
    };
    std::iter::repeat_with(byte).take(SIZE).collect()
}

/// The initramfs of `debian` loads the drivers, finds no root disk, and gives a shell.
pub fn card(setup: &Setup) -> Result<()> {
    let files = cached_files(&setup.hostel, "debian")?;
    let file = |name: &str| {
        let path = files.iter().find(|path| path.ends_with(name)).context("a file of the guest debian")?;
        path.to_str().context("a path")
    };
    let folder = tempfile::tempdir()?;
    let (image, before) = (folder.path().join("card.img"), contents());
    fs::write(&image, &before)?;
    let disk = format!("{},format=raw", image.display());
    let machine = ["--machine", "sifive_u", "--cpus", "2", "--append", "console=ttySIF0 loglevel=5"];
    let files = ["--kernel", file("vmlinux")?, "--initrd", file("initramfs.cpio")?, "--disk", &disk];
    let mut guest = setup.starts(SHELL, &[&machine[..], &files].concat())?;
    guest.waits_for("There is no root disk")?;
    guest.prompts()?;
    guest.answers("cat /sys/block/mmcblk0/size", &[&format!("{}\n", SIZE / 512)])?;
    guest.answers("sha256sum /dev/mmcblk0", &[&sum(&before)])?;
    let (at, count) = WRITTEN;
    guest.says(&format!("head -c {} /dev/urandom >/x; cp /x /y", count * 512))?;
    guest.says(&format!("dd if=/x of=/dev/mmcblk0 bs=512 seek={at} conv=notrunc,fsync"))?;
    let (from, mib) = (DISCARDED.0 << 20, DISCARDED.1 << 20);
    guest.answers(&format!("blkdiscard -o {from} -l {mib} /dev/mmcblk0; echo $?"), &["0\n"])?;
    let written = guest.says("sha256sum /x")?;
    // Past the guest's cache.
    guest.says("echo 3 >/proc/sys/vm/drop_caches")?;
    let again = guest.says(&format!("dd if=/dev/mmcblk0 bs=512 skip={at} count={count} | sha256sum"))?;
    let first = |text: &str| text.split_whitespace().find(|word| word.len() == 64).map(str::to_owned);
    ensure!(first(&written).is_some() && first(&written) == first(&again), "{written}, then {again}");
    let complaints = guest.says("dmesg | grep -i mmc | grep -i -e error -e fail -e timeout")?;
    ensure!(complaints.trim().is_empty(), "the driver complains: {complaints}");
    guest.ends_after("poweroff -f")?;
    let after = fs::read(&image)?;
    let part = after.get(at * 512..(at + count) * 512).unwrap_or_default();
    ensure!(Some(sum(part)) == first(&written), "the host has something else");
    let gone = after.get(from..from + mib).unwrap_or_default();
    ensure!(gone.iter().all(|&byte| byte == 0), "what is discarded reads as zeroes");
    let untouched = |range: std::ops::Range<usize>| before.get(range.clone()) == after.get(range);
    ensure!(untouched(0..at * 512) && untouched(from + mib..SIZE), "other blocks have changed");
    Ok(())
}

/// A whole system, whose root disk is the card, and which asks the network for an address by itself.
pub fn debian(setup: &Setup) -> Result<()> {
    cached(&setup.hostel, "debian")?;
    let machine = ["debian", "--offline", "--machine", "sifive_u", "--memory", "1G"];
    let mut guest = setup.starts("# ", &machine)?;
    // Each in its time: a byte of the card is several accesses to a device.
    for text in ["Welcome to", "systemd-udevd.service", "Network Configuration", "login: "] {
        guest.waits_for(text)?;
    }
    guest.typed("root\n")?;
    guest.prompts()?;
    guest.answers("findmnt -n -o SOURCE /", &["/dev/mmcblk0"])?;
    guest.answers("ls /sys/bus/platform/drivers/macb", &["10090000.ethernet"])?;
    // The driver may come a little behind the prompt.
    guest.says("for n in $(seq 60); do ip -4 addr | grep -q 10.0.2.15 && break; sleep 1; done")?;
    guest.answers("ip -4 -br addr", &["UP", "10.0.2.15"])?;
    guest.answers("ping -c 3 10.0.2.2", &["3 packets transmitted, 3 received"])?;
    guest.answers("head -c 1M /dev/urandom >x; sync; cp x y; cmp x y && echo sa\"\"me", &["same"])?;
    guest.ends_after("poweroff")
}
