//! The virtio socket device: connections between programs of a guest and its host, without a network.
//!
//! The device speaks the packets of section 5.10 with the driver, counts credit in both directions, and moves bytes between the
//! driver's buffers and the host's ends of connections ([`host_vsock::Stream`]). What it keeps is bounded: so many connections, so many bytes of
//! each that the driver has sent and the host has not taken, and so many refusals that the driver has not fetched; before more of those
//! come to be, nothing more is taken from the driver.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.10.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod backend;
mod config;
mod connection;
mod credit;
#[doc(hidden)]
pub mod fuzz;
mod packet;
mod stage;

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod vsock_test;

pub use backend::{MOST_CONNECTIONS, Vsock};
pub use config::{FIRST_CID, identity};
pub use connection::BUFFER;
