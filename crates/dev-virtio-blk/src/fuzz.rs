//! A fuzz entry: a driver that does anything, on a disk that minds what it is asked.

use crate::config::{WRITEBACK, bit};
use crate::{Blk, identity};
use dev_core::Slot;
use dev_virtio::{Attendant, Attended, Mmio, When, feature};
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use host_disk::{Disk, DiskError, SECTOR};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use support_hostmap::Pieces;

const RAM: u64 = 0x8000_0000;
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

fn number<const N: usize>(bytes: &mut &[u8]) -> u64 {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    head.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// A block device behind its registers.
struct Machine {
    bus: Arc<Bus>,
    window: Attended<Mmio>,
    attendant: Arc<Attendant<Mmio>>,
    disk: Arc<Fussy>,
    offered: u64,
}

impl Machine {
    fn new(read_only: bool) -> Option<Machine> {
        let ram = Arc::new(GuestRam::new(PAGES * PAGE).ok()?);
        let mut builder = BusBuilder::new(ram);
        builder.ram("ram", RAM, PAGES * PAGE, 0, true).ok()?;
        let bus = Arc::new(builder.build());
        let disk = Fussy::new(read_only);
        let identity = identity(&*disk, 2);
        let (offered, queues) = (identity.features, identity.queues.len());
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let slot = Slot::new(Mmio::new(identity), Vec::new(), &timers);
        let blk = Box::new(Blk::straight(Arc::clone(&disk) as _, "a name", queues, Box::new(|_| ())));
        let attendant = Attendant::new(Arc::clone(&slot), Dma::new(Arc::clone(&bus), 0), blk, |_| ());
        let window = Attended::new(slot, Arc::clone(&attendant), When::AtOnce);
        Some(Machine { bus, window, attendant, disk, offered })
    }

    fn write(&self, offset: u64, value: u64) {
        assert!(self.window.write(offset, 4, value).is_ok());
    }

    /// Starts with queues of 8 that have a page of memory each.
    fn start(&self, features: u64) {
        self.write(0x70, 0);
        self.write(0x70, 3);
        for half in 0..2 {
            self.write(0x24, half);
            self.write(0x20, (features & self.offered) >> (32 * half) & 0xffff_ffff);
        }
        self.write(0x70, 11);
        for queue in 0..2 {
            let at = RAM + queue * PAGE;
            self.write(0x30, queue);
            self.write(0x38, 8);
            for (low, at) in [(0x80, at), (0x90, at + 0x400), (0xa0, at + 0x800)] {
                self.write(low, at & 0xffff_ffff);
            }
            self.write(0x44, 1);
        }
        self.write(0x70, 15);
    }

    /// A descriptor of a queue.
    fn describe(&self, queue: u64, index: u16, at: u64, len: u64, flags: u16) -> Option<()> {
        let (place, ram) = (queue * PAGE + 16 * u64::from(index % 8), self.bus.ram());
        ram.store(place, at)?;
        ram.store(place + 8, len as u32)?;
        ram.store(place + 12, flags)?;
        ram.store(place + 14, index.wrapping_add(1) % 8)
    }

    /// Makes the descriptor of that index the next request.
    fn offer(&self, queue: u64, index: u16) -> Option<()> {
        let (page, ram) = (queue * PAGE, self.bus.ram());
        let next: u16 = ram.load(page + 0x402)?;
        ram.store(page + 0x404 + 2 * u64::from(next % 8), index % 8)?;
        ram.store(page + 0x402, next.wrapping_add(1))
    }

    /// A request in three descriptors: header, data, and room for the status behind those of the other queue.
    fn ask(&self, queue: u64, kind: u64, sector: u64, data: (u64, u64, bool)) -> Option<()> {
        let (at, len, to_device) = data;
        let header = (8 + queue) * PAGE;
        self.bus.ram().store(header, kind as u32)?;
        self.bus.ram().store(header + 8, sector)?;
        self.describe(queue, 0, RAM + header, 16, 1)?;
        self.describe(queue, 1, at, len, if to_device { 1 } else { 3 })?;
        self.describe(queue, 2, RAM + header + 64, 1, 2)?;
        self.offer(queue, 0)
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
                let _ = self.describe(queue, index, RAM + at, len, flags);
            }
            6 => drop(self.offer(queue, number::<1>(bytes) as u16)),
            7..=8 => {
                let (at, value) = (number::<2>(bytes), number::<4>(bytes));
                let _ = self.bus.ram().store(((at << 1) % (PAGES * PAGE)) & !3, value as u32);
            }
            9 => drop(self.window.write(CONFIG + WRITEBACK as u64, 1, number::<1>(bytes))),
            // Seldom: from then on less is promised.
            10 => self.disk.fails.store(number::<1>(bytes) == 1, Ordering::Relaxed),
            11 => self.attendant.quiesce(),
            12 => self.start(features),
            13 => drop(self.attendant.attend()),
            _ => self.write(0x50, queue),
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
    machine.write(0x70, 0);
    let _ = machine.bus.ram().fill(0, PAGES * PAGE, 0);
    machine.start(feature::VERSION_1);
    let (place, last) = (16 * PAGE, SECTORS - 1);
    assert!(machine.bus.ram().store(8 * PAGE + 64, 0xffu8).is_some());
    assert!(machine.ask(0, 0, last, (RAM + place, SECTOR, false)).is_some());
    machine.write(0x50, 0);
    let expected = machine.disk.bytes.lock().unwrap_or_else(PoisonError::into_inner);
    let expected = expected.get((last * SECTOR) as usize..).unwrap_or_default();
    let mut read = vec![0; SECTOR as usize];
    assert!(machine.bus.ram().copy_out(place, &mut read).is_some());
    assert_eq!(machine.bus.ram().load::<u8>(8 * PAGE + 64), Some(0), "the status of a driver in order");
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
