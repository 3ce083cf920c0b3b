//! Multiplication (754 section 5.4.1).

use crate::encoding::normalize;
use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::nan;
use crate::policy::Policy;
use crate::rounding::round;
use crate::word::{Integer, Word};

/// `a × b`.
#[must_use]
pub fn mul<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let negative = negative_a != negative_b;
    if a_magnitude >= F::infinity() || b_magnitude >= F::infinity() {
        return special::<F, P>(a, b, flags);
    }
    if a_magnitude == F::Bits::ZERO || b_magnitude == F::Bits::ZERO {
        return F::join(negative, F::Bits::ZERO);
    }
    let (exponent, product) = wide_product::<F>(a_magnitude, b_magnitude);
    round::<F, P>(negative, exponent, F::Bits::narrow_jam(product), mode, flags)
}

/// The exact product of two finite magnitudes other than zero: its exponent, and its significand with the top bit set.
#[inline]
pub(crate) fn wide_product<F: Format>(a: F::Bits, b: F::Bits) -> (i32, <F::Bits as Word>::Wide) {
    let (a_exponent, a) = normalize::<F>(a);
    let (b_exponent, b) = normalize::<F>(b);
    let product = a.wide_product(b);
    // Factors in [1, 2) have a product in [1, 4).
    if product.leading_zeros() == 0 {
        (a_exponent + b_exponent + 1, product)
    } else {
        (a_exponent + b_exponent, product << 1)
    }
}

/// Products with an infinity or a NaN.
#[cold]
fn special<F: Format, P: Policy>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> F::Bits {
    if let Some(nan) = nan::propagate::<F, P, 2>([a, b], flags) {
        return nan;
    }
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    if a_magnitude == F::Bits::ZERO || b_magnitude == F::Bits::ZERO {
        nan::invalid::<F, P>(flags)
    } else {
        F::join(negative_a != negative_b, F::infinity())
    }
}
