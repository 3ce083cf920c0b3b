//! How much memory a process takes, the guest's not counted.

use anyhow::{Context, Result, bail};

/// Mebibytes of the process, less the mappings of the guest's memory. Of pages that it shares with other processes its
/// part counts: else a program of many libraries would be charged for what the host has anyway.
///
/// # Errors
/// If the process is gone, or has no mapping that looks like a guest's memory of `size` bytes.
pub fn beyond_guest(process: u32, size: u64) -> Result<f64> {
    let path = format!("/proc/{process}/smaps");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (guest, rest) = taken(&text, size).with_context(|| format!("cannot understand {path}"))?;
    if guest.is_none() {
        bail!(
            "{path} has no mapping of {size} bytes of a memfd, so the guest's memory cannot be told from the rest"
        );
    }
    Ok(rest as f64 / f64::from(1 << 20))
}

/// Bytes taken (`Pss`) by the mappings of the guest's memory, if there are any, and by the others: `/proc/PID/smaps`
/// (proc(5)). The guest's memory is a memfd of at least `size` bytes, whichever parts of it are mapped.
fn taken(smaps: &str, size: u64) -> Option<(Option<u64>, u64)> {
    let (mut guest, mut rest, mut of_guest) = (None, 0, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        if let Some((from, to)) = first.split_once('-') {
            let length = u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?;
            of_guest = line.contains("/memfd:") && length >= size;
        } else if first == "Pss:" {
            let bytes = words.next()?.parse::<u64>().ok()? * 1024;
            if of_guest {
                *guest.get_or_insert(0) += bytes;
            } else {
                rest += bytes;
            }
        }
    }
    Some((guest, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0-55e0 r-xp 00000000 fe:00 123                        /usr/bin/vmm
Rss:                 100 kB
Pss:                  40 kB
Pss_Dirty:            30 kB
VmFlags: rd ex
10000000-18000000 rw-s 00000000 00:01 5                  /memfd:ram (deleted)
Rss:                 900 kB
Pss:                 512 kB
18000000-18001000 rw-s 00000000 00:01 6                  /memfd:code (deleted)
Pss:                   4 kB
";

    #[test]
    fn the_guests_memory_is_told_from_the_rest() {
        assert_eq!(taken(SMAPS, 128 << 20), Some((Some(512 << 10), 44 << 10)));
        assert_eq!(taken(SMAPS, 256 << 20), Some((None, 556 << 10)));
        assert_eq!(taken("what\n", 1), Some((None, 0)));
        assert_eq!(taken("1-x rw\n", 1), None);
    }

    #[test]
    fn a_process_that_is_no_machine_is_refused() {
        let why = beyond_guest(std::process::id(), 1 << 50).unwrap_err().to_string();
        assert!(why.contains("no mapping"), "{why}");
    }
}
