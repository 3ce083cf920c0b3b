//! What a hostile driver does to queues, one test for each attack. Each ends in DEVICE_NEEDS_RESET, and the device works again
//! behind a reset.

use crate::Rng;
use crate::test_driver::Rules;
use crate::testkit::{AREA, BUFFERS, Guest, QUEUE_SIZE, RAM, SIZE, area, reg};
use dev_core::Plugged;

const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };
const INDIRECT: Rules = Rules { indirect: true, ..PLAIN };
const PACKED: Rules = Rules { packed: true, ..PLAIN };

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const TABLE: u16 = 4;

/// A descriptor's bytes; `flags` and `next` as a split queue has them.
fn descriptor(at: u64, len: u32, flags: u16, next: u16) -> Vec<u8> {
    [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
}

fn packed(at: u64, len: u32, id: u16, flags: u16) -> Vec<u8> {
    descriptor(at, len, id, flags)
}

/// An echo that is driven by these rules, with descriptors of queue 0 from the first on, of which the first is made available.
fn attack(rules: Rules, descriptors: &[Vec<u8>]) -> Guest {
    let (guest, _) = Guest::echo();
    guest.start(rules, 3);
    strike(&guest, descriptors);
    guest
}

fn strike(guest: &Guest, descriptors: &[Vec<u8>]) {
    guest.poke(area(0), &descriptors.concat());
    // The available ring: flags, index 1, and descriptor 0 at place 0. Nothing to a packed queue.
    guest.poke(area(0) + 0x4000, &[0, 0, 1, 0, 0, 0]);
    guest.write(reg::QUEUE_NOTIFY, 0);
}

#[test]
fn a_descriptor_loop() {
    let chain = [descriptor(BUFFERS, 4, NEXT, 1), descriptor(BUFFERS, 4, NEXT, 0)];
    attack(PLAIN, &chain).broke_for("a chain that never ends");
    attack(PLAIN, &[descriptor(BUFFERS, 4, NEXT, 0)]).broke_for("a chain that never ends");
}

#[test]
fn a_packed_ring_of_one_chain_without_end() {
    let all: Vec<_> = (0..QUEUE_SIZE).map(|n| packed(BUFFERS, 4, n, NEXT | 1 << 7)).collect();
    attack(PACKED, &all).broke_for("a chain that never ends");
}

#[test]
fn an_indirect_loop() {
    let (guest, _) = Guest::echo();
    guest.start(INDIRECT, 3);
    let table = [descriptor(BUFFERS, 4, NEXT, 1), descriptor(BUFFERS, 4, NEXT, 0)];
    guest.poke(BUFFERS + 0x1000, &table.concat());
    strike(&guest, &[descriptor(BUFFERS + 0x1000, 32, TABLE, 0)]);
    guest.broke_for("a chain that never ends");
}

#[test]
fn a_nested_indirect_table() {
    for rules in [INDIRECT, Rules { indirect: true, ..PACKED }] {
        let (guest, _) = Guest::echo();
        guest.start(rules, 3);
        let inner =
            if rules.packed { packed(BUFFERS, 16, 0, TABLE) } else { descriptor(BUFFERS, 16, TABLE, 0) };
        guest.poke(BUFFERS + 0x1000, &inner);
        let outer = BUFFERS + 0x1000;
        let outer =
            if rules.packed { packed(outer, 16, 0, TABLE | 1 << 7) } else { descriptor(outer, 16, TABLE, 0) };
        strike(&guest, &[outer]);
        guest.broke_for("an indirect descriptor in an indirect table");
    }
}

#[test]
fn an_index_behind_the_table() {
    attack(PLAIN, &[descriptor(BUFFERS, 4, NEXT, QUEUE_SIZE)]).broke_for("a descriptor behind the table");
    let (guest, _) = Guest::echo();
    guest.start(PLAIN, 3);
    guest.poke(area(0) + 0x4000, &[0, 0, 1, 0, 0xff, 0xff]);
    guest.write(reg::QUEUE_NOTIFY, 0);
    guest.broke_for("a descriptor behind the table");
}

#[test]
fn an_indirect_index_behind_its_table() {
    let (guest, _) = Guest::echo();
    guest.start(INDIRECT, 3);
    guest.poke(BUFFERS + 0x1000, &descriptor(BUFFERS, 4, NEXT, 2));
    strike(&guest, &[descriptor(BUFFERS + 0x1000, 32, TABLE, 0)]);
    guest.broke_for("an indirect descriptor behind its table");
}

#[test]
fn indirect_tables_that_are_none() {
    let table = |at, len, flags| [descriptor(at, len, TABLE | flags, 0)];
    attack(PLAIN, &table(BUFFERS, 16, 0)).broke_for("an indirect descriptor that was not negotiated");
    attack(INDIRECT, &table(BUFFERS, 16, NEXT)).broke_for("an indirect descriptor that goes on");
    for len in [0, 1, 15, 17, u32::MAX] {
        let why = "an indirect table that is no whole number of descriptors";
        attack(INDIRECT, &table(BUFFERS, len, 0)).broke_for(why);
    }
    let why = "an indirect table of more than 1024 descriptors";
    attack(INDIRECT, &table(BUFFERS, 16 * 1025, 0)).broke_for(why);
    attack(INDIRECT, &table(BUFFERS, 0xffff_fff0, 0)).broke_for(why);
    attack(INDIRECT, &table(RAM + SIZE, 16, 0)).broke_for("memory that is not there");
    attack(INDIRECT, &table(u64::MAX - 15, 32, 0)).broke_for("memory that is not there");
}

#[test]
fn buffers_outside_memory() {
    for (at, len) in [
        (0, 4),
        (RAM - 2, 4),
        (RAM + SIZE - 2, 4),
        (RAM + SIZE, 1),
        (u64::MAX, 4),
        (u64::MAX - 3, 4),
        (RAM, 0x20_0000),
    ] {
        attack(PLAIN, &[descriptor(at, len, 0, 0)]).broke_for("memory that is not there");
        attack(PACKED, &[packed(at, len, 0, 1 << 7)]).broke_for("memory that is not there");
    }
    // As long as the answer, so that all of it would be written.
    let chain = [descriptor(BUFFERS, 4, NEXT, 1), descriptor(RAM + SIZE - 2, 4, WRITE, 0)];
    attack(PLAIN, &chain).broke_for("memory that is not there");
}

#[test]
fn lengths_that_overflow() {
    let big = |n: u16, flags| descriptor(RAM, u32::MAX, flags, n + 1);
    attack(PLAIN, &[big(0, NEXT), big(1, 0)]).broke_for("a chain of more than 4 GiB");
    attack(PLAIN, &[big(0, NEXT | WRITE), big(1, WRITE)]).broke_for("a chain of more than 4 GiB");
}

#[test]
fn more_requests_than_the_queue_holds() {
    for index in [QUEUE_SIZE + 1, 0x8000, 0xffff] {
        let (guest, _) = Guest::echo();
        guest.start(PLAIN, 3);
        guest.poke(area(0) + 0x4002, &index.to_le_bytes());
        guest.write(reg::QUEUE_NOTIFY, 0);
        guest.broke_for("more requests than the virtqueue holds");
    }
}

/// What the device has not given back counts, or its memory grows for as long as the driver likes.
#[test]
fn more_requests_than_the_queue_holds_while_the_device_keeps_some() {
    for rules in [PLAIN, PACKED] {
        let (guest, seen) = Guest::echo();
        guest.start(rules, 3);
        seen.lock().unwrap().hold = true;
        let flags = |round: u16| if round == 1 { 1 << 7 } else { 1 << 15 };
        let hand_over = |round: u16| {
            let all: Vec<_> = (0..QUEUE_SIZE).map(|n| packed(BUFFERS, 4, n, flags(round))).collect();
            match rules.packed {
                true => guest.poke(area(0), &all.concat()),
                // All of them are descriptor 0.
                false => guest.poke(area(0) + 0x4002, &(round * QUEUE_SIZE).to_le_bytes()),
            }
            guest.write(reg::QUEUE_NOTIFY, 0);
        };
        guest.poke(area(0), &descriptor(BUFFERS, 4, 0, 0));
        hand_over(1);
        assert!(!guest.waits(), "{rules:?}: a queue may be full");
        hand_over(2);
        seen.lock().unwrap().hold = false;
        guest.broke_for("more requests than the virtqueue holds");
    }
}

#[test]
fn a_packed_chain_of_more_descriptors_than_are_left() {
    for (count, fits) in [(QUEUE_SIZE - 10, true), (QUEUE_SIZE - 9, false)] {
        let (guest, seen) = Guest::echo();
        guest.start(PACKED, 3);
        seen.lock().unwrap().hold = true;
        let chain = |count: u16, owner: &dyn Fn(u16) -> u16, from: u16| {
            for n in 0..count {
                let next = if n + 1 < count { NEXT } else { 0 };
                let at = (from + n) % QUEUE_SIZE;
                guest.poke(area(0) + 16 * u64::from(at), &packed(BUFFERS, 4, from, next | owner(from + n)));
            }
            guest.write(reg::QUEUE_NOTIFY, 0);
        };
        let owner = |at: u16| if at < QUEUE_SIZE { 1 << 7 } else { 1 << 15 };
        chain(10, &owner, 0);
        chain(count, &owner, 10);
        seen.lock().unwrap().hold = false;
        match fits {
            true => assert!(!guest.waits()),
            false => guest.broke_for("more requests than the virtqueue holds"),
        }
    }
}

#[test]
fn what_is_written_before_what_is_read() {
    let chain = [descriptor(BUFFERS, 4, NEXT | WRITE, 1), descriptor(BUFFERS, 4, 0, 0)];
    attack(PLAIN, &chain).broke_for("a buffer to read behind one to write");
}

#[test]
fn queues_of_wild_sizes_and_addresses() {
    let (guest, _) = Guest::echo();
    let begin = |rules: Rules| {
        guest.negotiate(rules.features());
        guest.set_queue(1, QUEUE_SIZE);
        guest.write(reg::QUEUE_SEL, 0);
        guest.set_address(reg::QUEUE_DESC, area(0));
        guest.set_address(reg::QUEUE_DRIVER, area(0) + 0x4000);
        guest.set_address(reg::QUEUE_DEVICE, area(0) + 0x8000);
        guest.write(reg::QUEUE_SIZE, 4);
    };
    let end = |why: &str| {
        guest.write(reg::QUEUE_READY, 1);
        guest.drive();
        guest.broke_for(why);
    };
    for size in [0, 3, 5, 15, 0x1_0000, 0xffff_ffff] {
        begin(PLAIN);
        guest.write(reg::QUEUE_SIZE, size);
        end("a size that no split virtqueue has");
    }
    begin(PACKED);
    guest.write(reg::QUEUE_SIZE, 0);
    end("a size that no packed virtqueue has");
    for rules in [PLAIN, PACKED] {
        for register in [reg::QUEUE_DESC, reg::QUEUE_DRIVER, reg::QUEUE_DEVICE] {
            for at in [area(0) + 1, u64::MAX, u64::MAX - 15] {
                begin(rules);
                guest.set_address(register, at);
                end("a virtqueue at an address where none can be");
            }
            for at in [0, RAM - 16, RAM + SIZE, 0x8000_0000_0000_0000] {
                begin(rules);
                guest.set_address(register, at);
                // Some areas are looked at only when there is a request, or when one is given back.
                guest.poke(area(0), &[0; AREA as usize]);
                guest.poke(area(0), &packed(BUFFERS, 4, 0, 1 << 7));
                guest.poke(area(0) + 0x4000, &[0, 0, u8::from(!rules.packed)]);
                end("memory that is not there");
            }
        }
    }
}

#[test]
fn a_device_that_gave_up_starts_behind_a_reset_only() {
    let why = "a descriptor behind the table";
    let (guest, seen) = Guest::echo();
    guest.start(PLAIN, 3);
    strike(&guest, &[descriptor(BUFFERS, 4, NEXT, QUEUE_SIZE)]);
    let saved = guest.slot.save();
    guest.attendant.quiesce();
    guest.attendant.attend_all();
    guest.slot.restore(&saved).unwrap();
    guest.attendant.attend_all();
    assert_eq!(seen.lock().unwrap().features.len(), 1);
    guest.broke_for(why);
}

/// Each request writes the index of the next into the available ring, and it never ends by itself.
#[test]
fn a_queue_that_feeds_itself() {
    let guest = Guest::new(Rng::identity(), Box::new(counter()));
    guest.negotiate(PLAIN.features());
    guest.set_queue(0, QUEUE_SIZE);
    guest.poke(area(0), &descriptor(area(0) + 0x4002, 2, WRITE, 0));
    guest.poke(area(0) + 0x4000, &[0, 0, 1, 0]);
    guest.drive();
    assert!(guest.waits());
    let complaints = guest.complaints.lock().unwrap().clone();
    assert_eq!(complaints, [crate::Broken("a virtqueue that feeds itself")]);
}

/// "Random" bytes that count requests, from 2 on.
fn counter() -> Rng {
    let mut next = 1u16;
    Rng::new(move |bytes| {
        next = next.wrapping_add(1);
        bytes.copy_from_slice(&next.to_le_bytes());
        bytes.len()
    })
}

#[test]
fn an_entropy_request_without_end_is_cut() {
    let filled = Rng::new(|bytes| {
        bytes.fill(7);
        bytes.len()
    });
    let guest = Guest::new(Rng::identity(), Box::new(filled));
    guest.start(PLAIN, 1);
    guest.poke(area(0), &descriptor(BUFFERS, 0x4_0000, WRITE, 0));
    guest.poke(area(0) + 0x4000, &[0, 0, 1, 0, 0, 0]);
    guest.write(reg::QUEUE_NOTIFY, 0);
    assert_eq!(guest.peek(BUFFERS, 4097), [&[7; 4096][..], &[0]].concat());
    assert_eq!(guest.peek(area(0) + 0x8002, 10), [1, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
}
