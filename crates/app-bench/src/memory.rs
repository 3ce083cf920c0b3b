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
            "{path} has no anonymous mapping of {size} bytes, so the guest's memory cannot be told from the rest"
        );
    }
    Ok(rest as f64 / f64::from(1 << 20))
}

/// Bytes taken (`Pss`) by the mappings of the guest's memory, if there are any, and by the others: `/proc/PID/smaps`
/// (proc(5)). The guest's memory is an anonymous mapping of `size` bytes or a little more, for firmware behind it.
fn taken(smaps: &str, size: u64) -> Option<(Option<u64>, u64)> {
    let (mut guest, mut rest, mut of_guest) = (None, 0, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        if let Some((from, to)) = first.split_once('-') {
            let length = u64::from_str_radix(to, 16).ok()? - u64::from_str_radix(from, 16).ok()?;
            let named = words.nth(4).is_some_and(|name| !name.starts_with("[anon"));
            of_guest = !named && (size..=size + ROM).contains(&length);
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

/// The most that is mapped together with a guest's memory.
const ROM: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0-55e0 r-xp 00000000 fe:00 123                        /usr/bin/vmm
Rss:                 100 kB
Pss:                  40 kB
Pss_Dirty:            30 kB
VmFlags: rd ex
10000000-18100000 rw-p 00000000 00:00 0 
Rss:                 900 kB
Pss:                 512 kB
20000000-28000000 rw-s 00000000 00:01 6                  /dev/zero (deleted)
Pss:                   3 kB
30000000-70000000 rwxp 00000000 00:00 0                  [anon:code]
Pss:                   1 kB
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
        assert!(why.contains("no anonymous mapping"), "{why}");
    }
}
