//! Fuzz entry: any bytes, played by a driver on the device's registers and in its memory.

use crate::{Button, Keys, answer, identity};
use dev_virtio::fuzz_driver::{Driver, memory};
use dev_virtio::{Answer, Mmio, feature};
use fabric_bus::Target;
use fabric_ram::PAGE;

/// Where the registers' configuration space begins.
const CONFIG: u64 = 0x100;

/// Queues that there are.
const QUEUES: u64 = 2;

/// Rings in memory that `bytes` fill, then steps: register writes, reads of the configuration, and presses.
pub fn input(bytes: &[u8]) {
    let Some(bus) = memory(4) else { return };
    let (steps, rings) = bytes.split_at(bytes.len() / 2);
    let _ = bus.ram().copy_in(0, rings.get(..3 * PAGE as usize).unwrap_or(rings));
    let button = Button::default();
    let device = Mmio::new(identity()).answering(Some(Answer(answer)));
    let driver = Driver::new(bus, device, Box::new(Keys::new(button.clone())));
    let Driver { window, attendant, .. } = &driver;
    driver.start(feature::USUAL, QUEUES);
    for step in steps.chunks(6) {
        let &[kind, place, a, b, c, d] = step else { break };
        let value = u64::from(u32::from_le_bytes([a, b, c, d]));
        let size = 1 << (kind >> 6);
        let _ = match kind & 7 {
            0 | 1 => window.write(u64::from(place) * 4, 4, value),
            2 => window.write(CONFIG + u64::from(place & 7), size, value),
            3 => window.read(CONFIG + u64::from(place), size).map(|_| ()),
            4 => window.write(0x50, 4, u64::from(place & 1)),
            5 => {
                driver.start(feature::USUAL, QUEUES);
                Ok(())
            }
            _ => {
                let pressed = button.press();
                assert_eq!(pressed, button.is_driven());
                attendant.attend_all();
                Ok(())
            }
        };
        said_fits(window);
    }
    attendant.quiesce();
    assert!(!button.press(), "a device that stands still is driven");
}

/// What the space says of its own size is true of what is in it.
fn said_fits(window: &dyn Target) {
    let byte = |at| window.read(CONFIG + at, 1).unwrap_or(0);
    let size = byte(2);
    assert!(size <= 128, "an answer of {size} bytes");
    assert!((8 + size..136).all(|at| byte(at) == 0), "an answer that is longer than it says");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use dev_core::chipset::noise;

    #[test]
    fn drivers_of_any_kind() {
        for round in 1..=200 {
            let small = |two: &[u8]| if two[0] & 3 == 0 { two[1] } else { two[1] & 15 };
            let bytes: Vec<u8> = noise(round, 2400).chunks_exact(2).map(small).collect();
            super::input(&bytes);
        }
    }
}
