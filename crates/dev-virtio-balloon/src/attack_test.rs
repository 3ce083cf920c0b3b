//! What a hostile driver does to a balloon, one test for each attack.

use crate::backend::{MOST, REPORTING};
use crate::testkit::{FREE, Machine, PAGE, PLAIN, ROM, numbers};
use dev_virtio::testkit::{QUEUE_SIZE, RAM, SIZE, area, reg};
use std::time::{Duration, Instant};

/// That a driver in order is served behind a reset.
fn works(machine: &Machine) {
    let mut rings = machine.start(PLAIN, REPORTING);
    machine.guest.poke(FREE, &[7; 32 * PAGE as usize]);
    machine.guest.send(&mut rings[0], &[&numbers(&[30])], &[]);
    machine.released(&[30]);
    assert!(!machine.guest.waits());
}

#[test]
fn attack_with_pages_that_are_not_there() {
    for page in [0, RAM / PAGE - 1, (RAM + SIZE) / PAGE, u64::from(u32::MAX)] {
        let machine = Machine::new(0);
        let mut rings = machine.start(PLAIN, 0);
        machine.guest.send(&mut rings[0], &[&(page as u32).to_le_bytes()], &[]);
        assert!(machine.guest.waits(), "{page:#x}");
        works(&machine);
    }
}

/// The first of neighbours is there, the last is not.
#[test]
fn attack_with_a_run_over_the_end_of_memory() {
    let machine = Machine::new(0);
    let mut rings = machine.start(PLAIN, 0);
    let run: Vec<u8> = (0..40).flat_map(|n| ((FREE / PAGE + n) as u32).to_le_bytes()).collect();
    machine.guest.send(&mut rings[0], &[&run], &[]);
    assert!(machine.guest.waits());
    works(&machine);
}

#[test]
fn attack_with_reports_outside_memory() {
    for at in [0, RAM - PAGE, RAM + SIZE - PAGE, RAM + SIZE, u64::MAX - PAGE, !0xfff] {
        let machine = Machine::new(0);
        machine.start(PLAIN, REPORTING);
        machine.strike(2, &[(at, 2 * PAGE as u32, true)]);
        assert!(machine.guest.waits(), "{at:#x}");
        works(&machine);
    }
}

#[test]
fn attack_on_memory_that_it_cannot_write() {
    for queue in [0, 2] {
        let machine = Machine::new(0);
        let mut rings = machine.start(PLAIN, REPORTING);
        match queue {
            0 => drop(machine.guest.send(&mut rings[0], &[&(ROM as u32 / PAGE as u32).to_le_bytes()], &[])),
            _ => machine.strike(2, &[(ROM, PAGE as u32, true)]),
        }
        assert!(machine.guest.waits());
        let mut rom = [0; PAGE as usize];
        machine.guest.bus.ram().copy_out(SIZE, &mut rom).unwrap();
        assert_eq!(rom, [7; PAGE as usize]);
        works(&machine);
    }
}

#[test]
fn attack_with_requests_of_the_wrong_form() {
    let machine = Machine::new(0);
    let mut rings = machine.start(PLAIN, REPORTING);
    // Numbers to be written, half a number, and pages that are only to be read.
    machine.guest.send(&mut rings[0], &[], &[64]);
    machine.guest.send(&mut rings[0], &[&[1, 2, 3]], &[]);
    machine.guest.send(&mut rings[1], &[], &[64]);
    machine.strike(2, &[(FREE, PAGE as u32, false)]);
    assert_eq!((rings[0].collect().len(), rings[1].collect().len(), machine.done(2)), (2, 1, 1));
    machine.released(&[]);
    // Half a number behind a whole one.
    machine.guest.send(&mut rings[0], &[&[&numbers(&[1])[..], &[0, 0, 8]].concat()], &[]);
    machine.released(&[1]);
    assert!(!machine.guest.waits());
}

/// It gives away the queue that it does that with: what the device then finds there are zeroes.
#[test]
fn attack_on_its_own_queue() {
    for (queue, at) in [(2, area(2)), (2, area(2) + 0x4000), (2, area(2) + 0x8000), (3, RAM)] {
        let machine = Machine::new(0);
        machine.start(PLAIN, REPORTING);
        machine.strike(queue, &[(at, SIZE as u32 / 4, true)]);
        machine.guest.attendant.attend_all();
        machine.guest.attendant.quiesce();
        works(&machine);
    }
}

/// All of memory in every request, and every request in the ring: it is done in time, and has an end.
#[test]
fn attack_with_the_same_memory_again_and_again() {
    let machine = Machine::new(0);
    machine.start(PLAIN, REPORTING);
    let all: Vec<(u64, u32, bool)> = vec![(FREE, 32 * PAGE as u32, true); usize::from(QUEUE_SIZE)];
    let begun = Instant::now();
    for _ in 0..100 {
        machine.start(PLAIN, REPORTING);
        machine.strike(2, &all);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(machine.done(2), 1);
}

/// More numbers than any driver has pages for: the first of them count.
#[test]
fn attack_with_a_request_without_end() {
    let machine = Machine::new(0);
    machine.start(PLAIN, 0);
    // A page of the same number, over and over, and another number where nobody looks any more.
    let (list, len) = (RAM + 0xc_0000, MOST as u64 * 4);
    let first = numbers(&[2]).repeat(MOST);
    machine.guest.poke(list, &first);
    machine.guest.poke(list + len, &numbers(&[3]));
    machine.strike(0, &[(list, len as u32 + 4, false)]);
    assert_eq!(machine.done(0), 1);
    machine.released(&[2]);
}

#[test]
fn attack_while_the_machine_stands_still() {
    let machine = Machine::new(0);
    machine.start(PLAIN, REPORTING);
    machine.guest.attendant.quiesce();
    machine.guest.write(reg::STATUS, 0);
    machine.strike(2, &[(FREE, PAGE as u32, true)]);
    machine.released(&[]);
    works(&machine);
}
