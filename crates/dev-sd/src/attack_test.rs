//! Hosts that mean harm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::testkit::{BLOCKS, Host};
use crate::{BLOCK, Identity, Job};

#[test]
fn attack_blocks_that_the_card_does_not_have() {
    let mut host = Host::ready(false);
    for number in [17, 18, 24, 25, 32, 33] {
        for block in [BLOCKS, BLOCKS + 1, 1 << 31, u32::MAX] {
            assert_eq!(host.r1(number, block) & !2, 0x40, "CMD{number} {block:#x}");
        }
    }
    // The largest card has all 32 bits of them.
    let largest = Identity::new(2 << 40, false).unwrap();
    assert_eq!(largest.blocks(), 1 << 32);
    let mut card = crate::Card::new(largest);
    card.restore(host.card.save()).unwrap();
    host.card = card;
    host.stalled = true;
    for (number, block) in [(17, u32::MAX), (18, u32::MAX)] {
        assert_eq!(host.r1(number, block), 0);
        let Job::Read { at, len } = host.card.take_job().unwrap().job else { panic!("it reads") };
        assert_eq!((at, len as usize), ((2 << 40) - BLOCK as u64, BLOCK));
    }
    assert_eq!([host.r1(32, 0) & !2, host.r1(33, u32::MAX), host.r1(38, 0)], [0, 0, 0]);
    assert_eq!(host.card.take_job().unwrap().job, Job::Erase { at: 0, len: 2 << 40 });
}

#[test]
fn attack_by_writing_without_end() {
    let mut host = Host::ready(false);
    assert_eq!(host.r1(25, 0), 0);
    for _ in 0..3 * BLOCKS {
        host.write(0xfc, &[0x40; BLOCK]);
    }
    let saved = host.card.save();
    assert!(saved.out.len() < 8 && saved.frame.len() < 6 && saved.bytes.0.is_empty());
    assert_eq!(host.command(13, 0)[1] & 0x80, 0x80);
}

#[test]
fn attack_with_commands_inside_of_data() {
    let mut host = Host::ready(false);
    assert_eq!(host.r1(24, 7), 0);
    // CMD0 with its checksum, all over the block.
    let block: Vec<u8> = [0x40, 0, 0, 0, 0, 0x95].into_iter().cycle().take(BLOCK).collect();
    assert_eq!(host.write(0xfe, &block), 5);
    assert_eq!(host.block(7), block);
    assert_eq!(host.command(13, 0), [0, 0], "it was not reset");
}

#[test]
fn attack_with_the_end_of_a_job_that_was_given_up() {
    let mut host = Host::ready(false);
    host.stalled = true;
    assert_eq!(host.r1(18, 0), 0);
    let old = host.card.take_job().unwrap();
    assert_eq!(host.r1(12, 0), 0);
    assert_eq!(host.r1(17, 99), 0);
    let new = host.card.take_job().unwrap();
    host.finish(&old);
    assert_eq!(host.data(BLOCK), Err(0xff), "that was another block");
    host.finish(&new);
    host.finish(&new);
    assert_eq!(host.data(BLOCK).unwrap(), host.block(99));
    // The same across a loss of power.
    assert_eq!(host.r1(24, 5), 0);
    assert_eq!(host.write(0xfe, &[5; BLOCK]), 5);
    let old = host.card.take_job().unwrap();
    host.card.power_cycle();
    host.finish(&old);
    assert_eq!(host.r1(0, 0), 1);
    assert_eq!(host.card.save().mishaps, 0);
}

#[test]
fn attack_with_a_state_that_no_card_is_in() {
    let mut host = Host::ready(false);
    let good = host.card.save();
    let bad = [
        crate::CardV1 { phase: (8, 0, false), ..good.clone() },
        crate::CardV1 { phase: (1, 0, true), ..good.clone() },
        crate::CardV1 { phase: (1, 0, true), bytes: (vec![0; 511], 0), ..good.clone() },
        crate::CardV1 { phase: (1, 0, true), bytes: (vec![0; 512], 512), ..good.clone() },
        crate::CardV1 { phase: (4, 0, true), bytes: (vec![0; 514], 0), ..good.clone() },
        crate::CardV1 { phase: (3, u64::MAX, true), ..good.clone() },
        crate::CardV1 { phase: (6, 0, false), ..good.clone() },
        crate::CardV1 { frame: vec![0x40; 6], ..good.clone() },
        crate::CardV1 { out: vec![0; 1 << 20], ..good.clone() },
        crate::CardV1 { erase: (Some(BLOCKS), None), ..good.clone() },
        crate::CardV1 { job: (Some(Job::Read { at: u64::MAX, len: 512 }), 0), ..good.clone() },
        crate::CardV1 { job: (Some(Job::Read { at: 0, len: u32::MAX }), 0), ..good.clone() },
        crate::CardV1 { job: (Some(Job::Write { at: 0, bytes: vec![], through: true }), 0), ..good.clone() },
        crate::CardV1 { job: (Some(Job::Erase { at: 512, len: 1 << 20 }), 0), ..good.clone() },
    ];
    for state in bad {
        assert!(host.card.restore(state.clone()).is_err(), "{state:?}");
    }
    assert_eq!(host.card.save(), good);
    host.card.restore(good).unwrap();
}
