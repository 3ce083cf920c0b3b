//! The GPIO controller as its manual describes it.

use super::*;

fn r(d: &mut Gpio, register: Reg) -> u64 {
    d.read(register as u64, 4, 0).unwrap()
}

fn w(d: &mut Gpio, register: Reg, value: u64) {
    d.write(register as u64, 4, value, 0).unwrap();
}

#[test]
fn after_reset_every_register_is_zero_and_every_pin_has_been_low() {
    let mut d = Gpio::new(10);
    for row in Reg::ALL {
        let expected = if row.offset == Reg::LowIp as u64 { 0xffff } else { 0 };
        assert_eq!(d.read(row.offset, 4, 0), Ok(expected), "{}", row.name);
    }
    assert_eq!((d.lines(0, 0), d.outputs()), (0, 16));
}

#[test]
fn there_are_sixteen_pins() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::OutputVal, 0xffff_ffff);
    for register in
        [Reg::InputEn, Reg::OutputEn, Reg::OutputVal, Reg::Pue, Reg::Ds, Reg::IofEn, Reg::IofSel, Reg::OutXor]
    {
        w(&mut d, register, 0xffff_ffff);
        assert_eq!(r(&mut d, register), 0xffff, "{register:?}");
    }
}

#[test]
fn an_input_shows_its_pin_while_it_is_enabled() {
    let mut d = Gpio::new(10);
    d.input(3, true);
    assert_eq!(r(&mut d, Reg::InputVal), 0);
    w(&mut d, Reg::InputEn, 0xffff);
    assert_eq!(r(&mut d, Reg::InputVal), 8);
    d.input(3, false);
    w(&mut d, Reg::InputVal, 0xffff);
    assert_eq!(r(&mut d, Reg::InputVal), 0, "read-only");
    d.input(16, true);
    assert_eq!(d.pins(), 0, "there is no pin 16");
}

#[test]
fn a_pin_that_nothing_drives_is_pulled_up_where_that_is_on() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::InputEn, 3);
    w(&mut d, Reg::Pue, 3);
    assert_eq!(r(&mut d, Reg::InputVal), 3);
    d.input(0, false);
    assert_eq!(r(&mut d, Reg::InputVal), 2);
}

#[test]
fn an_output_drives_its_pin_and_can_be_inverted() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::InputEn, 0xf);
    w(&mut d, Reg::OutputVal, 0b0011);
    w(&mut d, Reg::OutXor, 0b0101);
    assert_eq!(r(&mut d, Reg::InputVal), 0, "not enabled");
    w(&mut d, Reg::OutputEn, 0xf);
    assert_eq!((r(&mut d, Reg::InputVal), d.pins()), (0b0110, 0b0110));
    w(&mut d, Reg::IofEn, 0b0010);
    assert_eq!(d.pins(), 0b0100, "pin 1 is its hardware function's, which drives nothing");
}

#[test]
fn edges_are_latched_until_they_are_cleared() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::InputEn, 1);
    w(&mut d, Reg::RiseIe, 1);
    w(&mut d, Reg::FallIe, 1);
    d.input(0, true);
    assert_eq!((r(&mut d, Reg::RiseIp), r(&mut d, Reg::FallIp), d.lines(0, 0)), (1, 0, 1));
    d.input(0, false);
    assert_eq!((r(&mut d, Reg::RiseIp), r(&mut d, Reg::FallIp)), (1, 1));
    w(&mut d, Reg::RiseIp, 0);
    assert_eq!(d.lines(0, 0), 1, "writing 0 clears nothing");
    w(&mut d, Reg::RiseIp, 1);
    w(&mut d, Reg::FallIp, 1);
    assert_eq!(d.lines(0, 0), 0);
}

#[test]
fn a_level_cannot_be_cleared_while_it_lasts() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::InputEn, 4);
    w(&mut d, Reg::HighIe, 4);
    d.input(2, true);
    w(&mut d, Reg::HighIp, 4);
    assert_eq!((r(&mut d, Reg::HighIp), d.lines(0, 0)), (4, 4));
    d.input(2, false);
    assert_eq!(d.lines(0, 0), 4, "latched");
    w(&mut d, Reg::HighIp, 4);
    assert_eq!(d.lines(0, 0), 0);
    w(&mut d, Reg::LowIe, 4);
    w(&mut d, Reg::LowIp, 0xffff);
    assert_eq!(d.lines(0, 0), 4);
}

#[test]
fn interrupts_are_a_line_for_each_pin_and_need_their_enables() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::InputEn, 0xffff);
    for pin in 0..16 {
        d.input(pin, true);
    }
    assert_eq!((r(&mut d, Reg::RiseIp), r(&mut d, Reg::HighIp), d.lines(0, 0)), (0xffff, 0xffff, 0));
    w(&mut d, Reg::RiseIe, 0x8001);
    w(&mut d, Reg::HighIe, 0x0100);
    assert_eq!(d.lines(0, 0), 0x8101);
}

/// As a kernel does it: the level first, then the direction; later the other level.
#[test]
fn the_pin_at_the_boards_reset_restarts_when_it_is_driven_low() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::OutputVal, 1 << 10);
    w(&mut d, Reg::OutputEn, 1 << 10);
    w(&mut d, Reg::OutputEn, 1 << 10 | 1 << 9);
    assert!(!d.restart() && !d.wants_host(), "pin 9 is low, and none of the board's");
    w(&mut d, Reg::OutputVal, 0);
    assert!(d.restart() && d.wants_host());
    w(&mut d, Reg::OutputVal, 1 << 10);
    assert!(d.restart(), "it has been asked for");
    d.reset(0);
    assert!(!d.restart());
}

#[test]
fn a_saved_controller_must_have_looked_at_its_pins() {
    let mut d = Gpio::new(10);
    w(&mut d, Reg::InputEn, 1);
    d.input(0, true);
    let good = d.save();
    let damaged =
        [saved::GpioV1 { ip: [0; 4], ..good.clone() }, saved::GpioV1 { driven: (0, 1), ..good.clone() }];
    for bad in damaged {
        assert!(d.restore(bad).is_err());
    }
    let mut other = Gpio::new(10);
    assert!(other.restore(good).is_ok());
    w(&mut other, Reg::RiseIp, 1);
    assert_eq!(r(&mut other, Reg::RiseIp), 0, "what was high before is no edge");
}

#[test]
fn only_words_at_registers_are_answered() {
    let mut d = Gpio::new(10);
    for (offset, size) in [(0, 1), (0, 8), (2, 4), (0x44, 4)] {
        assert_eq!(d.read(offset, size, 0), Err(NoRegister));
        assert_eq!(d.write(offset, size, 0, 0), Err(NoRegister));
    }
}
