//! Values that programs get wrong.

pub use differential_core::Random;

/// Values for registers and memory.
pub trait Values {
    /// An integer that is often near an edge.
    fn integer(&mut self) -> u64;
    /// Bits of a number with `e` exponent and `f` fraction bits, often special or near an edge.
    fn number(&mut self, e: u64, f: u64) -> u64;
    /// A floating-point register whose likeliest content is a number of `format` (`h`, `s`, `d`).
    fn float(&mut self, format: char) -> u64;
}

impl Values for Random {
    fn integer(&mut self) -> u64 {
        let near = self.below(5).wrapping_sub(2);
        match self.below(8) {
            0 => near,
            1 => (1u64 << self.below(64)).wrapping_add(near),
            2 => (self.bits() as u32 as i32) as u64,
            3 => self.bits() >> self.below(64),
            4 => {
                self.pick(&[1 << 31, 1 << 63, 0x7fff_ffff, u64::MAX >> 1, 0xffff_ffff, !0x7fff_ffff, 1 << 32])
            }
            5 => (self.bits() as u8).wrapping_sub(128) as i8 as u64,
            _ => self.bits(),
        }
    }

    fn number(&mut self, e: u64, f: u64) -> u64 {
        let (ones, bias) = ((1 << e) - 1, (1 << (e - 1)) - 1);
        let sign = self.below(2) << (e + f);
        if self.below(4) == 0 {
            let quiet = 1 << (f - 1);
            let special = [
                0,
                ones << f,
                ones << f | quiet,
                ones << f | quiet | self.bits() & (quiet - 1),
                ones << f | 1 | self.bits() & (quiet - 1),
                1,
                (1 << f) - 1,
                1 << f,
                (ones << f) - 1,
                bias << f,
            ];
            return sign | self.pick(&special);
        }
        let exponent = match self.below(6) {
            0 => self.pick(&[0, 1, 2, ones - 1, ones - 2]),
            1 | 2 => bias + self.below(5) - 2,
            3 => bias + self.pick(&[f, f - 1, f + 1, 7, 8, 15, 16, 31, 32, 63, 64, 30, 62]),
            4 => bias - self.below(bias),
            _ => self.below(ones),
        };
        let fraction = match self.below(5) {
            0 => 0,
            1 => (1 << f) - 1,
            2 => 1 << self.below(f),
            3 => ((1 << f) - 1) & !(1 << self.below(f)),
            _ => self.bits() & ((1 << f) - 1),
        };
        sign | exponent.min(ones - 1) << f | fraction
    }

    fn float(&mut self, format: char) -> u64 {
        let format = if self.one_in(8) { self.pick(&['h', 's', 'd', '?']) } else { format };
        match format {
            'h' => self.number(5, 10) | u64::MAX << 16,
            's' => self.number(8, 23) | u64::MAX << 32,
            'd' => self.number(11, 52),
            // Not a box: some bits above the number are 0.
            _ => {
                let (number, width) =
                    if self.one_in(2) { (self.number(5, 10), 16) } else { (self.number(8, 23), 32) };
                match self.below(3) {
                    0 => number,
                    1 => (number | u64::MAX << width) & !(1 << (width + self.below(64 - width))),
                    _ => self.bits(),
                }
            }
        }
    }
}
