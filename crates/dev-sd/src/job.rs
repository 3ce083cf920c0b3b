//! What a card asks of whoever has its storage.

use serde::{Deserialize, Serialize};

/// One thing to do. Places and lengths are whole blocks of the card, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Read so many bytes.
    Read {
        /// From this offset on.
        at: u64,
        /// How many.
        len: u32,
    },
    /// Write these bytes.
    Write {
        /// At this offset.
        at: u64,
        /// What.
        bytes: Vec<u8>,
        /// All that was written so far must be on stable storage behind it.
        through: bool,
    },
    /// All that was written so far must be on stable storage.
    Flush,
    /// Make so many bytes read as zeroes, on stable storage.
    Erase {
        /// From this offset on.
        at: u64,
        /// How many.
        len: u64,
    },
}

/// A job, and by what its end is known: the end of one that the card has forgotten meanwhile is no other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub number: u64,
    /// It.
    pub job: Job,
}
