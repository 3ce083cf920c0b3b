//! Interrupt controllers. Each file is one device of the same shape: registers, state, host side,
//! device, tests. What drives an input and where an output goes is the board's affair.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod aclint;
mod plic;

pub use aclint::{Aclint, MAX_HARTS, saved as aclint_saved};
pub use plic::{MAX_CONTEXTS, MAX_SOURCES, Plic, saved as plic_saved};

#[doc(hidden)]
pub mod fuzz;
