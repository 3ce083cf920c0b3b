//! QEMU's firmware configuration device (fw_cfg) in its memory-mapped form: items that firmware asks for by key, or by
//! file name, byte by byte or by DMA.
//!
//! One file for each idea: the items (`items`), the registers and the transfers (`fw_cfg`), and what stands between them
//! and the bus (`front`). What the items say is their owner's business. None can be written: what QEMU takes back from its
//! firmware that way concerns ACPI and video, which no board here has.
//!
//! Source: QEMU, `docs/specs/fw_cfg.rst` ("QEMU Firmware Configuration (fw_cfg) Device").
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
mod attack_test;
mod front;
mod fw_cfg;
mod items;

pub use front::Front;
pub use fw_cfg::{FwCfg, saved};
pub use items::{Items, key};

#[doc(hidden)]
pub mod fuzz;
