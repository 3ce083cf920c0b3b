//! Changes the size of a qcow2 image.

use crate::disk::{Disk, DiskError, SECTOR, locked};
use crate::qcow2::Qcow2;
use crate::qcow2_commit::sync;
use crate::qcow2_header::MOST_L1;
use crate::qcow2_meta::Meta;
use std::sync::atomic::Ordering;

/// Changes the size. What is cut off is gone; what is new reads as zeroes, also where a longer backing file has data.
pub fn resize(disk: &Qcow2, size: u64) -> Result<(), DiskError> {
    if !size.is_multiple_of(SECTOR) {
        return Err(DiskError::Unsupported("a disk's size is a multiple of 512 bytes"));
    }
    let old = disk.size();
    if size < old {
        // Until here the disk is as it was; the tables of what is cut off stay, empty.
        disk.zero_range(size, old - size, true)?;
    } else {
        grow(disk, size)?;
        disk.size.store(size, Ordering::Release);
        let seen = disk.backing.as_ref().map_or(0, |backing| backing.size().min(size));
        if seen > old {
            disk.zero_range(old, seen - old, true)?;
        }
    }
    disk.commit()?;
    let mut meta = locked(&disk.meta);
    disk.medium.write_bytes(24, &size.to_be_bytes())?;
    meta.header.size = size;
    drop(meta);
    sync(&*disk.medium, &disk.meta)?;
    disk.size.store(size, Ordering::Release);
    Ok(())
}

/// Makes the L1 table long enough.
fn grow(disk: &Qcow2, size: u64) -> Result<(), DiskError> {
    let mut meta = locked(&disk.meta);
    let entries = meta.geometry().l1_entries(size);
    if size > i64::MAX as u64 - meta.geometry().cluster() || entries * 8 > MOST_L1 {
        return Err(DiskError::Unsupported(
            "a disk of that size needs larger clusters (qemu-img convert -o cluster_size=…)",
        ));
    }
    if entries <= meta.l1.len() as u64 {
        return Ok(());
    }
    drop(meta);
    // So that the file's table is as new as the one in memory, and nothing waits to be written to the old place.
    disk.commit()?;
    meta = locked(&disk.meta);
    let geometry = meta.geometry();
    let clusters = (entries * 8).div_ceil(geometry.cluster());
    let first = contiguous(disk, &mut meta, clusters)?;
    let offset = first << geometry.cluster_bits;
    let mut bytes: Vec<u8> = meta.l1.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    bytes.resize((clusters << geometry.cluster_bits) as usize, 0);
    disk.medium.write_bytes(offset, &bytes)?;
    drop(meta);
    // The new clusters' refcounts, and the new table.
    disk.commit()?;
    meta = locked(&disk.meta);
    let mut fields = (entries as u32).to_be_bytes().to_vec();
    fields.extend(offset.to_be_bytes());
    disk.medium.write_bytes(36, &fields)?;
    disk.medium.sync().inspect_err(|_| meta.broken = true)?;
    let old = (
        meta.header.l1_offset >> geometry.cluster_bits,
        (meta.l1.len() as u64 * 8).div_ceil(geometry.cluster()),
    );
    meta.l1.resize(entries as usize, 0);
    (meta.header.l1_offset, meta.header.l1_size) = (offset, entries as u32);
    if old.1 > 0 {
        meta.freed.push(old);
    }
    Ok(())
}

/// So many free clusters in one run.
fn contiguous(disk: &Qcow2, meta: &mut Meta, want: u64) -> Result<u64, DiskError> {
    let bits = meta.geometry().cluster_bits;
    let mut short = Vec::new();
    let found = loop {
        let (first, count) = meta.refs.allocate(&*disk.medium, want)?;
        meta.fresh_from = meta.fresh_from.max((first + count) << bits);
        if count == want {
            break first;
        }
        short.push((first, count));
    };
    for cluster in short.into_iter().flat_map(|(first, count)| first..first + count) {
        meta.refs.release(&*disk.medium, cluster)?;
    }
    let clusters = found..found + want;
    meta.refs.reserved.extend(clusters.map(|cluster| cluster << bits));
    Ok(found)
}
