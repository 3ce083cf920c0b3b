//! The integers that significands are computed in: a word, and a wide integer of twice its size.
//!
//! A word has at least four bits more than the precision of a format which uses it. `u64` with `u128` serves all formats up
//! to binary64. binary128 and the x87 extended format take `u128` with a 256-bit integer: `wide_test.rs` implements the two
//! traits so, and shows that nothing else is needed.

use core::fmt::Debug;
use core::ops::{Add, BitAnd, BitOr, Not, Shl, Shr, Sub};

/// An unsigned integer of fixed size. Shift counts are less than `BITS`.
pub trait Integer:
    Copy
    + Debug
    + Ord
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + Not<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// Size in bits.
    const BITS: u32;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// Number of zero bits above the highest one.
    fn leading_zeros(self) -> u32;

    /// Shifts right by any count; bit 0 of the result is also set if a one was shifted out ("sticky bit").
    #[inline]
    #[must_use]
    fn shift_right_jam(self, count: u32) -> Self {
        if count == 0 {
            self
        } else if count < Self::BITS {
            let lost = self << (Self::BITS - count);
            (self >> count) | if lost == Self::ZERO { Self::ZERO } else { Self::ONE }
        } else if self == Self::ZERO {
            Self::ZERO
        } else {
            Self::ONE
        }
    }
}

/// The integer which holds one encoding of a format, and its significand with the highest bit at the top.
pub trait Word: Integer {
    /// An integer of twice the size.
    type Wide: Integer;

    /// `value` in the low bits.
    fn from_u64(value: u64) -> Self;

    /// The low 64 bits.
    fn low_u64(self) -> u64;

    /// The highest bits of `value`; bit 0 also set if any bit was lost ("sticky bit").
    fn from_high_jam(value: u128) -> Self;

    /// The highest 128 bits, zeros below those of a smaller word. No word is larger.
    fn to_high(self) -> u128;

    /// The product.
    fn wide_product(self, other: Self) -> Self::Wide;

    /// `self` as the upper half of a wide integer whose lower half is zero.
    fn widen_high(self) -> Self::Wide;

    /// The upper half, bit 0 also set if the lower half is not zero ("sticky bit").
    fn narrow_jam(wide: Self::Wide) -> Self;

    /// Quotient, and whether there is a remainder. The caller ensures that `divisor` is not zero and that the quotient
    /// fits a word; it is truncated otherwise (and 0 with a remainder for a zero divisor).
    fn quotient(dividend: Self::Wide, divisor: Self) -> (Self, bool);

    /// The square root rounded down, and whether there is a remainder.
    fn root(square: Self::Wide) -> (Self, bool);
}

macro_rules! integer {
    ($type:ty) => {
        impl Integer for $type {
            const BITS: u32 = <$type>::BITS;
            const ZERO: Self = 0;
            const ONE: Self = 1;

            #[inline]
            fn leading_zeros(self) -> u32 {
                <$type>::leading_zeros(self)
            }
        }
    };
}
integer!(u64);
integer!(u128);

impl Word for u64 {
    type Wide = u128;

    #[inline]
    fn from_u64(value: u64) -> u64 {
        value
    }

    #[inline]
    fn low_u64(self) -> u64 {
        self
    }

    #[inline]
    fn from_high_jam(value: u128) -> u64 {
        Self::narrow_jam(value)
    }

    #[inline]
    fn to_high(self) -> u128 {
        self.widen_high()
    }

    #[inline]
    fn wide_product(self, other: u64) -> u128 {
        u128::from(self) * u128::from(other)
    }

    #[inline]
    fn widen_high(self) -> u128 {
        u128::from(self) << 64
    }

    #[inline]
    fn narrow_jam(wide: u128) -> u64 {
        (wide >> 64) as u64 | u64::from(wide as u64 != 0)
    }

    #[inline]
    fn quotient(dividend: u128, divisor: u64) -> (u64, bool) {
        let divisor = u128::from(divisor);
        let quotient = dividend.checked_div(divisor).unwrap_or(0);
        (quotient as u64, quotient * divisor != dividend)
    }

    #[inline]
    fn root(square: u128) -> (u64, bool) {
        let root = square.isqrt();
        (root as u64, root * root != square)
    }
}
