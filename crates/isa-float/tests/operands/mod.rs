//! Operands for tests: a seeded generator of encodings where floating-point arithmetic has its edges.

/// SplitMix64 (Steele, Lea and Flood, 2014): fixed seed, same run.
pub struct Generator(u64);

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number with few ones, or few zeros, or one run of ones, in its low `width` bits.
    fn sparse(&mut self, width: u32) -> u64 {
        let mask = (1_u64 << width) - 1;
        let mut bits = 0;
        for _ in 0..self.below(4) {
            bits |= 1 << self.below(u64::from(width));
        }
        let run = mask >> self.below(u64::from(width));
        mask & match self.below(4) {
            0 => bits,
            1 => !bits,
            2 => run ^ bits,
            _ => !run ^ bits,
        }
    }

    /// An encoding of the format with these field widths: zeros, subnormals, edges of the ranges and of integer formats,
    /// infinities, NaNs, sparse and dense significands, exponents of the whole range and near one.
    pub fn operand(&mut self, exponent_bits: u32, fraction_bits: u32) -> u64 {
        let exponent_max = (1_u64 << exponent_bits) - 1;
        let bias = exponent_max >> 1;
        let fraction_mask = (1_u64 << fraction_bits) - 1;
        let sign = (self.next() & 1) << (exponent_bits + fraction_bits);
        let near = |value: u64, by: u64| (value + by).saturating_sub(2);
        let magnitude = match self.below(32) {
            0 => 0,
            1 => exponent_max << fraction_bits,
            2 => (exponent_max << fraction_bits) | self.sparse(fraction_bits),
            3 => (exponent_max << fraction_bits) | (self.next() & fraction_mask),
            // Around the smallest normal, the largest finite and the smallest numbers, and one.
            4 | 5 => near(1 << fraction_bits, self.below(5)),
            6 => near((exponent_max << fraction_bits) - 3, self.below(5)),
            7 => self.below(4),
            8 => near(bias << fraction_bits, self.below(5)),
            9 | 10 => self.sparse(fraction_bits),
            11 => self.next() & fraction_mask,
            // Exponents just above the subnormals.
            12 => (self.below(4) << fraction_bits) | self.sparse(fraction_bits),
            13 => (self.below(u64::from(fraction_bits) + 4) << fraction_bits) | (self.next() & fraction_mask),
            // Exponents at the middle: products at the edge of the normals.
            14 | 15 => {
                let exponent = bias / 2 + self.below(5) - 2;
                (exponent << fraction_bits) | self.sparse(fraction_bits)
            }
            // The integers and their halves: one to 2^66, and a bit more or less.
            16..=18 => {
                let exponent = (bias + self.below(68)).saturating_sub(2).min(exponent_max - 1);
                near((exponent << fraction_bits) | self.sparse(fraction_bits), self.below(5))
            }
            19 => {
                let power = [31, 32, 63, 64][self.below(4) as usize];
                near((bias + power).min(exponent_max - 1) << fraction_bits, self.below(5))
            }
            // Exponents near one: cancellation.
            20..=23 => ((bias + self.below(8) - 4) << fraction_bits) | self.sparse(fraction_bits),
            24 | 25 => ((bias + self.below(4) - 2) << fraction_bits) | (self.next() & fraction_mask),
            26..=28 => (self.below(exponent_max) << fraction_bits) | self.sparse(fraction_bits),
            _ => (self.below(exponent_max) << fraction_bits) | (self.next() & fraction_mask),
        };
        sign | (magnitude & ((1 << (exponent_bits + fraction_bits)) - 1))
    }
}
