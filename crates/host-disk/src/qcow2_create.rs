//! Makes a new qcow2 image.

use crate::Medium;
use crate::disk::{DiskError, SECTOR};
use crate::qcow2_header::{Compression, EXTENDED_L2, Geometry, Header, MOST_L1};
use crate::qcow2_refs::put;

/// What a new image is to be.
#[derive(Clone, Debug)]
pub struct NewQcow2 {
    /// The disk's size in bytes.
    pub size: u64,
    /// Bytes of a cluster: a power of two from 512 to 2 MiB.
    pub cluster: u64,
    /// Bits of a refcount: a power of two from 1 to 64; 16 in version 2.
    pub refcount_bits: u32,
    /// 3, or 2 for QEMU before 1.1.
    pub version: u32,
    /// Subclusters.
    pub extended: bool,
    /// Name and format of the backing file.
    pub backing: Option<(String, String)>,
}

impl NewQcow2 {
    /// An image of this size, as `qemu-img create` makes it if nothing is said.
    pub fn new(size: u64) -> Self {
        NewQcow2 { size, cluster: 65536, refcount_bits: 16, version: 3, extended: false, backing: None }
    }

    fn geometry(&self) -> Result<Geometry, DiskError> {
        let good = |good: bool, what| if good { Ok(()) } else { Err(DiskError::Unsupported(what)) };
        let sizes = self.cluster.is_power_of_two() && (512..=2 << 20).contains(&self.cluster);
        good(sizes, "a cluster has 512 bytes to 2 MiB, a power of two")?;
        let bits = self.refcount_bits.is_power_of_two() && self.refcount_bits <= 64;
        good(bits, "a refcount has 1 to 64 bits, a power of two")?;
        good(matches!(self.version, 2 | 3), "a qcow2 image has version 2 or 3")?;
        let old = self.version == 2 && (self.refcount_bits != 16 || self.extended);
        good(!old, "version 2 has refcounts of 16 bits and no subclusters")?;
        good(!self.extended || self.cluster >= 16384, "subclusters need clusters of at least 16 KiB")?;
        Ok(Geometry {
            cluster_bits: self.cluster.trailing_zeros(),
            refcount_order: self.refcount_bits.trailing_zeros(),
            extended: self.extended,
            version: self.version,
            compression: Compression::Deflate,
        })
    }

    /// Writes the image to an empty medium.
    ///
    /// # Errors
    /// If there is no such image, or the host cannot write it.
    pub fn create(&self, medium: &dyn Medium) -> Result<Header, DiskError> {
        let geometry = self.geometry()?;
        let cluster = geometry.cluster();
        let size = self.size.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        let l1_size = geometry.l1_entries(size);
        if size > i64::MAX as u64 - cluster || l1_size * 8 > MOST_L1 {
            return Err(DiskError::Unsupported("a disk of that size needs larger clusters"));
        }
        // In this order: header, refcount table, its blocks, L1 table.
        let l1 = (l1_size * 8).div_ceil(cluster).max(1);
        let (mut blocks, mut table) = (1, 1);
        loop {
            let clusters = 1 + table + blocks + l1;
            let (b, t) = (clusters.div_ceil(geometry.block_entries()), (blocks * 8).div_ceil(cluster));
            if (b, t) == (blocks, table) {
                break;
            }
            (blocks, table) = (b.max(blocks), t.max(table));
        }
        let (reftable, first_block) = (cluster, (1 + table) << geometry.cluster_bits);
        let mut entries = Vec::new();
        for n in 0..blocks {
            entries.extend((first_block + n * cluster).to_be_bytes());
            let mut block = vec![0; cluster as usize];
            for index in 0..geometry.block_entries() {
                if n * geometry.block_entries() + index < 1 + table + blocks + l1 {
                    let (at, bytes) = put(&block, geometry.refcount_order, index, 1);
                    if let Some(place) = block.get_mut(at..at + bytes.len()) {
                        place.copy_from_slice(&bytes);
                    }
                }
            }
            medium.write_bytes(first_block + n * cluster, &block)?;
        }
        medium.write_bytes(reftable, &entries)?;
        let header = Header {
            geometry,
            backing: self.backing.as_ref().map(|(name, _)| name.clone()),
            backing_format: self.backing.as_ref().map(|(_, format)| format.clone()),
            size,
            l1_size: l1_size as u32,
            l1_offset: first_block + blocks * cluster,
            reftable_offset: reftable,
            reftable_clusters: table as u32,
            snapshots: 0,
            snapshots_offset: 0,
            incompatible: if self.extended { EXTENDED_L2 } else { 0 },
            compatible: 0,
            autoclear: 0,
            bitmaps: None,
        };
        medium.set_len((1 + table + blocks + l1) * cluster)?;
        let bytes = header.to_bytes();
        if bytes.len() as u64 > cluster {
            return Err(DiskError::Unsupported(
                "the backing file's name does not fit into a cluster of that size",
            ));
        }
        // Until it is there, nobody takes the file for an image.
        medium.sync()?;
        medium.write_bytes(0, &bytes)?;
        medium.sync()?;
        Ok(header)
    }
}
