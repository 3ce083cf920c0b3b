//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Finisher, GoldfishRtc, Htif};
use dev_core::chipset::Chipset;

/// Plays `bytes` on a clock.
pub fn goldfish_rtc(bytes: &[u8]) {
    goldfish_rtc_chipset().fuzz(bytes);
}

/// Plays `bytes` on a finisher.
pub fn finisher(bytes: &[u8]) {
    finisher_chipset().fuzz(bytes);
}

/// Plays `bytes` on an HTIF.
pub fn htif(bytes: &[u8]) {
    htif_chipset().fuzz(bytes);
}

fn goldfish_rtc_chipset() -> Chipset<GoldfishRtc> {
    Chipset {
        make: || GoldfishRtc::new(1_700_000_000_000_000_000),
        window: 0x24,
        inputs: 1,
        // An alarm not far from now, which random words seldom hit.
        host: |d, bytes, now| {
            use dev_core::Device;
            let ahead = bytes.iter().fold(0u64, |v, &b| v << 8 | u64::from(b)) & 0xffff_ffff;
            let low = d.read(0, 4, now).unwrap_or(0);
            let high = d.read(4, 4, now).unwrap_or(0);
            let alarm = (high << 32 | low).wrapping_add(ahead);
            assert!(d.write(12, 4, alarm >> 32, now).is_ok());
            assert!(d.write(8, 4, alarm & 0xffff_ffff, now).is_ok());
        },
    }
}

fn finisher_chipset() -> Chipset<Finisher> {
    Chipset { make: Finisher::new, window: 8, inputs: 1, host: |_, _, _| {} }
}

fn htif_chipset() -> Chipset<Htif> {
    Chipset {
        make: || Htif::new(0, 8),
        window: 16,
        inputs: 1,
        host: |d, bytes, now| {
            use dev_core::Device;
            match bytes {
                [0, ..] => d.answer(),
                [1, ..] => d.drain(&mut Vec::new()),
                // Commands that mean something, which random words seldom are.
                [2, device, command, payload, ..] => {
                    let (device, command) = (u64::from(device & 1), u64::from(command & 1));
                    let word = device << 56 | command << 48 | u64::from(*payload);
                    assert!(d.write(0, 8, word, now).is_ok());
                }
                [3, ..] => assert!(d.write(8, 8, 0, now).is_ok()),
                _ => assert!(d.feed(bytes) <= 2),
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn goldfish_rtc_keeps_the_rules_under_any_bytes() {
        super::goldfish_rtc_chipset().smoke(200);
    }

    #[test]
    fn finisher_keeps_the_rules_under_any_bytes() {
        super::finisher_chipset().smoke(50);
    }

    #[test]
    fn htif_keeps_the_rules_under_any_bytes() {
        super::htif_chipset().smoke(200);
    }
}
