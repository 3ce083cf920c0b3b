//! Fuzz entry: any bytes, played by a driver on the device's registers and in its memory.

use crate::{Button, Keys, answer, identity};
use dev_core::Slot;
use dev_virtio::{Answer, Attendant, Attended, Mmio, When, feature};
use fabric_bus::{BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

const RAM: u64 = 0x8000_0000;
/// Where the registers' configuration space begins.
const CONFIG: u64 = 0x100;

/// Rings in memory that `bytes` fill, then steps: register writes, reads of the configuration, and presses.
pub fn input(bytes: &[u8]) {
    let Ok(ram) = GuestRam::new(4 * PAGE) else { return };
    let (steps, memory) = bytes.split_at(bytes.len() / 2);
    let ram = Arc::new(ram);
    let _ = ram.copy_in(0, memory.get(..3 * PAGE as usize).unwrap_or(memory));
    let mut builder = BusBuilder::new(ram);
    let Ok(()) = builder.ram("ram", RAM, 4 * PAGE, 0, true) else { return };
    let dma = Dma::new(Arc::new(builder.build()), 0);
    let button = Button::default();
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let device = Mmio::new(identity()).answering(Some(Answer(answer)));
    let slot = Slot::new(device, Vec::new(), &timers);
    let backend = Box::new(Keys::new(button.clone()));
    let attendant = Attendant::new(Arc::clone(&slot), dma, backend, |_| ());
    let window = Attended::new(Arc::clone(&slot), Arc::clone(&attendant), When::AtOnce);
    start(&window);
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
                start(&window);
                Ok(())
            }
            _ => {
                let pressed = button.press();
                assert_eq!(pressed, button.is_driven());
                attendant.attend_all();
                Ok(())
            }
        };
        said_fits(&window);
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

/// Sets both queues up in the pages of memory, as a driver does.
fn start(window: &dyn Target) {
    let write = |offset, value| {
        let _ = window.write(offset, 4, value);
    };
    write(0x70, 0);
    write(0x70, 3);
    for half in 0..2 {
        write(0x24, half);
        write(0x20, feature::USUAL >> (32 * half) & 0xffff_ffff);
    }
    write(0x70, 11);
    for queue in 0..2 {
        write(0x30, queue);
        write(0x38, 8);
        for (low, at) in [(0x80, RAM), (0x90, RAM + PAGE), (0xa0, RAM + 3 * PAGE)] {
            write(low, (at + 0x400 * queue) & 0xffff_ffff);
        }
        write(0x44, 1);
    }
    write(0x70, 15);
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
