//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Aclint, I8259, Interrupt, Ioapic, Lapic, LapicConfig, Plic};
use dev_core::chipset::Chipset;

/// Plays `bytes` on an ACLINT of 34 harts (so that its outputs fill more than one word).
pub fn aclint(bytes: &[u8]) {
    aclint_chipset().fuzz(bytes);
}

/// Plays `bytes` on a PLIC of 95 sources and 66 contexts.
pub fn plic(bytes: &[u8]) {
    plic_chipset().fuzz(bytes);
}

/// Plays `bytes` on an 8259 pair.
pub fn i8259(bytes: &[u8]) {
    i8259_chipset().fuzz(bytes);
}

/// Plays `bytes` on an I/O APIC.
pub fn ioapic(bytes: &[u8]) {
    ioapic_chipset().fuzz(bytes);
}

/// Plays `bytes` on a local APIC.
pub fn lapic(bytes: &[u8]) {
    lapic_chipset().fuzz(bytes);
}

fn i8259_chipset() -> Chipset<I8259> {
    Chipset {
        make: I8259::new,
        window: 6,
        inputs: 17,
        host: |d, bytes, _| {
            for _ in bytes {
                d.acknowledge();
            }
        },
    }
}

fn ioapic_chipset() -> Chipset<Ioapic> {
    Chipset {
        make: || Ioapic::new(7),
        window: 0x41,
        inputs: 25,
        // Whole entries, which take four writes, and the EOI.
        host: |d, bytes, now| {
            use dev_core::Device;
            match bytes {
                [vector] => d.end_of_interrupt(*vector),
                [index, value @ ..] => {
                    let value = value.iter().fold(0, |v, &b| v << 8 | u64::from(b));
                    assert!(d.write(0, 1, u64::from(index & 0x3f), now).is_ok());
                    assert!(d.write(0x10, 4, value, now).is_ok());
                    assert!(d.read(0x10, 4, now).is_ok());
                }
                [] => {}
            }
        },
    }
}

fn lapic_chipset() -> Chipset<Lapic> {
    Chipset {
        make: || Lapic::new(LapicConfig { id: 0x23, timer_hz: 999_999_937, ..LapicConfig::default() }),
        window: 0x400,
        inputs: 3,
        host: |d, bytes, now| {
            let (select, rest) = bytes.split_first().unwrap_or((&0, &[]));
            let value = rest.iter().fold(0, |v, &b| v << 8 | u64::from(b));
            match select & 15 {
                0 => {
                    d.acknowledge(now);
                }
                1 => {
                    d.take_event(now);
                }
                2 => {
                    // The flags that make sense more often than chance would.
                    let _ = d.set_apic_base(0xfee0_0000 | value & 0xd00 | u64::from(select >> 7), now);
                }
                3 => d.set_tsc_deadline(value, now),
                4 => d.set_tsc_offset(value.rotate_right(u32::from(select >> 4)), now),
                5 => d.set_tpr(value as u8),
                6 => {
                    let mut state = d.export(now);
                    state.timer_expiry = state.timer_expiry.filter(|_| select >> 7 == 0);
                    assert_eq!(d.import(&state, now), Ok(()), "an APIC refuses its own state");
                }
                7 => {
                    let message = fabric_wire::Message {
                        address: 0xfee2_3000 | value >> 16 & 0xff0c,
                        data: value as u32,
                        requester: 0,
                    };
                    if let Some(interrupt) = Interrupt::from_message(message).filter(|i| d.is_destination(i))
                    {
                        d.accept(&interrupt, now);
                    }
                }
                8 => d.virtual_wire(),
                9..12 => {
                    let _ = d.read_msr(0x7f0 + u32::from(select >> 4) * 16 + (value as u32 & 15), now);
                }
                _ => {
                    let _ = d.write_msr(0x800 + (value as u32 & 0x3f), value >> 8, now);
                }
            }
        },
    }
}

fn aclint_chipset() -> Chipset<Aclint> {
    Chipset {
        make: || Aclint::new(34, 10_000_000),
        window: 0xc000,
        inputs: 1,
        // A short way to the timer registers, which random offsets seldom hit.
        host: |d, bytes, now| {
            use dev_core::Device;
            if let [hart, rest @ ..] = bytes {
                let value = rest.iter().fold(0, |v, &b| v << 8 | u64::from(b));
                let offset = if *hart >= 34 { 0xbff8 } else { 0x4000 + 8 * u64::from(*hart) };
                assert!(d.write(offset, 8, value, now).is_ok());
                assert_eq!(d.read(offset, 8, now), Ok(value));
            }
        },
    }
}

fn plic_chipset() -> Chipset<Plic> {
    Chipset {
        make: || Plic::new(95, 66),
        window: 0x400_0000,
        inputs: 100,
        // A short way to the registers of the first contexts.
        host: |d, bytes, now| {
            use dev_core::Device;
            if let [select, number, value @ ..] = bytes {
                let number = u64::from(*number);
                let value = value.iter().fold(0, |v, &b| v << 8 | u64::from(b));
                let offset = match select & 7 {
                    0..=2 => 4 * number,
                    3 | 4 => 0x2000 + 4 * number,
                    5 => 0x20_0000 + 0x1000 * number,
                    _ => 0x20_0004 + 0x1000 * number,
                };
                if select >> 7 == 0 {
                    assert!(d.write(offset, 4, value, now).is_ok());
                } else {
                    assert!(d.read(offset, 4, now).is_ok());
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn aclint_keeps_the_rules_under_any_bytes() {
        super::aclint_chipset().smoke(50);
    }

    #[test]
    fn i8259_keeps_the_rules_under_any_bytes() {
        super::i8259_chipset().smoke(200);
    }

    #[test]
    fn ioapic_keeps_the_rules_under_any_bytes() {
        super::ioapic_chipset().smoke(200);
    }

    #[test]
    fn lapic_keeps_the_rules_under_any_bytes() {
        super::lapic_chipset().smoke(400);
    }

    #[test]
    fn plic_keeps_the_rules_under_any_bytes() {
        super::plic_chipset().smoke(50);
    }
}
