//! Descriptors in the guest's memory ("DMA Controller").

use crate::gem::RingPlan;
use fabric_bus::{Dma, DmaError};
use std::sync::atomic::{Ordering, fence};

/// Most descriptors that one frame may take. With the smallest buffers, the longest frame takes 161.
pub const MOST_PIECES: usize = 256;

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Where it is.
    pub at: u64,
    /// Its first words.
    pub words: [u32; 2],
    /// High half of the buffer's address.
    pub high: u32,
}

impl RingPlan {
    /// Where a descriptor is whose address has this low half.
    pub fn address(&self, low: u32) -> u64 {
        u64::from(self.high) << 32 | u64::from(low)
    }

    /// Bytes from one to the next.
    fn stride(&self) -> u32 {
        if self.wide { 16 } else { 8 }
    }

    /// The low half of the address behind the one at `low`.
    pub fn behind(&self, low: u32, wraps: bool) -> u32 {
        if wraps { self.base } else { low.wrapping_add(self.stride()) }
    }

    /// Reads the descriptor at `low`; `owner`: which of its words says whose it is, and is read before the others.
    ///
    /// # Errors
    /// If it is in no memory.
    pub fn read(&self, dma: &Dma, low: u32, owner: usize) -> Result<Descriptor, DmaError> {
        let at = self.address(low);
        let word = |number: usize| dma.load::<u32>(at.wrapping_add(4 * number as u64));
        let first = word(owner)?;
        fence(Ordering::Acquire);
        let other = word(1 - owner)?;
        let words = if owner == 0 { [first, other] } else { [other, first] };
        let high = if self.wide { word(2)? } else { 0 };
        Ok(Descriptor { at, words, high })
    }
}

/// Writes a word of a descriptor; all that was written before is seen by who sees it.
///
/// # Errors
/// If it is in no memory.
pub fn write(dma: &Dma, descriptor: &Descriptor, word: usize, value: u32) -> Result<(), DmaError> {
    fence(Ordering::Release);
    dma.store(descriptor.at.wrapping_add(4 * word as u64), value)
}
