//! Time of day, power and reset, and the host-target interface of test programs. Each file is one
//! device of the same shape: registers, state, host side, device, tests.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod finisher;
mod goldfish_rtc;
mod htif;

pub use finisher::{Finisher, Outcome, saved as finisher_saved};
pub use goldfish_rtc::{GoldfishRtc, saved as goldfish_rtc_saved};
pub use htif::{Htif, Request, saved as htif_saved};

#[doc(hidden)]
pub mod fuzz;
