//! The controller as a driver sees it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::spi::Reg;
use crate::{Spi, SpiConfig};
use dev_core::{Device, NoRegister};
use dev_sd::{Card, Identity};

fn controller(selects: u32, flash: bool) -> Spi {
    Spi::new(SpiConfig { selects, flash }, None)
}

fn with_card() -> Spi {
    let card = Card::new(Identity::new(1 << 20, false).unwrap());
    Spi::new(SpiConfig { selects: 1, flash: false }, Some(card))
}

fn set(spi: &mut Spi, register: Reg, value: u64) {
    spi.write(register as u64, 4, value, 0).unwrap();
}

fn get(spi: &mut Spi, register: Reg) -> u64 {
    spi.read(register as u64, 4, 0).unwrap()
}

/// CMD0; true if the card answers it.
fn answers(spi: &mut Spi) -> bool {
    let bytes = [0x40, 0, 0, 0, 0, 0x95, 0xff, 0xff];
    let answer = bytes.map(|byte| {
        set(spi, Reg::Txdata, byte);
        get(spi, Reg::Rxdata)
    });
    answer == [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]
}

#[test]
fn registers_after_reset_and_what_can_be_written_of_them() {
    for (selects, flash, id, default) in [(1, true, 0, 1), (4, true, 3, 0xf), (1, false, 0, 1)] {
        let mut spi = controller(selects, flash);
        let only = |value| if flash { value } else { 0 };
        for (register, reset, all) in [
            (Reg::Sckdiv, 3, 0xfff),
            (Reg::Sckmode, 0, 3),
            (Reg::Csid, 0, id),
            (Reg::Csdef, default, default),
            (Reg::Csmode, 0, 3),
            (Reg::Delay0, 0x1_0001, 0xff_00ff),
            (Reg::Delay1, 1, 0xff_00ff),
            (Reg::Fmt, 0x8_0000 | only(8), 0xf_000f),
            (Reg::Txmark, only(1), 7),
            (Reg::Rxmark, 0, 7),
            (Reg::Fctrl, only(1), only(1)),
            (Reg::Ffmt, only(0x3_0007), only(0xffff_3fff)),
            (Reg::Ie, 0, 3),
        ] {
            assert_eq!(get(&mut spi, register), reset, "{register:?}");
            set(&mut spi, register, 0xffff_ffff);
            assert_eq!(get(&mut spi, register), all, "{register:?}");
        }
        spi.reset(0);
        assert_eq!(spi.save(), controller(selects, flash).save());
    }
    let mut spi = controller(1, false);
    for (offset, size) in [(0, 8), (0, 2), (2, 4), (8, 4), (0x78, 4)] {
        assert_eq!(spi.read(offset, size, 0), Err(NoRegister));
        assert_eq!(spi.write(offset, size, 0, 0), Err(NoRegister));
    }
}

#[test]
fn watermarks_interrupt() {
    let mut spi = controller(1, false);
    set(&mut spi, Reg::Ie, 3);
    assert_eq!((get(&mut spi, Reg::Ip), spi.lines(0, 0)), (0, 0));
    set(&mut spi, Reg::Txmark, 1);
    assert_eq!((get(&mut spi, Reg::Ip), spi.lines(0, 0)), (1, 1));
    set(&mut spi, Reg::Ie, 2);
    set(&mut spi, Reg::Rxmark, 1);
    set(&mut spi, Reg::Txdata, 0);
    assert_eq!((get(&mut spi, Reg::Ip), spi.lines(0, 0)), (1, 0));
    set(&mut spi, Reg::Txdata, 0);
    assert_eq!((get(&mut spi, Reg::Ip), spi.lines(0, 0)), (3, 1));
    assert_eq!(get(&mut spi, Reg::Rxdata), 0xff);
    assert_eq!((get(&mut spi, Reg::Ip), spi.lines(0, 0)), (1, 0));
}

#[test]
fn what_finds_no_room_is_lost() {
    let mut spi = controller(1, false);
    (0..20).for_each(|_| set(&mut spi, Reg::Txdata, 0));
    assert_eq!((0..20).filter(|_| get(&mut spi, Reg::Rxdata) == 0xff).count(), 8);
    assert_eq!(get(&mut spi, Reg::Rxdata), 1 << 31);
    // While the flash interface is on, nothing is sent.
    let mut spi = controller(1, true);
    (0..7).for_each(|_| set(&mut spi, Reg::Txdata, 0));
    assert_eq!(get(&mut spi, Reg::Txdata), 0);
    (0..2).for_each(|_| set(&mut spi, Reg::Txdata, 0));
    assert_eq!((get(&mut spi, Reg::Txdata), get(&mut spi, Reg::Rxdata)), (1 << 31, 1 << 31));
    set(&mut spi, Reg::Fmt, 0x8_0000);
    set(&mut spi, Reg::Fctrl, 0);
    assert_eq!((0..20).filter(|_| get(&mut spi, Reg::Rxdata) == 0xff).count(), 8);
    // One that only sends.
    set(&mut spi, Reg::Fmt, 0x8_0008);
    set(&mut spi, Reg::Txdata, 0);
    assert_eq!(get(&mut spi, Reg::Rxdata), 1 << 31);
}

#[test]
fn only_a_card_that_is_selected_sees_the_clocks() {
    let hold = |spi: &mut Spi| set(spi, Reg::Csmode, 2);
    let mut spi = with_card();
    hold(&mut spi);
    assert!(answers(&mut spi));
    let not: [fn(&mut Spi); 5] = [
        // Off; selected for each byte only; active by being high, as it is for the first clocks of a card.
        |spi| set(spi, Reg::Csmode, 3),
        |spi| set(spi, Reg::Csmode, 0),
        |spi| set(spi, Reg::Csdef, 0),
        |spi| set(spi, Reg::Fmt, 0x7_0000),
        |spi| set(spi, Reg::Fmt, 0x8_0001),
    ];
    for wrong in not {
        let mut spi = with_card();
        hold(&mut spi);
        wrong(&mut spi);
        assert!(!answers(&mut spi));
    }
    // Last bits first, if somebody turns them.
    let mut spi = with_card();
    hold(&mut spi);
    set(&mut spi, Reg::Fmt, 0x8_0004);
    let sent = [0x40_u8, 0, 0, 0, 0, 0x95, 0xff, 0xff].map(|byte| u64::from(byte.reverse_bits()));
    sent.into_iter().for_each(|byte| set(&mut spi, Reg::Txdata, byte));
    assert_eq!((0..8).map(|_| get(&mut spi, Reg::Rxdata)).last(), Some(0x80));
}

#[test]
fn half_a_command_is_none_once_the_select_is_released() {
    let mut spi = with_card();
    set(&mut spi, Reg::Csmode, 2);
    [0x51, 0, 0].into_iter().for_each(|byte| set(&mut spi, Reg::Txdata, byte));
    (0..3).for_each(|_| _ = get(&mut spi, Reg::Rxdata));
    set(&mut spi, Reg::Csmode, 0);
    set(&mut spi, Reg::Csmode, 2);
    assert!(answers(&mut spi));
}

#[test]
fn a_controller_is_restored_with_its_card_or_not_at_all() {
    let (mut with, mut without) = (with_card(), controller(1, false));
    assert!(without.restore(with.save()).is_err() && with.restore(without.save()).is_err());
    let good = with.save();
    let mut registers = good.registers;
    registers[0] = 0x1000;
    for bad in [
        crate::SpiV1 { registers, ..good.clone() },
        crate::SpiV1 { transmit: vec![0; 9], ..good.clone() },
        crate::SpiV1 { receive: vec![0; 9], ..good.clone() },
    ] {
        assert!(with.restore(bad).is_err());
    }
    assert!(with.restore(good).is_ok());
}
