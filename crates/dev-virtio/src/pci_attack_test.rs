//! What a hostile driver does to the transport over PCI, one test for each attack. The device works again behind a reset.

use crate::test_driver::Rules;
use crate::testkit_pci::*;
use crate::{When, feature};
use dev_core::chipset::noise;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };
/// Function-level reset in Device Control.
const RESET: u64 = 1 << 15;

/// After anything: reset, put in place, found as at first, and works.
fn recovers(card: &Card) {
    card.configure(card.capability(0x10) + 8, 2, RESET);
    card.configure(card.capability(0x10) + 8, 2, 0);
    card.place();
    card.works();
}

/// Values of every kind.
const VALUES: [u64; 8] = [0, u64::MAX, 1, 0x8000_0000, 0xffff, 0x0004_0001, 0xff00_ff00_ff00_ff00, 15];

#[test]
fn attack_every_width_and_value_in_configuration_space() {
    let (card, _) = Card::echo();
    for value in VALUES {
        for size in [1u8, 2, 4, 8] {
            card.start(PLAIN, 3);
            for at in (0..0x1000).step_by(size.into()) {
                let read = card.config(at, size);
                assert_eq!(read & u64::MAX.checked_shl(8 * u32::from(size)).unwrap_or(0), 0);
                card.configure(at, size, value & u64::MAX >> (64 - 8 * u32::from(size)));
                card.config(at, size);
            }
            recovers(&card);
        }
    }
}

#[test]
fn attack_every_width_and_value_in_the_bars() {
    let (card, _) = Card::echo();
    for value in VALUES {
        for size in [1u8, 2, 4, 8] {
            card.start_with(feature::RING_RESET, PLAIN, 3);
            let (masked, step) = (value & u64::MAX >> (64 - 8 * u32::from(size)), usize::from(size));
            let places = (BAR_AT..BAR_AT + 0x4000).chain(VECTORS_AT..VECTORS_AT + 0x1000).step_by(step);
            for at in places {
                let read = card.load(at, size);
                assert_eq!(read & u64::MAX.checked_shl(8 * u32::from(size)).unwrap_or(0), 0, "{at:#x}");
                card.store(at, size, masked);
            }
            recovers(&card);
        }
    }
}

/// The registers in any order, of any width, with any value, while the device is at work.
#[test]
fn attack_registers_in_any_order() {
    let (card, _) = Card::echo();
    for round in 1..=40 {
        card.start_with(feature::RING_RESET, PLAIN, 3);
        for four in noise(round, 1200).chunks_exact(4) {
            let size = 1u8 << (four[0] & 3);
            let offset = match four[0] >> 2 & 3 {
                0..2 => u64::from(four[1]) & 0x3f,
                2 => 0x1000 * u64::from(four[1] & 3) + u64::from(four[1] >> 2),
                _ => 0x3000 + u64::from(four[1]),
            };
            let at = BAR_AT + (offset & !u64::from(size - 1));
            if four[0] & 0x80 == 0 {
                card.store(at, size, u64::from(four[2]) << (four[3] & 7));
            } else {
                card.load(at, size);
            }
        }
        recovers(&card);
    }
}

#[test]
fn attack_vectors_out_of_range() {
    let (card, seen) = Card::echo();
    card.configure(card.capability(0x11) + 2, 2, 1 << 15);
    let mut ring = card.start(PLAIN, 1).remove(0);
    for vector in [4, 5, 63, 64, 127, 128, 0x7ff, 0x800, 0xfffe, 0xffff] {
        card.write(QUEUE_VECTOR, 1);
        card.write(QUEUE_VECTOR, vector);
        card.write(CONFIG_VECTOR, vector);
        assert_eq!((card.read(QUEUE_VECTOR), card.read(CONFIG_VECTOR)), (0xffff, 0xffff), "{vector:#x}");
        seen.lock().unwrap().change = Some(vec![1]);
        let id = card.send(&mut ring, &[b"x"], &[1]);
        assert_eq!(ring.collect(), [(id, 1, b"x".to_vec())]);
    }
    assert!(card.messages.0.lock().unwrap().is_empty());
    assert_eq!(card.load(VECTORS_AT + 0x800, 8), 0);
    // Of a queue that is not there.
    for queue in [3, 64, 0xffff] {
        card.write(QUEUE_SELECT, queue);
        card.write(QUEUE_VECTOR, 1);
        assert_eq!(card.read(QUEUE_VECTOR), 0xffff);
    }
    recovers(&card);
}

#[test]
fn attack_the_window_at_wild_offsets() {
    let (card, _) = Card::echo();
    let cap = card.structure(PCI_CFG).at;
    card.start(PLAIN, 3);
    let offsets = [0, 1, 2, 3, 0x10, 0x14, 0x3b, 0x3c, 0x1000, 0x2008, 0x3000, 0x3ffc, 0x3ffe, 0x3fff];
    let wild = [0x4000, 0x4001, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_fffe, 0xffff_ffff];
    for offset in offsets.into_iter().chain(wild) {
        for length in [0, 1, 2, 3, 4, 5, 8, 0x100, 0x8000_0001, 0xffff_ffff] {
            for bar in [0, 1, 2, 4, 5, 6, 0xff] {
                card.configure(cap + 4, 1, bar);
                card.configure(cap + 8, 4, offset);
                card.configure(cap + 12, 4, length);
                for size in [1u8, 2, 4] {
                    for at in (0..4).step_by(size.into()) {
                        let sound = bar == 4 && offset < 0x4000 && matches!(length, 1 | 2 | 4);
                        let read = card.config(cap + 16 + at, size);
                        assert!(sound && offset % length == 0 || read == 0, "{bar} {offset:#x} {length:#x}");
                        card.configure(cap + 16 + at, size, 0xa5a5_a5a5 >> (32 - 8 * u32::from(size)));
                    }
                }
            }
        }
    }
    recovers(&card);
}

/// The window's own registers through the window: it leads to BARs, never to itself.
#[test]
fn attack_the_window_through_itself() {
    let (card, _) = Card::echo();
    let cap = card.structure(PCI_CFG).at;
    for at in (0..20).step_by(4) {
        card.configure(cap + at, 4, 0xffff_ffff);
        card.configure(cap + 8, 4, cap + at);
        card.configure(cap + 12, 4, 4);
        card.configure(cap + 16, 4, 0xffff_ffff);
    }
    assert_eq!(card.config(cap + 3, 1), u64::from(PCI_CFG));
    recovers(&card);
}

/// A driver that rings while another thread moves the BARs, turns decoding off and resets the function: accesses meet the
/// device or nothing, and nothing is left over.
#[test]
fn attack_bars_that_move_while_the_device_is_busy() {
    for eager in [false, true] {
        let when = if eager { When::Eagerly(Box::new(|| ())) } else { When::AtOnce };
        let (card, _) = Card::echo_when(when);
        card.start(PLAIN, 3);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..400u64 {
                    card.configure(0x20, 4, BAR_AT + (round % 4) * 0x4000);
                    card.configure(0x24, 4, round % 7 / 6);
                    card.command([MEMORY | MASTER, MASTER, MEMORY, 0][(round / 3) as usize % 4]);
                    card.configure(0x14, 4, VECTORS_AT + (round % 3) * 0x1000);
                    if round % 50 == 49 {
                        card.configure(card.capability(0x10) + 8, 2, RESET);
                    }
                }
                done.store(true, Ordering::SeqCst);
            });
            scope.spawn(|| {
                let mut n = 0;
                while !done.load(Ordering::SeqCst) {
                    n += 1;
                    card.store(BAR_AT + 0x3000 + 4 * (n % 3), 2, n % 3);
                    card.load(BAR_AT + 0x1000, 1);
                    card.store(BAR_AT + 0x14, 1, [15, 0, 3, 11][(n / 64) as usize % 4]);
                    card.attendant.attend();
                }
            });
        });
        assert!(card.complex.is_current());
        recovers(&card);
    }
}

/// What is under way when a BAR is turned off comes back all the same, and interrupts.
#[test]
fn attack_decoding_off_while_the_device_is_busy() {
    let (card, seen) = Card::echo();
    let mut ring = card.start(PLAIN, 1).remove(0);
    seen.lock().unwrap().hold = true;
    let id = card.send(&mut ring, &[b"abc"], &[3]);
    card.command(MASTER);
    assert_eq!(card.load(BAR_AT + 0x14, 1), 0xff);
    card.store(BAR_AT + 0x14, 1, 0);
    seen.lock().unwrap().hold = false;
    let other = ring.add(&[b"xy"], &[2]);
    card.attendant.quiesce();
    card.attendant.attend();
    assert_eq!(ring.collect(), [(id, 3, b"cba".to_vec()), (other, 2, b"yx".to_vec())]);
    assert!(card.line() && card.interrupt_status());
    card.command(MEMORY | MASTER);
    assert_eq!((card.read(STATUS), card.isr()), (15, 1));
    recovers(&card);
}

/// Bus mastering that goes on and off under a busy driver: while it is off, memory stands still.
#[test]
fn attack_bus_mastering_that_comes_and_goes() {
    let (card, _) = Card::echo_when(When::Eagerly(Box::new(|| ())));
    let ring = Mutex::new(card.start(PLAIN, 1).remove(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                card.command(MEMORY);
                // The driver does not write while this looks.
                let _still = ring.lock().unwrap();
                card.bus.ram().dirty().take();
                card.attendant.attend();
                std::thread::yield_now();
                assert!(card.bus.ram().dirty().take().is_empty(), "the device wrote without bus mastering");
                card.command(MEMORY | MASTER);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                card.attendant.attend();
            }
        });
        let mut came = 0;
        while !done.load(Ordering::SeqCst) {
            let mut ring = ring.lock().unwrap();
            if came % 2 == 0 {
                ring.add(&[b"abc"], &[3]);
                came += 1;
            }
            card.store(BAR_AT + 0x3000, 2, 0);
            for (_, _, bytes) in ring.collect() {
                assert_eq!(bytes, b"cba");
                came += 1;
            }
        }
        assert!(came > 2, "nothing came back");
    });
    assert!(card.complaints.lock().unwrap().is_empty());
    recovers(&card);
}

/// A driver that resets queues again and again, of all kinds and at any time.
#[test]
fn attack_queues_that_are_reset_all_the_time() {
    let (card, seen) = Card::echo();
    for round in 0..60u64 {
        let mut rings = card.start_with(feature::RING_RESET, PLAIN, 3);
        for n in 0..20 {
            seen.lock().unwrap().hold = (round + n) % 3 == 0;
            let queue = (round * 7 + n) % 4;
            if let Some(ring) = rings.get_mut(queue as usize).filter(|ring| ring.has_room(2)) {
                ring.collect();
                card.send(ring, &[b"x"], &[1]);
            }
            card.write(QUEUE_SELECT, queue);
            card.write(QUEUE_RESET, 1);
            assert_eq!((card.read(QUEUE_RESET), card.read(QUEUE_ENABLE)), (0, 0));
            if n % 2 == 0 && queue < 3 {
                rings[queue as usize] = card.set_queue(queue, PLAIN);
            }
        }
        seen.lock().unwrap().hold = false;
    }
    recovers(&card);
}
