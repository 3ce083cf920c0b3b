//! A fuzzer's way in: any bytes as a qcow2 image, opened, read, written, checked and repaired.

use crate::{Disk, Header, Medium, Memory, Problem, Qcow2, Repair, check, repair};
use std::sync::Arc;
use support_hostmap::Pieces;

/// Reads some of a disk, here and there.
fn read_some(disk: &dyn Disk) {
    let Ok(into) = Pieces::scratch(5000) else { return };
    for at in [0, 512, 30_000, disk.size() / 2, disk.size().saturating_sub(5000)] {
        let _ = disk.read(at, &into);
        let _ = disk.try_read(at, &into);
        let _ = disk.span(at);
    }
}

/// Writes to a disk in every way; whether all of it was done.
fn write_some(disk: &dyn Disk) -> bool {
    let Ok(from) = Pieces::scratch(3000) else { return false };
    let mut done = from.fill(0, 3000, 0x5a).is_some();
    for at in [100, 40_000, disk.size().saturating_sub(3000)] {
        done &= disk.write(at, &from).is_ok();
        done &= disk.try_write(at, &from).is_none_or(|result| result.is_ok());
    }
    let len = disk.size().min(20_000);
    done &= disk.discard(0, len).is_ok();
    done &= disk.write_zeroes(1000, len.saturating_sub(1000), true).is_ok();
    done &= disk.flush().is_ok();
    done &= disk.write(0, &from).is_ok();
    done && disk.close().is_ok()
}

/// Whether a check found nothing that matters. A COPIED flag that could be set and is not costs a copy and nothing else; it is
/// what is left when one of two entries goes that had the same cluster.
fn sound(medium: &Memory) -> bool {
    let report = Header::read(medium).map(|header| check(medium, &header));
    let harmless = |problem: &Problem| matches!(problem, Problem::Copied { should: true, .. });
    matches!(&report, Ok(Ok(report)) if report.leaks == 0 && report.problems.iter().all(harmless))
}

/// Any bytes as an image: opened, read, written. What was clean before must be clean after.
///
/// # Panics
/// If it is not, which is what a fuzzer looks for.
pub fn open(data: &[u8]) {
    let medium = Arc::new(Memory::new(data));
    let Ok(header) = Header::read(&*medium) else { return };
    if let Ok(disk) = Qcow2::open(medium.clone(), header.clone(), None, true) {
        read_some(&disk);
        assert!(
            disk.write(
                0,
                &match Pieces::scratch(1) {
                    Ok(one) => one,
                    Err(_) => return,
                }
            )
            .is_err()
        );
    }
    let clean = check(&*medium, &header).is_ok_and(|report| report.is_clean());
    let Ok(disk) = Qcow2::open(medium.clone(), header, None, false) else { return };
    read_some(&disk);
    let done = write_some(&disk);
    read_some(&disk);
    drop(disk);
    assert!(!clean || !done || sound(&medium));
}

/// Any bytes as an image: checked and repaired. What a repair calls clean must be so, and stay so when it is written.
///
/// # Panics
/// If it does not.
pub fn repaired(data: &[u8]) {
    let medium = Arc::new(Memory::new(data));
    let Ok(header) = Header::read(&*medium) else { return };
    let Ok(before) = check(&*medium, &header) else { return };
    let after = repair(&*medium, &header, Repair::All);
    let header = Header::read(&*medium);
    assert!(header.is_ok(), "a repair leaves the header: {header:?}");
    let (Ok(header), Ok(after)) = (header, after) else { return };
    assert!(!before.is_clean() || after.is_clean(), "{after:?}");
    let again = check(&*medium, &header);
    assert!(again.is_ok_and(|again| again.leaks == after.leaks && again.corruptions == after.corruptions));
    if after.is_clean()
        && let Ok(disk) = Qcow2::open(medium.clone(), header, None, false)
    {
        let done = write_some(&disk);
        drop(disk);
        assert!(!done || sound(&medium));
    }
    assert!(medium.len().is_ok_and(|len| len < 1 << 40));
}
