//! Firmware events that the VMM counts (SBI specification, "Performance Monitoring Unit Extension",
//! table "PMU Firmware Events").

use std::sync::atomic::{AtomicU64, Ordering};

/// A firmware event, with its code. Only these are counted: the firmware sees no trap (all are
/// delegated) and does no `hfence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "each is the event of its name")]
pub enum FirmwareEvent {
    SetTimer = 5,
    IpiSent = 6,
    IpiReceived = 7,
    FenceISent = 8,
    FenceIReceived = 9,
    SfenceVmaSent = 10,
    SfenceVmaReceived = 11,
    SfenceVmaAsidSent = 12,
    SfenceVmaAsidReceived = 13,
}

const FIRST: u16 = FirmwareEvent::SetTimer as u16;
/// How many there are.
pub(crate) const EVENTS: usize = 9;

impl FirmwareEvent {
    /// The event with this code.
    pub const fn from_code(code: u16) -> Option<FirmwareEvent> {
        use FirmwareEvent::*;
        Some(match code {
            5 => SetTimer,
            6 => IpiSent,
            7 => IpiReceived,
            8 => FenceISent,
            9 => FenceIReceived,
            10 => SfenceVmaSent,
            11 => SfenceVmaReceived,
            12 => SfenceVmaAsidSent,
            13 => SfenceVmaAsidReceived,
            _ => return None,
        })
    }
}

/// How often each event has happened on a hart, since the machine was made. Other harts count, too.
#[derive(Debug, Default)]
pub(crate) struct Events([AtomicU64; EVENTS]);

impl Events {
    fn total(&self, event: FirmwareEvent) -> Option<&AtomicU64> {
        self.0.get(usize::from((event as u16).saturating_sub(FIRST)))
    }

    pub fn count(&self, event: FirmwareEvent, times: u64) {
        if let Some(total) = self.total(event) {
            total.fetch_add(times, Ordering::Relaxed);
        }
    }

    pub fn get(&self, event: FirmwareEvent) -> u64 {
        self.total(event).map_or(0, |total| total.load(Ordering::Relaxed))
    }

    pub fn save(&self) -> [u64; EVENTS] {
        std::array::from_fn(|i| self.0.get(i).map_or(0, |total| total.load(Ordering::Relaxed)))
    }

    pub fn load(&self, saved: [u64; EVENTS]) {
        for (total, value) in self.0.iter().zip(saved) {
            total.store(value, Ordering::Relaxed);
        }
    }
}
