//! What a device is, and the slot that plugs one into a machine.
//!
//! A device model is a noun with no friends: registers, state, `read`, `write`, and the level of its
//! interrupt outputs as a function of that state. It holds no bus, line, clock, file, lock, thread
//! or callback. Its [`Slot`] holds all of those for it.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[doc(hidden)]
pub mod chipset;
mod registers;
mod slot;
mod wide;

pub use registers::{Field, Register};
pub use slot::{Doorbell, HostWork, Plugged, Slot, WeakSlot};
pub use wide::{read_bytes, write_bytes};

use fabric_clock::Nanos;
use fabric_wire::Message;
use serde::{Serialize, de::DeserializeOwned};

/// Nothing answers an access of that size at that offset; the bus makes a fault of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRegister;

/// Saved state that cannot be taken back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Written by a version this build does not know.
    #[error("saved state of {device} has version {found}; this build reads up to {known}")]
    Version {
        /// Device type.
        device: &'static str,
        /// Version in the file.
        found: u32,
        /// Newest version this build reads.
        known: u32,
    },
    /// The bytes are not a state of this device.
    #[error("saved state of {device} is damaged")]
    Damaged {
        /// Device type.
        device: &'static str,
    },
}

/// A memory-mapped device model.
pub trait Device: Send + 'static {
    /// Device type as it appears in saved state and in inspection.
    const NAME: &'static str;
    /// Version of [`Device::Saved`].
    const VERSION: u32;
    /// Whether atomic instructions work on its registers as they do on memory. Devices seldom have
    /// that (Privileged Architecture, "Atomicity PMAs": AMONone is what I/O regions need to support).
    const ATOMICS: bool = false;
    /// Saved form: its own type, numbered fields, all the state and nothing else.
    type Saved: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug;

    /// Reads `size` bytes (1, 2, 4, 8; naturally aligned) at `offset`, at guest time `now`.
    ///
    /// # Errors
    /// [`NoRegister`] if no register answers there.
    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister>;

    /// Writes the low `size` bytes of `value` at `offset`, at guest time `now`.
    ///
    /// # Errors
    /// [`NoRegister`] if no register answers there.
    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister>;

    /// Levels of the interrupt outputs 64 at a time: bit `n` of word `word` is output
    /// `64 * word + n`. A function of the state and the time; [`Device::outputs`] tells how many.
    fn lines(&self, word: usize, now: Nanos) -> u64;

    /// How many interrupt outputs the device has.
    fn outputs(&self) -> usize;

    /// When the device next wants [`Device::tick`] (or just its lines looked at), if time alone
    /// changes anything.
    fn deadline(&self, _now: Nanos) -> Option<Nanos> {
        None
    }

    /// The deadline has come.
    fn tick(&mut self, _now: Nanos) {}

    /// Sets the level of an interrupt input (interrupt controllers only).
    fn input(&mut self, _input: u32, _high: bool) {}

    /// The next message (MSI) to send, taken. The slot asks after every change until there is none,
    /// and delivers each while the device is locked, as it drives the wires.
    fn message(&mut self) -> Option<Message> {
        None
    }

    /// Whether the device has something for the host side to fetch or do.
    fn wants_host(&self) -> bool {
        false
    }

    /// Whether the device, having turned bytes of the host side away, takes more of them now. Not
    /// merely whether there is room: the doorbell would ring all the time.
    fn takes_more(&self) -> bool {
        false
    }

    /// Back to the state after power-on, at guest time `now`.
    fn reset(&mut self, now: Nanos);

    /// The state, for a snapshot.
    fn save(&self) -> Self::Saved;

    /// Takes a state back.
    ///
    /// # Errors
    /// [`RestoreError::Damaged`] if the values are none that a device could be in.
    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError>;
}
