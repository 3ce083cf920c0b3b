//! Bugs on purpose, one for each kind of target, which only a search guided by coverage finds in
//! reasonable time: every step towards them is a branch of its own, and a blind guess has to get all
//! of them right at once.
//!
//! They stand in this wrapper, on the real bus and in a real slot: product code has no bugs on purpose.

use crate::input::Input;
use dev_core::{Device, NoRegister, Plugged, RestoreError, Slot};
use fabric_bus::BusBuilder;
use fabric_clock::{Clock, Nanos, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::{Arc, OnceLock};

/// What the bytes are to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, a packet, an instruction: read from its first byte.
    #[cfg_attr(fuzzing, allow(dead_code, reason = "a fuzzing binary holds one target"))]
    Parser,
    /// A sequence of accesses to something that has state.
    Device,
}

/// What `cargo xtask fuzz --planted` looks for in a crash, so that no other one counts.
const MESSAGE: &str = "planted bug reached";

/// Panics if `data` reaches the planted bug of this kind.
pub fn trip(kind: Kind, data: &[u8]) {
    match kind {
        Kind::Parser => parser(&mut Input::new(data)).map_or((), drop),
        Kind::Device => device(&mut Input::new(data)).map_or((), drop),
    }
}

/// A format of records (tag, length, contents). The bug: a record of tag 7 that begins with four
/// certain bytes, after one of tag 3 that was not empty. Seven bytes must be right.
fn parser(input: &mut Input<'_>) -> Option<()> {
    let mut announced = false;
    loop {
        let (tag, length) = (input.u8()?, input.u8()?);
        let contents: Vec<u8> = (0..length).map_while(|_| input.u8()).collect();
        match tag {
            3 if !contents.is_empty() => announced = true,
            7 if announced => assert!(!begins_with_magic(&contents), "{MESSAGE}"),
            _ => {}
        }
    }
}

/// Byte by byte, as a parser that reports where it stopped would.
fn begins_with_magic(contents: &[u8]) -> bool {
    for (n, expected) in [0x7f, 0x50, 0xc4, 0x99].into_iter().enumerate() {
        if contents.get(n) != Some(&expected) {
            return false;
        }
    }
    true
}

/// A lock with a number, as a device in a slot on a bus. The bug: its last register written after the
/// right key was written to each of the others, in order: nine bytes and an order must be right.
#[derive(Default)]
struct Lock {
    turned: u8,
}

/// The right keys, in order.
const KEYS: [u8; 4] = [0x3c, 0xa5, 0x69, 0xd2];

impl Lock {
    /// The key of register `AT`: a function for each, never inlined, so that each step towards the bug
    /// is code of its own, as it would be in a device.
    #[inline(never)]
    fn key<const AT: u8>(&mut self, value: u64) {
        if self.turned == AT && KEYS.get(usize::from(AT)).is_some_and(|key| u64::from(*key) == value) {
            self.turn();
        }
    }

    /// Never inlined either: an addition without a branch is invisible to the compiler's counters.
    #[inline(never)]
    fn turn(&mut self) {
        self.turned += 1;
    }
}

impl Device for Lock {
    const NAME: &'static str = "planted-lock";
    const VERSION: u32 = 1;
    type Saved = u8;

    fn read(&mut self, _offset: u64, _size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        Ok(u64::from(self.turned))
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        match offset {
            0 => self.key::<0>(value),
            1 => self.key::<1>(value),
            2 => self.key::<2>(value),
            3 => self.key::<3>(value),
            4 => assert!(self.turned < 4, "{MESSAGE}"),
            _ => return Err(NoRegister),
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn reset(&mut self, _now: Nanos) {
        self.turned = 0;
    }

    fn save(&self) -> u8 {
        self.turned
    }

    fn restore(&mut self, saved: u8) -> Result<(), RestoreError> {
        self.turned = saved;
        Ok(())
    }
}

fn device(input: &mut Input<'_>) -> Option<()> {
    // Never touched, so one for all inputs will do.
    static ARENA: OnceLock<Option<Arc<GuestRam>>> = OnceLock::new();
    let arena = ARENA.get_or_init(|| GuestRam::new(PAGE).ok().map(Arc::new));
    let mut builder = BusBuilder::new(Arc::clone(arena.as_ref()?));
    let slot = Slot::new(Lock::default(), Vec::new(), &Timers::new(Arc::new(Clock::virtual_())));
    builder.device("lock", 0x1000, 8, slot.target()).ok()?;
    let bus = builder.build();
    loop {
        let (offset, value) = (input.u8()?, input.u8()?);
        // No register answers at most offsets; a guest would take a fault and go on.
        let _ = bus.write(0x1000 + u64::from(offset % 8), 1, u64::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "planted bug reached")]
    fn the_parser_bug_is_there() {
        trip(Kind::Parser, &[3, 1, 0, 7, 4, 0x7f, 0x50, 0xc4, 0x99]);
    }

    #[test]
    #[should_panic(expected = "planted bug reached")]
    fn the_device_bug_is_there() {
        let mut bytes = Vec::new();
        for (at, key) in (0..).zip(KEYS) {
            bytes.extend([8 + at, key]);
        }
        bytes.extend([4, 0]);
        trip(Kind::Device, &bytes);
    }
}
