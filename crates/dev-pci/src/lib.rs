//! PCI Express: functions, root ports and the root complex that leads to them.
//!
//! A model of a device implements [`PciDevice`] and knows its BARs and nothing more. [`PciFunction`] adds what all functions
//! have (configuration space, capabilities, INTx, MSI, MSI-X) and is an ordinary device in an ordinary slot. A
//! [`RootComplex`] has the slots and routes requests to them by what their registers say now.
//!
//! It knows no board and no bus: windows are targets that somebody maps.
//!
//! Sources: PCI Express Base Specification, revision 5.0 (sections cited without a title are its); PCI Local Bus
//! Specification 3.0; PCI-to-PCI Bridge Architecture Specification 1.2.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod bar;
mod capabilities;
mod complex;
mod decode;
mod device;
mod fields;
mod function;
mod header;
mod intx;
mod layout;
mod ports;
mod published;
mod routes;
mod space;
#[doc(hidden)]
pub mod specimen;
mod vectors;

#[cfg(test)]
mod complex_test;
#[cfg(test)]
mod function_test;
#[cfg(test)]
mod layout_test;
#[cfg(test)]
mod routes_test;

pub use bar::{Bar, BarKind};
pub use complex::{ComplexBuilder, Front, FunctionId, FunctionSlot, PlugError, RootComplex};
pub use decode::Space;
pub use device::{Description, Header, Identity, MsixPlace, PciDevice, Pin, VendorCapability};
pub use function::{PciFunction, saved};
pub use layout::Placement;
pub use ports::{HostBridge, RootPort, SUBSYSTEM, SUBSYSTEM_VENDOR, VENDOR};

#[doc(hidden)]
pub mod fuzz;
