//! A port through which a test program ends the machine with a status.
//!
//! Source: QEMU's documented `isa-debug-exit` device: a write of `v` ends it with status `2v + 1`. So
//! no write gives 0; a program that wants that powers off through [`Pm1Control`](crate::Pm1Control).

use crate::Outcome;
use dev_core::{Device, NoRegister, RestoreError};
use fabric_clock::Nanos;

/// Bytes that the device occupies.
const SIZE: u64 = 4;

/// The port, commonly at 0xf4.
#[derive(Debug, Default)]
pub struct DebugExit {
    written: Option<u32>,
}

// ---- host side ----

impl DebugExit {
    /// One that nobody has written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the guest has asked for, if anything. The process's exit status has eight bits of it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.written.map(|value| Outcome::Exit((value << 1 | 1) as u16))
    }
}

impl Device for DebugExit {
    const NAME: &'static str = "debug-exit";
    const VERSION: u32 = 1;
    type Saved = saved::DebugExitV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if offset < SIZE && size <= 4 { Ok(0) } else { Err(NoRegister) }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if offset >= SIZE || size > 4 {
            return Err(NoRegister);
        }
        let mask = u32::MAX >> (32 - 8 * u32::from(size.max(1)));
        // The first write stands.
        self.written.get_or_insert(value as u32 & mask);
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn wants_host(&self) -> bool {
        self.written.is_some()
    }

    fn reset(&mut self, _now: Nanos) {
        self.written = None;
    }

    fn save(&self) -> Self::Saved {
        let Self { written } = self;
        saved::DebugExitV1 { written: *written }
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let saved::DebugExitV1 { written } = saved;
        self.written = written;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct DebugExitV1 {
        /// What was written first.
        pub written: Option<u32>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_twice_the_value_and_one() {
        for (size, value, status) in
            [(1, 0, 1), (1, 0x10, 33), (1, 0x1ff, 0x1ff), (4, 0x7fff, 0xffff), (2, 42, 85)]
        {
            let mut d = DebugExit::new();
            assert_eq!((d.outcome(), d.wants_host()), (None, false));
            d.write(0, size, value, 0).unwrap();
            d.write(0, 1, 99, 0).unwrap();
            assert_eq!((d.outcome(), d.wants_host()), (Some(Outcome::Exit(status)), true));
            d.reset(0);
            assert_eq!(d.outcome(), None);
        }
    }

    #[test]
    fn it_reads_as_zero_and_is_four_bytes_long() {
        let mut d = DebugExit::new();
        assert_eq!((d.read(0, 4, 0), d.read(3, 1, 0)), (Ok(0), Ok(0)));
        for (offset, size) in [(4, 1), (0, 8)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister));
            assert_eq!(d.write(offset, size, 1, 0), Err(NoRegister));
        }
        assert_eq!(d.outcome(), None);
    }
}
