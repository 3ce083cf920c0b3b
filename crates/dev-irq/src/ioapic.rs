//! I/O APIC: 24 inputs, each with a redirection entry that says whom it interrupts and how.
//!
//! Sources: Intel 82093AA datasheet (290566-001, 1996), chapter 3 "Register Description"; the EOI
//! register of its successors from Intel I/O Controller Hub 9 (316972), "EOIR - EOI Register". The
//! version register says 0x20, which tells software of that register.
//!
//! Interrupts leave as messages in the form of MSI, so that they take the same way, through the same
//! remapping, as those of devices. Wires carry assertion, not voltage: the polarity bit is stored, and
//! an input that is driven high is asserted whatever it says.

use crate::apic_bus::message;
use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;
use fabric_wire::Message;

// ---- registers ----

registers! {
    /// Offsets from the base address.
    pub enum Reg {
        0x00 Select RW { index: 7..0 }
        0x10 Window RW {}
        0x40 Eoi WO { vector: 7..0 }
    }
}
registers! {
    /// Registers behind the window, by index; those of an entry are its two halves.
    pub enum Index {
        0x00 Id RW { id: 27..24 }
        0x01 Version RO { version: 7..0, last_entry: 23..16 }
        0x02 Arbitration RO { id: 27..24 }
        0x10 Entry[48; 1] RW {
            vector: 7..0, delivery: 10..8, logical: 11..11, status: 12..12, polarity: 13..13,
            remote_irr: 14..14, level: 15..15, mask: 16..16, destination: 63..56
        }
    }
}

/// Bytes the device occupies.
const SIZE: u64 = 0x1000;
/// Inputs.
pub const PINS: usize = 24;
/// Bits of an entry that software writes.
const WRITABLE: u64 = Entry::FIELDS & !(Entry::mask::remote_irr | Entry::mask::status);

// ---- state ----

#[derive(Clone, Debug, PartialEq)]
struct State {
    id: u32,
    select: u8,
    entries: [u64; PINS],
    /// Levels at the inputs.
    lines: u32,
    /// Rising edges that have not been sent.
    edges: u32,
}

impl State {
    fn new() -> Self {
        State { id: 0, select: 0, entries: [Entry::mask::mask; PINS], lines: 0, edges: 0 }
    }

    /// Whether an entry is level-triggered: fixed and lowest priority only, as the other modes are
    /// edges "even if programmed as level" (3.2.4, "Delivery Mode").
    fn is_level(entry: u64) -> bool {
        Entry::level(entry) != 0 && Entry::delivery(entry) < 2
    }

    fn read(&self) -> u32 {
        match Index::nearest(u64::from(self.select)) {
            Some((Index::Id | Index::Arbitration, _, 0)) => self.id,
            Some((Index::Version, _, 0)) => (PINS as u32 - 1) << 16 | 0x20,
            Some((Index::Entry, half, 0)) => {
                let entry = self.entries.get(half as usize / 2).copied().unwrap_or(0);
                (entry >> (32 * (half & 1))) as u32
            }
            _ => 0,
        }
    }

    fn write(&mut self, value: u32) {
        match Index::nearest(u64::from(self.select)) {
            Some((Index::Id, _, 0)) => self.id = value & Id::FIELDS as u32,
            Some((Index::Entry, half, 0)) => {
                let Some(entry) = self.entries.get_mut(half as usize / 2) else { return };
                let shift = 32 * (half & 1);
                let writable = WRITABLE & u64::from(u32::MAX) << shift;
                *entry = *entry & !writable | u64::from(value) << shift & writable;
                if !Self::is_level(*entry) {
                    *entry &= !Entry::mask::remote_irr;
                }
            }
            _ => {}
        }
    }

    fn input(&mut self, pin: usize, high: bool) {
        let Some(&entry) = self.entries.get(pin) else { return };
        let bit = 1u32 << pin;
        let rises = high && self.lines & bit == 0;
        self.lines = self.lines & !bit | u32::from(high) << pin;
        // "Edge-sensitive interrupts signaled on a masked interrupt pin are ignored."
        if rises && !Self::is_level(entry) && Entry::mask(entry) == 0 {
            self.edges |= bit;
        }
    }

    /// The first pin that has something to send.
    fn next(&self) -> Option<usize> {
        self.entries.iter().enumerate().position(|(pin, &entry)| {
            let level = Self::is_level(entry) && self.lines >> pin & 1 != 0;
            let asks = level && Entry::mask(entry) == 0 && Entry::remote_irr(entry) == 0;
            asks || self.edges >> pin & 1 != 0
        })
    }

    fn end_of_interrupt(&mut self, vector: u8) {
        for entry in self.entries.iter_mut().filter(|e| Entry::vector(**e) == u64::from(vector)) {
            *entry &= !Entry::mask::remote_irr;
        }
    }
}

/// The controller. Inputs 0 to 23 are its pins; it has no outputs but messages.
#[derive(Debug)]
pub struct Ioapic {
    requester: u32,
    state: State,
}

// ---- processor side ----

impl Ioapic {
    /// Whose messages come from `requester`.
    pub fn new(requester: u32) -> Self {
        Ioapic { requester, state: State::new() }
    }

    /// The EOI that a local APIC broadcasts: a level that is still high is sent again.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        self.state.end_of_interrupt(vector);
    }
}

impl Device for Ioapic {
    const NAME: &'static str = "ioapic";
    const VERSION: u32 = 1;
    type Saved = saved::IoapicV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if offset >= SIZE || size > 4 {
            return Err(NoRegister);
        }
        Ok(match Reg::at(offset) {
            Some(Reg::Select) => u64::from(self.state.select),
            // Only words reach the window.
            Some(Reg::Window) if size == 4 => u64::from(self.state.read()),
            _ => 0,
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if offset >= SIZE || size > 4 {
            return Err(NoRegister);
        }
        match Reg::at(offset) {
            Some(Reg::Select) => self.state.select = value as u8,
            Some(Reg::Window) if size == 4 => self.state.write(value as u32),
            Some(Reg::Eoi) if size == 4 => self.state.end_of_interrupt(Eoi::vector(value) as u8),
            _ => {}
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn input(&mut self, input: u32, high: bool) {
        self.state.input(input as usize, high);
    }

    fn message(&mut self) -> Option<Message> {
        let pin = self.state.next()?;
        self.state.edges &= !(1 << pin);
        let entry = self.state.entries.get_mut(pin)?;
        let level = State::is_level(*entry);
        if level {
            *entry |= Entry::mask::remote_irr;
        }
        let destination = Entry::destination(*entry) as u8;
        let logical = Entry::logical(*entry) != 0;
        let vector = Entry::vector(*entry) as u8;
        Some(message(destination, logical, Entry::delivery(*entry), vector, level, self.requester))
    }

    fn reset(&mut self, _now: Nanos) {
        // The levels are driven from outside.
        self.state = State { lines: self.state.lines, ..State::new() };
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        self.state = saved::into_state(saved).ok_or(damaged)?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{Entry, Id, PINS, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct IoapicV1 {
        /// ID register.
        pub id: u32,
        /// Selected register.
        pub select: u8,
        /// Redirection entries.
        pub entries: [u64; PINS],
        /// Levels at the inputs.
        pub lines: u32,
    }

    pub(super) fn from_state(state: &State) -> IoapicV1 {
        // The slot has sent every edge before anybody can save.
        let &State { id, select, entries, lines, edges: _ } = state;
        IoapicV1 { id, select, entries, lines }
    }

    /// `None` if no I/O APIC could be in such a state.
    pub(super) fn into_state(saved: IoapicV1) -> Option<State> {
        let IoapicV1 { id, select, entries, lines } = saved;
        let entry = |&e: &u64| {
            let fields = Entry::FIELDS & !Entry::mask::status;
            e & !fields == 0 && (State::is_level(e) || Entry::remote_irr(e) == 0)
        };
        let good = u64::from(id) & !Id::FIELDS == 0 && entries.iter().all(entry) && lines >> PINS == 0;
        good.then_some(State { id, select, entries, lines, edges: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apic_bus::{Delivery, Interrupt};

    fn word(d: &mut Ioapic, index: u64) -> u64 {
        d.write(0, 1, index, 0).unwrap();
        d.read(0x10, 4, 0).unwrap()
    }

    fn set(d: &mut Ioapic, index: u64, value: u64) {
        d.write(0, 4, index, 0).unwrap();
        d.write(0x10, 4, value, 0).unwrap();
    }

    fn sent(d: &mut Ioapic) -> Vec<Interrupt> {
        std::iter::from_fn(|| d.message()).map(|m| Interrupt::from_message(m).unwrap()).collect()
    }

    #[test]
    fn identification_and_the_window() {
        let mut d = Ioapic::new(9);
        assert_eq!(word(&mut d, 1), 0x0017_0020);
        assert_eq!(word(&mut d, 0x10), 0x1_0000, "masked after reset");
        set(&mut d, 0, 0xffff_ffff);
        assert_eq!((word(&mut d, 0), word(&mut d, 2)), (0x0f00_0000, 0x0f00_0000));
        set(&mut d, 0x3e, 0xffff_ffff);
        set(&mut d, 0x3f, 0xffff_ffff);
        assert_eq!((word(&mut d, 0x3e), word(&mut d, 0x3f)), (0x1_afff, 0xff00_0000));
        assert_eq!((word(&mut d, 0x40), word(&mut d, 0xff), word(&mut d, 5)), (0, 0, 0));
        assert_eq!(d.read(0x10, 1, 0), Ok(0), "only words");
        assert_eq!(d.read(0x10, 8, 0), Err(NoRegister));
        assert_eq!(d.read(0x1000, 4, 0), Err(NoRegister));
    }

    #[test]
    fn an_edge_is_one_message() {
        let mut d = Ioapic::new(9);
        d.input(4, true);
        assert_eq!(sent(&mut d), [], "masked: ignored");
        set(&mut d, 0x18, 0x0931);
        set(&mut d, 0x19, 0x0300_0000);
        assert_eq!(sent(&mut d), [], "and not kept");
        d.input(4, false);
        d.input(4, true);
        let interrupt = Interrupt {
            destination: 3,
            logical: true,
            delivery: Delivery::LowestPriority,
            vector: 0x31,
            level: false,
        };
        assert_eq!(sent(&mut d), [interrupt]);
        d.input(4, true);
        assert_eq!(sent(&mut d), []);
        assert_eq!(word(&mut d, 0x18), 0x0931, "no remote IRR");
    }

    #[test]
    fn a_level_is_sent_again_after_its_eoi() {
        let mut d = Ioapic::new(0);
        d.input(10, true);
        set(&mut d, 0x10 + 20, 0x8045);
        assert_eq!(sent(&mut d).len(), 1, "unmasking is enough");
        assert_eq!(word(&mut d, 0x10 + 20), 0xc045);
        d.end_of_interrupt(0x44);
        assert_eq!(sent(&mut d), []);
        d.end_of_interrupt(0x45);
        assert!(sent(&mut d)[0].level);
        d.input(10, false);
        d.write(0x40, 4, 0x45, 0).unwrap();
        assert_eq!((sent(&mut d), word(&mut d, 0x10 + 20)), (vec![], 0x8045));
    }

    #[test]
    fn going_through_edge_mode_clears_remote_irr() {
        let mut d = Ioapic::new(0);
        set(&mut d, 0x10, 0x8045);
        d.input(0, true);
        assert_eq!(sent(&mut d).len(), 1);
        set(&mut d, 0x10, 0x1_0045);
        set(&mut d, 0x10, 0x1_8045);
        assert_eq!(word(&mut d, 0x10), 0x1_8045);
    }

    #[test]
    fn an_nmi_is_an_edge_even_if_programmed_as_level() {
        let mut d = Ioapic::new(0);
        set(&mut d, 0x12, 0x8400);
        d.input(1, true);
        assert_eq!(sent(&mut d)[0].delivery, Delivery::Nmi);
        assert_eq!((sent(&mut d), word(&mut d, 0x12)), (vec![], 0x8400));
    }

    #[test]
    fn impossible_states_are_refused() {
        let good = Ioapic::new(0).save();
        for change in [
            (|s| s.entries[3] = 0x4000) as fn(&mut saved::IoapicV1),
            |s| s.entries[3] = 0x1000,
            |s| s.lines = 1 << 24,
            |s| s.id = 1,
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(Ioapic::new(0).restore(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(Ioapic::new(0).restore(good).is_ok());
    }
}
