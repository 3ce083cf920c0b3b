//! The virtio input device with one key, the power button: how a machine without ACPI is asked to switch itself off.
//!
//! What the driver reads of the device is chosen by two bytes that it writes ([`answer`]); what the key does goes to the driver
//! as events of Linux's input layer ([`Keys`]), and somebody outside presses it ([`Button`]).
//!
//! Sources: Virtual I/O Device (VIRTIO) Version 1.2, section 5.8; the numbers of events are those of Linux's
//! `include/uapi/linux/input-event-codes.h`, which the specification refers to.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod button;
mod config;
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod input_test;

pub use button::{Button, Keys};
pub use config::{answer, identity};
