//! Two engines in lock-step: the translator on the machine's devices and memory, the interpreter beside it on a memory of
//! its own, and a report of the first instruction after which they are not the same.
//!
//! Devices exist once. What they answered the one is given to the other, who must ask the same. Time is the machine's virtual
//! clock, which only follows the one; interrupts and timers reach both between the same two instructions. It knows no
//! device and no board, and nothing of how the other engine works but that it has an interpreter to fall back on.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod check;
mod compare;
mod explain;
mod memory;
mod pair;
mod report;
mod side;
mod tape;
mod trail;

pub use check::{Check, Options};
pub use side::Checked;
