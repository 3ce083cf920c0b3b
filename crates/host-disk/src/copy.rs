//! Copies a disk to an empty one, without what reads as zeroes.

use crate::disk::{Disk, DiskError};
use support_hostmap::Pieces;

/// Bytes that are copied at a time.
const STEP: u64 = 1 << 20;
/// Runs of zeroes of that length are left out.
const GRAIN: usize = 4096;

/// Copies all of `from` to `to`, which reads as zeroes and is at least as large. `progress` is told how many bytes are done; when
/// it says false, the copying ends.
///
/// # Errors
/// As of either disk. Whether it was ended is told by the value.
pub fn copy(
    from: &dyn Disk,
    to: &dyn Disk,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, DiskError> {
    let buffer = Pieces::scratch(STEP as usize)?;
    let mut bytes = vec![0; STEP as usize];
    let mut done = 0;
    while done < from.size() {
        if !progress(done) {
            return Ok(false);
        }
        let span = from.span(done)?;
        let len = match span.zero {
            true => span.len,
            // To the next multiple, so that all others are aligned.
            false => span.len.min(STEP - done % STEP),
        }
        .clamp(1, from.size() - done);
        if !span.zero {
            let part = buffer.slice(0..len as usize).ok_or(DiskError::Broken)?;
            from.read(done, &part)?;
            let bytes = bytes.get_mut(..len as usize).ok_or(DiskError::Broken)?;
            part.copy_out(0, bytes).ok_or(DiskError::Broken)?;
            for run in runs(bytes) {
                let part = part.slice(run.clone()).ok_or(DiskError::Broken)?;
                to.write(done + run.start as u64, &part)?;
            }
        }
        done += len;
    }
    progress(done);
    to.close()?;
    Ok(true)
}

/// The runs of `bytes` that are not zero, in whole grains.
fn runs(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (n, grain) in bytes.chunks(GRAIN).enumerate() {
        let (start, end) = (n * GRAIN, n * GRAIN + grain.len());
        if grain.iter().all(|byte| *byte == 0) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, Medium, Memory, NewQcow2, Qcow2, Raw};
    use std::sync::Arc;

    #[test]
    fn what_is_not_zero_is_copied_and_nothing_else() {
        let mut bytes = vec![0; 3 << 20];
        bytes[5000..6000].fill(1);
        bytes[(1 << 20) - 10..(1 << 20) + 10].fill(2);
        let from = Raw::new(Arc::new(Memory::new(&bytes)), true).unwrap();
        let medium = Arc::new(Memory::new(&[]));
        let header = NewQcow2 { cluster: 4096, ..NewQcow2::new(3 << 20) }.create(&*medium).unwrap();
        let to = Qcow2::open(medium.clone(), header, None, false).unwrap();
        let mut told = Vec::new();
        let whole = copy(&from, &to, &mut |done| {
            told.push(done);
            true
        });
        assert!(whole.unwrap());
        assert_eq!((told.first(), told.last()), (Some(&0), Some(&(3 << 20))));
        let all = Pieces::scratch(3 << 20).unwrap();
        to.read(0, &all).unwrap();
        assert!(all.to_vec() == bytes);
        let report = crate::check(&*medium, &Header::read(&*medium).unwrap()).unwrap();
        assert_eq!((report.is_clean(), report.allocated), (true, 3), "{report:?}");
        assert!(medium.len().unwrap() < 100_000);
        assert!(!copy(&from, &to, &mut |_| false).unwrap());
    }
}
