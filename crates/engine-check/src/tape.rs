//! What devices answered, so that they need not be asked twice.

use crate::memory::PageCopy;
use fabric_bus::{BusFault, Target};
use fabric_clock::Clock;
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::PendingWord;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Read,
    Write(u64),
    /// An atomic operation, with what it makes of the old value; 0 if the device refuses.
    Update(u64),
}

/// One access to a device: guest-physical address, bytes, and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub address: u64,
    pub size: u8,
    pub asked: Asked,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { address, size, asked } = *self;
        match asked {
            Asked::Read => write!(f, "reads {size} bytes at {address:#x}"),
            Asked::Write(value) => write!(f, "writes {value:#x}, {size} bytes, at {address:#x}"),
            Asked::Update(value) => write!(f, "updates {size} bytes at {address:#x} to {value:#x}"),
        }
    }
}

/// An access and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub access: Access,
    pub answer: Result<u64, BusFault>,
    /// Pages of RAM that the device has written meanwhile, as they were then.
    pub written: Vec<PageCopy>,
}

/// An access that is not the one that the other engine did at this point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stray {
    pub did: Access,
    pub other: Option<Access>,
}

/// The accesses of a leg.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    pub accesses: Vec<Answered>,
    /// How many of them have been done.
    pub done: usize,
    /// Devices are asked, and the accesses become part of the tape; else the tape answers.
    pub live: bool,
    pub stray: Option<Stray>,
    /// Pages that the processor had written before a device was asked.
    pub pages: Vec<u64>,
}

impl Tape {
    /// An access that the tape has and that was not done.
    pub fn missing(&self) -> Option<Access> {
        self.accesses.get(self.done).map(|answered| answered.access)
    }
}

/// One engine's tape, and the word that ends its leg when a device has been accessed.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    tape: Mutex<Tape>,
    pub word: Arc<PendingWord>,
}

impl Desk {
    pub fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine's clock and the engine's.
#[derive(Debug)]
pub(crate) struct Clocks {
    pub machine: Arc<Clock>,
    pub own: Arc<Clock>,
}

/// A device that may be asked, and what time it is then.
pub(crate) struct Live {
    pub target: Arc<dyn Target>,
    pub clocks: Clocks,
}

/// What stands in a device's place.
pub(crate) struct Front {
    /// Guest-physical address of its first byte.
    pub base: u64,
    pub desk: Arc<Desk>,
    pub ram: Arc<GuestRam>,
    /// The device, where it may be asked.
    pub device: Option<Live>,
}

impl Front {
    /// An access of `size` bytes at `offset`. `asked` says what it is, given what is there.
    fn access(
        &self,
        offset: u64,
        size: u8,
        asked: &dyn Fn(u64) -> Asked,
        ask: &dyn Fn(&dyn Target) -> Result<u64, BusFault>,
    ) -> Result<u64, BusFault> {
        // The leg ends behind this instruction: whatever the device has done is then seen by both at the same place.
        self.desk.word.raise(PendingWord::KICK);
        let address = self.base.wrapping_add(offset);
        let device = self.device.as_ref().filter(|_| self.desk.tape().live);
        match device {
            Some(Live { target, clocks }) => {
                clocks.machine.advance_to(clocks.own.now());
                let before = self.ram.dirty().take();
                let answer = ask(&**target);
                let after = self.ram.dirty().take();
                let written = after.iter().filter_map(|&page| PageCopy::of(&self.ram, page)).collect();
                let asked = answer.map_or(asked_in_vain(asked), asked);
                let access = Access { address, size, asked };
                let mut tape = self.desk.tape();
                tape.pages.extend(before.into_iter().chain(after));
                tape.accesses.push(Answered { access, answer, written });
                tape.done += 1;
                answer
            }
            None => self.replay(address, size, asked),
        }
    }

    fn replay(&self, address: u64, size: u8, asked: &dyn Fn(u64) -> Asked) -> Result<u64, BusFault> {
        let mut tape = self.desk.tape();
        let next = tape.accesses.get(tape.done);
        let did = match next.map(|next| next.answer) {
            Some(Ok(value)) => Access { address, size, asked: asked(value) },
            _ => Access { address, size, asked: asked_in_vain(asked) },
        };
        match next.filter(|next| next.access == did) {
            Some(next) => {
                let answer = next.answer;
                next.written.iter().for_each(|page| page.put(&self.ram));
                tape.done += 1;
                answer
            }
            None => {
                let other = next.map(|next| next.access);
                tape.stray.get_or_insert(Stray { did, other });
                Err(BusFault)
            }
        }
    }
}

/// What is asked where nothing is there to update.
fn asked_in_vain(asked: &dyn Fn(u64) -> Asked) -> Asked {
    match asked(0) {
        Asked::Update(_) => Asked::Update(0),
        asked => asked,
    }
}

impl Target for Front {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.access(offset, size, &|_| Asked::Read, &|device| device.read(offset, size))
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        let ask = |device: &dyn Target| device.write(offset, size, value).map(|()| 0);
        self.access(offset, size, &|_| Asked::Write(value), &ask).map(|_| ())
    }

    fn update(&self, offset: u64, size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        let ask = |device: &dyn Target| device.update(offset, size, change);
        self.access(offset, size, &|old| Asked::Update(change(old)), &ask)
    }
}

impl PageCopy {
    fn put(&self, ram: &GuestRam) {
        let _ = ram.copy_in(self.page * PAGE, &self.bytes[..]);
    }
}
