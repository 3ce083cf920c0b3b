//! How the changed tables of a qcow2 image get into its file, so that a power cut at any moment leaves a sound image.
//!
//! Writes between two syncs reach stable storage in any order, or not at all. So every step that relies on another being
//! there has a sync in between:
//!
//! 1. Once, before anything else: the header's dirty bit (version 3), by which whoever opens the image after an accident knows to count
//!    its clusters anew. What that finds is never more than clusters that count as used and are not.
//! 2. Refcounts (up), and L2 tables that nobody refers to yet. Sync; it covers the guest's data too.
//! 3. If there are new refcount blocks: the refcount table. Sync.
//! 4. L2 entries and L1 entries: only now does anything refer to the new clusters. Sync.
//! 5. Refcounts (down) of what is referred to no more, in memory; they get into the file with the next step 2.
//!
//! The tables are locked while it is gathered what to write, not while it is written.

use crate::Medium;
use crate::disk::{DiskError, locked};
use crate::qcow2_header::DIRTY;
use crate::qcow2_meta::Meta;
use crate::qcow2_refs::Run;
use crate::qcow2_tables::Patch;
use std::sync::Mutex;

/// What is to be written of one state of the tables, in its order. Doing it twice is the same as once.
#[derive(Debug, Default)]
pub struct Batch {
    first: Vec<Patch>,
    reftable: Vec<Patch>,
    last: Vec<Patch>,
}

fn write(medium: &dyn Medium, patches: &[Patch]) -> Result<(), DiskError> {
    patches.iter().try_for_each(|(at, bytes)| medium.write_bytes(*at, bytes)).map_err(DiskError::Io)
}

/// Syncs; if that fails, nobody knows any more what the file has.
pub fn sync(medium: &dyn Medium, meta: &Mutex<Meta>) -> Result<(), DiskError> {
    medium.sync().map_err(|error| {
        locked(meta).broken = true;
        DiskError::Io(error)
    })
}

/// Brings data and tables to stable storage. `pending` holds what an earlier call could not write; it is locked
/// throughout, so that one batch is written at a time.
///
/// # Errors
/// What the host says. After a write that failed (the host's disk is full), a later call tries again; after a sync that
/// failed, none does.
pub fn commit(
    medium: &dyn Medium,
    meta: &Mutex<Meta>,
    pending: &Mutex<Option<Batch>>,
) -> Result<(), DiskError> {
    let mut pending = locked(pending);
    if locked(meta).broken {
        return Err(DiskError::Broken);
    }
    // What an earlier call left is of an older state than the one that is asked for, and comes before it.
    let old = put(medium, meta, &mut pending)?;
    let mut new = false;
    if locked(meta).is_dirty() {
        mark(medium, meta)?;
        *pending = Some(gather(&mut locked(meta)));
        new = put(medium, meta, &mut pending)?;
    }
    if !old && !new {
        sync(medium, meta)?;
    }
    release(medium, meta)
}

/// Writes what is pending, in its steps, with a sync after each; false if nothing is.
fn put(medium: &dyn Medium, meta: &Mutex<Meta>, pending: &mut Option<Batch>) -> Result<bool, DiskError> {
    let Some(batch) = pending.as_ref() else { return Ok(false) };
    write(medium, &batch.first)?;
    sync(medium, meta)?;
    if !batch.reftable.is_empty() {
        write(medium, &batch.reftable)?;
        sync(medium, meta)?;
    }
    if !batch.last.is_empty() {
        write(medium, &batch.last)?;
        sync(medium, meta)?;
    }
    *pending = None;
    let mut meta = locked(meta);
    meta.l2.unpin();
    meta.refs.blocks.unpin();
    Ok(true)
}

/// Sets the dirty bit in the file. The tables are not locked while that goes on; nobody else does it, as `pending` is.
fn mark(medium: &dyn Medium, meta: &Mutex<Meta>) -> Result<(), DiskError> {
    let features = {
        let meta = locked(meta);
        if meta.marked || meta.geometry().version < 3 {
            return Ok(());
        }
        meta.header.incompatible | DIRTY
    };
    medium.write_bytes(72, &features.to_be_bytes())?;
    sync(medium, meta)?;
    locked(meta).marked = true;
    Ok(())
}

/// Clears the dirty bit in the file, in which everything else is.
///
/// # Errors
/// What the host says.
pub fn unmark(
    medium: &dyn Medium,
    meta: &Mutex<Meta>,
    pending: &Mutex<Option<Batch>>,
) -> Result<(), DiskError> {
    let pending = locked(pending);
    let mut locked_meta = locked(meta);
    if !locked_meta.marked || locked_meta.broken || locked_meta.is_dirty() || pending.is_some() {
        return Ok(());
    }
    medium.write_bytes(72, &(locked_meta.header.incompatible & !DIRTY).to_be_bytes())?;
    locked_meta.marked = false;
    drop(locked_meta);
    sync(medium, meta)
}

fn gather(meta: &mut Meta) -> Batch {
    let mut batch = Batch::default();
    batch.first.extend(meta.refs.blocks.take().into_iter().map(|(_, patch)| patch));
    let mut l2 = Vec::new();
    for (table, patch) in meta.l2.take() {
        let list = if meta.unreachable.contains(&table) { &mut batch.first } else { &mut l2 };
        list.push(patch);
    }
    meta.unreachable.clear();
    reftable(meta, &mut batch);
    batch.last = l2;
    let changed = std::mem::take(&mut meta.l1_changed);
    for index in changed {
        let entry = meta.l1.get(index).copied().unwrap_or(0);
        batch.last.push((meta.header.l1_offset + index as u64 * 8, entry.to_be_bytes().to_vec()));
    }
    // What is freed now may be in use by who holds a lease of now, or an older one.
    let lease = std::mem::take(&mut meta.lease);
    meta.retired.push_back((lease, std::mem::take(&mut meta.freed)));
    batch
}

fn reftable(meta: &mut Meta, batch: &mut Batch) {
    let changed = std::mem::take(&mut meta.refs.changed);
    let (offset, clusters, table) = meta.refs.table();
    if meta.refs.moved {
        batch.first.push((offset, table.iter().flat_map(|entry| entry.to_be_bytes()).collect()));
        // Both fields are next to each other in one sector.
        let mut fields = offset.to_be_bytes().to_vec();
        fields.extend((clusters as u32).to_be_bytes());
        batch.reftable.push((48, fields));
        (meta.header.reftable_offset, meta.header.reftable_clusters) = (offset, clusters as u32);
        meta.refs.moved = false;
        let left = std::mem::take(&mut meta.refs.left);
        meta.freed.extend(left);
        return;
    }
    for index in changed {
        let entry = table.get(index).copied().unwrap_or(0);
        batch.reftable.push((offset + index as u64 * 8, entry.to_be_bytes().to_vec()));
    }
}

/// Frees what nobody can be using any more. The host gets its space back before a cluster may be used again.
fn release(medium: &dyn Medium, meta: &Mutex<Meta>) -> Result<(), DiskError> {
    loop {
        let mut locked_meta = locked(meta);
        let meta_now = &mut *locked_meta;
        let Some((lease, _)) = meta_now.retired.front() else { return Ok(()) };
        if std::sync::Arc::strong_count(lease) > 1 {
            return Ok(());
        }
        let Some((_, runs)) = meta_now.retired.pop_front() else { return Ok(()) };
        let last = sole(medium, meta_now, &runs)?;
        drop(locked_meta);
        let bits = locked(meta).geometry().cluster_bits;
        for (first, count) in last {
            // Where the host cannot, the space stays taken until the cluster is used again.
            let _ = medium.zero(first << bits, count << bits, true);
        }
        let mut locked_meta = locked(meta);
        for cluster in runs.iter().flat_map(|(first, count)| *first..first + count) {
            let cluster_offset = cluster << bits;
            if locked_meta.refs.release(medium, cluster)? {
                locked_meta.l2.forget(cluster_offset);
            }
        }
    }
}

/// The clusters of `runs` that have one reference only, in runs.
fn sole(medium: &dyn Medium, meta: &mut Meta, runs: &[Run]) -> Result<Vec<Run>, DiskError> {
    let mut sole: Vec<Run> = Vec::new();
    for cluster in runs.iter().flat_map(|(first, count)| *first..first + count) {
        if meta.refs.count(medium, cluster)? != 1 {
            continue;
        }
        match sole.last_mut() {
            Some((first, count)) if *first + *count == cluster => *count += 1,
            _ => sole.push((cluster, 1)),
        }
    }
    Ok(sole)
}
