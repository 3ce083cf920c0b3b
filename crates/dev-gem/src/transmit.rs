//! Frames that the driver sends.

use crate::gem::RingPlan;
use crate::ring::{Descriptor, MOST_PIECES, write};
use fabric_bus::{Dma, DmaError};
use host_net::VNET;

/// Bits of a transmit descriptor's second word.
mod bit {
    pub const LENGTH: u32 = 0x3fff;
    pub const LAST: u32 = 1 << 15;
    pub const NO_CRC: u32 = 1 << 16;
    pub const WRAP: u32 = 1 << 30;
    pub const USED: u32 = 1 << 31;
}

/// Bytes of the longest frame that is sent: what the packet buffer takes.
pub const LONGEST: usize = 16 << 10;

/// A frame that is to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// It, behind an empty virtio-net header.
    pub bytes: Vec<u8>,
    /// Its check sequence is in it.
    pub checked: bool,
    /// Low half of the address of the descriptor behind it.
    pub next: u32,
    first: Descriptor,
}

/// The next frame of a ring; none if the driver has given no more.
///
/// # Errors
/// If a ring or a buffer is in no memory, or the frame is longer than any, or never ends.
pub fn gather(dma: &Dma, ring: &RingPlan) -> Result<Option<Outgoing>, DmaError> {
    let first = ring.read(dma, ring.at, 1)?;
    let mut bytes = vec![0; VNET];
    let (mut descriptor, mut at) = (first, ring.at);
    for _ in 0..MOST_PIECES {
        let [buffer, control] = descriptor.words;
        if control & bit::USED != 0 {
            // In the middle of a frame, that is none.
            return if descriptor.at == first.at { Ok(None) } else { Err(DmaError::NotRam) };
        }
        let (from, len) = (bytes.len(), (control & bit::LENGTH) as usize);
        if from + len > VNET + LONGEST {
            return Err(DmaError::NotRam);
        }
        bytes.resize(from + len, 0);
        let address = u64::from(descriptor.high) << 32 | u64::from(buffer);
        dma.read(address, bytes.get_mut(from..).unwrap_or_default())?;
        at = ring.behind(at, control & bit::WRAP != 0);
        if control & bit::LAST != 0 {
            let [_, control] = first.words;
            return Ok(Some(Outgoing { bytes, checked: control & bit::NO_CRC != 0, next: at, first }));
        }
        descriptor = ring.read(dma, at, 1)?;
    }
    Err(DmaError::NotRam)
}

/// Gives a frame's descriptors back: the first says so for all.
///
/// # Errors
/// If it is in no memory.
pub fn give_back(dma: &Dma, frame: &Outgoing) -> Result<(), DmaError> {
    let [_, control] = frame.first.words;
    write(dma, &frame.first, 1, control | bit::USED)
}
