//! Drivers that are no drivers.

use crate::packet::{HEADER, Header};
use crate::stage::lock;
use crate::testkit::*;
use crate::{BUFFER, MOST_CONNECTIONS};
use dev_virtio::testkit::{RAM, area};

const RW: u16 = 5;

#[test]
fn attack_with_packets_of_every_length() {
    let (machine, mut rings) = Machine::driven();
    for len in 0..HEADER {
        let id = machine.guest.send(&mut rings[1], &[&vec![0xff; len]], &[]);
        assert_eq!(rings[1].collect(), [(id, 0, vec![])], "{len}");
    }
    assert!(machine.heard(&mut rings).is_empty() && !machine.guest.waits());
    // In pieces it is one all the same.
    let bytes = from(1, 2, 1).bytes();
    let pieces: Vec<&[u8]> = bytes.chunks(7).collect();
    machine.guest.send(&mut rings[1], &pieces, &[]);
    assert_eq!(ops(&machine.heard(&mut rings)), [(2, 0)]);
}

#[test]
fn attack_with_lengths_that_lie() {
    for len in [6, 1000, BUFFER, BUFFER + 1, u32::MAX - HEADER as u32, u32::MAX] {
        let (machine, mut rings) = Machine::driven();
        let end = machine.connected(&mut rings, 1, 2);
        machine.send(&mut rings, Header { len, ..from(1, 2, RW) }, b"12345");
        assert_eq!(ops(&machine.heard(&mut rings)), [(3, 0)], "{len}");
        assert!(lock(&end).gone && lock(&end).heard.is_empty());
    }
    // What is behind the length it says is nothing; of packets without bytes it means nothing.
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    machine.send(&mut rings, Header { len: 3, ..from(1, 2, RW) }, b"12345");
    assert!(machine.heard(&mut rings).is_empty());
    assert_eq!(heard_of(&end), b"123");
    machine.send(&mut rings, Header { len: u32::MAX, ..from(1, 2, 6) }, &[]);
    assert!(machine.heard(&mut rings).is_empty());
}

#[test]
fn attack_with_more_than_there_is_credit_for() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    lock(&end).takes = 0;
    let mut sent = 0;
    loop {
        let answers = machine.says(&mut rings, from(1, 2, RW), &[1; 6000]);
        sent += 6000;
        if !answers.is_empty() {
            assert_eq!(ops(&answers), [(3, 0)]);
            break;
        }
        assert!(sent <= BUFFER, "{sent} bytes are kept");
    }
    assert!(sent > BUFFER && lock(&end).gone);
}

#[test]
fn attack_with_lies_about_its_own_room() {
    for (buf_alloc, fwd_cnt) in [(0, 0), (100, 101), (0, u32::MAX), (1000, 1 << 31)] {
        let (machine, mut rings) = Machine::driven();
        let end = machine.connected(&mut rings, 1, 2);
        let update = Header { buf_alloc, fwd_cnt, ..from(1, 2, 6) };
        machine.says(&mut rings, update, &[]);
        lock(&end).said.push_back(vec![1; 5000]);
        let answers = machine.heard(&mut rings);
        assert!(answers.iter().all(|(header, _)| header.op == 7), "{buf_alloc} {fwd_cnt}");
        assert!(answers.len() <= 1);
    }
    // With all the room there is it gets what the host says, into its own buffers.
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    machine.says(&mut rings, Header { buf_alloc: u32::MAX, ..from(1, 2, 6) }, &[]);
    lock(&end).said.push_back(vec![1; 50_000]);
    assert_eq!(machine.heard(&mut rings).iter().map(|(_, payload)| payload.len()).sum::<usize>(), 50_000);
}

#[test]
fn attack_with_a_flood_of_connections() {
    let (machine, mut rings) = Machine::driven();
    let mut refused = 0;
    for port in 0..2000 {
        let answers = machine.says(&mut rings, from(port, 2, 1), &[]);
        refused += usize::from(ops(&answers) == [(3, 0)]);
    }
    assert_eq!(refused, 2000 - MOST_CONNECTIONS);
    // Nobody calls it any more, and those who do wait.
    let end = machine.stage.call(1);
    assert!(machine.heard(&mut rings).is_empty() && !lock(&end).gone);
    assert_eq!(ops(&machine.says(&mut rings, from(0, 2, 3), &[])), [(1, 0)]);
}

#[test]
fn attack_by_asking_and_never_fetching_the_answers() {
    let machine = Machine::new();
    let mut rings = machine.start(PLAIN, 1);
    let mut taken = 0;
    // Every packet has a refusal as its answer, and there are no buffers for one.
    for _ in 0..20 {
        while rings[1].has_room(1) {
            machine.guest.send(&mut rings[1], &[&from(1, 1, 1).bytes()], &[]);
        }
        machine.guest.attendant.attend_all();
        let back = rings[1].collect().len();
        taken += back;
    }
    for _ in 0..200 {
        if rings[1].has_room(1) {
            machine.guest.send(&mut rings[1], &[&from(1, 1, 1).bytes()], &[]);
        }
        taken += rings[1].collect().len();
    }
    let before = taken;
    for _ in 0..2000 {
        if rings[1].has_room(1) {
            machine.guest.send(&mut rings[1], &[&from(1, 1, 1).bytes()], &[]);
        }
        taken += rings[1].collect().len();
    }
    assert!(before < taken && taken <= 1024, "{taken} packets were taken");
    // With buffers, all is as it was.
    machine.listen(&mut rings);
    assert_eq!(machine.heard(&mut rings).len(), 1024 + rings[1].outstanding());
    assert!(!machine.guest.waits());
}

#[test]
fn attack_with_operations_in_any_order() {
    let (machine, mut rings) = Machine::driven();
    // Of no connection, all but a reset are refused.
    for op in (0..10).chain([0xff, u16::MAX]).filter(|op| ![1, 3].contains(op)) {
        assert_eq!(ops(&machine.says(&mut rings, from(1, 2, op), &[])), [(3, 0)], "{op}");
    }
    assert!(machine.says(&mut rings, from(1, 2, 3), &[]).is_empty());
    // A connection that is there is not asked for or agreed to again; what is no operation ends it.
    for op in [0, 1, 2, 8, u16::MAX] {
        let end = machine.connected(&mut rings, 1, 2);
        assert_eq!(ops(&machine.says(&mut rings, from(1, 2, op), &[])), [(3, 0)], "{op}");
        assert!(lock(&end).gone);
    }
    // Nothing is sent before there is an agreement, or behind the end.
    let end = machine.stage.call(9);
    let (header, _) = machine.heard(&mut rings)[0];
    assert_eq!(ops(&machine.says(&mut rings, from(9, header.src_port, RW), b"x")), [(3, 0)]);
    assert!(lock(&end).gone && lock(&end).heard.is_empty());
    machine.connected(&mut rings, 1, 2);
    machine.says(&mut rings, Header { flags: 2, ..from(1, 2, 4) }, &[]);
    assert_eq!(ops(&machine.says(&mut rings, from(1, 2, RW), b"x")), [(3, 0)]);
}

#[test]
fn attack_with_the_addresses_of_others() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    for src_cid in [0, 1, 2, 6, u64::MAX, 5 | 1 << 32] {
        assert!(machine.says(&mut rings, Header { src_cid, ..from(1, 2, RW) }, b"x").is_empty(), "{src_cid}");
    }
    assert!(heard_of(&end).is_empty());
    // Nobody but the host is there, and types that there are not have no connections.
    let answers = machine.says(&mut rings, Header { dst_cid: 1, ..from(1, 2, 1) }, &[]);
    assert_eq!((ops(&answers), answers[0].0.src_cid), (vec![(3, 0)], 1));
    for kind in [0, 3, u16::MAX] {
        assert_eq!(
            ops(&machine.says(&mut rings, Header { kind, ..from(1, 2, 1) }, &[])).last(),
            Some(&(3, 0))
        );
    }
}

#[test]
fn attack_with_messages_without_end() {
    let (machine, mut rings) = Machine::driven();
    let of = |flags| Header { kind: 2, flags, ..from(1, 2, RW) };
    let opens = Header { kind: 2, ..from(1, 2, 1) };
    machine.says(&mut rings, opens, &[]);
    let end = machine.stage.taken.lock().unwrap()[0].1.clone();
    // Of nothing, which costs no credit.
    lock(&end).takes = 0;
    machine.says(&mut rings, of(1), b"first");
    let ended = (0..5000).find(|_| !machine.says(&mut rings, of(1), &[]).is_empty());
    assert!(ended.is_some_and(|count| count <= 1024), "{ended:?}");
    // One that never ends.
    machine.says(&mut rings, opens, &[]);
    let ended = (0..100).find(|_| !machine.says(&mut rings, of(0), &[1; 6000]).is_empty());
    assert!(ended.is_some_and(|count| count * 6000 <= BUFFER as usize), "{ended:?}");
}

#[test]
fn attack_with_buffers_that_are_none() {
    // Too small for a header, and outside memory; for packets either way.
    for (queue, at, len) in [
        (0, RAM, 43),
        (0, RAM, 0),
        (0, 0, 4096),
        (0, u64::MAX - 8, 4096),
        (1, 0, 64),
        (1, RAM + (2 << 20) - 8, 64),
    ] {
        let machine = Machine::new();
        machine.start(PLAIN, 1);
        if queue == 0 {
            machine.stage.call(1);
        }
        let flags = if queue == 0 { 2u16 } else { 0 };
        let descriptor = [&u64::to_le_bytes(at)[..], &u32::to_le_bytes(len), &flags.to_le_bytes(), &[0, 0]];
        machine.guest.poke(area(queue), &descriptor.concat());
        machine.guest.poke(area(queue) + 0x4002, &[1, 0, 0, 0]);
        machine.guest.write(0x50, queue);
        assert!(machine.guest.waits(), "queue {queue}, {len} bytes at {at:#x}");
        // Behind a reset it works.
        let mut rings = machine.start(PLAIN, 1);
        machine.listen(&mut rings);
        machine.connected(&mut rings, 1, 2);
    }
}
