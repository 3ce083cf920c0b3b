//! Fuzz entry: any driver, and any frames.

use crate::testkit::{Guest, RAM, SIZE};
use dev_core::{Device, Plugged};
use std::sync::atomic::Ordering;

/// A driver that sets the card up, so that what follows has something to go wrong with: rings at the beginning of memory.
const SET_UP: [(u64, u32); 8] = [
    (0x04, 0x0102_0010),
    (0x10, 0x4002_0f10),
    (0x18, RAM as u32),
    (0x1c, RAM as u32 + 0x1000),
    (0x28, 0xffff_ffff),
    (0x88, 0x0200_0052),
    (0x8c, 0x0100),
    (0x00, 0x021c),
];

/// Plays `bytes` as accesses to registers and memory, frames that come, time and threads.
///
/// # Panics
/// If the card breaks a rule: it works without end, its state does not come back, or it sends what is no frame.
pub fn card(bytes: &[u8]) {
    let Some(guest) = Guest::new() else { return };
    let mut steps = bytes.iter().copied();
    let mut number = |count: usize| -> Option<u64> {
        (0..count).try_fold(0, |n, _| Some(n << 8 | u64::from(steps.next()?)))
    };
    while let Some(op) = number(1) {
        let played = match op & 7 {
            0 => number(2).map(|offset| _ = guest.get((offset % 0x2100) & !3)),
            1 => number(6).map(|word| guest.set(((word >> 32) % 0x2100) & !3, word as u32)),
            2 => number(6).map(|word| guest.words((RAM + (word >> 32) % SIZE) & !3, &[word as u32])),
            // Descriptors: where in a ring, a buffer, a second word.
            3 => number(7).map(|word| {
                let at = RAM + (word >> 48) * 8;
                let low = (word >> 32) as u32 & 0xffff;
                guest.words(at, &[RAM as u32 + low, word as u32]);
            }),
            4 => number(3).map(|word| {
                let (first, len) = ((word >> 16) as u8, (word & 0x3fff) as usize);
                guest.wire.comes(&vec![first; len]);
            }),
            5 => {
                guest.passes(op << 15);
                guest.wire.full.store(op & 0x80 != 0, Ordering::SeqCst);
                guest.wire.up.store(op & 0x40 == 0, Ordering::SeqCst);
                Some(())
            }
            6 => {
                SET_UP.iter().for_each(|&(offset, value)| guest.set(offset, value));
                Some(())
            }
            _ if op & 8 != 0 => {
                guest.station.quiesce();
                let saved = Plugged::save(&*guest.slot);
                assert!(guest.slot.restore(&saved).is_ok(), "a card refuses its own state");
                assert_eq!(Plugged::save(&*guest.slot), saved, "the restored card has another state");
                Some(())
            }
            _ => {
                Plugged::reset(&*guest.slot);
                Some(())
            }
        };
        if played.is_none() {
            return;
        }
        assert!(guest.attends(1000) < 1000, "it works without end");
        guest.slot.with(|gem, now| assert!(gem.deadline(now).is_none_or(|at| at + (1 << 24) > now)));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_card_keeps_the_rules_under_any_bytes() {
        for round in 1..100 {
            super::card(&dev_core::chipset::noise(round, 1500));
        }
        // With a driver that has set it up.
        for round in 1..100 {
            let mut bytes = vec![6];
            bytes.extend(dev_core::chipset::noise(round, 1500));
            super::card(&bytes);
        }
    }
}
