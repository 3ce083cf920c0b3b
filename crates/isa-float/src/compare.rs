//! Comparison, minimum and maximum, classification.

use core::cmp::Ordering;

use crate::encoding::biased_exponent;
use crate::flags::Flags;
use crate::format::Format;
use crate::nan::{self, magnitude_is_nan, magnitude_is_signaling};
use crate::policy::Policy;
use crate::word::Integer;

/// Whether `bits` is a NaN, quiet or signaling.
#[inline]
#[must_use]
pub fn is_nan<F: Format>(bits: F::Bits) -> bool {
    magnitude_is_nan::<F>(F::split(bits).1)
}

/// Whether `bits` is a signaling NaN.
#[inline]
#[must_use]
pub fn is_signaling_nan<F: Format>(bits: F::Bits) -> bool {
    magnitude_is_signaling::<F>(F::split(bits).1)
}

/// The order of two numbers, -0 before +0. Not meaningful for NaNs.
#[inline]
fn total_order<F: Format>(a: F::Bits, b: F::Bits) -> Ordering {
    let (negative_a, a) = F::split(a);
    let (negative_b, b) = F::split(b);
    match (negative_a, negative_b) {
        (false, false) => a.cmp(&b),
        (true, true) => b.cmp(&a),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// The order of two numbers, the zeros equal; `None` if there is a NaN.
#[inline]
fn relation<F: Format>(a: F::Bits, b: F::Bits) -> Option<Ordering> {
    let (a_magnitude, b_magnitude) = (F::split(a).1, F::split(b).1);
    if magnitude_is_nan::<F>(a_magnitude) || magnitude_is_nan::<F>(b_magnitude) {
        None
    } else if a_magnitude | b_magnitude == F::Bits::ZERO {
        Some(Ordering::Equal)
    } else {
        Some(total_order::<F>(a, b))
    }
}

/// Compares (754 section 5.11); `None` is "unordered". Invalid for a signaling NaN only.
#[inline]
#[must_use]
pub fn compare_quiet<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> Option<Ordering> {
    let relation = relation::<F>(a, b);
    if relation.is_none() && (is_signaling_nan::<F>(a) || is_signaling_nan::<F>(b)) {
        flags.raise(Flags::INVALID);
    }
    relation
}

/// Compares (754 section 5.11); `None` is "unordered". Invalid for any NaN.
#[inline]
#[must_use]
pub fn compare_signaling<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> Option<Ordering> {
    let relation = relation::<F>(a, b);
    if relation.is_none() {
        flags.raise(Flags::INVALID);
    }
    relation
}

/// `a = b`, quiet (RISC-V `feq`).
#[inline]
#[must_use]
pub fn eq<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> bool {
    compare_quiet::<F>(a, b, flags) == Some(Ordering::Equal)
}

/// `a < b`, signaling (RISC-V `flt`).
#[inline]
#[must_use]
pub fn lt<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> bool {
    compare_signaling::<F>(a, b, flags) == Some(Ordering::Less)
}

/// `a ≤ b`, signaling (RISC-V `fle`).
#[inline]
#[must_use]
pub fn le<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> bool {
    matches!(compare_signaling::<F>(a, b, flags), Some(Ordering::Less | Ordering::Equal))
}

/// `a < b`, quiet (RISC-V Zfa `fltq`).
#[inline]
#[must_use]
pub fn lt_quiet<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> bool {
    compare_quiet::<F>(a, b, flags) == Some(Ordering::Less)
}

/// `a ≤ b`, quiet (RISC-V Zfa `fleq`).
#[inline]
#[must_use]
pub fn le_quiet<F: Format>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> bool {
    matches!(compare_quiet::<F>(a, b, flags), Some(Ordering::Less | Ordering::Equal))
}

/// The smaller of `a` and `b`: `minimumNumber` of IEEE 754-2019 section 9.6, RISC-V `fmin` since "F" 2.2. -0 is less than
/// +0. A number is preferred to a NaN; a signaling NaN raises invalid even so. x86 `MINSD` is another operation.
#[inline]
#[must_use]
pub fn min<F: Format, P: Policy>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> F::Bits {
    choose::<F, P>(a, b, Ordering::Less, flags)
}

/// The larger of `a` and `b`: `maximumNumber`, otherwise as [`min`].
#[inline]
#[must_use]
pub fn max<F: Format, P: Policy>(a: F::Bits, b: F::Bits, flags: &mut Flags) -> F::Bits {
    choose::<F, P>(a, b, Ordering::Greater, flags)
}

#[inline]
fn choose<F: Format, P: Policy>(a: F::Bits, b: F::Bits, wanted: Ordering, flags: &mut Flags) -> F::Bits {
    let chosen = match (is_nan::<F>(a), is_nan::<F>(b)) {
        (false, false) => {
            if total_order::<F>(a, b) == wanted {
                a
            } else {
                b
            }
        }
        (a_is_nan, b_is_nan) => {
            let nan = nan::propagate::<F, P, 2>([a, b], flags);
            match (nan, a_is_nan, b_is_nan) {
                (Some(nan), true, true) => nan,
                (_, true, _) => b,
                _ => a,
            }
        }
    };
    let (negative, magnitude) = F::split(chosen);
    F::join(negative, magnitude)
}

/// The class of a number as RISC-V `fclass` gives it: one bit of ten (Unprivileged ISA, "F", "Floating-Point Classify
/// Instruction"). Bit 0 is minus infinity, up to 7 for plus infinity; 8 signaling NaN; 9 quiet NaN.
#[inline]
#[must_use]
pub fn classify<F: Format>(bits: F::Bits) -> u32 {
    let (negative, magnitude) = F::split(bits);
    if magnitude_is_nan::<F>(magnitude) {
        return if magnitude_is_signaling::<F>(magnitude) { 1 << 8 } else { 1 << 9 };
    }
    let from_positive_zero = if magnitude == F::infinity() {
        3
    } else if biased_exponent::<F>(magnitude) != 0 {
        2
    } else {
        u32::from(magnitude != F::Bits::ZERO)
    };
    // Classes are ordered as the numbers are, the two zeros in the middle at bits 3 and 4.
    if negative { 1 << (3 - from_positive_zero) } else { 1 << (4 + from_positive_zero) }
}
