//! Tests of the clock, by the headings of its datasheet.

use super::*;

/// 14 November 2023, 22:13:20, a Tuesday.
const WALL: u64 = 1_700_000_000_000_000_000;
const S: Nanos = 1_000_000_000;

fn inb(d: &mut Cmos, at: u64, now: Nanos) -> u8 {
    d.write(0, 1, at, now).unwrap();
    d.read(1, 1, now).unwrap() as u8
}

fn out(d: &mut Cmos, at: u64, value: u8, now: Nanos) {
    d.write(0, 1, at, now).unwrap();
    d.write(1, 1, u64::from(value), now).unwrap();
}

fn time(d: &mut Cmos, now: Nanos) -> Vec<u8> {
    TIME.iter().map(|&at| inb(d, at as u64, now)).collect()
}

#[test]
fn time_calendar_and_century() {
    let mut d = Cmos::new(WALL);
    assert_eq!(time(&mut d, 0), [0x20, 0x13, 0x22, 0x03, 0x14, 0x11, 0x23, 0x20]);
    assert_eq!(time(&mut d, 7_000 * S)[..5], [0x00, 0x10, 0x00, 0x04, 0x15]);
    out(&mut d, 0x0b, 0x04, 0);
    assert_eq!(time(&mut d, 0), [20, 13, 0x8a, 3, 14, 11, 23, 20], "binary, 12 hours");
    assert_eq!((inb(&mut d, 0x0a, 0), inb(&mut d, 0x0d, 0)), (0x26, 0x80));
}

#[test]
fn the_index_port_is_write_only_and_masks_nmi() {
    let mut d = Cmos::new(WALL);
    assert_eq!(inb(&mut d, 0x8b, 0), 0x02);
    assert!(d.nmi_masked());
    assert_eq!(d.read(0, 1, 0), Ok(0xff));
    assert_eq!(d.read(0, 2, 0), Ok(0x02ff));
    d.write(0, 2, 0x5540, 0).unwrap();
    assert_eq!(inb(&mut d, 0x40, 0), 0x55);
    assert_eq!(d.read(1, 2, 0), Err(NoRegister));
}

#[test]
fn only_who_asks_for_the_time_has_it_computed() {
    let mut d = Cmos::new(WALL);
    for at in [0x01, 0x0a, 0x0b, 0x0c, 0x0d, 0x40] {
        inb(&mut d, at, S);
        assert_eq!(d.state.byte(Reg::Seconds), 0, "{at:#x}");
    }
    assert_eq!((inb(&mut d, 0, S), d.state.byte(Reg::Minutes)), (0x21, 0x13));
}

#[test]
fn set_stops_the_clock_while_the_time_is_written() {
    let mut d = Cmos::new(WALL);
    out(&mut d, 0x0b, 0x92, S / 4);
    assert_eq!(inb(&mut d, 0x0b, S / 4), 0x82, "SET clears UIE");
    assert_eq!(time(&mut d, 9 * S)[0], 0x20, "stands still");
    for (at, value) in [(0, 0x59), (2, 0x59), (4, 0x23), (7, 0x31), (8, 0x12), (9, 0x99), (0x32, 0x19)] {
        out(&mut d, at, value, 9 * S);
    }
    out(&mut d, 0x0b, 0x02, 10 * S);
    assert_eq!(time(&mut d, 10 * S), [0x59, 0x59, 0x23, 0x06, 0x31, 0x12, 0x99, 0x19]);
    assert_eq!(time(&mut d, 11 * S), [0x00, 0x00, 0x00, 0x07, 0x01, 0x01, 0x00, 0x20]);
}

#[test]
fn a_byte_of_the_running_clock_can_be_set() {
    let mut d = Cmos::new(WALL);
    out(&mut d, 0, 0x45, S / 2);
    assert_eq!((inb(&mut d, 0, S - 1), inb(&mut d, 0, S)), (0x45, 0x46));
}

#[test]
fn after_the_divider_was_reset_the_first_update_is_half_a_second_later() {
    let mut d = Cmos::new(WALL);
    out(&mut d, 0x0a, 0x76, S / 10);
    assert_eq!(time(&mut d, 5 * S)[0], 0x20);
    out(&mut d, 0x0a, 0x26, 5 * S);
    assert_eq!((inb(&mut d, 0, 5 * S + S / 2 - 1), inb(&mut d, 0, 5 * S + S / 2)), (0x20, 0x21));
}

#[test]
fn update_in_progress_and_update_ended_interrupt() {
    let mut d = Cmos::new(WALL);
    assert_eq!(inb(&mut d, 0x0a, S - 244_001), 0x26);
    assert_eq!(inb(&mut d, 0x0a, S - 244_000), 0xa6);
    assert_eq!(inb(&mut d, 0x0a, S), 0x26);
    assert_eq!(d.deadline(S), None, "nothing is enabled");
    out(&mut d, 0x0c, 0xff, S);
    assert_eq!(inb(&mut d, 0x0c, S) & !0x40, 0x10, "the flag comes up all the same");
    out(&mut d, 0x0b, 0x12, S + 1);
    assert_eq!((d.lines(0, S + 1), d.deadline(S + 1)), (0, Some(2 * S)));
    d.tick(2 * S);
    assert_eq!((d.lines(0, 2 * S), d.deadline(2 * S)), (1, None));
    assert_eq!(inb(&mut d, 0x0c, 2 * S) & !0x40, 0x90);
    assert_eq!((d.lines(0, 2 * S), d.deadline(2 * S)), (0, Some(3 * S)));
}

#[test]
fn alarm_interrupt() {
    let mut d = Cmos::new(WALL);
    for (at, value) in [(1, 0x10), (3, 0x14), (5, 0x22), (0x0b, 0x22)] {
        out(&mut d, at, value, 0);
    }
    assert_eq!(d.deadline(0), Some(50 * S));
    d.tick(50 * S);
    assert_eq!((d.lines(0, 0), inb(&mut d, 0x0c, 50 * S) & !0x40), (1, 0xb0));
    assert_eq!(d.deadline(50 * S), Some((50 + 86_400) * S), "the same time tomorrow");
    out(&mut d, 5, 0xff, 51 * S);
    assert_eq!(d.deadline(51 * S), Some((50 + 3600) * S), "every hour");
    out(&mut d, 3, 0xc0, 51 * S);
    assert_eq!(d.deadline(51 * S), Some(110 * S), "every minute");
    out(&mut d, 1, 0xff, 51 * S);
    assert_eq!(d.deadline(51 * S), Some(52 * S), "every second");
    out(&mut d, 1, 0x75, 51 * S);
    assert_eq!(d.deadline(51 * S), None, "never");
    out(&mut d, 1, 0x00, 51 * S);
    out(&mut d, 5, 0x30, 51 * S);
    assert_eq!(d.deadline(51 * S), None, "nor at 30 o'clock");
    // Three in the afternoon, in 12-hour mode.
    out(&mut d, 0x0b, 0x20, 51 * S);
    out(&mut d, 3, 0, 51 * S);
    out(&mut d, 5, 0x83, 51 * S);
    let at = d.deadline(51 * S).unwrap();
    assert_eq!(time(&mut d, at)[..3], [0, 0, 0x83]);
}

#[test]
fn periodic_interrupt() {
    for (rate, hz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut d = Cmos::new(WALL);
        out(&mut d, 0x0a, 0x20 | rate, 0);
        out(&mut d, 0x0b, 0x42, 0);
        assert_eq!(d.deadline(0), Some(S.div_ceil(hz)), "{rate}");
        d.tick(S.div_ceil(hz));
        assert_eq!(d.lines(0, 0), 1);
        assert_eq!(inb(&mut d, 0x0c, S.div_ceil(hz)), 0xc0);
        assert_eq!(d.deadline(0), Some((2 * S).div_ceil(hz)));
    }
    let mut d = Cmos::new(WALL);
    out(&mut d, 0x0a, 0x20, 0);
    out(&mut d, 0x0b, 0x42, 0);
    assert_eq!(d.deadline(0), None, "rate 0 is none");
    out(&mut d, 0x0a, 0x76, 0);
    assert_eq!(d.deadline(0), None, "the divider stands");
}

#[test]
fn a_reset_leaves_time_and_memory() {
    let mut d = Cmos::new(WALL);
    d.set_ram(0x15, 0x80);
    d.set_ram(0x0b, 0xff);
    out(&mut d, 0x32, 0x19, 0);
    out(&mut d, 0x0b, 0x7e, 0);
    d.reset(3 * S);
    assert_eq!((inb(&mut d, 0x15, 3 * S), inb(&mut d, 0x0b, 3 * S)), (0x80, 0x06));
    assert_eq!((inb(&mut d, 0x0c, 3 * S), time(&mut d, 3 * S)[7], time(&mut d, 3 * S)[0]), (0, 19, 23));
}

#[test]
fn impossible_states_are_refused() {
    let good = Cmos::new(WALL).save();
    for change in [
        (|s| s.bytes[10] = 0x80) as fn(&mut saved::CmosV1),
        |s| s.bytes[12] = 0x80,
        |s| s.bytes[13] = 0x80,
        |s| s.bytes.truncate(127),
        |s| s.offset = i128::MAX,
        |s| s.offset = i128::MIN,
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(Cmos::new(WALL).restore(bad.clone()).is_err(), "{bad:?}");
    }
    assert!(Cmos::new(WALL).restore(good).is_ok());
}
