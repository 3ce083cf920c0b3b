//! Drivers and networks that mean harm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::testkit::{Guest, RAM, SIZE};

const RX: u64 = RAM;
const TX: u64 = RAM + 0x1000;
const BUFFER: u32 = RAM as u32 + 0x4000;
const LAST: u32 = 1 << 15;
const WRAP: u32 = 1 << 30;
const USED: u32 = 1 << 31;

fn guest() -> Guest {
    let guest = Guest::new().unwrap();
    // All frames, jumbo ones too; buffers of 64 bytes.
    guest.set(0x04, 0x0002_0018);
    guest.set(0x10, 0x4001_0f10);
    guest.set(0x18, RX as u32);
    guest.set(0x1c, TX as u32);
    guest.set(0x28, 0xffff_ffff);
    guest.words(RX, &[1]);
    guest.words(TX, &[0, USED]);
    guest.set(0x00, 0x1c);
    guest
}

/// Starts, and says whether sending has stopped with an error.
fn breaks(guest: &Guest) -> bool {
    guest.set(0x00, 0x21c);
    assert!(guest.attends(100) < 100, "it works without end");
    let (status, events) = (guest.get(0x14), guest.get(0x24));
    status & 8 == 0 && status & 0x110 == 0x110 && events & 0x840 == 0x840
}

#[test]
fn attack_with_a_ring_that_loops_and_no_end_of_a_frame() {
    let guest = guest();
    for len in [0, 1, 0x3fff] {
        guest.words(TX, &[BUFFER, len | WRAP]);
        assert!(breaks(&guest), "{len}");
        guest.set(0x14, 0xffff_ffff);
        guest.set(0x00, 0x14);
    }
    assert!(guest.wire.take_sent().is_empty());
    // It goes on behind that.
    guest.words(TX, &[BUFFER, 100 | LAST, 0, 0, 0, USED]);
    assert!(!breaks(&guest));
    assert_eq!(guest.wire.take_sent().len(), 1);
}

#[test]
fn attack_with_a_ring_that_is_never_used_up() {
    let guest = guest();
    // Each frame's descriptor is given back, so that the second time round there is none.
    guest.words(TX, &[BUFFER, 60 | LAST, 0, 0, BUFFER, 60 | LAST | WRAP]);
    assert!(!breaks(&guest));
    assert_eq!((guest.wire.take_sent().len(), guest.get(0x14) & 8), (2, 0));
    // In a burst, others have their turn after so many.
    let descriptors: Vec<u32> = (0..200).flat_map(|_| [BUFFER, 60 | LAST, 0, 0]).collect();
    guest.words(TX + 0x1000, &descriptors);
    guest.words(TX + 0x1000 + 3200, &[0, USED]);
    guest.set(0x1c, TX as u32 + 0x1000);
    guest.set(0x00, 0x21c);
    assert_eq!(guest.wire.take_sent().len(), 64);
    assert!(guest.rung() > 0);
}

#[test]
fn attack_with_descriptors_and_buffers_outside_memory() {
    let end = (RAM + SIZE) as u32;
    for at in [0, 0x1000_0000, end, end - 4, 0xffff_fffc] {
        let guest = guest();
        guest.set(0x00, 0);
        guest.set(0x1c, at);
        guest.set(0x18, at);
        guest.set(0x00, 0x1c);
        assert!(breaks(&guest), "a ring at {at:#x}");
        guest.wire.comes(&[0xff; 60]);
        guest.station.attend();
        assert_eq!((guest.get(0x20) & 8, guest.get(0x24)), (8, 0x800), "a ring at {at:#x}");
    }
    for (buffer, high, len) in
        [(0, 0, 60), (end - 4, 0, 60), (BUFFER, 1, 60), (0xffff_fffc, 0xffff_ffff, 60), (end, 0, 1)]
    {
        let guest = guest();
        guest.words(TX, &[buffer, len | LAST, high, 0]);
        assert!(breaks(&guest), "a buffer at {buffer:#x}");
        guest.words(RX, &[buffer & !3, 0, high, 0, buffer & !3 | 2, 0, high, 0]);
        guest.wire.comes(&[0xff; 60]);
        guest.station.attend();
        assert_eq!(guest.get(0x24), 0x800, "a buffer at {buffer:#x}");
        assert_eq!(guest.word(RX) & 1, 0, "the frame is lost, and its descriptor as it was");
    }
}

#[test]
fn attack_with_a_receive_ring_that_is_too_small_for_a_frame() {
    let guest = guest();
    guest.words(RX, &[BUFFER | 2, 0, 0, 0]);
    guest.wire.comes(&[0xff; 1000]);
    guest.wire.comes(&[0xff; 60]);
    assert!(guest.attends(10) < 10);
    // The first is lost; the second has its place.
    assert_eq!((guest.get(0x24), guest.word(RX + 4) & 0x3fff), (0x802, 60));
}

#[test]
fn attack_with_buffers_of_nothing() {
    let guest = guest();
    guest.set(0x10, 0x4000_0f10);
    guest.words(RX, &[BUFFER, 0, 0, 0, BUFFER | 2, 0, 0, 0]);
    guest.wire.comes(&[0xff; 60]);
    assert!(guest.attends(10) < 10);
    assert_eq!((guest.get(0x24), guest.word(RX) & 1), (0x800, 0));
}

#[test]
fn attack_with_buffers_that_are_the_rings() {
    let guest = guest();
    guest.words(RX, &[RX as u32, 0, 0, 0, RX as u32 | 2, 0, 0, 0]);
    (0..100).for_each(|_| guest.wire.comes(&[0xfc; 60]));
    assert!(guest.attends(100) < 100);
    guest.words(TX, &[TX as u32, 60 | LAST, 0, 0, TX as u32, 60 | LAST | WRAP, 0, 0]);
    guest.set(0x00, 0x21c);
    assert!(guest.attends(100) < 100);
}

#[test]
fn attack_with_a_frame_longer_than_any() {
    let guest = guest();
    let descriptors: Vec<u32> =
        (0..3).flat_map(|n| [BUFFER, 0x3fff | if n == 2 { LAST } else { 0 }, 0, 0]).collect();
    guest.words(TX, &descriptors);
    assert!(breaks(&guest));
    for len in [0, 1, 13, 10_237, 65_000] {
        guest.wire.comes(&vec![0xff; len]);
    }
    assert!(guest.attends(10) < 10);
    assert_eq!(guest.word(RX), 1, "nothing is written");
}

#[test]
fn attack_with_frames_that_come_back_without_end() {
    let guest = guest();
    let descriptors: Vec<u32> = (0..250).flat_map(|_| [BUFFER, 60 | LAST, 0, 0]).collect();
    guest.words(TX, &descriptors);
    guest.words(TX + 4000, &[0, USED]);
    // Nothing is received, so that they would pile up.
    guest.set(0x00, 0x21a & !4);
    assert!(guest.attends(100) < 100);
    guest.words(RX, &(0..100).flat_map(|_| [BUFFER, 0, 0, 0]).collect::<Vec<u32>>());
    guest.set(0x00, 0x1e);
    assert!(guest.attends(100) < 100);
    assert_eq!(guest.get(0x158), 64, "as many as are kept");
}
