//! Conversion to and from integers, and rounding to an integral value (754 sections 5.4.1, 5.8 and 5.3.1).

use crate::encoding::normalize;
use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::nan;
use crate::policy::{InvalidInteger, Policy};
use crate::rounding::round;
use crate::word::{Integer, Word};

/// An integer rounded from a number: sign, magnitude, and whether it differs from the number.
struct Rounded {
    negative: bool,
    /// `None` if it is 2^64 or larger, or the number is an infinity or a NaN.
    magnitude: Option<u64>,
    inexact: bool,
    nan: bool,
}

#[inline]
fn rounded<F: Format>(bits: F::Bits, mode: Round) -> Rounded {
    let (negative, magnitude) = F::split(bits);
    if magnitude == F::Bits::ZERO {
        return Rounded { negative, magnitude: Some(0), inexact: false, nan: false };
    }
    let (exponent, significand) = normalize::<F>(magnitude);
    if magnitude >= F::infinity() || exponent >= 64 {
        let nan = nan::magnitude_is_nan::<F>(magnitude);
        return Rounded { negative, magnitude: None, inexact: false, nan };
    }
    let word = F::Bits::BITS as i32;
    // The integer part; and the fraction, whose half is the top bit, with sticky bit.
    let (whole, fraction) = if exponent < 0 {
        (0, significand.shift_right_jam((-1 - exponent).unsigned_abs()))
    } else {
        let whole = significand >> (word - 1 - exponent).unsigned_abs();
        let below =
            if exponent + 1 < word { significand << (exponent + 1).unsigned_abs() } else { F::Bits::ZERO };
        (whole.low_u64(), below)
    };
    let (zero, half) = (F::Bits::ZERO, F::Bits::ONE << (F::Bits::BITS - 1));
    let increment = mode.increments(negative, whole & 1 != 0, fraction, half, zero);
    let magnitude = whole.checked_add(u64::from(increment));
    Rounded { negative, magnitude, inexact: fraction != zero, nan: false }
}

/// Converts to an integer format with the given bounds, and gives it as a 64-bit two's complement number.
#[inline]
fn to_integer<F: Format, P: Policy>(
    bits: F::Bits,
    minimum_magnitude: u64,
    maximum: u64,
    mode: Round,
    flags: &mut Flags,
) -> u64 {
    let rounded = rounded::<F>(bits, mode);
    let bound = if rounded.negative { minimum_magnitude } else { maximum };
    match rounded.magnitude {
        Some(magnitude) if magnitude <= bound => {
            if rounded.inexact {
                flags.raise(Flags::INEXACT);
            }
            if rounded.negative { magnitude.wrapping_neg() } else { magnitude }
        }
        _ => {
            // Invalid replaces inexact (RISC-V "F", "Conversion and Move Instructions"; 754 section 7.2 g).
            flags.raise(Flags::INVALID);
            match P::INVALID_INTEGER {
                InvalidInteger::Saturate if rounded.negative && !rounded.nan => {
                    minimum_magnitude.wrapping_neg()
                }
                InvalidInteger::Indefinite if minimum_magnitude != 0 => minimum_magnitude.wrapping_neg(),
                _ => maximum,
            }
        }
    }
}

/// Converts to a signed 32-bit integer (RISC-V `fcvt.w`).
#[inline]
#[must_use]
pub fn to_i32<F: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> i32 {
    to_integer::<F, P>(bits, 1 << 31, i32::MAX as u64, mode, flags) as i32
}

/// Converts to an unsigned 32-bit integer (RISC-V `fcvt.wu`, which then sign-extends it).
#[inline]
#[must_use]
pub fn to_u32<F: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> u32 {
    to_integer::<F, P>(bits, 0, u64::from(u32::MAX), mode, flags) as u32
}

/// Converts to a signed 64-bit integer (RISC-V `fcvt.l`).
#[inline]
#[must_use]
pub fn to_i64<F: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> i64 {
    to_integer::<F, P>(bits, 1 << 63, i64::MAX as u64, mode, flags) as i64
}

/// Converts to an unsigned 64-bit integer (RISC-V `fcvt.lu`).
#[inline]
#[must_use]
pub fn to_u64<F: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> u64 {
    to_integer::<F, P>(bits, 0, u64::MAX, mode, flags)
}

#[inline]
fn from_integer<F: Format, P: Policy>(
    negative: bool,
    magnitude: u64,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    if magnitude == 0 {
        return F::Bits::ZERO;
    }
    let shift = magnitude.leading_zeros();
    let significand = F::Bits::from_high_jam(u128::from(magnitude << shift) << 64);
    round::<F, P>(negative, 63 - shift as i32, significand, mode, flags)
}

/// Converts from a signed 32-bit integer.
#[inline]
#[must_use]
pub fn from_i32<F: Format, P: Policy>(value: i32, mode: Round, flags: &mut Flags) -> F::Bits {
    from_integer::<F, P>(value < 0, u64::from(value.unsigned_abs()), mode, flags)
}

/// Converts from an unsigned 32-bit integer.
#[inline]
#[must_use]
pub fn from_u32<F: Format, P: Policy>(value: u32, mode: Round, flags: &mut Flags) -> F::Bits {
    from_integer::<F, P>(false, u64::from(value), mode, flags)
}

/// Converts from a signed 64-bit integer.
#[inline]
#[must_use]
pub fn from_i64<F: Format, P: Policy>(value: i64, mode: Round, flags: &mut Flags) -> F::Bits {
    from_integer::<F, P>(value < 0, value.unsigned_abs(), mode, flags)
}

/// Converts from an unsigned 64-bit integer.
#[inline]
#[must_use]
pub fn from_u64<F: Format, P: Policy>(value: u64, mode: Round, flags: &mut Flags) -> F::Bits {
    from_integer::<F, P>(false, value, mode, flags)
}

/// Rounds to an integral value in the same format; never inexact (RISC-V Zfa `fround`, x86 `ROUNDSD` with the precision
/// exception suppressed). A zero result keeps the sign.
#[must_use]
pub fn round_to_integral<F: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    integral::<F, P>(bits, mode, flags).0
}

/// Rounds to an integral value in the same format; inexact if it differs (RISC-V Zfa `froundnx`).
#[must_use]
pub fn round_to_integral_exact<F: Format, P: Policy>(
    bits: F::Bits,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    let (integral, inexact) = integral::<F, P>(bits, mode, flags);
    if inexact {
        flags.raise(Flags::INEXACT);
    }
    integral
}

fn integral<F: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> (F::Bits, bool) {
    let (negative, magnitude) = F::split(bits);
    if let Some(nan) = nan::propagate::<F, P, 1>([bits], flags) {
        return (nan, false);
    }
    let (zero, one) = (F::Bits::ZERO, F::Bits::ONE);
    let one_magnitude = F::Bits::from_u64(F::BIAS as u64) << F::FRACTION_BITS;
    if magnitude < one_magnitude {
        if magnitude == zero {
            return (F::join(negative, zero), false);
        }
        // Magnitudes order as numbers do, and that of one half is the next smaller power of two.
        let half = one_magnitude - (one << F::FRACTION_BITS);
        let increment = mode.increments(negative, false, magnitude, half, zero);
        return (F::join(negative, if increment { one_magnitude } else { zero }), true);
    }
    let exponent = crate::encoding::biased_exponent::<F>(magnitude) - F::BIAS;
    let fraction_bits = F::FRACTION_BITS as i32 - exponent;
    if fraction_bits <= 0 {
        return (F::join(negative, magnitude), false);
    }
    let unit = one << fraction_bits.unsigned_abs();
    let rest = magnitude & (unit - one);
    let whole = magnitude - rest;
    // For numbers from 1 to 2 this is the lowest exponent bit: set like the integer bit, as every bias is odd.
    let odd = whole & unit != zero;
    let increment = mode.increments(negative, odd, rest, unit >> 1, zero);
    (F::join(negative, if increment { whole + unit } else { whole }), rest != zero)
}
