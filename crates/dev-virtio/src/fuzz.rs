//! Fuzz entries: any bytes, played on the registers, and as the memory of a queue.

use crate::attendant::Backend;
use crate::fuzz_driver::{Driver, Echo, RAM, memory, number};
use crate::identity::Identity;
use crate::queue::{Position, Queue, Setup};
use crate::{Mmio, feature};
use dev_core::Plugged;
use dev_core::chipset::Chipset;
use fabric_bus::{Dma, Target};
use fabric_ram::PAGE;
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

/// Memory of four pages that holds `bytes`, over and over.
fn filled(bytes: &[u8]) -> Option<Arc<fabric_bus::Bus>> {
    let bus = memory(4)?;
    for (at, part) in (0..4 * PAGE).step_by(bytes.len().max(1)).zip(std::iter::repeat(bytes)) {
        let room = usize::try_from(4 * PAGE - at).ok()?.min(part.len());
        bus.ram().copy_in(at, part.get(..room)?)?;
    }
    Some(bus)
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
    let Some(bus) = filled(rest) else { return };
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
    behind_registers(bus, features, &setup, (identity(), Box::new(Echo::default())));
}

/// The same of a device of a kind of its own: all its queues (three at most) are set up alike.
pub fn device(bytes: &[u8], identity: Identity, backend: Box<dyn Backend>) {
    let (features, setup, rest) = set_up(bytes);
    if let Some(bus) = filled(rest) {
        behind_registers(bus, features, &setup, (identity, backend));
    }
}

fn behind_registers(
    bus: Arc<fabric_bus::Bus>,
    features: u64,
    setup: &Setup,
    (identity, backend): (Identity, Box<dyn Backend>),
) {
    let driver = Driver::new(bus, Mmio::new(identity), backend);
    let start = |setup: &Setup| {
        driver.set_up(features, &[*setup; 3]);
        driver.write(0x50, 1);
        driver.window.read(0x70, 4)
    };
    assert_eq!(start(setup).map(|status| status & 15), Ok(15));
    let saved = driver.slot.save();
    driver.attendant.quiesce();
    assert!(driver.slot.restore(&saved).is_ok());
    driver.attendant.attend_all();
    driver.write(0x70, 0);
    // A queue that is in order works, whatever came before.
    let _ = driver.bus.ram().fill(0, 4 * PAGE, 0);
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
