//! Repairs what a check of a qcow2 image found.

use crate::disk::DiskError;
use crate::qcow2_check::{Check, Report};
use crate::qcow2_header::{CORRUPT, DIRTY, Header, HeaderError, MOST_REFTABLE};
use crate::qcow2_meta::{COPIED, OFFSET};
use crate::qcow2_refs::{get, put};
use crate::{Medium, Qcow2Error};
use std::collections::BTreeSet;

/// What may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Only space that is lost is given back; no guest data can change.
    Leaks,
    /// All that is counted: refcounts and COPIED flags. This is what an image that was not closed needs.
    Counts,
    /// Everything that can be. Entries that refer to nothing that can be are removed: what they were to hold is gone.
    All,
}

/// Repairs an image; gives what is wrong with it afterwards.
///
/// # Errors
/// If it cannot be read or written.
pub fn repair(medium: &dyn Medium, header: &Header, what: Repair) -> Result<Report, DiskError> {
    let mut header = header.clone();
    if what == Repair::All {
        // Removing an entry changes what is counted, and there is a limit to how many are noted at a time.
        for _ in 0..1000 {
            let check = Check::run(medium, &header)?;
            if check.bad_entries.is_empty() {
                break;
            }
            for (at, value) in &check.bad_entries {
                medium.write_bytes(*at, &value.to_be_bytes())?;
            }
            medium.sync()?;
        }
    }
    let check = Check::run(medium, &header)?;
    if !check.report.is_clean() {
        if what != Repair::Leaks && !check.blocks_sound {
            (header.reftable_offset, header.reftable_clusters) = rebuild(&check)?;
        } else {
            refcounts(&check, what)?;
        }
        if what != Repair::Leaks {
            copied(&Check::run(medium, &header)?)?;
        }
    }
    let report = Check::run(medium, &header)?.report;
    if report.corruptions == 0 && header.incompatible & (DIRTY | CORRUPT) != 0 && what != Repair::Leaks {
        unmark(medium, &header)?;
    }
    Ok(report)
}

fn unmark(medium: &dyn Medium, header: &Header) -> Result<(), DiskError> {
    medium.sync()?;
    medium.write_bytes(72, &(header.incompatible & !(DIRTY | CORRUPT)).to_be_bytes())?;
    Ok(medium.sync()?)
}

/// Makes an image whose refcounts may be wrong one that can be written, as whoever marked it so asked for.
///
/// # Errors
/// If more is wrong than what an accident leaves.
pub fn recover(medium: &dyn Medium, header: Header) -> Result<Header, Qcow2Error> {
    if header.incompatible & DIRTY == 0 {
        return Ok(header);
    }
    let report = repair(medium, &header, Repair::Counts)?;
    if report.corruptions > 0 {
        return Err(DiskError::Corrupt { what: "it was not closed and cannot be repaired", offset: 0 }.into());
    }
    Header::read(medium).map_err(|error| match error {
        HeaderError::Io(error) => Qcow2Error::Disk(error.into()),
        other => other.into(),
    })
}

/// Sets the refcounts in their blocks to what was counted.
fn refcounts(check: &Check<'_>, what: Repair) -> Result<(), DiskError> {
    let geometry = check.header.geometry;
    let per_block = geometry.block_entries();
    let mut block = vec![0; geometry.cluster() as usize];
    for (n, offset) in check.table.iter().enumerate().filter(|(_, offset)| **offset != 0) {
        check.medium.read_bytes(*offset, &mut block)?;
        let mut changed = false;
        for index in 0..per_block {
            let refcount = get(&block, geometry.refcount_order, index);
            let should = check.should(n as u64 * per_block + index).min(geometry.most_references());
            if refcount > should || (refcount < should && what != Repair::Leaks) {
                let (at, bytes) = put(&block, geometry.refcount_order, index, should);
                if let Some(place) = block.get_mut(at..at + bytes.len()) {
                    place.copy_from_slice(&bytes);
                }
                changed = true;
            }
        }
        if changed {
            check.medium.write_bytes(*offset, &block)?;
        }
    }
    Ok(check.medium.sync()?)
}

/// Writes refcounts anew, behind everything else; gives offset and clusters of the new table.
fn rebuild(check: &Check<'_>) -> Result<(u64, u32), DiskError> {
    let geometry = check.header.geometry;
    let (bits, per_block) = (geometry.cluster_bits, geometry.block_entries());
    let counts = &check.counts;
    let used = counts.iter().last().map_or(0, |(cluster, _)| cluster + 1);
    let start = used.max(check.medium.len()?.div_ceil(geometry.cluster()));
    let mut blocks: BTreeSet<u64> = counts.iter().map(|(cluster, _)| cluster / per_block).collect();
    let mut table = 1;
    loop {
        let clusters = table + blocks.len() as u64;
        let mut more = blocks.clone();
        more.extend(start / per_block..=(start + clusters - 1) / per_block);
        let last = more.last().copied().unwrap_or(0);
        let longer = ((last + 1) * 8).div_ceil(geometry.cluster()).max(table);
        if more.len() == blocks.len() && longer == table {
            break;
        }
        // Asked before anything is as long as an entry in the image wants it.
        if longer > MOST_REFTABLE >> bits {
            return Err(DiskError::Unsupported(
                "the image would need a larger refcount table than QEMU takes",
            ));
        }
        (blocks, table) = (more, longer);
    }
    let end = start + table + blocks.len() as u64;
    let mut entries = vec![0; (table << bits) as usize];
    for (n, index) in blocks.iter().enumerate() {
        let mut block = vec![0; geometry.cluster() as usize];
        for at in 0..per_block {
            let cluster = index * per_block + at;
            let should = if (start..end).contains(&cluster) { 1 } else { counts.get(cluster) };
            let (place, bytes) =
                put(&block, geometry.refcount_order, at, should.min(geometry.most_references()));
            if let Some(place) = block.get_mut(place..place + bytes.len()) {
                place.copy_from_slice(&bytes);
            }
        }
        let offset = (start + table + n as u64) << bits;
        check.medium.write_bytes(offset, &block)?;
        let at = *index as usize * 8;
        if let Some(place) = entries.get_mut(at..at + 8) {
            place.copy_from_slice(&offset.to_be_bytes());
        }
    }
    check.medium.write_bytes(start << bits, &entries)?;
    check.medium.sync()?;
    let mut fields = (start << bits).to_be_bytes().to_vec();
    fields.extend((table as u32).to_be_bytes());
    check.medium.write_bytes(48, &fields)?;
    check.medium.sync()?;
    Ok((start << bits, table as u32))
}

/// Sets the COPIED flags of the active tables to what the counts say.
fn copied(check: &Check<'_>) -> Result<(), DiskError> {
    let mut fixes = Vec::new();
    check.each_active(|check, at, value| {
        let should = check.should((value & OFFSET) >> check.header.geometry.cluster_bits) == 1;
        if should != (value & COPIED != 0) {
            fixes.push((at, value ^ COPIED));
        }
        Ok(())
    })?;
    for (at, value) in fixes {
        check.medium.write_bytes(at, &value.to_be_bytes())?;
    }
    Ok(check.medium.sync()?)
}
