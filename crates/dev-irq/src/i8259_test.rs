//! Tests of the 8259A pair, by the headings of its datasheet.

use super::*;

const M0: u64 = 0;
const M1: u64 = 1;
const S0: u64 = 2;
const S1: u64 = 3;

fn out(d: &mut I8259, at: u64, value: u8) {
    d.write(at, 1, u64::from(value), 0).unwrap();
}

fn inb(d: &mut I8259, at: u64) -> u8 {
    d.read(at, 1, 0).unwrap() as u8
}

fn int(d: &I8259) -> bool {
    d.lines(0, 0) == 1
}

/// The pair as a PC sets it up: vectors 0x20 and 0x28, nothing masked.
fn pair() -> I8259 {
    let mut d = I8259::new();
    for (at, words) in [(M0, [0x20, 4]), (S0, [0x28, 2])] {
        out(&mut d, at, 0x11);
        out(&mut d, at + 1, words[0]);
        out(&mut d, at + 1, words[1]);
        out(&mut d, at + 1, 1);
    }
    d
}

fn isr(d: &mut I8259, at: u64) -> u8 {
    out(d, at, 0x0b);
    inb(d, at)
}

fn irr(d: &mut I8259, at: u64) -> u8 {
    out(d, at, 0x0a);
    inb(d, at)
}

#[test]
fn interrupt_sequence() {
    let mut d = pair();
    d.input(3, true);
    assert!(int(&d));
    assert_eq!((irr(&mut d, M0), isr(&mut d, M0)), (8, 0));
    assert_eq!(d.acknowledge(), 0x23);
    assert_eq!((irr(&mut d, M0), isr(&mut d, M0)), (0, 8));
    assert!(!int(&d), "the edge is used up although the line is high");
    d.input(5, true);
    assert!(!int(&d), "of lower priority than what is in service");
    d.input(1, true);
    assert_eq!((int(&d), d.acknowledge()), (true, 0x21));
    out(&mut d, M0, 0x20);
    assert_eq!(isr(&mut d, M0), 8, "the non-specific EOI ends the highest");
    out(&mut d, M0, 0x20);
    assert_eq!((int(&d), d.acknowledge()), (true, 0x25));
}

#[test]
fn a_request_that_falls_before_the_acknowledge_is_the_default_ir7() {
    let mut d = pair();
    d.input(3, true);
    d.input(3, false);
    assert!(!int(&d));
    assert_eq!((d.acknowledge(), isr(&mut d, M0)), (0x27, 0));
    // From the slave: the master cannot know, so its IR2 is in service.
    d.input(12, true);
    let mut twin = I8259::new();
    twin.restore(d.save()).unwrap();
    twin.state.slave.input(4, false);
    assert_eq!(twin.acknowledge(), 0x2f);
    assert_eq!((isr(&mut twin, M0), isr(&mut twin, S0)), (4, 0));
}

#[test]
fn the_cascade() {
    let mut d = pair();
    d.input(9, true);
    assert!(int(&d));
    assert_eq!(d.acknowledge(), 0x29);
    assert_eq!((isr(&mut d, M0), isr(&mut d, S0)), (4, 2));
    d.input(8, true);
    assert!(!int(&d), "the master holds back a slave that it serves");
    out(&mut d, S0, 0x20);
    out(&mut d, M0, 0x20);
    assert_eq!((int(&d), d.acknowledge()), (true, 0x28));
    d.input(2, true);
    assert_eq!(irr(&mut d, M0), 0, "IRQ 2 is no input");
}

#[test]
fn a_slave_with_automatic_eoi_asks_again_after_each_acknowledge() {
    let mut d = pair();
    out(&mut d, S0, 0x11);
    for word in [0x28, 2, 3] {
        out(&mut d, S1, word);
    }
    d.input(9, true);
    d.input(12, true);
    assert_eq!(d.acknowledge(), 0x29);
    assert_eq!(irr(&mut d, M0), 4, "INT fell in between");
    out(&mut d, M0, 0x20);
    assert_eq!((int(&d), d.acknowledge()), (true, 0x2c));
}

#[test]
fn special_fully_nested_mode_lets_the_slave_interrupt_itself() {
    let mut d = pair();
    out(&mut d, M0, 0x11);
    for word in [0x20, 4, 0x11] {
        out(&mut d, M1, word);
    }
    d.input(12, true);
    assert_eq!(d.acknowledge(), 0x2c);
    d.input(9, true);
    assert_eq!((int(&d), d.acknowledge()), (true, 0x29));
}

#[test]
fn level_triggered_inputs_ask_as_long_as_they_are_high() {
    let mut d = pair();
    out(&mut d, 4, 0xff);
    out(&mut d, 5, 0xff);
    assert_eq!((inb(&mut d, 4), inb(&mut d, 5)), (0xf8, 0xde), "IRQ 0, 1, 2, 8 and 13 are edges always");
    d.input(5, true);
    assert_eq!(d.acknowledge(), 0x25);
    assert_eq!(irr(&mut d, M0), 0x20);
    out(&mut d, M0, 0x65);
    assert!(int(&d), "still high after the EOI");
    d.input(5, false);
    assert!(!int(&d));
    d.input(5, true);
    out(&mut d, 4, 0);
    assert!(!int(&d), "as an edge input it waits for an edge");
}

#[test]
fn the_mask_and_special_mask_mode() {
    let mut d = pair();
    out(&mut d, M1, 0xf7);
    assert_eq!(inb(&mut d, M1), 0xf7);
    d.input(6, true);
    d.input(3, true);
    assert_eq!(d.acknowledge(), 0x23);
    out(&mut d, M1, 0x08);
    assert!(!int(&d));
    out(&mut d, M0, 0x68);
    assert_eq!((int(&d), d.acknowledge()), (true, 0x26), "lower levels pass a masked one in service");
    out(&mut d, M0, 0x20);
    assert_eq!(isr(&mut d, M0), 8, "a masked one is not ended by a non-specific EOI");
    out(&mut d, M0, 0x48);
    out(&mut d, M0, 0x20);
    assert_eq!(isr(&mut d, M0), 0);
}

#[test]
fn rotation() {
    let mut d = pair();
    for line in [1, 4] {
        d.input(line, true);
    }
    assert_eq!(d.acknowledge(), 0x21);
    out(&mut d, M0, 0xa0);
    d.input(1, false);
    d.input(1, true);
    assert_eq!(d.acknowledge(), 0x24, "IR1 is the lowest now");
    out(&mut d, M0, 0xe4);
    assert_eq!(d.state.master.lowest, 4);
    d.input(5, true);
    assert_eq!(d.acknowledge(), 0x25, "then IR5 is the highest");
    out(&mut d, M0, 0xc0);
    assert_eq!((d.state.master.lowest, isr(&mut d, M0)), (0, 0x20), "set priority ends nothing");
}

#[test]
fn automatic_eoi_with_rotation() {
    let mut d = pair();
    out(&mut d, M0, 0x11);
    for word in [0x20, 4, 3] {
        out(&mut d, M1, word);
    }
    d.input(3, true);
    assert_eq!((d.acknowledge(), isr(&mut d, M0), d.state.master.lowest), (0x23, 0, 7));
    out(&mut d, M0, 0x80);
    d.input(3, false);
    d.input(3, true);
    assert_eq!((d.acknowledge(), d.state.master.lowest), (0x23, 3));
    out(&mut d, M0, 0x00);
    d.input(6, true);
    assert_eq!((d.acknowledge(), d.state.master.lowest), (0x26, 3));
}

#[test]
fn the_poll_command() {
    let mut d = pair();
    out(&mut d, M0, 0x0c);
    assert_eq!(inb(&mut d, M0), 0);
    assert_eq!(inb(&mut d, M0), irr(&mut d, M0), "one read only");
    d.input(6, true);
    out(&mut d, M0, 0x0f);
    assert_eq!(inb(&mut d, M0), 0x86);
    assert_eq!(inb(&mut d, M0), 0, "IRR: a poll leaves the choice of register alone");
    assert_eq!(isr(&mut d, M0), 0x40);
}

#[test]
fn initialization_clears_and_counts_its_words() {
    let mut d = pair();
    d.input(4, true);
    assert_eq!(d.acknowledge(), 0x24);
    out(&mut d, M1, 0xff);
    d.input(0, true);
    out(&mut d, M0, 0x12);
    assert_eq!((inb(&mut d, M1), inb(&mut d, M0)), (0, 0), "IMR clear, IRR selected, edges forgotten");
    assert!(!int(&d));
    out(&mut d, M1, 0x4f);
    out(&mut d, M1, 0x55);
    assert_eq!(inb(&mut d, M1), 0x55, "single and without ICW4: two words");
    d.input(0, false);
    out(&mut d, M1, 0);
    d.input(0, true);
    assert_eq!(d.acknowledge(), 0x48);
}

#[test]
fn wide_accesses_are_bytes_and_others_have_no_register() {
    let mut d = pair();
    d.write(1, 1, 0xaa, 0).unwrap();
    d.write(3, 1, 0x55, 0).unwrap();
    assert_eq!(d.read(0, 4, 0), Ok(0x5500_aa00));
    d.write(4, 2, 0x0208, 0).unwrap();
    assert_eq!(d.read(4, 2, 0), Ok(0x0208));
    assert_eq!(d.read(6, 1, 0), Err(NoRegister));
    assert_eq!(d.write(5, 2, 0, 0), Err(NoRegister));
}

#[test]
fn impossible_states_are_refused() {
    let good = pair().save();
    for change in [
        (|s| (s.master.edges, s.master.level) = (8, 8)) as fn(&mut saved::I8259V1),
        |s| s.master.lowest = 8,
        |s| s.master.base = 1,
        |s| s.slave.expect = 4,
        |s| s.slave.level = 1,
        |s| s.master.lines = 4,
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(pair().restore(bad.clone()).is_err(), "{bad:?}");
    }
    assert!(pair().restore(good).is_ok());
}

#[test]
fn an_edge_of_another_implementation_outlives_its_line() {
    let mut saved = pair().save();
    (saved.master.edges, saved.slave.lines, saved.slave.edges) = (2, 1, 1);
    assert!(pair().restore(saved.clone()).is_err(), "the slave asks, but its wire is low");
    saved.settle_cascade().unwrap();
    let mut d = pair();
    d.restore(saved).unwrap();
    assert_eq!((d.lines(0, 0), d.acknowledge()), (1, 0x21));
    d.write(0, 1, 0x20, 0).unwrap();
    assert_eq!((d.acknowledge(), d.lines(0, 0)), (0x28, 0));
    // The next edge is one.
    d.input(1, true);
    d.write(2, 1, 0x20, 0).unwrap();
    d.write(0, 1, 0x20, 0).unwrap();
    assert_eq!(d.acknowledge(), 0x21);
}
