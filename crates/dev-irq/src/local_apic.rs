//! A processor's way to its local APIC: [`LocalController`] over the slots of the devices.
//!
//! No two slots are locked at once here: an 8259 and an I/O APIC drive local APICs while they are
//! locked themselves, so nobody may ask them with an APIC's lock held.

use crate::lapic::Acknowledged;
use crate::lapic_state::Outgoing;
use crate::{ApicBus, I8259, Ioapic, Lapic};
use dev_core::Slot;
use fabric_wire::local::{Event, GeneralProtection};
use fabric_wire::{LapicState, LocalController};
use std::sync::Arc;

/// One processor's local APIC, with what it speaks to.
pub struct LocalApic {
    /// The APIC.
    pub apic: Arc<Slot<Lapic>>,
    /// The other local APICs.
    pub bus: Arc<ApicBus>,
    /// The 8259 pair, if the board has one.
    pub pic: Option<Arc<Slot<I8259>>>,
    /// The I/O APICs.
    pub ioapics: Vec<Arc<Slot<Ioapic>>>,
}

impl LocalApic {
    fn send(&self, outgoing: Option<Outgoing>) {
        match outgoing {
            None => {}
            Some(Outgoing::Eoi(vector)) => {
                self.ioapics.iter().for_each(|ioapic| ioapic.with(|d, _| d.end_of_interrupt(vector)));
            }
            Some(Outgoing::Ipi { interrupt, all_but_self }) => {
                self.bus.send(&interrupt, all_but_self.then_some(&self.apic));
            }
        }
    }
}

impl LocalController for LocalApic {
    fn read(&self, offset: u64, size: u8) -> u64 {
        self.apic.with(|d, now| d.read_page(offset, size, now))
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        let outgoing = self.apic.with(|d, now| d.write_page(offset, size, value, now));
        self.send(outgoing);
    }

    fn read_msr(&self, msr: u32) -> Result<u64, GeneralProtection> {
        self.apic.with(|d, now| d.read_msr(msr, now))
    }

    fn write_msr(&self, msr: u32, value: u64) -> Result<(), GeneralProtection> {
        let outgoing = self.apic.with(|d, now| d.write_msr(msr, value, now))?;
        self.send(outgoing);
        Ok(())
    }

    fn acknowledge(&self) -> Option<u8> {
        match self.apic.with(|d, now| d.acknowledge(now)) {
            Acknowledged::Nothing => None,
            Acknowledged::Vector(vector) => Some(vector),
            Acknowledged::External => self.pic.as_ref().map(|pic| pic.with(|d, _| d.acknowledge())),
        }
    }

    fn take_event(&self) -> Option<Event> {
        self.apic.with(|d, now| d.take_event(now))
    }

    fn cr8(&self) -> u8 {
        self.apic.with(|d, _| d.tpr() >> 4)
    }

    fn set_cr8(&self, value: u8) {
        self.apic.with(|d, _| d.set_tpr(value << 4));
    }

    fn apic_base(&self) -> u64 {
        self.apic.with(|d, _| d.apic_base())
    }

    fn set_apic_base(&self, value: u64) -> Result<(), GeneralProtection> {
        self.apic.with(|d, now| d.set_apic_base(value, now))
    }

    fn tsc_deadline(&self) -> u64 {
        self.apic.with(|d, now| d.tsc_deadline(now))
    }

    fn set_tsc_deadline(&self, value: u64) {
        self.apic.with(|d, now| d.set_tsc_deadline(value, now));
    }

    fn set_tsc_offset(&self, offset: u64) {
        self.apic.with(|d, now| d.set_tsc_offset(offset, now));
    }

    fn state(&self) -> LapicState {
        self.apic.with(|d, now| d.export(now))
    }

    fn set_state(&self, state: &LapicState) -> Result<(), GeneralProtection> {
        self.apic.with(|d, now| d.import(state, now))
    }
}

#[cfg(test)]
#[path = "local_apic_test.rs"]
mod tests;
