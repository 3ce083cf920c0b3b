//! Whole random programs for RV64 machines, and what comparisons of programs need: an assembler, random values.
//!
//! A program ([`Program`]) is a tree of functions, loops, branches and instructions that runs bare-metal in a slot of
//! RAM of its own, in M-, S- and U-mode and up to three address spaces, below a trap handler that steps over what
//! traps, mends pages, switches contexts and takes interrupts ([`runtime`]). It ends by itself. It is a function of its
//! seed, and can be made smaller piece by piece ([`shrink`]).
//!
//! What architecture leaves open is kept out: code that was changed without `fence.i`, page tables that were changed
//! without `sfence.vma`. Whoever runs a program by the rules gets the same result after every instruction.
#![forbid(unsafe_code)]

pub mod assembler;
mod draft;
mod draft_jumps;
mod draft_system;
mod emit;
pub mod layout;
mod memory;
mod op;
mod plain;
pub mod pte;
pub mod random;
mod registers;
mod runtime;
mod runtime_start;
pub mod shrink;
mod spaces;

pub use draft::{Profile, generate};
pub use emit::image;
pub use op::{Function, How, Op, Program};
pub use spaces::{Context, Spaces};
