//! Writing to a qcow2 image: in place, or to new clusters, with what surrounds the written bytes copied.

use crate::DiskError;
use crate::Medium;
use crate::disk::locked;
use crate::qcow2::Qcow2;
use crate::qcow2_meta::{COMPRESSED, COPIED, Lease, Mapping, Meta, OFFSET};
use support_hostmap::Pieces;

/// What is to be done next.
pub enum Turn {
    /// Write so many bytes there.
    InPlace {
        /// Offset in the file.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Keeps the place.
        lease: Lease,
    },
    /// Write all bytes of some clusters to where they are going to be.
    Move(Move),
    /// Somebody else is moving the cluster.
    Busy,
    /// So much was changed that it must be written first.
    Full,
}

/// Guest clusters that are getting other places. They are busy until [`Qcow2::moved`] or [`Qcow2::not_moved`].
pub struct Move {
    /// The first one's number.
    cluster: u64,
    /// How many.
    count: u64,
    /// Where they will be, one behind the other.
    host: u64,
    /// Whether that place was never written and so reads as zeroes.
    fresh: bool,
    /// Whether it was allocated for this.
    allocated: bool,
}

/// Clusters of one move, so that a long request shows its progress to others.
const MOST_MOVED: u64 = 256;
/// Bytes of zeroes that are written at a time.
const ZEROES: u64 = 1 << 20;

impl Qcow2 {
    /// What a write of `len` bytes at `at` begins with. `None`: a table would have to be read, and `load` is false.
    pub(crate) fn turn(
        &self,
        meta: &mut Meta,
        at: u64,
        len: u64,
        load: bool,
    ) -> Result<Option<Turn>, DiskError> {
        if meta.broken {
            return Err(DiskError::Broken);
        }
        let geometry = meta.geometry();
        let cluster = at >> geometry.cluster_bits;
        if meta.busy.contains(&cluster) {
            return Ok(Some(Turn::Busy));
        }
        let Some(mapping) = meta.mapping(&*self.medium, cluster, load)? else { return Ok(None) };
        if let Some(host) = meta.in_place(&mapping) {
            return in_place(&*self.medium, meta, (at, len), host).map(Some);
        }
        if meta.is_full() || !load {
            return Ok(Some(Turn::Full));
        }
        let old = mapping.entry & OFFSET;
        let (host, count, fresh, allocated) = if meta.owned(&mapping) {
            meta.check_data(old)?;
            (old, 1, false, false)
        } else {
            let last = (at + len - 1) >> geometry.cluster_bits;
            let want = self.movable(meta, cluster, (last - cluster + 1).min(MOST_MOVED))?;
            let (first, count) = meta.refs.allocate(&*self.medium, want)?;
            let host = first << geometry.cluster_bits;
            let fresh = host >= meta.fresh_from;
            meta.fresh_from = meta.fresh_from.max((first + count) << geometry.cluster_bits);
            (host, count, fresh, true)
        };
        meta.busy.extend(cluster..cluster + count);
        Ok(Some(Turn::Move(Move { cluster, count, host, fresh, allocated })))
    }

    /// How many clusters from `first` on, at most `most`, need new places.
    fn movable(&self, meta: &mut Meta, first: u64, most: u64) -> Result<u64, DiskError> {
        let mut count = 1;
        while count < most && !meta.busy.contains(&(first + count)) {
            match meta.mapping(&*self.medium, first + count, true)? {
                Some(mapping) if !meta.owned(&mapping) => count += 1,
                _ => break,
            }
        }
        Ok(count)
    }

    /// Writes guest bytes; the range was checked.
    pub(crate) fn write_range(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        let mut done = 0;
        while done < from.len() {
            let (here, left) = (at + done as u64, (from.len() - done) as u64);
            let mut meta = locked(&self.meta);
            let turn = self.turn(&mut meta, here, left, true)?.ok_or(DiskError::Broken)?;
            match turn {
                Turn::Busy => drop(self.wait_idle(meta)),
                Turn::Full => {
                    drop(meta);
                    self.commit()?;
                }
                Turn::InPlace { offset, len, lease: _lease } => {
                    drop(meta);
                    let part = from.slice(done..done + len as usize).ok_or(DiskError::Broken)?;
                    self.medium.write(offset, &part)?;
                    done += len as usize;
                }
                Turn::Move(moving) => {
                    let bits = meta.geometry().cluster_bits;
                    drop(meta);
                    let end = (moving.cluster + moving.count) << bits;
                    let len = left.min(end - here);
                    let part = from.slice(done..done + len as usize).ok_or(DiskError::Broken)?;
                    match self.fill(&moving, bits, here, &part) {
                        Ok(()) => self.moved(&moving)?,
                        Err(error) => {
                            self.not_moved(&moving);
                            return Err(error);
                        }
                    }
                    done += len as usize;
                }
            }
        }
        Ok(())
    }

    /// Writes `part` to the clusters' new place, and before and behind it what the guest has there now.
    fn fill(&self, moving: &Move, bits: u32, at: u64, part: &Pieces) -> Result<(), DiskError> {
        let start = moving.cluster << bits;
        let end = (moving.cluster + moving.count) << bits;
        let (head, tail) = (at - start, end - (at + part.len() as u64));
        if head > 0 {
            self.copy_old(moving, start, 0, head)?;
        }
        self.medium.write(moving.host + head, part)?;
        if tail > 0 {
            self.copy_old(moving, end - tail, head + part.len() as u64, tail)?;
        }
        Ok(())
    }

    /// Copies guest bytes from where they are to offset `to` of the new place.
    fn copy_old(&self, moving: &Move, at: u64, to: u64, len: u64) -> Result<(), DiskError> {
        if moving.fresh && self.is_zero(at, len)? {
            return Ok(());
        }
        let scratch = Pieces::scratch(len as usize)?;
        self.read_range(at, &scratch)?;
        Ok(self.medium.write(moving.host + to, &scratch)?)
    }

    /// Whether guest bytes are known to be zero.
    fn is_zero(&self, at: u64, len: u64) -> Result<bool, DiskError> {
        let mut done = 0;
        while done < len {
            let span = self.span_of(at + done, len - done)?;
            // Behind the end of the disk, in the last cluster, is nothing.
            if span.len == 0 {
                break;
            }
            if !span.zero {
                return Ok(false);
            }
            done += span.len;
        }
        Ok(true)
    }

    /// Makes the tables name the new places.
    fn moved(&self, moving: &Move) -> Result<(), DiskError> {
        let mut meta = locked(&self.meta);
        let bits = meta.geometry().cluster_bits;
        let mut result = Ok(());
        for n in 0..moving.count {
            let (cluster, host) = (moving.cluster + n, moving.host + (n << bits));
            let old = match meta.mapping(&*self.medium, cluster, true) {
                Ok(old) => old.unwrap_or_default(),
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            };
            let entry = meta.whole(host);
            match meta.set(&*self.medium, cluster, entry) {
                Ok(()) if moving.allocated => meta.give_up(&old),
                Ok(()) => {}
                // The new place is lost until the next check, and the guest is told.
                Err(error) => result = result.and(Err(error)),
            }
        }
        self.settle(&mut meta, moving);
        result
    }

    /// Leaves the clusters where they were.
    fn not_moved(&self, moving: &Move) {
        let mut meta = locked(&self.meta);
        if moving.allocated {
            let first = moving.host >> meta.geometry().cluster_bits;
            for n in 0..moving.count {
                // Nobody else knows of them. What cannot be given back stays taken.
                let _ = meta.refs.release(&*self.medium, first + n);
            }
        }
        self.settle(&mut meta, moving);
    }

    fn settle(&self, meta: &mut Meta, moving: &Move) {
        for cluster in moving.cluster..moving.cluster + moving.count {
            meta.busy.remove(&cluster);
        }
        self.idle.notify_all();
    }

    /// Lets go of whole clusters that have a place in the file.
    pub(crate) fn discard_range(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.each_whole(at, len, |meta, cluster, mapping| {
            let entry = mapping.entry;
            let there = entry & (OFFSET | COMPRESSED) != 0;
            match self.empty(meta) {
                Some(empty) if there => {
                    meta.set(&*self.medium, cluster, empty)?;
                    meta.give_up(mapping);
                }
                // Version 2 has no way to hide what the backing file has; a discard need not.
                _ => {}
            }
            Ok(true)
        })
        .map(|_| ())
    }

    /// The entry of a cluster that reads as zeroes and has no place; `None` if there is no such entry.
    fn empty(&self, meta: &Meta) -> Option<(u64, u64)> {
        match (&self.backing, meta.geometry().version) {
            (None, _) => Some((0, 0)),
            (Some(_), 2) => None,
            (Some(_), _) => Some(meta.zeroed(0)),
        }
    }

    /// Makes a range read as zeroes: whole clusters in the tables, the rest by writing.
    pub(crate) fn zero_range(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        let cluster = locked(&self.meta).geometry().cluster();
        let end = at + len;
        // The disk may end within its last cluster, which is whole then.
        let last = if end == crate::Disk::size(self) { end.next_multiple_of(cluster) } else { end };
        let (first, past) = (at.next_multiple_of(cluster), last & !(cluster - 1));
        if first >= past {
            return self.zero_slowly(at, len);
        }
        self.zero_slowly(at, first - at)?;
        let mut done = first;
        while done < past {
            let reached = self.each_whole(done, past - done, |meta, cluster, mapping| {
                self.zero_cluster(meta, cluster, mapping, may_unmap)
            })?;
            done = reached;
            if done < past {
                // The format has no way to say it.
                let end = (done + cluster).min(end);
                self.zero_slowly(done, end - done)?;
                done += cluster;
            }
        }
        if past < end { self.zero_slowly(past, end - past) } else { Ok(()) }
    }

    /// Makes a cluster read as zeroes in the tables; false if that cannot be.
    fn zero_cluster(
        &self,
        meta: &mut Meta,
        cluster: u64,
        old: &Mapping,
        may_unmap: bool,
    ) -> Result<bool, DiskError> {
        let owned = meta.owned(old);
        let keep = !may_unmap && owned && meta.geometry().version >= 3;
        if keep {
            let entry = meta.zeroed(old.entry & OFFSET);
            meta.set(&*self.medium, cluster, entry)?;
            return Ok(true);
        }
        if old.entry & !COPIED == 0 && old.bitmap == 0 && self.backing.is_none() {
            return Ok(true);
        }
        let Some(empty) = self.empty(meta) else { return Ok(false) };
        meta.set(&*self.medium, cluster, empty)?;
        meta.give_up(old);
        Ok(true)
    }

    /// Calls `f` for each whole cluster of a range, until it says false; where it was then, or the end of the range.
    fn each_whole(
        &self,
        at: u64,
        len: u64,
        mut f: impl FnMut(&mut Meta, u64, &Mapping) -> Result<bool, DiskError>,
    ) -> Result<u64, DiskError> {
        let mut meta = locked(&self.meta);
        let geometry = meta.geometry();
        let size = crate::Disk::size(self);
        let end = if at + len >= size { (at + len).next_multiple_of(geometry.cluster()) } else { at + len };
        let mut cluster = at.div_ceil(geometry.cluster());
        let past = end >> geometry.cluster_bits;
        while cluster < past {
            if meta.broken {
                return Err(DiskError::Broken);
            }
            if meta.busy.contains(&cluster) {
                meta = self.wait_idle(meta);
                continue;
            }
            if meta.is_full() {
                drop(meta);
                self.commit()?;
                meta = locked(&self.meta);
                continue;
            }
            if self.backing.is_none() && meta.no_table(cluster) {
                // Nothing is there, up to the next table.
                cluster = (cluster / geometry.l2_entries() + 1) * geometry.l2_entries();
                continue;
            }
            let mapping = meta.mapping(&*self.medium, cluster, true)?.ok_or(DiskError::Broken)?;
            if !f(&mut meta, cluster, &mapping)? {
                return Ok(cluster << geometry.cluster_bits);
            }
            cluster += 1;
        }
        Ok(end.max(at))
    }

    fn zero_slowly(&self, at: u64, len: u64) -> Result<(), DiskError> {
        if len == 0 {
            return Ok(());
        }
        let zeroes = Pieces::scratch(len.min(ZEROES) as usize)?;
        let mut done = 0;
        while done < len {
            let now = (len - done).min(ZEROES);
            if !self.is_zero(at + done, now)? {
                self.write_range(at + done, &zeroes.slice(0..now as usize).ok_or(DiskError::Broken)?)?;
            }
            done += now;
        }
        Ok(())
    }
}

/// A write to clusters that stay where they are: as many of them as are one behind the other.
fn in_place(
    medium: &dyn Medium,
    meta: &mut Meta,
    (at, len): (u64, u64),
    host: u64,
) -> Result<Turn, DiskError> {
    let geometry = meta.geometry();
    meta.check_data(host)?;
    let within = at & (geometry.cluster() - 1);
    let mut here = geometry.cluster() - within;
    let mut cluster = at >> geometry.cluster_bits;
    let mut next_host = host;
    while here < len {
        cluster += 1;
        next_host += geometry.cluster();
        let Ok(Some(mapping)) = meta.mapping(medium, cluster, false) else { break };
        let goes_on = meta.in_place(&mapping) == Some(next_host) && !meta.busy.contains(&cluster);
        if !goes_on || meta.check_data(next_host).is_err() {
            break;
        }
        here += geometry.cluster();
    }
    let lease = Lease::clone(&meta.lease);
    Ok(Turn::InPlace { offset: host + within, len: here.min(len), lease })
}
