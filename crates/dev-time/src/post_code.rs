//! The latch at port 0x80: progress codes of firmware, and what Linux writes to let time go by.
//!
//! Source: IBM Personal Computer AT Technical Reference (1985), "I/O Address Map": the port is the page
//! register of a DMA channel that does not exist, so it reads back what was written.

use dev_core::{Device, NoRegister, RestoreError};
use fabric_clock::Nanos;

/// The latch.
#[derive(Debug, Default)]
pub struct PostCode {
    code: u8,
}

// ---- host side ----

impl PostCode {
    /// As after power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// The code written last.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl Device for PostCode {
    const NAME: &'static str = "post-code";
    const VERSION: u32 = 1;
    type Saved = saved::PostCodeV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if (offset, size) == (0, 1) { Ok(u64::from(self.code)) } else { Err(NoRegister) }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if (offset, size) != (0, 1) {
            return Err(NoRegister);
        }
        self.code = value as u8;
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn reset(&mut self, _now: Nanos) {
        self.code = 0;
    }

    fn save(&self) -> Self::Saved {
        let Self { code } = self;
        saved::PostCodeV1 { code: *code }
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let saved::PostCodeV1 { code } = saved;
        self.code = code;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct PostCodeV1 {
        /// The code written last.
        pub code: u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_code_reads_back() {
        let mut d = PostCode::new();
        d.write(0, 1, 0x1ab, 0).unwrap();
        assert_eq!((d.code(), d.read(0, 1, 0)), (0xab, Ok(0xab)));
        assert_eq!((d.read(0, 2, 0), d.write(1, 1, 0, 0)), (Err(NoRegister), Err(NoRegister)));
        d.reset(0);
        assert_eq!(d.code(), 0);
    }
}
