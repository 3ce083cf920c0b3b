//! The network device, driven as a driver should.

use crate::config::bit;
use crate::testkit::{MAC, Machine, PLAIN, frame};
use dev_core::Plugged;
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::{area, reg};
use host_net::Offloads;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const CONTROL: u64 = bit::CTRL_VQ | bit::CTRL_RX | bit::CTRL_RX_EXTRA | bit::CTRL_MAC_ADDR;
const WHOLE: u64 = bit::GUEST_CSUM | bit::GUEST_TSO4;

#[test]
fn frames_go_both_ways_by_every_kind_of_queue() {
    for rules in Rules::all() {
        let machine = Machine::new(1);
        let mut rings = machine.start(rules, 0, 2);
        let out = frame(0, 0, [9; 6], 60);
        machine.guest.send(&mut rings[1], &[&out[..12], &out[12..]], &[]);
        assert_eq!(rings[1].collect().len(), 1);
        assert_eq!(machine.wires[0].take_sent(), [out], "{rules:?}");
        machine.guest.send(&mut rings[0], &[], &[1024, 1024]);
        let come = frame(0, 0, MAC, 1500);
        machine.wires[0].comes(&come);
        machine.guest.attendant.attend();
        let (_, written, bytes) = rings[0].collect().pop().unwrap();
        assert_eq!((written as usize, &bytes[..come.len()]), (come.len(), &come[..]), "{rules:?}");
        assert!(machine.guest.line());
    }
}

#[test]
fn a_long_frame_takes_as_many_buffers_as_it_needs() {
    for rules in Rules::all().filter(|rules| rules.indirect) {
        let machine = Machine::new(1);
        let mut ring = machine.start(rules, WHOLE | bit::MRG_RXBUF, 1).remove(0);
        // In buffers that hold the longest frame, and in such as hold this one only, by way of the device's memory.
        for (buffers, len) in [(10, 40_000), (5, 40_000), (10, 100)] {
            for _ in 0..buffers {
                machine.guest.send(&mut ring, &[], &[1024; 8]);
            }
            let mut come = frame(1, 1, MAC, len);
            machine.wires[0].comes(&come);
            machine.guest.attendant.attend();
            let came = ring.collect();
            let needed = come.len().div_ceil(8192);
            come[10] = needed as u8;
            assert_eq!(came.len(), needed, "{rules:?} {buffers}");
            let mut bytes: Vec<u8> = Vec::new();
            for (_, written, part) in &came {
                bytes.extend(&part[..*written as usize]);
            }
            assert_eq!(bytes, come, "{rules:?} {buffers}");
            // The others are still there to be used: the next frame has the next buffer.
            if buffers > needed {
                machine.wires[0].comes(&frame(1, 1, MAC, 50));
                machine.guest.attendant.attend();
                assert_eq!(ring.collect().len(), 1, "{rules:?} {buffers}");
            }
            // Uses up what is left.
            for _ in 0..buffers {
                machine.wires[0].comes(&frame(0, 0, MAC, 60));
            }
            machine.guest.attendant.attend();
            machine.wires[0].coming.lock().unwrap().clear();
            ring.collect();
            let machine_free = ring.outstanding();
            assert_eq!(machine_free, 0);
            // A frame that waits for buffers would come first.
            machine.guest.send(&mut ring, &[], &[1024; 8]);
            machine.guest.attendant.attend();
            let left = ring.collect().len();
            if left == 0 {
                machine.wires[0].comes(&frame(0, 0, MAC, 60));
                machine.guest.attendant.attend();
                assert_eq!(ring.collect().len(), 1);
            }
        }
    }
}

#[test]
fn a_frame_waits_for_buffers_and_the_device_for_nothing_else_meanwhile() {
    let machine = Machine::new(1);
    assert_eq!(machine.watched(), [(false, false)], "no driver");
    let mut ring = machine.start(PLAIN, WHOLE | bit::MRG_RXBUF, 1).remove(0);
    assert_eq!(machine.watched(), [(false, false)], "no buffers");
    machine.wires[0].comes(&frame(0, 0, MAC, 20_000));
    machine.guest.attendant.attend();
    for _ in 0..3 {
        assert!(ring.collect().is_empty());
        assert_eq!(machine.watched(), [(false, false)]);
        machine.guest.send(&mut ring, &[], &[1024; 8]);
    }
    assert_eq!(ring.collect().len(), 3);
    machine.guest.send(&mut ring, &[], &[1024; 8]);
    assert_eq!(machine.watched(), [(true, false)], "a buffer, and no frame yet");
    machine.guest.write(reg::STATUS, 0);
    assert_eq!(machine.watched(), [(false, false)]);
}

#[test]
fn a_full_network_keeps_frames_in_the_queue() {
    let machine = Machine::new(1);
    let mut rings = machine.start(PLAIN, 0, 2);
    machine.wires[0].full.store(true, Ordering::SeqCst);
    let out: Vec<Vec<u8>> = (0..3).map(|n| frame(0, 0, [8; 6], 60 + n)).collect();
    for out in &out {
        machine.guest.send(&mut rings[1], &[out], &[]);
    }
    assert!(rings[1].collect().is_empty() && machine.wires[0].take_sent().is_empty());
    assert!(machine.watched()[0].1, "it waits for room");
    machine.wires[0].full.store(false, Ordering::SeqCst);
    machine.guest.attendant.attend();
    assert_eq!(machine.wires[0].take_sent(), out);
    assert_eq!(rings[1].collect().len(), 3);
    assert!(!machine.watched()[0].1);
}

#[test]
fn the_port_is_told_what_the_driver_takes_and_again_at_a_reset() {
    let machine = Machine::new(1);
    let taken = WHOLE | bit::GUEST_USO6;
    machine.start(PLAIN, taken, 1);
    machine.guest.write(reg::STATUS, 0);
    machine.start(PLAIN, bit::GUEST_TSO4, 1);
    let expected = Offloads { checksum: true, tso4: true, uso6: true, ..Offloads::default() };
    // What belongs to a checksum is nothing without one.
    assert_eq!(*machine.wires[0].agreed.lock().unwrap(), [expected, Offloads::default()]);
}

#[test]
fn what_came_for_the_driver_before_is_not_for_this_one() {
    let machine = Machine::new(1);
    machine.wires[0].comes(&frame(0, 0, MAC, 60));
    let mut ring = machine.start(PLAIN, 0, 1).remove(0);
    machine.guest.send(&mut ring, &[], &[1024, 1024]);
    machine.guest.attendant.attend();
    assert!(ring.collect().is_empty());
    // What was on its way when the offloads changed is lost, and its buffer is the next one's.
    for (flags, gso) in [(1, 0), (1, 1), (0, 0)] {
        machine.wires[0].comes(&frame(flags, gso, MAC, 60 + usize::from(gso)));
    }
    machine.guest.attendant.attend();
    let came = ring.collect();
    assert_eq!((came.len(), came[0].1), (1, 72));
}

#[test]
fn a_cable_that_is_pulled_out_is_told_of() {
    let machine = Machine::new(1);
    let mut rings = machine.start(PLAIN, bit::STATUS, 2);
    assert_eq!(machine.guest.window().read(reg::CONFIG + 6, 2), Ok(1));
    machine.wires[0].up.store(false, Ordering::SeqCst);
    machine.guest.send(&mut rings[1], &[&frame(0, 0, [1; 6], 60)], &[]);
    assert_eq!(rings[1].collect().len(), 1, "frames are lost, not kept");
    assert_eq!(machine.guest.window().read(reg::CONFIG + 6, 2), Ok(0));
    assert!(machine.guest.line() && machine.guest.read(reg::INTERRUPT_STATUS) & 2 != 0);
    assert_eq!(machine.watched(), [(false, false)]);
}

#[test]
fn commands_are_answered() {
    let machine = Machine::new(1);
    let mut ring = machine.start(PLAIN, CONTROL, 3).remove(2);
    let table = |all: &[[u8; 6]]| [&(all.len() as u32).to_le_bytes()[..], &all.concat()].concat();
    let other = [2, 0, 0, 0, 0, 9];
    for (class, command, data, answer) in [
        (0, 0, vec![0], 0),
        (0, 5, vec![1], 0),
        (0, 6, vec![1], 1),
        (0, 0, vec![], 1),
        (0, 0, vec![1, 1], 1),
        (1, 0, [table(&[other]), table(&[])].concat(), 0),
        (1, 0, table(&[other]), 1),
        (1, 0, [table(&[other]), table(&[]), vec![0]].concat(), 1),
        (1, 1, other.to_vec(), 0),
        (1, 1, vec![1, 2, 3, 4, 5], 1),
        // Not negotiated: several pairs, VLANs, announcements, offloads.
        (4, 0, vec![1, 0], 1),
        (2, 0, vec![1, 0], 1),
        (3, 0, vec![], 1),
        (5, 0, vec![0; 8], 1),
        (255, 255, vec![], 1),
    ] {
        assert_eq!(machine.command(&mut ring, class, command, &data), answer, "{class} {command} {data:?}");
    }
    assert_eq!(machine.guest.window().read(reg::CONFIG, 1), Ok(2), "the new address");
    assert_eq!(machine.guest.window().read(reg::CONFIG + 5, 1), Ok(9));
}

#[test]
fn frames_that_the_driver_does_not_want_do_not_come() {
    let machine = Machine::new(1);
    let mut rings = machine.start(PLAIN, CONTROL, 3);
    machine.command(&mut rings[2], 0, 0, &[0]);
    let mut first = |to| {
        machine.guest.send(&mut rings[0], &[], &[1024, 1024]);
        machine.wires[0].comes(&frame(0, 0, to, 60));
        machine.wires[0].comes(&frame(0, 0, [0xff; 6], 61));
        machine.guest.attendant.attend();
        machine.wires[0].coming.lock().unwrap().clear();
        rings[0].collect()[0].1
    };
    assert_eq!(first(MAC), 72);
    assert_eq!(first([2, 9, 9, 9, 9, 9]), 73, "the broadcast has the buffer of what was not wanted");
    // A device that stood still has forgotten nothing of that; one that was reset has.
    machine.guest.attendant.quiesce();
    assert_eq!(first([2, 9, 9, 9, 9, 9]), 73);
    let mut rings = machine.start(PLAIN, CONTROL, 3);
    machine.guest.send(&mut rings[0], &[], &[1024, 1024]);
    machine.wires[0].comes(&frame(0, 0, [2, 9, 9, 9, 9, 9], 60));
    machine.guest.attendant.attend();
    assert_eq!(rings[0].collect()[0].1, 72);
}

#[test]
fn several_pairs_are_used_as_the_driver_says() {
    let machine = Machine::new(2);
    let identity = machine.guest.window().read(reg::CONFIG + 8, 2);
    assert_eq!(identity, Ok(2));
    let status = machine.guest.negotiate(PLAIN.features() | bit::CTRL_VQ | bit::MQ);
    assert_eq!(status & 8, 8);
    let ring = |n| Ring::new(Arc::clone(&machine.guest.bus), PLAIN, n, 16);
    let mut rings: Vec<Ring> = (0..3)
        .map(|n| {
            machine.guest.set_queue(n, 16);
            ring(n)
        })
        .collect();
    // The control queue is the one behind both pairs; it lies where the one that is not set up would.
    machine.guest.write(reg::QUEUE_SEL, 4);
    machine.guest.write(reg::QUEUE_SIZE, 16);
    for (low, at) in [(reg::QUEUE_DESC, 0), (reg::QUEUE_DRIVER, 0x4000), (reg::QUEUE_DEVICE, 0x8000)] {
        machine.guest.set_address(low, area(3) + at);
    }
    machine.guest.write(reg::QUEUE_READY, 1);
    let mut control = ring(3);
    machine.guest.drive();
    for ring in [0, 2] {
        machine.guest.send(&mut rings[ring], &[], &[1024, 1024]);
        machine.guest.send(&mut rings[ring], &[], &[1024, 1024]);
    }
    let both = |machine: &Machine| {
        machine.wires.iter().for_each(|wire| wire.comes(&frame(0, 0, MAC, 60)));
        machine.guest.attendant.attend();
    };
    both(&machine);
    assert_eq!((rings[0].collect().len(), rings[2].collect().len()), (2, 0), "one pair at first");
    for (pairs, answer) in [(0u16, 1), (3, 1), (2, 0)] {
        assert_eq!(machine.command(&mut control, 4, 0, &pairs.to_le_bytes()), answer, "{pairs}");
    }
    for ring in [0, 2] {
        machine.guest.send(&mut rings[ring], &[], &[1024, 1024]);
    }
    both(&machine);
    assert_eq!((rings[0].collect().len(), rings[2].collect().len()), (1, 1));
}

#[test]
fn what_was_taken_and_not_used_is_there_for_the_next_one() {
    for rules in Rules::all().filter(|rules| rules.indirect) {
        let machine = Machine::new(1);
        let mut rings = machine.start(rules, WHOLE | bit::MRG_RXBUF, 2);
        // So that a packed ring has gone round.
        for _ in 0..21 {
            machine.guest.send(&mut rings[0], &[], &[1024; 8]);
            machine.wires[0].comes(&frame(0, 0, MAC, 60));
            machine.guest.attendant.attend();
            assert_eq!(rings[0].collect().len(), 1);
        }
        for _ in 0..12 {
            machine.guest.send(&mut rings[0], &[], &[1024; 8]);
        }
        machine.wires[0].full.store(true, Ordering::SeqCst);
        let out = frame(0, 0, [1; 6], 60);
        machine.guest.send(&mut rings[1], &[&out], &[]);
        machine.guest.attendant.quiesce();
        let saved = machine.guest.slot.save();
        machine.wires[0].full.store(false, Ordering::SeqCst);
        let next = Machine::on(Some(&machine), machine.wires.clone());
        next.guest.slot.restore(&saved).unwrap();
        next.guest.attendant.attend_all();
        assert_eq!(next.wires[0].take_sent(), [out], "{rules:?}");
        assert_eq!(rings[1].collect().len(), 1);
        next.wires[0].comes(&frame(0, 1, MAC, 50_000));
        next.guest.attendant.attend();
        assert_eq!(rings[0].collect().len(), 7, "{rules:?}");
    }
}
