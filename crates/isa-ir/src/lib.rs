//! A small typed intermediate representation of guest code.
//!
//! A [`Block`] is a list of [`Node`]s; a [`Value`] is the place of the node that computes it. The
//! [`Builder`] is an [`isa_core::Machine`] whose values are nodes, so that running an instruction's
//! meaning on it leaves the instruction's IR. [`verify`] says whether a block is well formed, an
//! [`Evaluator`] runs it on a [`Target`], [`Passes`] make it smaller, and it has a text form that
//! [`parse`] reads back.
//!
//! This crate knows no instruction set: registers are (class, index), operations are numbers, and an
//! [`Isa`] says what they are called and what they touch. It knows no host either.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod block;
mod builder;
mod dead;
mod eval;
mod fold;
mod isa;
mod names;
mod node;
mod parse;
mod passes;
mod registers;
mod text;
mod verify;

pub use block::{Block, Limits};
pub use builder::{Builder, Going, Stop};
pub use eval::{Evaluator, Outcome, Target};
pub use isa::{Class, Effects, Holds, Isa, Parts, Type};
pub use node::{Node, Value};
pub use parse::{ParseError, Reason, parse};
pub use passes::Passes;
pub use verify::{Fault, verify};
