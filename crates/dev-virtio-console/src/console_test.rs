//! The console, driven as a driver should.

use crate::testkit::*;
use crate::{MOST_WAITING, Role, Size};
use dev_virtio::test_driver::Rules;
use dev_virtio::testkit::reg;

#[test]
fn a_driver_of_one_port_has_a_console() {
    for rules in Rules::all() {
        let machine = two();
        let mut rings = machine.start(rules, 0, 2);
        let id = machine.guest.send(&mut rings[1], &[b"lo", b"gin: "], &[]);
        assert_eq!(rings[1].collect(), [(id, 0, vec![])]);
        assert_eq!(machine.drained(0), b"login: ");
        for _ in 0..2 {
            machine.guest.send(&mut rings[0], &[], &[4]);
        }
        assert_eq!(machine.ports[0].feed(b"root\n"), 5);
        machine.attend();
        assert_eq!(bytes_of(rings[0].collect()), b"root\n", "{rules:?}");
        assert!(machine.guest.line());
    }
}

#[test]
fn ports_are_announced_with_their_names_and_who_is_there() {
    let machine = two();
    machine.ports[0].set_size(Size { columns: 80, rows: 24 });
    machine.ports[1].set_connected(true);
    let mut rings = machine.start(PLAIN, ALL, 6);
    assert_eq!(machine.heard(&mut rings), [], "nothing before the driver is ready");
    machine.say(&mut rings, 0, DEVICE_READY, 1);
    assert_eq!(machine.heard(&mut rings), [(0, 1, 1, vec![]), (1, 1, 1, vec![])]);
    machine.say(&mut rings, 1, PORT_READY, 1);
    assert_eq!(machine.heard(&mut rings), [(1, 7, 1, b"org.test.0".to_vec()), (1, 6, 1, vec![])]);
    machine.say(&mut rings, 0, PORT_READY, 1);
    // Columns first.
    let size = vec![80, 0, 24, 0];
    assert_eq!(machine.heard(&mut rings), [(0, 4, 1, vec![]), (0, 6, 1, vec![]), (0, 5, 0, size)]);
    machine.ports[1].set_connected(false);
    machine.ports[0].set_size(Size { columns: 100, rows: 50 });
    assert_eq!(machine.heard(&mut rings), [(0, 5, 0, vec![100, 0, 50, 0]), (1, 6, 0, vec![])]);
    assert_eq!(machine.heard(&mut rings), []);
}

#[test]
fn a_driver_that_wants_no_sizes_hears_of_none() {
    let machine = two();
    machine.ports[0].set_size(Size { columns: 80, rows: 24 });
    let mut rings = machine.start(PLAIN, 2, 6);
    machine.say(&mut rings, 0, PORT_READY, 1);
    assert!(machine.heard(&mut rings).iter().all(|message| message.1 != 5));
    let read = |at| machine.guest.window().read(reg::CONFIG + at, 2).unwrap();
    assert_eq!((read(0), read(2), read(4)), (0, 0, 2));
    // One of a single port finds them in the configuration space.
    machine.start(PLAIN, 1, 2);
    assert_eq!((read(0), read(2)), (80, 24));
    machine.guest.write(reg::INTERRUPT_ACK, 3);
    machine.ports[0].set_size(Size { columns: 81, rows: 24 });
    machine.attend();
    assert_eq!((read(0), machine.guest.read(reg::INTERRUPT_STATUS) & 2), (81, 2));
}

#[test]
fn a_port_that_is_closed_takes_nothing_and_keeps_what_had_come() {
    let machine = two();
    let mut rings = machine.start(PLAIN, ALL, 6);
    assert_eq!(machine.ports[1].feed(b"early"), 0);
    machine.say(&mut rings, 1, PORT_READY, 1);
    machine.say(&mut rings, 1, PORT_OPEN, 1);
    assert!(machine.bells.lock().unwrap().iter().any(|(port, work)| *port == 1 && work.room));
    assert_eq!(machine.ports[1].feed(b"early"), 5);
    machine.say(&mut rings, 1, PORT_OPEN, 0);
    assert_eq!(machine.ports[1].feed(b"late"), 0);
    machine.guest.send(&mut rings[4], &[], &[16]);
    assert!(rings[4].collect().is_empty());
    machine.say(&mut rings, 1, PORT_OPEN, 1);
    assert_eq!(bytes_of(rings[4].collect()), b"early");
}

#[test]
fn what_is_sent_to_nobody_is_lost_but_a_consoles() {
    let machine = two();
    let mut rings = machine.opened(PLAIN);
    machine.guest.send(&mut rings[5], &[b"lost"], &[]);
    machine.guest.send(&mut rings[1], &[b"kept"], &[]);
    assert_eq!((rings[5].collect().len(), rings[1].collect().len()), (1, 1));
    machine.ports[1].set_connected(true);
    machine.attend();
    machine.guest.send(&mut rings[5], &[b"heard"], &[]);
    assert_eq!((machine.drained(1), machine.drained(0)), (b"heard".to_vec(), b"kept".to_vec()));
}

#[test]
fn who_reads_slowly_holds_the_driver_up_and_loses_nothing() {
    for rules in Rules::all() {
        let machine = two();
        let mut rings = machine.opened(rules);
        let (mut sent, mut came, mut given) = (Vec::new(), Vec::new(), 0u32);
        while given < 200 {
            while given < 200 && rings[1].has_room(2) {
                let (first, second) = ([given as u8; 700], [given as u8 ^ 0xff; 324]);
                machine.guest.send(&mut rings[1], &[&first, &second], &[]);
                sent.extend([&first[..], &second].concat());
                given += 1;
            }
            machine.attend();
            let back = rings[1].collect().len();
            if back == 0 {
                let before = *machine.woken.lock().unwrap();
                let part = machine.drained(0);
                assert!((MOST_WAITING..2 * MOST_WAITING).contains(&part.len()), "{}", part.len());
                came.extend(part);
                assert!(*machine.woken.lock().unwrap() > before, "nobody serves on");
                machine.attend();
            }
        }
        machine.attend();
        came.extend(machine.drained(0));
        machine.attend();
        came.extend(machine.drained(0));
        assert!(came == sent, "{rules:?}: {} of {} bytes", came.len(), sent.len());
    }
}

#[test]
fn what_is_typed_waits_for_buffers_and_no_more_than_that() {
    let machine = two();
    let mut rings = machine.opened(PLAIN);
    let typed: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let (mut at, mut came) = (machine.ports[0].feed(&typed), Vec::new());
    assert_eq!((at, machine.ports[0].feed(b"x")), (MOST_WAITING, 0));
    machine.bells.lock().unwrap().clear();
    while came.len() < typed.len() {
        machine.guest.send(&mut rings[0], &[], &[1000, 500]);
        machine.attend();
        came.extend(bytes_of(rings[0].collect()));
        if std::mem::take(&mut *machine.bells.lock().unwrap()).iter().any(|(_, work)| work.room) {
            at += machine.ports[0].feed(&typed[at..]);
        }
    }
    assert!(came == typed);
}

#[test]
fn emergency_writes_need_no_driver() {
    let machine = two();
    machine.emergency(4, u64::from(b'o'));
    machine.emergency(1, u64::from(b'o'));
    machine.emergency(2, 0xff00 | u64::from(b'p'));
    machine.emergency(4, u64::from(b's'));
    assert_eq!(machine.drained(0), b"oops");
    assert!(machine.bells.lock().unwrap().iter().all(|(port, work)| *port == 0 && work.fetch));
    // A driver that starts afterwards does not say it again.
    machine.opened(PLAIN);
    assert_eq!(machine.drained(0), b"");
}

#[test]
fn a_device_that_stood_still_goes_on_and_a_reset_one_begins_anew() {
    let machine = two();
    let mut rings = machine.opened(PLAIN);
    machine.ports[1].set_connected(true);
    assert_eq!(machine.heard(&mut rings).len(), 1);
    assert_eq!(machine.ports[1].feed(b"be"), 2);
    machine.guest.attendant.quiesce();
    assert_eq!(machine.ports[1].feed(b"hind"), 0);
    machine.attend();
    assert_eq!(machine.ports[1].feed(b"hind"), 4);
    machine.guest.send(&mut rings[4], &[], &[16]);
    machine.guest.send(&mut rings[4], &[], &[16]);
    machine.attend();
    assert_eq!(bytes_of(rings[4].collect()), b"behind");
    assert_eq!(machine.heard(&mut rings), [], "it was told already");
    assert_eq!(machine.ports[1].feed(b"stale"), 5);
    // The driver begins anew, knows no ports, has opened none.
    let mut rings = machine.start(PLAIN, ALL, 6);
    assert_eq!((machine.heard(&mut rings), machine.ports[1].feed(b"x")), (vec![], 0));
    machine.say(&mut rings, 1, PORT_READY, 1);
    machine.say(&mut rings, 1, PORT_OPEN, 1);
    assert_eq!(machine.heard(&mut rings), [(1, 7, 1, b"org.test.0".to_vec()), (1, 6, 1, vec![])]);
    machine.guest.send(&mut rings[4], &[], &[16]);
    machine.attend();
    assert!(rings[4].collect().is_empty(), "what was another driver's");
}

#[test]
fn a_device_without_a_console_has_no_port_0() {
    let machine = Machine::new(&[None, Some(Role::Named("only".into()))]);
    let mut rings = machine.start(PLAIN, ALL, 6);
    machine.say(&mut rings, 0, DEVICE_READY, 1);
    assert_eq!(machine.heard(&mut rings), [(1, 1, 1, vec![])]);
    machine.guest.send(&mut rings[1], &[b"lost"], &[]);
    assert_eq!(rings[1].collect().len(), 1);
    machine.emergency(4, 65);
    // A driver of one port has none.
    let mut rings = machine.start(PLAIN, 0, 2);
    machine.guest.send(&mut rings[1], &[b"lost"], &[]);
    assert_eq!(rings[1].collect().len(), 1);
}
