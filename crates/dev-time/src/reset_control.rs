//! The chipset's reset control register, port 0xcf9.
//!
//! Source: Intel I/O Controller Hub 9 datasheet (316972), "RST_CNT - Reset Control Register". Soft,
//! hard and full resets are the same here: the machine starts again as after power-on.

use crate::Outcome;
use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

registers! {
    /// The register.
    pub enum Reg {
        0 Control RW { system: 1..1, reset: 2..2, full: 3..3 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    control: u8,
    reset: bool,
}

/// The register.
#[derive(Debug, Default)]
pub struct ResetControl {
    state: State,
}

// ---- host side ----

impl ResetControl {
    /// As after power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// [`Outcome::Reset`] once the guest has asked for it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.reset.then_some(Outcome::Reset)
    }
}

impl Device for ResetControl {
    const NAME: &'static str = "reset-control";
    const VERSION: u32 = 1;
    type Saved = saved::ResetControlV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if (offset, size) == (0, 1) { Ok(u64::from(self.state.control)) } else { Err(NoRegister) }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if (offset, size) != (0, 1) {
            return Err(NoRegister);
        }
        // "RST_CPU: transitions from 0 to 1 initiate a reset."
        let before = Control::reset(u64::from(self.state.control));
        self.state.reset |= before == 0 && Control::reset(value) == 1;
        self.state.control = (value & Control::FIELDS) as u8;
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn wants_host(&self) -> bool {
        self.state.reset
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::default();
    }

    fn save(&self) -> Self::Saved {
        let State { control, reset } = self.state;
        saved::ResetControlV1 { control, reset }
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let saved::ResetControlV1 { control, reset } = saved;
        if u64::from(control) & !Control::FIELDS != 0 {
            return Err(RestoreError::Damaged { device: Self::NAME });
        }
        self.state = State { control, reset };
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ResetControlV1 {
        /// The register.
        pub control: u8,
        /// The guest has asked for a reset.
        pub reset: bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_a_rising_bit_2() {
        let mut d = ResetControl::new();
        d.write(0, 1, 0xfb, 0).unwrap();
        assert_eq!((d.read(0, 1, 0), d.outcome()), (Ok(0x0a), None));
        d.write(0, 1, 0x06, 0).unwrap();
        assert_eq!((d.wants_host(), d.outcome()), (true, Some(Outcome::Reset)));
        d.reset(0);
        assert_eq!((d.read(0, 1, 0), d.outcome()), (Ok(0), None));
        d.restore(saved::ResetControlV1 { control: 4, reset: false }).unwrap();
        d.write(0, 1, 0x04, 0).unwrap();
        assert_eq!(d.outcome(), None, "high before");
        assert!(d.restore(saved::ResetControlV1 { control: 1, reset: false }).is_err());
        assert_eq!((d.read(0, 2, 0), d.write(1, 1, 4, 0)), (Err(NoRegister), Err(NoRegister)));
    }
}
