//! From magnitudes to normalized significands.

use crate::format::Format;
use crate::word::{Integer, Word};

/// The biased exponent of a magnitude.
#[inline]
pub(crate) fn biased_exponent<F: Format>(magnitude: F::Bits) -> i32 {
    (magnitude >> F::FRACTION_BITS).low_u64() as i32
}

/// Exponent and significand of a finite magnitude other than zero. The top bit of the significand is set; the number is
/// significand × 2^(exponent + 1 - word size).
#[inline]
pub(crate) fn normalize<F: Format>(magnitude: F::Bits) -> (i32, F::Bits) {
    let exponent = biased_exponent::<F>(magnitude);
    if exponent == 0 {
        return normalize_subnormal::<F>(magnitude);
    }
    // The shift leaves the fraction below the top bit, where the lowest exponent bit lands.
    let top = F::Bits::ONE << (F::Bits::BITS - 1);
    (exponent - F::BIAS, (magnitude << F::SPARE_BITS) | top)
}

#[cold]
fn normalize_subnormal<F: Format>(magnitude: F::Bits) -> (i32, F::Bits) {
    let shift = magnitude.leading_zeros().min(F::Bits::BITS - 1);
    // A subnormal's integer bit has the weight of the smallest normal number, and `SPARE_BITS` bits lie above it.
    (1 - F::BIAS + F::SPARE_BITS as i32 - shift as i32, magnitude << shift)
}

/// The sign of an exact zero sum of two numbers with different signs (754 section 6.3).
#[inline]
pub(crate) fn zero_sum_negative(round: crate::Round) -> bool {
    round == crate::Round::Down
}
