//! Binary interchange formats: how sign, exponent and significand are laid out (754 section 3.4).

use crate::host::Host;
use crate::word::{Integer, Word};

/// A binary floating-point format.
///
/// Arithmetic sees an encoding as a sign and a *magnitude*: the biased exponent directly above the stored fraction,
/// without the integer bit. Magnitudes order as the numbers do, and adding one to a magnitude gives the next number.
/// A format which stores its integer bit (x87 extended) replaces [`split`](Format::split) and [`join`](Format::join).
///
/// This trait cannot be implemented outside of this crate.
pub trait Format: Host + Copy + 'static {
    /// The integer which holds an encoding, in its low bits, and in which significands are computed.
    type Bits: Word;

    /// Width of the exponent field, in bits.
    const EXPONENT_BITS: u32;
    /// Width of the trailing significand field, without the integer bit, in bits.
    const FRACTION_BITS: u32;

    /// Largest biased exponent, which infinities and NaNs have.
    const EXPONENT_MAX: i32 = (1 << Self::EXPONENT_BITS) - 1;
    /// Exponent bias; also the exponent of the largest finite numbers (`emax` in 754).
    const BIAS: i32 = Self::EXPONENT_MAX >> 1;
    /// Unused bits below a significand whose integer bit is the top bit of a word.
    const SPARE_BITS: u32 = <Self::Bits as Integer>::BITS - 1 - Self::FRACTION_BITS;

    /// Splits an encoding into sign and magnitude.
    #[inline]
    #[must_use]
    fn split(bits: Self::Bits) -> (bool, Self::Bits) {
        let sign = Self::sign_mask();
        (bits & sign == sign, bits & (sign - Self::Bits::ONE))
    }

    /// The encoding of a sign and a magnitude.
    #[inline]
    #[must_use]
    fn join(negative: bool, magnitude: Self::Bits) -> Self::Bits {
        if negative { Self::sign_mask() | magnitude } else { magnitude }
    }

    /// The sign bit in an encoding.
    #[inline]
    #[must_use]
    fn sign_mask() -> Self::Bits {
        Self::Bits::ONE << (Self::EXPONENT_BITS + Self::FRACTION_BITS)
    }

    /// The magnitude of the infinities; those above are NaNs.
    #[inline]
    #[must_use]
    fn infinity() -> Self::Bits {
        Self::Bits::from_u64(Self::EXPONENT_MAX as u64) << Self::FRACTION_BITS
    }

    /// The bit of a NaN's magnitude which tells a quiet one from a signaling one (754 section 6.2.1).
    #[inline]
    #[must_use]
    fn quiet_bit() -> Self::Bits {
        Self::Bits::ONE << (Self::FRACTION_BITS - 1)
    }
}

macro_rules! format {
    ($(#[$doc:meta])* $name:ident, $exponent:expr, $fraction:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;

        impl Format for $name {
            type Bits = u64;
            const EXPONENT_BITS: u32 = $exponent;
            const FRACTION_BITS: u32 = $fraction;
        }
    };
}

format!(
    /// binary16, "half precision".
    F16, 5, 10
);
format!(
    /// bfloat16: binary32 with the low 16 bits cut off.
    BF16, 8, 7
);
format!(
    /// binary32, "single precision".
    F32, 8, 23
);
format!(
    /// binary64, "double precision".
    F64, 11, 52
);
