//! The SBI firmware that the VMM itself is when no M-mode firmware is given: it answers the `ecall`s of
//! S-mode.
//!
//! Pure logic: [`Sbi`] is shared by the threads of all harts and holds what the harts' registers do
//! not (hart states, firmware counters); everything outside comes in through [`Platform`] or goes out as
//! [`After`]. The source for all of it is the RISC-V Supervisor Binary Interface Specification, version
//! 3.0; [`EXTENSIONS`] lists its functions and which are answered, `docs/sbi.md` the choices made where
//! the text leaves one.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod boot;
mod console;
mod emulate;
mod error;
mod events;
#[doc(hidden)]
pub mod fake;
mod fence;
mod firmware;
pub mod fuzz;
mod harts;
mod hsm;
mod legacy;
mod platform;
mod pmu;
pub mod saved;
mod system;
mod table;

#[cfg(test)]
mod call_test;
#[cfg(test)]
mod legacy_test;
#[cfg(test)]
mod pmu_test;

pub use boot::{boot, own_timer, redirect_trap};
pub use emulate::emulate_counter;
pub use error::SbiError;
pub use events::FirmwareEvent;
pub use firmware::{After, IMPLEMENTATION_ID, Parked, Sbi};
pub use harts::{HartSet, MAX_HARTS};
pub use hsm::HartState;
pub use platform::{ConsoleError, Fence, NoMemory, Pages, Platform};
pub use system::{ResetKind, ResetReason};
pub use table::{EXTENSIONS, ExtensionRow, Function, FunctionRow, SPEC_VERSION, Version, extension};
