//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Ccache, Gpio, Otp, Prci};
use dev_core::chipset::Chipset;

/// Plays `bytes` on a PRCI.
pub fn prci(bytes: &[u8]) {
    prci_chipset().fuzz(bytes);
}

/// Plays `bytes` on an L2 cache controller.
pub fn ccache(bytes: &[u8]) {
    ccache_chipset().fuzz(bytes);
}

/// Plays `bytes` on a GPIO controller.
pub fn gpio(bytes: &[u8]) {
    gpio_chipset().fuzz(bytes);
}

/// Plays `bytes` on a one-time programmable memory.
pub fn otp(bytes: &[u8]) {
    otp_chipset().fuzz(bytes);
}

fn prci_chipset() -> Chipset<Prci> {
    Chipset { make: Prci::new, window: 0x30, inputs: 1, host: |_, _, _| {} }
}

fn ccache_chipset() -> Chipset<Ccache> {
    Chipset { make: Ccache::new, window: 0x900, inputs: 1, host: |_, _, _| {} }
}

fn gpio_chipset() -> Chipset<Gpio> {
    Chipset {
        make: || Gpio::new(10),
        window: 0x44,
        inputs: 17,
        host: |d, _, _| assert_eq!(d.restart(), dev_core::Device::wants_host(d)),
    }
}

fn otp_chipset() -> Chipset<Otp> {
    Chipset {
        make: || Otp::new(7),
        window: 0x3c,
        inputs: 1,
        // A fuse is programmed, which random words seldom do.
        host: |d, bytes, now| {
            use dev_core::Device;
            if let [high, low, bit, value, ..] = bytes {
                let address = u64::from(*high) << 8 | u64::from(*low);
                for (pin, level) in
                    [(0, address), (4, u64::from(*bit)), (0x14, u64::from(*value)), (0x38, 1), (0x38, 0)]
                {
                    assert!(d.write(pin, 4, level, now).is_ok());
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn prci_keeps_the_rules_under_any_bytes() {
        super::prci_chipset().smoke(100);
    }

    #[test]
    fn ccache_keeps_the_rules_under_any_bytes() {
        super::ccache_chipset().smoke(100);
    }

    #[test]
    fn gpio_keeps_the_rules_under_any_bytes() {
        super::gpio_chipset().smoke(200);
    }

    #[test]
    fn otp_keeps_the_rules_under_any_bytes() {
        super::otp_chipset().smoke(200);
    }
}
