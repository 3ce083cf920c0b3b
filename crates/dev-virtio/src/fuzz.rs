//! Fuzz entries: any bytes, played on the registers, and as the memory of a queue.

use crate::attendant::{Backend, Desk};
use crate::common::Identity;
use crate::queue::{Position, Queue, Setup};
use crate::{Attendant, Attended, Broken, Mmio, When, feature};
use dev_core::chipset::Chipset;
use dev_core::{Plugged, Slot};
use fabric_bus::{BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

pub use crate::fuzz_pci::pci;

fn identity() -> Identity {
    let features = feature::USUAL | feature::RING_PACKED;
    Identity { id: 4, features, queues: vec![8, 64, 0x8000], config: vec![1; 12], writable: vec![0, 255, 15] }
}

/// Plays `bytes` on the registers, with an attendant that takes all there is.
pub fn mmio(bytes: &[u8]) {
    chipset().fuzz(bytes);
}

fn chipset() -> Chipset<Mmio> {
    Chipset {
        make: || Mmio::new(identity()),
        window: 0x140,
        inputs: 1,
        host: |d, bytes, _| {
            use crate::Transport;
            let news = d.common().news();
            if news.reset {
                d.common().reset_done();
            }
            d.common().close_done(news.closed);
            assert!(!d.common().has_news(), "news that was taken is there still");
            for &byte in bytes {
                let _ = match byte & 3 {
                    0 => d.common().raise_queue(),
                    1 => d.common().needs_reset(),
                    2 => d.common().change_config(usize::from(byte >> 2), &[byte]),
                    _ => {
                        let used = u16::from(byte);
                        d.common().came_to(usize::from(byte >> 6), Position { used, ..Position::default() });
                        false
                    }
                };
            }
        },
    }
}

/// Gives back what it has read.
struct Echo;

impl Backend for Echo {
    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        for queue in 0..3 {
            desk.drain(queue, |desk, chain| {
                let mut bytes = [0; 64];
                let read = chain.read(desk.dma, 0, &mut bytes)?;
                let written = chain.write(desk.dma, 3, bytes.get(..read).unwrap_or_default())?;
                desk.push(queue, &chain, written as u32)
            })?;
        }
        Ok(())
    }
}

const RAM: u64 = 0x8000_0000;

fn number<const N: usize>(bytes: &mut &[u8]) -> u64 {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    *bytes = rest;
    head.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// Memory of four pages that holds `bytes`, over and over.
fn memory(bytes: &[u8]) -> Option<Arc<fabric_bus::Bus>> {
    let ram = Arc::new(GuestRam::new(4 * PAGE).ok()?);
    for (at, part) in (0..4 * PAGE).step_by(bytes.len().max(1)).zip(std::iter::repeat(bytes)) {
        let room = usize::try_from(4 * PAGE - at).ok()?.min(part.len());
        ram.copy_in(at, part.get(..room)?)?;
    }
    let mut builder = BusBuilder::new(ram);
    builder.ram("ram", RAM, 4 * PAGE, 0, true).ok()?;
    Some(Arc::new(builder.build()))
}

/// How a driver negotiates and sets a queue up, by the first bytes; the rest.
fn set_up(mut bytes: &[u8]) -> (u64, Setup, &[u8]) {
    let flags = number::<1>(&mut bytes);
    let when = |bit: u64, feature| if flags >> bit & 1 != 0 { feature } else { 0 };
    let features = feature::VERSION_1
        | when(0, feature::RING_PACKED)
        | when(1, feature::EVENT_IDX)
        | when(2, feature::INDIRECT_DESC);
    let mut address = || match flags >> 3 & 1 {
        0 => RAM + (number::<2>(&mut bytes) & 0x3ff0),
        _ => number::<8>(&mut bytes),
    };
    let (descriptors, driver, device) = (address(), address(), address());
    let size = number::<2>(&mut bytes) as u16;
    (features, Setup { size, ready: true, descriptors, driver, device }, bytes)
}

/// A queue, set up by the first bytes, in memory that the rest fills: taken from and given back to, as long as it goes; then
/// the same behind registers, where the machine must go on and the device come back.
pub fn queue(bytes: &[u8]) {
    let (features, setup, rest) = set_up(bytes);
    let Some(bus) = memory(rest) else { return };
    let dma = Dma::new(Arc::clone(&bus), 0);
    let size = setup.size;
    if let Ok(mut queue) = Queue::new(&setup, features, Position::default()) {
        // Every other request is kept.
        let mut kept = Vec::new();
        for round in 0..100 {
            let Ok(Some(chain)) = queue.pop(&dma) else { break };
            let mut some = [0; 100];
            let read = chain.read(&dma, 0, &mut some);
            assert!(read.is_err() || read == Ok(chain.readable_len().min(100) as usize));
            if round % 2 == 0 {
                kept.push(chain);
                assert!(kept.len() <= usize::from(size), "more requests than the virtqueue holds");
                continue;
            }
            let done = queue.push(&dma, &chain, 4).and_then(|()| queue.signal_due(&dma));
            if done.and_then(|_| queue.sleep(&dma)).is_err() {
                break;
            }
        }
    }
    behind_registers(bus, features, &setup, (identity(), Box::new(Echo)));
}

/// The same of a device of a kind of its own: all its queues (three at most) are set up alike.
pub fn device(bytes: &[u8], identity: Identity, backend: Box<dyn Backend>) {
    let (features, setup, rest) = set_up(bytes);
    if let Some(bus) = memory(rest) {
        behind_registers(bus, features, &setup, (identity, backend));
    }
}

fn behind_registers(
    bus: Arc<fabric_bus::Bus>,
    features: u64,
    setup: &Setup,
    (identity, backend): (Identity, Box<dyn Backend>),
) {
    let dma = Dma::new(Arc::clone(&bus), 0);
    let slot = Slot::new(Mmio::new(identity), Vec::new(), &Timers::new(Arc::new(Clock::virtual_())));
    let attendant = Attendant::new(Arc::clone(&slot), dma, backend, |_| ());
    let window = Attended::new(Arc::clone(&slot), Arc::clone(&attendant), When::AtOnce);
    let write = |offset, value| assert!(window.write(offset, 4, value).is_ok());
    let start = |setup: &Setup| {
        write(0x70, 3);
        for half in 0..2 {
            write(0x24, half);
            write(0x20, features >> (32 * half) & 0xffff_ffff);
        }
        write(0x70, 11);
        for queue in 0..3 {
            write(0x30, queue);
            write(0x38, u64::from(setup.size));
            for (low, at) in [(0x80, setup.descriptors), (0x90, setup.driver), (0xa0, setup.device)] {
                write(low, at & 0xffff_ffff);
                write(low + 4, at >> 32);
            }
            write(0x44, 1);
        }
        write(0x70, 15);
        write(0x50, 1);
        window.read(0x70, 4)
    };
    assert_eq!(start(setup).map(|status| status & 15), Ok(15));
    let saved = slot.save();
    attendant.quiesce();
    assert!(slot.restore(&saved).is_ok());
    attendant.attend_all();
    write(0x70, 0);
    // A queue that is in order works, whatever came before.
    let _ = bus.ram().fill(0, 4 * PAGE, 0);
    let sound = Setup { size: 8, ready: true, descriptors: RAM, driver: RAM + PAGE, device: RAM + 2 * PAGE };
    assert_eq!(start(&sound), Ok(15));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use dev_core::chipset::noise;

    #[test]
    fn mmio_keeps_the_rules_under_any_bytes() {
        super::chipset().smoke(100);
    }

    #[test]
    fn queues_of_any_bytes() {
        for round in 1..=300 {
            // Most are small numbers.
            let small = |two: &[u8]| if two[0] & 3 == 0 { two[1] } else { two[1] & 15 };
            let bytes: Vec<u8> = noise(round, 1200).chunks_exact(2).map(small).collect();
            super::queue(&bytes);
        }
    }
}
