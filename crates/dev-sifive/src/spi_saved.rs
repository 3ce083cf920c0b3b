//! Saved state of an SPI controller.

use crate::spi::{Spi, State};
use dev_core::{Device, RestoreError};
use dev_sd::CardV1;
use serde::{Deserialize, Serialize};

/// Version 1; fields are numbered by their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpiV1 {
    /// By offset over four.
    pub registers: [u32; 30],
    /// Transmit FIFO.
    pub transmit: Vec<u8>,
    /// Receive FIFO.
    pub receive: Vec<u8>,
    /// A frame was sent in HOLD mode.
    pub held: bool,
    /// The card, if there is one.
    pub card: Option<CardV1>,
}

pub(crate) fn from_spi(spi: &Spi) -> SpiV1 {
    let State { registers, transmit, receive, held } = &spi.state;
    SpiV1 {
        registers: *registers,
        transmit: transmit.iter().copied().collect(),
        receive: receive.iter().copied().collect(),
        held: *held,
        card: spi.card.as_ref().map(dev_sd::Card::save),
    }
}

/// Takes it back into a controller with as many cards as it had then.
pub(crate) fn into_spi(saved: SpiV1, spi: &mut Spi) -> Result<(), RestoreError> {
    let damaged = || RestoreError::Damaged { device: Spi::NAME };
    let SpiV1 { registers, transmit, receive, held, card } = saved;
    let state = State { registers, transmit: transmit.into(), receive: receive.into(), held };
    if !spi.possible(&state) {
        return Err(damaged());
    }
    match (card, &mut spi.card) {
        (None, None) => {}
        (Some(saved), Some(card)) => card.restore(saved)?,
        _ => return Err(damaged()),
    }
    spi.state = state;
    Ok(())
}
