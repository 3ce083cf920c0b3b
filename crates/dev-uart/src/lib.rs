//! UARTs. Each file is one device of the same shape: registers, state, host side, device, tests.
//!
//! A model knows no terminal and no socket: what the guest sends is drained, what it is to receive is
//! fed, by an adapter outside. Characters are whole bytes on a line that is never noisy and whose two
//! ends always agree on speed and format.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod ns16550;
mod pci_serial;
mod sifive;

pub use ns16550::{Config as Ns16550Config, Ns16550, saved as ns16550_saved};
pub use pci_serial::PciSerial;
pub use sifive::{Pace as SifivePace, SifiveUart, saved as sifive_saved};

#[doc(hidden)]
pub mod fuzz;
