//! A fuzz entry: a driver that gives any memory away, that of its queues and memory it does not have included.

use crate::backend::{Balloon, REPORTING, identity};
use dev_virtio::fuzz_driver::{Driver, RAM, number};
use dev_virtio::{Mmio, feature};
use fabric_bus::BusBuilder;
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

const PAGES: u64 = 32;
/// Behind memory, in the same arena: memory that no driver can write.
const ROM: u64 = RAM + PAGES * PAGE;
const ROM_PAGES: u64 = 4;

/// Queues that are set up.
const QUEUES: u64 = 5;

/// A balloon behind its registers.
fn driver() -> Option<Driver> {
    let mut builder = BusBuilder::new(Arc::new(GuestRam::new((PAGES + ROM_PAGES) * PAGE).ok()?));
    builder.ram("ram", RAM, PAGES * PAGE, 0, true).ok()?;
    builder.ram("rom", ROM, ROM_PAGES * PAGE, PAGES * PAGE, false).ok()?;
    let bus = Arc::new(builder.build());
    bus.ram().fill(0, (PAGES + ROM_PAGES) * PAGE, 7)?;
    let refused = |error: &std::io::Error| panic!("the host refuses what was checked: {error}");
    Some(Driver::new(bus, Mmio::new(identity(0)), Box::new(Balloon::new(refused))))
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
    let Some(driver) = driver() else { return };
    driver.start(features, QUEUES);
    while !bytes.is_empty() {
        let what = number::<1>(&mut bytes);
        let queue = (what >> 4) % QUEUES;
        match what & 15 {
            0..=4 => {
                let (at, len, flags) =
                    (number::<2>(&mut bytes), number::<3>(&mut bytes), number::<1>(&mut bytes));
                let _ = driver.give(queue, RAM - PAGE + (at << 2), len, flags);
                driver.write(0x50, queue);
            }
            5..=7 => {
                // A page's number, somewhere.
                let (at, page) = (number::<2>(&mut bytes) << 2, number::<1>(&mut bytes));
                let _ = driver.bus.ram().store(at % (PAGES * PAGE), ((RAM >> 12) + page) as u32 - 8);
            }
            8 => {
                let (at, value) = (number::<2>(&mut bytes), number::<2>(&mut bytes));
                let _ = driver.bus.ram().store((at << 1) % (PAGES * PAGE), value as u16);
            }
            9 => driver.write(0x100 + (number::<1>(&mut bytes) & 12), number::<4>(&mut bytes)),
            10 => driver.attendant.quiesce(),
            11 => driver.start(features, QUEUES),
            _ => driver.write(0x50, queue),
        }
    }
    let rom = (PAGES * PAGE..(PAGES + ROM_PAGES) * PAGE).step_by(8);
    for at in rom {
        assert_eq!(
            driver.bus.ram().load(at),
            Some(0x0707_0707_0707_0707u64),
            "what is not the driver's is gone"
        );
    }
    // A driver in order is served, whatever came before.
    driver.write(0x70, 0);
    let _ = driver.bus.ram().fill(0, PAGES * PAGE, 0);
    driver.start(feature::VERSION_1 | REPORTING, QUEUES);
    let _ = driver.bus.ram().fill(8 * PAGE, 2 * PAGE, 9);
    assert!(driver.give(2, RAM + 8 * PAGE, PAGE, 2).is_some());
    driver.write(0x50, 2);
    let ends = [8 * PAGE, 9 * PAGE - 1, 9 * PAGE].map(|at| driver.bus.ram().load::<u8>(at));
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
