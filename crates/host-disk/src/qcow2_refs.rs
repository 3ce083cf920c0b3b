//! Refcounts of a qcow2 image: which clusters are in use, and where free ones are.
//!
//! Source: "Qcow2 Image File Format", section "Host cluster management".

use crate::qcow2_header::{Geometry, Header, MOST_REFTABLE};
use crate::qcow2_tables::Tables;
use crate::{DiskError, Medium};
use std::collections::{BTreeSet, HashSet};

/// The bits of an entry of the refcount table that are an offset.
pub const BLOCK_OFFSET: u64 = !0x1ff;

/// A run of clusters: the first one's number, and how many.
pub type Run = (u64, u64);

/// The refcount table and its blocks.
#[derive(Debug)]
pub struct Refs {
    geometry: Geometry,
    table: Vec<u64>,
    table_offset: u64,
    /// Entries of the table that the file does not have yet.
    pub changed: BTreeSet<usize>,
    /// Whether the whole table is at another place than the file's header says.
    pub moved: bool,
    /// The blocks in memory.
    pub blocks: Tables,
    /// No cluster before it is free.
    cursor: u64,
    /// Offsets of the clusters that hold tables; nothing else is ever put there.
    pub reserved: HashSet<u64>,
    /// The old table's clusters, when it has moved.
    pub left: Vec<Run>,
}

/// Reads refcount number `index` of a block.
pub fn get(block: &[u8], order: u32, index: u64) -> u64 {
    let index = index as usize;
    let bytes = |len: usize| {
        let bytes = block.get(index * len..(index + 1) * len).unwrap_or_default();
        bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    match order {
        0..3 => {
            // Fields of less than a byte begin at its least significant bit.
            let per_byte = 8 >> order;
            let byte = block.get(index / per_byte).copied().unwrap_or(0);
            u64::from(byte) >> ((index % per_byte) << order) & ((1 << (1 << order)) - 1)
        }
        3 => bytes(1),
        4 => bytes(2),
        5 => bytes(4),
        _ => bytes(8),
    }
}

/// Where refcount `index` of a block is, and the bytes there when it is `value`.
pub fn put(block: &[u8], order: u32, index: u64, value: u64) -> (usize, Vec<u8>) {
    if order < 3 {
        let per_byte = 8 >> order;
        let (at, shift) = (index as usize / per_byte, (index as usize % per_byte) << order);
        let mask = ((1_u16 << (1 << order)) - 1) as u8;
        let byte = block.get(at).copied().unwrap_or(0);
        return (at, vec![byte & !(mask << shift) | (value as u8 & mask) << shift]);
    }
    let len = 1 << (order - 3);
    (index as usize * len, value.to_be_bytes().get(8 - len..).unwrap_or_default().to_vec())
}

fn corrupt(what: &'static str, offset: u64) -> DiskError {
    DiskError::Corrupt { what, offset }
}

impl Refs {
    /// The refcounts of an image. `reserved`: the clusters of its other tables.
    ///
    /// # Errors
    /// If the table cannot be read, or a block is where something else is.
    pub fn load(medium: &dyn Medium, header: &Header, mut reserved: HashSet<u64>) -> Result<Self, DiskError> {
        let geometry = header.geometry;
        let cluster = geometry.cluster();
        let mut bytes = vec![0; (u64::from(header.reftable_clusters) << geometry.cluster_bits) as usize];
        medium.read_bytes(header.reftable_offset, &mut bytes)?;
        let table: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_be_bytes(*b)).collect();
        for n in 0..u64::from(header.reftable_clusters) {
            let offset = header.reftable_offset + (n << geometry.cluster_bits);
            if !reserved.insert(offset) {
                return Err(corrupt("the refcount table overlaps another table", offset));
            }
        }
        for entry in table.iter().filter(|entry| **entry != 0) {
            let offset = entry & BLOCK_OFFSET;
            if !offset.is_multiple_of(cluster) || offset == 0 || offset > i64::MAX as u64 {
                return Err(corrupt("a refcount block's offset is wrong", offset));
            }
            if !reserved.insert(offset) {
                return Err(corrupt("a refcount block is where another table is", offset));
            }
        }
        Ok(Refs {
            geometry,
            table,
            table_offset: header.reftable_offset,
            changed: BTreeSet::new(),
            moved: false,
            blocks: Tables::new(cluster),
            cursor: 1,
            reserved,
            left: Vec::new(),
        })
    }

    /// The table as the file has it, with its offset and its clusters.
    pub fn table(&self) -> (u64, u64, &[u64]) {
        (self.table_offset, (self.table.len() as u64 * 8) >> self.geometry.cluster_bits, &self.table)
    }

    /// Whether anything is to be written.
    pub fn is_dirty(&self) -> bool {
        self.moved || !self.changed.is_empty() || self.blocks.is_dirty()
    }

    fn block(&self, cluster: u64) -> Option<u64> {
        let index = usize::try_from(cluster / self.geometry.block_entries()).ok()?;
        self.table.get(index).map(|entry| entry & BLOCK_OFFSET).filter(|offset| *offset != 0)
    }

    /// How often a cluster is referred to.
    ///
    /// # Errors
    /// What the host says.
    pub fn count(&mut self, medium: &dyn Medium, cluster: u64) -> Result<u64, DiskError> {
        let Some(block) = self.block(cluster) else { return Ok(0) };
        let index = cluster % self.geometry.block_entries();
        Ok(get(self.blocks.bytes(medium, block)?, self.geometry.refcount_order, index))
    }

    fn set(&mut self, medium: &dyn Medium, cluster: u64, value: u64) -> Result<(), DiskError> {
        let Some(block) = self.block(cluster) else {
            return Err(corrupt("a cluster in use has no refcount", cluster << self.geometry.cluster_bits));
        };
        let index = cluster % self.geometry.block_entries();
        let (at, bytes) = put(self.blocks.bytes(medium, block)?, self.geometry.refcount_order, index, value);
        Ok(self.blocks.set(medium, block, at, &bytes)?)
    }

    /// Takes at least one and at most `want` free clusters in one run.
    ///
    /// # Errors
    /// If there can be no more, or a cluster that counts as free holds a table.
    pub fn allocate(&mut self, medium: &dyn Medium, want: u64) -> Result<Run, DiskError> {
        let mut first = self.cursor;
        loop {
            self.cover(medium, first)?;
            if self.count(medium, first)? == 0 {
                break;
            }
            first += 1;
            self.cursor = first;
        }
        let mut count = 1;
        while count < want && self.block(first + count).is_some() && self.count(medium, first + count)? == 0 {
            count += 1;
        }
        for cluster in first..first + count {
            self.vacant(cluster)?;
            self.set(medium, cluster, 1)?;
        }
        self.cursor = first + count;
        Ok((first, count))
    }

    /// Refuses a cluster that holds a table, whatever the refcounts say.
    fn vacant(&self, cluster: u64) -> Result<(), DiskError> {
        let offset = cluster << self.geometry.cluster_bits;
        if cluster > i64::MAX as u64 >> self.geometry.cluster_bits {
            return Err(DiskError::Unsupported("the image would be larger than a file can be"));
        }
        match self.reserved.contains(&offset) {
            true => Err(corrupt("a table's cluster counts as free", offset)),
            false => Ok(()),
        }
    }

    /// Makes sure that there is a refcount for a cluster. If there was no block, it may now be in that very cluster.
    fn cover(&mut self, medium: &dyn Medium, cluster: u64) -> Result<(), DiskError> {
        if self.block(cluster).is_some() {
            return Ok(());
        }
        let index = cluster / self.geometry.block_entries();
        if index >= self.table.len() as u64 {
            return self.grow(medium, cluster);
        }
        self.vacant(cluster)?;
        self.new_block(index as usize, cluster);
        self.set(medium, cluster, 1)
    }

    fn new_block(&mut self, index: usize, at: u64) {
        let offset = at << self.geometry.cluster_bits;
        self.blocks.insert(offset, vec![0; self.geometry.cluster() as usize].into());
        self.reserved.insert(offset);
        if let Some(entry) = self.table.get_mut(index) {
            *entry = offset;
        }
        self.changed.insert(index);
    }

    /// Moves the table to a larger place, from `start` on, with the blocks for that place behind it. Nothing from there on
    /// has a refcount.
    fn grow(&mut self, medium: &dyn Medium, start: u64) -> Result<(), DiskError> {
        let per_block = self.geometry.block_entries();
        let (mut table, mut blocks) = (1, 1);
        loop {
            let last = (start + table + blocks - 1) / per_block;
            let clusters = ((last + 1) * 8).div_ceil(self.geometry.cluster());
            // Half as large again, so that it is not needed soon.
            let (t, b) = (clusters + clusters / 2, last - start / per_block + 1);
            if t <= table && b <= blocks {
                break;
            }
            (table, blocks) = (table.max(t), blocks.max(b));
        }
        if table << self.geometry.cluster_bits > MOST_REFTABLE {
            return Err(DiskError::Unsupported(
                "the image would need a larger refcount table than QEMU takes",
            ));
        }
        for cluster in start..start + table + blocks {
            self.vacant(cluster)?;
        }
        let (old, clusters, _) = self.table();
        self.left.push((old >> self.geometry.cluster_bits, clusters));
        self.table.resize((table << self.geometry.cluster_bits) as usize / 8, 0);
        self.table_offset = start << self.geometry.cluster_bits;
        self.moved = true;
        for n in 0..blocks {
            self.new_block((start / per_block + n) as usize, start + table + n);
        }
        for cluster in start..start + table + blocks {
            self.reserved.insert(cluster << self.geometry.cluster_bits);
            self.set(medium, cluster, 1)?;
        }
        Ok(())
    }

    /// One reference less to a cluster; true if that was the last one.
    ///
    /// # Errors
    /// If there was none, or the host cannot read the block.
    pub fn release(&mut self, medium: &dyn Medium, cluster: u64) -> Result<bool, DiskError> {
        let offset = cluster << self.geometry.cluster_bits;
        match self.count(medium, cluster)? {
            0 => Err(corrupt("a cluster in use counts as free", offset)),
            1 => {
                self.set(medium, cluster, 0)?;
                self.reserved.remove(&offset);
                self.cursor = self.cursor.min(cluster);
                Ok(true)
            }
            more => self.set(medium, cluster, more - 1).map(|()| false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcounts_of_every_width_are_where_the_format_has_them() {
        for order in 0..=6 {
            let mut block = vec![0; 512];
            let most = u64::MAX >> (64 - (1_u32 << order));
            for index in [0, 1, 5, 60] {
                let (at, bytes) = put(&block, order, index, most);
                block[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            for index in 0..64 {
                let expected = if [0, 1, 5, 60].contains(&index) { most } else { 0 };
                assert_eq!(get(&block, order, index), expected, "order {order}, index {index}");
            }
            let (at, bytes) = put(&block, order, 5, 1.min(most));
            block[at..at + bytes.len()].copy_from_slice(&bytes);
            assert_eq!((get(&block, order, 5), get(&block, order, 1)), (1, most));
        }
        // 2 bits: entry 1 is bits 2 and 3 of byte 0. 16 bits: big-endian.
        assert_eq!(get(&[0b0000_1000], 1, 1), 2);
        assert_eq!(get(&[0, 0, 1, 2], 4, 1), 0x102);
    }
}
