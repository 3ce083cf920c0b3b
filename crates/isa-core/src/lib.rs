//! Everything an instruction may ask of whatever runs it, for any instruction set.
//!
//! The meaning of an instruction is one function, generic over [`Machine`]. With plain `u64` values
//! it is the interpreter; with IR values it is the translator's front end. This crate knows no
//! instruction set, no engine and no memory; it defines the value operations once ([`Bin::apply`],
//! [`Un::apply`]) so that interpreter, evaluator and constant folding cannot differ.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod access;
mod flags;
pub mod lanes;
mod machine;
mod sensitivity;
mod value;

pub use access::{AmoOp, Order, Width};
pub use flags::{Flag, FlagKind, LazyFlags};
pub use lanes::Shape;
pub use machine::Machine;
pub use sensitivity::{Sensitivity, Traps};
pub use value::{Bin, Un};
