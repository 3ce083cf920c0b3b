//! Fused multiply-add: one rounding for a product and a sum (754 section 5.4.1).

use crate::encoding::{normalize, zero_sum_negative};
use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::multiply::wide_product;
use crate::nan;
use crate::policy::Policy;
use crate::rounding::round;
use crate::word::{Integer, Word};

/// Which terms of a fused multiply-add are negated. NaN operands are not touched by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Negate {
    /// Negate the exact product.
    pub product: bool,
    /// Negate the addend.
    pub addend: bool,
}

/// `a × b + c` with one rounding.
#[inline]
#[must_use]
pub fn fma<F: Format, P: Policy>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    fma_negated::<F, P>(a, b, c, Negate::default(), mode, flags)
}

/// `± (a × b) ± c` with one rounding.
#[must_use]
pub fn fma_negated<F: Format, P: Policy>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    negate: Negate,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let (negative_c, c_magnitude) = F::split(c);
    let product_negative = (negative_a != negative_b) != negate.product;
    let addend_negative = negative_c != negate.addend;
    let (zero, infinity) = (F::Bits::ZERO, F::infinity());
    if a_magnitude >= infinity || b_magnitude >= infinity || c_magnitude >= infinity {
        return special::<F, P>(a, b, c, negate, flags);
    }
    if a_magnitude == zero || b_magnitude == zero {
        let cancels = c_magnitude == zero && product_negative != addend_negative;
        let negative = if cancels { zero_sum_negative(mode) } else { addend_negative };
        return F::join(negative, c_magnitude);
    }
    let (exponent, product) = wide_product::<F>(a_magnitude, b_magnitude);
    if c_magnitude == zero {
        return round::<F, P>(product_negative, exponent, F::Bits::narrow_jam(product), mode, flags);
    }
    let (c_exponent, c) = normalize::<F>(c_magnitude);
    let product = Term { negative: product_negative, exponent, significand: product };
    let addend = Term { negative: addend_negative, exponent: c_exponent, significand: c.widen_high() };
    let total = sum(product, addend, mode);
    if total.significand == <F::Bits as Word>::Wide::ZERO {
        return F::join(total.negative, zero);
    }
    let shift = total.significand.leading_zeros();
    let significand = F::Bits::narrow_jam(total.significand << shift);
    round::<F, P>(total.negative, total.exponent - shift as i32, significand, mode, flags)
}

struct Term<W> {
    negative: bool,
    /// The weight of the top bit of the significand is 2^exponent.
    exponent: i32,
    significand: W,
}

/// The sum of two terms whose significands have the top bit set and at least two spare bits at the bottom. It is not
/// normalized; its bit 0 is sticky.
#[inline]
fn sum<W: Integer>(x: Term<W>, y: Term<W>, mode: Round) -> Term<W> {
    let x_is_larger = (x.exponent, x.significand) >= (y.exponent, y.significand);
    let (large, small) = if x_is_larger { (x, y) } else { (y, x) };
    let distance = (large.exponent - small.exponent).unsigned_abs();
    let (exponent, significand) = (large.exponent + 1, large.significand >> 1);
    // One place for the carry of a sum: the lowest bit of a product is clear, so nothing is lost.
    // As in addition, the sticky bit cannot reach the bits that rounding sees: a distance of at most 1 is exact.
    let small_significand = (small.significand >> 1).shift_right_jam(distance);
    if large.negative == small.negative {
        return Term { negative: large.negative, exponent, significand: significand + small_significand };
    }
    let difference = significand - small_significand;
    let negative = if difference == W::ZERO { zero_sum_negative(mode) } else { large.negative };
    Term { negative, exponent, significand: difference }
}

/// Fused multiply-adds with an infinity or a NaN.
#[cold]
fn special<F: Format, P: Policy>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    negate: Negate,
    flags: &mut Flags,
) -> F::Bits {
    let (negative_a, a_magnitude) = F::split(a);
    let (negative_b, b_magnitude) = F::split(b);
    let (negative_c, c_magnitude) = F::split(c);
    let (zero, infinity) = (F::Bits::ZERO, F::infinity());
    let invalid_product =
        (a_magnitude == infinity && b_magnitude == zero) || (a_magnitude == zero && b_magnitude == infinity);
    if let Some(nan) = nan::propagate::<F, P, 3>([a, b, c], flags) {
        if invalid_product && P::INVALID_PRODUCT_PLUS_NAN {
            flags.raise(Flags::INVALID);
        }
        return nan;
    }
    let product_negative = (negative_a != negative_b) != negate.product;
    let addend_negative = negative_c != negate.addend;
    let product_infinite = a_magnitude == infinity || b_magnitude == infinity;
    let addend_infinite = c_magnitude == infinity;
    if invalid_product || (product_infinite && addend_infinite && product_negative != addend_negative) {
        nan::invalid::<F, P>(flags)
    } else if product_infinite {
        F::join(product_negative, infinity)
    } else {
        F::join(addend_negative, infinity)
    }
}
