//! Checks a qcow2 image: whether its refcounts are what its tables say, and the tables are sound.
//!
//! Source: "Qcow2 Image File Format". Every table is looked at once, however many refer to it, so that loops and shared
//! tables cost nothing; a table that refers to itself or to others is found as a cluster with more references than it can have.

use crate::qcow2_counts::Counts;
use crate::qcow2_header::{BITMAPS, Geometry, Header, be32, be64};
use crate::qcow2_meta::{COMPRESSED, COPIED, OFFSET, ZERO};
use crate::qcow2_refs::{BLOCK_OFFSET, get};
use crate::qcow2_snapshots::{MOST_TABLES, Snapshots};
use crate::{DiskError, Medium};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A cluster counts as used and is not, or not as often: space is lost, and nothing else.
    Leak {
        /// Offset of the cluster.
        offset: u64,
        /// What the image says.
        refcount: u64,
        /// What was counted.
        references: u64,
    },
    /// A cluster is used more often than it counts: a write may destroy other data.
    Refcount {
        /// Offset of the cluster.
        offset: u64,
        /// What the image says.
        refcount: u64,
        /// What was counted.
        references: u64,
    },
    /// An entry says that it has its cluster by itself and does not, or the reverse.
    Copied {
        /// Offset of the entry.
        entry: u64,
        /// What it should say.
        should: bool,
    },
    /// An entry refers to where nothing of its kind can be.
    Entry {
        /// Offset of the entry.
        entry: u64,
        /// What it refers to, and why that cannot be.
        what: &'static str,
    },
    /// An entry of the refcount table is wrong.
    Block {
        /// Offset of the entry.
        entry: u64,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Leak { offset, refcount, references } => {
                write!(
                    f,
                    "leak: the cluster at {offset:#x} has refcount {refcount} and {references} references"
                )
            }
            Problem::Refcount { offset, refcount, references } => {
                write!(
                    f,
                    "error: the cluster at {offset:#x} has refcount {refcount} and {references} references"
                )
            }
            Problem::Copied { entry, should: true } => {
                write!(f, "error: the entry at {entry:#x} should have the COPIED flag and has not")
            }
            Problem::Copied { entry, should: false } => {
                write!(f, "error: the entry at {entry:#x} has the COPIED flag and should not")
            }
            Problem::Entry { entry, what } | Problem::Block { entry, what } => {
                write!(f, "error: the entry at {entry:#x}: {what}")
            }
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Clusters that are lost.
    pub leaks: u64,
    /// Errors.
    pub corruptions: u64,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// Guest clusters of the disk.
    pub clusters: u64,
    /// Such with data in the image.
    pub allocated: u64,
    /// Such of these that are compressed.
    pub compressed: u64,
    /// Offset behind the last cluster that is used.
    pub end: u64,
}

/// Most problems that are kept: an image may have one for every cluster.
const MOST_PROBLEMS: usize = 10_000;

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.leaks == 0 && self.corruptions == 0
    }

    fn found(&mut self, problem: Problem) {
        match problem {
            Problem::Leak { .. } => self.leaks += 1,
            _ => self.corruptions += 1,
        }
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// A place in the file whose eight bytes are to be changed.
pub type Fix = (u64, u64);

/// L1 tables by offset and entries, each with how often it is referred to.
type Tables = BTreeMap<(u64, u64), u32>;

/// A check, and what a repair needs of it.
pub struct Check<'m> {
    pub(crate) medium: &'m dyn Medium,
    pub(crate) header: &'m Header,
    pub(crate) report: Report,
    /// References of everything but the refcount structures.
    pub(crate) counts: Counts,
    /// References of the refcount structures.
    pub(crate) own: Counts,
    /// The refcount table.
    pub(crate) table: Vec<u64>,
    /// Whether its blocks can be corrected where they are.
    pub(crate) blocks_sound: bool,
    /// Entries that refer to nothing that can be, and what they should be.
    pub(crate) bad_entries: Vec<Fix>,
    /// Clusters of header, tables and refcount structures.
    structures: HashSet<u64>,
    /// Distinct L2 tables: how often they are referred to.
    l2: BTreeMap<u64, u32>,
    file_clusters: u64,
}

/// Checks an image.
///
/// # Errors
/// If it cannot be read, or is too large to be checked. That it is corrupt is none.
pub fn check(medium: &dyn Medium, header: &Header) -> Result<Report, DiskError> {
    Ok(Check::run(medium, header)?.report)
}

impl<'m> Check<'m> {
    /// Looks at everything.
    pub(crate) fn run(medium: &'m dyn Medium, header: &'m Header) -> Result<Self, DiskError> {
        let geometry = header.geometry;
        let mut check = Check {
            medium,
            header,
            report: Report { clusters: header.size.div_ceil(geometry.cluster()), ..Report::default() },
            counts: Counts::default(),
            own: Counts::default(),
            table: Vec::new(),
            blocks_sound: true,
            bad_entries: Vec::new(),
            structures: HashSet::new(),
            l2: BTreeMap::new(),
            file_clusters: medium.len()?.div_ceil(geometry.cluster()),
        };
        check.structure(0, 1, 1);
        let tables = check.tables()?;
        check.refcount_table()?;
        check.l1_tables(tables)?;
        let l2: Vec<(u64, u32)> = check.l2.iter().map(|(offset, times)| (*offset, *times)).collect();
        for (offset, times) in l2 {
            check.l2_table(offset, times)?;
        }
        if header.bitmaps.is_some() && header.autoclear & BITMAPS != 0 {
            check.bitmaps()?;
        }
        check.compare()?;
        check.copied()?;
        let last = |counts: &Counts| counts.iter().last().map_or(0, |(cluster, _)| cluster + 1);
        check.report.end = last(&check.counts).max(last(&check.own)) << geometry.cluster_bits;
        Ok(check)
    }

    fn geometry(&self) -> Geometry {
        self.header.geometry
    }

    /// Clusters that hold a structure, which is referred to so many times.
    fn structure(&mut self, offset: u64, clusters: u64, times: u32) {
        let first = offset >> self.geometry().cluster_bits;
        self.counts.add(first, clusters, times);
        self.structures.extend(first..first + clusters);
    }

    /// The distinct L1 tables, of the disk and of its snapshots, with how many name each; and the table of snapshots.
    fn tables(&mut self) -> Result<Tables, DiskError> {
        let cluster = self.geometry().cluster();
        let clusters = |size: u64| (size * 8).div_ceil(cluster);
        let active = (self.header.l1_offset, u64::from(self.header.l1_size));
        self.structure(active.0, clusters(active.1), 1);
        let snapshots = Snapshots::read(self.medium, self.header)?;
        self.structure(self.header.snapshots_offset, snapshots.len.div_ceil(cluster), 1);
        let mut bad = snapshots.bad;
        let mut tables = Tables::from([(active, 1)]);
        let others = self.structures.clone();
        for ((offset, size), named) in snapshots.tables {
            let first = offset >> self.geometry().cluster_bits;
            // What a repair removes from a table there it would remove from the header.
            if (first..first + clusters(size)).any(|cluster| others.contains(&cluster)) {
                bad.push(named.entry);
                continue;
            }
            self.structure(offset, clusters(size), named.times);
            tables.insert((offset, size), named.times);
        }
        for entry in bad {
            self.report.found(Problem::Entry { entry, what: "a snapshot's L1 table cannot be there" });
        }
        Ok(tables)
    }

    /// The refcount table and where its blocks are.
    fn refcount_table(&mut self) -> Result<(), DiskError> {
        let (geometry, header) = (self.geometry(), self.header);
        let first = header.reftable_offset >> geometry.cluster_bits;
        let clusters = u64::from(header.reftable_clusters);
        let mut bytes = vec![0; (clusters << geometry.cluster_bits) as usize];
        self.medium.read_bytes(header.reftable_offset, &mut bytes)?;
        self.own.add(first, clusters, 1);
        let mut blocks = HashSet::new();
        for (n, entry) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let value = u64::from_be_bytes(*entry);
            self.table.push(value & BLOCK_OFFSET);
            if value == 0 {
                continue;
            }
            let (offset, at) = (value & BLOCK_OFFSET, header.reftable_offset + n as u64 * 8);
            let cluster = offset >> geometry.cluster_bits;
            let what = if value & !BLOCK_OFFSET != 0 || !offset.is_multiple_of(geometry.cluster()) {
                "a refcount block's offset is no offset of a cluster"
            } else if cluster >= self.file_clusters {
                "a refcount block is behind the end of the file"
            } else if self.structures.contains(&cluster) || (first..first + clusters).contains(&cluster) {
                "a refcount block is where another structure is"
            } else if !blocks.insert(cluster) {
                "a refcount block is in the table twice"
            } else {
                self.own.add(cluster, 1, 1);
                continue;
            };
            self.blocks_sound = false;
            if let Some(last) = self.table.last_mut() {
                *last = 0;
            }
            self.report.found(Problem::Block { entry: at, what });
        }
        self.structures.extend(blocks);
        if (first..first + clusters).any(|cluster| self.structures.contains(&cluster)) {
            self.blocks_sound = false;
            let what = "the refcount table is where another structure is";
            self.report.found(Problem::Block { entry: 48, what });
        }
        self.structures.extend(first..first + clusters);
        Ok(())
    }

    /// Which L2 tables there are, and how often each is referred to.
    fn l1_tables(&mut self, tables: Tables) -> Result<(), DiskError> {
        for ((offset, size), times) in tables {
            let mut bytes = vec![0; (size * 8) as usize];
            self.medium.read_bytes(offset, &mut bytes)?;
            for (n, entry) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let value = u64::from_be_bytes(*entry);
                if value & OFFSET == 0 {
                    continue;
                }
                match self.target(value & OFFSET) {
                    Err(what) => self.bad_entry(offset + n as u64 * 8, what, 0),
                    Ok(()) => {
                        let count = self.l2.entry(value & OFFSET).or_default();
                        *count = count.saturating_add(times);
                    }
                }
            }
        }
        Ok(())
    }

    fn bad_entry(&mut self, entry: u64, what: &'static str, should: u64) {
        self.report.found(Problem::Entry { entry, what });
        if self.bad_entries.len() < MOST_PROBLEMS {
            self.bad_entries.push((entry, should));
        }
    }

    /// Whether a cluster of data or an L2 table can be at an offset.
    fn target(&self, offset: u64) -> Result<(), &'static str> {
        let geometry = self.geometry();
        let cluster = offset >> geometry.cluster_bits;
        if !offset.is_multiple_of(geometry.cluster()) {
            Err("its offset is no offset of a cluster")
        } else if cluster >= self.file_clusters {
            Err("it refers to behind the end of the file")
        } else if self.structures.contains(&cluster) {
            Err("it refers to where a structure of the image is")
        } else {
            Ok(())
        }
    }

    /// Whether a cluster of data can be at an offset: where an L2 table can, but not where one is.
    fn data_target(&self, offset: u64) -> Result<(), &'static str> {
        self.target(offset)?;
        if self.l2.contains_key(&offset) { Err("it refers to where an L2 table is") } else { Ok(()) }
    }

    /// What a table refers to, which `times` others refer to.
    fn l2_table(&mut self, offset: u64, times: u32) -> Result<(), DiskError> {
        let geometry = self.geometry();
        self.counts.add(offset >> geometry.cluster_bits, 1, times);
        let mut bytes = vec![0; geometry.cluster() as usize];
        self.medium.read_bytes(offset, &mut bytes)?;
        let step = geometry.entry() as usize;
        for at in (0..bytes.len()).step_by(step) {
            let entry = be64(&bytes, at);
            if entry == 0 {
                continue;
            }
            let place = offset + at as u64;
            if entry & COMPRESSED != 0 {
                self.compressed(place, entry, times);
                continue;
            }
            let host = entry & OFFSET;
            if geometry.extended {
                let bitmap = be64(&bytes, at + 8);
                if bitmap & (bitmap >> 32) & u64::from(u32::MAX) != 0 {
                    self.bad_entry(
                        place + 8,
                        "a subcluster is both allocated and zero",
                        bitmap & !(bitmap >> 32),
                    );
                } else if host == 0 && bitmap & u64::from(u32::MAX) != 0 {
                    let should = bitmap & !u64::from(u32::MAX);
                    self.bad_entry(place + 8, "subclusters are allocated, but their cluster is not", should);
                }
            }
            if host == 0 {
                continue;
            }
            match self.data_target(host) {
                Ok(()) => {
                    self.counts.add(host >> geometry.cluster_bits, 1, times);
                    self.report.allocated += u64::from(geometry.extended || entry & ZERO == 0);
                }
                Err(what) => self.bad_entry(place, what, entry & ZERO),
            }
        }
        Ok(())
    }

    fn compressed(&mut self, place: u64, entry: u64, times: u32) {
        let geometry = self.geometry();
        let bits = 62 - (geometry.cluster_bits - 8);
        let offset = entry & ((1 << bits) - 1);
        let sectors = ((entry & (COMPRESSED - 1)) >> bits) + 1;
        let end = (offset & !511) + sectors * 512;
        let (first, last) = (offset >> geometry.cluster_bits, (end - 1) >> geometry.cluster_bits);
        let table = |c| self.structures.contains(&c) || self.l2.contains_key(&(c << geometry.cluster_bits));
        if last >= self.file_clusters || (first..=last).any(table) {
            self.bad_entry(place, "a compressed cluster cannot be there", 0);
        } else if entry & COPIED != 0 {
            self.bad_entry(place, "a compressed cluster has the COPIED flag", entry & !COPIED);
            self.counts.add(first, last - first + 1, times);
        } else {
            self.counts.add(first, last - first + 1, times);
            self.report.allocated += 1;
            self.report.compressed += 1;
        }
    }

    /// References of persistent bitmaps.
    fn bitmaps(&mut self) -> Result<(), DiskError> {
        let cluster = self.geometry().cluster();
        let extension = self.header.bitmaps.clone().unwrap_or_default();
        let (count, size, offset) = (be32(&extension, 0), be64(&extension, 8), be64(&extension, 16));
        let inside = |offset: u64, len: u64, most: u64| {
            let end = offset.checked_add(len);
            offset.is_multiple_of(cluster)
                && len <= most
                && end.is_some_and(|end| end.div_ceil(cluster) <= self.file_clusters)
        };
        if !inside(offset, size, 64 << 20) {
            self.report.found(Problem::Entry { entry: 0, what: "the bitmap directory cannot be there" });
            return Ok(());
        }
        let mut directory = vec![0; size as usize];
        self.medium.read_bytes(offset, &mut directory)?;
        let bits = self.geometry().cluster_bits;
        let mut used = vec![(offset >> bits, size.div_ceil(cluster))];
        let mut at = 0;
        let mut most = MOST_TABLES;
        for _ in 0..count.min(65535) {
            let Some(entry) = directory.get(at..at + 24) else { break };
            let (table, entries) = (be64(entry, 0), u64::from(be32(entry, 8)));
            let tail = u64::from(be32(entry, 16) & 0xffff) + u64::from(be32(entry, 20));
            if !inside(table, entries * 8, most) {
                let what = "a bitmap's table cannot be there";
                self.report.found(Problem::Entry { entry: offset + at as u64, what });
            } else {
                most -= entries * 8;
                used.push((table >> bits, (entries * 8).div_ceil(cluster)));
                let mut bytes = vec![0; (entries * 8) as usize];
                self.medium.read_bytes(table, &mut bytes)?;
                for data in bytes.as_chunks::<8>().0.iter().map(|b| u64::from_be_bytes(*b) & OFFSET) {
                    if data != 0 && inside(data, cluster, cluster) {
                        used.push((data >> bits, 1));
                    }
                }
            }
            at += (24 + tail.min(1 << 20) as usize).next_multiple_of(8);
        }
        for (first, clusters) in used {
            self.counts.add(first, clusters, 1);
        }
        Ok(())
    }

    /// What a cluster's refcount should be.
    pub(crate) fn should(&self, cluster: u64) -> u64 {
        self.counts.get(cluster) + self.own.get(cluster)
    }

    /// Compares the refcounts with what was counted.
    fn compare(&mut self) -> Result<(), DiskError> {
        let geometry = self.geometry();
        let per_block = geometry.block_entries();
        let mut report = std::mem::take(&mut self.report);
        let mut block = vec![0; geometry.cluster() as usize];
        for (n, offset) in self.table.iter().enumerate().filter(|(_, offset)| **offset != 0) {
            self.medium.read_bytes(*offset, &mut block)?;
            for index in 0..per_block {
                let cluster = n as u64 * per_block + index;
                let (refcount, references) =
                    (get(&block, geometry.refcount_order, index), self.should(cluster));
                let offset = cluster << geometry.cluster_bits;
                match refcount.cmp(&references) {
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Greater => {
                        report.found(Problem::Leak { offset, refcount, references })
                    }
                    std::cmp::Ordering::Less => {
                        report.found(Problem::Refcount { offset, refcount, references })
                    }
                }
            }
        }
        // Clusters without a block at all.
        for (cluster, _) in self.counts.iter().chain(self.own.iter()) {
            let index = usize::try_from(cluster / per_block).unwrap_or(usize::MAX);
            if self.table.get(index).is_none_or(|offset| *offset == 0) {
                let (offset, references) = (cluster << geometry.cluster_bits, self.should(cluster));
                report.found(Problem::Refcount { offset, refcount: 0, references });
                self.blocks_sound = false;
            }
        }
        self.report = report;
        Ok(())
    }

    /// Refcount of a cluster, as the file has it.
    fn refcount(&self, cache: &mut BTreeMap<u64, Vec<u8>>, cluster: u64) -> Result<u64, DiskError> {
        let geometry = self.geometry();
        let index = usize::try_from(cluster / geometry.block_entries()).unwrap_or(usize::MAX);
        let Some(offset) = self.table.get(index).copied().filter(|offset| *offset != 0) else { return Ok(0) };
        if cache.len() > 64 {
            cache.clear();
        }
        if let std::collections::btree_map::Entry::Vacant(place) = cache.entry(offset) {
            let mut block = vec![0; geometry.cluster() as usize];
            self.medium.read_bytes(offset, &mut block)?;
            place.insert(block);
        }
        let block = cache.get(&offset).map(Vec::as_slice).unwrap_or_default();
        Ok(get(block, geometry.refcount_order, cluster % geometry.block_entries()))
    }

    /// Looks at the COPIED flags of the active tables.
    fn copied(&mut self) -> Result<(), DiskError> {
        let mut cache = BTreeMap::new();
        let mut wrong = Vec::new();
        self.each_active(|check, entry, value| {
            let cluster = (value & OFFSET) >> check.geometry().cluster_bits;
            let should = check.refcount(&mut cache, cluster)? == 1;
            if should != (value & COPIED != 0) {
                wrong.push(Problem::Copied { entry, should });
            }
            Ok(())
        })?;
        wrong.into_iter().for_each(|problem| self.report.found(problem));
        Ok(())
    }

    /// Calls `f` for each sound, uncompressed entry of the active L1 table and its L2 tables, with its offset.
    pub(crate) fn each_active(
        &self,
        mut f: impl FnMut(&Self, u64, u64) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let geometry = self.geometry();
        let mut l1 = vec![0; self.header.l1_size as usize * 8];
        self.medium.read_bytes(self.header.l1_offset, &mut l1)?;
        let mut bytes = vec![0; geometry.cluster() as usize];
        let mut seen = HashSet::new();
        for (n, entry) in l1.as_chunks::<8>().0.iter().enumerate() {
            let value = u64::from_be_bytes(*entry);
            let table = value & OFFSET;
            if table == 0 || self.target(table).is_err() {
                continue;
            }
            f(self, self.header.l1_offset + n as u64 * 8, value)?;
            if !seen.insert(table) {
                continue;
            }
            self.medium.read_bytes(table, &mut bytes)?;
            for at in (0..bytes.len()).step_by(geometry.entry() as usize) {
                let value = be64(&bytes, at);
                let host = value & OFFSET;
                if value & COMPRESSED == 0 && host != 0 && self.data_target(host).is_ok() {
                    f(self, table + at as u64, value)?;
                }
            }
        }
        Ok(())
    }
}
