//! Conversion between formats (754 section 5.4.2).

use crate::encoding::normalize;
use crate::flags::{Flags, Round};
use crate::format::Format;
use crate::nan;
use crate::policy::Policy;
use crate::rounding::round;
use crate::word::{Integer, Word};

/// `bits` of format `F` in format `G`, rounded if `G` is the narrower one.
#[inline]
#[must_use]
pub fn convert<F: Format, G: Format, P: Policy>(bits: F::Bits, mode: Round, flags: &mut Flags) -> G::Bits {
    let (negative, magnitude) = F::split(bits);
    if magnitude >= F::infinity() {
        return special::<F, G, P>(bits, flags);
    }
    if magnitude == F::Bits::ZERO {
        return G::join(negative, G::Bits::ZERO);
    }
    let (exponent, significand) = normalize::<F>(magnitude);
    let significand = G::Bits::from_high_jam(significand.to_high());
    round::<G, P>(negative, exponent, significand, mode, flags)
}

/// Infinities and NaNs. A propagated payload keeps its highest bits (Intel SDM volume 2, CVTSD2SS).
#[cold]
fn special<F: Format, G: Format, P: Policy>(bits: F::Bits, flags: &mut Flags) -> G::Bits {
    let Some(nan) = nan::propagate::<F, P, 1>([bits], flags) else {
        return G::join(F::split(bits).0, G::infinity());
    };
    if !P::PROPAGATES_NAN {
        return nan::default_nan::<G, P>();
    }
    let (negative, magnitude) = F::split(nan);
    // The quiet bit, the payload's highest, goes to the top; above it the exponent is shifted out.
    let payload = (magnitude << F::SPARE_BITS << 1).to_high() >> 1;
    G::join(negative, G::infinity() | (G::Bits::from_high_jam(payload) >> G::SPARE_BITS))
}
