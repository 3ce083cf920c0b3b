//! The SPI controller with an SD card against QEMU's, access by access.

use dev_core::Device;
use dev_sd::{Card, Identity};
use dev_sifive::{Spi, SpiConfig};

/// The registers: name, offset.
const REGISTERS: [(&str, u64); 16] = [
    ("Sckdiv", 0x00),
    ("Sckmode", 0x04),
    ("Csid", 0x10),
    ("Csdef", 0x14),
    ("Csmode", 0x18),
    ("Delay0", 0x28),
    ("Delay1", 0x2c),
    ("Fmt", 0x40),
    ("Txdata", 0x48),
    ("Rxdata", 0x4c),
    ("Txmark", 0x50),
    ("Rxmark", 0x54),
    ("Fctrl", 0x60),
    ("Ffmt", 0x64),
    ("Ie", 0x70),
    ("Ip", 0x74),
];

/// What was asked for is zeroes, as on QEMU's card.
fn work(spi: &mut Spi) {
    let Some(card) = spi.card() else { return };
    while let Some(wanted) = card.take_job() {
        let len = match wanted.job {
            dev_sd::Job::Read { len, .. } => len as usize,
            _ => 0,
        };
        card.finish(wanted.number, Some(vec![0; len]));
    }
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

#[test]
fn controller_and_card_differ_from_qemus_only_where_a_reason_is_given() {
    let card = Card::new(Identity::new(64 << 20, false).unwrap());
    let mut spi = Spi::new(SpiConfig { selects: 1, flash: false }, Some(card));
    let mut found: Vec<String> = Vec::new();
    let mut section = "";
    for line in include_str!("golden/qemu-spi.txt").lines().skip(2) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let offset = |name: &str| REGISTERS.into_iter().find(|register| register.0 == name).unwrap().1;
        match words.as_slice() {
            ["write", name, value] => spi.write(offset(name), 4, number(value), 0).unwrap(),
            ["read", name, value] => {
                let ours = spi.read(offset(name), 4, 0).unwrap();
                if ours != number(value) {
                    found.push(format!("{section}: {name} {value}, ours {ours:#x}"));
                }
            }
            ["bytes", count, sent, value] => {
                for _ in 0..count.parse::<u32>().unwrap() {
                    spi.write(0x48, 4, number(sent), 0).unwrap();
                    work(&mut spi);
                    let ours = spi.read(0x4c, 4, 0).unwrap();
                    if ours != number(value) {
                        found.push(format!("{section}: byte {value}, ours {ours:#x}"));
                    }
                }
            }
            _ => panic!("{line}"),
        }
    }
    let mut known = Vec::new();
    for paragraph in include_str!("golden/spi-differences.txt").split("\n\n").skip(1) {
        assert!(paragraph.starts_with("# "), "no reason is given for:\n{paragraph}");
        known.extend(paragraph.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    // Bytes of a section that differ alike count once.
    found.sort();
    found.dedup();
    known.sort();
    assert!(found == known, "not the differences that are known:\n{}", found.join("\n"));
}
