//! The driver's side of fuzz entries: numbers out of bytes, and queues at places that are known beforehand.

use crate::queue::Setup;
use crate::{Attendant, Attended, Backend, Broken, Chain, Desk, Mmio, When};
use dev_core::Slot;
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

/// Where memory begins.
pub const RAM: u64 = 0x8000_0000;
/// Descriptors of a queue.
const SIZE: u16 = 8;

/// The next `N` bytes as a number, the highest first; what is not there counts for nothing.
pub fn number<const N: usize>(bytes: &mut &[u8]) -> u64 {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    head.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// A machine of so many pages of memory and nothing else.
pub fn memory(pages: u64) -> Option<Arc<Bus>> {
    let mut builder = BusBuilder::new(Arc::new(GuestRam::new(pages * PAGE).ok()?));
    builder.ram("ram", RAM, pages * PAGE, 0, true).ok()?;
    Some(Arc::new(builder.build()))
}

/// A device behind its registers, and who drives it.
pub struct Driver {
    /// Memory, from [`RAM`] on.
    pub bus: Arc<Bus>,
    /// The transport.
    pub slot: Arc<Slot<Mmio>>,
    /// Its registers.
    pub window: Attended<Mmio>,
    /// Who works on its queues.
    pub attendant: Arc<Attendant<Mmio>>,
}

impl Driver {
    /// Of `device`, which `backend` serves at once.
    pub fn new(bus: Arc<Bus>, device: Mmio, backend: Box<dyn Backend>) -> Driver {
        let slot = Slot::new(device, Vec::new(), &Timers::new(Arc::new(Clock::virtual_())));
        let attendant = Attendant::new(Arc::clone(&slot), Dma::new(Arc::clone(&bus), 0), backend, |_| ());
        let window = Attended::new(Arc::clone(&slot), Arc::clone(&attendant), When::AtOnce);
        Driver { bus, slot, window, attendant }
    }

    /// Writes a register.
    pub fn write(&self, offset: u64, value: u64) {
        assert!(self.window.write(offset, 4, value).is_ok());
    }

    /// Negotiates these features and starts with these queues, behind a reset.
    pub fn set_up(&self, features: u64, queues: &[Setup]) {
        self.write(0x70, 0);
        self.write(0x70, 3);
        for half in 0..2 {
            self.write(0x24, half);
            self.write(0x20, features >> (32 * half) & 0xffff_ffff);
        }
        self.write(0x70, 11);
        for (queue, setup) in (0..).zip(queues) {
            self.write(0x30, queue);
            self.write(0x38, u64::from(setup.size));
            for (low, at) in [(0x80, setup.descriptors), (0x90, setup.driver), (0xa0, setup.device)] {
                self.write(low, at & 0xffff_ffff);
                self.write(low + 4, at >> 32);
            }
            self.write(0x44, 1);
        }
        self.write(0x70, 15);
    }

    /// The same with so many queues of eight descriptors, each in a page of its own from the first on.
    pub fn start(&self, features: u64, queues: u64) {
        let place = |queue: u64| {
            let descriptors = RAM + queue * PAGE;
            let (driver, device) = (descriptors + 0x400, descriptors + 0x800);
            Setup { size: SIZE, ready: true, descriptors, driver, device }
        };
        self.set_up(features, &(0..queues).map(place).collect::<Vec<_>>());
    }

    /// Writes a descriptor of such a queue; the next of it is the one behind.
    pub fn describe(&self, queue: u64, index: u16, at: u64, len: u64, flags: u16) -> Option<()> {
        let (place, ram) = (queue * PAGE + 16 * u64::from(index % SIZE), self.bus.ram());
        ram.store(place, at)?;
        ram.store(place + 8, len as u32)?;
        ram.store(place + 12, flags)?;
        ram.store(place + 14, index.wrapping_add(1) % SIZE)
    }

    /// How many requests were made available in it so far.
    fn next(&self, queue: u64) -> Option<u16> {
        self.bus.ram().load(queue * PAGE + 0x402)
    }

    /// Makes the descriptor with that index the next request.
    pub fn offer(&self, queue: u64, index: u16) -> Option<()> {
        let (page, ram, next) = (queue * PAGE, self.bus.ram(), self.next(queue)?);
        ram.store(page + 0x404 + 2 * u64::from(next % SIZE), index % SIZE)?;
        ram.store(page + 0x402, next.wrapping_add(1))
    }

    /// A request of the next descriptor, which may go on in the one behind.
    pub fn give(&self, queue: u64, at: u64, len: u64, flags: u64) -> Option<()> {
        let index = self.next(queue)?;
        self.describe(queue, index, at, len, flags as u16 & 3)?;
        self.offer(queue, index)
    }
}

/// Gives back what it has read, some of it later.
#[derive(Default)]
pub(crate) struct Echo {
    kept: Vec<(usize, Chain)>,
}

impl Backend for Echo {
    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        for queue in 0..3 {
            desk.drain(queue, |desk, chain| {
                if chain.readable_len() % 3 == 1 {
                    self.kept.push((queue, chain));
                    return Ok(());
                }
                let mut bytes = [0; 64];
                let read = chain.read(desk.dma, 0, &mut bytes)?;
                let written = chain.write(desk.dma, 3, bytes.get(..read).unwrap_or_default())?;
                desk.push(queue, &chain, written as u32)
            })?;
        }
        Ok(())
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        for (queue, chain) in std::mem::take(&mut self.kept) {
            desk.push(queue, &chain, 0)?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.kept.clear();
    }
}
