//! Threads that do I/O for devices: each sleeps until its bell rings or one of its descriptors is ready, and works then.
//!
//! It knows nothing of what the work is.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bell;
mod thread;

pub use bell::Bell;
pub use thread::{Thread, Wait, Work};
