//! The saved state of the firmware: plain values, numbered by version.

use crate::events::{EVENTS, Events, FirmwareEvent};
use crate::firmware::PerHart;
use crate::hsm::{Entry, HartState};
use crate::pmu::{Counters, FIRMWARE_COUNTERS, FirmwareCounter};
use crate::{MAX_HARTS, Sbi};
use serde::{Deserialize, Serialize};

/// The version of [`SbiV1`].
pub const VERSION: u32 = 1;

/// Version 1; fields are numbered by their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SbiV1 {
    /// The harts, by hart ID.
    pub harts: Vec<HartV1>,
}

/// A hart's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HartV1 {
    /// HSM state ID.
    pub state: u8,
    /// Where it will be started or resumed: address and opaque parameter.
    pub entry: Option<(u64, u64)>,
    /// How often each firmware event has happened, by code, from 5 on.
    pub events: [u64; EVENTS],
    /// Whether events are mapped to `cycle` and `instret`.
    pub hardware: (bool, bool),
    /// Firmware counters: the event's code, whether it runs, its value (while it runs, less the event's
    /// total).
    pub firmware: [(Option<u16>, bool, u64); FIRMWARE_COUNTERS],
}

/// Why a saved state cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Another number of harts.
    #[error("the saved firmware has {found} harts and the machine {expected}: give it the same --cpus")]
    Harts {
        /// Harts of the state.
        found: usize,
        /// Harts of the machine.
        expected: usize,
    },
    /// A value that no firmware could have.
    #[error("the saved state of the firmware is damaged")]
    Damaged,
}

impl Sbi {
    /// The state, for a snapshot. No hart may be in a call.
    pub fn save(&self) -> SbiV1 {
        let hart = |per_hart: &PerHart| {
            let (state, entry) = per_hart.hsm.both();
            let Counters { cycle, instret, firmware } = *per_hart.counters();
            HartV1 {
                state: state as u8,
                entry: entry.map(|Entry { address, opaque }| (address, opaque)),
                events: per_hart.events.save(),
                hardware: (cycle, instret),
                firmware: firmware.map(|FirmwareCounter { event, running, value }| {
                    (event.map(|event| event as u16), running, value)
                }),
            }
        };
        SbiV1 { harts: self.harts.iter().map(hart).collect() }
    }

    /// Takes a state back. Call [`crate::own_timer`] on each hart as well. No hart may be executing.
    ///
    /// # Errors
    /// [`LoadError`]; nothing has changed.
    pub fn load(&self, saved: &SbiV1) -> Result<(), LoadError> {
        let SbiV1 { harts } = saved;
        if harts.len() != self.harts.len() || harts.len() > MAX_HARTS as usize {
            return Err(LoadError::Harts { found: harts.len(), expected: self.harts.len() });
        }
        let parts: Vec<Loaded> = harts.iter().map(Loaded::of).collect::<Result<_, _>>()?;
        let mut numbered = (0u32..).zip(&parts);
        if numbered.any(|(id, part)| !self.served.contains(id) && part.state != HartState::Stopped) {
            return Err(LoadError::Damaged);
        }
        for (per_hart, part) in self.harts.iter().zip(parts) {
            let Loaded { state, entry, events, counters } = part;
            per_hart.hsm.force(state, entry);
            let total: &Events = &per_hart.events;
            total.load(events);
            *per_hart.counters() = counters;
        }
        Ok(())
    }
}

/// A hart's part, found to be sound.
struct Loaded {
    state: HartState,
    entry: Option<Entry>,
    events: [u64; EVENTS],
    counters: Counters,
}

impl Loaded {
    fn of(saved: &HartV1) -> Result<Loaded, LoadError> {
        let HartV1 { state, entry, events, hardware: (cycle, instret), firmware } = saved;
        let state = HartState::from_id(*state).ok_or(LoadError::Damaged)?;
        let entry = entry.map(|(address, opaque)| Entry { address, opaque });
        if state == HartState::StartPending && entry.is_none() {
            return Err(LoadError::Damaged);
        }
        let mut counters = Counters { cycle: *cycle, instret: *instret, ..Counters::default() };
        for (counter, &(code, running, value)) in counters.firmware.iter_mut().zip(firmware) {
            let event = match code {
                Some(code) => Some(FirmwareEvent::from_code(code).ok_or(LoadError::Damaged)?),
                None => None,
            };
            if running && event.is_none() {
                return Err(LoadError::Damaged);
            }
            *counter = FirmwareCounter { event, running, value };
        }
        Ok(Loaded { state, entry, events: *events, counters })
    }
}
