//! Requests that have begun and not ended.

use dev_virtio::Chain;
use std::ops::Range;

/// A request in the middle.
#[derive(Debug)]
pub(crate) struct Flight {
    pub queue: usize,
    pub chain: Chain,
    /// What the disk has not done of it yet.
    pub left: usize,
    pub status: u8,
    /// Bytes of data that the driver gets, if all goes well.
    pub data: u32,
    /// Where in the arena they go.
    pub places: Vec<Range<u64>>,
    /// What it wrote must be on stable storage before it ends.
    pub through: bool,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
}

impl Flights {
    /// Keeps one; gives its number.
    pub fn insert(&mut self, flight: Flight) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(flight);
        }
        at as u64
    }

    /// The one of that number.
    pub fn get(&mut self, number: u64) -> Option<&mut Flight> {
        self.slots.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    /// Takes it out.
    pub fn remove(&mut self, number: u64) -> Option<Flight> {
        let at = usize::try_from(number).ok()?;
        let flight = self.slots.get_mut(at)?.take()?;
        self.free.push(at);
        Some(flight)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Takes all out.
    pub fn take(&mut self) -> Vec<Flight> {
        self.free.clear();
        self.slots.drain(..).flatten().collect()
    }
}
