//! Fuzz entries: any bytes, played on each device of this crate.

use crate::{Ns16550, Ns16550Config, SifivePace, SifiveUart};
use dev_core::chipset::Chipset;

/// Plays `bytes` on a 16550A with byte-wide registers.
pub fn ns16550(bytes: &[u8]) {
    ns16550_chipset().fuzz(bytes);
}

/// Plays `bytes` on a SiFive UART; the first says whether characters take time.
pub fn sifive(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    sifive_chipset(first & 1 != 0).fuzz(rest);
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

fn sifive_chipset(paced: bool) -> Chipset<SifiveUart> {
    Chipset {
        make: if paced { || SifiveUart::new(SifivePace::Line(500_000_000)) } else { SifiveUart::default },
        window: 0x1c,
        inputs: 1,
        host: |d, bytes, now| match bytes {
            [0, byte, ..] => d.arrive(*byte, now),
            [1, hz, ..] => d.turn_on(u32::from(*hz) << 22, now),
            [3, ..] => d.finish(),
            [2, ..] => {
                d.drain(&mut Vec::new(), now);
                assert!(!dev_core::Device::wants_host(d));
            }
            _ => {
                let room = d.room();
                assert_eq!(d.feed(bytes, now), room.min(bytes.len()));
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
        super::sifive_chipset(false).smoke(200);
        super::sifive_chipset(true).smoke(200);
    }
}
