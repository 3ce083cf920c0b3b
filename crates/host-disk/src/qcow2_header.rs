//! The header of a qcow2 image: read, checked, written.
//!
//! Source: "Qcow2 Image File Format" (docs/interop/qcow2.txt of QEMU), sections "Header", "Feature name table", "Header
//! extensions" and "Host cluster management". Limits on sizes are QEMU's, so that no image is refused that it takes.

use crate::Medium;
use std::io;

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Incompatible feature: refcounts may be wrong, scan the image before relying on them.
pub const DIRTY: u64 = 1 << 0;
/// Incompatible feature: the image's structures are wrong; it must not be written.
pub const CORRUPT: u64 = 1 << 1;
/// Incompatible feature: data is in another file.
pub const DATA_FILE: u64 = 1 << 2;
/// Incompatible feature: the header names a compression type.
pub const COMPRESSION: u64 = 1 << 3;
/// Incompatible feature: L2 entries of 16 bytes with subclusters.
pub const EXTENDED_L2: u64 = 1 << 4;
/// Autoclear feature: the bitmaps extension is as new as the data.
pub const BITMAPS: u64 = 1 << 0;

/// Most bytes of an L1 table.
pub const MOST_L1: u64 = 32 << 20;
/// Most bytes of a refcount table.
pub const MOST_REFTABLE: u64 = 8 << 20;
/// Most internal snapshots.
pub const MOST_SNAPSHOTS: u32 = 65536;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_FEATURES: u32 = 0x6803_f857;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It does not begin as one.
    #[error("it is no qcow2 image")]
    NoQcow2,
    /// A field contradicts the format.
    #[error("the qcow2 header is corrupt: {0}")]
    Corrupt(&'static str),
    /// The format allows it, and we do not have it.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A feature that came after us.
    #[error("the image needs features that are not known here: {0}")]
    Unknown(String),
    /// The host.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Raw deflate.
    Deflate,
    /// Zstandard frames.
    Zstd,
}

/// Numbers that follow from the header and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Logarithm of a cluster's bytes: 9 to 21.
    pub cluster_bits: u32,
    /// Logarithm of a refcount's bits: 0 to 6.
    pub refcount_order: u32,
    /// Whether L2 entries have subclusters.
    pub extended: bool,
    /// 2 or 3.
    pub version: u32,
    /// How clusters are compressed.
    pub compression: Compression,
}

impl Geometry {
    /// Bytes of a cluster.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an L2 entry.
    pub fn entry(&self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    /// Entries of an L2 table.
    pub fn l2_entries(&self) -> u64 {
        self.cluster() / self.entry()
    }

    /// Guest bytes that an L2 table maps.
    pub fn l2_span(&self) -> u64 {
        self.l2_entries() << self.cluster_bits
    }

    /// Refcounts in a block.
    pub fn block_entries(&self) -> u64 {
        (self.cluster() * 8) >> self.refcount_order
    }

    /// The largest refcount.
    pub fn most_references(&self) -> u64 {
        u64::MAX >> (64 - (1_u32 << self.refcount_order))
    }

    /// L1 entries that a disk of `size` bytes needs.
    pub fn l1_entries(&self, size: u64) -> u64 {
        size.div_ceil(self.l2_span())
    }
}

/// A header.
#[derive(Clone, Debug)]
pub struct Header {
    /// What never changes.
    pub geometry: Geometry,
    /// Name of the backing file.
    pub backing: Option<String>,
    /// Its format, as the extension says.
    pub backing_format: Option<String>,
    /// The disk's size in bytes.
    pub size: u64,
    /// Entries of the L1 table.
    pub l1_size: u32,
    /// Offset of the L1 table.
    pub l1_offset: u64,
    /// Offset of the refcount table.
    pub reftable_offset: u64,
    /// Clusters of the refcount table.
    pub reftable_clusters: u32,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// Offset of their table.
    pub snapshots_offset: u64,
    /// Incompatible features.
    pub incompatible: u64,
    /// Compatible features.
    pub compatible: u64,
    /// Autoclear features.
    pub autoclear: u64,
    /// The bitmaps extension's contents.
    pub bitmaps: Option<Vec<u8>>,
}

/// Big-endian fields of a byte string; what is not there is zero.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
}

/// As [`be32`], of eight bytes.
pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b))
}

fn demand(good: bool, what: &'static str) -> Result<(), HeaderError> {
    if good { Ok(()) } else { Err(HeaderError::Corrupt(what)) }
}

impl Header {
    /// Reads and checks the header of an image.
    ///
    /// # Errors
    /// If it is none, contradicts itself, or needs what is not supported.
    pub fn read(medium: &dyn Medium) -> Result<Self, HeaderError> {
        let mut fixed = [0; 112];
        medium.read_bytes(0, &mut fixed)?;
        if !fixed.starts_with(&MAGIC) {
            return Err(HeaderError::NoQcow2);
        }
        let version = be32(&fixed, 4);
        if !matches!(version, 2 | 3) {
            return Err(HeaderError::Unsupported("a qcow2 version other than 2 and 3"));
        }
        let cluster_bits = be32(&fixed, 20);
        demand((9..=21).contains(&cluster_bits), "the cluster size is not one of 512 bytes to 2 MiB")?;
        let new = version == 3;
        let mut incompatible = if new { be64(&fixed, 72) } else { 0 };
        let header_len = if new { be32(&fixed, 100) } else { 72 };
        let sound =
            header_len.is_multiple_of(8) && (!new || header_len >= 104) && header_len <= 1 << cluster_bits;
        demand(sound, "its length is wrong")?;
        let compression = if header_len > 104 { fixed.get(104).copied().unwrap_or(0) } else { 0 };
        let named = incompatible & COMPRESSION != 0;
        demand(
            (compression != 0) == named,
            "the compression type and its feature bit contradict each other",
        )?;
        let compression = match compression {
            0 => Compression::Deflate,
            1 => Compression::Zstd,
            _ => return Err(HeaderError::Unsupported("its compression type")),
        };
        let refcount_order = if new { be32(&fixed, 96) } else { 4 };
        demand(refcount_order <= 6, "refcounts have more than 64 bits")?;
        let extended = incompatible & EXTENDED_L2 != 0;
        demand(!extended || cluster_bits >= 14, "subclusters need clusters of at least 16 KiB")?;
        let geometry = Geometry { cluster_bits, refcount_order, extended, version, compression };
        let mut header = Header {
            geometry,
            backing: None,
            backing_format: None,
            size: be64(&fixed, 24),
            l1_size: be32(&fixed, 36),
            l1_offset: be64(&fixed, 40),
            reftable_offset: be64(&fixed, 48),
            reftable_clusters: be32(&fixed, 56),
            snapshots: be32(&fixed, 60),
            snapshots_offset: be64(&fixed, 64),
            incompatible,
            compatible: if new { be64(&fixed, 80) } else { 0 },
            autoclear: if new { be64(&fixed, 88) } else { 0 },
            bitmaps: None,
        };
        let mut cluster = vec![0; geometry.cluster() as usize];
        medium.read_bytes(0, &mut cluster)?;
        incompatible &= !(DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2);
        let features = header.extensions(&cluster, header_len as usize)?;
        if incompatible != 0 {
            return Err(HeaderError::Unknown(names(&features, incompatible)));
        }
        if header.incompatible & DATA_FILE != 0 {
            return Err(HeaderError::Unsupported("a qcow2 image whose data is in another file (data_file)"));
        }
        match be32(&fixed, 32) {
            0 => {}
            1 | 2 => return Err(HeaderError::Unsupported("an encrypted qcow2 image")),
            _ => return Err(HeaderError::Corrupt("its encryption is unknown")),
        }
        header.backing = backing(&cluster, be64(&fixed, 8), be32(&fixed, 16))?;
        header.check()?;
        Ok(header)
    }

    /// Reads the extensions; gives the contents of the feature name table.
    fn extensions(&mut self, cluster: &[u8], from: usize) -> Result<Vec<u8>, HeaderError> {
        let mut features = Vec::new();
        let mut at = from;
        while let Some(head) = cluster.get(at..at + 8) {
            let (kind, len) = (be32(head, 0), be32(head, 4) as usize);
            if kind == EXTENSION_END {
                break;
            }
            let contents = at.checked_add(8 + len).and_then(|end| cluster.get(at + 8..end));
            let Some(contents) = contents else {
                return Err(HeaderError::Corrupt("an extension is longer than the first cluster"));
            };
            match kind {
                EXTENSION_BACKING_FORMAT => {
                    self.backing_format = Some(String::from_utf8_lossy(contents).into_owned());
                }
                EXTENSION_FEATURES => features = contents.to_vec(),
                EXTENSION_BITMAPS => self.bitmaps = Some(contents.to_vec()),
                _ => {}
            }
            at += 8 + len.next_multiple_of(8);
        }
        Ok(features)
    }

    /// What must hold whatever the tables say.
    fn check(&self) -> Result<(), HeaderError> {
        let cluster = self.geometry.cluster();
        demand(self.size <= i64::MAX as u64 - cluster, "the disk is too large")?;
        demand(u64::from(self.l1_size) * 8 <= MOST_L1, "the L1 table is too large")?;
        demand(self.geometry.l1_entries(self.size) <= u64::from(self.l1_size), "the L1 table is too short")?;
        let table = |offset: u64, len: u64, what| {
            let end = offset.checked_add(len).filter(|end| *end <= i64::MAX as u64);
            demand(offset.is_multiple_of(cluster) && end.is_some() && (len == 0 || offset > 0), what)
        };
        table(self.l1_offset, u64::from(self.l1_size) * 8, "the L1 table's offset is wrong")?;
        let reftable = u64::from(self.reftable_clusters) * cluster;
        demand(reftable > 0 && reftable <= MOST_REFTABLE.max(cluster), "the refcount table's size is wrong")?;
        table(self.reftable_offset, reftable, "the refcount table's offset is wrong")?;
        demand(self.snapshots <= MOST_SNAPSHOTS, "it has too many snapshots")?;
        let snapshots = u64::from(self.snapshots) * 40;
        table(self.snapshots_offset, snapshots, "the snapshot table's offset is wrong")
    }

    /// The first cluster of a new image, without what of it stays zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let geometry = &self.geometry;
        let new = geometry.version == 3;
        let mut bytes = vec![0; if new { 112 } else { 72 }];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(0, &MAGIC);
        put(4, &geometry.version.to_be_bytes());
        put(20, &geometry.cluster_bits.to_be_bytes());
        put(24, &self.size.to_be_bytes());
        put(36, &self.l1_size.to_be_bytes());
        put(40, &self.l1_offset.to_be_bytes());
        put(48, &self.reftable_offset.to_be_bytes());
        put(56, &self.reftable_clusters.to_be_bytes());
        put(60, &self.snapshots.to_be_bytes());
        put(64, &self.snapshots_offset.to_be_bytes());
        if new {
            put(72, &self.incompatible.to_be_bytes());
            put(80, &self.compatible.to_be_bytes());
            put(88, &self.autoclear.to_be_bytes());
            put(96, &geometry.refcount_order.to_be_bytes());
            put(100, &112_u32.to_be_bytes());
            put(104, &[u8::from(geometry.compression == Compression::Zstd)]);
        }
        if let Some(format) = &self.backing_format {
            extension(&mut bytes, EXTENSION_BACKING_FORMAT, format.as_bytes());
        }
        if new {
            extension(&mut bytes, EXTENSION_FEATURES, &feature_names());
        }
        extension(&mut bytes, EXTENSION_END, &[]);
        if let Some(name) = &self.backing {
            let at = bytes.len() as u64;
            bytes.extend(name.as_bytes());
            let fields = [(8, &at.to_be_bytes()[..]), (16, &(name.len() as u32).to_be_bytes()[..])];
            for (place, value) in fields {
                if let Some(place) = bytes.get_mut(place..place + value.len()) {
                    place.copy_from_slice(value);
                }
            }
        }
        bytes
    }
}

fn extension(bytes: &mut Vec<u8>, kind: u32, contents: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend((contents.len() as u32).to_be_bytes());
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// What others are told of the bits that are set here.
fn feature_names() -> Vec<u8> {
    let names: [(u8, u8, &str); 7] = [
        (0, 0, "dirty bit"),
        (0, 1, "corrupt bit"),
        (0, 2, "external data file"),
        (0, 3, "compression type"),
        (0, 4, "extended L2 entries"),
        (1, 0, "lazy refcounts"),
        (2, 0, "bitmaps"),
    ];
    let entry = |(kind, bit, name): (u8, u8, &str)| {
        let mut entry = vec![kind, bit];
        entry.extend(name.as_bytes());
        entry.resize(48, 0);
        entry
    };
    names.into_iter().flat_map(entry).collect()
}

/// The names of these incompatible features, as the image's own table has them.
fn names(table: &[u8], bits: u64) -> String {
    let named = |bit: u32| {
        let entry = table.chunks_exact(48).find(|e| e.first() == Some(&0) && e.get(1) == Some(&(bit as u8)));
        let name = entry.and_then(|e| e.get(2..)).unwrap_or_default();
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        // What an image says goes to a terminal: letters only.
        let name = String::from_utf8_lossy(name);
        let name: String = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        if name.is_empty() { format!("bit {bit}") } else { name }
    };
    let set = (0..64).filter(|bit| bits >> bit & 1 == 1);
    set.map(named).collect::<Vec<_>>().join(", ")
}

fn backing(cluster: &[u8], at: u64, len: u32) -> Result<Option<String>, HeaderError> {
    if at == 0 || len == 0 {
        return Ok(None);
    }
    demand(len <= 1023, "the backing file's name is longer than 1023 bytes")?;
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let name = at.checked_add(len as usize).and_then(|end| cluster.get(at..end));
    let name = name.ok_or(HeaderError::Corrupt("the backing file's name is not in the first cluster"))?;
    match String::from_utf8(name.to_vec()) {
        Ok(name) if !name.contains('\0') => Ok(Some(name)),
        _ => Err(HeaderError::Unsupported("a backing file whose name is no text")),
    }
}
