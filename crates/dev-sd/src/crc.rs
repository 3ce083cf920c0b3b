//! The checksums of commands and of data (section 4.5).

/// CRC7, generator x^7 + x^3 + 1, of a command, CSD or CID, as its last byte has it: shifted by one, with the end bit.
pub fn crc7(bytes: &[u8]) -> u8 {
    let mut crc = 0_u8;
    for byte in bytes {
        crc ^= byte;
        for _ in 0..8 {
            crc = if crc & 0x80 != 0 { crc << 1 ^ 0x09 << 1 } else { crc << 1 };
        }
    }
    crc | 1
}

/// CRC16, generator x^16 + x^12 + x^5 + 1, of a data block.
pub fn crc16(bytes: &[u8]) -> u16 {
    // By bytes, as the generator is sparse: a table would have 512 bytes for the same.
    bytes.iter().fold(0, |crc: u16, &byte| {
        let x = crc >> 8 ^ u16::from(byte);
        let x = x ^ x >> 4;
        crc << 8 ^ x << 12 ^ x << 5 ^ x
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        // Section 4.5: CMD0, CMD17 with argument 0; a block of ones has 0x7fa1.
        assert_eq!(crc7(&[0x40, 0, 0, 0, 0]), 0x95);
        assert_eq!(crc7(&[0x51, 0, 0, 0, 0]), 0x55);
        // The response of CMD17.
        assert_eq!(crc7(&[0x11, 0, 0, 0x09, 0]), 0b0110_0111);
        assert_eq!(crc16(&[0xff; 512]), 0x7fa1);
        assert_eq!((crc7(&[0x48, 0, 0, 1, 0xaa]), crc16(&[])), (0x87, 0));
    }
}
