//! The bus: guest-physical address to RAM, ROM or a device's slot, in one dispatch function.
//!
//! It knows nothing of processors, of what devices do, or of host files. A processor's fast path
//! does not come by here: engines ask once a page ([`Bus::page`]) and remember the answer. Devices'
//! own memory accesses go through [`Dma`], behind which an IOMMU can sit.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod dma;
mod map;
mod window;

pub use dma::{Dma, DmaError, Remap};
pub use map::{Bus, BusBuilder, MapError, Page};
pub use window::Window;

/// What answers accesses at a place of the bus: a device's slot.
pub trait Target: Send + Sync {
    /// Reads `size` bytes (1, 2, 4 or 8) at `offset` from the target's first byte; zero-extended.
    ///
    /// # Errors
    /// [`BusFault`] if nothing there answers such an access.
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault>;

    /// Writes the low `size` bytes (1, 2, 4 or 8) of `value` at `offset`.
    ///
    /// # Errors
    /// [`BusFault`] if nothing there answers such an access.
    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault>;

    /// Replaces the `size` bytes (4 or 8) at `offset` by `change` of them, with no other access in
    /// between; gives what was there, zero-extended. Few targets support that.
    ///
    /// # Errors
    /// [`BusFault`] if nothing there answers such an access.
    fn update(&self, _offset: u64, _size: u8, _change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        Err(BusFault)
    }
}

/// Nothing answered: the processor makes an access fault of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusFault;
