//! Interrupt controllers. Each file is one device of the same shape: registers, state, host side,
//! device, tests. What drives an input and where an output goes is the board's affair.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod aclint;
mod apic_bus;
mod i8259;
mod i8259_chip;
mod ioapic;
mod lapic;
mod lapic_saved;
mod lapic_state;
mod lapic_timer;
mod local_apic;
mod plic;

pub use aclint::{Aclint, MAX_HARTS, saved as aclint_saved};
pub use apic_bus::{ApicBus, BROADCAST, Delivery, Interrupt};
pub use i8259::{ELCR, I8259, MASTER, SLAVE, saved as i8259_saved};
pub use ioapic::{Ioapic, PINS, saved as ioapic_saved};
pub use lapic::{Acknowledged, Lapic};
pub use lapic_saved::LapicV1;
pub use lapic_state::{Config as LapicConfig, Outgoing};
pub use local_apic::LocalApic;
pub use plic::{MAX_CONTEXTS, MAX_SOURCES, Plic, saved as plic_saved};

#[doc(hidden)]
pub mod fuzz;
