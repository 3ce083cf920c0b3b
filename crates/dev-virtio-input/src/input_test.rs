//! The power button, driven as a driver should and as it should not.

use crate::{Button, Keys, answer, identity};
use dev_core::Slot;
use dev_virtio::test_driver::Rules;
use dev_virtio::testkit::{Guest, reg};
use dev_virtio::{Answer, Mmio};
use fabric_bus::Target;
use fabric_clock::{Clock, Timers};
use std::sync::Arc;

const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };

fn guest() -> (Guest, Button) {
    let button = Button::default();
    (Guest::new(identity(), Box::new(Keys::new(button.clone()))), button)
}

/// What the device says of a selection.
fn asked(select: u64, subsel: u64) -> Vec<u8> {
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let slot = Slot::new(Mmio::new(identity()).answering(Some(Answer(answer))), Vec::new(), &timers);
    slot.write(reg::CONFIG + 1, 1, subsel).unwrap();
    slot.write(reg::CONFIG, 1, select).unwrap();
    let byte = |at| slot.read(reg::CONFIG + at, 1).unwrap() as u8;
    (8..8 + u64::from(byte(2))).map(byte).collect()
}

#[test]
fn it_says_what_it_is() {
    assert_eq!(asked(0x01, 0), b"Hostel power button");
    assert_eq!(asked(0x02, 0), b"power0");
    assert_eq!(asked(0x03, 0), [6, 0, 0x53, 0x48, 1, 0, 1, 0]);
    // Of all keys, number 116.
    let mut bits = vec![0; 15];
    bits[14] = 1 << 4;
    assert_eq!(asked(0x11, 1), bits);
}

#[test]
fn of_what_it_has_not_it_says_nothing() {
    // No properties, no axes, no other types of events, no other names.
    for (select, subsel) in
        [(0, 0), (1, 1), (0x10, 0), (0x11, 0), (0x11, 2), (0x11, 0x14), (0x12, 0), (255, 255)]
    {
        assert_eq!(asked(select, subsel), b"", "{select:#x} {subsel:#x}");
    }
}

#[test]
fn a_press_is_a_key_down_and_up() {
    for rules in Rules::all() {
        let (guest, button) = guest();
        let mut ring = guest.start(rules, 2).remove(0);
        for _ in 0..8 {
            guest.send(&mut ring, &[], &[8]);
        }
        assert!(ring.collect().is_empty());
        for _ in 0..2 {
            assert!(button.press());
            guest.attendant.attend_all();
            let got: Vec<_> =
                ring.collect().into_iter().map(|(_, written, bytes)| (written, bytes)).collect();
            let key = |value| (8, vec![1, 0, 116, 0, value, 0, 0, 0]);
            let sync = || (8, vec![0; 8]);
            assert_eq!(got, [key(1), sync(), key(0), sync()], "{rules:?}");
        }
        assert!(guest.line());
    }
}

#[test]
fn without_a_driver_nothing_is_pressed() {
    let (guest, button) = guest();
    assert!(!button.press());
    let mut ring = guest.start(PLAIN, 2).remove(0);
    for _ in 0..4 {
        guest.send(&mut ring, &[], &[8]);
    }
    assert!(ring.collect().is_empty(), "it was pressed before there was a driver");
    guest.write(reg::STATUS, 0);
    assert!(!button.press());
}

#[test]
fn events_wait_for_buffers_and_those_of_one_press_only() {
    let (guest, button) = guest();
    let mut ring = guest.start(PLAIN, 2).remove(0);
    for _ in 0..100 {
        button.press();
        guest.attendant.attend_all();
    }
    for _ in 0..3 {
        guest.send(&mut ring, &[], &[8]);
    }
    assert_eq!(ring.collect().len(), 3);
    for _ in 0..5 {
        guest.send(&mut ring, &[], &[8]);
    }
    assert_eq!(ring.collect().len(), 1, "the rest of one press");
}

#[test]
fn what_the_driver_says_of_lights_is_taken_and_given_back() {
    let (guest, _) = guest();
    let mut ring = guest.start(PLAIN, 2).remove(1);
    let id = guest.send(&mut ring, &[&[0x11, 0, 0, 0, 1, 0, 0, 0]], &[]);
    assert_eq!(ring.collect(), [(id, 0, vec![])]);
}

#[test]
fn attack_buffers_too_small_for_an_event() {
    for sizes in [&[7][..], &[0], &[3, 4], &[]] {
        let (guest, button) = guest();
        let mut ring = guest.start(PLAIN, 2).remove(0);
        let readable: &[&[u8]] = if sizes.is_empty() { &[b"12345678"] } else { &[] };
        guest.send(&mut ring, readable, sizes);
        button.press();
        guest.attendant.attend_all();
        assert!(guest.waits(), "{sizes:?}");
        assert!(!button.press(), "a device that gave up has a driver");
        // Behind a reset it works, and nothing is left of the press.
        let mut ring = guest.start(PLAIN, 2).remove(0);
        for _ in 0..4 {
            guest.send(&mut ring, &[], &[8]);
        }
        assert!(ring.collect().is_empty());
        assert!(button.press());
        guest.attendant.attend_all();
        assert_eq!(ring.collect().len(), 4);
    }
}

#[test]
fn attack_writes_to_what_the_device_says() {
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let slot = Slot::new(Mmio::new(identity()).answering(Some(Answer(answer))), Vec::new(), &timers);
    slot.write(reg::CONFIG, 1, 1).unwrap();
    for at in 2..0x100 {
        for size in [1, 2, 4] {
            let _ = slot.write(reg::CONFIG + at, size, u64::MAX);
        }
    }
    let name: Vec<u8> = (8..8 + 19).map(|at| slot.read(reg::CONFIG + at, 1).unwrap() as u8).collect();
    assert_eq!((slot.read(reg::CONFIG + 2, 1), name.as_slice()), (Ok(19), &b"Hostel power button"[..]));
    // The selection changes within one access of two bytes, too.
    slot.write(reg::CONFIG, 2, 0x0111).unwrap();
    assert_eq!(slot.read(reg::CONFIG + 2, 1), Ok(15));
}
