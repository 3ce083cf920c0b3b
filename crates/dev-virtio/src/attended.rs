//! A transport's window, behind which its driver is attended to.

use crate::attendant::{Attendant, Watched};
use crate::common::Transport;
use dev_core::Slot;
use fabric_bus::{BusFault, Target};
use std::sync::Arc;

/// An [`Attendant`], whatever the transport.
pub trait Attend: Send + Sync {
    /// [`Attendant::attend`].
    fn attend(&self) -> bool;
    /// [`Attendant::quiesce`].
    fn quiesce(&self);
    /// [`Attendant::watched`].
    fn watched(&self) -> Vec<Watched>;
}

impl<T: Transport> Attend for Attendant<T> {
    fn attend(&self) -> bool {
        Attendant::attend(self)
    }

    fn quiesce(&self) {
        Attendant::quiesce(self);
    }

    fn watched(&self) -> Vec<Watched> {
        Attendant::watched(self)
    }
}

/// When a driver's wishes are attended to. A reset never waits: it is done when the write that asks for it is, since a driver may
/// give the memory of its queues to others then.
pub enum When {
    /// By the processor that rings, as far as nobody else is at work and its device never waits; the thread is woken by this for
    /// what is left.
    Eagerly(Box<dyn Fn() + Send + Sync>),
    /// All of it by the processor that rings, so that runs can be repeated.
    AtOnce,
}

/// A transport's window, behind which the driver is attended to.
pub struct Attended<T: Transport> {
    slot: Arc<Slot<T>>,
    attendant: Arc<Attendant<T>>,
    when: When,
}

impl<T: Transport> Attended<T> {
    /// The window of `slot`.
    pub fn new(slot: Arc<Slot<T>>, attendant: Arc<Attendant<T>>, when: When) -> Self {
        Attended { slot, attendant, when }
    }

    /// Looks around after something else than an access to this window has changed the device. What a driver does not wait for
    /// is left to the thread, for which the slot has rung.
    pub(crate) fn look(&self) {
        let (any, urgent) =
            self.slot.with(|device, _| (device.common().has_news(), device.common().urgent()));
        match &self.when {
            When::AtOnce if any => self.attendant.attend_all(),
            When::Eagerly(ring) if urgent && self.attendant.attend() => ring(),
            _ => {}
        }
    }
}

impl<T: Transport> Target for Attended<T> {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.slot.read(offset, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        if let When::Eagerly(ring) = &self.when {
            let (done, more) = self.attendant.write(offset, size, value);
            if more {
                ring();
            }
            return done;
        }
        let (done, any) = self.slot.with(|device, now| {
            let done = device.write(offset, size, value, now).map_err(|_| BusFault);
            (done, device.common().has_news())
        });
        if any {
            self.attendant.attend_all();
        }
        done
    }
}
