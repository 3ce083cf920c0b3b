//! Boards as data: one description gives the address map, the wiring, the devicetree and the boot ROM.
//!
//! A [`board::Board`] says which devices sit where and which output drives which input. It builds no device and runs
//! nothing: whoever assembles a machine walks its rows. [`layout`] decides where in memory the boot files go, and
//! [`plan`] puts all of it together for one start of a machine.
//!
//! Known gaps:
//! - [`isa::Isa`] checks names and order, not that one extension implies another ("d" without "f" passes).
//! - A flat binary does not say how much memory it uses behind its last byte. What is placed next starts at the next
//!   multiple of 2 MiB for a kernel, but of 4 KiB for an initial RAM disk in a machine that is nearly full.
//! - The `virt` board has no performance-monitor node yet.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod board;
pub mod check;
pub mod core;
pub mod isa;
pub mod layout;
pub mod microvm;
mod pcie;
pub mod plan;
pub mod reset;
pub mod sifive_u;
pub mod size;
pub mod spike;
pub mod tree;
mod tree_fu540;
pub mod virt;
