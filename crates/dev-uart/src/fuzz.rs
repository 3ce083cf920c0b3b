//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Ns16550, Ns16550Config, SifiveUart};
use dev_core::chipset::Chipset;

/// Plays `bytes` on a 16550A with byte-wide registers.
pub fn ns16550(bytes: &[u8]) {
    ns16550_chipset().fuzz(bytes);
}

/// Plays `bytes` on a SiFive UART.
pub fn sifive(bytes: &[u8]) {
    sifive_chipset().fuzz(bytes);
}

fn ns16550_chipset() -> Chipset<Ns16550> {
    Chipset {
        make: || Ns16550::new(Ns16550Config::default()),
        window: 8,
        inputs: 1,
        host: |d, bytes, now| match bytes {
            [0, modem, ..] => d.set_modem(*modem),
            [1, ..] => d.send_break(now),
            [2, ..] => {
                d.drain(&mut Vec::new());
                assert!(!dev_core::Device::wants_host(d));
            }
            _ => {
                let room = d.room();
                assert_eq!(d.feed(bytes, now), room.min(bytes.len()));
            }
        },
    }
}

fn sifive_chipset() -> Chipset<SifiveUart> {
    Chipset {
        make: SifiveUart::new,
        window: 0x1c,
        inputs: 1,
        host: |d, bytes, _| match bytes {
            [2, ..] => {
                d.drain(&mut Vec::new());
                assert!(!dev_core::Device::wants_host(d));
            }
            _ => {
                let room = d.room();
                assert_eq!(d.feed(bytes), room.min(bytes.len()));
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ns16550_keeps_the_rules_under_any_bytes() {
        super::ns16550_chipset().smoke(200);
    }

    #[test]
    fn sifive_keeps_the_rules_under_any_bytes() {
        super::sifive_chipset().smoke(200);
    }
}
