//! Fuzz entries: any bytes, played on the registers, and as requests in any memory.

use crate::items::key;
use crate::{Front, FwCfg, Items};
use dev_core::Slot;
use dev_core::chipset::Chipset;
use fabric_bus::{BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

/// Plays `bytes` on the registers.
pub fn registers(bytes: &[u8]) {
    chipset().fuzz(bytes);
}

fn items() -> Items {
    Items::default().with(key::KERNEL_DATA, [0x5a; 5000]).with_file("etc/file", *b"contents")
}

fn chipset() -> Chipset<FwCfg> {
    Chipset { make: || FwCfg::new(items()), window: 0x20, inputs: 1, host: |_, _, _| {} }
}

/// Bytes of a step: what to do, and a request: control word, length, address.
const STEP: usize = 17;
const BASE: u64 = 0x8000_0000;

/// Plays `bytes` as requests for DMA, each at a place that its first byte chooses.
///
/// # Panics
/// If the device writes outside what a request names, or the next bytes differ from the item's.
pub fn requests(bytes: &[u8]) {
    let Ok(ram) = GuestRam::new(4 * PAGE) else { return };
    let mut builder = BusBuilder::new(Arc::new(ram));
    if builder.ram("ram", BASE, 4 * PAGE, 0, true).is_err() {
        return;
    }
    let bus = Arc::new(builder.build());
    let slot = Slot::new(FwCfg::new(items()), Vec::new(), &Timers::new(Arc::new(Clock::virtual_())));
    let front = Front::new(slot, Dma::new(Arc::clone(&bus), 0));
    let (mut before, mut after) = (vec![0; 4 * PAGE as usize], vec![0; 4 * PAGE as usize]);
    for step in bytes.chunks_exact(STEP) {
        let Some((&choice, request)) = step.split_first() else { return };
        // Most of them where memory is: near its beginning, its end, and anywhere.
        let at = match choice & 3 {
            0 => BASE + u64::from(choice >> 2),
            1 => (BASE + 4 * PAGE).wrapping_sub(u64::from(choice >> 2)),
            2 => BASE + u64::from(choice) * 64,
            _ => u64::from(choice) << 56,
        };
        let _ = bus.ram_range(at, STEP as u64 - 1, true).map(|offset| bus.ram().copy_in(offset, request));
        let _ = bus.ram().copy_out(0, &mut before);
        assert!(front.write(0x10, 8, at.swap_bytes()).is_ok());
        let _ = bus.ram().copy_out(0, &mut after);
        let number = |range: std::ops::Range<usize>| {
            request.get(range).unwrap_or_default().iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte))
        };
        let (length, address) = (number(4..8), number(8..16));
        for (place, (old, new)) in (BASE..).zip(before.iter().zip(&after)) {
            let named = place.wrapping_sub(address) < length || place.wrapping_sub(at) < 4;
            assert!(
                old == new || named,
                "{place:#x} changed by a request at {at:#x} for {length} at {address:#x}"
            );
        }
        let _ = front.read(0, 1 << (choice >> 6));
    }
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn registers_keep_the_rules_under_any_bytes() {
        super::chipset().smoke(20);
    }

    #[test]
    fn requests_write_where_they_say_under_any_bytes() {
        for seed in 1..=20 {
            let mut bytes = noise(seed, 170);
            // Keys and addresses that are there, which chance would not find.
            for step in bytes.chunks_exact_mut(super::STEP) {
                let (key, control, pages, length) = (step[2] % 0x22, step[4] | 8, step[7] % 32, step[8]);
                step[1..9].copy_from_slice(&[0, key, 0, control, 0, 0, pages, length]);
                step[9..15].copy_from_slice(&[0, 0, 0, 0, 0x80, 0]);
            }
            super::requests(&bytes);
        }
    }
}
