//! The virtio devices that carry a shared folder's requests: the file system device (virtio-fs, FUSE) and the 9P transport.
//!
//! Both take a request from a queue, hand its bytes to the process that serves the folder ([`Server`]), and give it back with
//! the bytes of the reply, whichever comes first. They understand neither: what differs is how the device describes itself, and
//! what an error looks like when there is nobody to give one ([`host_share::Protocol`]).
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.11 (file system device). The 9P transport has a number there
//! (section 5, device 9) and no section; its configuration space is that of Linux's include/uapi/linux/virtio_9p.h.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod carrier;
mod config;
mod failure;
#[doc(hidden)]
pub mod fuzz;
mod server;

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod carrier_test;
#[cfg(test)]
mod exercise_test;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "for tests")]
mod testkit;

pub use carrier::{Carrier, Patience};
pub use config::{MOST_TAG, identity};
pub use server::Server;
