//! What IEEE 754 leaves to an architecture.

/// When a result counts as tiny for the underflow flag (754 section 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tininess {
    /// If the result rounded as though the exponent had no bounds is below the smallest normal number.
    AfterRounding,
    /// If the exact result is below the smallest normal number.
    BeforeRounding,
}

/// The result of a conversion to an integer format which cannot represent the value (754 section 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidInteger {
    /// The nearest integer of the format; its largest for a NaN.
    Saturate,
    /// x86 "integer indefinite": the smallest signed integer, or the largest unsigned one.
    Indefinite,
}

/// The choices of an architecture.
pub trait Policy: Copy + 'static {
    /// When a result is tiny.
    const TININESS: Tininess;
    /// The sign of the NaN which invalid operations return.
    const DEFAULT_NAN_NEGATIVE: bool;
    /// Whether a NaN operand becomes the result, quieted, the first of them if there are several. Otherwise every
    /// NaN result is the default NaN.
    const PROPAGATES_NAN: bool;
    /// Whether infinity times zero plus a quiet NaN is an invalid operation (754 section 7.2 c lets either).
    const INVALID_PRODUCT_PLUS_NAN: bool;
    /// What a conversion to integer returns when it is invalid.
    const INVALID_INTEGER: InvalidInteger;
}

/// RISC-V: Unprivileged ISA, "F", sections "NaN Generation and Propagation", "Subnormal Arithmetic",
/// "Single-Precision Floating-Point Computational Instructions" and "Conversion and Move Instructions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiscV;

impl Policy for RiscV {
    const TININESS: Tininess = Tininess::AfterRounding;
    const DEFAULT_NAN_NEGATIVE: bool = false;
    const PROPAGATES_NAN: bool = false;
    const INVALID_PRODUCT_PLUS_NAN: bool = true;
    const INVALID_INTEGER: InvalidInteger = InvalidInteger::Saturate;
}

/// x86 SSE and later, all exceptions masked: Intel SDM volume 1, sections "Operating on SNaNs and QNaNs", "Numeric
/// Underflow Exception" (tiny after rounding), "Indefinites", and the rules for NaNs in fused multiply-add. The factors of
/// the latter are to be given in the order of the instruction's formula: `VFMADD213SD` is second × first + third.
/// Denormals-are-zero, flush-to-zero and the denormal-operand flag are not modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86;

impl Policy for X86 {
    const TININESS: Tininess = Tininess::AfterRounding;
    const DEFAULT_NAN_NEGATIVE: bool = true;
    const PROPAGATES_NAN: bool = true;
    const INVALID_PRODUCT_PLUS_NAN: bool = false;
    const INVALID_INTEGER: InvalidInteger = InvalidInteger::Indefinite;
}
