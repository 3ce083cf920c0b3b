//! The virtio network device on ports of the host's: frames go from the driver's memory to the port and from the port into the
//! driver's memory in one system call each, without a copy of the device's own.
//!
//! A pair of queues belongs to a port ([`host_net::NetPort`]); a network that has several gives the device as many pairs.
//! What the driver takes of checksums and frames that are still to be cut is the port's to know, but is looked at once more
//! before a frame is given: what was on its way when that changed is lost, as on any network.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.1; the features of UDP segmentation are those of version 1.3.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod backend;
mod config;
mod control;
mod filter;
#[doc(hidden)]
pub mod fuzz;
mod receive;
mod transmit;

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod net_test;
#[cfg(test)]
mod testkit;

pub use backend::Net;
pub use config::{MOST_PAIRS, QUEUE_SIZE, identity};
