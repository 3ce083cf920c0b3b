//! An SD memory card in SPI mode, and what joins it to a host's disk.
//!
//! [`Card`] is what is behind a chip select: a byte in, a byte out, and jobs for whoever has the storage. [`Storage`] does
//! these on a disk. It knows nothing of the controller in front of it.
//!
//! Source: SD Specifications, Part 1, Physical Layer Simplified Specification 6.00; chapter 7 is "SPI Mode".
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
mod attack_test;
mod card;
#[cfg(test)]
mod card_test;
mod command;
mod crc;
mod data;
mod identity;
mod job;
mod saved;
mod storage;
#[cfg(test)]
mod testkit;

pub use card::Card;
pub use crc::crc7 as checksum;
pub use identity::{Identity, SizeError};
pub use job::{Job, Wanted};
pub use saved::CardV1;
pub use storage::{Storage, Trouble};

/// Bytes of a block: what every command that moves data counts (section 4.3.2, for high and extended capacity).
pub const BLOCK: usize = 512;
