//! The engine where there is no KVM for it: the same names, of which no value can exist.

use crate::{Config, Ioapic, Irqchip, KvmError, Offer, Pic, Space};
use engine_core::{Exit, Vcpu};
use fabric_bus::Bus;
use fabric_wire::{LapicState, PendingWord, Sink};
use isa_x86::State;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A machine's share of KVM: there is none on this host.
#[derive(Debug)]
pub enum Vm {}

/// A processor of KVM's: there is none on this host.
#[derive(Debug)]
pub enum KvmCpu {}

/// Asks for KVM.
///
/// # Errors
/// Always, on this host.
pub fn probe() -> Result<Offer, KvmError> {
    Err(KvmError::Absent)
}

/// Frequency of a guest's time-stamp counter.
///
/// # Errors
/// Always, on this host.
pub fn tsc_hz() -> Result<Option<u64>, KvmError> {
    Err(KvmError::Absent)
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in vm.rs; none of them can be called")]
impl Vm {
    pub fn new(_: &Bus, _: Irqchip) -> Result<Arc<Vm>, KvmError> {
        Err(KvmError::Absent)
    }

    pub fn irqchip(&self) -> Irqchip {
        match *self {}
    }

    pub fn offer(&self) -> &Offer {
        match *self {}
    }

    pub fn log_dirty(&self, _: bool) -> Result<(), KvmError> {
        match *self {}
    }

    pub fn collect_dirty(&self) -> Result<(), KvmError> {
        match *self {}
    }

    pub fn irqfd(&self, _: u32) -> Result<OwnedFd, KvmError> {
        match *self {}
    }

    pub fn ioeventfd(&self, _: Space, _: u64, _: u8, _: Option<u64>) -> Result<OwnedFd, KvmError> {
        match *self {}
    }

    pub fn pics(&self) -> Result<[Pic; 2], KvmError> {
        match *self {}
    }

    pub fn set_pics(&self, _: &[Pic; 2]) -> Result<(), KvmError> {
        match *self {}
    }

    pub fn ioapic(&self) -> Result<Ioapic, KvmError> {
        match *self {}
    }

    pub fn set_ioapic(&self, _: &Ioapic) -> Result<(), KvmError> {
        match *self {}
    }
}

impl Sink for Vm {
    fn set(&self, _: u32, _: bool) {
        match *self {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in cpu.rs; none of them can be called")]
impl KvmCpu {
    pub fn new(_: Config) -> Result<KvmCpu, KvmError> {
        Err(KvmError::Absent)
    }

    pub fn irqchip(&self) -> Irqchip {
        match *self {}
    }

    pub fn lapic(&self) -> Result<LapicState, KvmError> {
        match *self {}
    }

    pub fn set_lapic(&mut self, _: &LapicState) -> Result<(), KvmError> {
        match *self {}
    }
}

impl Vcpu for KvmCpu {
    type State = State;

    fn run(&mut self, _: u64) -> Exit {
        match *self {}
    }

    fn retired(&self) -> u64 {
        match *self {}
    }

    fn pending(&self) -> &Arc<PendingWord> {
        match *self {}
    }

    fn state(&self) -> &State {
        match *self {}
    }

    fn with_state(&mut self, _: &mut dyn FnMut(&mut State)) {
        match *self {}
    }

    fn flush_translations(&mut self, _: Option<u64>, _: Option<u16>) {
        match *self {}
    }

    fn flush_code(&mut self) {
        match *self {}
    }

    fn flush_pages(&mut self) {
        match *self {}
    }
}
