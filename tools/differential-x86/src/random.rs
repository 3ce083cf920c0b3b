//! Values that instructions get wrong.

pub use differential_core::Random;

/// Values for registers and memory.
pub trait Values {
    /// An integer that is often near an edge of some width.
    fn integer(&mut self) -> u64;
}

impl Values for Random {
    fn integer(&mut self) -> u64 {
        const EDGES: &[u64] = &[
            0x80,
            0x7f,
            0xff,
            0x8000,
            0x7fff,
            0xffff,
            0x8000_0000,
            0x7fff_ffff,
            0xffff_ffff,
            1 << 63,
            u64::MAX >> 1,
            u64::MAX,
            0x8080_8080_8080_8080,
            0x5555_5555_5555_5555,
        ];
        match self.below(8) {
            0 => self.below(5).wrapping_sub(2),
            1 => (1u64 << self.below(64)).wrapping_add(self.below(3)).wrapping_sub(1),
            2 => self.bits() as i32 as u64,
            3 => self.bits() >> self.below(64),
            4 => self.pick(EDGES).wrapping_add(self.below(3)).wrapping_sub(1),
            _ => self.bits(),
        }
    }
}
