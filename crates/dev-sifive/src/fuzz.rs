//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Ccache, Gpio, Otp, Prci, Spi, SpiConfig};
use dev_core::chipset::Chipset;
use dev_sd::{Card, Identity, Job};

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

/// Plays `bytes` on an SPI controller with an SD card.
pub fn spi(bytes: &[u8]) {
    spi_chipset().fuzz(bytes);
}

/// Blocks of that card.
const BLOCKS: u64 = 2048;

fn spi_chipset() -> Chipset<Spi> {
    Chipset {
        make: || {
            let card = Identity::new(BLOCKS * 512, false).ok().map(Card::new);
            Spi::new(SpiConfig { selects: 1, flash: false }, card)
        },
        window: 0x78,
        inputs: 1,
        // Bytes are sent to the card, commands among them with their checksums; the storage does what it is asked to, or
        // fails.
        host: |spi, bytes, now| {
            use dev_core::Device;
            let Some((&choice, rest)) = bytes.split_first() else { return };
            let mut send = |byte: u8| {
                assert!(spi.write(0x48, 4, byte.into(), now).is_ok());
                let _ = spi.read(0x4c, 4, now);
            };
            match choice & 3 {
                0 => rest.iter().for_each(|&byte| send(byte)),
                1 => (0..600).for_each(|_| send(choice)),
                _ => {
                    if let [number, argument @ .., last] = rest.get(..6).unwrap_or_default() {
                        let _ = last;
                        let frame: Vec<u8> = [0x40 | number].iter().chain(argument).copied().collect();
                        frame
                            .iter()
                            .chain([dev_sd::checksum(&frame), 0xff].iter())
                            .for_each(|&byte| send(byte));
                    }
                }
            }
            storage(spi, choice & 4 != 0, choice & 8 != 0);
        },
    }
}

/// Does the card's job, if `works`.
fn storage(spi: &mut Spi, works: bool, well: bool) {
    let Some(wanted) = spi.card().filter(|_| works).and_then(Card::take_job) else { return };
    let (at, len) = match &wanted.job {
        Job::Read { at, len } => (*at, u64::from(*len)),
        Job::Write { at, bytes, .. } => (*at, bytes.len() as u64),
        Job::Erase { at, len } => (*at, *len),
        Job::Flush => (0, 0),
    };
    assert!(at.is_multiple_of(512) && len.is_multiple_of(512), "a job of parts of blocks: {wanted:?}");
    assert!(at.checked_add(len).is_some_and(|end| end <= BLOCKS * 512), "a job outside the card: {wanted:?}");
    let read = if let Job::Read { .. } = wanted.job { len as usize } else { 0 };
    if let Some(card) = spi.card() {
        card.finish(wanted.number, well.then(|| vec![0x40; read]));
    }
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

    #[test]
    fn spi_keeps_the_rules_under_any_bytes() {
        super::spi_chipset().smoke(200);
    }
}
