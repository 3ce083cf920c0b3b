//! What a hostile driver does to a network card, one test for each attack.

use crate::config::bit;
use crate::testkit::{MAC, Machine, PLAIN, frame};
use dev_virtio::test_driver::Rules;
use dev_virtio::testkit::{BUFFERS, RAM, SIZE, area, reg};
use host_net::LONGEST_FRAME;

const MERGED: u64 = bit::GUEST_CSUM | bit::GUEST_TSO4 | bit::MRG_RXBUF;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

fn descriptor(at: u64, len: u32, flags: u16, next: u16) -> Vec<u8> {
    [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
}

/// Makes descriptor 0 of a queue available.
fn strike(machine: &Machine, queue: u64, descriptors: &[Vec<u8>]) {
    machine.guest.poke(area(queue), &descriptors.concat());
    machine.guest.poke(area(queue) + 0x4000, &[0, 0, 1, 0, 0, 0]);
    machine.guest.write(reg::QUEUE_NOTIFY, queue);
}

#[test]
fn attack_with_what_is_no_frame() {
    let machine = Machine::new(1);
    let mut rings = machine.start(PLAIN, 0, 2);
    for len in [0, 1, 11, 12, 25] {
        machine.guest.send(&mut rings[1], &[&vec![1; len]], &[]);
    }
    // Nothing to read, and only something to write.
    machine.guest.send(&mut rings[1], &[], &[100]);
    assert_eq!(rings[1].collect().len(), 6);
    assert!(machine.wires[0].take_sent().is_empty() && !machine.guest.waits());
}

#[test]
fn attack_with_a_frame_longer_than_any() {
    for len in [LONGEST_FRAME as u32 + 1, 0x8_0000, 0xf_0000] {
        let machine = Machine::new(1);
        machine.start(Rules { indirect: false, ..PLAIN }, 0, 2);
        strike(&machine, 1, &[descriptor(RAM, len, 0, 0)]);
        assert!(machine.wires[0].take_sent().is_empty() && !machine.guest.waits());
        assert_eq!(machine.guest.peek(area(1) + 0x8002, 2), [1, 0], "it comes back");
    }
}

#[test]
fn attack_with_buffers_outside_memory() {
    for (queue, flags) in [(0, WRITE), (1, 0)] {
        for at in [0, RAM - 2, RAM + SIZE - 50, RAM + SIZE, u64::MAX - 50] {
            let machine = Machine::new(1);
            machine.start(Rules { indirect: false, ..PLAIN }, MERGED, 2);
            strike(&machine, queue, &[descriptor(at, 100, flags, 0)]);
            assert!(machine.guest.waits(), "{queue} {at:#x}");
            // And comes back behind a reset.
            let mut ring = machine.start(PLAIN, 0, 2).remove(1);
            machine.guest.send(&mut ring, &[&frame(0, 0, MAC, 60)], &[]);
            assert_eq!(machine.wires[0].take_sent().len(), 1);
        }
    }
}

#[test]
fn attack_with_buffers_of_nothing() {
    for features in [MERGED, MERGED & !bit::MRG_RXBUF] {
        let machine = Machine::new(1);
        let mut ring = machine.start(PLAIN, features, 1).remove(0);
        for _ in 0..8 {
            machine.guest.send(&mut ring, &[], &[0, 0]);
            machine.guest.send(&mut ring, &[&[1, 2, 3]], &[]);
        }
        for _ in 0..40 {
            machine.wires[0].comes(&frame(0, 0, MAC, 60));
            machine.guest.attendant.attend();
        }
        assert!(!machine.guest.waits());
        let bytes: u32 = ring.collect().iter().map(|(_, written, _)| written).sum();
        assert_eq!(bytes, 0);
    }
}

/// A ring whose buffers all together do not hold a frame that is to go into several.
#[test]
fn attack_with_a_ring_that_never_holds_the_frame() {
    let machine = Machine::new(1);
    let mut ring = machine.start(PLAIN, MERGED, 1).remove(0);
    for _ in 0..16 {
        machine.guest.send(&mut ring, &[], &[16]);
    }
    machine.wires[0].comes(&frame(0, 0, MAC, 1000));
    machine.wires[0].comes(&frame(0, 0, MAC, 60));
    for _ in 0..4 {
        machine.guest.attendant.attend();
    }
    let bytes: u32 = ring.collect().iter().map(|(_, written, _)| written).sum();
    assert_eq!(bytes, 72, "the first is lost, the second is not");
}

/// The header with the number of buffers lies in several of them, the first of which are of one byte.
#[test]
fn attack_with_a_header_in_pieces() {
    let machine = Machine::new(1);
    let mut ring = machine.start(PLAIN, MERGED, 1).remove(0);
    for len in [1, 1, 9, 1, 1000] {
        machine.guest.send(&mut ring, &[], &[len]);
    }
    machine.wires[0].comes(&frame(0, 0, MAC, 60));
    machine.guest.attendant.attend();
    machine.guest.attendant.attend();
    let came = ring.collect();
    let bytes: Vec<u8> = came.iter().flat_map(|(_, n, bytes)| bytes[..*n as usize].to_vec()).collect();
    assert_eq!((came.len(), bytes[10], bytes.len()), (5, 5, 72));
}

/// All buffers, and both rings, are the same memory.
#[test]
fn attack_with_buffers_that_are_the_rings() {
    for rules in Rules::all() {
        let machine = Machine::new(1);
        machine.start(rules, MERGED, 2);
        for queue in [0, 1] {
            let flags = if queue == 0 { WRITE } else { 0 };
            let own = area(queue);
            let all: Vec<_> = (0..16).map(|_| descriptor(own, 0x1_0000, flags, flags)).collect();
            machine.guest.poke(own, &all.concat());
            machine.guest.poke(own + 0x4000, &[0, 0, 16, 0]);
            machine.guest.write(reg::QUEUE_NOTIFY, queue);
        }
        for n in 0..50 {
            machine.wires[0].comes(&frame(n, n, MAC, 60_000));
            machine.guest.attendant.attend();
        }
        machine.guest.write(reg::STATUS, 0);
        let mut ring = machine.start(PLAIN, 0, 2).remove(1);
        machine.wires[0].take_sent();
        machine.guest.send(&mut ring, &[&frame(0, 0, MAC, 60)], &[]);
        assert_eq!(machine.wires[0].take_sent().len(), 1, "{rules:?}");
    }
}

#[test]
fn attack_with_commands_of_every_length() {
    let features = bit::CTRL_VQ | bit::CTRL_RX | bit::CTRL_RX_EXTRA | bit::CTRL_MAC_ADDR;
    let machine = Machine::new(1);
    let mut ring = machine.start(PLAIN, features, 3).remove(2);
    for class in 0..6 {
        for command in 0..7 {
            for len in 0..20 {
                machine.command(&mut ring, class, command, &vec![0xff; len]);
            }
        }
    }
    // Without room for an answer, without a command, and with nothing at all in it.
    machine.guest.send(&mut ring, &[&[0, 0, 1]], &[]);
    machine.guest.send(&mut ring, &[&[0]], &[1]);
    machine.guest.send(&mut ring, &[], &[1]);
    assert_eq!(ring.collect().len(), 3);
    // Its address may have changed, of which it is told; no more than that.
    assert_eq!(machine.guest.read(reg::STATUS) & 64, 0);
}

#[test]
fn attack_with_a_table_of_more_addresses_than_there_are() {
    let features = bit::CTRL_VQ | bit::CTRL_RX;
    let machine = Machine::new(1);
    let mut rings = machine.start(PLAIN, features, 3);
    for count in [65u32, 1000, 0x2aaa_aaab, u32::MAX] {
        let table = [&count.to_le_bytes()[..], &[2; 60], &[0; 4]].concat();
        assert_eq!(machine.command(&mut rings[2], 1, 0, &table), 1, "{count}");
    }
    // A table longer than is kept means all.
    let long = [&100u32.to_le_bytes()[..], &[2; 600], &[0; 4]].concat();
    assert_eq!(machine.command(&mut rings[2], 1, 0, &long), 0);
    machine.command(&mut rings[2], 0, 0, &[0]);
    machine.guest.send(&mut rings[0], &[], &[1024, 1024]);
    machine.wires[0].comes(&frame(0, 0, [6, 6, 6, 6, 6, 6], 60));
    machine.guest.attendant.attend();
    assert_eq!(rings[0].collect().len(), 1);
}

/// A queue of a frame that is in a thousand pieces, which no system call takes.
#[test]
fn attack_with_a_frame_in_a_thousand_pieces() {
    let machine = Machine::new(1);
    machine.start(PLAIN, MERGED, 2);
    for (queue, flags) in [(0, WRITE), (1, 0)] {
        let table = RAM + 0x4_0000 + queue * 0x4000;
        for n in 0..1024u64 {
            let more = if n < 1023 { NEXT } else { 0 };
            let next = n as u16 + 1;
            machine.guest.poke(table + 16 * n, &descriptor(BUFFERS + 128 * n, 64, flags | more, next));
        }
        strike(&machine, queue, &[descriptor(table, 16 * 1024, 4, 0)]);
    }
    machine.wires[0].comes(&frame(0, 0, MAC, 5000));
    machine.guest.attendant.attend();
    machine.guest.attendant.attend();
    assert!(!machine.guest.waits());
    assert_eq!(machine.guest.peek(area(0) + 0x8002, 2), [1, 0], "by way of the device's memory");
}
