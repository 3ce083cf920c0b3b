//! Time of day, power and reset, and the host-target interface of test programs. Each file is one
//! device of the same shape: registers, state, host side, device, tests.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod cmos;
mod cmos_date;
mod debug_exit;
mod finisher;
mod goldfish_rtc;
mod htif;
mod i8042;
mod i8254;
mod i8254_counter;
mod pm1_control;
mod reset_control;

pub use cmos::{Cmos, saved as cmos_saved};
pub use debug_exit::{DebugExit, saved as debug_exit_saved};
pub use finisher::{Finisher, Outcome, saved as finisher_saved};
pub use goldfish_rtc::{GoldfishRtc, saved as goldfish_rtc_saved};
pub use htif::{Htif, Request, saved as htif_saved};
pub use i8042::{I8042, saved as i8042_saved};
pub use i8254::{I8254, PORT61, TIMER, saved as i8254_saved};
pub use pm1_control::{Pm1Control, saved as pm1_control_saved};
pub use reset_control::{ResetControl, saved as reset_control_saved};

#[doc(hidden)]
pub mod fuzz;
