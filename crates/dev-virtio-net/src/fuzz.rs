//! A fuzz entry: a driver that does anything, with queues in any memory, and a network that gives any frames.

use crate::config::bit;
use crate::{Net, identity};
use dev_virtio::fuzz_driver::{Driver, RAM, memory, number};
use dev_virtio::{Mmio, feature};
use fabric_ram::PAGE;
use host_net::{LONGEST_FRAME, NetPort, Offloads, SendError};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use support_hostmap::Pieces;

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

/// Queues that are set up: of two pairs, and for control.
const QUEUES: u64 = 5;

/// A network card and what it is joined to.
struct Card {
    driver: Driver,
    wires: Vec<Arc<Wire>>,
}

impl Card {
    fn new(pairs: usize) -> Option<Card> {
        let wire = |_| {
            let (coming, head) = (Mutex::new((0, 0)), Mutex::new([0; 4]));
            let (full, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
            Arc::new(Wire { coming, head, full, sent, input: std::io::stdin() })
        };
        let wires: Vec<Arc<Wire>> = (0..pairs).map(wire).collect();
        let ports: Vec<Arc<dyn NetPort>> = wires.iter().map(|wire| Arc::clone(wire) as _).collect();
        let device = Mmio::new(identity([2; 6], &**ports.first()?, pairs));
        let driver = Driver::new(memory(PAGES)?, device, Box::new(Net::new(&ports).ok()?));
        Some(Card { driver, wires })
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
    let Some(Card { driver, wires }) = Card::new(pairs) else { return };
    driver.start(features, QUEUES);
    while !bytes.is_empty() {
        let what = number::<1>(&mut bytes);
        let queue = (what >> 4) % QUEUES;
        let wire = wires.get(queue as usize % pairs);
        match (what & 15, wire) {
            (0..=3, _) => {
                let (at, len) = (RAM + (number::<2>(&mut bytes) << 2), number::<2>(&mut bytes));
                let _ = driver.give(queue, at, len, number::<1>(&mut bytes));
            }
            (4..=5, _) => driver.write(0x50, queue),
            (6, _) => {
                let (at, value) = (number::<2>(&mut bytes), number::<2>(&mut bytes));
                let _ = driver.bus.ram().store((at << 1) % (PAGES * PAGE), value as u16);
            }
            (7..=9, Some(wire)) => {
                let coming = (number::<1>(&mut bytes) as usize, number::<2>(&mut bytes) as usize);
                *wire.coming.lock().unwrap_or_else(PoisonError::into_inner) = coming;
                let head = (number::<4>(&mut bytes) as u32).to_be_bytes();
                *wire.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
                driver.attendant.attend();
            }
            (10, Some(wire)) => drop(wire.full.fetch_xor(true, Ordering::Relaxed)),
            (11, _) => driver.attendant.quiesce(),
            (12, _) => {
                driver.attendant.watched();
                driver.attendant.attend_all();
            }
            (13, _) => driver.start(features, QUEUES),
            _ => drop(driver.attendant.attend()),
        }
    }
    // A driver in order is served, whatever came before.
    wires.iter().for_each(|wire| wire.full.store(false, Ordering::Relaxed));
    driver.write(0x70, 0);
    let _ = driver.bus.ram().fill(0, PAGES * PAGE, 0);
    driver.start(feature::VERSION_1, QUEUES);
    let before = wires.first().map_or(0, |wire| wire.sent.load(Ordering::Relaxed));
    assert!(driver.give(1, RAM + (0x4000 << 2), 100, 0).is_some());
    driver.write(0x50, 1);
    let after = wires.first().map_or(0, |wire| wire.sent.load(Ordering::Relaxed));
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
