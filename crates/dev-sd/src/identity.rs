//! What a card says of itself: OCR, CID, CSD, SCR, SD status and switch status (chapters 4.3.10, 4.10 and 5).

use crate::BLOCK;
use crate::crc::crc7;
use std::fmt;

/// Bytes that the capacity of a high or extended capacity card is a multiple of (section 5.3.3, C_SIZE).
const UNIT: u64 = 512 << 10;
/// How many of those there can be: C_SIZE has 22 bits, and is one less.
const MOST_UNITS: u64 = 1 << 22;

/// Voltages from 2.7 V to 3.6 V (section 5.1).
const OCR_VOLTAGES: u32 = 0x00ff_8000;
/// The card counts its addresses in blocks.
const OCR_CCS: u32 = 1 << 30;
/// Its initialization is over.
const OCR_POWER_UP: u32 = 1 << 31;

/// Command classes: basic, block read, block write, erase, application-specific, switch (section 4.7.3).
const CLASSES: u16 = 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 10;
/// Functions of group 1 of CMD6: 0 is default speed, 1 is high speed (section 4.3.10.3).
const SPEEDS: u32 = 2;

/// A capacity that no card has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeError {
    /// Bytes asked for.
    pub size: u64,
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SizeError { size } = self;
        match size.div_ceil(UNIT) * UNIT {
            next if next > MOST_UNITS * UNIT => {
                write!(f, "it has {size} bytes, and an SD card 2 TiB at most")
            }
            0 => write!(f, "it is empty, and an SD card has 512 KiB at least"),
            next => write!(
                f,
                "it has {size} bytes, and an SD card a multiple of 512 KiB; make it {next} bytes long"
            ),
        }
    }
}

impl std::error::Error for SizeError {}

/// What distinguishes one card from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    units: u32,
    read_only: bool,
}

impl Identity {
    /// A card of `size` bytes.
    ///
    /// # Errors
    /// If there is none of that size.
    pub fn new(size: u64, read_only: bool) -> Result<Identity, SizeError> {
        let units = size / UNIT;
        if units == 0 || units > MOST_UNITS || !size.is_multiple_of(UNIT) {
            return Err(SizeError { size });
        }
        Ok(Identity { units: units as u32, read_only })
    }

    /// Its capacity in blocks of 512 bytes: at most 2^32, so that block numbers have 32 bits.
    pub fn blocks(&self) -> u64 {
        u64::from(self.units) * (UNIT / BLOCK as u64)
    }

    /// Whether it is write-protected.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Operation conditions (section 5.1).
    pub(crate) fn ocr(idle: bool) -> u32 {
        if idle { OCR_VOLTAGES } else { OCR_VOLTAGES | OCR_CCS | OCR_POWER_UP }
    }

    /// Card identification (section 5.2). The manufacturer is none that SD-3C knows.
    pub(crate) fn cid() -> [u8; 16] {
        let mut cid = *b"\0HOHOSTL\x10\0\0\0\x01\x01\xa1\0";
        seal(&mut cid);
        cid
    }

    /// Card-specific data, version 2.0 (section 5.3.3).
    pub(crate) fn csd(&self, high_speed: bool) -> [u8; 16] {
        let [classes, low] = (CLASSES << 4 | 9).to_be_bytes();
        let [_, high, middle, size] = (self.units - 1).to_be_bytes();
        // 25 MHz, or 50 MHz.
        let speed = if high_speed { 0x5a } else { 0x32 };
        // PERM_WRITE_PROTECT.
        let protect = if self.read_only { 1 << 5 } else { 0 };
        let mut csd =
            [0x40, 0x0e, 0, speed, classes, low, 0, high, middle, size, 0x7f, 0x80, 0x0a, 0x40, protect, 0];
        seal(&mut csd);
        csd
    }

    /// SD configuration (section 5.6): version 3.0x, blocks read as zeroes once erased, no security, both bus widths.
    pub(crate) fn scr() -> [u8; 8] {
        [0x02, 0x05, 0x80, 0, 0, 0, 0, 0]
    }

    /// SD status (section 4.10.2): speed class 10, allocation units of 4 MiB, one of which is erased in a second.
    pub(crate) fn status() -> [u8; 64] {
        let mut status = [0; 64];
        for (at, byte) in status.iter_mut().enumerate() {
            *byte = match at {
                8 => 4,
                10 => 9 << 4,
                12 => 1,
                13 => 1 << 2,
                _ => 0,
            };
        }
        status
    }

    /// The answer to CMD6 (section 4.3.10.4), and the speed that it chooses, if it chooses one.
    pub(crate) fn switch(argument: u32, high_speed: bool) -> ([u8; 64], Option<bool>) {
        let current = |group: u32| if group == 0 { u32::from(high_speed) } else { 0 };
        let functions = |group: u32| if group == 0 { SPEEDS } else { 1 };
        let chosen = |group: u32| match argument >> (4 * group) & 0xf {
            // No influence.
            0xf => current(group),
            function if function < functions(group) => function,
            _ => 0xf,
        };
        let mut status = [0; 64];
        for (at, byte) in status.iter_mut().enumerate() {
            let group = |n: usize| 5_u32.saturating_sub(n as u32);
            *byte = match at {
                // 100 mA at most.
                1 => 100,
                // Each group's functions, the last group's first, two bytes each: the one "no influence", too.
                2..14 if at % 2 == 0 => 0x80,
                2..14 => (1_u32 << functions(group((at - 2) / 2))).wrapping_sub(1) as u8,
                14..17 => {
                    let first = group((at - 14) * 2);
                    (chosen(first) << 4 | chosen(first - 1)) as u8
                }
                _ => 0,
            };
        }
        // One function that cannot be is enough for none to be switched.
        let all = (0..6).all(|group| chosen(group) != 0xf);
        (status, (argument >> 31 != 0 && all).then(|| chosen(0) == 1))
    }
}

/// Writes the checksum of the first fifteen bytes behind them.
fn seal(register: &mut [u8; 16]) {
    let [body @ .., last] = register;
    *last = crc7(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_is_in_the_csd() {
        for (units, c_size) in [(1, [0, 0, 0]), (0x10000, [0, 0xff, 0xff]), (1 << 22, [0x3f, 0xff, 0xff])] {
            let card = Identity::new(units * UNIT, false).unwrap();
            assert_eq!(card.csd(false)[7..10], c_size);
            assert_eq!(card.blocks(), units * 1024);
        }
    }

    #[test]
    fn other_sizes_are_none() {
        for (size, hint) in [
            (0, "512 KiB at least"),
            (UNIT - 1, "make it 524288 bytes"),
            (UNIT + 512, "make it 1048576 bytes"),
            ((MOST_UNITS + 1) * UNIT, "2 TiB at most"),
        ] {
            let error = Identity::new(size, false).unwrap_err();
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn registers_are_as_they_are_in_the_specification() {
        let card = Identity::new(UNIT, true).unwrap();
        let csd = card.csd(false);
        // CSD_STRUCTURE 1, TAAC 1 ms, 25 MHz, blocks of 512 bytes, single blocks erased, write-protected.
        assert_eq!(csd[..7], [0x40, 0x0e, 0, 0x32, 0x53, 0x59, 0],);
        assert_eq!(csd[10..15], [0x7f, 0x80, 0x0a, 0x40, 0x20]);
        assert_eq!(csd[15], crc7(&csd[..15]));
        assert_eq!((Identity::ocr(true), Identity::ocr(false)), (0x00ff_8000, 0xc0ff_8000));
        assert_eq!(&Identity::cid()[..8], b"\0HOHOSTL");
    }

    #[test]
    fn high_speed_can_be_asked_for_and_chosen() {
        let (status, chosen) = Identity::switch(0x00ff_fff1, false);
        assert_eq!((status[0], status[1], chosen), (0, 100, None), "only asked");
        assert_eq!(status[2..14], [0x80, 1, 0x80, 1, 0x80, 1, 0x80, 1, 0x80, 1, 0x80, 3]);
        assert_eq!(status[14..17], [0, 0, 1]);
        assert_eq!(Identity::switch(0x80ff_fff1, false).1, Some(true));
        assert_eq!(Identity::switch(0x80ff_fff0, true).1, Some(false));
        assert_eq!(Identity::switch(0x80ff_ffff, true).1, Some(true));
        let (status, chosen) = Identity::switch(0x80ff_ff31, false);
        assert_eq!((status[16], chosen), (0xf1, None), "group 2 has no function 3");
    }
}
