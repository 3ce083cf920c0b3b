//! The one place where results are rounded: from an exact significand with sticky bit to an encoding and its flags.

use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::policy::{Policy, Tininess};
use crate::word::{Integer, Word};

/// A significand cut to a format's precision.
struct Cut<W> {
    /// The kept bits, integer bit included.
    kept: W,
    inexact: bool,
    /// Whether one unit in the last place is to be added to `kept`.
    increment: bool,
}

#[inline]
fn cut<F: Format>(negative: bool, significand: F::Bits, round: Round) -> Cut<F::Bits> {
    let zero = F::Bits::ZERO;
    let half = F::Bits::ONE << (F::SPARE_BITS - 1);
    let kept = significand >> F::SPARE_BITS;
    let rest = significand & ((half - F::Bits::ONE) | half);
    let odd = kept & F::Bits::ONE != zero;
    Cut { kept, inexact: rest != zero, increment: round.increments(negative, odd, rest, half, zero) }
}

/// Rounds ± `significand` × 2^(`exponent` + 1 - word size) to the format and raises overflow, underflow and inexact.
///
/// The top bit of `significand` is set. Its bit 0 may stand for any non-zero amount below it (sticky bit).
#[inline]
pub(crate) fn round<F: Format, P: Policy>(
    negative: bool,
    exponent: i32,
    significand: F::Bits,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    let biased = exponent + F::BIAS;
    if biased < 1 {
        return round_subnormal::<F, P>(negative, biased, significand, mode, flags);
    }
    if biased >= F::EXPONENT_MAX {
        return overflow::<F>(negative, mode, flags);
    }
    let cut = cut::<F>(negative, significand, mode);
    // The integer bit of `kept` adds one to the exponent field, as does the carry when all ones are rounded up.
    let mut magnitude = (F::Bits::from_u64(biased as u64 - 1) << F::FRACTION_BITS) + cut.kept;
    if cut.increment {
        magnitude = magnitude + F::Bits::ONE;
    }
    if cut.inexact {
        flags.raise(Flags::INEXACT);
        if magnitude >= F::infinity() {
            return overflow::<F>(negative, mode, flags);
        }
    }
    F::join(negative, magnitude)
}

/// `round` for exact results below the smallest normal number; `biased` is less than 1.
#[cold]
fn round_subnormal<F: Format, P: Policy>(
    negative: bool,
    biased: i32,
    significand: F::Bits,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    let denormalized = significand.shift_right_jam((1 - biased).unsigned_abs());
    let cut = cut::<F>(negative, denormalized, mode);
    let magnitude = if cut.increment { cut.kept + F::Bits::ONE } else { cut.kept };
    if cut.inexact {
        flags.raise(Flags::INEXACT);
        let tiny = match P::TININESS {
            Tininess::BeforeRounding => true,
            Tininess::AfterRounding => biased < 0 || !carries_when_rounded::<F>(negative, significand, mode),
        };
        if tiny {
            flags.raise(Flags::UNDERFLOW);
        }
    }
    F::join(negative, magnitude)
}

/// Whether rounding with all the format's precision gives the next power of two: that is how a result below the
/// smallest normal number is not tiny after rounding to an unbounded exponent.
fn carries_when_rounded<F: Format>(negative: bool, significand: F::Bits, mode: Round) -> bool {
    let cut = cut::<F>(negative, significand, mode);
    let all_ones = (F::Bits::ONE << F::FRACTION_BITS << 1) - F::Bits::ONE;
    cut.kept == all_ones && cut.increment
}

/// The result of an overflow (754 section 7.4).
#[cold]
fn overflow<F: Format>(negative: bool, mode: Round, flags: &mut Flags) -> F::Bits {
    flags.raise(Flags::OVERFLOW | Flags::INEXACT);
    let to_infinity = match mode {
        Round::NearestEven | Round::NearestMaxMagnitude => true,
        Round::TowardZero => false,
        Round::Down => negative,
        Round::Up => !negative,
    };
    let infinity = F::infinity();
    F::join(negative, if to_infinity { infinity } else { infinity - F::Bits::ONE })
}
