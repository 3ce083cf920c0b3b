//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Aclint, Plic};
use dev_core::chipset::Chipset;

/// Plays `bytes` on an ACLINT of 34 harts (so that its outputs fill more than one word).
pub fn aclint(bytes: &[u8]) {
    aclint_chipset().fuzz(bytes);
}

/// Plays `bytes` on a PLIC of 95 sources and 66 contexts.
pub fn plic(bytes: &[u8]) {
    plic_chipset().fuzz(bytes);
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
    fn plic_keeps_the_rules_under_any_bytes() {
        super::plic_chipset().smoke(50);
    }
}
