//! The card as a driver sees it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::testkit::{BLOCKS, Host, SIZE};
use crate::{BLOCK, Job};

const START: u8 = 0xfe;
const MANY: u8 = 0xfc;
const STOP: u8 = 0xfd;

#[test]
fn it_is_silent_until_it_is_told_to_be_in_spi_mode() {
    let mut host = Host::new();
    host.send(8, 0x1aa);
    assert!((0..20).all(|_| host.exchange(0xff) == 0xff));
    // With a wrong checksum that is no CMD0.
    [0x40, 0, 0, 0, 0, 0x97].into_iter().for_each(|byte| _ = host.exchange(byte));
    assert!((0..20).all(|_| host.exchange(0xff) == 0xff));
    assert_eq!(host.r1(0, 0), 1);
}

#[test]
fn it_gets_ready_for_a_host_that_knows_high_capacity() {
    let mut host = Host::new();
    assert_eq!(host.r1(0, 0), 1);
    assert_eq!(host.r1(17, 0), 5, "not yet");
    assert_eq!(host.command(58, 0), [1, 0, 0xff, 0x80, 0]);
    for (version_2, hcs, idle) in [(false, 1 << 30, 1), (true, 0, 1), (true, 1 << 30, 0)] {
        if version_2 {
            assert_eq!(host.command(8, 0x1aa), [1, 0, 0, 1, 0xaa]);
        }
        assert_eq!(host.r1(55, 0), 1);
        assert_eq!(host.r1(41, hcs), idle);
    }
    assert_eq!(host.command(58, 0), [0, 0xc0, 0xff, 0x80, 0]);
    assert_eq!(host.command(8, 0x2aa), [0, 0, 0, 0, 0xaa], "another voltage");
    assert_eq!(host.r1(0, 0), 1, "again");
}

#[test]
fn registers_come_as_data() {
    let mut host = Host::ready(false);
    assert_eq!(host.r1(9, 0), 0);
    let csd = host.data(16).unwrap();
    assert_eq!((csd[0], csd[9]), (0x40, (SIZE >> 19) as u8 - 1));
    assert_eq!(host.r1(10, 0), 0);
    assert_eq!(host.data(16).unwrap()[3..8], *b"HOSTL");
    assert_eq!(host.app(51, 0), [0]);
    assert_eq!(host.data(8).unwrap()[..3], [2, 5, 0x80]);
    assert_eq!(host.app(13, 0), [0, 0]);
    assert_eq!(host.data(64).unwrap()[8], 4);
    assert_eq!(host.r1(6, 0x80ff_fff1), 0);
    assert_eq!(host.data(64).unwrap()[16], 1);
    assert_eq!(host.r1(9, 0), 0);
    assert_eq!(host.data(16).unwrap()[3], 0x5a, "50 MHz now");
}

#[test]
fn blocks_are_read() {
    let mut host = Host::ready(false);
    for number in [0, 5, BLOCKS - 1] {
        assert_eq!(host.r1(17, number), 0);
        assert_eq!(host.data(BLOCK).unwrap(), host.block(number));
    }
    assert_eq!(host.r1(18, 3), 0);
    for number in 3..100 {
        assert_eq!(host.data(BLOCK).unwrap(), host.block(number), "{number}");
    }
    // In the middle of the next one; the byte behind the command means nothing.
    (0..77).for_each(|_| _ = host.exchange(0xff));
    assert_eq!(host.r1(12, 0), 0);
    assert_eq!(host.data(BLOCK), Err(0xff), "no more");
    assert_eq!(host.r1(12, 0), 4, "there is nothing to stop");
}

#[test]
fn a_read_of_many_ends_with_the_card() {
    let mut host = Host::ready(false);
    assert_eq!(host.r1(18, BLOCKS - 2), 0);
    assert_eq!(host.data(BLOCK).unwrap(), host.block(BLOCKS - 2));
    assert_eq!(host.data(BLOCK).unwrap(), host.block(BLOCKS - 1));
    assert_eq!(host.data(BLOCK), Err(8));
    assert_eq!(host.r1(12, 0), 0);
    assert_eq!(host.command(13, 0), [0, 0x80]);
    assert_eq!(host.command(13, 0), [0, 0], "told once");
}

#[test]
fn blocks_are_written_and_are_stable_when_it_is_ready() {
    let mut host = Host::ready(false);
    assert_eq!(host.r1(24, 9), 0);
    assert_eq!(host.write(START, &[0xa5; BLOCK]), 5);
    assert_eq!((host.busy(), host.flushes), (0, 1));
    assert_eq!(host.block(9), [0xa5; BLOCK]);
    assert_eq!(host.r1(25, 20), 0);
    for number in 0..50 {
        assert_eq!(host.write(MANY, &[number; BLOCK]), 5);
    }
    assert_eq!((host.flushes, host.unflushed), (1, 50));
    host.exchange(0xff);
    host.exchange(STOP);
    assert_eq!((host.busy(), host.flushes, host.unflushed), (0, 2, 0));
    assert!((0..50).all(|number| host.block(20 + number)[511] == number as u8));
    assert_eq!(host.app(22, 0), [0]);
    assert_eq!(host.data(4).unwrap(), [0, 0, 0, 50]);
}

#[test]
fn it_is_busy_while_the_storage_is() {
    let mut host = Host::ready(false);
    host.stalled = true;
    assert_eq!(host.r1(17, 1), 0);
    assert_eq!(host.data(BLOCK), Err(0xff), "nothing yet");
    host.work();
    assert_eq!(host.data(BLOCK).unwrap(), host.block(1));
    assert_eq!(host.r1(24, 1), 0);
    assert_eq!(host.write(START, &[1; BLOCK]), 5);
    assert_eq!(host.busy(), 10_000);
    host.send(17, 1);
    assert_eq!(host.exchange(0xff), 0, "what is sent meanwhile is no command");
    host.card.deselect();
    assert_eq!(host.exchange(0xff), 0, "and it goes on when it is selected again");
    host.work();
    assert_eq!((host.busy(), host.block(1)), (0, &[1; BLOCK][..]));
}

#[test]
fn what_is_wrong_with_a_write_is_told() {
    let mut host = Host::ready(true);
    assert_eq!(host.r1(24, 0), 0);
    assert_eq!(host.write(START, &[0; BLOCK]), 0x0d);
    assert_eq!(host.command(13, 0), [0, 0x20], "write-protected");
    let mut host = Host::ready(false);
    assert_eq!(host.r1(25, BLOCKS - 1), 0);
    assert_eq!(host.write(MANY, &[0; BLOCK]), 5);
    assert_eq!(host.write(MANY, &[0; BLOCK]), 0x0d, "behind the end");
    host.exchange(STOP);
    assert_eq!(host.command(13, 0), [0, 0x80]);
    host.broken = true;
    assert_eq!(host.r1(24, 0), 0);
    assert_eq!(host.write(START, &[0; BLOCK]), 0x0d);
    assert_eq!(host.command(13, 0), [0, 4]);
    // One that was accepted, and could not be written then.
    host.stalled = true;
    assert_eq!(host.r1(25, 0), 0);
    assert_eq!(host.write(MANY, &[0; BLOCK]), 5);
    host.work();
    host.stalled = false;
    host.broken = false;
    assert_eq!(host.write(MANY, &[0; BLOCK]), 0x0d);
    assert_eq!(host.r1(12, 0), 0, "some stop so");
    assert_eq!(host.busy(), 0);
    assert_eq!(host.command(13, 0), [0, 4]);
    host.broken = true;
    assert_eq!(host.r1(17, 0), 0);
    assert_eq!(host.data(BLOCK), Err(1));
}

#[test]
fn checksums_are_checked_once_they_are_wanted() {
    let mut host = Host::ready(false);
    let bad = |host: &mut Host| {
        [0x51, 0, 0, 0, 1, 1].into_iter().for_each(|byte| _ = host.exchange(byte));
        host.exchange(0xff);
        host.exchange(0xff)
    };
    assert_eq!(bad(&mut host), 0);
    assert_eq!(host.r1(59, 1), 0);
    assert_eq!(bad(&mut host), 8);
    assert_eq!(host.r1(24, 2), 0);
    let before = host.block(2).to_vec();
    host.exchange(START);
    (0..BLOCK + 2).for_each(|_| _ = host.exchange(0x11));
    assert_eq!(host.exchange(0xff), 0x0b);
    assert_eq!(host.block(2), before);
    assert_eq!(host.r1(59, 0), 0);
    assert_eq!(bad(&mut host), 0);
    // That of CMD8 is checked always.
    [0x48, 0, 0, 1, 0xaa, 1].into_iter().for_each(|byte| _ = host.exchange(byte));
    assert_eq!([host.exchange(0xff), host.exchange(0xff)], [0xff, 8]);
}

#[test]
fn blocks_are_erased() {
    let mut host = Host::ready(false);
    assert_eq!(host.r1(38, 0), 0x10, "nothing is said of what");
    assert_eq!([host.r1(32, 4), host.r1(33, 6), host.r1(38, 0)], [0; 3]);
    assert_eq!(host.busy(), 0);
    assert!((4..7).all(|number| host.block(number) == [0; BLOCK]));
    assert_ne!(host.block(3), [0; BLOCK]);
    assert_ne!(host.block(7), [0; BLOCK]);
    assert_eq!([host.r1(32, 4), host.r1(17, 0)], [0, 2], "another command breaks it off");
    assert!(host.data(BLOCK).is_ok());
    assert_eq!([host.r1(33, 6), host.r1(38, 0)], [0, 0x10]);
    assert_eq!([host.r1(32, 9), host.r1(33, 8), host.r1(38, 0)], [0, 0, 0x40]);
    assert_eq!(host.command(13, 0), [0, 0x40]);
}

#[test]
fn half_a_command_is_none_once_it_is_not_selected() {
    let mut host = Host::ready(false);
    [0x51, 0, 0].into_iter().for_each(|byte| _ = host.exchange(byte));
    host.card.deselect();
    assert_eq!(host.command(13, 0), [0, 0]);
}

#[test]
fn its_state_is_saved_in_the_middle_of_anything() {
    let mut host = Host::ready(false);
    host.stalled = true;
    let again = |host: &mut Host| {
        let saved = host.card.save();
        let mut twin = Host::new();
        twin.card.restore(saved.clone()).unwrap();
        assert_eq!(twin.card.save(), saved);
        (twin.disk, twin.stalled) = (host.disk.clone(), true);
        *host = twin;
    };
    assert_eq!(host.r1(18, 3), 0);
    again(&mut host);
    host.work();
    for number in 3..40 {
        let block = host.data(BLOCK).unwrap();
        assert_eq!(block, host.block(number));
        again(&mut host);
        host.work();
    }
    assert_eq!(host.r1(12, 0), 0);
    assert_eq!(host.r1(25, 3), 0);
    assert_eq!(host.write(MANY, &[3; BLOCK]), 5);
    // Somebody is at it, and is never heard of again.
    assert!(matches!(host.card.take_job().unwrap().job, Job::Write { .. }));
    again(&mut host);
    host.work();
    assert_eq!((host.busy(), host.block(3)), (0, &[3; BLOCK][..]));
}
