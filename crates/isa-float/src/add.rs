//! Addition and subtraction (754 section 5.4.1).

use crate::encoding::{biased_exponent, zero_sum_negative};
use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::nan;
use crate::policy::Policy;
use crate::rounding::round;
use crate::word::Integer;

/// `a + b`.
#[inline]
#[must_use]
pub fn add<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    sum::<F, P>(a, b, false, mode, flags)
}

/// `a - b`.
#[inline]
#[must_use]
pub fn sub<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    sum::<F, P>(a, b, true, mode, flags)
}

/// Exponent and significand with the integer bit one below the top, so that a sum of two has room. Subnormal numbers and
/// zero keep the smallest exponent and a clear integer bit.
#[inline]
fn aligned<F: Format>(magnitude: F::Bits) -> (i32, F::Bits) {
    let exponent = biased_exponent::<F>(magnitude);
    let integer_bit = F::Bits::ONE << F::FRACTION_BITS;
    let fraction = magnitude & (integer_bit - F::Bits::ONE);
    let significand = if exponent == 0 { fraction } else { fraction | integer_bit };
    (exponent.max(1), significand << (F::SPARE_BITS - 1))
}

fn sum<F: Format, P: Policy>(
    a: F::Bits,
    b: F::Bits,
    negate_b: bool,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let negative_b = negative_b != negate_b;
    if a_magnitude >= F::infinity() || b_magnitude >= F::infinity() {
        return special::<F, P>(a, b, negate_b, flags);
    }
    let (negative, large, small) = if a_magnitude >= b_magnitude {
        (negative_a, a_magnitude, b_magnitude)
    } else {
        (negative_b, b_magnitude, a_magnitude)
    };
    let (exponent, large) = aligned::<F>(large);
    let (small_exponent, small) = aligned::<F>(small);
    let distance = (exponent - small_exponent).unsigned_abs();
    // A distance above 1 leaves a difference within one bit of normalized, and one spare bit above the sticky bit is all
    // that rounding needs; a distance of 0 or 1 loses nothing.
    let small = small.shift_right_jam(distance);
    let total = if negative_a == negative_b { large + small } else { large - small };
    if total == F::Bits::ZERO {
        let negative = if negative_a == negative_b { negative_a } else { zero_sum_negative(mode) };
        return F::join(negative, F::Bits::ZERO);
    }
    let shift = total.leading_zeros();
    round::<F, P>(negative, exponent - F::BIAS + 1 - shift as i32, total << shift, mode, flags)
}

/// Sums with an infinity or a NaN.
#[cold]
fn special<F: Format, P: Policy>(a: F::Bits, b: F::Bits, negate_b: bool, flags: &mut Flags) -> F::Bits {
    if let Some(nan) = nan::propagate::<F, P, 2>([a, b], flags) {
        return nan;
    }
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let negative_b = negative_b != negate_b;
    if a_magnitude != F::infinity() {
        F::join(negative_b, b_magnitude)
    } else if b_magnitude == F::infinity() && negative_a != negative_b {
        nan::invalid::<F, P>(flags)
    } else {
        F::join(negative_a, a_magnitude)
    }
}
