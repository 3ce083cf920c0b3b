//! What a processor is made of, and the two address spaces.

use crate::Vm;
use fabric_bus::Bus;
use fabric_clock::Clock;
use fabric_wire::{LocalController, PendingWord};
use isa_x86::State;
use std::sync::Arc;

/// What a processor is made of.
pub struct Config {
    /// Its number.
    pub id: u32,
    /// Initial state.
    pub state: State,
    /// The machine.
    pub vm: Arc<Vm>,
    /// Guest-physical memory: where accesses go that are none to RAM.
    pub memory: Arc<Bus>,
    /// The I/O ports.
    pub ports: Arc<Bus>,
    /// The local APIC, where the kernel has none ([`crate::Irqchip::User`]).
    pub local: Option<Arc<dyn LocalController>>,
    /// The machine's clock, which the time-stamp counter follows.
    pub clock: Arc<Clock>,
    /// Interrupt lines and requests.
    pub pending: Arc<PendingWord>,
}

/// An address space of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Guest-physical memory.
    Memory,
    /// I/O ports.
    Ports,
}
