//! The transport over PCI, as section 4.1 has it.

use crate::test_driver::Rules;
use crate::testkit::{ACKNOWLEDGE, DRIVER, Echo, FEATURES_OK, NEEDS_RESET};
use crate::testkit_pci::*;
use crate::{Pci, Rng, When, feature};
use dev_core::Device;
use dev_pci::PciFunction;
use std::sync::Arc;

const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };
const NO_VECTOR: u64 = 0xffff;
/// Where an entry of the table points in these tests, and what its message says.
const MSI: u64 = 0xfee0_0000;

/// Turns MSI-X on, with vector `n` pointing to `MSI` and saying `n`, none masked.
fn enable_msix(card: &Card) {
    let at = card.capability(0x11);
    for vector in 0..=card.config(at + 2, 2) & 0x7ff {
        let entry = VECTORS_AT + 16 * vector;
        for (n, value) in [(0, MSI), (4, 0), (8, vector), (12, 0)] {
            card.store(entry + n, 4, value);
        }
    }
    card.configure(at + 2, 2, 1 << 15);
}

fn sent(card: &Card) -> Vec<u32> {
    let all = std::mem::take(&mut *card.messages.0.lock().unwrap());
    all.into_iter()
        .map(|(address, data)| {
            assert_eq!(address, MSI);
            data
        })
        .collect()
}

#[test]
fn the_function_says_what_it_is() {
    let (card, _) = Card::echo();
    assert_eq!(card.config(0, 4), (0x1040 + 42) << 16 | 0x1af4);
    assert_eq!(card.config(8, 1), 1, "revision");
    assert!(card.config(0x2e, 2) >= 0x40, "a subsystem of no device from before version 1.0");
    assert_eq!(card.config(0x3d, 1), 1, "pin A");
    let place = |kind| {
        let Structure { bar, offset, length, .. } = card.structure(kind);
        (bar, offset, length)
    };
    assert_eq!(place(COMMON), (4, 0, 0x3c));
    assert_eq!(place(ISR), (4, 0x1000, 1));
    assert_eq!(place(DEVICE), (4, 0x2000, 9));
    assert_eq!(place(NOTIFY), (4, 0x3000, 12));
    assert_eq!(card.config(card.structure(NOTIFY).at + 16, 4), 4);
    assert_eq!(place(PCI_CFG), (0, 0, 0));
    // One vector for each queue and one for the configuration.
    assert_eq!(card.config(card.capability(0x11) + 2, 2) & 0x7ff, 3);
    assert_eq!(card.read(NUM_QUEUES), 3);
}

#[test]
fn what_has_no_configuration_has_no_structure_for_it() {
    let rng = Box::new(Rng::new(|bytes: &mut [u8]| bytes.len()));
    let card = Card::new(Rng::identity(), rng, When::AtOnce);
    assert!(card.structures.iter().all(|structure| structure.kind != DEVICE));
    assert_eq!(card.config(0, 4), 0x1044 << 16 | 0x1af4);
}

#[test]
fn a_driver_drives() {
    let (card, _) = Card::echo();
    card.works();
}

#[test]
fn registers_read_as_they_were_written() {
    let (card, _) = Card::echo();
    for (select, features) in [(0, 0x3000_0000), (1, 0x105), (2, 0), (u32::MAX.into(), 0)] {
        card.write(DEVICE_FEATURE_SELECT, select);
        assert_eq!((card.read(DEVICE_FEATURE_SELECT), card.read(DEVICE_FEATURE)), (select, features));
    }
    for (queue, size) in [(0, 16), (2, 4), (3, 0), (0xffff, 0)] {
        card.write(QUEUE_SELECT, queue);
        assert_eq!((card.read(QUEUE_SELECT), card.read(QUEUE_SIZE_FIELD)), (queue, size));
        let off = if size == 0 { 0 } else { queue };
        assert_eq!((card.read(NOTIFY_OFF), card.read(QUEUE_ENABLE)), (off, 0));
        assert_eq!(card.read(QUEUE_VECTOR), NO_VECTOR);
        card.write((QUEUE_DESC, 8), 0x1234_5678_9abc_def0);
        let expected = if size == 0 { 0 } else { 0x1234_5678_9abc_def0 };
        assert_eq!(card.read((QUEUE_DESC, 8)), expected);
        assert_eq!(card.read((QUEUE_DESC + 4, 4)), expected >> 32);
    }
    card.write(QUEUE_SELECT, 0);
    // Only a one enables, and a queue in use is not set up.
    for (value, enabled) in [(0, 0), (2, 0), (0xffff, 0), (1, 1), (0, 1)] {
        card.write(QUEUE_ENABLE, value);
        assert_eq!(card.read(QUEUE_ENABLE), enabled);
    }
    card.write(QUEUE_SIZE_FIELD, 1);
    card.write((QUEUE_DESC, 4), 0);
    assert_eq!((card.read(QUEUE_SIZE_FIELD), card.read((QUEUE_DESC, 4))), (16, 0x9abc_def0));
    card.works();
}

/// Without any BAR in place, through the capability that is a way to them.
#[test]
fn all_of_it_is_reached_through_configuration_space() {
    let (card, seen) = Card::echo();
    card.configure(0x20, 4, 0);
    card.command(MASTER);
    assert_eq!(card.load(BAR_AT, 4), 0xffff_ffff);
    let cap = card.structure(PCI_CFG).at;
    let aim = |kind, offset: u64, size: u8| {
        let structure = card.structure(kind);
        card.configure(cap + 4, 1, structure.bar.into());
        card.configure(cap + 8, 4, structure.offset + offset);
        card.configure(cap + 12, 4, size.into());
    };
    let write = |(offset, size): Field, value| {
        aim(COMMON, offset, size);
        card.configure(cap + 16, size, value);
    };
    let read = |kind, (offset, size): Field| {
        aim(kind, offset, size);
        card.config(cap + 16, size)
    };
    write(STATUS, 3);
    for half in 0..2 {
        write(DRIVER_FEATURE_SELECT, half);
        write(DRIVER_FEATURE, PLAIN.features() >> (32 * half));
    }
    write(STATUS, 11);
    assert_eq!(read(COMMON, STATUS), 11);
    let mut ring = {
        let at = crate::testkit::area(1);
        card.poke(at, &[0; 0x1_0000]);
        write(QUEUE_SELECT, 1);
        assert_eq!(read(COMMON, QUEUE_SIZE_FIELD), 16);
        for (field, at) in [(QUEUE_DESC, at), (QUEUE_DRIVER, at + 0x4000), (QUEUE_DEVICE, at + 0x8000)] {
            write((field, 4), at);
            write((field + 4, 4), 0);
        }
        write(QUEUE_ENABLE, 1);
        crate::test_driver::Ring::new(Arc::clone(&card.bus), PLAIN, 1, 16)
    };
    write(STATUS, 15);
    let id = ring.add(&[b"abc"], &[3]);
    aim(NOTIFY, 4, 2);
    card.configure(cap + 16, 2, 1);
    assert_eq!(ring.collect(), [(id, 3, b"cba".to_vec())]);
    assert!(card.line());
    assert_eq!(read(ISR, (0, 1)), 1);
    assert!(!card.line());
    // Any part of what was asked for, and behind it what was written last.
    assert_eq!(read(DEVICE, (4, 4)), 0x0807_0605);
    assert_eq!((card.config(cap + 17, 1), card.config(cap + 18, 2)), (6, 0x0807));
    card.configure(cap + 16, 4, 0);
    assert_eq!(seen.lock().unwrap().configs.last().unwrap()[..5], [1, 2, 3, 4, 5]);
    assert_eq!(read(DEVICE, (0, 4)), 0x0403_0201);
    card.configure(cap + 16, 4, 0xffff_ffff);
    assert_eq!(seen.lock().unwrap().configs.last().unwrap()[..4], [1, 0xff, 0x0f, 4]);
    assert_eq!(read(DEVICE, (1, 1)), 0xff);
    card.place();
    card.works();
}

#[test]
fn a_pin_can_be_disabled() {
    let (card, _) = Card::echo();
    let mut ring = card.start(PLAIN, 1).remove(0);
    card.command(MEMORY | MASTER | NO_PIN);
    card.send(&mut ring, &[b"x"], &[1]);
    assert!(!card.line() && card.interrupt_status());
    card.command(MEMORY | MASTER);
    assert!(card.line());
    assert_eq!(card.isr(), 1);
    assert!(!card.line());
}

#[test]
fn messages_take_the_place_of_the_pin() {
    let (card, seen) = Card::echo();
    enable_msix(&card);
    let mut rings = card.start(PLAIN, 3);
    card.write(CONFIG_VECTOR, 3);
    assert_eq!(card.read(CONFIG_VECTOR), 3);
    for (queue, vector) in [(0, 1), (1, 0), (2, 1)] {
        card.write(QUEUE_SELECT, queue);
        card.write(QUEUE_VECTOR, vector);
        assert_eq!(card.read(QUEUE_VECTOR), vector);
    }
    for (ring, vector) in rings.iter_mut().zip([1, 0, 1]) {
        card.send(ring, &[b"x"], &[1]);
        assert_eq!(sent(&card), [vector]);
    }
    assert!(!card.line());
    assert_eq!(card.isr(), 0, "queues are told of by messages alone");
    seen.lock().unwrap().change = Some(vec![40]);
    card.send(&mut rings[0], &[b"x"], &[1]);
    assert_eq!(sent(&card), [1, 3]);
    assert!(!card.line() && !card.interrupt_status());
    assert_eq!(card.isr(), 2, "a change of the configuration is shown, too (section 4.1.4.5.1)");
    // A device that gives up says so by the same.
    card.poke(crate::testkit::area(0) + 0x4000, &[0, 0, 0xff, 0xff]);
    card.notify(0);
    assert_eq!(card.read(STATUS) & NEEDS_RESET, NEEDS_RESET);
    assert_eq!((sent(&card), card.isr()), (vec![3], 2));
    // A reset forgets what was chosen.
    card.write(STATUS, 0);
    assert_eq!((card.read(CONFIG_VECTOR), card.read(QUEUE_VECTOR)), (NO_VECTOR, NO_VECTOR));
    card.configure(card.capability(0x11) + 2, 2, 0);
    card.works();
}

#[test]
fn without_a_vector_there_is_no_message() {
    let (card, seen) = Card::echo();
    enable_msix(&card);
    let mut ring = card.start(PLAIN, 1).remove(0);
    seen.lock().unwrap().change = Some(vec![40]);
    let id = card.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(ring.collect(), [(id, 1, b"x".to_vec())]);
    assert_eq!(sent(&card), []);
    card.write(QUEUE_VECTOR, 2);
    card.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(sent(&card), [2]);
    card.write(QUEUE_VECTOR, NO_VECTOR);
    card.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(sent(&card), []);
}

#[test]
fn a_masked_vector_waits() {
    let (card, _) = Card::echo();
    enable_msix(&card);
    let mut ring = card.start(PLAIN, 1).remove(0);
    card.write(QUEUE_VECTOR, 2);
    card.store(VECTORS_AT + 16 * 2 + 12, 4, 1);
    card.send(&mut ring, &[b"x"], &[1]);
    assert_eq!((sent(&card), card.load(VECTORS_AT + 0x800, 8)), (vec![], 1 << 2));
    card.store(VECTORS_AT + 16 * 2 + 12, 4, 0);
    assert_eq!((sent(&card), card.load(VECTORS_AT + 0x800, 8)), (vec![2], 0));
}

#[test]
fn a_queue_is_reset_by_itself_and_used_again() {
    let (card, seen) = Card::echo();
    let mut rings = card.start_with(feature::RING_RESET, PLAIN, 2);
    seen.lock().unwrap().hold = true;
    let id = card.send(&mut rings[0], &[b"abc"], &[3]);
    assert_eq!(rings[0].collect(), []);
    card.write(QUEUE_SELECT, 0);
    card.write(QUEUE_VECTOR, 2);
    for no in [0, 2, 0xffff] {
        card.write(QUEUE_RESET, no);
        assert_eq!(card.read(QUEUE_ENABLE), 1);
    }
    card.write(QUEUE_RESET, 1);
    assert_eq!((card.read(QUEUE_RESET), card.read(QUEUE_ENABLE)), (0, 0));
    assert_eq!(rings[0].collect(), [(id, 3, b"cba".to_vec())], "what it had begun it has finished");
    assert_eq!((card.read((QUEUE_DESC, 8)), card.read(QUEUE_VECTOR)), (0, NO_VECTOR));
    seen.lock().unwrap().hold = false;
    // The other goes on, and this one does not.
    let id = card.send(&mut rings[1], &[b"x"], &[1]);
    assert_eq!(rings[1].collect(), [(id, 1, b"x".to_vec())]);
    card.send(&mut rings[0], &[b"x"], &[1]);
    assert_eq!(rings[0].collect(), []);
    // Handed over again, it begins anew.
    for _ in 0..2 {
        let mut ring = card.set_queue(0, PLAIN);
        let id = card.send(&mut ring, &[b"xyz"], &[3]);
        assert_eq!(ring.collect(), [(id, 3, b"zyx".to_vec())]);
        card.write(QUEUE_SELECT, 0);
        card.write(QUEUE_RESET, 1);
        assert_eq!(card.read(QUEUE_ENABLE), 0);
    }
    card.works();
}

#[test]
fn a_queues_reset_takes_as_long_as_the_device_does() {
    let (card, _) = Card::echo_when(When::Eagerly(Box::new(|| ())));
    card.start_with(feature::RING_RESET, PLAIN, 1);
    card.write(QUEUE_SELECT, 0);
    // The write alone, without who attends.
    card.slot.with(|function, _| crate::Transport::common(function).reset_queue());
    assert_eq!((card.read(QUEUE_RESET), card.read(QUEUE_ENABLE)), (1, 1));
    card.write(QUEUE_ENABLE, 1);
    card.attendant.attend();
    assert_eq!((card.read(QUEUE_RESET), card.read(QUEUE_ENABLE)), (0, 0));
}

#[test]
fn no_queue_is_reset_that_was_not_agreed_to_be() {
    let (card, _) = Card::echo();
    let mut ring = card.start(PLAIN, 1).remove(0);
    card.write(QUEUE_RESET, 1);
    assert_eq!((card.read(QUEUE_RESET), card.read(QUEUE_ENABLE)), (0, 1));
    // Nor is one handed over while the driver drives.
    card.write(QUEUE_SELECT, 1);
    card.write(QUEUE_ENABLE, 1);
    assert_eq!(card.read(QUEUE_ENABLE), 0);
    let id = card.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(ring.collect(), [(id, 1, b"x".to_vec())]);
}

#[test]
fn a_status_reads_zero_when_the_reset_is_done() {
    let (card, seen) = Card::echo_when(When::Eagerly(Box::new(|| ())));
    seen.lock().unwrap().hold = true;
    let mut ring = card.start(PLAIN, 1).remove(0);
    card.send(&mut ring, &[b"x"], &[1]);
    card.slot.with(|function, _| crate::Transport::common(function).set_status(0));
    assert_eq!(card.read(STATUS), 15);
    card.write(STATUS, 1);
    assert_eq!(card.read(STATUS), 0, "whoever writes next finds it done");
    assert_eq!(ring.collect(), []);
    card.attendant.attend();
    assert_eq!(ring.collect(), [], "and what was held is gone");
}

#[test]
fn without_bus_mastering_nothing_is_read_or_written() {
    let (card, seen) = Card::echo();
    let mut ring = card.start(PLAIN, 1).remove(0);
    seen.lock().unwrap().hold = true;
    let first = card.send(&mut ring, &[b"ab"], &[2]);
    assert_eq!(ring.collect(), []);
    // What was begun is finished before it is taken away.
    card.command(MEMORY);
    assert_eq!(ring.collect(), [(first, 2, b"ba".to_vec())]);
    seen.lock().unwrap().hold = false;
    assert_eq!(seen.lock().unwrap().resets, 0, "the driver goes on, too");
    let id = card.send(&mut ring, &[b"xy"], &[2]);
    let before = card.bus.ram().dirty().take().len();
    card.notify(0);
    assert_eq!((ring.collect(), card.bus.ram().dirty().take()), (vec![], Default::default()), "{before}");
    assert_eq!(card.read(STATUS), 15, "the device goes on");
    card.command(MEMORY | MASTER);
    assert_eq!(ring.collect(), [(id, 2, b"yx".to_vec())]);
    assert!(card.complaints.lock().unwrap().is_empty());
    assert_eq!(seen.lock().unwrap().resets_and_starts(), (0, 2));
    // The same for a driver that starts without it.
    card.command(MEMORY);
    let mut ring = card.start(PLAIN, 1).remove(0);
    let id = card.send(&mut ring, &[b"xy"], &[2]);
    card.notify(0);
    assert_eq!(ring.collect(), []);
    card.command(MEMORY | MASTER);
    assert_eq!(ring.collect(), [(id, 2, b"yx".to_vec())]);
    card.works();
}

#[test]
fn a_reset_while_the_device_has_no_memory_is_one() {
    let (card, seen) = Card::echo();
    let express = card.capability(0x10);
    card.start(PLAIN, 1);
    card.command(MEMORY);
    // A function-level reset.
    card.configure(express + 8, 2, 1 << 15);
    card.place();
    let mut ring = card.start(PLAIN, 1).remove(0);
    let id = card.send(&mut ring, &[b"xy"], &[2]);
    assert_eq!((ring.collect(), seen.lock().unwrap().resets), (vec![(id, 2, b"yx".to_vec())], 1));
}

#[test]
fn a_message_waits_for_bus_mastering() {
    let (card, seen) = Card::echo();
    enable_msix(&card);
    let mut ring = card.start(PLAIN, 1).remove(0);
    card.write(QUEUE_VECTOR, 1);
    seen.lock().unwrap().hold = true;
    card.send(&mut ring, &[b"ab"], &[2]);
    card.command(MEMORY);
    assert_eq!((ring.collect().len(), sent(&card)), (1, vec![]));
    card.command(MEMORY | MASTER);
    assert_eq!(sent(&card), [1]);
}

#[test]
fn a_function_level_reset_is_one_of_the_device() {
    let (card, seen) = Card::echo();
    let mut ring = card.start(PLAIN, 1).remove(0);
    seen.lock().unwrap().hold = true;
    card.send(&mut ring, &[b"x"], &[1]);
    card.store(card.address(DEVICE, 1), 1, 0x77);
    let express = card.capability(0x10);
    assert_eq!(card.config(express + 4, 4) >> 28 & 1, 1, "it can");
    let stops = seen.lock().unwrap().stops;
    card.configure(express + 8, 2, 1 << 15);
    assert!(seen.lock().unwrap().stops > stops, "whoever worked on it has stopped");
    assert_eq!((card.config(4, 2), card.config(0x20, 4)), (0, 4));
    card.place();
    assert_eq!((card.read(STATUS), card.load(card.address(DEVICE, 1), 1)), (0, 2));
    assert_eq!(ring.collect(), []);
    seen.lock().unwrap().hold = false;
    card.works();
}

#[test]
fn a_changed_configuration_is_told() {
    let (card, seen) = Card::echo();
    let mut ring = card.start(PLAIN, 1).remove(0);
    let generation = card.read(GENERATION);
    seen.lock().unwrap().change = Some(vec![40, 50]);
    card.send(&mut ring, &[b"x"], &[1]);
    assert_ne!(card.read(GENERATION), generation);
    assert_eq!(card.load(card.address(DEVICE, 0), 8), 0x0807_0632_2803_0201);
    assert!(card.line());
    assert_eq!(card.isr(), 3);
    assert!(!card.line());
}

#[test]
fn a_state_comes_back_with_its_vectors_and_goes_on() {
    let (card, seen) = Card::echo();
    enable_msix(&card);
    let mut ring = card.start(Rules { packed: true, events: true, indirect: true }, 1).remove(0);
    card.write(QUEUE_VECTOR, 1);
    card.write(CONFIG_VECTOR, 0);
    card.send(&mut ring, &[b"x"], &[1]);
    seen.lock().unwrap().hold = true;
    card.send(&mut ring, &[b"ab"], &[2]);
    card.attendant.quiesce();
    assert_eq!(ring.collect().len(), 2);
    let plugged = card.complex.plugged(card.id).unwrap();
    let saved = plugged.save();
    plugged.reset();
    assert_eq!(card.load(BAR_AT, 4), 0xffff_ffff);
    plugged.restore(&saved).unwrap();
    assert_eq!(plugged.save(), saved);
    seen.lock().unwrap().hold = false;
    sent(&card);
    let id = card.send(&mut ring, &[b"cd"], &[2]);
    // Whoever attends hears of the start, too.
    assert_eq!(ring.collect(), [(id, 2, b"dc".to_vec())]);
    assert_eq!((sent(&card), card.read(CONFIG_VECTOR)), (vec![1], 0));
}

#[test]
fn states_that_no_device_is_in_are_refused() {
    let new = || PciFunction::new(Pci::new(Echo::identity()), &dev_pci::Placement::default());
    let good = new().save();
    let refused = |change: &dyn Fn(&mut <PciFunction<Pci> as Device>::Saved)| {
        let mut saved = good.clone();
        change(&mut saved);
        assert!(new().restore(saved).is_err());
    };
    assert!(new().restore(good.clone()).is_ok());
    refused(&|saved| saved.device.vectors.config = 4);
    refused(&|saved| saved.device.vectors.queues[1] = 0xfffe);
    refused(&|saved| saved.device.vectors.queues.truncate(2));
    refused(&|saved| saved.device.state.queues.truncate(2));
    refused(&|saved| saved.device.config.push(0));
}

#[test]
fn features_that_were_not_offered_are_not_agreed_on() {
    let (card, _) = Card::echo();
    for wrong in [feature::VERSION_1 | 1, 0, feature::EVENT_IDX] {
        assert_eq!(card.negotiate(wrong), ACKNOWLEDGE | DRIVER, "{wrong:#x}");
    }
    let all = feature::USUAL | feature::RING_PACKED | feature::RING_RESET;
    assert_eq!(card.negotiate(all), ACKNOWLEDGE | DRIVER | FEATURES_OK);
}
