//! What a chip says of itself: identifier codes and the CFI query structure.
//!
//! Sources: JEDEC JESD68.01 "Common Flash Interface" (the structure's offsets); Intel "3 Volt StrataFlash
//! Memory 28F128J3", chapter "Common Flash Interface" (vendor command set 0001, its extended table 1.1).

/// Manufacturer code: Intel.
const MANUFACTURER: u8 = 0x89;
/// Device code: 28F128J3, 128 Mbit.
const DEVICE: u8 = 0x18;

/// The structure, from word 0x10 on.
#[rustfmt::skip]
const QUERY: [u8; 47] = [
    // 0x10: the signature; command set 0001 (Intel, extended), whose table is at 0x31; no other set.
    b'Q', b'R', b'Y', 0x01, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00,
    // 0x1b: Vcc 2.7 to 3.6 V; no Vpp pin.
    0x27, 0x36, 0x00, 0x00,
    // 0x1f: typical 2^n: 128 us a word, 128 us a buffer, 1 s a block; no chip erase. Then how many times
    // as long at most, 2^n.
    0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00,
    // 0x27: 2^24 bytes; x8 and x16; buffer of 2^9 bytes; one region: 128 blocks of 0x200 * 256 bytes.
    0x18, 0x02, 0x00, 0x09, 0x00, 0x01, 0x7f, 0x00, 0x00, 0x02,
    // 0x31: "PRI", version 1.1; block lock bits that are cleared together; no suspending (nothing takes
    // time that could be suspended), no protection register.
    b'P', b'R', b'I', b'1', b'1', 0x08, 0x00, 0x00, 0x00,
    // 0x3a: nothing after suspend; block status: the lock bit; optimum Vcc 3.3 V.
    0x00, 0x01, 0x00, 0x33, 0x00,
];

/// Bytes of a chip's block and of a chip.
const CHIP_BLOCK: u64 = 128 << 10;
const CHIP_BYTES: u64 = 16 << 20;
/// Bytes of a bank's block: one of each chip.
pub(crate) const BLOCK_BYTES: u64 = 2 * CHIP_BLOCK;
/// Bytes of a bank.
pub const BANK_BYTES: u64 = 2 * CHIP_BYTES;
/// Words that each chip's write buffer takes: those of the chips' 65 nm edition (Numonyx, "Embedded Flash Memory J3 65 nm").
/// The first ones had 16; EDK2 does not ask, and writes 32.
pub(crate) const BUFFER_WORDS: u16 = 256;

/// What a chip in identifier mode answers at a word.
pub(crate) fn identifier(word: u64, locked: bool) -> u8 {
    match word % (CHIP_BLOCK / 2) {
        0 => MANUFACTURER,
        1 => DEVICE,
        2 => u8::from(locked),
        _ => 0,
    }
}

/// What a chip in query mode answers at a word.
pub(crate) fn query(word: u64, locked: bool) -> u8 {
    match (word % (CHIP_BLOCK / 2)).checked_sub(0x10) {
        None => identifier(word, locked),
        Some(at) => QUERY.get(at as usize).copied().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_stands_where_jesd68_says() {
        let byte = |at| query(at, false);
        let pair = |at| u64::from(byte(at)) | u64::from(byte(at + 1)) << 8;
        assert_eq!([0x10, 0x11, 0x12].map(byte), *b"QRY");
        assert_eq!(pair(0x13), 1, "command set");
        assert_eq!([0, 1, 2].map(|i| byte(pair(0x15) + i)), *b"PRI", "extended table");
        assert_eq!(1 << byte(0x27), CHIP_BYTES);
        assert_eq!(1 << pair(0x2a), 2 * BUFFER_WORDS, "buffer in bytes");
        assert_eq!(byte(0x2c), 1, "regions");
        let (blocks, bytes) = (pair(0x2d) + 1, 256 * pair(0x2f));
        assert_eq!((blocks * bytes, bytes), (CHIP_BYTES, CHIP_BLOCK));
        assert_eq!(byte(0x3f), 0, "behind the end");
    }

    #[test]
    fn identifiers_and_lock_bits() {
        assert_eq!([0, 1, 2, 3].map(|w| identifier(w, true)), [0x89, 0x18, 1, 0]);
        assert_eq!(identifier(5 * CHIP_BLOCK / 2 + 2, false), 0);
        assert_eq!(query(2, true), 1);
    }
}
