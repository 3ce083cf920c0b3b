//! Division and square root (754 section 5.4.1).

use crate::encoding::normalize;
use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::nan;
use crate::policy::Policy;
use crate::rounding::round;
use crate::word::{Integer, Word};

/// `a ÷ b`.
#[must_use]
pub fn div<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let negative = negative_a != negative_b;
    let zero = F::Bits::ZERO;
    if a_magnitude >= F::infinity() || b_magnitude >= F::infinity() || b_magnitude == zero {
        return special_quotient::<F, P>(a, b, flags);
    }
    if a_magnitude == zero {
        return F::join(negative, zero);
    }
    let (a_exponent, a) = normalize::<F>(a_magnitude);
    let (b_exponent, b) = normalize::<F>(b_magnitude);
    // Both significands are in [1, 2). Scaling the dividend by the word size, or one less, gives a quotient with its
    // top bit set.
    let (exponent, dividend) = if a < b {
        (a_exponent - b_exponent - 1, a.widen_high())
    } else {
        (a_exponent - b_exponent, a.widen_high() >> 1)
    };
    let (quotient, inexact) = F::Bits::quotient(dividend, b);
    round::<F, P>(negative, exponent, with_sticky(quotient, inexact), mode, flags)
}

/// Quotients with an infinity or a NaN, or by zero.
#[cold]
fn special_quotient<F: Format, P: Policy>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> F::Bits {
    if let Some(nan) = nan::propagate::<F, P, 2>([a, b], flags) {
        return nan;
    }
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let negative = negative_a != negative_b;
    let (zero, infinity) = (F::Bits::ZERO, F::infinity());
    if a_magnitude == infinity {
        if b_magnitude == infinity { nan::invalid::<F, P>(flags) } else { F::join(negative, infinity) }
    } else if b_magnitude == infinity {
        F::join(negative, zero)
    } else if a_magnitude == zero {
        nan::invalid::<F, P>(flags)
    } else {
        flags.raise(Flags::DIVIDE_BY_ZERO);
        F::join(negative, infinity)
    }
}

/// The square root of `a`.
#[must_use]
pub fn sqrt<F: Format, P: Policy>(a: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    let (negative, magnitude) = F::split(a);
    if negative || magnitude >= F::infinity() || magnitude == F::Bits::ZERO {
        return special_root::<F, P>(a, flags);
    }
    let (exponent, significand) = normalize::<F>(magnitude);
    // An even power of two leaves the root; the scaled radicand is at least a quarter of the wide range, so that the
    // root has its top bit set.
    let odd = exponent & 1 != 0;
    let radicand = significand.widen_high();
    let (root, inexact) = F::Bits::root(if odd { radicand } else { radicand >> 1 });
    round::<F, P>(false, exponent >> 1, with_sticky(root, inexact), mode, flags)
}

/// Square roots of zeros, infinities, NaNs and negative numbers.
#[cold]
fn special_root<F: Format, P: Policy>(a: F::Bits, flags: &mut Flags) -> F::Bits {
    if let Some(nan) = nan::propagate::<F, P, 1>([a], flags) {
        return nan;
    }
    let (negative, magnitude) = F::split(a);
    if negative && magnitude != F::Bits::ZERO {
        nan::invalid::<F, P>(flags)
    } else {
        F::join(negative, magnitude)
    }
}

#[inline]
fn with_sticky<W: Integer>(value: W, sticky: bool) -> W {
    if sticky { value | W::ONE } else { value }
}
