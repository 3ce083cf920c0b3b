//! Tests of the local APIC, by the sections of the SDM's chapter.

use super::*;
use fabric_wire::local::apic_base::{BSP, DEFAULT_ADDRESS, ENABLE, X2APIC};

fn apic(id: u32) -> Lapic {
    let mut d = Lapic::new(LapicConfigOf(id).into());
    put(&mut d, 0xf0, 0x1ff, 0);
    d
}

struct LapicConfigOf(u32);

impl From<LapicConfigOf> for Config {
    fn from(of: LapicConfigOf) -> Config {
        Config { id: of.0, tsc_hz: 2_500_000_000, ..Config::default() }
    }
}

fn put(d: &mut Lapic, at: u64, value: u32, now: Nanos) -> Option<Outgoing> {
    d.write_page(at, 4, u64::from(value), now)
}

fn get(d: &mut Lapic, at: u64, now: Nanos) -> u64 {
    d.read_page(at, 4, now)
}

fn fixed(vector: u8, level: bool) -> Interrupt {
    Interrupt { destination: BROADCAST, logical: false, delivery: Delivery::Fixed, vector, level }
}

fn intr(d: &Lapic) -> bool {
    d.lines(0, 0) & 1 != 0
}

#[test]
fn state_after_reset() {
    let mut d = Lapic::new(LapicConfigOf(5).into());
    assert_eq!(d.apic_base(), DEFAULT_ADDRESS | ENABLE | BSP);
    for (at, value) in [
        (0x20, 0x0500_0000),
        (0x30, 0x0105_0014),
        (0x80, 0),
        (0xd0, 0),
        (0xe0, 0xffff_ffff),
        (0xf0, 0xff),
        (0x320, 0x1_0000),
        (0x350, 0x1_0000),
        (0x370, 0x1_0000),
        (0x380, 0),
        (0x390, 0),
        (0x3e0, 0),
    ] {
        assert_eq!(get(&mut d, at, 0), value, "{at:#x}");
    }
    put(&mut d, 0x320, 0x30, 0);
    assert_eq!(get(&mut d, 0x320, 0), 0x1_0030, "software disabled: the mask bits stay");
}

#[test]
fn registers_are_words_at_multiples_of_16() {
    let mut d = apic(0x0a);
    assert_eq!(d.read_page(0x23, 1, 0), 0x0a);
    assert_eq!(d.read_page(0x30, 2, 0), 0x14);
    assert_eq!(d.read_page(0x34, 4, 0), 0);
    assert_eq!(d.read_page(0x30, 8, 0), 0x0105_0014);
    d.write_page(0x80, 1, 0x30, 0);
    d.write_page(0x84, 4, 0x30, 0);
    assert_eq!(get(&mut d, 0x80, 0), 0);
    put(&mut d, 0x80, 0x30, 0);
    assert_eq!(get(&mut d, 0x80, 0), 0x30);
}

#[test]
fn priorities_decide_what_is_delivered() {
    let mut d = apic(0);
    d.accept(&fixed(0x41, false), 0);
    d.accept(&fixed(0x52, false), 0);
    assert_eq!((get(&mut d, 0x220, 0), d.acknowledge(0)), (0x0004_0002, Acknowledged::Vector(0x52)));
    assert_eq!((get(&mut d, 0x220, 0), get(&mut d, 0x120, 0), get(&mut d, 0xa0, 0)), (2, 1 << 18, 0x50));
    assert!(!intr(&d), "a lower class waits");
    d.accept(&fixed(0x5f, false), 0);
    assert!(!intr(&d), "and so does the same class");
    d.accept(&fixed(0x60, false), 0);
    assert_eq!(d.acknowledge(0), Acknowledged::Vector(0x60));
    put(&mut d, 0xb0, 0, 0);
    assert!(!intr(&d));
    put(&mut d, 0xb0, 0, 0);
    assert!(intr(&d));
    d.set_tpr(0x55);
    assert_eq!((intr(&d), get(&mut d, 0xa0, 0)), (false, 0x55));
    assert_eq!(d.acknowledge(0), Acknowledged::Nothing);
    put(&mut d, 0x80, 0x4f, 0);
    assert_eq!(d.acknowledge(0), Acknowledged::Vector(0x5f));
}

#[test]
fn only_level_interrupts_have_their_eoi_broadcast() {
    let mut d = apic(0);
    d.accept(&fixed(0x41, true), 0);
    assert_eq!((d.acknowledge(0), get(&mut d, 0x1a0, 0)), (Acknowledged::Vector(0x41), 2));
    assert_eq!(put(&mut d, 0xb0, 0, 0), Some(Outgoing::Eoi(0x41)));
    d.accept(&fixed(0x41, false), 0);
    d.acknowledge(0);
    assert_eq!((get(&mut d, 0x1a0, 0), put(&mut d, 0xb0, 0, 0)), (0, None));
    put(&mut d, 0xf0, 0x11ff, 0);
    d.accept(&fixed(0x41, true), 0);
    d.acknowledge(0);
    assert_eq!(put(&mut d, 0xb0, 0, 0), None, "suppressed");
    assert_eq!(put(&mut d, 0xb0, 0, 0), None, "nothing in service");
}

#[test]
fn lint0_passes_an_8259_on() {
    let mut d = apic(0);
    d.input(0, true);
    assert!(!intr(&d), "masked");
    put(&mut d, 0x350, 0x700, 0);
    assert_eq!((intr(&d), d.acknowledge(0)), (true, Acknowledged::External));
    d.set_tpr(0xff);
    assert!(intr(&d), "priorities do not count");
    d.input(0, false);
    assert!(!intr(&d));
    let mut d = Lapic::new(Config::default());
    d.set_apic_base(DEFAULT_ADDRESS, 0).unwrap();
    d.input(0, true);
    assert!(intr(&d), "without an APIC the pin is INTR");
    d.input(1, true);
    assert_eq!(d.take_event(0), Some(Event::Nmi));
}

#[test]
fn local_interrupts_at_the_pins() {
    let mut d = apic(0);
    put(&mut d, 0x350, 0x8045, 0);
    put(&mut d, 0x360, 0x400, 0);
    d.input(0, true);
    assert_eq!(get(&mut d, 0x350, 0), 0xc045, "remote IRR");
    assert_eq!(d.acknowledge(0), Acknowledged::Vector(0x45));
    assert!(!intr(&d));
    put(&mut d, 0xb0, 0, 0);
    assert!(intr(&d), "still high");
    assert_eq!(d.acknowledge(0), Acknowledged::Vector(0x45));
    d.input(0, false);
    put(&mut d, 0xb0, 0, 0);
    assert_eq!((intr(&d), get(&mut d, 0x350, 0)), (false, 0x8045));
    d.input(1, true);
    d.input(1, true);
    assert_eq!((d.lines(0, 0), d.take_event(0), d.take_event(0)), (2, Some(Event::Nmi), None));
    put(&mut d, 0x350, 0x46, 0);
    d.input(0, true);
    d.input(0, false);
    assert_eq!((d.acknowledge(0), put(&mut d, 0xb0, 0, 0)), (Acknowledged::Vector(0x46), None), "an edge");
}

#[test]
fn errors_show_after_a_write_to_esr() {
    let mut d = apic(0);
    put(&mut d, 0x370, 0xfe, 0);
    d.accept(&fixed(0x0f, false), 0);
    assert_eq!(get(&mut d, 0x280, 0), 0);
    put(&mut d, 0x280, 0, 0);
    assert_eq!(get(&mut d, 0x280, 0), 0x40);
    assert_eq!(d.acknowledge(0), Acknowledged::Vector(0xfe));
    put(&mut d, 0x300, 0x4000f, 0);
    get(&mut d, 0x40, 0);
    put(&mut d, 0x3a0, 0, 0);
    put(&mut d, 0x280, 0, 0);
    assert_eq!(get(&mut d, 0x280, 0), 0xa0);
    put(&mut d, 0x280, 0, 0);
    assert_eq!(get(&mut d, 0x280, 0), 0);
}

#[test]
fn the_timer_counts_once_or_again_and_again() {
    let mut d = apic(0);
    put(&mut d, 0x3e0, 0b1011, 0); // divide by 1
    put(&mut d, 0x320, 0x40, 0);
    put(&mut d, 0x380, 1000, 100);
    assert_eq!((d.deadline(100), get(&mut d, 0x390, 100), get(&mut d, 0x390, 600)), (Some(1100), 1000, 500));
    d.tick(1099);
    assert!(!intr(&d));
    d.tick(1100);
    assert_eq!((intr(&d), d.deadline(1100), get(&mut d, 0x390, 1100)), (true, None, 0));
    assert_eq!(d.acknowledge(1100), Acknowledged::Vector(0x40));
    put(&mut d, 0xb0, 0, 1100);
    // Periodic, divided by 2.
    put(&mut d, 0x3e0, 0, 1100);
    put(&mut d, 0x320, 0x2_0041, 1100);
    put(&mut d, 0x380, 500, 2000);
    assert_eq!(d.deadline(2000), Some(3000));
    d.tick(3000);
    assert_eq!(d.deadline(3000), None, "requested already: nobody has to look");
    assert_eq!(d.acknowledge(5500), Acknowledged::Vector(0x41));
    assert_eq!((d.deadline(5500), get(&mut d, 0x390, 5500)), (Some(6000), 250), "in its first phase");
    put(&mut d, 0x380, 0, 5600);
    assert_eq!((d.deadline(5600), get(&mut d, 0x390, 5600)), (None, 0));
}

#[test]
fn a_timer_that_can_interrupt_nobody_needs_nobody() {
    // An illegal vector is noted once.
    let mut d = apic(0);
    put(&mut d, 0x3e0, 0b1011, 0);
    put(&mut d, 0x320, 0x2_000f, 0);
    put(&mut d, 0x380, 1, 0);
    assert_eq!(d.deadline(0), Some(1));
    d.tick(1);
    assert_eq!((d.deadline(1), d.state.errors), (None, 0x40));
    put(&mut d, 0x280, 0, 2);
    assert_eq!((get(&mut d, 0x280, 2), d.deadline(2)), (0x40, Some(3)), "what comes next is news");
    d.tick(3);
    assert_eq!(d.deadline(3), None);
    put(&mut d, 0x320, 0x2_0040, 4);
    assert_eq!(d.deadline(4), Some(5));
}

#[test]
fn a_masked_timer_counts_and_a_new_divisor_goes_on_from_the_count() {
    let mut d = apic(0);
    put(&mut d, 0x320, 0x1_0040, 0);
    put(&mut d, 0x3e0, 0b1010, 0); // divide by 128
    put(&mut d, 0x380, 10, 0);
    assert_eq!((d.deadline(0), get(&mut d, 0x390, 640)), (None, 5));
    put(&mut d, 0x3e0, 0b1011, 640);
    assert_eq!((get(&mut d, 0x390, 640), get(&mut d, 0x390, 643), get(&mut d, 0x390, 645)), (5, 2, 0));
    assert!(!intr(&d));
}

#[test]
fn divide_configuration() {
    let mut d = apic(0);
    put(&mut d, 0x320, 0x40, 0);
    for (code, divisor) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        put(&mut d, 0x3e0, code, 0);
        put(&mut d, 0x380, 7, 0);
        assert_eq!(d.deadline(0), Some(7 * divisor), "{code}");
    }
}

#[test]
fn tsc_deadline_mode() {
    let mut d = apic(0);
    d.set_tsc_deadline(5000, 0);
    assert_eq!(d.tsc_deadline(0), 0, "ignored in other modes");
    put(&mut d, 0x320, 0x4_0040, 0);
    put(&mut d, 0x380, 5, 0);
    assert_eq!((get(&mut d, 0x380, 0), d.deadline(0)), (0, None));
    d.set_tsc_deadline(5001, 100);
    assert_eq!((d.deadline(100), d.tsc_deadline(2000)), (Some(2001), 5001), "at 2.5 GHz, rounded up");
    d.set_tsc_offset(2501, 100);
    assert_eq!(d.deadline(100), Some(1000), "the deadline moves with the TSC");
    d.set_tsc_offset(0u64.wrapping_sub(2499), 100);
    assert_eq!(d.deadline(100), Some(3000));
    d.tick(3000);
    assert_eq!((d.acknowledge(3000), d.tsc_deadline(3000)), (Acknowledged::Vector(0x40), 0));
    d.set_tsc_deadline(1, 4000);
    assert!(!intr(&d), "the first one is in service");
    assert_eq!((d.tsc_deadline(4000), get(&mut d, 0x220, 4000)), (0, 1), "in the past: at once");
    d.set_tsc_deadline(u64::MAX, 4000);
    put(&mut d, 0x320, 0x40, 4000);
    put(&mut d, 0x320, 0x4_0040, 4000);
    assert_eq!(d.tsc_deadline(4000), 0, "leaving the mode disarms");
}

#[test]
fn interprocessor_interrupts() {
    let mut d = apic(1);
    let sent = |d: &mut Lapic, high: u32, low: u32| {
        put(d, 0x310, high, 0);
        put(d, 0x300, low, 0)
    };
    let ipi = |destination, logical, delivery, vector, all_but_self| {
        let interrupt = Interrupt { destination, logical, delivery, vector, level: false };
        Some(Outgoing::Ipi { interrupt, all_but_self })
    };
    assert_eq!(sent(&mut d, 0x0300_0000, 0x4031), ipi(3, false, Delivery::Fixed, 0x31, false));
    assert_eq!(sent(&mut d, 0x0300_0000, 0x4931), ipi(3, true, Delivery::LowestPriority, 0x31, false));
    assert_eq!(sent(&mut d, 0xff00_0000, 0x4500), ipi(BROADCAST, false, Delivery::Init, 0, false));
    assert_eq!(sent(&mut d, 0, 0x8500), None, "INIT level de-assert");
    assert_eq!(sent(&mut d, 0, 0xc_4609), ipi(BROADCAST, false, Delivery::Startup, 9, true));
    assert_eq!(sent(&mut d, 0, 0x8_4400), ipi(BROADCAST, false, Delivery::Nmi, 0, false));
    assert_eq!((sent(&mut d, 0, 0x4_4031), d.acknowledge(0)), (None, Acknowledged::Vector(0x31)));
    assert_eq!(
        (sent(&mut d, 0, 0x4031 | 0xf << 20), get(&mut d, 0x300, 0)),
        (ipi(0, false, Delivery::Fixed, 0x31, false), 0x4031)
    );
    assert_eq!(sent(&mut d, 0, 0x4700), None, "ExtINT cannot be sent");
}

#[test]
fn destinations() {
    let to = |destination, logical| Interrupt { destination, logical, ..fixed(0x40, false) };
    let mut d = apic(0x23);
    let is = |d: &Lapic, destination, logical| d.is_destination(&to(destination, logical));
    assert!(is(&d, 0x23, false) && is(&d, BROADCAST, false) && is(&d, BROADCAST, true));
    assert!(!is(&d, 0x22, false) && !is(&d, 0x123, false));
    put(&mut d, 0xd0, 0x2400_0000, 0);
    assert!(is(&d, 0x04, true) && is(&d, 0x20, true) && !is(&d, 0x13, true), "flat");
    put(&mut d, 0xe0, 0, 0);
    assert!(
        is(&d, 0x24, true) && is(&d, 0xf4, true) && !is(&d, 0x14, true) && !is(&d, 0x23, true),
        "cluster"
    );
    put(&mut d, 0xe0, 0x7000_0000, 0);
    assert!(!is(&d, 0x24, true), "no model");
    d.set_apic_base(DEFAULT_ADDRESS | ENABLE | X2APIC | BSP, 0).unwrap();
    assert!(is(&d, 0x2_0008, true) && !is(&d, 0x1_0008, true) && !is(&d, 0x2_0004, true));
    d.set_apic_base(DEFAULT_ADDRESS, 0).unwrap();
    assert!(!is(&d, 0x23, false) && !is(&d, BROADCAST, false), "disabled");
}

#[test]
fn init_resets_when_it_is_taken_and_startup_waits_behind_it() {
    let mut d = apic(0);
    let of = |delivery, vector| Interrupt { delivery, ..fixed(vector, false) };
    d.accept(&fixed(0x40, false), 0);
    d.accept(&of(Delivery::Startup, 8), 0);
    d.accept(&of(Delivery::Init, 0), 0);
    d.accept(&of(Delivery::Startup, 9), 0);
    assert_eq!(d.lines(0, 0), 0b1101);
    assert_eq!(d.take_event(0), Some(Event::Init));
    assert_eq!((get(&mut d, 0xf0, 0), get(&mut d, 0x220, 0), d.lines(0, 0)), (0xff, 0, 0b1000));
    assert_eq!((d.take_event(0), d.take_event(0)), (Some(Event::Sipi(9)), None));
    d.accept(&fixed(0x40, false), 0);
    assert_eq!(get(&mut d, 0x220, 0), 0, "software disabled: not accepted");
}

#[test]
fn x2apic_registers() {
    let mut d = apic(0x123);
    assert_eq!(d.read_msr(0x802, 0), Err(GeneralProtection), "not in x2APIC mode");
    put(&mut d, 0x310, 0x4500_0000, 0);
    d.set_apic_base(DEFAULT_ADDRESS | ENABLE | X2APIC, 0).unwrap();
    assert_eq!((get(&mut d, 0x20, 0), d.read_page(0x20, 8, 0)), (0xffff_ffff, u64::MAX), "no page");
    assert_eq!(d.read_msr(0x830, 0), Ok(0x45_0000_0000), "the destination, from bits 31:24 of ICR2");
    assert_eq!((d.read_msr(0x802, 0), d.read_msr(0x80d, 0)), (Ok(0x123), Ok(0x12_0008)));
    for msr in [0x7ff, 0x800, 0x80b, 0x809, 0x80e, 0x831, 0x83f, 0x82f, 0x840, 0x900] {
        assert_eq!(d.read_msr(msr, 0), Err(GeneralProtection), "{msr:#x}");
    }
    for (msr, value) in [
        (0x802, 0),
        (0x80d, 0),
        (0x80b, 1),
        (0x808, 0x100),
        (0x828, 1),
        (0x80f, 0x400),
        (0x832, 0x2_0000_0000),
        (0x80e, 0),
        (0x831, 0),
        (0x839, 0),
        (0x83f, 0x100),
    ] {
        assert_eq!(d.write_msr(msr, value, 0), Err(GeneralProtection), "{msr:#x}");
    }
    let interrupt = Interrupt { destination: 0x1234, ..fixed(0x31, false) };
    let sent = d.write_msr(0x830, 0x1234_0000_4031, 0);
    assert_eq!(sent, Ok(Some(Outgoing::Ipi { interrupt, all_but_self: false })));
    assert_eq!(d.read_msr(0x830, 0), Ok(0x1234_0000_4031));
    assert_eq!(d.write_msr(0x83f, 0x55, 0), Ok(None));
    assert_eq!((d.acknowledge(0), d.write_msr(0x80b, 0, 0)), (Acknowledged::Vector(0x55), Ok(None)));
    assert_eq!(d.read_msr(0x830, 0), Ok(0x1234_0000_4031), "the self IPI leaves ICR alone");
    assert_eq!(d.write_msr(0x835, 0x700, 0), Ok(None));
    assert_eq!(d.read_msr(0x835, 0), Ok(0x700));
}

#[test]
fn x2apic_state_transitions() {
    let mut d = Lapic::new(Config::default());
    let base = DEFAULT_ADDRESS;
    let mut go = |flags| d.set_apic_base(base | flags, 0).is_ok();
    assert!(!go(X2APIC), "enabled it must be");
    assert!(go(ENABLE | X2APIC) && go(ENABLE | X2APIC));
    assert!(!go(ENABLE), "back to xAPIC mode only through disabled");
    assert!(go(0) && !go(ENABLE | X2APIC), "and not from disabled at once");
    assert!(go(ENABLE) && !go(1) && !go(1 << 9) && !go(1 << 60));
    assert_eq!(d.apic_base(), base | ENABLE);
}

#[test]
fn a_state_of_another_implementation_is_taken() {
    let mut d = apic(2);
    put(&mut d, 0x320, 0x2_0040, 0);
    put(&mut d, 0x3e0, 0b1011, 0);
    put(&mut d, 0x380, 1000, 0);
    let mut state = d.export(400);
    assert_eq!((state.registers[0x39], state.timer_expiry), (600, Some(1000)));
    state.timer_expiry = None;
    let mut other = Lapic::new(LapicConfigOf(2).into());
    other.import(&state, 5000).unwrap();
    assert_eq!((other.deadline(5000), get(&mut other, 0x390, 5000)), (Some(5600), 600));
    assert_eq!(apic(3).import(&state, 0), Err(GeneralProtection), "another APIC's");
    for change in [
        (|s| s.registers[0x20] = 1) as fn(&mut LapicState),
        |s| s.registers[0xf] = 0x1fff_ffff,
        |s| s.registers[0xf] = 0xff,
        |s| s.registers[0x32] = 0x400,
        |s| s.registers[0x8] = 0x100,
        |s| s.apic_base = X2APIC,
        |s| s.tsc_deadline = 1,
        |s| s.errors = 1,
    ] {
        let mut bad = state.clone();
        change(&mut bad);
        assert_eq!(apic(2).import(&bad, 0), Err(GeneralProtection), "{bad:?}");
    }
}

#[test]
fn virtual_wire_mode_is_what_firmware_leaves() {
    let mut d = Lapic::new(Config::default());
    d.virtual_wire();
    d.input(0, true);
    assert_eq!(d.acknowledge(0), Acknowledged::External);
    d.input(1, true);
    assert_eq!(d.take_event(0), Some(Event::Nmi));
    let mut d = Lapic::new(Config { bsp: false, ..Config::default() });
    d.virtual_wire();
    d.input(0, true);
    assert!(!intr(&d), "the bootstrap processor's only");
}
