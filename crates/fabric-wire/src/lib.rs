//! Interrupts as values: level wires, the pending word of a hart, and messages (MSI).
//!
//! This crate knows no device, no processor and no bus. A wire is driven by whoever owns it (a
//! device's slot); what it ends in is a [`Sink`]: an interrupt controller's input or a bit of a
//! hart's [`PendingWord`]. Wires form a directed acyclic graph, checked when a board is built, so a
//! sink may be driven while the driver's own lock is held: lock order is wire order.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod local;
mod pending;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use local::{LapicState, LocalController};
pub use pending::PendingWord;

use std::fmt;
use std::sync::Arc;

/// Where a wire ends.
pub trait Sink: Send + Sync {
    /// Sets the level of input `input`. Setting the level it already has is harmless.
    fn set(&self, input: u32, high: bool);
}

/// One interrupt wire: a sink and the number of the input it is soldered to.
#[derive(Clone)]
pub struct Wire {
    sink: Arc<dyn Sink>,
    input: u32,
}

impl Wire {
    /// A wire that ends in `input` of `sink`.
    pub fn new(sink: Arc<dyn Sink>, input: u32) -> Self {
        Wire { sink, input }
    }

    /// Drives the wire.
    pub fn set(&self, high: bool) {
        self.sink.set(self.input, high);
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire(input {})", self.input)
    }
}

/// A message-signalled interrupt: a 32-bit write to a message window, with who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Guest-physical address written (before any interrupt remapping).
    pub address: u64,
    /// The data written.
    pub data: u32,
    /// Requester: PCI segment/bus/device/function, or the platform device's number.
    pub requester: u32,
}

/// What takes messages: an interrupt remapper, an IMSIC, a local APIC.
pub trait MessageSink: Send + Sync {
    /// Delivers `message`; an address nobody listens on is dropped, as on a real fabric.
    fn deliver(&self, message: Message);
}
