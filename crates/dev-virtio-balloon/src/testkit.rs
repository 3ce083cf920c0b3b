//! A guest with a balloon.

use crate::backend::{Balloon, identity};
use dev_virtio::When;
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::{AREA, Guest, QUEUE_SIZE, RAM, SIZE, area, reg};
use fabric_bus::BusBuilder;
use fabric_ram::GuestRam;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

pub const PAGE: u64 = 4096;
/// Pages that neither queues nor buffers of the first two are in: 32 of them.
pub const FREE: u64 = RAM + 0xe_0000;
/// Memory that the guest cannot write, a page of it.
pub const ROM: u64 = 0x1000;
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };

pub struct Machine {
    pub guest: Guest,
    pub trouble: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    pub fn new(bytes: u64) -> Machine {
        Machine::attended(bytes, When::AtOnce)
    }

    /// One whose memory is all of sevens.
    pub fn attended(bytes: u64, when: When) -> Machine {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE + PAGE).unwrap()));
        builder.ram("ram", RAM, SIZE, 0, true).unwrap();
        builder.ram("rom", ROM, PAGE, SIZE, false).unwrap();
        let bus = Arc::new(builder.build());
        bus.ram().fill(0, SIZE + PAGE, 7).unwrap();
        let trouble = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&trouble);
        let balloon = Balloon::new(move |error| log.lock().unwrap().push(error.to_string()));
        let guest = Guest::attended(bus, identity(bytes), Box::new(balloon), when);
        Machine { guest, trouble }
    }

    /// Starts all queues with these features beside those of the rules.
    pub fn start(&self, rules: Rules, features: u64) -> Vec<Ring> {
        assert_eq!(self.guest.negotiate(rules.features() | features) & 8, 8, "{rules:?}");
        let ring = |n| {
            self.guest.poke(area(n), &[0; AREA as usize]);
            self.guest.set_queue(n, QUEUE_SIZE);
            Ring::new(Arc::clone(&self.guest.bus), rules, n, QUEUE_SIZE)
        };
        let rings = (0..5).map(ring).collect();
        self.guest.drive();
        self.guest.bus.ram().dirty().take();
        rings
    }

    /// Hands over a chain of these buffers (address, bytes, whether the device writes), the first request of a split queue.
    pub fn strike(&self, queue: u64, buffers: &[(u64, u32, bool)]) {
        for (n, &(at, len, write)) in buffers.iter().enumerate() {
            let next = if n + 1 < buffers.len() { NEXT } else { 0 };
            let flags = next | if write { WRITE } else { 0 };
            let place = area(queue) + 16 * n as u64;
            self.guest.poke(place, &at.to_le_bytes());
            self.guest.poke(place + 8, &len.to_le_bytes());
            self.guest.poke(place + 12, &flags.to_le_bytes());
            self.guest.poke(place + 14, &(n as u16 + 1).to_le_bytes());
        }
        self.guest.poke(area(queue) + 0x4000, &[0, 0, 1, 0, 0, 0]);
        self.guest.bus.ram().dirty().take();
        self.guest.write(reg::QUEUE_NOTIFY, queue);
    }

    /// How many requests came back on a split queue.
    pub fn done(&self, queue: u64) -> u8 {
        self.guest.peek(area(queue) + 0x8002, 1)[0]
    }

    /// Which of the pages of [`FREE`] the host has memory for (proc_pid_pagemap(5)).
    pub fn present(&self) -> Vec<bool> {
        let start = self.guest.bus.ram().map().address().as_ptr() as u64 + (FREE - RAM);
        let mut entries = [0; 8 * 32];
        let file = std::fs::File::open("/proc/self/pagemap").unwrap();
        file.read_exact_at(&mut entries, start / PAGE * 8).unwrap();
        entries.chunks(8).map(|entry| entry[7] & 0x80 != 0).collect()
    }

    /// Which bytes the pages of [`FREE`] begin and end with.
    pub fn ends(&self) -> Vec<[u8; 2]> {
        let end = |at| self.guest.peek(at, 1)[0];
        (0..32).map(|n| [end(FREE + n * PAGE), end(FREE + n * PAGE + PAGE - 1)]).collect()
    }

    /// That exactly these pages of [`FREE`] are the host's, and read as zeroes, by which the host maps its page of zeroes
    /// there: once only.
    pub fn released(&self, pages: &[usize]) {
        let present: Vec<bool> = (0..32).map(|n| !pages.contains(&n)).collect();
        assert_eq!(self.present(), present);
        self.zeroes(pages);
    }

    /// That exactly these pages of [`FREE`] are zeroes.
    pub fn zeroes(&self, pages: &[usize]) {
        let ends: Vec<[u8; 2]> = (0..32).map(|n| [if pages.contains(&n) { 0 } else { 7 }; 2]).collect();
        assert_eq!(self.ends(), ends);
    }
}

/// Page numbers as a driver writes them.
pub fn numbers(pages: &[u64]) -> Vec<u8> {
    pages.iter().flat_map(|page| ((FREE / PAGE + page) as u32).to_le_bytes()).collect()
}
