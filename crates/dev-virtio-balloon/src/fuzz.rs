//! A fuzz entry: a driver that gives any memory away, that of its queues and memory it does not have included.

use crate::backend::{Balloon, REPORTING, identity};
use dev_core::Slot;
use dev_virtio::{Attendant, Attended, Mmio, When, feature};
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

const RAM: u64 = 0x8000_0000;
const PAGES: u64 = 32;
/// Behind memory, in the same arena: memory that no driver can write.
const ROM: u64 = RAM + PAGES * PAGE;
const ROM_PAGES: u64 = 4;

fn number<const N: usize>(bytes: &mut &[u8]) -> u64 {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    head.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// A balloon behind its registers.
struct Card {
    bus: Arc<Bus>,
    window: Attended<Mmio>,
    attendant: Arc<Attendant<Mmio>>,
}

impl Card {
    fn new() -> Option<Card> {
        let ram = Arc::new(GuestRam::new((PAGES + ROM_PAGES) * PAGE).ok()?);
        let mut builder = BusBuilder::new(ram);
        builder.ram("ram", RAM, PAGES * PAGE, 0, true).ok()?;
        builder.ram("rom", ROM, ROM_PAGES * PAGE, PAGES * PAGE, false).ok()?;
        let bus = Arc::new(builder.build());
        bus.ram().fill(0, (PAGES + ROM_PAGES) * PAGE, 7)?;
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let slot = Slot::new(Mmio::new(identity(0)), Vec::new(), &timers);
        let refused = |error: &std::io::Error| panic!("the host refuses what was checked: {error}");
        let balloon = Box::new(Balloon::new(refused));
        let attendant = Attendant::new(Arc::clone(&slot), Dma::new(Arc::clone(&bus), 0), balloon, |_| ());
        let window = Attended::new(slot, Arc::clone(&attendant), When::AtOnce);
        Some(Card { bus, window, attendant })
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
            self.write(0x20, features >> (32 * half) & 0xffff_ffff);
        }
        self.write(0x70, 11);
        for queue in 0..5 {
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

    /// A descriptor of a queue that lies in order, made available.
    fn give(&self, queue: u64, at: u64, len: u64, flags: u64) -> Option<()> {
        let (page, ram) = (queue * PAGE, self.bus.ram());
        let index: u16 = ram.load(page + 0x402)?;
        let place = page + 16 * u64::from(index % 8);
        ram.store(place, at)?;
        ram.store(place + 8, len as u32)?;
        ram.store(place + 12, flags as u16 & 3)?;
        ram.store(place + 14, index.wrapping_add(1) % 8)?;
        ram.store(page + 0x404 + 2 * u64::from(index % 8), index % 8)?;
        ram.store(page + 0x402, index.wrapping_add(1))
    }
}

/// Plays `bytes`.
pub fn balloon(mut bytes: &[u8]) {
    let flags = number::<1>(&mut bytes);
    let when = |n: u64, feature| if flags >> n & 1 != 0 { feature } else { 0 };
    let features = feature::VERSION_1
        | when(0, REPORTING)
        | when(1, feature::INDIRECT_DESC)
        | when(2, feature::EVENT_IDX)
        | when(3, feature::RING_PACKED);
    let Some(card) = Card::new() else { return };
    card.start(features);
    while !bytes.is_empty() {
        let what = number::<1>(&mut bytes);
        let queue = (what >> 4) % 5;
        match what & 15 {
            0..=4 => {
                let (at, len, flags) =
                    (number::<2>(&mut bytes), number::<3>(&mut bytes), number::<1>(&mut bytes));
                card.give(queue, RAM - PAGE + (at << 2), len, flags);
                card.write(0x50, queue);
            }
            5..=7 => {
                // A page's number, somewhere.
                let (at, page) = (number::<2>(&mut bytes) << 2, number::<1>(&mut bytes));
                let _ = card.bus.ram().store(at % (PAGES * PAGE), ((RAM >> 12) + page) as u32 - 8);
            }
            8 => {
                let (at, value) = (number::<2>(&mut bytes), number::<2>(&mut bytes));
                let _ = card.bus.ram().store((at << 1) % (PAGES * PAGE), value as u16);
            }
            9 => card.write(0x100 + (number::<1>(&mut bytes) & 12), number::<4>(&mut bytes)),
            10 => card.attendant.quiesce(),
            11 => card.start(features),
            _ => card.write(0x50, queue),
        }
    }
    let rom = (PAGES * PAGE..(PAGES + ROM_PAGES) * PAGE).step_by(8);
    for at in rom {
        assert_eq!(
            card.bus.ram().load(at),
            Some(0x0707_0707_0707_0707u64),
            "what is not the driver's is gone"
        );
    }
    // A driver in order is served, whatever came before.
    card.write(0x70, 0);
    let _ = card.bus.ram().fill(0, PAGES * PAGE, 0);
    card.start(feature::VERSION_1 | REPORTING);
    let _ = card.bus.ram().fill(8 * PAGE, 2 * PAGE, 9);
    assert!(card.give(2, RAM + 8 * PAGE, PAGE, 2).is_some());
    card.write(0x50, 2);
    let ends = [8 * PAGE, 9 * PAGE - 1, 9 * PAGE].map(|at| card.bus.ram().load::<u8>(at));
    assert_eq!(ends, [Some(0), Some(0), Some(9)], "pages of a driver in order are not taken");
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn balloons_of_any_bytes() {
        for round in 1..=300 {
            super::balloon(&noise(round, 400));
        }
    }
}
