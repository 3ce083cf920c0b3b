//! CFI flash memory: banks of two 16-bit NOR flash chips side by side on a 32-bit bus.
//!
//! One file for each idea: the bits (`array`), what a chip says of itself (`query`), how a bank takes
//! commands (`bank`), and the device that joins the banks (`flash`). The device knows nothing of files:
//! what it holds lasts as long as the machine, unless its owner keeps what [`Flash::take_changes`] tells.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod array;
mod bank;
mod flash;
mod query;

pub use flash::{Flash, saved};
pub use query::BANK_BYTES;

#[doc(hidden)]
pub mod fuzz;
