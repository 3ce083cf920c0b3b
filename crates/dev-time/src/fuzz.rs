//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Cmos, DebugExit, Finisher, GoldfishRtc, Htif, I8042, I8254, Pm1Control, ResetControl};
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

/// Plays `bytes` on a timer.
pub fn i8254(bytes: &[u8]) {
    i8254_chipset().fuzz(bytes);
}

/// Plays `bytes` on a PC's real-time clock.
pub fn cmos(bytes: &[u8]) {
    cmos_chipset().fuzz(bytes);
}

/// Plays `bytes` on a keyboard controller.
pub fn i8042(bytes: &[u8]) {
    i8042_chipset().fuzz(bytes);
}

/// Plays `bytes` on one of a PC's small ports: debug exit, power-off, reset control.
pub fn pc_ports(bytes: &[u8]) {
    let Some((select, bytes)) = bytes.split_first() else { return };
    match select % 3 {
        0 => Chipset { make: DebugExit::new, window: 6, inputs: 1, host: |_, _, _| {} }.fuzz(bytes),
        1 => Chipset { make: Pm1Control::new, window: 6, inputs: 1, host: |_, _, _| {} }.fuzz(bytes),
        _ => Chipset { make: ResetControl::new, window: 3, inputs: 1, host: |_, _, _| {} }.fuzz(bytes),
    }
}

fn i8254_chipset() -> Chipset<I8254> {
    Chipset {
        make: I8254::new,
        window: 6,
        inputs: 1,
        // A control word and a short count: random ones take long to do anything.
        host: |d, bytes, now| {
            use dev_core::Device;
            if let [word, count, ..] = bytes {
                let counter = u64::from(word >> 6);
                assert!(d.write(3, 1, u64::from(word & !0x20 | 0x10), now).is_ok());
                if counter < 3 {
                    assert!(d.write(counter, 1, u64::from(*count), now).is_ok());
                    assert!(d.read(counter, 1, now).is_ok());
                }
            }
        },
    }
}

fn cmos_chipset() -> Chipset<Cmos> {
    Chipset {
        make: || Cmos::new(1_700_000_000_000_000_000),
        window: 3,
        inputs: 1,
        // Index and data together, mostly of the clock.
        host: |d, bytes, now| {
            use dev_core::Device;
            for pair in bytes.chunks_exact(2) {
                if let [index, value] = pair {
                    let index = if index & 0x40 != 0 { index & 0x3f } else { index & 0x0f };
                    assert!(d.write(0, 2, u64::from(*value) << 8 | u64::from(index), now).is_ok());
                    assert!(d.read(1, 1, now).is_ok());
                }
            }
        },
    }
}

fn i8042_chipset() -> Chipset<I8042> {
    Chipset { make: I8042::new, window: 6, inputs: 1, host: |_, _, _| {} }
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
    fn i8254_keeps_the_rules_under_any_bytes() {
        super::i8254_chipset().smoke(400);
    }

    #[test]
    fn cmos_keeps_the_rules_under_any_bytes() {
        super::cmos_chipset().smoke(400);
    }

    #[test]
    fn i8042_keeps_the_rules_under_any_bytes() {
        super::i8042_chipset().smoke(100);
    }

    #[test]
    fn pc_ports_keep_the_rules_under_any_bytes() {
        for select in 0..3u8 {
            for round in 0..200u32 {
                let noise = (0..400u32).map(|n| (n * n + round * 7919 + n * round) as u8);
                super::pc_ports(&std::iter::once(select).chain(noise).collect::<Vec<_>>());
            }
        }
    }

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
