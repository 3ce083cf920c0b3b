//! The emitter of host code for x86-64: from the IR to bytes, in one pass.
//!
//! It knows no guest: a guest's registers are classes of the IR, a processor's state is a [`Layout`] of distances, and what
//! emitted code calls are addresses ([`Shared`]). It touches no executable memory either; whoever owns the code cache puts
//! the bytes there.
#![forbid(unsafe_code)]
#![allow(
    clippy::wrong_self_convention,
    reason = "names say what is emitted: from an integer, into a register"
)]

mod alu;
#[allow(clippy::useless_conversion, reason = "the assembler's macro converts numbers of registers")]
mod asm;
#[allow(clippy::useless_conversion, reason = "as there")]
mod asm_float;
#[allow(clippy::useless_conversion, reason = "as there")]
mod asm_memory;
mod atomic;
mod cold;
mod emit;
mod facts;
mod far;
mod float;
mod group;
mod layout;
mod memory;
mod near;
mod reg;
mod region;
mod scan;
mod shared;
mod system;
mod value;

pub(crate) use asm::{Alu, Cc, Rmi};
pub use asm_float::Sse;
pub use emit::{Code, Emitter, Link, Room, Whither};
pub use float::{Float, Operation};
pub use layout::{Info, Layout, Leave, NEAR_BANKS, NEAR_PAGES, REACH, Shared, Ways};
pub(crate) use reg::Xmm;
pub use region::Traces;
pub use scan::Modes;
pub use shared::{Helpers, SharedCode, shared};
pub use system::{Access, Register};
