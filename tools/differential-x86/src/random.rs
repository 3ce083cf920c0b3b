//! Random numbers that are the same on every run, and values that instructions get wrong.

/// A generator (xorshift64*), seeded by two numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Random {
        // SplitMix64's finalizer: neighbouring seeds give unrelated states.
        let mut z = seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random((z ^ z >> 31) | 1)
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number less than `n`, which is less than 2^32.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((self.bits() >> 32) * n) >> 32
    }

    /// True once in `n` times.
    #[inline]
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`.
    #[inline]
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// An integer that is often near an edge of some width.
    pub fn integer(&mut self) -> u64 {
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
