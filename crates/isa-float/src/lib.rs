//! Binary floating-point arithmetic of guest processors: IEEE 754-2008 results and exception flags, bit for bit.
//!
//! Every operation is a function generic over a [`Format`] (how a number is laid out) and a [`Policy`] (what the
//! standard leaves to the architecture: NaN results, tininess, integer overflow). Values are raw encodings in the low
//! bits of the format's word, bits above the format are ignored in operands and zero in results; NaN-boxing and
//! register files are the caller's. Flags accumulate in a [`Flags`], which has the layout of RISC-V `fflags`.
//!
//! The functions at the top of this crate may compute on the host's own floating-point unit where the value and every
//! flag are proved the same (see `host.rs` for the proofs). [`soft`] has the forms which use integers only; they
//! are the reference for the others, and right even where the host's rounding mode is not the default.
//!
//! This crate knows nothing about registers, instructions, traps or control registers.
//!
//! Sources: IEEE 754-2008 ("754" in comments), IEEE 754-2019 where RISC-V asks for it, RISC-V Unprivileged ISA
//! chapters "F", "D" and "Zfh", Intel SDM volume 1 chapter 4.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod add;
mod compare;
mod convert;
mod divide;
mod encoding;
mod flags;
mod fma;
mod format;
mod host;
mod integer;
mod multiply;
mod nan;
mod policy;
mod rounding;
#[cfg(test)]
mod wide_test;
mod word;

pub use compare::{
    classify, compare_quiet, compare_signaling, eq, is_nan, is_signaling_nan, le, le_quiet, lt, lt_quiet,
    max, min,
};
pub use convert::convert;
pub use flags::{Flags, Round};
pub use fma::Negate;
pub use format::{BF16, F16, F32, F64, Format};
pub use host::{add, div, fma, fma_negated, mul, sqrt, sub};
pub use integer::{
    from_i32, from_i64, from_u32, from_u64, round_to_integral, round_to_integral_exact, to_i32, to_i64,
    to_u32, to_u64,
};
pub use nan::{canonical_nan, default_nan};
pub use policy::{InvalidInteger, Policy, RiscV, Tininess, X86};
pub use word::{Integer, Word};

/// The operations on integers alone, without the host's floating-point unit.
pub mod soft {
    pub use crate::add::{add, sub};
    pub use crate::divide::{div, sqrt};
    pub use crate::fma::{fma, fma_negated};
    pub use crate::multiply::mul;
}
