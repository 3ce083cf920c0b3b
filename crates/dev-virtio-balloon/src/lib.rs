//! The virtio memory balloon: what a guest does not need of its memory goes back to the host.
//!
//! There are two ways. The device may ask for pages by their number, which the driver then puts into its *balloon* and uses no
//! more until it takes them out again, which it may do by itself before it runs out of memory (VIRTIO_BALLOON_F_DEFLATE_ON_OOM).
//! And the driver may *report* pages that are free just now (VIRTIO_BALLOON_F_REPORTING), which nobody has to ask for and which
//! it uses again without a word. Either way they are zeroes from then on, and memory of the host's once they are touched.
//!
//! A driver that gives away what it uses loses that, and nobody else does.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.5.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod backend;
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod balloon_test;
#[cfg(test)]
mod testkit;

pub use backend::{Balloon, identity};
