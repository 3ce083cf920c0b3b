//! Frames, by a driver that means well.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::checksum::{Checked, check};
use crate::testkit::{Guest, RAM};
use std::sync::atomic::Ordering;

const MAC: [u8; 6] = [0x52, 0, 0, 2, 0, 1];
const RX: u64 = RAM;
const TX: u64 = RAM + 0x1000;
const BUFFERS: u64 = RAM + 0x4000;
/// Jumbo frames, no check sequence, checksums; buffers of 1536 bytes.
const CONFIG: u32 = 0x0102_0008;

/// A card that is set up, with `count` receive buffers of 1536 bytes; descriptors are `wide` or not.
fn guest(count: u64, wide: bool) -> Guest {
    let guest = Guest::new().unwrap();
    let stride = if wide { 16 } else { 8 };
    for n in 0..count {
        let wrap = if n + 1 == count { 2 } else { 0 };
        guest.words(RX + n * stride, &[(BUFFERS + n * 0x800) as u32 | wrap, 0]);
    }
    guest.words(TX, &[0, 1 << 31]);
    guest.set(0x04, CONFIG);
    guest.set(0x10, 0x0018_0f10 | if wide { 1 << 30 } else { 0 });
    guest.set(0x18, RX as u32);
    guest.set(0x1c, TX as u32);
    guest.set(0x88, u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]));
    guest.set(0x8c, u32::from_le_bytes([MAC[4], MAC[5], 0, 0]));
    guest.set(0x28, 0xffff_ffff);
    guest.set(0x00, 0x1c);
    guest
}

/// A frame of that many bytes to the card.
fn frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|at| at as u8).collect();
    frame[..6].copy_from_slice(&MAC);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

#[test]
fn frames_are_sent_from_one_buffer_or_many() {
    for wide in [false, true] {
        let guest = guest(1, wide);
        let stride = if wide { 16 } else { 8 };
        let bytes = frame(100);
        guest.store(BUFFERS, &bytes);
        guest.words(TX, &[BUFFERS as u32, 30]);
        guest.words(TX + stride, &[BUFFERS as u32 + 30, 70 | 1 << 15]);
        guest.words(TX + 2 * stride, &[BUFFERS as u32, 20 | 1 << 15]);
        guest.words(TX + 3 * stride, &[0, 1 << 31]);
        guest.set(0x00, 0x21c);
        let sent = guest.wire.take_sent();
        assert_eq!((sent.len(), &sent[0]), (2, &bytes));
        assert_eq!((sent[1].len(), &sent[1][..20]), (60, &bytes[..20]), "padded");
        // The first descriptor of a frame is given back for all.
        let used = [0, 1, 2].map(|n| guest.word(TX + n * stride + 4) >> 31);
        assert_eq!(used, [1, 0, 1]);
        assert_eq!(guest.get(0x24), 0x88);
        assert_eq!((guest.get(0x14), guest.get(0x1c)), (0x21, (TX + 3 * stride) as u32));
        assert_eq!((guest.get(0x108), guest.get(0x100), guest.get(0x118), guest.get(0x11c)), (2, 168, 1, 1));
        // Stopping brings the pointer back.
        guest.set(0x00, 0x14);
        assert_eq!(guest.get(0x1c), TX as u32);
    }
}

#[test]
fn checksums_are_made_but_for_frames_that_have_their_check_sequence() {
    let guest = guest(1, false);
    let mut udp = frame(14 + 20 + 8 + 30);
    udp[12..14].copy_from_slice(&[8, 0]);
    udp[14..34].copy_from_slice(&[0x45, 0, 0, 58, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    udp[40..42].fill(0);
    guest.store(BUFFERS, &udp);
    guest.words(TX, &[BUFFERS as u32, udp.len() as u32 | 1 << 15]);
    guest.words(TX + 8, &[BUFFERS as u32, udp.len() as u32 | 1 << 15 | 1 << 16]);
    guest.words(TX + 16, &[0, 1 << 31]);
    guest.set(0x00, 0x21c);
    let sent = guest.wire.take_sent();
    assert_eq!(check(&sent[0]), Ok(Checked::Udp));
    assert_eq!(sent[1], udp[..udp.len() - 4]);
}

#[test]
fn frames_are_received_into_one_buffer_or_many() {
    for wide in [false, true] {
        let guest = guest(4, wide);
        let stride = if wide { 16 } else { 8 };
        let (short, long) = (frame(30), frame(2000));
        guest.wire.comes(&short);
        guest.wire.comes(&long);
        guest.station.attend();
        assert_eq!(guest.get(0x24), 2);
        assert_eq!((guest.word(RX) & 3, guest.word(RX + 4)), (1, 0x0800_c000 | 60));
        assert_eq!(guest.load(BUFFERS, 30), short);
        // Start, then end with the length of all.
        assert_eq!(guest.word(RX + stride + 4), 0x0800_4000);
        assert_eq!(guest.word(RX + 2 * stride + 4), 0x0800_8000 | 2000);
        let parts = [guest.load(BUFFERS + 0x800, 1536), guest.load(BUFFERS + 0x1000, 464)].concat();
        assert_eq!(parts, long);
        assert_eq!((guest.get(0x18), guest.get(0x20)), ((RX + 3 * stride) as u32, 2));
        assert_eq!((guest.get(0x158), guest.get(0x168), guest.get(0x180)), (2, 1, 1));
    }
}

#[test]
fn a_frame_waits_for_a_buffer() {
    let guest = guest(2, false);
    (0..3).for_each(|_| guest.wire.comes(&frame(100)));
    guest.station.attend();
    assert_eq!((guest.get(0x24), guest.get(0x20), guest.get(0x1a0)), (6, 3, 1));
    // The driver gives the first back, and enables interrupts.
    guest.words(RX, &[BUFFERS as u32, 0]);
    guest.set(0x28, 2);
    assert_eq!((guest.word(RX) & 1, guest.get(0x24)), (1, 2));
    // The next one is given without a word; the card looks by itself.
    guest.wire.comes(&frame(200));
    guest.station.attend();
    guest.words(RX + 8, &[BUFFERS as u32 | 2, 0]);
    guest.passes(2_000_000);
    assert!(guest.slot.with(|gem, _| dev_core::Device::wants_host(gem)), "it rings");
    guest.station.attend();
    assert_eq!(guest.word(RX + 12) & 0x3fff, 200);
}

#[test]
fn what_is_not_wanted_or_wrong_is_not_received() {
    let guest = guest(8, false);
    let mut other = frame(100);
    other[5] ^= 0xff;
    guest.wire.comes(&other);
    guest.wire.comes(&frame(10_300));
    guest.wire.comes(&[1, 2, 3]);
    let mut broken = frame(60);
    broken[12..14].copy_from_slice(&[8, 0]);
    broken[14..34].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 9, 9, 10, 0, 2, 15, 10, 0, 2, 2]);
    guest.wire.comes(&broken);
    guest.station.attend();
    assert_eq!((guest.get(0x24), guest.word(RX) & 1), (0, 0));
    // Oversize, too short for a header, the checksum of IP.
    assert_eq!([0x188, 0x194, 0x1a8].map(|at| guest.get(at)), [1, 1, 1]);
}

#[test]
fn the_check_sequence_and_an_offset_are_there_if_they_are_wanted() {
    let guest = guest(4, false);
    guest.set(0x04, CONFIG & !0x2_0000 | 2 << 14);
    guest.wire.comes(&frame(100));
    guest.station.attend();
    assert_eq!(guest.word(RX + 4) & 0x3fff, 104);
    assert_eq!(guest.load(BUFFERS + 2, 100), frame(100));
    assert_eq!(guest.load(BUFFERS + 102, 4), crate::checksum::frame_check(&frame(100)));
}

#[test]
fn a_port_that_is_full_is_tried_again_and_frames_without_a_cable_are_lost() {
    let guest = guest(1, false);
    guest.store(BUFFERS, &frame(100));
    guest.words(TX, &[BUFFERS as u32, 100 | 1 << 15]);
    guest.words(TX + 8, &[0, 1 << 31]);
    guest.wire.full.store(true, Ordering::SeqCst);
    guest.set(0x00, 0x21c);
    assert_eq!((guest.word(TX + 4) >> 31, guest.get(0x14), guest.rung()), (0, 8, 2));
    assert_eq!(guest.station.waits().1, (true, true));
    guest.wire.full.store(false, Ordering::SeqCst);
    guest.station.attend();
    assert_eq!((guest.wire.take_sent().len(), guest.station.waits().1), (1, (true, false)));
    guest.wire.up.store(false, Ordering::SeqCst);
    guest.words(TX + 8, &[BUFFERS as u32, 100 | 1 << 15]);
    guest.words(TX + 16, &[0, 1 << 31]);
    guest.set(0x00, 0x21c);
    assert_eq!((guest.word(TX + 12) >> 31, guest.wire.take_sent().len()), (1, 0));
    assert_eq!(guest.station.waits().1, (false, false));
}
