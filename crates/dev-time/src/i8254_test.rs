//! Tests of the 8254, by the figures of its datasheet.

use super::*;

/// The time just after pulse `pulse`.
fn at(pulse: u64) -> Nanos {
    time_of(pulse).unwrap()
}

fn out(d: &mut I8254, port: u64, value: u8, pulse: u64) {
    d.write(port, 1, u64::from(value), at(pulse)).unwrap();
}

fn inb(d: &mut I8254, port: u64, pulse: u64) -> u8 {
    d.read(port, 1, at(pulse)).unwrap() as u8
}

/// Latches and reads a two-byte count.
fn count(d: &mut I8254, n: u8, pulse: u64) -> u16 {
    out(d, 3, n << 6, pulse);
    u16::from_le_bytes([inb(d, u64::from(n), pulse), inb(d, u64::from(n), pulse)])
}

/// OUT 0 and the count at each pulse from `from` on, with the count of counter 0 in hexadecimal.
fn trace(d: &mut I8254, from: u64, pulses: u64) -> String {
    let one = |t: u64| {
        let value = d.state.counters[0];
        let mut value = value;
        value.settle(t);
        d.tick(at(t));
        format!("{}{:x}", if d.lines(0, at(t)) == 1 { '+' } else { '-' }, value.value(t))
    };
    (from..from + pulses).map(one).collect::<Vec<_>>().join(" ")
}

/// When a timer that has been looked at at pulse `pulse` wants to be looked at again.
fn due(d: &mut I8254, pulse: u64) -> Option<Nanos> {
    d.tick(at(pulse));
    d.deadline(at(pulse))
}

/// Counter 0 in `mode`, with the low byte `n` written at pulse 10.
fn counter0(mode: u8, n: u8) -> I8254 {
    let mut d = I8254::new();
    out(&mut d, 3, 0x10 | mode << 1, 10);
    out(&mut d, 0, n, 10);
    d
}

/// Counter 2 in `mode` with a gate: its OUT and count at each pulse.
fn counter2(mode: u8, n: u8) -> I8254 {
    let mut d = I8254::new();
    out(&mut d, 3, 0x90 | mode << 1, 10);
    out(&mut d, 2, n, 10);
    d
}

fn trace2(d: &mut I8254, from: u64, pulses: u64) -> String {
    let one = |t: u64| {
        let mut c = d.state.counters[2];
        c.settle(t);
        format!("{}{:x}", if d.read(4, 1, at(t)).unwrap() & 0x20 != 0 { '+' } else { '-' }, c.value(t))
    };
    (from..from + pulses).map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn mode_0_interrupt_on_terminal_count() {
    let mut d = counter0(0, 4);
    assert_eq!(trace(&mut d, 10, 8), "-4 -4 -3 -2 -1 +0 +ffff +fffe");
    assert_eq!(due(&mut d, 10), Some(at(15)));
    assert_eq!(due(&mut d, 15), None);
    out(&mut d, 0, 2, 20);
    assert_eq!(trace(&mut d, 20, 4), "-2 -2 -1 +0", "a new count starts again");
}

#[test]
fn mode_0_stops_between_the_bytes_of_a_count_and_while_gate_is_low() {
    let mut d = I8254::new();
    out(&mut d, 3, 0x30, 0);
    out(&mut d, 0, 3, 0);
    out(&mut d, 0, 0, 0);
    out(&mut d, 0, 5, 2);
    assert_eq!(trace(&mut d, 2, 4), "-2 -2 -2 -2");
    out(&mut d, 0, 0, 9);
    assert_eq!(trace(&mut d, 9, 3), "-5 -5 -4");
    let mut d = counter2(0, 3);
    assert_eq!(trace2(&mut d, 11, 3), "-3 -3 -3");
    out(&mut d, 4, 1, 20);
    assert_eq!(trace2(&mut d, 20, 4), "-3 -2 -1 +0");
    out(&mut d, 2, 3, 30);
    out(&mut d, 4, 0, 32);
    assert_eq!(trace2(&mut d, 32, 3), "-2 -2 -2");
    out(&mut d, 4, 1, 40);
    assert_eq!(trace2(&mut d, 40, 3), "-2 -1 +0");
}

#[test]
fn mode_1_hardware_retriggerable_one_shot() {
    let mut d = counter2(1, 3);
    assert_eq!(trace2(&mut d, 10, 3), "+0 +0 +0", "waits for the trigger");
    out(&mut d, 4, 1, 20);
    assert_eq!(trace2(&mut d, 20, 6), "+3 -3 -2 -1 +0 +ffff");
    out(&mut d, 4, 0, 30);
    out(&mut d, 4, 1, 31);
    out(&mut d, 4, 0, 33);
    out(&mut d, 4, 1, 33);
    assert_eq!(trace2(&mut d, 32, 6), "-3 -3 -3 -2 -1 +0", "retriggered while low");
    out(&mut d, 2, 2, 38);
    assert_eq!(trace2(&mut d, 38, 2), "+ffff +fffe", "a new count waits for a trigger");
}

#[test]
fn mode_2_rate_generator() {
    let mut d = counter0(2, 3);
    assert_eq!(trace(&mut d, 10, 8), "+3 +3 +2 -1 +3 +2 -1 +3");
    assert_eq!((due(&mut d, 11), due(&mut d, 13)), (Some(at(13)), Some(at(14))));
    out(&mut d, 0, 4, 15);
    assert_eq!(trace(&mut d, 15, 7), "+2 -1 +4 +3 +2 -1 +4", "a new count from the next period on");
    let mut d = counter2(2, 3);
    assert_eq!(trace2(&mut d, 11, 2), "+0 +0");
    out(&mut d, 4, 1, 20);
    assert_eq!(trace2(&mut d, 20, 5), "+3 +3 +2 -1 +3");
    out(&mut d, 4, 0, 23);
    assert_eq!(trace2(&mut d, 23, 3), "+1 +1 +1", "OUT is high at once");
    out(&mut d, 4, 1, 30);
    assert_eq!(trace2(&mut d, 31, 3), "+3 +2 -1");
}

#[test]
fn mode_3_square_wave() {
    let mut d = counter0(3, 4);
    assert_eq!(trace(&mut d, 10, 9), "+4 +4 +2 -4 -2 +4 +2 -4 -2");
    let mut d = counter0(3, 5);
    assert_eq!(trace(&mut d, 11, 10), "+4 +2 +0 -4 -2 +4 +2 +0 -4 -2");
    out(&mut d, 0, 4, 21);
    assert_eq!(trace(&mut d, 21, 8), "+4 +2 +0 -4 -2 +4 +2 -4", "a new count from the next half on");
    let mut d = counter0(3, 5);
    out(&mut d, 0, 6, 14);
    assert_eq!(trace(&mut d, 14, 8), "-4 -2 +6 +4 +2 -6 -4 -2");
}

#[test]
fn mode_4_software_triggered_strobe() {
    let mut d = counter0(4, 3);
    assert_eq!(trace(&mut d, 10, 7), "+3 +3 +2 +1 -0 +ffff +fffe");
    assert_eq!((due(&mut d, 11), due(&mut d, 14), due(&mut d, 15)), (Some(at(14)), Some(at(15)), None));
}

#[test]
fn mode_5_hardware_triggered_strobe() {
    let mut d = counter2(5, 3);
    assert_eq!(trace2(&mut d, 10, 2), "+0 +0");
    out(&mut d, 4, 1, 20);
    assert_eq!(trace2(&mut d, 20, 7), "+3 +3 +2 +1 -0 +ffff +fffe");
}

#[test]
fn binary_coded_decimal() {
    let mut d = I8254::new();
    out(&mut d, 3, 0x35, 0);
    out(&mut d, 0, 0x00, 0);
    out(&mut d, 0, 0x10, 0);
    assert_eq!((count(&mut d, 0, 1), count(&mut d, 0, 2), count(&mut d, 0, 911)), (0x1000, 0x0999, 0x0090));
    out(&mut d, 3, 0x31, 2000);
    out(&mut d, 0, 0, 2000);
    out(&mut d, 0, 0, 2000);
    assert_eq!(
        (count(&mut d, 0, 2001), count(&mut d, 0, 2002), d.deadline(at(2002))),
        (0, 0x9999, Some(at(12001)))
    );
}

#[test]
fn counter_latch_holds_until_read() {
    let mut d = I8254::new();
    out(&mut d, 3, 0x34, 0);
    out(&mut d, 0, 0, 0);
    out(&mut d, 0, 0, 0);
    out(&mut d, 3, 0, 0x101);
    out(&mut d, 3, 0, 0x180);
    assert_eq!([inb(&mut d, 0, 0x200), inb(&mut d, 0, 0x300)], [0x00, 0xff]);
    assert_eq!(inb(&mut d, 0, 0x301), 0x00, "then the element itself");
    assert_eq!(inb(&mut d, 0, 0x301), 0xfd);
    out(&mut d, 3, 0x14, 0x400);
    out(&mut d, 0, 0x80, 0x400);
    assert_eq!([inb(&mut d, 0, 0x401), inb(&mut d, 0, 0x402)], [0x80, 0x7f], "one byte each");
    out(&mut d, 3, 0x24, 0x500);
    out(&mut d, 0, 0x12, 0x500);
    assert_eq!(inb(&mut d, 0, 0x501), 0x12);
}

#[test]
fn read_back() {
    let mut d = counter0(3, 4);
    out(&mut d, 3, 0xe2, 10);
    assert_eq!(inb(&mut d, 0, 50), 0b1101_0110, "OUT, null count, LSB, mode 3");
    out(&mut d, 3, 0xc2, 13);
    assert_eq!([inb(&mut d, 0, 50), inb(&mut d, 0, 51)], [0b0001_0110, 4], "status, then count");
    out(&mut d, 3, 0x7a, 60);
    out(&mut d, 3, 0xe4, 60);
    assert_eq!(inb(&mut d, 1, 60), 0b1111_1010, "no count yet");
    out(&mut d, 3, 0xd2, 61);
    assert_eq!(d.state.counters[0].status, None, "only counts");
    assert!(d.state.counters[0].latched.is_some() && d.state.counters[1].latched.is_none());
    assert_eq!(inb(&mut d, 3, 61), 0xff);
}

#[test]
fn port_61() {
    let mut d = I8254::new();
    assert_eq!(inb(&mut d, 4, 0), 0);
    d.write(4, 1, 0xff, 0).unwrap();
    assert_eq!(d.read(4, 1, 0), Ok(0x0f));
    assert_eq!((d.read(4, 1, REFRESH), d.read(4, 1, 2 * REFRESH)), (Ok(0x1f), Ok(0x0f)));
    assert_eq!(d.read(5, 1, 0), Err(NoRegister));
    assert_eq!(d.read(4, 2, 0), Err(NoRegister));
    assert_eq!(d.write(3, 4, 0, 0), Err(NoRegister));
}

#[test]
fn a_second_has_1193182_pulses() {
    let mut d = I8254::new();
    out(&mut d, 3, 0x30, 0);
    d.write(0, 1, 0x9b, 0).unwrap();
    d.write(0, 1, 0x2e, 0).unwrap(); // 11931
    // And one pulse to load it: 11932 / 1193182 s = 10,000,150.85 ns.
    assert_eq!(d.deadline(0), Some(10_000_151));
    d.tick(10_000_150);
    assert_eq!(d.lines(0, 10_000_150), 0);
    d.tick(10_000_151);
    assert_eq!(d.lines(0, 10_000_151), 1);
}

/// Serves the deadlines of the 40 pulses from `pulse` on, as a timer's thread does that has slept before; the levels
/// that the wire went through.
fn served(d: &mut I8254, pulse: u64) -> String {
    let mut now = at(pulse);
    let mut levels = String::new();
    while let Some(due) = d.deadline(now).filter(|&due| due <= at(pulse + 40)) {
        assert!(due > now);
        now = due;
        d.tick(now);
        levels.push(if d.lines(0, now) == 1 { '+' } else { '-' });
    }
    levels
}

#[test]
fn a_pulse_that_was_slept_through_is_shown() {
    // Rate generator and strobes: loaded at pulse 11, low for the pulse 110, or 111.
    for (mode, later) in [(2, 150), (4, 150), (4, 90_000)] {
        let mut d = counter0(mode, 100);
        assert_eq!(served(&mut d, 20), "", "mode {mode}: high since it was written");
        assert_eq!(d.lines(0, at(20)), 1);
        let before = (d.lines(0, at(later)), d.deadline(at(later)));
        assert_eq!(before, (1, Some(at(later) + 1)), "mode {mode}: owed");
        inb(&mut d, 0, later);
        assert_eq!((d.lines(0, at(later)), d.deadline(at(later))), before, "reads do nothing to it");
        assert_eq!(served(&mut d, later), "-+", "mode {mode}");
        assert_eq!(served(&mut d, later + 45), if mode == 2 { "-+" } else { "" }, "mode {mode}: once");
    }
    // Of many, one.
    let mut d = counter0(2, 100);
    assert_eq!(served(&mut d, 11 + 100 * 1000 + 50), "-+");
    assert_eq!(d.deadline(at(11 + 100 * 1000 + 98)), Some(at(11 + 100 * 1000 + 99)), "in step");
    // A square wave is seen high, then a half-cycle too late: what it did between, it does now.
    let mut d = counter0(3, 100);
    assert_eq!(served(&mut d, 20), "");
    assert_eq!(served(&mut d, 11 + 120), "-+");
    // Who writes a new count lets go of what is owed.
    let mut d = counter0(4, 100);
    out(&mut d, 0, 100, 150);
    assert_eq!((served(&mut d, 151), d.lines(0, at(151))), (String::new(), 1));
}

#[test]
fn who_writes_elsewhere_lets_go_of_nothing() {
    for (port, value) in [(4, 3), (3, 0x90), (2, 7)] {
        let mut d = counter0(2, 100);
        // The new count is loaded at pulse 111, behind the last pulse of the old one; nobody looks until its first
        // pulse, 160, is over.
        out(&mut d, 0, 50, 20);
        assert_eq!(served(&mut d, 111), "-+");
        out(&mut d, port, value, 170);
        assert_eq!(served(&mut d, 170), "-+", "offset {port}");
    }
}

#[test]
fn a_wire_that_is_late_changes_every_20_microseconds_at_most() {
    for (mode, n) in [(2, 2), (3, 2), (2, 3)] {
        let mut d = counter0(mode, n);
        // A thread that wakes up 50 µs after what it has asked for, and at times almost at once.
        let (mut now, mut last) = (at(11), None);
        for round in 0..200u64 {
            now = d.deadline(now).unwrap() + if round % 8 == 0 { 1_000 } else { 50_000 };
            let (pulse, before) = (pulses(now), d.lines(0, now));
            d.tick(now);
            if d.lines(0, now) != before {
                assert!(last.is_none_or(|last| now - last >= 20_000), "mode {mode}, count {n}");
                last = Some(now);
            }
            let mut exact = d.state.counters[0];
            exact.settle(pulse);
            assert_eq!(
                u16::from(inb(&mut d, 0, pulse)),
                exact.value(pulse),
                "what is read is of the present"
            );
        }
        assert!(last.is_some());
    }
    // Who comes in time has every change in its place.
    let mut d = counter0(2, 2);
    let levels: Vec<u64> =
        (12..20).map(|pulse| due(&mut d, pulse).map_or(2, |_| d.lines(0, at(pulse)))).collect();
    assert_eq!(levels, [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn impossible_states_are_refused() {
    let good = counter0(0, 4).save();
    for change in [
        (|s| s.counters[0].mode = 8) as fn(&mut saved::I8254V1),
        |s| s.counters[0].access = 0,
        |s| s.counters[0].count = 0x1_0001,
        |s| s.counters[0].count = 0,
        |s| s.counters[0].next = Some((0, 1)),
        |s| s.counters[0].paused = Some(1),
        |s| s.counters[1].gate = false,
        |s| s.port61 = 1,
        |s| s.port61 = 0x10,
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(I8254::new().restore(bad.clone()).is_err(), "{bad:?}");
    }
    assert!(I8254::new().restore(good).is_ok());
}
