//! The block device, driven as a driver should and as it should not.

use crate::testkit::{Machine, PLAIN, Probe, SECTORS, header, trim};
use crate::{QUEUE_SIZE, identity};
use dev_virtio::feature;
use dev_virtio::test_driver::Rules;
use dev_virtio::testkit::{BUFFERS, reg};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const FLUSH: u64 = 1 << 9;
const CONFIG_WCE: u64 = 1 << 11;

#[test]
fn sectors_are_read_and_written_by_every_kind_of_queue() {
    for machine in Machine::both() {
        for rules in Rules::all() {
            let mut ring = machine.guest.start(rules, 1).remove(0);
            let expected = machine.disk.bytes(512 * 5, 1536);
            let (written, data, status) = machine.ask(&mut ring, &[&header(0, 5)], &[512, 1000, 24, 1]);
            assert_eq!((written, &data, status), (1537, &expected, Some(0)), "{rules:?}");
            let new: Vec<u8> = (0..1024).map(|n| (n * 7) as u8).collect();
            // The header in two pieces, the data in three.
            let header = header(1, 9);
            let parts = [&header[..3], &header[3..], &new[..1], &new[1..700], &new[700..]];
            assert_eq!(machine.ask(&mut ring, &parts, &[1]), (1, vec![], Some(0)));
            assert_eq!(machine.disk.bytes(512 * 9, 1024), new);
            assert_eq!(machine.disk.bytes(512 * 11, 512), Probe::new(false).bytes(512 * 11, 512));
        }
    }
}

#[test]
fn status_and_data_may_share_a_buffer() {
    for machine in Machine::both() {
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        let (written, data, status) = machine.ask(&mut ring, &[&header(0, 1)], &[513]);
        assert_eq!((written, data, status), (513, machine.disk.bytes(512, 512), Some(0)));
    }
}

#[test]
fn a_read_marks_the_pages_that_it_wrote() {
    for machine in Machine::both() {
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        machine.guest.bus.ram().dirty().take();
        machine.ask(&mut ring, &[&header(0, 1)], &[512, 1]);
        let page = (BUFFERS - dev_virtio::testkit::RAM) / 4096;
        assert!(machine.guest.bus.ram().dirty().take().contains(&page));
    }
}

#[test]
fn writes_are_flushed_as_the_driver_was_promised() {
    for machine in Machine::both() {
        let write = |features: u64, writeback: Option<u64>| {
            machine.guest.negotiate(PLAIN.features() | features);
            machine.guest.set_queue(0, 16);
            machine.guest.poke(dev_virtio::testkit::area(0), &[0; 0x9000]);
            machine.guest.drive();
            let bus = Arc::clone(&machine.guest.bus);
            let mut ring = dev_virtio::test_driver::Ring::new(bus, PLAIN, 0, 16);
            if let Some(on) = writeback {
                machine.guest.window().write(reg::CONFIG + 32, 1, on).unwrap();
            }
            machine.disk.take_calls();
            let (_, _, status) = machine.ask(&mut ring, &[&header(1, 0), &[1; 512]], &[1]);
            assert_eq!(status, Some(0));
            let calls = machine.disk.take_calls();
            let (_, _, status) = machine.ask(&mut ring, &[&header(4, 0)], &[1]);
            assert_eq!((status, machine.disk.take_calls()), (Some(0), vec!["flush".to_owned()]));
            calls
        };
        // In this order, because the configuration outlives a reset of the device.
        assert_eq!(write(FLUSH, None), ["write 0 512"]);
        assert_eq!(write(0, None), ["write 0 512", "flush"], "a driver that never flushes");
        assert_eq!(write(FLUSH | CONFIG_WCE, None), ["write 0 512"]);
        assert_eq!(write(FLUSH | CONFIG_WCE, Some(0xff)), ["write 0 512"]);
        assert_eq!(write(FLUSH | CONFIG_WCE, Some(0)), ["write 0 512", "flush"]);
        assert_eq!(machine.guest.window().read(reg::CONFIG + 32, 1), Ok(0));
        assert_eq!(write(FLUSH | CONFIG_WCE, None), ["write 0 512", "flush"], "as it was left");
    }
}

#[test]
fn space_is_given_back_and_zeroed() {
    for machine in Machine::both() {
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        let ranges = [trim(8, 8, 0), trim(32, 1, 0)].concat();
        assert_eq!(machine.ask(&mut ring, &[&header(11, 0), &ranges], &[1]), (1, vec![], Some(0)));
        let mut calls = machine.disk.take_calls();
        calls.sort();
        assert_eq!(calls, ["discard 16384 512", "discard 4096 4096"]);
        assert_eq!(machine.ask(&mut ring, &[&header(13, 0), &trim(2, 2, 1)], &[1]).2, Some(0));
        // Without a driver that flushes, zeroes are on stable storage like any other write.
        assert_eq!(machine.disk.take_calls(), ["zero 1024 1024 true", "flush"]);
        assert_eq!(machine.disk.bytes(1024, 1024), [0; 1024]);
    }
}

#[test]
fn the_name_is_told_as_far_as_there_is_room() {
    for machine in Machine::both() {
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        let (written, name, status) = machine.ask(&mut ring, &[&header(8, 0)], &[20, 1]);
        assert_eq!((written, &name[..], status), (21, &b"the name\0\0\0\0\0\0\0\0\0\0\0\0"[..], Some(0)));
        let (written, name, status) = machine.ask(&mut ring, &[&header(8, 0)], &[3, 1]);
        assert_eq!((written, &name[..], status), (4, &b"the"[..], Some(0)));
        let (written, name, status) = machine.ask(&mut ring, &[&header(8, 0)], &[40, 1]);
        assert_eq!((written, &name[20..], status), (21, &[0; 20][..], Some(0)));
    }
}

#[test]
fn requests_of_every_malformation_get_a_status_where_there_is_room() {
    for machine in Machine::both() {
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        let mut ask = |readable: &[&[u8]], writable: &[usize]| machine.ask(&mut ring, readable, writable);
        let many = trim(0, 1, 0).repeat(33);
        type Case = (&'static str, Vec<Vec<u8>>, Vec<usize>, u8);
        let cases: [Case; 18] = [
            ("a short header", vec![vec![0; 15]], vec![512, 1], 1),
            ("no header", vec![], vec![512, 1], 1),
            ("half a sector", vec![header(0, 0)], vec![511, 1], 1),
            ("half a sector to write", vec![header(1, 0), vec![0; 100]], vec![1], 1),
            ("the sector behind the end", vec![header(0, SECTORS)], vec![512, 1], 1),
            ("across the end", vec![header(0, SECTORS - 1)], vec![1024, 1], 1),
            ("a sector that overflows", vec![header(0, u64::MAX)], vec![512, 1], 1),
            ("a sector whose byte overflows", vec![header(1, 1 << 55), vec![0; 512]], vec![1], 1),
            ("an unknown type", vec![header(999, 0)], vec![1], 2),
            ("a secure erase", vec![header(14, 0), trim(0, 1, 0)], vec![1], 2),
            ("no range", vec![header(11, 0)], vec![1], 1),
            ("half a range", vec![header(11, 0), vec![0; 8]], vec![1], 1),
            ("too many ranges", vec![header(11, 0), many], vec![1], 1),
            ("a range behind the end", vec![header(13, 0), trim(SECTORS - 1, 2, 0)], vec![1], 1),
            ("a range that overflows", vec![header(13, 0), trim(u64::MAX, 1, 0)], vec![1], 1),
            ("a range that is too long", vec![header(11, 0), trim(0, 0x40_0000, 0)], vec![1], 1),
            ("discard with a flag", vec![header(11, 0), trim(0, 1, 1)], vec![1], 2),
            ("zeroes with an unknown flag", vec![header(13, 0), trim(0, 1, 3)], vec![1], 2),
        ];
        for (what, readable, writable, status) in cases {
            let readable: Vec<&[u8]> = readable.iter().map(Vec::as_slice).collect();
            let room: usize = writable.iter().sum();
            let (written, data, got) = ask(&readable, &writable);
            assert_eq!((written, data, got), (1, vec![0; room - 1], Some(status)), "{what}");
        }
        assert_eq!(ask(&[&header(0, 0)], &[]), (0, vec![], None), "nothing to write a status to");
        assert_eq!(ask(&[&header(0, 0)], &[1]).2, Some(0), "no sectors are some");
        assert!(machine.disk.take_calls().iter().all(|call| call == "read 0 0"));
        assert!(machine.guest.complaints.lock().unwrap().is_empty());
    }
}

#[test]
fn a_read_only_disk_is_not_written() {
    for queued in [false, true] {
        let machine = Machine::new(queued, Probe::new(true));
        let features = identity(&*machine.disk, 1).features;
        assert_eq!(features & (1 << 5 | CONFIG_WCE | 1 << 13 | 1 << 14), 1 << 5);
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        assert_eq!(machine.ask(&mut ring, &[&header(1, 0), &[0; 512]], &[1]).2, Some(1));
        assert_eq!(machine.ask(&mut ring, &[&header(11, 0), &trim(0, 1, 0)], &[1]).2, Some(1));
        assert_eq!(machine.ask(&mut ring, &[&header(13, 0), &trim(0, 1, 0)], &[1]).2, Some(1));
        assert_eq!(machine.ask(&mut ring, &[&header(4, 0)], &[1]).2, Some(0));
        assert_eq!(machine.disk.take_calls(), ["flush"]);
    }
}

#[test]
fn what_the_disk_cannot_do_is_an_error_of_that_request() {
    for machine in Machine::both() {
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        machine.disk.fails.store(true, Ordering::SeqCst);
        assert_eq!(machine.ask(&mut ring, &[&header(0, 0)], &[512, 1]).2, Some(1));
        assert_eq!(machine.ask(&mut ring, &[&header(1, 0), &[0; 512]], &[1]).2, Some(1));
        let ranges = [trim(8, 8, 0), trim(32, 1, 0)].concat();
        assert_eq!(machine.ask(&mut ring, &[&header(11, 0), &ranges], &[1]).2, Some(1));
        machine.disk.fails.store(false, Ordering::SeqCst);
        assert_eq!(machine.ask(&mut ring, &[&header(0, 0)], &[512, 1]).2, Some(0));
    }
}

#[test]
fn buffers_outside_memory_break_the_device_and_not_the_disk() {
    for machine in Machine::both() {
        machine.guest.start(PLAIN, 1);
        let at = dev_virtio::testkit::area(0);
        machine.guest.poke(BUFFERS, &header(0, 0));
        let descriptor = |at: u64, len: u32, flags: u16, next: u16| {
            [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
        };
        let chain =
            [descriptor(BUFFERS, 16, 1, 1), descriptor(0x1000, 512, 3, 2), descriptor(BUFFERS + 64, 1, 2, 0)];
        machine.guest.poke(at, &chain.concat());
        machine.guest.poke(at + 0x4000, &[0, 0, 1, 0, 0, 0]);
        machine.guest.write(reg::QUEUE_NOTIFY, 0);
        assert!(machine.guest.waits());
        assert!(machine.disk.take_calls().is_empty());
        let mut ring = machine.guest.start(PLAIN, 1).remove(0);
        assert_eq!(machine.ask(&mut ring, &[&header(0, 0)], &[512, 1]).2, Some(0));
    }
}

/// The driver gets its memory back when the device has reset, so the disk must have let go of it.
#[test]
fn a_reset_in_the_middle_of_a_read_waits_for_the_disk() {
    let machine = Machine::new(true, Probe::new(false));
    let mut ring = machine.guest.start(PLAIN, 1).remove(0);
    *machine.disk.shut.lock().unwrap() = true;
    machine.guest.send(&mut ring, &[&header(0, 5)], &[512, 1]);
    let disk = Arc::clone(&machine.disk);
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        disk.open();
    });
    machine.guest.write(reg::STATUS, 0);
    assert_eq!(machine.disk.take_calls(), ["read 2560 512"], "the read has ended");
    opener.join().unwrap();
    assert!(ring.collect().is_empty() && !machine.guest.line());
}

#[test]
fn what_was_begun_is_finished_before_a_machine_is_kept() {
    let machine = Machine::new(true, Probe::new(false));
    let mut ring = machine.guest.start(PLAIN, 1).remove(0);
    *machine.disk.shut.lock().unwrap() = true;
    for sector in 0..5 {
        machine.guest.send(&mut ring, &[&header(0, sector)], &[512, 1]);
    }
    assert!(ring.collect().is_empty());
    machine.disk.open();
    machine.guest.attendant.quiesce();
    assert_eq!(ring.collect().len(), 5);
}

#[test]
fn the_device_says_what_it_is() {
    let identity = identity(&*Probe::new(false), 3);
    assert_eq!((identity.id, identity.queues), (2, vec![QUEUE_SIZE; 3]));
    assert_eq!(identity.features & feature::USUAL, feature::USUAL);
    assert_eq!(identity.config.len(), 60);
    assert_eq!(identity.config[..8], SECTORS.to_le_bytes());
    assert_eq!(identity.config[20..24], 512u32.to_le_bytes());
    assert_eq!(identity.config[34..36], 3u16.to_le_bytes());
    let written: Vec<_> = identity.writable.iter().enumerate().filter(|(_, mask)| **mask != 0).collect();
    assert_eq!(written, [(32, &1)]);
    assert_eq!(crate::identity(&*Probe::new(false), 500).queues.len(), 16);
}
