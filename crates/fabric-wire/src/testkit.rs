//! Local APICs for the tests of engines: one that says nothing, and one that says what it is told.

use crate::local::{Event, GeneralProtection, apic_base, line};
use crate::{LapicState, LocalController, PendingWord};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// IA32_APIC_BASE after reset, of the bootstrap processor.
const BASE: u64 = apic_base::DEFAULT_ADDRESS | apic_base::ENABLE | apic_base::BSP;

/// A local APIC that reads as 0, has no MSRs and never interrupts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl LocalController for Silent {
    fn read(&self, _: u64, _: u8) -> u64 {
        0
    }
    fn write(&self, _: u64, _: u8, _: u64) {}
    fn read_msr(&self, _: u32) -> Result<u64, GeneralProtection> {
        Err(GeneralProtection)
    }
    fn write_msr(&self, _: u32, _: u64) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }
    fn acknowledge(&self) -> Option<u8> {
        None
    }
    fn take_event(&self) -> Option<Event> {
        None
    }
    fn cr8(&self) -> u8 {
        0
    }
    fn set_cr8(&self, _: u8) {}
    fn apic_base(&self) -> u64 {
        BASE
    }
    fn set_apic_base(&self, _: u64) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }
    fn tsc_deadline(&self) -> u64 {
        0
    }
    fn set_tsc_deadline(&self, _: u64) {}
    fn set_tsc_offset(&self, _: u64) {}
    fn state(&self) -> LapicState {
        LapicState { apic_base: BASE, ..LapicState::default() }
    }
    fn set_state(&self, _: &LapicState) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }
}

/// A local APIC that hands out the vectors and events posted to it, keeps CR8 and IA32_APIC_BASE, and remembers what was
/// written to its page.
#[derive(Debug)]
pub struct Scripted {
    pending: Arc<PendingWord>,
    /// Vectors to hand out, first the front one.
    pub vectors: Mutex<VecDeque<u8>>,
    /// Events to hand out, in the order of posting.
    pub events: Mutex<VecDeque<Event>>,
    /// CR8.
    pub cr8: Mutex<u8>,
    /// IA32_APIC_BASE.
    pub base: Mutex<u64>,
    /// Writes to the page: offset, size, value.
    pub writes: Mutex<Vec<(u64, u8, u64)>>,
}

/// A test that died while it held a lock has told so already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bit(event: Event) -> u64 {
    1 << match event {
        Event::Nmi => line::NMI,
        Event::Init => line::INIT,
        Event::Sipi(_) => line::SIPI,
    }
}

impl Scripted {
    /// The one that reads as this, or-ed with the offset and with the size from bit 12 on.
    pub const READS: u64 = 0xa91c_0000;
    /// The one MSR that can be read (the x2APIC's number), and what it says.
    pub const MSR: (u32, u64) = (0x802, 7);
    /// A write here (the low half of the interrupt command register) posts the vector in its low byte.
    pub const COMMAND: u64 = 0x300;

    /// One that drives its lines into `pending`.
    pub fn new(pending: Arc<PendingWord>) -> Scripted {
        Scripted {
            pending,
            vectors: Mutex::default(),
            events: Mutex::default(),
            cr8: Mutex::default(),
            base: Mutex::new(BASE),
            writes: Mutex::default(),
        }
    }

    /// Has one more vector to deliver.
    pub fn post(&self, vector: u8) {
        lock(&self.vectors).push_back(vector);
        self.pending.raise(1 << line::INTR);
    }

    /// Has one more event.
    pub fn post_event(&self, event: Event) {
        lock(&self.events).push_back(event);
        self.pending.raise(bit(event));
    }
}

impl LocalController for Scripted {
    fn read(&self, offset: u64, size: u8) -> u64 {
        Scripted::READS | offset | u64::from(size) << 12
    }
    fn write(&self, offset: u64, size: u8, value: u64) {
        lock(&self.writes).push((offset, size, value));
        if offset == Scripted::COMMAND {
            self.post(value as u8);
        }
    }
    fn read_msr(&self, msr: u32) -> Result<u64, GeneralProtection> {
        let (number, value) = Scripted::MSR;
        if msr == number { Ok(value) } else { Err(GeneralProtection) }
    }
    fn write_msr(&self, _: u32, _: u64) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }
    fn acknowledge(&self) -> Option<u8> {
        let mut vectors = lock(&self.vectors);
        let vector = vectors.pop_front();
        if vectors.is_empty() {
            self.pending.lower(1 << line::INTR);
        }
        vector
    }
    fn take_event(&self) -> Option<Event> {
        let mut events = lock(&self.events);
        let event = events.pop_front();
        let left = events.iter().fold(0, |all, event| all | bit(*event));
        self.pending.lower(line::EVENTS & !left);
        event
    }
    fn cr8(&self) -> u8 {
        *lock(&self.cr8)
    }
    fn set_cr8(&self, value: u8) {
        *lock(&self.cr8) = value;
    }
    fn apic_base(&self) -> u64 {
        *lock(&self.base)
    }
    fn set_apic_base(&self, value: u64) -> Result<(), GeneralProtection> {
        *lock(&self.base) = value;
        Ok(())
    }
    fn tsc_deadline(&self) -> u64 {
        0
    }
    fn set_tsc_deadline(&self, _: u64) {}
    fn set_tsc_offset(&self, _: u64) {}
    fn state(&self) -> LapicState {
        LapicState { apic_base: self.apic_base(), ..LapicState::default() }
    }
    fn set_state(&self, state: &LapicState) -> Result<(), GeneralProtection> {
        if state.nmi {
            self.post_event(Event::Nmi);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_high_while_there_is_something() {
        let pending = Arc::new(PendingWord::new());
        let local = Scripted::new(Arc::clone(&pending));
        local.post(0x40);
        local.write(Scripted::COMMAND, 4, 0x41);
        local.post_event(Event::Sipi(9));
        local.post_event(Event::Nmi);
        assert_eq!(pending.load(), 1 << line::INTR | 1 << line::SIPI | 1 << line::NMI);
        assert_eq!((local.acknowledge(), local.take_event()), (Some(0x40), Some(Event::Sipi(9))));
        assert_eq!(pending.load(), 1 << line::INTR | 1 << line::NMI);
        assert_eq!((local.acknowledge(), local.take_event()), (Some(0x41), Some(Event::Nmi)));
        assert_eq!(pending.load(), 0);
        assert_eq!((local.acknowledge(), local.take_event()), (None, None));
    }
}
