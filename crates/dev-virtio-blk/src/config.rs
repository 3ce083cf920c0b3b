//! What the device says of itself: features and configuration space (sections 5.2.3 and 5.2.4).

use dev_virtio::{Identity, feature};
use host_disk::{Disk, SECTOR};

/// Descriptors of each queue.
pub const QUEUE_SIZE: u16 = 256;
/// Most queues: one for each processor of the guest, as long as there is work for so many.
const MOST_QUEUES: u16 = 16;
/// Bytes of the configuration space, up to and with what belongs to write zeroes.
const BYTES: usize = 60;
/// Where in it the driver turns the write-back cache on and off.
pub(crate) const WRITEBACK: usize = 32;
/// Most sectors of one range to discard, or to make zeroes of: 2 GiB, less one sector.
pub(crate) const MOST_SECTORS: u32 = 0x3f_ffff;
/// Most ranges of one such request.
pub(crate) const MOST_RANGES: u32 = 32;

/// Feature bits (section 5.2.3).
pub(crate) mod bit {
    pub const SEG_MAX: u64 = 1 << 2;
    pub const GEOMETRY: u64 = 1 << 4;
    pub const RO: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const CONFIG_WCE: u64 = 1 << 11;
    pub const MQ: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// What the device on `disk` is, in a machine of so many processors.
pub fn identity(disk: &dyn Disk, processors: u32) -> Identity {
    let count = u16::try_from(processors).unwrap_or(MOST_QUEUES).clamp(1, MOST_QUEUES);
    let always = bit::SEG_MAX | bit::GEOMETRY | bit::BLK_SIZE | bit::TOPOLOGY | bit::FLUSH | bit::MQ;
    let by_kind = match disk.read_only() {
        true => bit::RO,
        false => bit::CONFIG_WCE | bit::DISCARD | bit::WRITE_ZEROES,
    };
    let features = feature::USUAL | feature::RING_PACKED | always | by_kind;
    let mut writable = vec![0; BYTES];
    if let Some(byte) = writable.get_mut(WRITEBACK).filter(|_| !disk.read_only()) {
        *byte = 1;
    }
    let queues = vec![QUEUE_SIZE; usize::from(count)];
    Identity { id: 2, features, queues, config: config(disk.size() / SECTOR, count), writable }
}

fn config(sectors: u64, queues: u16) -> Vec<u8> {
    // A geometry that nothing has: the one that BIOSes made up for large disks.
    let cylinders = u16::try_from(sectors / (16 * 63)).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend(sectors.to_le_bytes());
    // size_max, which is not offered, and seg_max: with header and status they fill a queue.
    bytes.extend(0u32.to_le_bytes());
    bytes.extend((u32::from(QUEUE_SIZE) - 2).to_le_bytes());
    bytes.extend(cylinders.to_le_bytes());
    bytes.extend([16, 63]);
    bytes.extend((SECTOR as u32).to_le_bytes());
    // Physical blocks of 2^3 sectors, aligned to the first one; the least that is worth a request, and the best.
    bytes.extend([3, 0]);
    bytes.extend(8u16.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend([1, 0]);
    bytes.extend(queues.to_le_bytes());
    // Discard: sectors, ranges, alignment; write zeroes: sectors, ranges, and whether it may give space back.
    for word in [MOST_SECTORS, MOST_RANGES, 8, MOST_SECTORS, MOST_RANGES] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([1, 0, 0, 0]);
    bytes
}
