//! What the comparisons share: random numbers, patterns of names, and another program that is run with a time limit.
//!
//! It knows no instruction set; not part of the product.
#![forbid(unsafe_code)]

mod pattern;
mod peer;
mod random;

pub use pattern::matches;
pub use peer::{OLDEST, Output, Peer, missing};
pub use random::Random;
