//! The interpreter: a decoded-block cache in front of the meanings, a software TLB in front of the
//! page-table walk. The reference engine, and the fallback on any host.
//!
//! Guest code is decoded once, block by block (up to a branch, an instruction that may change the
//! context, the end of the page, or a limit), into a run of `Op`s. Each op calls the meaning of its
//! instruction, instantiated for `Cpu`, and then its successor in the block, so there is no central
//! dispatch. Blocks are found by virtual address and context, else by physical address.
//!
//! It knows no device and no board: everything that is not RAM goes over the bus. Self-modifying
//! code follows the architecture: stores become visible to fetches at `fence.i` (or its remote
//! form), when every block compares itself with memory before it runs again.
#![forbid(unsafe_code)]

mod access;
mod blocks;
mod build;
mod context;
mod cpu;
mod environment;
mod handlers;
mod interp;
mod look;
mod machine;
mod mark;
mod native;
mod share;
mod translate;
mod trap;

pub use context::{Entered, FP, FRM, LINEAR};
pub use cpu::{Cpu, PAGES, Reservation, Stop};
pub use interp::{Config, Interp};
pub use mark::Mark;
pub use native::{JUMP_TURN, JUMPS, Jump, NEAR, NEAR_BANKS, Native};
pub use translate::Place;
pub use trap::Traps;
