//! What the comparisons share: random numbers, patterns of names, how long to go on, and another program that is run
//! with a time limit.
//!
//! It knows no instruction set; not part of the product.
#![forbid(unsafe_code)]

mod bytes;
mod pattern;
mod peer;
mod random;
mod session;

pub use bytes::word_at;
pub use pattern::matches;
pub use peer::{OLDEST, Output, Peer, missing};
pub use random::Random;
pub use session::{Limit, MINUTES, exit_code};
