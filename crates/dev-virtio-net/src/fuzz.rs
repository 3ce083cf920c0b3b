//! A fuzz entry: a driver that does anything, with queues in any memory, and a network that gives any frames.

use crate::config::bit;
use crate::{Net, identity};
use dev_core::Slot;
use dev_virtio::{Attendant, Attended, Mmio, When, feature};
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use host_net::{LONGEST_FRAME, NetPort, Offloads, SendError};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use support_hostmap::Pieces;

const RAM: u64 = 0x8000_0000;
const PAGES: u64 = 32;

/// A network of frames that are all alike.
struct Wire {
    /// Frames to come, and the bytes of the first; each is followed by a shorter one.
    coming: Mutex<(usize, usize)>,
    head: Mutex<[u8; 4]>,
    full: AtomicBool,
    sent: AtomicUsize,
    input: std::io::Stdin,
}

impl NetPort for Wire {
    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        assert!(frame.len() <= LONGEST_FRAME, "no frame is so long");
        self.sent.fetch_add(1, Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) { Err(SendError::Full) } else { Ok(()) }
    }
    fn send_from(&self, frame: &Pieces) -> Result<(), SendError> {
        self.send(&frame.to_vec())
    }
    fn receive(&self, into: &mut [u8]) -> Option<usize> {
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.0 = coming.0.checked_sub(1)?;
        let len = coming.1.min(into.len());
        coming.1 = coming.1 * 3 / 4;
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        into.iter_mut().take(len).zip(head.iter().cycle()).for_each(|(to, from)| *to = *from);
        Some(len)
    }
    fn receive_into(&self, into: &Pieces) -> Option<usize> {
        let mut bytes = vec![0; into.len().min(LONGEST_FRAME)];
        let len = self.receive(&mut bytes)?;
        assert!(into.copy_in(0, bytes.get(..len).unwrap_or_default()).is_some());
        Some(len)
    }
    fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.input.as_fd()
    }
    fn supports(&self) -> Offloads {
        Offloads::ALL
    }
    fn set_offloads(&self, _offloads: Offloads) {}
    fn mtu(&self) -> u16 {
        1500
    }
    fn is_up(&self) -> bool {
        true
    }
}

fn number<const N: usize>(bytes: &mut &[u8]) -> u64 {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    head.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// A network card behind its registers.
struct Card {
    bus: Arc<Bus>,
    window: Attended<Mmio>,
    attendant: Arc<Attendant<Mmio>>,
    wires: Vec<Arc<Wire>>,
}

impl Card {
    fn new(pairs: usize) -> Option<Card> {
        let ram = Arc::new(GuestRam::new(PAGES * PAGE).ok()?);
        let mut builder = BusBuilder::new(ram);
        builder.ram("ram", RAM, PAGES * PAGE, 0, true).ok()?;
        let bus = Arc::new(builder.build());
        let wire = |_| {
            let (coming, head) = (Mutex::new((0, 0)), Mutex::new([0; 4]));
            let (full, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
            Arc::new(Wire { coming, head, full, sent, input: std::io::stdin() })
        };
        let wires: Vec<Arc<Wire>> = (0..pairs).map(wire).collect();
        let ports: Vec<Arc<dyn NetPort>> = wires.iter().map(|wire| Arc::clone(wire) as _).collect();
        let device = Mmio::new(identity([2; 6], &**ports.first()?, pairs));
        let slot = Slot::new(device, Vec::new(), &Timers::new(Arc::new(Clock::virtual_())));
        let net = Box::new(Net::new(&ports).ok()?);
        let attendant = Attendant::new(Arc::clone(&slot), Dma::new(Arc::clone(&bus), 0), net, |_| ());
        let window = Attended::new(slot, Arc::clone(&attendant), When::AtOnce);
        Some(Card { bus, window, attendant, wires })
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
    fn give(&self, queue: u64, bytes: &mut &[u8]) -> Option<()> {
        let (page, ram) = (queue * PAGE, self.bus.ram());
        let index: u16 = ram.load(page + 0x402)?;
        let place = page + 16 * u64::from(index % 8);
        let (at, len, flags) = (number::<2>(bytes) << 2, number::<2>(bytes), number::<1>(bytes));
        ram.store(place, RAM + at)?;
        ram.store(place + 8, len as u32)?;
        ram.store(place + 12, flags as u16 & 3)?;
        ram.store(place + 14, index.wrapping_add(1) % 8)?;
        ram.store(page + 0x404 + 2 * u64::from(index % 8), index % 8)?;
        ram.store(page + 0x402, index.wrapping_add(1))
    }
}

/// Plays `bytes`.
pub fn card(mut bytes: &[u8]) {
    let flags = number::<1>(&mut bytes);
    let when = |n: u64, feature| if flags >> n & 1 != 0 { feature } else { 0 };
    let pairs = 1 + (flags & 1) as usize;
    let features = feature::VERSION_1
        | when(0, bit::MQ)
        | when(1, bit::MRG_RXBUF)
        | when(2, bit::GUEST_CSUM | bit::GUEST_TSO4 | bit::GUEST_USO6)
        | when(3, bit::CTRL_VQ | bit::CTRL_RX | bit::CTRL_RX_EXTRA | bit::CTRL_MAC_ADDR)
        | when(4, feature::INDIRECT_DESC)
        | when(5, feature::EVENT_IDX)
        | when(6, feature::RING_PACKED);
    let Some(card) = Card::new(pairs) else { return };
    card.start(features);
    while !bytes.is_empty() {
        let what = number::<1>(&mut bytes);
        let queue = (what >> 4) % 5;
        let wire = card.wires.get(queue as usize % pairs);
        match (what & 15, wire) {
            (0..=3, _) => drop(card.give(queue, &mut bytes)),
            (4..=5, _) => card.write(0x50, queue),
            (6, _) => {
                let (at, value) = (number::<2>(&mut bytes), number::<2>(&mut bytes));
                let _ = card.bus.ram().store((at << 1) % (PAGES * PAGE), value as u16);
            }
            (7..=9, Some(wire)) => {
                let coming = (number::<1>(&mut bytes) as usize, number::<2>(&mut bytes) as usize);
                *wire.coming.lock().unwrap_or_else(PoisonError::into_inner) = coming;
                let head = (number::<4>(&mut bytes) as u32).to_be_bytes();
                *wire.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
                card.attendant.attend();
            }
            (10, Some(wire)) => drop(wire.full.fetch_xor(true, Ordering::Relaxed)),
            (11, _) => card.attendant.quiesce(),
            (12, _) => {
                card.attendant.watched();
                card.attendant.attend_all();
            }
            (13, _) => card.start(features),
            _ => drop(card.attendant.attend()),
        }
    }
    // A driver in order is served, whatever came before.
    card.wires.iter().for_each(|wire| wire.full.store(false, Ordering::Relaxed));
    card.write(0x70, 0);
    let _ = card.bus.ram().fill(0, PAGES * PAGE, 0);
    card.start(feature::VERSION_1);
    let before = card.wires.first().map_or(0, |wire| wire.sent.load(Ordering::Relaxed));
    let frame: &[u8] = &[0x40, 0, 0, 100, 0];
    assert!(card.give(1, &mut { frame }).is_some());
    card.write(0x50, 1);
    let after = card.wires.first().map_or(0, |wire| wire.sent.load(Ordering::Relaxed));
    assert_eq!(after, before + 1, "a frame of a driver in order is not sent");
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn cards_of_any_bytes() {
        for round in 1..=300 {
            super::card(&noise(round, 400));
        }
    }
}
