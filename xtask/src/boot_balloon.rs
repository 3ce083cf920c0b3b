//! `cargo xtask boot`: what the guest `debian` frees is the host's again.

use crate::boot_images::cached;
use crate::boot_tests::Setup;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

/// What the guest fills and frees, in MiB.
const FILLED: u64 = 400;
/// How much of that may still be the guest's; it keeps some for itself, as pieces too small to report.
const KEPT: u64 = 100;

/// MiB that are resident of a process (proc_pid_smaps(5)).
fn resident(process: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("there is no Rss")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}

/// It fills memory, frees it, and the host has it without a word of anybody. The driver is a module, which may come a little
/// behind the prompt: it then reports what is free already.
pub fn reports(setup: &Setup) -> Result<()> {
    cached(&setup.hostel, "debian")?;
    let mut guest = setup.starts("# ", &["debian", "--offline", "--memory", "1G"])?;
    guest.waits_for("login: ")?;
    guest.typed("root\n")?;
    guest.prompts()?;
    guest.says(&format!("head -c {FILLED}M /dev/urandom >/dev/shm/filled"))?;
    let full = resident(guest.process())?;
    ensure!(full > FILLED, "{full} MiB are resident while the guest uses {FILLED} MiB");
    guest.says("rm /dev/shm/filled")?;
    let begun = Instant::now();
    loop {
        let now = resident(guest.process())?;
        if now + FILLED - KEPT < full {
            break;
        }
        let waited = begun.elapsed();
        ensure!(waited < setup.patience, "{now} MiB of {full} MiB are still resident after {waited:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    // What it uses again is there: the sum is that of so many zeroes (cksum(1)).
    guest.answers("head -c 100M /dev/zero >/dev/shm/x; cksum </dev/shm/x", &["2755649025 104857600"])?;
    guest.ends_after("poweroff")
}
