//! What section 5.5 says of the balloon, and what becomes of the memory. The host's pages are those of the balloon here.

use crate::backend::{DEFLATE_ON_OOM, REPORTING};
use crate::testkit::{FREE, Machine, PAGE, PLAIN, numbers};
use dev_virtio::When;
use dev_virtio::test_driver::Rules;
use dev_virtio::testkit::{RAM, reg};

#[test]
fn it_says_how_much_it_wants_and_is_told_how_much_it_has() {
    let machine = Machine::new(300 * PAGE);
    assert_eq!(machine.guest.read(reg::DEVICE_ID), 5);
    assert_eq!(machine.guest.read(reg::DEVICE_FEATURES) & 0x3f, DEFLATE_ON_OOM | REPORTING);
    assert_eq!(machine.guest.read(reg::CONFIG), 300);
    machine.start(PLAIN, DEFLATE_ON_OOM);
    machine.guest.write(reg::CONFIG, 5);
    machine.guest.write(reg::CONFIG + 4, 256);
    assert_eq!((machine.guest.read(reg::CONFIG), machine.guest.read(reg::CONFIG + 4)), (300, 256));
    assert_eq!(Machine::new(u64::MAX).guest.read(reg::CONFIG), 0xffff_ffff);
}

#[test]
fn pages_in_the_balloon_are_the_hosts_and_come_back_as_zeroes() {
    for rules in Rules::all() {
        let machine = Machine::new(0);
        let mut rings = machine.start(rules, 0);
        machine.released(&[]);
        // In any order, one of them twice.
        machine.guest.send(&mut rings[0], &[&numbers(&[9, 3, 4]), &numbers(&[5, 31, 4])], &[]);
        assert_eq!(rings[0].collect().len(), 1, "{rules:?}");
        machine.released(&[3, 4, 5, 9, 31]);
        machine.guest.send(&mut rings[1], &[&numbers(&[4])], &[]);
        assert_eq!(rings[1].collect().len(), 1);
        machine.zeroes(&[3, 4, 5, 9, 31]);
        machine.guest.poke(FREE + 4 * PAGE, &[7; PAGE as usize]);
        machine.zeroes(&[3, 5, 9, 31]);
        assert!(machine.guest.line() && !machine.guest.waits() && machine.trouble.lock().unwrap().is_empty());
    }
}

/// Drivers number the queues by what there is, and the specification by what there could be.
#[test]
fn reported_pages_are_the_hosts_by_whatever_queue() {
    for queue in 2..5 {
        let machine = Machine::new(0);
        machine.start(PLAIN, REPORTING);
        machine.strike(queue, &[(FREE + PAGE, 2 * PAGE as u32, true), (FREE + 8 * PAGE, PAGE as u32, true)]);
        assert_eq!(machine.done(queue), 1);
        machine.released(&[1, 2, 8]);
    }
}

#[test]
fn what_is_no_whole_page_stays() {
    let machine = Machine::new(0);
    machine.start(PLAIN, REPORTING);
    let piece = (FREE + PAGE - 1, 2 * PAGE as u32 + 2, true);
    machine.strike(2, &[piece, (FREE + 6 * PAGE, 4095, true), (FREE + 9 * PAGE + 1, 4096, true)]);
    machine.released(&[1, 2]);
}

#[test]
fn the_dirty_log_and_whoever_has_code_of_a_page_take_note() {
    let machine = Machine::new(0);
    let mut rings = machine.start(PLAIN, REPORTING);
    let (ram, offset) = (machine.guest.bus.ram(), FREE - RAM);
    ram.watch().add(offset + 5 * PAGE);
    ram.watch().add(offset + 6 * PAGE);
    let versions = || [5, 6].map(|n| ram.watch().version(offset + n * PAGE));
    let before = versions();
    machine.guest.send(&mut rings[0], &[&numbers(&[5])], &[]);
    let after = versions();
    assert!(after[0] != before[0] && after[1] == before[1]);
    let dirty = ram.dirty().take();
    assert!(dirty.contains(&(offset / PAGE + 5)) && !dirty.contains(&(offset / PAGE + 6)));
}

#[test]
fn a_hart_that_rings_goes_on_at_once() {
    let rang = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&rang);
    let ring = Box::new(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let machine = Machine::attended(0, When::Eagerly(ring));
    let mut rings = machine.start(PLAIN, 0);
    while machine.guest.attendant.attend() {}
    let before = rang.load(std::sync::atomic::Ordering::SeqCst);
    machine.guest.send(&mut rings[0], &[&numbers(&[5])], &[]);
    machine.released(&[]);
    assert!(rang.load(std::sync::atomic::Ordering::SeqCst) > before, "its thread is told");
    while machine.guest.attendant.attend() {}
    machine.released(&[5]);
}
