//! Devices of SiFive's FU540-C000 that are on no other chip. Each file is one device of the same shape:
//! registers, state, host side, device, saved state, tests.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod ccache;
mod gpio;
mod otp;
mod prci;
mod spi;
mod spi_saved;
#[cfg(test)]
mod spi_test;

pub use ccache::{Ccache, saved as ccache_saved};
pub use gpio::{Gpio, saved as gpio_saved};
pub use otp::{Otp, saved as otp_saved};
pub use prci::{Prci, saved as prci_saved};
pub use spi::{Spi, SpiConfig};
pub use spi_saved::SpiV1;

#[doc(hidden)]
pub mod fuzz;
