//! A fuzz entry: a driver that does anything, on a disk that minds what it is asked.

use crate::config::{WRITEBACK, bit};
use crate::{Blk, identity};
use dev_virtio::fuzz_driver::{Driver, RAM, memory, number};
use dev_virtio::{Mmio, feature};
use fabric_bus::Target;
use fabric_ram::PAGE;
use host_disk::{Disk, DiskError, SECTOR};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use support_hostmap::Pieces;

const PAGES: u64 = 32;
/// Sectors of the disk.
const SECTORS: u64 = 64;
/// Where the configuration space begins.
const CONFIG: u64 = 0x100;

/// A disk in memory that no device may ask for what is not there.
#[derive(Debug)]
struct Fussy {
    bytes: Mutex<Vec<u8>>,
    read_only: bool,
    fails: AtomicBool,
    /// Something was written and not flushed since.
    unsafe_yet: AtomicBool,
}

impl Fussy {
    fn new(read_only: bool) -> Arc<Fussy> {
        let bytes = Mutex::new((0..SECTORS * SECTOR).map(|at| (at / SECTOR + 1) as u8).collect());
        let (fails, unsafe_yet) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Fussy { bytes, read_only, fails, unsafe_yet })
    }

    /// The bytes there, for `with`; an error if the disk is to fail.
    fn range(&self, at: u64, len: u64, with: impl FnOnce(&mut [u8])) -> Result<(), DiskError> {
        assert!(at.is_multiple_of(SECTOR) && len.is_multiple_of(SECTOR), "{at} {len}: no whole sectors");
        let end = at.checked_add(len).filter(|end| *end <= self.size());
        assert!(end.is_some(), "{at} {len}: not on the disk");
        if self.fails.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("told to").into());
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(range) = bytes.get_mut(at as usize..(at + len) as usize) {
            with(range);
        }
        Ok(())
    }

    fn change(&self, at: u64, len: u64, with: impl FnOnce(&mut [u8])) -> Result<(), DiskError> {
        assert!(!self.read_only, "a disk that is only read is written");
        self.range(at, len, with)?;
        self.unsafe_yet.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Disk for Fussy {
    fn size(&self) -> u64 {
        SECTORS * SECTOR
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        self.range(at, into.len() as u64, |range| assert!(into.copy_in(0, range).is_some()))
    }
    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.change(at, from.len() as u64, |range| assert!(from.copy_out(0, range).is_some()))
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.range(0, 0, |_| self.unsafe_yet.store(false, Ordering::Relaxed))
    }
    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        assert!(!self.read_only, "a disk that is only read is discarded");
        self.range(at, len, |_| ())
    }
    fn write_zeroes(&self, at: u64, len: u64, _may_unmap: bool) -> Result<(), DiskError> {
        self.change(at, len, |range| range.fill(0))
    }
    fn resize(&self, _size: u64) -> Result<(), DiskError> {
        Err(DiskError::Unsupported("no"))
    }
}

/// Queues that there are.
const QUEUES: u64 = 2;

/// A block device behind its registers, and its disk.
struct Machine {
    driver: Driver,
    disk: Arc<Fussy>,
    offered: u64,
}

impl Machine {
    fn new(read_only: bool) -> Option<Machine> {
        let disk = Fussy::new(read_only);
        let identity = identity(&*disk, QUEUES as u32);
        let (offered, queues) = (identity.features, identity.queues.len());
        let blk = Blk::straight(Arc::clone(&disk) as _, "a name", queues, Box::new(|_| ()));
        let driver = Driver::new(memory(PAGES)?, Mmio::new(identity), Box::new(blk));
        Some(Machine { driver, disk, offered })
    }

    fn start(&self, features: u64) {
        self.driver.start(features & self.offered, QUEUES);
    }

    /// A request in three descriptors: header, data, and room for the status behind those of the other queue.
    fn ask(&self, queue: u64, kind: u64, sector: u64, data: (u64, u64, bool)) -> Option<()> {
        let (at, len, to_device) = data;
        let header = (8 + queue) * PAGE;
        self.driver.bus.ram().store(header, kind as u32)?;
        self.driver.bus.ram().store(header + 8, sector)?;
        self.driver.describe(queue, 0, RAM + header, 16, 1)?;
        self.driver.describe(queue, 1, at, len, if to_device { 1 } else { 3 })?;
        self.driver.describe(queue, 2, RAM + header + 64, 1, 2)?;
        self.driver.offer(queue, 0)
    }

    /// Does one step that the bytes tell.
    fn step(&self, features: u64, bytes: &mut &[u8]) {
        let what = number::<1>(bytes);
        let queue = what >> 4 & 1;
        match what & 15 {
            0..=3 => {
                let (kind, sector) = (number::<1>(bytes) & 15, number::<1>(bytes));
                // Writes are what has rules.
                let kind = if what & 64 != 0 { 1 } else { kind };
                let sector = if what & 128 != 0 { sector.rotate_right(8) | sector } else { sector & 63 };
                // Around whole sectors, at times beyond the end of memory.
                let (at, len) = (RAM + number::<1>(bytes) * 0x220, number::<1>(bytes));
                let len = if len & 1 == 0 { (len >> 1) * SECTOR } else { len >> 1 };
                let _ = self.ask(queue, kind, sector, (at, len, what & 32 != 0));
            }
            4..=5 => {
                let (index, at) = (number::<1>(bytes) as u16, number::<2>(bytes) << 1);
                let (len, flags) = (number::<2>(bytes), number::<1>(bytes) as u16 & 7);
                let _ = self.driver.describe(queue, index, RAM + at, len, flags);
            }
            6 => drop(self.driver.offer(queue, number::<1>(bytes) as u16)),
            7..=8 => {
                let (at, value) = (number::<2>(bytes), number::<4>(bytes));
                let _ = self.driver.bus.ram().store(((at << 1) % (PAGES * PAGE)) & !3, value as u32);
            }
            9 => drop(self.driver.window.write(CONFIG + WRITEBACK as u64, 1, number::<1>(bytes))),
            // Seldom: from then on less is promised.
            10 => self.disk.fails.store(number::<1>(bytes) == 1, Ordering::Relaxed),
            11 => self.driver.attendant.quiesce(),
            12 => self.start(features),
            13 => drop(self.driver.attendant.attend()),
            _ => self.driver.write(0x50, queue),
        }
    }
}

/// Plays `bytes`.
pub fn blk(mut bytes: &[u8]) {
    let flags = number::<1>(&mut bytes);
    let when = |n: u64, feature| if flags >> n & 1 != 0 { feature } else { 0 };
    let features = feature::VERSION_1
        | when(1, bit::FLUSH)
        | when(2, bit::CONFIG_WCE)
        | when(3, bit::DISCARD | bit::WRITE_ZEROES)
        | when(4, feature::INDIRECT_DESC)
        | when(5, feature::EVENT_IDX)
        | when(6, feature::RING_PACKED);
    let Some(machine) = Machine::new(flags & 1 != 0) else { return };
    machine.start(features);
    let mut failed = false;
    while !bytes.is_empty() {
        machine.step(features, &mut bytes);
        failed |= machine.disk.fails.load(Ordering::Relaxed);
        // Section 5.2.6.2: who cannot flush finds what was written on the disk.
        let promised = features & bit::FLUSH == 0 && !failed;
        assert!(!(promised && machine.disk.unsafe_yet.load(Ordering::Relaxed)), "written and not flushed");
    }
    // A driver in order is served, whatever came before.
    machine.disk.fails.store(false, Ordering::Relaxed);
    machine.driver.write(0x70, 0);
    let _ = machine.driver.bus.ram().fill(0, PAGES * PAGE, 0);
    machine.start(feature::VERSION_1);
    let (place, last) = (16 * PAGE, SECTORS - 1);
    assert!(machine.driver.bus.ram().store(8 * PAGE + 64, 0xffu8).is_some());
    assert!(machine.ask(0, 0, last, (RAM + place, SECTOR, false)).is_some());
    machine.driver.write(0x50, 0);
    let expected = machine.disk.bytes.lock().unwrap_or_else(PoisonError::into_inner);
    let expected = expected.get((last * SECTOR) as usize..).unwrap_or_default();
    let mut read = vec![0; SECTOR as usize];
    assert!(machine.driver.bus.ram().copy_out(place, &mut read).is_some());
    assert_eq!(
        machine.driver.bus.ram().load::<u8>(8 * PAGE + 64),
        Some(0),
        "the status of a driver in order"
    );
    assert!(read == expected, "what a driver in order reads is not what is on the disk");
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn drivers_of_any_bytes() {
        for round in 1..=300 {
            super::blk(&noise(round, 400));
        }
    }
}
