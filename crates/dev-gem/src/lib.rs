//! The Cadence GEM, a gigabit network card, as SiFive's FU540-C000 has it, with the PHY behind it.
//!
//! [`Gem`] is the registers; [`Station`] moves frames between the rings in the guest's memory and a port of the host's.
//!
//! Sources: Xilinx UG1085, *Zynq UltraScale+ Device Technical Reference Manual*, chapter "GEM Ethernet", and UG1087, its
//! register reference; SiFive FU540-C000 Manual, chapter "Ethernet Subsystem"; IEEE 802.3 clause 22 for the PHY. What these
//! leave open is as Linux's driver `macb` takes it.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
mod attack_test;
mod checksum;
mod counters;
mod filter;
#[doc(hidden)]
pub mod fuzz;
mod gem;
#[cfg(test)]
mod gem_test;
mod phy;
mod receive;
mod registers;
mod ring;
mod saved;
mod station;
#[cfg(test)]
mod station_test;
#[doc(hidden)]
pub mod testkit;
mod transmit;

pub use gem::Gem;
pub use registers::{MANAGEMENT, Reg};
pub use saved::GemV1;
pub use station::{Front, Station};
