//! Proof that the generic operations carry the formats which do not fit 64 bits: binary128 and the x87 extended format on a
//! 128-bit word, against `rustc_apfloat`. Neither is in the product yet, and this 256-bit integer is not made for speed.

use core::ops::{Add, BitAnd, BitOr, Not, Shl, Shr, Sub};

use rustc_apfloat::ieee::{Double, Quad, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round as ApRound, StatusAnd};

use crate::format::{F64, Format};
use crate::host::Host;
use crate::word::{Integer, Word};
use crate::{Flags, RiscV, Round};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wide {
    high: u128,
    low: u128,
}

impl Add for Wide {
    type Output = Wide;
    fn add(self, other: Wide) -> Wide {
        let (low, carry) = self.low.overflowing_add(other.low);
        Wide { high: self.high + other.high + u128::from(carry), low }
    }
}

impl Sub for Wide {
    type Output = Wide;
    fn sub(self, other: Wide) -> Wide {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        Wide { high: self.high - other.high - u128::from(borrow), low }
    }
}

impl BitAnd for Wide {
    type Output = Wide;
    fn bitand(self, other: Wide) -> Wide {
        Wide { high: self.high & other.high, low: self.low & other.low }
    }
}

impl BitOr for Wide {
    type Output = Wide;
    fn bitor(self, other: Wide) -> Wide {
        Wide { high: self.high | other.high, low: self.low | other.low }
    }
}

impl Not for Wide {
    type Output = Wide;
    fn not(self) -> Wide {
        Wide { high: !self.high, low: !self.low }
    }
}

impl Shl<u32> for Wide {
    type Output = Wide;
    fn shl(self, count: u32) -> Wide {
        match count {
            0 => self,
            1..128 => Wide { high: self.high << count | self.low >> (128 - count), low: self.low << count },
            _ => Wide { high: self.low << (count - 128), low: 0 },
        }
    }
}

impl Shr<u32> for Wide {
    type Output = Wide;
    fn shr(self, count: u32) -> Wide {
        match count {
            0 => self,
            1..128 => Wide { high: self.high >> count, low: self.low >> count | self.high << (128 - count) },
            _ => Wide { high: 0, low: self.high >> (count - 128) },
        }
    }
}

impl Integer for Wide {
    const BITS: u32 = 256;
    const ZERO: Wide = Wide { high: 0, low: 0 };
    const ONE: Wide = Wide { high: 0, low: 1 };

    fn leading_zeros(self) -> u32 {
        if self.high == 0 { 128 + self.low.leading_zeros() } else { self.high.leading_zeros() }
    }
}

impl Word for u128 {
    type Wide = Wide;

    fn from_u64(value: u64) -> u128 {
        u128::from(value)
    }

    fn low_u64(self) -> u64 {
        self as u64
    }

    fn from_high_jam(value: u128) -> u128 {
        value
    }

    fn to_high(self) -> u128 {
        self
    }

    fn wide_product(self, other: u128) -> Wide {
        let half = |value: u128| (value >> 64, value & u128::from(u64::MAX));
        let ((a, b), (c, d)) = (half(self), half(other));
        let shifted = |value: u128| Wide { high: value >> 64, low: value << 64 };
        Wide { high: a * c, low: b * d } + shifted(a * d) + shifted(b * c)
    }

    fn widen_high(self) -> Wide {
        Wide { high: self, low: 0 }
    }

    fn narrow_jam(wide: Wide) -> u128 {
        wide.high | u128::from(wide.low != 0)
    }

    fn quotient(dividend: Wide, divisor: u128) -> (u128, bool) {
        let (mut rest, mut quotient) = (dividend, 0);
        for bit in (0..128).rev() {
            let part = Wide { high: 0, low: divisor } << bit;
            if part <= rest {
                rest = rest - part;
                quotient |= 1 << bit;
            }
        }
        (quotient, rest != Wide::ZERO)
    }

    fn root(square: Wide) -> (u128, bool) {
        let mut root = 0_u128;
        for bit in (0..128).rev() {
            let candidate = root | 1 << bit;
            if candidate.wide_product(candidate) <= square {
                root = candidate;
            }
        }
        (root, root.wide_product(root) != square)
    }
}

#[derive(Clone, Copy)]
struct F128;

impl Host for F128 {}

impl Format for F128 {
    type Bits = u128;
    const EXPONENT_BITS: u32 = 15;
    const FRACTION_BITS: u32 = 112;
}

/// The x87 extended format, which stores its integer bit (Intel SDM volume 1 section 4.2.2).
#[derive(Clone, Copy)]
struct X87;

impl Host for X87 {}

impl Format for X87 {
    type Bits = u128;
    const EXPONENT_BITS: u32 = 15;
    const FRACTION_BITS: u32 = 63;

    fn split(bits: u128) -> (bool, u128) {
        let fraction = bits & ((1 << 63) - 1);
        (bits >> 79 & 1 != 0, (bits >> 64 & 0x7fff) << 63 | fraction)
    }

    fn join(negative: bool, magnitude: u128) -> u128 {
        let (exponent, fraction) = (magnitude >> 63, magnitude & ((1 << 63) - 1));
        u128::from(negative) << 79 | exponent << 64 | u128::from(exponent != 0) << 63 | fraction
    }
}

const MODES: [(Round, ApRound); 5] = [
    (Round::NearestEven, ApRound::NearestTiesToEven),
    (Round::TowardZero, ApRound::TowardZero),
    (Round::Down, ApRound::TowardNegative),
    (Round::Up, ApRound::TowardPositive),
    (Round::NearestMaxMagnitude, ApRound::NearestTiesToAway),
];

struct Generator(u64);

impl Generator {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn operand<F: Format<Bits = u128>>(&mut self) -> u128 {
        let random = u128::from(self.next()) << 64 | u128::from(self.next());
        let fraction = match self.next() % 4 {
            0 => 0,
            1 => (1 << F::FRACTION_BITS) - 1,
            2 => 1 << (random as u32 % F::FRACTION_BITS),
            _ => random & ((1 << F::FRACTION_BITS) - 1),
        };
        let bias = F::BIAS as u64;
        let exponent = match self.next() % 16 {
            0 => 0,
            1 => 1 + self.next() % 120,
            2 => 2 * bias - self.next() % 4,
            3 => bias / 2 + self.next() % 4,
            4 => bias + self.next() % 66,
            5 => 2 * bias + 1,
            6 => self.next() % (2 * bias),
            _ => bias - 2 + self.next() % 5,
        };
        F::join(self.next() & 1 != 0, u128::from(exponent) << F::FRACTION_BITS | fraction)
    }
}

/// Compares values, and of the flags inexact and division by zero; the edges of overflow and underflow, where that crate
/// differs, are tested with the other formats, whose code is the same.
fn same<F: Format<Bits = u128>, A: Float>(name: &str, got: u128, flags: Flags, wanted: StatusAnd<A>) {
    if wanted.value.is_nan() {
        assert_eq!(got, crate::canonical_nan::<F>(), "{name}");
        return;
    }
    assert_eq!(got, wanted.value.to_bits(), "{name}");
    let expected = [rustc_apfloat::Status::INEXACT, rustc_apfloat::Status::DIV_BY_ZERO];
    let expected = expected.map(|status| wanted.status.contains(status));
    assert_eq!([Flags::INEXACT, Flags::DIVIDE_BY_ZERO].map(|flag| flags.contains(flag)), expected, "{name}");
}

fn check<F: Format<Bits = u128>, A: Float + FloatConvert<Double>>(seed: u64)
where
    Double: FloatConvert<A>,
{
    let mut generator = Generator(seed);
    for _ in 0..20_000 {
        let [a, b, c] = [0; 3].map(|_| generator.operand::<F>());
        let [x, y, z] = [a, b, c].map(A::from_bits);
        for (mode, round) in MODES {
            let name = format!("{a:#x} {b:#x} {c:#x} {mode:?}");
            let run = |operation: &dyn Fn(&mut Flags) -> u128| {
                let mut flags = Flags::NONE;
                (operation(&mut flags), flags)
            };
            for ((bits, flags), wanted) in [
                (run(&|f| crate::add::<F, RiscV>(a, b, mode, f)), x.add_r(y, round)),
                (run(&|f| crate::sub::<F, RiscV>(a, b, mode, f)), x.sub_r(y, round)),
                (run(&|f| crate::mul::<F, RiscV>(a, b, mode, f)), x.mul_r(y, round)),
                (run(&|f| crate::div::<F, RiscV>(a, b, mode, f)), x.div_r(y, round)),
                (run(&|f| crate::fma::<F, RiscV>(a, b, c, mode, f)), x.mul_add_r(y, z, round)),
            ] {
                same::<F, A>(&name, bits, flags, wanted);
            }
            // A square has its root, and there is none below the square of the next smaller number.
            let (square, square_flags) = run(&|f| crate::mul::<F, RiscV>(a, a, Round::Down, f));
            let (root, root_flags) = run(&|f| crate::sqrt::<F, RiscV>(square, mode, f));
            if square_flags == Flags::NONE && F::split(a).1 < F::infinity() {
                assert_eq!((F::split(root).1, root_flags), (F::split(a).1, Flags::NONE), "{name}");
            }
            let narrow = crate::convert::<F, F64, RiscV>(a, mode, &mut Flags::default());
            let wanted: StatusAnd<Double> = x.convert_r(round, &mut false);
            if !x.is_nan() {
                assert_eq!(u128::from(narrow), wanted.value.to_bits(), "{name}");
                let wide = run(&|f| crate::convert::<F64, F, RiscV>(narrow, mode, f));
                same::<F, A>(&name, wide.0, wide.1, wanted.value.convert_r(round, &mut false));
                let integer = crate::to_i64::<F, RiscV>(a, mode, &mut Flags::default());
                assert_eq!(i128::from(integer), x.to_i128_r(64, round, &mut false).value, "{name}");
            }
            let integer = run(&|f| crate::from_u64::<F, RiscV>(a as u64, mode, f));
            same::<F, A>(&name, integer.0, integer.1, A::from_u128_r(u128::from(a as u64), round));
        }
    }
}

#[test]
fn binary128() {
    check::<F128, Quad>(51);
}

#[test]
fn x87_extended() {
    check::<X87, X87DoubleExtended>(52);
}
