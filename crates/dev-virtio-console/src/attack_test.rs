//! Drivers that are no drivers.

use crate::testkit::*;
use crate::{MOST_PORTS, MOST_WAITING, Role};
use dev_virtio::test_driver::Ring;
use dev_virtio::testkit::{RAM, area};
use std::sync::Arc;

/// A request of one buffer anywhere, behind `before` others of a split queue.
fn strike(machine: &Machine, queue: u64, before: u8, at: u64, len: u32, writable: bool) {
    let descriptor = [&at.to_le_bytes()[..], &len.to_le_bytes(), &[if writable { 2 } else { 0 }, 0, 0, 0]];
    machine.guest.poke(area(queue), &descriptor.concat());
    machine.guest.poke(area(queue) + 0x4004 + 2 * u64::from(before), &[0, 0]);
    machine.guest.poke(area(queue) + 0x4002, &[before + 1, 0]);
    machine.guest.write(0x50, queue);
}

#[test]
fn attack_with_buffers_outside_memory() {
    for queue in [0, 1, 2, 3, 4, 5] {
        for (at, len) in [(0, 64), (RAM + (4 << 20) - 4, 64), (u64::MAX - 3, 64), (u64::MAX, u32::MAX)] {
            let machine = started();
            let mut control = Ring::new(Arc::clone(&machine.guest.bus), PLAIN, 3, 16);
            for said in [(0, DEVICE_READY), (0, PORT_OPEN), (1, PORT_OPEN)] {
                let id = machine.guest.send(&mut control, &[&message(said.0, said.1, 1)], &[]);
                assert_eq!(control.collect(), [(id, 0, vec![])]);
            }
            strike(&machine, queue, if queue == 3 { 3 } else { 0 }, at, len, queue % 2 == 0);
            machine.ports.iter().for_each(|port| {
                port.feed(b"input");
            });
            machine.attend();
            assert!(machine.guest.waits(), "queue {queue}, {len} bytes at {at:#x}");
            // Behind a reset it works.
            let mut rings = machine.opened(PLAIN);
            machine.guest.send(&mut rings[1], &[b"on"], &[]);
            assert!(machine.drained(0).ends_with(b"on"));
        }
    }
}

/// A driver whose ports are open and whose queues have nothing in them that was not used.
fn started() -> Machine {
    let machine = two();
    machine.ports[1].set_connected(true);
    assert_eq!(machine.guest.negotiate(PLAIN.features() | ALL) & 8, 8);
    for queue in 0..6 {
        machine.guest.poke(area(queue), &[0; 0x1_0000]);
        machine.guest.set_queue(queue, 16);
    }
    machine.guest.drive();
    machine
}

#[test]
fn attack_with_messages_of_every_length() {
    let machine = two();
    let mut rings = machine.opened(PLAIN);
    for len in 0..20 {
        let id = machine.guest.send(&mut rings[3], &[&vec![0xff; len]], &[]);
        assert_eq!(rings[3].collect(), [(id, 0, vec![])], "{len}");
    }
    // In pieces it is one all the same.
    let [a, b, c, d, rest @ ..] = message(1, PORT_OPEN, 0);
    machine.guest.send(&mut rings[3], &[&[a], &[b, c, d], &rest, b"more"], &[]);
    assert_eq!(machine.ports[1].feed(b"x"), 0);
    assert!(!machine.guest.waits());
}

#[test]
fn attack_with_messages_about_ports_that_are_not_there() {
    let machine = two();
    let mut rings = machine.opened(PLAIN);
    for port in [2, 3, 30, 31, 32, 64, 0xffff, 0x8000_0000, u32::MAX] {
        for event in 0..10 {
            for value in [0, 1, 2, u16::MAX] {
                machine.say(&mut rings, port, event, value);
            }
        }
    }
    // DEVICE_READY is about no port: whoever says it hears of the ports again.
    assert!(machine.heard(&mut rings).iter().all(|said| said.0 < 2 && said.1 == 1));
    machine.guest.send(&mut rings[1], &[b"on"], &[]);
    assert_eq!(machine.drained(0), b"on");
}

#[test]
fn attack_with_a_flood_of_messages() {
    let machine = two();
    let mut rings = machine.start(PLAIN, ALL, 6);
    // It asks, and takes no answers.
    for _ in 0..2000 {
        machine.say(&mut rings, 0, DEVICE_READY, 1);
        for port in 0..2 {
            machine.say(&mut rings, port, PORT_READY, 1);
            machine.say(&mut rings, port, PORT_OPEN, 1);
        }
    }
    let all = (0..200).flat_map(|_| machine.heard(&mut rings)).count();
    assert!(all <= 16 + 5, "{all} messages were kept for it");
}

#[test]
fn attack_with_no_room_for_a_message() {
    for sizes in [&[7][..], &[0], &[3, 4]] {
        let machine = two();
        let mut rings = started_with(&machine, sizes);
        machine.guest.send(&mut rings[3], &[&message(0, DEVICE_READY, 1)], &[]);
        assert!(machine.guest.waits(), "{sizes:?}");
        assert_eq!(machine.heard(&mut machine.opened(PLAIN)), []);
    }
    // One that the name does not fit into.
    let machine = two();
    let mut rings = started_with(&machine, &[9]);
    machine.guest.send(&mut rings[3], &[&message(1, PORT_READY, 1)], &[]);
    assert!(machine.guest.waits());
}

fn started_with(machine: &Machine, sizes: &[usize]) -> Vec<Ring> {
    let mut rings = machine.start(PLAIN, ALL, 2);
    for number in 2..4 {
        machine.guest.poke(area(number), &[0; 0x1_0000]);
        let bus = Arc::clone(&machine.guest.bus);
        rings.push(Ring::new(bus, PLAIN, number, 16));
    }
    // All four from the start on, as queues are only looked at then.
    assert_eq!(machine.guest.negotiate(PLAIN.features() | ALL) & 8, 8);
    (0..4).for_each(|number| machine.guest.set_queue(number, 16));
    machine.guest.drive();
    machine.guest.send(&mut rings[2], &[], sizes);
    rings
}

#[test]
fn attack_with_buffers_of_nothing() {
    let machine = two();
    let mut rings = machine.opened(PLAIN);
    machine.ports[0].feed(b"waits");
    for _ in 0..100 {
        // For input, what cannot be written; for output, what cannot be read.
        machine.guest.send(&mut rings[0], &[b"12345678"], &[]);
        machine.guest.send(&mut rings[1], &[], &[64]);
        assert_eq!((rings[0].collect().len(), rings[1].collect().len()), (1, 1));
    }
    machine.guest.send(&mut rings[0], &[], &[16]);
    assert_eq!(bytes_of(rings[0].collect()), b"waits");
    assert_eq!(machine.drained(0), b"");
}

#[test]
fn attack_with_one_request_of_all_memory() {
    let machine = started();
    let (most, len) = (2 * MOST_WAITING, 3 << 20);
    strike(&machine, 1, 0, RAM, len, false);
    let mut came = 0;
    while came < len as usize {
        machine.attend();
        let part = machine.drained(0).len();
        assert!(0 < part && part <= most, "{part} bytes at a time");
        came += part;
    }
    assert_eq!(came, len as usize);
    // And one that is taken back in the middle is let go of.
    let machine = started();
    strike(&machine, 1, 0, RAM, len, false);
    machine.guest.write(0x70, 0);
    assert_eq!(machine.guest.read(0x70), 0);
    assert!(machine.drained(0).len() <= most);
}

#[test]
fn attack_with_more_ports_than_there_can_be() {
    let roles: Vec<_> = (0..100).map(|n| Some(Role::Named(n.to_string()))).collect();
    let machine = Machine::new(&roles);
    let mut rings = machine.start(PLAIN, ALL, 4);
    machine.say(&mut rings, 0, DEVICE_READY, 1);
    let all = (0..10).flat_map(|_| machine.heard(&mut rings)).count();
    assert_eq!(all, MOST_PORTS);
    assert_eq!(machine.guest.window().read(0x104, 4), Ok(MOST_PORTS as u64));
}

#[test]
fn attack_with_a_flood_of_emergency_writes() {
    let machine = two();
    for n in 0..2 * MOST_WAITING as u64 {
        machine.emergency(4, n);
    }
    assert_eq!(machine.drained(0).len(), MOST_WAITING);
    // Every width at every place of the configuration space.
    for offset in 0..32 {
        for size in [1, 2, 4] {
            let _ = machine.guest.window().write(0x100 + offset, size, u64::MAX);
        }
    }
    assert_eq!(machine.guest.window().read(0x104, 4), Ok(2));
}
