//! The registers as a driver sees them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::testkit::Guest;
use crate::{Gem, GemV1};
use dev_core::{Device, NoRegister};

#[test]
fn only_words_are_registers() {
    let mut gem = Gem::default();
    for (offset, size) in [(0, 8), (0, 2), (2, 4), (0, 1)] {
        assert_eq!(gem.read(offset, size, 0), Err(NoRegister));
        assert_eq!(gem.write(offset, size, 0, 0), Err(NoRegister));
    }
    // Where there is none, zeroes.
    assert_eq!(
        (gem.read(0x1f0, 4, 0), gem.write(0x1f0, 4, 1, 0), gem.read(0x1f0, 4, 0)),
        (Ok(0), Ok(()), Ok(0))
    );
}

#[test]
fn interrupts_come_if_they_are_enabled_and_a_read_clears_them() {
    let guest = Guest::new().unwrap();
    let line = || guest.slot.with(|gem, now| gem.lines(0, now));
    guest.set(0x00, 0x10);
    guest.set(0x34, 0x6002_0000 | 1 << 18);
    assert_eq!((guest.get(0x24), line()), (0, 0), "masked");
    guest.set(0x28, 1);
    guest.set(0x34, 0x6002_0000 | 1 << 18);
    assert_eq!((guest.get(0x30), line(), guest.get(0x34) as u16), (0x07ff_fffe, 1, 0x796d));
    assert_eq!((guest.get(0x24), guest.get(0x24), line()), (1, 0, 0));
    guest.set(0x2c, 1);
    assert_eq!(guest.get(0x30), 0x07ff_ffff);
}

#[test]
fn the_phy_answers_at_one_address_by_clause_22_if_management_is_enabled() {
    let guest = Guest::new().unwrap();
    let read = |word: u32| {
        guest.set(0x34, word);
        guest.get(0x34) as u16
    };
    assert_eq!(read(0x6002_0000 | 2 << 18), 0, "not enabled");
    guest.set(0x00, 0x10);
    assert_eq!(read(0x6002_0000 | 2 << 18), 0x4853);
    assert_eq!(read(0x6002_0000 | 1 << 23 | 2 << 18), 0xffff, "another PHY");
    assert_eq!(read(0x2002_0000 | 2 << 18), 0xffff, "clause 45");
    read(0x5002_0000 | 4 << 18 | 0x0101);
    assert_eq!(read(0x6002_0000 | 4 << 18), 0x0101);
    guest.wire.up.store(false, std::sync::atomic::Ordering::SeqCst);
    guest.station.attend();
    assert_eq!(read(0x6002_0000 | 1 << 18), 0x7949, "no cable");
}

#[test]
fn rings_begin_where_they_are_said_to_while_nothing_moves() {
    let guest = Guest::new().unwrap();
    guest.set(0x18, 0x8000_0003);
    guest.set(0x1c, 0x8000_1003);
    assert_eq!((guest.get(0x18), guest.get(0x1c)), (0x8000_0000, 0x8000_1000));
    guest.set(0x00, 0x4);
    guest.set(0x18, 0x8000_2000);
    assert_eq!(guest.get(0x18), 0x8000_0000, "it receives");
}

#[test]
fn the_management_block_is_behind_the_card() {
    let guest = Guest::new().unwrap();
    guest.set(0x2000, 0xffff_ffff);
    assert_eq!((guest.get(0x2000), guest.get(0x2020), guest.get(0x2004)), (1, 2, 0));
}

#[test]
fn a_state_that_no_card_is_in_is_refused() {
    let mut gem = Gem::default();
    let good = gem.save();
    for bad in [
        GemV1 { registers: vec![0; 3], ..good.clone() },
        GemV1 { counters: vec![0; 44], ..good.clone() },
        GemV1 { interrupts: (1 << 31, 0), ..good.clone() },
        GemV1 { at: (2, 0), ..good.clone() },
    ] {
        assert!(gem.restore(bad).is_err());
    }
    gem.restore(good.clone()).unwrap();
    assert_eq!(gem.save(), good);
}
