//! The virtio block device on a disk of the host's: requests are taken from the rings, their buffers become ranges of the RAM
//! arena, and the host's file is read straight into them and written straight from them.
//!
//! It works in two ways. With a queue of the disk's ([`host_disk::DiskQueue`]), a request is tried without waiting, and what would
//! wait is done elsewhere while others are taken. Without one, each is done before the next is looked at, for machines whose
//! runs are to be repeatable.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.2.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod backend;
mod config;
mod flight;
#[doc(hidden)]
pub mod fuzz;
mod request;

#[cfg(test)]
mod blk_test;
#[cfg(test)]
mod testkit;

pub use backend::{Blk, Trouble};
pub use config::{QUEUE_SIZE, identity};
