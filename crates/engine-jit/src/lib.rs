//! The translator: riscv64 code as host code.
//!
//! An island of `unsafe`: it enters code that it has emitted, and that code calls back with a pointer to the processor.
//!
//! Guest code is interpreted until it has run a few times, then translated block by block. Blocks are found by their place in
//! RAM, so that they hold whatever address they are mapped at; they jump to one another directly where both are in one
//! page, through the jump table where not. What is rare is left to the interpreter, one instruction at a time.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod cache;
mod fence;
mod helpers;
mod jit;
mod join;
mod jumps;
mod layout;
mod operations;
mod perf_map;
mod places;
mod region;
mod system;
mod trace;
mod translate;
mod trial;

pub use cache::cache_size;
pub use jit::{Counts, Jit, Options};
pub use perf_map::PerfMap;
pub use region::Tiers;
pub use trial::trial;
