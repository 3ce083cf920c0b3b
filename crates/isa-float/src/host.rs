//! Operations which use the host's own arithmetic where value and flags are proved to be those of the soft forms.
//!
//! Rust's `f32` and `f64` arithmetic is that of 754 with round to nearest even; its flags cannot be read. So only that mode
//! comes here, and flags are found in this way:
//!
//! - A finite sum, product or root has no infinite or NaN operand, and neither has a finite quotient other than zero. Then
//!   there was no invalid operation, no division by zero and no overflow.
//! - A result of twice the smallest normal number or more was not tiny, before or after rounding: no underflow. A sum
//!   below that is exact anyhow, as both operands are multiples of the smallest subnormal number.
//! - Inexact is decided by the proof given at each function, and only if that flag is not set already.
//!
//! All else, special cases included, goes to the soft form; on 32-bit x86, whose compiled code may use the x87 unit with
//! its excess precision, everything does.

use crate::encoding::biased_exponent;
use crate::flags::{Flags, Round};
use crate::fma::Negate;
use crate::format::{BF16, F16, F32, F64, Format};
use crate::policy::Policy;
use crate::soft;
use crate::word::Word;

/// The host's arithmetic on a format's encodings. Its name is not public, which seals `Format`.
///
/// Each function gives the result rounded to nearest even and whether it is inexact, or `None` where one of these or the
/// absence of other flags is not proved. If `known` the inexact flag is set already, and what is said about it is without
/// meaning. Bits above the format are ignored.
pub trait Host {
    /// a + b.
    #[inline]
    fn host_add(_a: u64, _b: u64, _known: bool) -> Option<(u64, bool)> {
        None
    }

    /// a × b.
    #[inline]
    fn host_mul(_a: u64, _b: u64, _known: bool) -> Option<(u64, bool)> {
        None
    }

    /// a ÷ b.
    #[inline]
    fn host_div(_a: u64, _b: u64, _known: bool) -> Option<(u64, bool)> {
        None
    }

    /// The square root of a.
    #[inline]
    fn host_sqrt(_a: u64, _known: bool) -> Option<(u64, bool)> {
        None
    }

    /// a × b + c.
    #[inline]
    fn host_fma(_a: u64, _b: u64, _c: u64, _known: bool) -> Option<(u64, bool)> {
        None
    }
}

impl Host for F16 {}
impl Host for BF16 {}

macro_rules! host_arithmetic {
    ($format:ty, $float:ty, $bits:ty) => {
        /// Inexact by Knuth's TwoSum: the error of a sum is a floating-point number, and these operations find it without
        /// error as long as none overflows, which a sum below the largest power of two ensures.
        #[inline]
        fn host_add(a: u64, b: u64, known: bool) -> Option<(u64, bool)> {
            let (a, b) = (<$float>::from_bits(a as $bits), <$float>::from_bits(b as $bits));
            let sum = a + b;
            let bits = u64::from(sum.to_bits());
            if biased_exponent::<$format>(<$format>::split(bits).1) >= <$format>::EXPONENT_MAX - 1 {
                return None;
            }
            let b_part = sum - a;
            let a_part = sum - b_part;
            Some((bits, !known && (a - a_part) + (b - b_part) != 0.0))
        }

        #[inline]
        fn host_mul(a: u64, b: u64, known: bool) -> Option<(u64, bool)> {
            let product = <$float>::from_bits(a as $bits) * <$float>::from_bits(b as $bits);
            let product = safe::<$format>(u64::from(product.to_bits()))?;
            let inexact = known || product_is_inexact::<$format>(a, b, product)?;
            Some((product, inexact))
        }

        #[inline]
        fn host_div(a: u64, b: u64, known: bool) -> Option<(u64, bool)> {
            let quotient = <$float>::from_bits(a as $bits) / <$float>::from_bits(b as $bits);
            let quotient = safe::<$format>(u64::from(quotient.to_bits()))?;
            let inexact = known || quotient_is_inexact::<$format>(a, b, quotient)?;
            Some((quotient, inexact))
        }

        #[inline]
        fn host_sqrt(a: u64, known: bool) -> Option<(u64, bool)> {
            let root = safe::<$format>(u64::from(<$float>::from_bits(a as $bits).sqrt().to_bits()))?;
            let inexact = known || root_is_inexact::<$format>(a, root)?;
            Some((root, inexact))
        }
    };
}

#[cfg(target_arch = "x86")]
impl Host for F32 {}
#[cfg(target_arch = "x86")]
impl Host for F64 {}

#[cfg(not(target_arch = "x86"))]
impl Host for F32 {
    host_arithmetic!(F32, f32, u32);

    /// In binary64 the product of two binary32 numbers is exact, and TwoSum finds the error of the sum. The sum is then
    /// rounded to odd instead: if it is inexact its last bit is set, by a step from an even neighbour towards the exact sum.
    /// Rounding that to binary32 rounds the exact sum, as 53 bits are at least two more than 24 (Boldo and Melquiond,
    /// "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
    #[inline]
    fn host_fma(a: u64, b: u64, c: u64, _known: bool) -> Option<(u64, bool)> {
        let [a, b, c] = [a, b, c].map(|bits| f64::from(f32::from_bits(bits as u32)));
        let product = a * b;
        let sum = product + c;
        let c_part = sum - product;
        let product_part = sum - c_part;
        let error = (product - product_part) + (c - c_part);
        let mut odd = sum.to_bits();
        if error != 0.0 && odd & 1 == 0 {
            // Away from zero if the error has the sign of the sum.
            let outward = (error > 0.0) == (sum > 0.0);
            odd = if outward { odd.wrapping_add(1) } else { odd.wrapping_sub(1) };
        }
        let result = f64::from_bits(odd) as f32;
        let inexact = error != 0.0 || f64::from(result) != sum;
        Some((safe::<F32>(u64::from(result.to_bits()))?, inexact))
    }
}

#[cfg(not(target_arch = "x86"))]
impl Host for F64 {
    host_arithmetic!(F64, f64, u64);

    /// Where it is one instruction: without one, `mul_add` is a library call and slower than integers.
    #[cfg(any(target_arch = "aarch64", target_feature = "fma"))]
    #[inline]
    fn host_fma(a: u64, b: u64, c: u64, known: bool) -> Option<(u64, bool)> {
        if !known {
            return None;
        }
        let result = f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c));
        Some((safe::<F64>(result.to_bits())?, true))
    }
}

/// A result, if it is finite and was not tiny.
#[inline]
fn safe<F: Format<Bits = u64>>(bits: u64) -> Option<u64> {
    let exponent = biased_exponent::<F>(F::split(bits).1);
    (exponent >= 2 && exponent < F::EXPONENT_MAX).then_some(bits)
}

/// The biased exponent, and the significand as an integer; `None` for subnormal numbers and zeros.
#[inline]
fn normal_parts<F: Format<Bits = u64>>(bits: u64) -> Option<(i32, u64)> {
    let magnitude = F::split(bits).1;
    let exponent = biased_exponent::<F>(magnitude);
    let integer_bit = 1_u64 << F::FRACTION_BITS;
    (exponent != 0).then_some((exponent, (magnitude & (integer_bit - 1)) | integer_bit))
}

/// Significands of p bits have a product of 2p - 1 or 2p bits, which the exponents tell; it is exact if the zeros at its end,
/// as many as at the ends of both factors, leave at most p. A carry by rounding makes the count one too large, where it is
/// above p already.
#[inline]
fn product_is_inexact<F: Format<Bits = u64>>(a: u64, b: u64, product: u64) -> Option<bool> {
    let (a_exponent, a) = normal_parts::<F>(a)?;
    let (b_exponent, b) = normal_parts::<F>(b)?;
    let exponent = biased_exponent::<F>(F::split(product).1);
    let carry = exponent - a_exponent - b_exponent + F::BIAS;
    let zeros = (a.trailing_zeros() + b.trailing_zeros()) as i32;
    Some(zeros < F::FRACTION_BITS as i32 + carry)
}

/// Exact if a × 2^k = b × q in the integers that the significands are. Both sides differ by less than b, because q is at most
/// one half off, so that their low 64 bits tell.
#[inline]
fn quotient_is_inexact<F: Format<Bits = u64>>(a: u64, b: u64, quotient: u64) -> Option<bool> {
    let (a_exponent, a) = normal_parts::<F>(a)?;
    let (b_exponent, b) = normal_parts::<F>(b)?;
    let (exponent, quotient) = normal_parts::<F>(quotient)?;
    let scale = a_exponent - b_exponent - exponent + F::BIAS + F::FRACTION_BITS as i32;
    Some(a.wrapping_shl(scale.unsigned_abs()) != b.wrapping_mul(quotient))
}

/// Exact if a × 2^k = r² in the integers that the significands are. Both sides differ by less than 2r, because r is at most
/// one half off, so that their low 64 bits tell.
#[inline]
fn root_is_inexact<F: Format<Bits = u64>>(a: u64, root: u64) -> Option<bool> {
    let (a_exponent, a) = normal_parts::<F>(a)?;
    let (exponent, root) = normal_parts::<F>(root)?;
    let scale = a_exponent - 2 * exponent + F::BIAS + F::FRACTION_BITS as i32;
    Some(a.wrapping_shl(scale.unsigned_abs()) != root.wrapping_mul(root))
}

#[inline]
fn deliver<W: Word>((bits, inexact): (u64, bool), flags: &mut Flags) -> W {
    if inexact {
        flags.raise(Flags::INEXACT);
    }
    W::from_u64(bits)
}

/// `a + b`.
#[inline]
#[must_use]
pub fn add<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    if mode == Round::NearestEven
        && let Some(sum) = F::host_add(a.low_u64(), b.low_u64(), flags.contains(Flags::INEXACT))
    {
        return deliver(sum, flags);
    }
    soft::add::<F, P>(a, b, mode, flags)
}

/// `a - b`.
#[inline]
#[must_use]
pub fn sub<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    if mode == Round::NearestEven {
        let (negative_b, b_magnitude) = F::split(b);
        let minus_b = F::join(!negative_b, b_magnitude);
        let known = flags.contains(Flags::INEXACT);
        if let Some(difference) = F::host_add(a.low_u64(), minus_b.low_u64(), known) {
            return deliver(difference, flags);
        }
    }
    soft::sub::<F, P>(a, b, mode, flags)
}

/// `a × b`.
#[inline]
#[must_use]
pub fn mul<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    if mode == Round::NearestEven
        && let Some(product) = F::host_mul(a.low_u64(), b.low_u64(), flags.contains(Flags::INEXACT))
    {
        return deliver(product, flags);
    }
    soft::mul::<F, P>(a, b, mode, flags)
}

/// `a ÷ b`.
#[inline]
#[must_use]
pub fn div<F: Format, P: Policy>(a: F::Bits, b: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    if mode == Round::NearestEven
        && let Some(quotient) = F::host_div(a.low_u64(), b.low_u64(), flags.contains(Flags::INEXACT))
    {
        return deliver(quotient, flags);
    }
    soft::div::<F, P>(a, b, mode, flags)
}

/// The square root of `a`.
#[inline]
#[must_use]
pub fn sqrt<F: Format, P: Policy>(a: F::Bits, mode: Round, flags: &mut Flags) -> F::Bits {
    if mode == Round::NearestEven
        && let Some(root) = F::host_sqrt(a.low_u64(), flags.contains(Flags::INEXACT))
    {
        return deliver(root, flags);
    }
    soft::sqrt::<F, P>(a, mode, flags)
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
#[inline]
#[must_use]
pub fn fma_negated<F: Format, P: Policy>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    negate: Negate,
    mode: Round,
    flags: &mut Flags,
) -> F::Bits {
    if mode == Round::NearestEven {
        let (negative_a, a_magnitude) = F::split(a);
        let (negative_c, c_magnitude) = F::split(c);
        let signed_a = F::join(negative_a != negate.product, a_magnitude);
        let signed_c = F::join(negative_c != negate.addend, c_magnitude);
        let known = flags.contains(Flags::INEXACT);
        if let Some(result) = F::host_fma(signed_a.low_u64(), b.low_u64(), signed_c.low_u64(), known) {
            return deliver(result, flags);
        }
    }
    soft::fma_negated::<F, P>(a, b, c, negate, mode, flags)
}
