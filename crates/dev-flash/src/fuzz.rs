//! Fuzz entry: any bytes, played on the flash.

use crate::Flash;
use dev_core::Device;
use dev_core::chipset::Chipset;

/// Plays `bytes` on a flash.
pub fn flash(bytes: &[u8]) {
    chipset().fuzz(bytes);
}

fn chipset() -> Chipset<Flash> {
    Chipset {
        make: || Flash::new(1),
        // A block and a little more.
        window: 0x4_0100,
        inputs: 1,
        // Commands, which random words seldom are: one for each byte, at places that differ little.
        host: |d, bytes, now| {
            const COMMANDS: [u64; 12] =
                [0xff, 0x70, 0x90, 0x98, 0x50, 0x40, 0x20, 0xd0, 0xe8, 0x60, 0x01, 0x03];
            for &byte in bytes {
                let command = COMMANDS.get(usize::from(byte & 15)).copied().unwrap_or(u64::from(byte));
                let at = u64::from(byte >> 4) * 4;
                assert!(d.write(at, 4, command << 16 | command, now).is_ok());
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn flash_keeps_the_rules_under_any_bytes() {
        super::chipset().smoke(20);
    }
}
