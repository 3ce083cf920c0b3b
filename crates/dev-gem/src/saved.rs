//! Saved state.

use crate::counters::{COUNT, Counters};
use crate::gem::{State, WORDS};
use crate::phy::Phy;
use crate::registers::interrupt;
use fabric_clock::Nanos;
use serde::{Deserialize, Serialize};

/// Version 1; fields are numbered by their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GemV1 {
    /// By offset over four, and that of the management block.
    pub registers: Vec<u32>,
    /// Statistics.
    pub counters: Vec<u32>,
    /// Control, advertisement, 1000BASE-T control of the PHY.
    pub phy: [u16; 3],
    /// Interrupts, and their mask.
    pub interrupts: (u32, u32),
    /// Places in the rings: sending, receiving.
    pub at: (u32, u32),
    /// Frames are being sent.
    pub going: bool,
    /// Specific addresses that are in use.
    pub active: [bool; 4],
    /// When it looks for a buffer.
    pub starved: Option<u64>,
}

pub(crate) fn from_state(state: &State, starved: Option<Nanos>) -> GemV1 {
    let State { registers, counters, phy, status, mask, transmit_at, receive_at, going, active } = state;
    let Phy { control, advertisement, control_1000 } = *phy;
    GemV1 {
        registers: registers.clone(),
        counters: counters.0.to_vec(),
        phy: [control, advertisement, control_1000],
        interrupts: (*status, *mask),
        at: (*transmit_at, *receive_at),
        going: *going,
        active: *active,
        starved,
    }
}

/// `None` if no card could be in such a state.
pub(crate) fn into_state(saved: GemV1) -> Option<(State, Option<Nanos>)> {
    let GemV1 { registers, counters, phy, interrupts, at, going, active, starved } = saved;
    let [control, advertisement, control_1000] = phy;
    let counters: [u32; COUNT] = counters.try_into().ok()?;
    let (status, mask) = interrupts;
    // Descriptors are whole words.
    let aligned = at.0.is_multiple_of(4) && at.1.is_multiple_of(4);
    let sound = registers.len() == WORDS && (status | mask) & !interrupt::ALL == 0 && aligned;
    sound.then_some((
        State {
            registers,
            counters: Counters(counters),
            phy: Phy { control, advertisement, control_1000 },
            status,
            mask,
            transmit_at: at.0,
            receive_at: at.1,
            going,
            active,
        },
        starved,
    ))
}
