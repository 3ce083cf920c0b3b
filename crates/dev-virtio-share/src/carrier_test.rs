//! The devices, driven as a driver should.

use crate::testkit::{Machine, PLAIN, fuse, nine};
use dev_virtio::test_driver::Rules;
use dev_virtio::{Attend, When};
use host_share::{Protocol, opcode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ENTRY: usize = 16 + 128;
const ROOT: u64 = 1;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "contents").unwrap();
    folder
}

#[test]
fn a_lookup_goes_through_every_kind_of_queue() {
    let folder = folder();
    for at_once in [false, true] {
        let machine = Machine::new(folder.path(), Protocol::Fuse, at_once);
        for rules in Rules::all() {
            let mut ring = machine.start(rules);
            let request = fuse(opcode::LOOKUP, 7, ROOT, b"file\0");
            // In three pieces out, in two back.
            let parts = [&request[..10], &request[10..40], &request[40..]];
            let (written, reply) = machine.ask(&mut ring, &parts, &[16, 128]).unwrap();
            assert_eq!(written as usize, ENTRY, "{rules:?}");
            assert_eq!(&reply[..16], b"\x90\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0");
            // The size, in the attributes of the entry (40 bytes in it, 8 in these).
            assert_eq!(reply[16 + 48..16 + 56], 8u64.to_le_bytes());
            assert!(machine.guest.line(), "the driver is told");
        }
    }
}

#[test]
fn what_has_no_reply_comes_back_empty_on_the_high_priority_queue() {
    let folder = folder();
    let machine = Machine::new(folder.path(), Protocol::Fuse, false);
    let mut rings = machine.guest.start(PLAIN, 2);
    let forget = fuse(opcode::FORGET, 8, ROOT, &1u64.to_le_bytes());
    assert_eq!(machine.ask(&mut rings[0], &[&forget], &[]), Some((0, vec![])));
    assert_eq!(machine.server.seen.lock().unwrap()[..], [forget]);
}

#[test]
fn messages_go_through_the_nine_transport() {
    let folder = folder();
    for at_once in [false, true] {
        let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Nine, at_once);
        let version = nine(100, 0xffff, b"\0\x20\0\0\x08\x009P2000.L");
        let (written, reply) = machine.ask(&mut ring, &[&version], &[100]).unwrap();
        assert_eq!((written, &reply[..21]), (21, &b"\x15\0\0\0\x65\xff\xff\0\x20\0\0\x08\x009P2000.L"[..]));
    }
}

#[test]
fn many_requests_are_under_way_and_come_back_in_any_order() {
    let folder = folder();
    let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Fuse, false);
    machine.server.silent.store(true, Ordering::SeqCst);
    let sent: Vec<u16> = (0..5)
        .map(|n| machine.guest.send(&mut ring, &[&fuse(opcode::GETATTR, n, ROOT, &[0; 16])], &[16 + 104]))
        .collect();
    assert_eq!(machine.server.seen.lock().unwrap().len(), 5);
    assert!(ring.collect().is_empty());
    assert!(machine.guest.attendant.watched()[0].read, "its thread waits for replies");
    machine.server.speak();
    machine.guest.attendant.attend();
    let back: Vec<(u16, u8)> = ring.collect().into_iter().map(|(id, _, reply)| (id, reply[8])).collect();
    let expected: Vec<(u16, u8)> = sent.into_iter().zip(0..5).rev().collect();
    assert_eq!(back, expected);
}

#[test]
fn its_thread_is_woken_to_wait_for_replies_to_what_a_processor_sent() {
    let folder = folder();
    let rings = Arc::new(AtomicUsize::new(0));
    let bell = Arc::clone(&rings);
    let ring = Box::new(move || {
        bell.fetch_add(1, Ordering::SeqCst);
    });
    let machine = Machine::attended(folder.path(), Protocol::Fuse, false, When::Eagerly(ring));
    // As its thread does before it sleeps.
    assert!(machine.guest.attendant.watched().is_empty());
    let mut ring = machine.start(PLAIN);
    let getattr = |n| fuse(opcode::GETATTR, n, ROOT, &[0; 16]);
    machine.guest.send(&mut ring, &[&getattr(0)], &[16 + 104]);
    assert_eq!(ring.collect().len(), 1, "it came while the processor waited");
    assert_eq!(rings.load(Ordering::SeqCst), 0);
    machine.server.silent.store(true, Ordering::SeqCst);
    machine.guest.send(&mut ring, &[&getattr(1)], &[16 + 104]);
    assert!(rings.load(Ordering::SeqCst) > 0, "it sleeps for ever");
    assert_eq!(machine.guest.attendant.watched().len(), 1);
    let before = rings.load(Ordering::SeqCst);
    machine.guest.send(&mut ring, &[&getattr(2)], &[16 + 104]);
    assert_eq!(rings.load(Ordering::SeqCst), before, "it waits for that already");
    machine.server.room.store(0, Ordering::SeqCst);
    machine.guest.send(&mut ring, &[&getattr(3)], &[16 + 104]);
    assert!(rings.load(Ordering::SeqCst) > before, "it does not wait for room");
}

#[test]
fn requests_wait_for_room_and_keep_their_order() {
    let folder = folder();
    let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Fuse, false);
    machine.server.room.store(2, Ordering::SeqCst);
    for n in 0..5 {
        machine.guest.send(&mut ring, &[&fuse(opcode::GETATTR, n, ROOT, &[0; 16])], &[16 + 104]);
    }
    machine.guest.attendant.attend();
    assert_eq!(ring.collect().len(), 2);
    let watched = machine.guest.attendant.watched();
    assert!(watched[0].write, "its thread waits for room, too");
    machine.server.room.store(9, Ordering::SeqCst);
    // It sends, then it looks for replies.
    machine.guest.attendant.attend();
    machine.guest.attendant.attend();
    assert_eq!(ring.collect().len(), 3);
    assert!(machine.guest.attendant.watched().is_empty());
    let seen = machine.server.seen.lock().unwrap().iter().map(|request| request[8]).collect::<Vec<_>>();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn a_machine_that_stops_waits_for_what_is_under_way() {
    let folder = folder();
    let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Fuse, false);
    machine.server.silent.store(true, Ordering::SeqCst);
    machine.guest.send(&mut ring, &[&fuse(opcode::GETATTR, 1, ROOT, &[0; 16])], &[16 + 104]);
    let server = Arc::clone(&machine.server);
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        server.speak();
    });
    Attend::quiesce(&*machine.guest.attendant);
    late.join().unwrap();
    assert_eq!(ring.collect().len(), 1);
    assert!(machine.guest.attendant.watched().is_empty(), "nobody waits for a machine that stands still");
}

#[test]
fn a_reset_forgets_what_is_under_way_and_replies_to_it() {
    let folder = folder();
    let (machine, mut ring) = Machine::driven(folder.path(), Protocol::Fuse, false);
    machine.server.silent.store(true, Ordering::SeqCst);
    machine.guest.send(&mut ring, &[&fuse(opcode::GETATTR, 1, ROOT, &[0; 16])], &[16 + 104]);
    let mut ring = machine.start(PLAIN);
    machine.server.speak();
    machine.guest.attendant.attend();
    assert!(ring.collect().is_empty(), "a reply to a driver before this one");
    let (_, reply) =
        machine.ask(&mut ring, &[&fuse(opcode::GETATTR, 2, ROOT, &[0; 16])], &[16 + 104]).unwrap();
    assert_eq!(reply[8], 2);
}
