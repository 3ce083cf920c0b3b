//! The socket device, driven as a driver should.

use crate::config::bit;
use crate::stage::lock;
use crate::testkit::*;
use crate::{BUFFER, packet::Header};
use dev_virtio::test_driver::Rules;
use dev_virtio::testkit::reg;

const RESPONSE: u16 = 2;
const RST: u16 = 3;
const SHUTDOWN: u16 = 4;
const RW: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;

#[test]
fn the_guest_has_its_context_id() {
    let machine = Machine::new();
    let read = |at, size| machine.guest.window().read(reg::CONFIG + at, size).unwrap();
    assert_eq!((read(0, 4), read(4, 4)), (u64::from(CID), 0));
    assert_eq!(machine.guest.read(reg::DEVICE_ID), 19);
}

#[test]
fn the_guest_connects_talks_and_closes() {
    for rules in Rules::all() {
        let machine = Machine::new();
        let mut rings = machine.start(rules, bit::STREAM);
        machine.listen(&mut rings);
        let end = machine.connected(&mut rings, 1000, 80);
        assert_eq!(machine.stage.taken.lock().unwrap()[0].0, 80);
        assert!(machine.says(&mut rings, from(1000, 80, RW), b"hello").is_empty());
        assert_eq!(heard_of(&end), b"hello", "{rules:?}");
        lock(&end).said.push_back(b"world".to_vec());
        let answers = machine.heard(&mut rings);
        assert_eq!(answers.len(), 1);
        let (header, payload) = &answers[0];
        assert_eq!((header.op, header.src_port, header.dst_port, header.kind), (RW, 80, 1000, 1));
        assert_eq!((header.buf_alloc, header.fwd_cnt, payload.as_slice()), (BUFFER, 5, &b"world"[..]));
        // The driver is done, and hears that the host is.
        let answers = machine.says(&mut rings, Header { flags: 3, ..from(1000, 80, SHUTDOWN) }, &[]);
        assert_eq!(ops(&answers), [(RST, 0)]);
        assert!(lock(&end).closed && lock(&end).gone);
        let answers = machine.says(&mut rings, from(1000, 80, RW), b"late");
        assert_eq!(ops(&answers), [(RST, 0)], "it is forgotten");
    }
}

#[test]
fn a_port_without_anybody_refuses() {
    let (machine, mut rings) = Machine::driven();
    let answers = machine.says(&mut rings, from(7, 81, 1), &[]);
    let expected = Header {
        src_cid: 2,
        dst_cid: u64::from(CID),
        src_port: 81,
        dst_port: 7,
        kind: 1,
        op: RST,
        ..Header::default()
    };
    assert_eq!(answers, [(expected, vec![])]);
}

#[test]
fn the_host_calls_and_hears_when_the_guest_agrees() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.stage.call(22);
    lock(&end).said.push_back(b"early".to_vec());
    let answers = machine.heard(&mut rings);
    assert_eq!(ops(&answers), [(1, 0)], "nothing before the guest has agreed");
    let (header, _) = answers[0];
    assert_eq!((header.dst_port, header.src_port, header.buf_alloc), (22, 1 << 30, BUFFER));
    let answers = machine.says(&mut rings, from(22, header.src_port, RESPONSE), &[]);
    assert_eq!((ops(&answers), answers[0].1.as_slice()), (vec![(RW, 0)], &b"early"[..]));
    machine.says(&mut rings, from(22, header.src_port, RW), b"SSH-2.0");
    assert_eq!(heard_of(&end), b"OK 1073741824\nSSH-2.0");
    // Another caller has another port; a guest that does not listen closes it.
    let end = machine.stage.call(23);
    let (header, _) = machine.heard(&mut rings)[0];
    assert_eq!((header.dst_port, header.src_port), (23, (1 << 30) + 1));
    assert!(machine.says(&mut rings, from(23, header.src_port, RST), &[]).is_empty());
    assert!(lock(&end).gone && heard_of(&end).is_empty());
}

#[test]
fn either_side_may_say_that_it_sends_no_more() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    lock(&end).said.push_back(b"last".to_vec());
    lock(&end).ended = true;
    let answers = machine.heard(&mut rings);
    assert_eq!(ops(&answers), [(RW, 0), (SHUTDOWN, 2)]);
    assert!(machine.says(&mut rings, from(1, 2, RW), b"still").is_empty());
    assert_eq!(heard_of(&end), b"still");
    assert!(machine.says(&mut rings, Header { flags: 2, ..from(1, 2, SHUTDOWN) }, &[]).is_empty());
    assert!(lock(&end).closed && !lock(&end).gone);
    assert_eq!(ops(&machine.says(&mut rings, Header { flags: 1, ..from(1, 2, SHUTDOWN) }, &[])), [(RST, 0)]);
    // What it had sent before comes out first.
    let end = machine.connected(&mut rings, 1, 2);
    lock(&end).takes = 3;
    machine.says(&mut rings, from(1, 2, RW), b"abcdef");
    assert!(machine.says(&mut rings, Header { flags: 3, ..from(1, 2, SHUTDOWN) }, &[]).is_empty());
    assert!(!lock(&end).closed);
    lock(&end).takes = 100;
    assert_eq!(ops(&machine.heard(&mut rings)), [(RST, 0)]);
    assert_eq!(heard_of(&end), b"abcdef");
}

#[test]
fn the_driver_is_sent_no_more_than_it_has_room_for() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    machine.says(&mut rings, Header { buf_alloc: 2500, ..from(1, 2, CREDIT_UPDATE) }, &[]);
    lock(&end).said.push_back((0..6000u32).map(|n| n as u8).collect());
    let answers = machine.heard(&mut rings);
    assert_eq!(ops(&answers), [(RW, 0), (RW, 0), (RW, 0), (CREDIT_REQUEST, 0)]);
    let lens: Vec<usize> = answers.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lens, [1000, 1000, 500, 0]);
    assert!(machine.heard(&mut rings).is_empty(), "it is asked once");
    let update = Header { buf_alloc: 2500, fwd_cnt: 2499, ..from(1, 2, CREDIT_UPDATE) };
    let answers = machine.says(&mut rings, update, &[]);
    assert_eq!(answers.iter().map(|(_, payload)| payload.len()).sum::<usize>(), 2499);
    let update = Header { buf_alloc: 1 << 20, fwd_cnt: 4999, ..from(1, 2, CREDIT_UPDATE) };
    let answers = machine.says(&mut rings, update, &[]);
    assert_eq!(answers.iter().map(|(_, payload)| payload.len()).sum::<usize>(), 1001);
}

#[test]
fn the_driver_hears_of_room_as_the_host_takes_what_it_sends() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    let (mut sent, mut told) = (0u32, 0u32);
    lock(&end).takes = 0;
    let bytes = [9; 6000];
    while sent - told + 6000 <= BUFFER {
        assert!(machine.says(&mut rings, from(1, 2, RW), &bytes).is_empty());
        sent += 6000;
    }
    assert!(heard_of(&end).is_empty());
    lock(&end).takes = usize::MAX;
    let answers = machine.heard(&mut rings);
    assert_eq!(ops(&answers), [(CREDIT_UPDATE, 0)]);
    told = answers[0].0.fwd_cnt;
    assert_eq!((told, heard_of(&end).len() as u32), (sent, sent));
    // And whenever it asks.
    let answers = machine.says(&mut rings, from(1, 2, CREDIT_REQUEST), &[]);
    assert_eq!((ops(&answers), answers[0].0.fwd_cnt), (vec![(CREDIT_UPDATE, 0)], sent));
    // Without asking, before it has used a half of it up.
    let mut unheard = 0;
    for _ in 0..100 {
        unheard += 6000;
        if !machine.says(&mut rings, from(1, 2, RW), &bytes).is_empty() {
            unheard = 0;
        }
        assert!(unheard < BUFFER / 2, "{unheard}");
    }
}

#[test]
fn messages_stay_whole() {
    let (machine, mut rings) = Machine::driven();
    let of = |op, flags| Header { kind: 2, flags, ..from(1, 2, op) };
    assert_eq!(ops(&machine.says(&mut rings, of(1, 0), &[])), [(RESPONSE, 0)]);
    let end = machine.stage.taken.lock().unwrap()[0].1.clone();
    machine.says(&mut rings, of(RW, 0), b"in ");
    machine.says(&mut rings, of(RW, 0), b"three ");
    assert!(lock(&end).heard.is_empty(), "a part of a message");
    machine.says(&mut rings, of(RW, 1), b"pieces");
    machine.says(&mut rings, of(RW, 1), b"another");
    assert_eq!(std::mem::take(&mut lock(&end).heard), [b"in three pieces".to_vec(), b"another".to_vec()]);
    lock(&end).said.extend([vec![1; 2500], vec![2; 10]]);
    let answers = machine.heard(&mut rings);
    let came: Vec<(u32, usize)> =
        answers.iter().map(|(header, payload)| (header.flags, payload.len())).collect();
    assert_eq!(came, [(0, 1000), (0, 1000), (1, 500), (1, 10)]);
    assert!(answers.iter().all(|(header, _)| header.kind == 2));
    // One that no driver could take ends the connection.
    lock(&end).said.push_back(vec![0; BUFFER as usize + 1]);
    assert_eq!(ops(&machine.heard(&mut rings)), [(RST, 0)]);
    // A driver that has not agreed on messages has no such connections.
    let mut rings = machine.start(PLAIN, bit::STREAM);
    machine.listen(&mut rings);
    assert_eq!(ops(&machine.says(&mut rings, of(1, 0), &[])), [(RST, 0)]);
}

#[test]
fn connections_outlive_a_device_that_stands_still_but_not_a_reset() {
    let (machine, mut rings) = Machine::driven();
    let end = machine.connected(&mut rings, 1, 2);
    machine.guest.attendant.quiesce();
    lock(&end).said.push_back(b"waited".to_vec());
    assert_eq!(machine.heard(&mut rings)[0].1, b"waited");
    machine.says(&mut rings, from(1, 2, RW), b"on");
    assert_eq!(heard_of(&end), b"on");
    let mut rings = machine.start(PLAIN, bit::STREAM);
    assert!(lock(&end).gone);
    machine.listen(&mut rings);
    assert_eq!(ops(&machine.says(&mut rings, from(1, 2, RW), b"x")), [(RST, 0)]);
}
