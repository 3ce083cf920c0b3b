//! The registers, as section 4.2 has them.

use crate::test_driver::Rules;
use crate::testkit::{ACKNOWLEDGE, DRIVER, DRIVER_OK, Echo, FEATURES_OK, Guest, QUEUE_SIZE, reg};
use crate::{Identity, Mmio, feature};
use dev_core::{Device, Plugged};
use fabric_bus::BusFault;

const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };

#[test]
fn the_device_says_what_it_is() {
    let (guest, _) = Guest::echo();
    assert_eq!(guest.read(reg::MAGIC), 0x7472_6976);
    assert_eq!(guest.read(0x004), 2);
    assert_eq!(guest.read(reg::DEVICE_ID), 42);
    guest.write(reg::DEVICE_FEATURES_SEL, 1);
    assert_eq!(guest.read(reg::DEVICE_FEATURES), (feature::VERSION_1 | feature::RING_PACKED) >> 32);
    guest.write(reg::DEVICE_FEATURES_SEL, 2);
    assert_eq!(guest.read(reg::DEVICE_FEATURES), 0);
    assert_eq!(Mmio::new(Identity::absent()).read(8, 4, 0), Ok(0));
}

#[test]
fn features_that_were_not_offered_are_not_agreed_on() {
    let (guest, seen) = Guest::echo();
    for wrong in [feature::VERSION_1 | 1, feature::VERSION_1 | feature::RING_RESET, 0, feature::EVENT_IDX] {
        assert_eq!(guest.negotiate(wrong), ACKNOWLEDGE | DRIVER, "{wrong:#x}");
        guest.drive();
        assert_eq!(guest.read(reg::STATUS), ACKNOWLEDGE | DRIVER);
    }
    // Bits that no word of features has room for.
    guest.negotiate(0);
    guest.write(reg::DRIVER_FEATURES_SEL, 1);
    guest.write(reg::DRIVER_FEATURES, 1);
    guest.write(reg::DRIVER_FEATURES_SEL, 2);
    guest.write(reg::DRIVER_FEATURES, 1);
    guest.write(reg::STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    assert_eq!(guest.read(reg::STATUS), ACKNOWLEDGE | DRIVER);
    assert!(seen.lock().unwrap().features.is_empty());
    guest.works();
}

#[test]
fn nobody_drives_without_having_agreed_on_features() {
    let (guest, seen) = Guest::echo();
    guest.set_queue(0, QUEUE_SIZE);
    guest.write(reg::STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
    assert_eq!(guest.read(reg::STATUS), ACKNOWLEDGE | DRIVER);
    guest.write(reg::QUEUE_NOTIFY, 0);
    assert!(seen.lock().unwrap().features.is_empty() && seen.lock().unwrap().rung.is_empty());
    guest.works();
}

#[test]
fn agreed_features_stay_and_reach_the_device() {
    let (guest, seen) = Guest::echo();
    guest.negotiate(PLAIN.features());
    guest.write(reg::DRIVER_FEATURES_SEL, 0);
    guest.write(reg::DRIVER_FEATURES, 0xffff_ffff);
    guest.drive();
    assert_eq!(seen.lock().unwrap().features, [PLAIN.features()]);
    assert_eq!(seen.lock().unwrap().rung, [u64::MAX], "every queue is looked at first");
}

#[test]
fn a_notification_of_a_queue_that_is_not_there_is_nothing() {
    let (guest, seen) = Guest::echo();
    guest.start(PLAIN, 3);
    let before = seen.lock().unwrap().rung.len();
    for queue in [3, 64, 999, 0xffff, 0x1_0000, 0xffff_ffff] {
        guest.write(reg::QUEUE_NOTIFY, queue);
    }
    assert_eq!(seen.lock().unwrap().rung.len(), before);
    assert!(!guest.waits());
    guest.works();
}

#[test]
fn a_queue_that_is_not_there_holds_nothing_and_takes_nothing() {
    let (guest, _) = Guest::echo();
    for queue in [3, 999, 0xffff, 0x1_0000, 0x8000_0000] {
        guest.write(reg::QUEUE_SEL, queue);
        assert_eq!(guest.read(reg::QUEUE_SIZE_MAX), 0);
        guest.write(reg::QUEUE_SIZE, 4);
        guest.write(reg::QUEUE_READY, 1);
        assert_eq!(guest.read(reg::QUEUE_READY), 0);
    }
    guest.write(reg::QUEUE_SEL, 2);
    assert_eq!(guest.read(reg::QUEUE_SIZE_MAX), 4);
    guest.works();
}

#[test]
fn a_queue_in_use_is_not_set_up() {
    let (guest, _) = Guest::echo();
    let mut ring = guest.start(PLAIN, 1).remove(0);
    guest.write(reg::QUEUE_SEL, 0);
    guest.write(reg::QUEUE_SIZE, 1);
    guest.set_address(reg::QUEUE_DESC, 0);
    let saved = guest.slot.save();
    guest.attendant.quiesce();
    guest.slot.restore(&saved).unwrap();
    let id = guest.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(ring.collect(), [(id, 1, b"x".to_vec())]);
}

#[test]
fn configuration_is_read_and_written_in_every_width() {
    let (guest, seen) = Guest::echo();
    let window = guest.window();
    assert_eq!(window.read(reg::CONFIG, 8), Ok(0x0807_0605_0403_0201));
    assert_eq!(window.read(reg::CONFIG + 8, 8), Ok(9), "nothing is behind its end");
    assert_eq!(window.read(reg::CONFIG + 0xe00, 4), Ok(0));
    for (size, value) in [(1, 0x01), (2, 0x0201), (4, 0x0403_0201)] {
        assert_eq!(window.read(reg::CONFIG, size), Ok(value));
    }
    // Byte 1 can be written, and the lower half of byte 2.
    for (size, wrote) in [(1, 1), (2, 2), (4, 4), (8, 8)] {
        for at in (0..16).step_by(wrote) {
            window.write(reg::CONFIG + at, size, u64::MAX).unwrap();
        }
        assert_eq!(window.read(reg::CONFIG, 8), Ok(0x0807_0605_040f_ff01));
        assert_eq!(seen.lock().unwrap().configs.pop().unwrap(), [1, 0xff, 0x0f, 4, 5, 6, 7, 8, 9]);
        window.write(reg::CONFIG, 4, 0x0003_0200).unwrap();
        Plugged::reset(&*guest.slot);
        assert_eq!(window.read(reg::CONFIG, 4), Ok(0x0403_0201), "as it was");
    }
    window.write(reg::CONFIG + 0xef8, 8, u64::MAX).unwrap();
    guest.works();
}

#[test]
fn every_write_to_the_configuration_is_heard_of() {
    let (guest, seen) = Guest::echo();
    // Also before there is a driver; equal ones, and what of them may be written.
    for _ in 0..2 {
        guest.window().write(reg::CONFIG + 1, 1, 7).unwrap();
    }
    guest.window().write(reg::CONFIG, 4, 0xffff_ffff).unwrap();
    guest.window().write(reg::CONFIG + 4, 4, 1).unwrap();
    assert_eq!(seen.lock().unwrap().writes, [(1, vec![7]), (1, vec![7]), (1, vec![0xff, 0x0f])]);
}

#[test]
fn registers_are_words() {
    let (guest, _) = Guest::echo();
    for size in [1, 2, 8] {
        assert_eq!(guest.window().read(reg::MAGIC, size), Err(BusFault));
        assert_eq!(guest.window().write(reg::STATUS, size, 1), Err(BusFault));
    }
    // What is not in the table reads as 0 and takes nothing.
    for offset in (0..0x100).step_by(4) {
        guest.window().read(offset, 4).unwrap();
        guest.window().write(offset, 4, 0).unwrap();
    }
    assert_eq!(guest.read(0x0c), u64::from(u32::from_le_bytes(*b"HSTL")));
    guest.works();
}

#[test]
fn a_changed_configuration_is_told() {
    let (guest, seen) = Guest::echo();
    let mut ring = guest.start(PLAIN, 1).remove(0);
    let generation = guest.read(reg::GENERATION);
    seen.lock().unwrap().change = Some(vec![40, 50]);
    guest.send(&mut ring, &[b"x"], &[1]);
    assert_ne!(guest.read(reg::GENERATION), generation);
    assert_eq!(guest.read(reg::INTERRUPT_STATUS), 3);
    guest.write(reg::INTERRUPT_ACK, 1);
    assert!(guest.line());
    guest.write(reg::INTERRUPT_ACK, 2);
    assert!(!guest.line());
    assert_eq!(guest.window().read(reg::CONFIG, 8), Ok(0x0807_0632_2803_0201));
    // Behind its end there is nothing to change.
    seen.lock().unwrap().change = Some(vec![0; 7]);
    guest.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(guest.read(reg::INTERRUPT_STATUS), 1);
}

#[test]
fn states_that_no_device_is_in_are_refused() {
    let (guest, _) = Guest::echo();
    guest.start(PLAIN, 3);
    let good = guest.slot.with(|device, _| device.save());
    let refused = |change: &dyn Fn(&mut <Mmio as Device>::Saved)| {
        let mut saved = good.clone();
        change(&mut saved);
        assert!(Mmio::new(Echo::identity()).restore(saved).is_err());
    };
    assert!(Mmio::new(Echo::identity()).restore(good.clone()).is_ok());
    refused(&|saved| saved.state.queues.truncate(2));
    refused(&|saved| saved.state.queues[0].0.size = QUEUE_SIZE + 1);
    refused(&|saved| saved.state.driver_features |= 1);
    refused(&|saved| saved.state.status = DRIVER_OK as u8);
    refused(&|saved| saved.state.interrupt = 4);
    refused(&|saved| saved.config.push(0));
    refused(&|saved| (saved.state.status, saved.state.resetting) = (0, true));
}

/// What a state says of queues is believed no more than what a driver says.
#[test]
fn a_state_with_a_wild_queue_breaks_when_it_is_used() {
    let (guest, _) = Guest::echo();
    guest.start(Rules { packed: true, ..PLAIN }, 3);
    let mut saved = guest.slot.with(|device, _| device.save());
    saved.state.queues[1].1.used = QUEUE_SIZE;
    guest.slot.with(|device, _| device.restore(saved)).unwrap();
    guest.attendant.attend_all();
    guest.broke_for("a position behind the virtqueue's end");
}
