//! Virtio devices: transports, virtqueues, and what serves them.
//!
//! A transport ([`Mmio`], [`Pci`]) is a device of registers like any other: it keeps what the driver has set up, and knows nothing of
//! rings. An [`Attendant`] takes the news from it, keeps the [`Queue`]s, and has a [`Backend`] do the work: on a thread of its
//! own, or, where a run is to be repeatable, in the thread of the processor that rang. It reaches the driver's memory through a
//! [`fabric_bus::Dma`] handle only.
//!
//! The rings are our own, not the `virtio-queue` crate's: that has no packed ring, and reaches memory by a trait of its own
//! in which neither an IOMMU of ours nor the dirty log has a place. What a driver gets wrong is a [`Broken`] queue: the
//! device then asks for a reset, and the machine goes on.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, OASIS Committee Specification 01.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod attendant;
mod attended;
mod chain;
mod common;
#[doc(hidden)]
pub mod fuzz;
#[doc(hidden)]
pub mod fuzz_driver;
mod fuzz_pci;
mod identity;
mod mmio;
mod news;
mod packed;
mod pci;
#[cfg(test)]
mod pci_attack_test;
mod pci_registers;
#[cfg(test)]
mod pci_test;
mod queue;
mod rng;
mod split;

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod ring_test;
#[cfg(any(test, feature = "testkit"))]
#[doc(hidden)]
#[allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "for tests"
)]
pub mod test_driver;
#[cfg(any(test, feature = "testkit"))]
#[doc(hidden)]
#[allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "for tests"
)]
pub mod testkit;
#[cfg(any(test, feature = "testkit"))]
#[doc(hidden)]
#[allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "for tests"
)]
pub mod testkit_pci;
#[cfg(test)]
mod transport_test;

pub use attendant::{Attendant, Backend, Desk, Watched};
pub use attended::{Attend, Attended, When};
pub use chain::{Chain, Span, cut, ranges};
pub use common::{Common, Transport};
pub use identity::{Answer, Identity};
pub use mmio::Mmio;
pub use news::{News, Written};
pub use pci::Pci;
pub use queue::{Position, Queue, Setup};
pub use rng::Rng;

use fabric_bus::DmaError;

/// Features that belong to queues and transports (section 6).
pub mod feature {
    /// VIRTIO_F_INDIRECT_DESC: descriptors may lead to tables of them.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// VIRTIO_F_EVENT_IDX: either side says at which buffer it wants to hear of it.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// VIRTIO_F_VERSION_1: by the specification, not as before it.
    pub const VERSION_1: u64 = 1 << 32;
    /// VIRTIO_F_RING_PACKED: virtqueues are packed.
    pub const RING_PACKED: u64 = 1 << 34;
    /// VIRTIO_F_RING_RESET: a virtqueue can be reset by itself.
    pub const RING_RESET: u64 = 1 << 40;
    /// What every device of ours offers.
    pub const USUAL: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1;
}

/// What a driver has done to a queue that a device cannot go on with, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl From<DmaError> for Broken {
    fn from(error: DmaError) -> Broken {
        match error {
            DmaError::Refused => Broken("memory that the IOMMU refuses"),
            DmaError::NotRam => Broken("memory that is not there"),
        }
    }
}
