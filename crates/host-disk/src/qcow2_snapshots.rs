//! Internal snapshots of a qcow2 image: their table, and where their L1 tables are.
//!
//! Source: "Qcow2 Image File Format", section "Snapshots". Limits on sizes are QEMU's.

use crate::qcow2_header::{Header, MOST_L1, MOST_SNAPSHOTS, be32, be64};
use crate::{DiskError, Medium};
use std::collections::BTreeMap;

/// Most bytes of L1 tables, each counted once, however many snapshots name it.
pub const MOST_TABLES: u64 = 1 << 30;
/// Most bytes of the snapshot table.
const MOST_BYTES: u64 = MOST_SNAPSHOTS as u64 * 1024;
/// Most extra data of an entry; QEMU writes 24 bytes.
const MOST_EXTRA: u64 = 1024;

/// Who names an L1 table.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// How many snapshots do.
    pub times: u32,
    /// Offset of the first one's entry.
    pub entry: u64,
}

/// What the snapshot table says.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Bytes of the table.
    pub len: u64,
    /// The distinct L1 tables: offset, and how many entries.
    pub tables: BTreeMap<(u64, u64), Named>,
    /// Offsets of entries whose L1 table cannot be in the file.
    pub bad: Vec<u64>,
}

impl Snapshots {
    /// Reads the table.
    ///
    /// # Errors
    /// If it cannot be read, or it and the L1 tables are longer than any sound image has them.
    pub fn read(medium: &dyn Medium, header: &Header) -> Result<Self, DiskError> {
        let cluster = header.geometry.cluster();
        let file_clusters = medium.len()?.div_ceil(cluster);
        let mut found = Snapshots::default();
        let (mut at, mut bytes) = (header.snapshots_offset, 0);
        for _ in 0..header.snapshots {
            let mut entry = [0; 40];
            medium.read_bytes(at, &mut entry)?;
            let (offset, size, extra) =
                (be64(&entry, 0), u64::from(be32(&entry, 8)), u64::from(be32(&entry, 36)));
            let names = u64::from(be32(&entry, 12) >> 16) + u64::from(be32(&entry, 12) & 0xffff);
            let end = offset.checked_add(size * 8);
            let inside = end.is_some_and(|end| end.div_ceil(cluster) <= file_clusters);
            if extra > MOST_EXTRA || size * 8 > MOST_L1 || !offset.is_multiple_of(cluster) || !inside {
                found.bad.push(at);
            } else if size > 0 {
                let named = found.tables.entry((offset, size)).or_insert_with(|| {
                    bytes += size * 8;
                    Named { times: 0, entry: at }
                });
                named.times += 1;
            }
            at = (at + 40 + extra.min(MOST_EXTRA) + names).next_multiple_of(8);
            found.len = at - header.snapshots_offset;
            if found.len > MOST_BYTES || bytes > MOST_TABLES {
                return Err(DiskError::Unsupported(
                    "an image with more than 64 MiB of snapshot table or 1 GiB of L1 tables",
                ));
            }
        }
        Ok(found)
    }
}
