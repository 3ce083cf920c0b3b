//! Tables of one cluster each, by their offset: a cache that remembers which parts were changed.

use crate::Medium;
use crate::qcow2_header::be64;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::ops::Range;

/// A table in memory.
#[derive(Debug)]
struct Table {
    bytes: Box<[u8]>,
    /// The part that was changed, in whole sectors.
    dirty: Option<Range<usize>>,
    /// Whether the file may be older than what is here, though nothing is marked: it is being written.
    pinned: bool,
    used: u64,
}

/// Bytes that a place in the file is to have.
pub type Patch = (u64, Vec<u8>);

/// What is in memory of a kind of table.
#[derive(Debug)]
pub struct Tables {
    tables: HashMap<u64, Table>,
    cluster: usize,
    /// How many clean tables are kept at most.
    most: usize,
    tick: u64,
    dirty: usize,
}

/// Most bytes of tables of one kind that are kept for the case that they are needed again.
const MOST_BYTES: usize = 32 << 20;
/// Most tables, as finding the oldest takes a look at each.
const MOST_TABLES: usize = 4096;

impl Tables {
    /// No tables, of `cluster` bytes each.
    pub fn new(cluster: u64) -> Self {
        let cluster = cluster as usize;
        let most = (MOST_BYTES / cluster.max(1)).clamp(4, MOST_TABLES);
        Tables { tables: HashMap::new(), cluster, most, tick: 0, dirty: 0 }
    }

    /// Whether so much is changed that it should be written before more is.
    pub fn is_full(&self) -> bool {
        self.dirty >= self.most / 2
    }

    /// Whether anything is changed.
    pub fn is_dirty(&self) -> bool {
        self.dirty > 0
    }

    /// Eight bytes of a table, big-endian; `None` if it is not in memory.
    pub fn peek(&mut self, offset: u64, at: usize) -> Option<u64> {
        self.tick += 1;
        let table = self.tables.get_mut(&offset)?;
        table.used = self.tick;
        Some(be64(&table.bytes, at))
    }

    /// All bytes of a table, which is read if it is not in memory.
    ///
    /// # Errors
    /// What the host says.
    pub fn bytes(&mut self, medium: &dyn Medium, offset: u64) -> io::Result<&mut Box<[u8]>> {
        self.tick += 1;
        let tick = self.tick;
        if !self.tables.contains_key(&offset) {
            self.make_room();
        }
        let table = match self.tables.entry(offset) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let mut bytes = vec![0; self.cluster].into_boxed_slice();
                medium.read_bytes(offset, &mut bytes)?;
                place.insert(Table { bytes, dirty: None, pinned: false, used: tick })
            }
        };
        table.used = tick;
        Ok(&mut table.bytes)
    }

    /// Eight bytes of a table, big-endian.
    ///
    /// # Errors
    /// What the host says.
    pub fn get(&mut self, medium: &dyn Medium, offset: u64, at: usize) -> io::Result<u64> {
        Ok(be64(self.bytes(medium, offset)?, at))
    }

    /// Changes bytes of a table.
    ///
    /// # Errors
    /// What the host says when the table is read.
    pub fn set(&mut self, medium: &dyn Medium, offset: u64, at: usize, value: &[u8]) -> io::Result<()> {
        let bytes = self.bytes(medium, offset)?;
        let place = bytes.get_mut(at..at + value.len()).ok_or(io::ErrorKind::InvalidInput)?;
        if place != value {
            place.copy_from_slice(value);
            self.mark(offset, at..at + value.len());
        }
        Ok(())
    }

    fn mark(&mut self, offset: u64, range: Range<usize>) {
        let Some(table) = self.tables.get_mut(&offset) else { return };
        let range = range.start & !511..range.end.next_multiple_of(512).min(table.bytes.len());
        table.dirty = Some(match table.dirty.take() {
            Some(old) => old.start.min(range.start)..old.end.max(range.end),
            None => {
                self.dirty += 1;
                range
            }
        });
    }

    /// A table that is new, all of it changed.
    pub fn insert(&mut self, offset: u64, bytes: Box<[u8]>) {
        self.make_room();
        self.forget(offset);
        let len = bytes.len();
        self.tables.insert(offset, Table { bytes, dirty: None, pinned: false, used: self.tick });
        self.mark(offset, 0..len);
    }

    /// Drops a table that is none any more.
    pub fn forget(&mut self, offset: u64) {
        if self.tables.remove(&offset).is_some_and(|table| table.dirty.is_some()) {
            self.dirty -= 1;
        }
    }

    fn make_room(&mut self) {
        if self.tables.len() < self.most {
            return;
        }
        let clean = self.tables.iter().filter(|(_, table)| table.dirty.is_none() && !table.pinned);
        // Changed tables stay, so that there may be more of them; who changes them looks at `is_full`.
        if let Some(oldest) = clean.min_by_key(|(_, table)| table.used).map(|(offset, _)| *offset) {
            self.tables.remove(&oldest);
        }
    }

    /// All that was changed, in the order of the file: the table, and what of it. What is taken counts as written, but
    /// stays in memory until [`Tables::unpin`].
    pub fn take(&mut self) -> Vec<(u64, Patch)> {
        let mut patches = Vec::new();
        for (offset, table) in self.tables.iter_mut().filter(|(_, table)| table.dirty.is_some()) {
            if let Some(range) = table.dirty.take() {
                table.pinned = true;
                let bytes = table.bytes.get(range.clone()).unwrap_or_default().to_vec();
                patches.push((*offset, (offset + range.start as u64, bytes)));
            }
        }
        self.dirty = 0;
        patches.sort_unstable_by_key(|(_, (at, _))| *at);
        patches
    }

    /// What was taken is in the file.
    pub fn unpin(&mut self) {
        self.tables.values_mut().for_each(|table| table.pinned = false);
    }
}
