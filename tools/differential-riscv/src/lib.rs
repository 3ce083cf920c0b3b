//! What RISC-V's comparisons share: Hostel's engines, QEMU as the other side, and what both machines have.
//!
//! Not part of the product.
#![forbid(unsafe_code)]

mod board;
mod engine;
mod qemu;

pub use board::{Finisher, features};
pub use engine::{Cpu, Engine};
pub use qemu::{CPU, Ended, Machine, SYSTEM, USER, missing};
