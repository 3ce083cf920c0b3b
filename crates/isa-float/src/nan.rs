//! NaN operands and NaN results (754 section 6.2).

use crate::flags::Flags;
use crate::format::Format;
use crate::policy::Policy;
use crate::word::Integer;

/// The quiet NaN with a clear sign and no payload: RISC-V's canonical NaN.
#[inline]
#[must_use]
pub fn canonical_nan<F: Format>() -> F::Bits {
    F::join(false, F::infinity() | F::quiet_bit())
}

/// The NaN which an invalid operation returns under a policy.
#[inline]
#[must_use]
pub fn default_nan<F: Format, P: Policy>() -> F::Bits {
    F::join(P::DEFAULT_NAN_NEGATIVE, F::infinity() | F::quiet_bit())
}

/// Whether a magnitude is that of a NaN.
#[inline]
pub(crate) fn magnitude_is_nan<F: Format>(magnitude: F::Bits) -> bool {
    magnitude > F::infinity()
}

/// Whether a magnitude is that of a signaling NaN.
#[inline]
pub(crate) fn magnitude_is_signaling<F: Format>(magnitude: F::Bits) -> bool {
    magnitude_is_nan::<F>(magnitude) && magnitude & F::quiet_bit() == F::Bits::ZERO
}

/// Raises invalid and returns the default NaN.
pub(crate) fn invalid<F: Format, P: Policy>(flags: &mut Flags) -> F::Bits {
    flags.raise(Flags::INVALID);
    default_nan::<F, P>()
}

/// The result of an operation with operands among which there may be NaNs; `None` if there is none. Raises invalid for
/// a signaling NaN.
pub(crate) fn propagate<F: Format, P: Policy, const N: usize>(
    operands: [F::Bits; N],
    flags: &mut Flags,
) -> Option<F::Bits> {
    let mut first = None;
    for bits in operands {
        let (negative, magnitude) = F::split(bits);
        if magnitude_is_signaling::<F>(magnitude) {
            flags.raise(Flags::INVALID);
        }
        if first.is_none() && magnitude_is_nan::<F>(magnitude) {
            first = Some(F::join(negative, magnitude | F::quiet_bit()));
        }
    }
    if P::PROPAGATES_NAN { first } else { first.map(|_| default_nan::<F, P>()) }
}
