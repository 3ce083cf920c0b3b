//! Interrupt messages between local APICs, I/O APICs and devices, and who gets them.
//!
//! Sources: SDM volume 3A, "Issuing Interprocessor Interrupts", "Determining IPI Destination" and
//! "Message Signalled Interrupts" (their address and data registers).

use crate::Lapic;
use dev_core::{Slot, registers};
use fabric_wire::{Message, MessageSink};
use std::sync::Arc;

registers! {
    /// The two words of an MSI ("Message Address Register Format", "Message Data Register Format").
    pub enum Msi {
        0 Address RW { destination_logical: 2..2, redirection_hint: 3..3, destination: 19..12, window: 31..20 }
        4 Data RW { vector: 7..0, delivery: 10..8, assert: 14..14, level: 15..15 }
    }
}

/// Bits 31:20 of every address that is a message to processors.
const MESSAGE_WINDOW: u64 = 0xfee;
/// The destination that is everybody.
pub const BROADCAST: u32 = u32::MAX;

/// Delivery modes (their numbers are the same in ICR, LVT, redirection entries and messages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To each destination.
    Fixed,
    /// To the destination that does the least important work.
    LowestPriority,
    /// System management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up.
    Startup,
    /// As if from an 8259.
    ExtInt,
}

impl Delivery {
    /// By its number; 3 is reserved.
    pub fn from_bits(bits: u64) -> Option<Self> {
        Some(match bits & 7 {
            0 => Delivery::Fixed,
            1 => Delivery::LowestPriority,
            2 => Delivery::Smi,
            4 => Delivery::Nmi,
            5 => Delivery::Init,
            6 => Delivery::Startup,
            7 => Delivery::ExtInt,
            _ => return None,
        })
    }
}

/// An interrupt message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// APIC ID or, if `logical`, message destination address; [`BROADCAST`] in either case.
    pub destination: u32,
    /// The destination is compared with LDR and DFR.
    pub logical: bool,
    /// Delivery mode.
    pub delivery: Delivery,
    /// Vector.
    pub vector: u8,
    /// Level-triggered: its EOI is broadcast to I/O APICs.
    pub level: bool,
}

impl Interrupt {
    /// What a message is to processors; `None` if it is none of theirs.
    pub fn from_message(message: Message) -> Option<Self> {
        let (address, data) = (message.address, u64::from(message.data));
        if address >> 32 != 0 || Address::window(address) != MESSAGE_WINDOW {
            return None;
        }
        let logical = Address::destination_logical(address) != 0;
        let delivery = match Delivery::from_bits(Data::delivery(data))? {
            Delivery::Fixed if logical && Address::redirection_hint(address) != 0 => Delivery::LowestPriority,
            other => other,
        };
        Some(Interrupt {
            destination: widen(Address::destination(address)),
            logical,
            delivery,
            vector: Data::vector(data) as u8,
            level: Data::level(data) != 0,
        })
    }
}

/// A destination of eight bits, where all ones are everybody.
pub fn widen(destination: u64) -> u32 {
    if destination >= 0xff { BROADCAST } else { destination as u32 }
}

/// The message of an interrupt with an eight-bit destination, from `requester`.
pub fn message(
    destination: u8,
    logical: bool,
    delivery: u64,
    vector: u8,
    level: bool,
    requester: u32,
) -> Message {
    let lowest = delivery == 1;
    Message {
        address: MESSAGE_WINDOW << 20
            | u64::from(destination) << 12
            | u64::from(lowest) << 3
            | u64::from(logical) << 2,
        data: (u64::from(vector) | (delivery & 7) << 8 | 1 << 14 | u64::from(level) << 15) as u32,
        requester,
    }
}

/// All local APICs of a machine: what messages and IPIs go through. It takes their locks one by one,
/// so nobody who delivers may hold one of them.
pub struct ApicBus {
    members: Vec<Arc<Slot<Lapic>>>,
}

impl ApicBus {
    /// Of these local APICs.
    pub fn new(members: Vec<Arc<Slot<Lapic>>>) -> Self {
        ApicBus { members }
    }

    /// Delivers `interrupt` to its destinations, but not to the one at `except`.
    pub fn send(&self, interrupt: &Interrupt, except: Option<&Arc<Slot<Lapic>>>) {
        let others = || self.members.iter().filter(|m| except.is_none_or(|e| !Arc::ptr_eq(e, m)));
        if interrupt.delivery != Delivery::LowestPriority {
            for member in others() {
                member.with(|apic, now| {
                    if apic.is_destination(interrupt) {
                        apic.accept(interrupt, now);
                    }
                });
            }
            return;
        }
        // The lowest processor priority wins; of equals, the first.
        let priority = |member: &&Arc<Slot<Lapic>>| {
            member.with(|apic, _| (apic.is_destination(interrupt) && apic.enabled()).then(|| apic.ppr()))
        };
        let bids = others().filter_map(|member| priority(&member).map(|bid| (bid, member)));
        if let Some((_, winner)) = bids.min_by_key(|(bid, _)| *bid) {
            winner.with(|apic, now| apic.accept(interrupt, now));
        }
    }
}

impl MessageSink for ApicBus {
    fn deliver(&self, message: Message) {
        if let Some(interrupt) = Interrupt::from_message(message) {
            self.send(&interrupt, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_encoding() {
        let m = message(0x12, true, 1, 0x45, true, 7);
        assert_eq!((m.address, m.data, m.requester), (0xfee1_200c, 0xc145, 7));
        let interrupt = Interrupt {
            destination: 0x12,
            logical: true,
            delivery: Delivery::LowestPriority,
            vector: 0x45,
            level: true,
        };
        assert_eq!(Interrupt::from_message(m), Some(interrupt));
        let nmi = Interrupt::from_message(message(0xff, false, 4, 0, false, 0)).unwrap();
        assert_eq!((nmi.destination, nmi.delivery, nmi.level), (BROADCAST, Delivery::Nmi, false));
    }

    #[test]
    fn the_redirection_hint_chooses_one_of_a_logical_set() {
        let of = |address| Interrupt::from_message(Message { address, data: 0x31, requester: 0 }).unwrap();
        assert_eq!(of(0xfee0_300c).delivery, Delivery::LowestPriority);
        assert_eq!(of(0xfee0_3008).delivery, Delivery::Fixed);
        assert_eq!(of(0xfee0_3004).delivery, Delivery::Fixed);
    }

    #[test]
    fn other_addresses_and_reserved_modes_are_nobodys() {
        for (address, data) in [(0xfed0_0000, 0x31), (0x1_fee0_0000, 0x31), (0, 0x31), (0xfee0_0000, 0x331)] {
            assert_eq!(Interrupt::from_message(Message { address, data, requester: 0 }), None);
        }
    }
}
