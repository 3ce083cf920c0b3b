//! A virtqueue of either kind, as the device sees it.

use crate::chain::Chain;
use crate::packed::Packed;
use crate::split::Split;
use crate::{Broken, feature};
use fabric_bus::Dma;
use serde::{Deserialize, Serialize};

/// How a driver has set a queue up (sections 4.1.4.3 and 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Descriptors that it holds.
    pub size: u16,
    /// Whether the device may use it.
    pub ready: bool,
    /// Address of the descriptor area.
    pub descriptors: u64,
    /// Address of the driver area: the available ring, or the driver's event suppression.
    pub driver: u64,
    /// Address of the device area: the used ring, or the device's event suppression.
    pub device: u64,
}

/// How far a device has come with a queue: what of it is not in the driver's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next buffer to take: a count, or a place in a packed ring.
    pub available: u16,
    /// The next buffer to give back, likewise.
    pub used: u16,
    /// The wrap counters that go with them in a packed ring.
    pub available_wrap: bool,
    /// See [`Position::available_wrap`].
    pub used_wrap: bool,
}

impl Default for Position {
    /// Of a queue that nothing has gone through.
    fn default() -> Self {
        Position { available: 0, used: 0, available_wrap: true, used_wrap: true }
    }
}

/// A virtqueue.
#[derive(Clone, Debug)]
pub enum Queue {
    /// Section 2.7.
    Split(Split),
    /// Section 2.8.
    Packed(Packed),
}

/// Calls the same method of either kind.
macro_rules! either {
    ($queue:expr, $inner:ident => $call:expr) => {
        match $queue {
            Queue::Split($inner) => $call,
            Queue::Packed($inner) => $call,
        }
    };
}

impl Queue {
    /// The queue that a driver has set up, of the kind that was negotiated.
    ///
    /// # Errors
    /// [`Broken`] if no queue can be so.
    pub fn new(setup: &Setup, features: u64, position: Position) -> Result<Queue, Broken> {
        if features & feature::RING_PACKED != 0 {
            Packed::new(setup, features, position).map(Queue::Packed)
        } else {
            Split::new(setup, features, position).map(Queue::Split)
        }
    }

    /// Descriptors that it holds.
    pub fn size(&self) -> u16 {
        either!(self, queue => queue.size())
    }

    /// Takes the next request, if there is one.
    ///
    /// # Errors
    /// [`Broken`] if it is none.
    pub fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        either!(self, queue => queue.pop(dma))
    }

    /// Gives a request back, with so many bytes written to what the device writes.
    ///
    /// # Errors
    /// [`Broken`] if the ring's memory is none.
    pub fn push(&mut self, dma: &Dma, chain: &Chain, written: u32) -> Result<(), Broken> {
        self.push_all(dma, &[(chain, written)])
    }

    /// Gives requests back together: a driver that sees the first sees all.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn push_all(&mut self, dma: &Dma, all: &[(&Chain, u32)]) -> Result<(), Broken> {
        either!(self, queue => queue.push_all(dma, all))
    }

    /// Lets a request be as if it had never been taken: it is the one that was taken last of those that were neither given
    /// back nor put back.
    pub fn put_back(&mut self, chain: &Chain) {
        either!(self, queue => queue.put_back(chain));
    }

    /// Whether the driver wants to hear of what was given back since this was last asked.
    ///
    /// # Errors
    /// [`Broken`] if the ring's memory is none.
    pub fn signal_due(&mut self, dma: &Dma) -> Result<bool, Broken> {
        either!(self, queue => queue.signal_due(dma))
    }

    /// Asks to be rung for the next request. True if one has come meanwhile, which then may not be rung for.
    ///
    /// # Errors
    /// [`Broken`] if the ring's memory is none.
    pub fn sleep(&mut self, dma: &Dma) -> Result<bool, Broken> {
        either!(self, queue => queue.sleep(dma))
    }

    /// How far it has come.
    pub fn position(&self) -> Position {
        either!(self, queue => queue.position())
    }
}

/// Whether an event that was asked for at `event` lies among those from `old` to before `new` (section 2.7.10.1).
pub(crate) fn event_passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
