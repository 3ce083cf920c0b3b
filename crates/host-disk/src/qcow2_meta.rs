//! The tables of an open qcow2 image in memory: where guest bytes are, and what changes when they move.
//!
//! Source: "Qcow2 Image File Format", section "Cluster mapping". Nothing here writes the file; [`crate::qcow2_commit`] does.

use crate::Medium;
use crate::disk::DiskError;
use crate::qcow2_header::{Geometry, Header};
use crate::qcow2_refs::{Refs, Run};
use crate::qcow2_snapshots::Snapshots;
use crate::qcow2_tables::Tables;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

/// The bits of an L1 or L2 entry that are an offset.
pub const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The entry's cluster has no other reference.
pub const COPIED: u64 = 1 << 63;
/// The entry's cluster is compressed.
pub const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeroes (version 3, without subclusters).
pub const ZERO: u64 = 1;

/// As long as one lives, no cluster that was in use when it was made is used for anything else.
pub type Lease = Arc<()>;

/// Most clusters, or L2 tables that are not there, that are looked at for one run.
const MOST_STEPS: u32 = 1 << 14;

/// Where guest bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this offset of the file.
    Data(u64),
    /// They are zeroes.
    Zero,
    /// Where the backing file has them; zeroes if it does not.
    Hole,
    /// Compressed: offset in the file, and how many bytes it may take.
    Packed(u64, u64),
}

/// What the tables say of one cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapping {
    /// The L2 entry.
    pub entry: u64,
    /// The subclusters' bits, if there are any.
    pub bitmap: u64,
    /// Whether the L2 table itself has one reference only.
    pub table_copied: bool,
}

/// The tables.
#[derive(Debug)]
pub struct Meta {
    /// The header; sizes and offsets in it follow the tables.
    pub header: Header,
    /// The L1 table.
    pub l1: Vec<u64>,
    /// Its entries that the file does not have yet.
    pub l1_changed: BTreeSet<usize>,
    /// The L2 tables in memory.
    pub l2: Tables,
    /// L2 tables that no L1 entry in the file names.
    pub unreachable: HashSet<u64>,
    /// The refcounts.
    pub refs: Refs,
    /// The lease of what is done now.
    pub lease: Lease,
    /// Runs of clusters with a reference less, as soon as the file's tables say so too.
    pub freed: Vec<Run>,
    /// Such of earlier times, oldest first, each with the last lease that might still use them.
    pub retired: VecDeque<(Lease, Vec<Run>)>,
    /// Guest clusters that somebody is about to move.
    pub busy: HashSet<u64>,
    /// First offset of the file behind which nothing was ever written.
    pub fresh_from: u64,
    /// Whether a sync failed, so that nobody knows what the file has.
    pub broken: bool,
    /// Whether the file's header says that refcounts may be wrong.
    pub marked: bool,
}

fn corrupt<T>(what: &'static str, offset: u64) -> Result<T, DiskError> {
    Err(DiskError::Corrupt { what, offset })
}

impl Meta {
    /// Reads the L1 table and, if the image is to be written, the refcount table.
    ///
    /// # Errors
    /// If the tables contradict themselves.
    pub fn load(medium: &dyn Medium, header: Header, write: bool) -> Result<Self, DiskError> {
        let geometry = header.geometry;
        let mut bytes = vec![0; header.l1_size as usize * 8];
        medium.read_bytes(header.l1_offset, &mut bytes)?;
        let l1: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_be_bytes(*b)).collect();
        let reserved = if write { reserved(medium, &header, &l1)? } else { HashSet::new() };
        let refs = if write {
            Refs::load(medium, &header, reserved)?
        } else {
            // Never asked of an image that is only read.
            Refs::load(medium, &Header { reftable_clusters: 0, ..header.clone() }, reserved)?
        };
        let cluster = geometry.cluster();
        let fresh_from = medium.len()?.checked_next_multiple_of(cluster).unwrap_or(u64::MAX);
        Ok(Meta {
            l1,
            l1_changed: BTreeSet::new(),
            l2: Tables::new(cluster),
            unreachable: HashSet::new(),
            refs,
            lease: Lease::default(),
            freed: Vec::new(),
            retired: VecDeque::new(),
            busy: HashSet::new(),
            fresh_from,
            broken: false,
            marked: false,
            header,
        })
    }

    /// What never changes.
    pub fn geometry(&self) -> Geometry {
        self.header.geometry
    }

    /// The L1 index of a guest cluster, and the offset of its entry in the L2 table.
    fn split(&self, cluster: u64) -> (usize, usize) {
        let geometry = self.geometry();
        let (index, entry) = (cluster / geometry.l2_entries(), cluster % geometry.l2_entries());
        (index as usize, (entry * geometry.entry()) as usize)
    }

    /// Where the L2 table of a guest cluster is; 0 if there is none.
    fn table_of(&self, cluster: u64) -> Result<u64, DiskError> {
        let entry = self.l1.get(self.split(cluster).0).copied().unwrap_or(0);
        let offset = entry & OFFSET;
        if !offset.is_multiple_of(self.geometry().cluster()) {
            return corrupt("an L2 table's offset is wrong", offset);
        }
        Ok(offset)
    }

    /// Whether there is no L2 table for a guest cluster, and so for none of its neighbours.
    pub fn no_table(&self, cluster: u64) -> bool {
        self.l1.get(self.split(cluster).0).is_none_or(|entry| entry & OFFSET == 0)
    }

    /// What the tables say of a guest cluster. `None` if the table is not in memory and `load` is false.
    ///
    /// # Errors
    /// If the L1 table is wrong, or the host cannot read the L2 table.
    pub fn mapping(
        &mut self,
        medium: &dyn Medium,
        cluster: u64,
        load: bool,
    ) -> Result<Option<Mapping>, DiskError> {
        let table = self.table_of(cluster)?;
        let (index, at) = self.split(cluster);
        let table_copied = self.l1.get(index).is_some_and(|entry| entry & COPIED != 0);
        if table == 0 {
            return Ok(Some(Mapping { table_copied: true, ..Mapping::default() }));
        }
        let entry = match self.l2.peek(table, at) {
            Some(entry) => entry,
            None if load => self.l2.get(medium, table, at)?,
            None => return Ok(None),
        };
        let bitmap = match self.geometry().extended {
            true => self.l2.peek(table, at + 8).unwrap_or(0),
            false => 0,
        };
        Ok(Some(Mapping { entry, bitmap, table_copied }))
    }

    /// Where the guest bytes from `at` on are, and how many of them at most `want` in one run. `None` as for
    /// [`Meta::mapping`].
    ///
    /// # Errors
    /// If the tables are wrong.
    pub fn find(
        &mut self,
        medium: &dyn Medium,
        at: u64,
        want: u64,
        load: bool,
    ) -> Result<Option<(Place, u64)>, DiskError> {
        let Some((place, mut len)) = self.one(medium, at, load)? else { return Ok(None) };
        // Further bytes may continue the run, but nothing is read from the file to find out, and no more is looked at
        // than takes a moment: the tables are locked.
        let mut steps = 0;
        while len < want && steps < MOST_STEPS && !matches!(place, Place::Packed(..)) {
            let Ok(Some((more, more_len))) = self.one(medium, at + len, false) else { break };
            let continues = match (place, more) {
                (Place::Data(start), Place::Data(there)) => start.checked_add(len) == Some(there),
                (a, b) => a == b,
            };
            if !continues {
                break;
            }
            len += more_len;
            steps += 1;
        }
        Ok(Some((place, len.min(want))))
    }

    /// Where the guest bytes from `at` on are, up to the end of their subcluster or cluster, or of all that their L2 table would
    /// map if there is none.
    fn one(&mut self, medium: &dyn Medium, at: u64, load: bool) -> Result<Option<(Place, u64)>, DiskError> {
        let geometry = self.geometry();
        let cluster = at >> geometry.cluster_bits;
        if self.no_table(cluster) {
            let span = geometry.l2_span();
            return Ok(Some((Place::Hole, span - at % span)));
        }
        let Some(mapping) = self.mapping(medium, cluster, load)? else { return Ok(None) };
        self.place(&mapping, at).map(Some)
    }

    /// Where the bytes of a mapped cluster are from `at` on, up to the end of the cluster or subcluster.
    fn place(&self, mapping: &Mapping, at: u64) -> Result<(Place, u64), DiskError> {
        let geometry = self.geometry();
        let within = at & (geometry.cluster() - 1);
        let left = geometry.cluster() - within;
        if mapping.entry & COMPRESSED != 0 {
            return Ok((self.packed(mapping.entry), left));
        }
        let offset = mapping.entry & OFFSET;
        if !offset.is_multiple_of(geometry.cluster()) {
            return corrupt("a data cluster's offset is wrong", offset);
        }
        let data = || match offset {
            0 => corrupt("a data cluster is where the header is", offset),
            _ => Ok(Place::Data(offset + within)),
        };
        if geometry.extended {
            let sub = geometry.cluster() / 32;
            let n = within / sub;
            let left = sub - within % sub;
            return match (mapping.bitmap >> n & 1, mapping.bitmap >> (32 + n) & 1) {
                (0, 0) => Ok((Place::Hole, left)),
                (0, _) => Ok((Place::Zero, left)),
                (_, 0) => Ok((data()?, left)),
                _ => corrupt("a subcluster is both allocated and zero", offset),
            };
        }
        if mapping.entry & ZERO != 0 && geometry.version >= 3 {
            return Ok((Place::Zero, left));
        }
        if offset == 0 { Ok((Place::Hole, left)) } else { Ok((data()?, left)) }
    }

    /// Offset and longest length of a compressed cluster.
    fn packed(&self, entry: u64) -> Place {
        let bits = 62 - (self.geometry().cluster_bits - 8);
        let offset = entry & ((1 << bits) - 1);
        let sectors = (entry & (COMPRESSED - 1)) >> bits;
        Place::Packed(offset, (sectors + 1) * 512 - offset % 512)
    }

    /// Whether a guest cluster can be written where it is: data with one reference, all of it there.
    pub fn in_place(&self, mapping: &Mapping) -> Option<u64> {
        let offset = mapping.entry & OFFSET;
        let geometry = self.geometry();
        let whole = match geometry.extended {
            true => mapping.bitmap == u64::from(u32::MAX),
            false => geometry.version < 3 || mapping.entry & ZERO == 0,
        };
        (self.owned(mapping) && whole).then_some(offset)
    }

    /// Whether a guest cluster has a host cluster of its own, whatever is in it.
    pub fn owned(&self, mapping: &Mapping) -> bool {
        let sound = mapping.entry & COMPRESSED == 0
            && (mapping.entry & OFFSET).is_multiple_of(self.geometry().cluster());
        sound && mapping.entry & COPIED != 0 && mapping.table_copied && mapping.entry & OFFSET != 0
    }

    /// The entry of a cluster whose data is all at `host`.
    pub fn whole(&self, host: u64) -> (u64, u64) {
        (host | COPIED, if self.geometry().extended { u64::from(u32::MAX) } else { 0 })
    }

    /// The entry of a cluster that reads as zeroes, keeping `host` (0: none) for later.
    pub fn zeroed(&self, host: u64) -> (u64, u64) {
        let kept = if host == 0 { 0 } else { host | COPIED };
        match self.geometry().extended {
            true => (kept, u64::from(u32::MAX) << 32),
            false => (kept | ZERO, 0),
        }
    }

    /// Gives up the host clusters that an entry refers to, once the file's tables do not name them.
    pub fn give_up(&mut self, mapping: &Mapping) {
        let bits = self.geometry().cluster_bits;
        let run = if mapping.entry & COMPRESSED != 0 {
            match self.packed(mapping.entry) {
                Place::Packed(offset, len) => {
                    let first = offset >> bits;
                    (first, ((offset + len - 1) >> bits) - first + 1)
                }
                _ => return,
            }
        } else {
            match mapping.entry & OFFSET {
                0 => return,
                offset => (offset >> bits, 1),
            }
        };
        // An entry that refers to a table is wrong; better a cluster is lost than the table.
        if (run.0..run.0 + run.1).any(|cluster| self.refs.reserved.contains(&(cluster << bits))) {
            return;
        }
        match self.freed.last_mut() {
            Some((first, count)) if *first + *count == run.0 => *count += run.1,
            _ => self.freed.push(run),
        }
    }

    /// Sets the entry of a guest cluster; makes an L2 table for it, or a copy of a shared one, if it needs to.
    ///
    /// # Errors
    /// If there is no cluster for the table.
    pub fn set(
        &mut self,
        medium: &dyn Medium,
        cluster: u64,
        (entry, bitmap): (u64, u64),
    ) -> Result<(), DiskError> {
        let table = self.own_table(medium, cluster)?;
        let at = self.split(cluster).1;
        self.l2.set(medium, table, at, &entry.to_be_bytes())?;
        if self.geometry().extended {
            self.l2.set(medium, table, at + 8, &bitmap.to_be_bytes())?;
        }
        Ok(())
    }

    /// The L2 table of a guest cluster, one that nobody else refers to.
    fn own_table(&mut self, medium: &dyn Medium, cluster: u64) -> Result<u64, DiskError> {
        let (index, old) = (self.split(cluster).0, self.table_of(cluster)?);
        let entry = self.l1.get(index).copied().unwrap_or(0);
        if old != 0 && entry & COPIED != 0 {
            return Ok(old);
        }
        let bytes = match old {
            0 => vec![0; self.geometry().cluster() as usize].into(),
            _ => self.l2.bytes(medium, old)?.clone(),
        };
        let bits = self.geometry().cluster_bits;
        let (first, _) = self.refs.allocate(medium, 1)?;
        let new = first << bits;
        self.refs.reserved.insert(new);
        self.fresh_from = self.fresh_from.max(new + self.geometry().cluster());
        self.l2.insert(new, bytes);
        self.unreachable.insert(new);
        if let Some(place) = self.l1.get_mut(index) {
            *place = new | COPIED;
            self.l1_changed.insert(index);
        }
        if old != 0 {
            self.freed.push((old >> bits, 1));
        }
        Ok(new)
    }

    /// Whether so much is changed, or waits to be freed, that it should be written before more is.
    pub fn is_full(&self) -> bool {
        self.l2.is_full() || self.refs.blocks.is_full() || self.freed.len() > 1 << 16
    }

    /// Whether the file lacks anything.
    pub fn is_dirty(&self) -> bool {
        self.l2.is_dirty() || self.refs.is_dirty() || !self.l1_changed.is_empty() || !self.freed.is_empty()
    }

    /// Refuses to write data to a cluster that holds a table, whatever the L2 table says.
    ///
    /// # Errors
    /// If it does.
    pub fn check_data(&self, offset: u64) -> Result<(), DiskError> {
        match self.refs.reserved.contains(&offset) {
            true => corrupt("a data cluster is where a table is", offset),
            false => Ok(()),
        }
    }
}

/// The clusters of header, L1 table, snapshot table, snapshots' L1 tables and L2 tables, each of which must be by itself. (L2
/// tables that only snapshots have are not among them: to know them, every snapshot's table would have to be read.)
fn reserved(medium: &dyn Medium, header: &Header, l1: &[u64]) -> Result<HashSet<u64>, DiskError> {
    let cluster = header.geometry.cluster();
    let of = |offset: u64, len: u64| (0..len.div_ceil(cluster)).map(move |n| offset + n * cluster);
    let mut reserved = HashSet::from([0]);
    let mut claim = |offset: u64, what| if reserved.insert(offset) { Ok(()) } else { corrupt(what, offset) };
    for offset in of(header.l1_offset, u64::from(header.l1_size) * 8) {
        claim(offset, "the L1 table overlaps the header")?;
    }
    let snapshots = Snapshots::read(medium, header)?;
    for offset in of(header.snapshots_offset, snapshots.len) {
        claim(offset, "the snapshot table overlaps another table")?;
    }
    // Several snapshots may have one.
    let tables: HashSet<u64> =
        snapshots.tables.keys().flat_map(|(offset, size)| of(*offset, size * 8)).collect();
    for offset in tables {
        claim(offset, "a snapshot's L1 table is where another table is")?;
    }
    let mut l2 = HashSet::new();
    for entry in l1.iter().filter(|entry| **entry & OFFSET != 0) {
        let offset = entry & OFFSET;
        if !offset.is_multiple_of(cluster) {
            return corrupt("an L2 table's offset is wrong", offset);
        }
        // A table that several refer to is copied before it is changed.
        if reserved.contains(&offset) || (!l2.insert(offset) && entry & COPIED != 0) {
            return corrupt("an L2 table is where another table is", offset);
        }
    }
    reserved.extend(l2);
    Ok(reserved)
}
