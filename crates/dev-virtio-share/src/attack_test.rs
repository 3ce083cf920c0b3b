//! What a hostile driver may do to these devices, and a server that fails. What it may say to the server itself is tested there
//! (`host-share/tests/attacks.rs`), what it may do to queues in `dev-virtio`.

use crate::testkit::{Machine, PLAIN, fuse, nine};
use dev_virtio::Attend;
use host_share::{LONGEST_MESSAGE, Protocol, opcode};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const BOTH: [Protocol; 2] = [Protocol::Fuse, Protocol::Nine];
const FUSE_EIO: &[u8] = b"\x10\0\0\0\xfb\xff\xff\xff\x07\0\0\0\0\0\0\0";
const NINE_EIO: &[u8] = b"\x0b\0\0\0\x07\x07\0\x05\0\0\0";

/// A request of number 7, and the error EIO for it.
fn request(protocol: Protocol) -> (Vec<u8>, &'static [u8]) {
    match protocol {
        Protocol::Fuse => (fuse(opcode::GETATTR, 7, 1, &[0; 16]), FUSE_EIO),
        Protocol::Nine => (nine(120, 7, &[0; 4]), NINE_EIO),
    }
}

#[test]
fn attack_a_reply_has_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Fuse, false);
    let (request, error) = request(Protocol::Fuse);
    for room in [0, 1, 15] {
        assert_eq!(
            machine.ask(&mut ring, &[&request], &[room + 1]).unwrap().0,
            if room == 15 { 16 } else { 0 }
        );
    }
    let (written, reply) = machine.ask(&mut ring, &[&request], &[100]).unwrap();
    assert_eq!((written, &reply[..16], &reply[16..]), (16, error, &[0; 84][..]));
    assert_eq!(machine.ask(&mut ring, &[&request], &[]), Some((0, vec![])), "none at all");
    assert!(!machine.guest.waits() && machine.complaints.lock().unwrap().is_empty());
}

#[test]
fn attack_requests_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for protocol in BOTH {
        let (machine, mut ring) = Machine::driven(folder.path(), protocol, false);
        // Nothing to read, and less than a header.
        for readable in [&[][..], &[&[1][..]], &[&[0xff; 30]]] {
            let (written, reply) = machine.ask(&mut ring, readable, &[100]).unwrap();
            assert!(written >= 11, "{protocol:?}");
            assert_eq!(u32::from_le_bytes(reply[..4].try_into().unwrap()), written);
        }
        assert!(!machine.guest.waits());
    }
}

#[test]
fn attack_a_request_longer_than_any_never_reaches_the_server() {
    let folder = tempfile::tempdir().unwrap();
    for protocol in BOTH {
        let (machine, _) = Machine::driven(folder.path(), protocol, false);
        let queue = u64::from(protocol == Protocol::Fuse);
        let ram = dev_virtio::testkit::RAM;
        let table = dev_virtio::testkit::area(queue);
        // One buffer of all memory to read, one to write.
        let long = LONGEST_MESSAGE as u32 + 0x2_0000;
        let descriptor = |at: u64, len: u32, flags: u16, next: u16| {
            [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
        };
        let reply = ram + 0xf_0000;
        machine.guest.poke(table, &[descriptor(ram, long, 1, 1), descriptor(reply, 100, 2, 0)].concat());
        machine.guest.poke(table + 0x4000, &[0, 0, 1, 0, 0, 0]);
        machine.guest.write(dev_virtio::testkit::reg::QUEUE_NOTIFY, queue);
        assert!(machine.server.seen.lock().unwrap().is_empty(), "{protocol:?}");
        assert_eq!(machine.guest.peek(table + 0x8002, 2), [1, 0], "it is given back");
        let error = machine.guest.peek(reply, 11);
        let number = if protocol == Protocol::Fuse { &error[4..8] } else { &error[7..11] };
        let expected = if protocol == Protocol::Fuse { -22i32 } else { 22 };
        assert_eq!(number, expected.to_le_bytes());
    }
}

#[test]
fn attack_memory_that_is_not_there_stops_the_device_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (machine, _) = Machine::driven(folder.path(), Protocol::Fuse, false);
    let table = dev_virtio::testkit::area(1);
    let far = [&u64::MAX.to_le_bytes()[..], &40u32.to_le_bytes(), &[0; 4]].concat();
    machine.guest.poke(table, &far);
    machine.guest.poke(table + 0x4000, &[0, 0, 1, 0, 0, 0]);
    machine.guest.write(dev_virtio::testkit::reg::QUEUE_NOTIFY, 1);
    assert!(machine.guest.waits());
    let (request, _) = request(Protocol::Fuse);
    let mut ring = machine.start(PLAIN);
    assert_eq!(machine.ask(&mut ring, &[&request], &[120]).unwrap().0, 120);
}

#[test]
fn attack_replies_that_nobody_asked_for_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    for protocol in BOTH {
        let (machine, mut ring) = Machine::driven(folder.path(), protocol, false);
        for token in [0, 1, 77, u64::MAX] {
            machine.server.say(token, b"forged");
        }
        let look = || {
            for _ in 0..6 {
                machine.guest.attendant.attend();
            }
        };
        look();
        assert!(ring.collect().is_empty() && !machine.guest.waits());
        let (request, _) = request(protocol);
        machine.guest.send(&mut ring, &[&request], &[120]);
        look();
        assert_eq!(ring.collect().len(), 1);
    }
}

#[test]
fn a_dead_server_is_an_error_to_the_guest_and_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    for protocol in BOTH {
        for at_once in [false, true] {
            let (machine, mut ring) = Machine::driven(folder.path(), protocol, at_once);
            let (request, error) = request(protocol);
            if !at_once {
                // It dies with one request under way and one that has no room.
                machine.server.silent.store(true, Ordering::SeqCst);
                machine.server.room.store(1, Ordering::SeqCst);
                machine.guest.send(&mut ring, &[&request], &[100]);
                machine.guest.send(&mut ring, &[&request], &[100]);
                assert!(ring.collect().is_empty());
            }
            machine.server.gone.store(true, Ordering::SeqCst);
            machine.guest.attendant.attend();
            for (_, written, reply) in ring.collect() {
                assert_eq!(&reply[..written as usize], error);
            }
            assert_eq!(ring.outstanding(), 0);
            for _ in 0..3 {
                let (written, reply) = machine.ask(&mut ring, &[&request], &[100]).unwrap();
                assert_eq!(&reply[..written as usize], error);
            }
            assert!(machine.guest.attendant.watched().is_empty(), "nobody waits for it");
            let complaints = machine.complaints.lock().unwrap();
            assert!(matches!(&complaints[..], [one] if one.contains("has ended")), "{complaints:?}");
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up_where_somebody_waits() {
    let folder = tempfile::tempdir().unwrap();
    for at_once in [false, true] {
        let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Fuse, at_once);
        machine.server.silent.store(true, Ordering::SeqCst);
        let began = Instant::now();
        machine.guest.send(&mut ring, &[&request(Protocol::Fuse).0], &[100]);
        if !at_once {
            Attend::quiesce(&*machine.guest.attendant);
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
        let all = ring.collect();
        assert_eq!(&all[0].2[..16], FUSE_EIO);
        let complaints = machine.complaints.lock().unwrap();
        assert!(matches!(&complaints[..], [one] if one.contains("does not answer")), "{complaints:?}");
    }
}
