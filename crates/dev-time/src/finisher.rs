//! SiFive test finisher: one register that ends or restarts the machine.
//!
//! Sources: SiFive TestRIO ("sifive,test0", "sifive,test1" device-tree bindings): the low half of the
//! word says what, the high half is the exit code of a failure; `Documentation/devicetree/bindings/
//! power/reset/syscon-{poweroff,reboot}.yaml` of Linux for how guests reach it.
//!
//! The first outcome stands until the machine resets the device: the processor may run on a little
//! before the machine stops it, and must not be able to change its mind.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address.
    pub enum Reg {
        0 Finish WO { status: 15..0, code: 31..16 }
    }
}

const FAIL: u64 = 0x3333;
const PASS: u64 = 0x5555;
const RESET: u64 = 0x7777;

// ---- state ----

/// What the guest asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Power off; the exit status is the guest's: 0 is success.
    Exit(u16),
    /// Start again as after power-on.
    Reset,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    outcome: Option<Outcome>,
}

/// The finisher.
#[derive(Debug, Default)]
pub struct Finisher {
    state: State,
}

// ---- host side ----

impl Finisher {
    /// A finisher nobody has written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the guest has asked for, if anything.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.outcome
    }
}

impl Device for Finisher {
    const NAME: &'static str = "sifive-finisher";
    const VERSION: u32 = 1;
    type Saved = saved::FinisherV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if matches!(size, 2 | 4) { Reg::at(offset).map(|_| 0).ok_or(NoRegister) } else { Err(NoRegister) }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let value = match size {
            2 => value & 0xffff,
            4 => value,
            _ => return Err(NoRegister),
        };
        Reg::at(offset).ok_or(NoRegister)?;
        let asked = match Finish::status(value) {
            PASS => Some(Outcome::Exit(0)),
            FAIL => Some(Outcome::Exit(Finish::code(value) as u16)),
            RESET => Some(Outcome::Reset),
            _ => None,
        };
        self.state.outcome = self.state.outcome.or(asked);
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn wants_host(&self) -> bool {
        self.state.outcome.is_some()
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::default();
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        self.state = saved::into_state(saved);
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{Outcome, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields and variants are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct FinisherV1 {
        /// What the guest asked for.
        pub outcome: OutcomeV1,
    }

    /// An outcome.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum OutcomeV1 {
        /// None yet.
        None,
        /// Power off with this exit status.
        Exit(u16),
        /// Reset.
        Reset,
    }

    pub(super) fn from_state(state: &State) -> FinisherV1 {
        let State { outcome } = state;
        let outcome = match outcome {
            None => OutcomeV1::None,
            Some(Outcome::Exit(code)) => OutcomeV1::Exit(*code),
            Some(Outcome::Reset) => OutcomeV1::Reset,
        };
        FinisherV1 { outcome }
    }

    pub(super) fn into_state(saved: FinisherV1) -> State {
        let FinisherV1 { outcome } = saved;
        let outcome = match outcome {
            OutcomeV1::None => None,
            OutcomeV1::Exit(code) => Some(Outcome::Exit(code)),
            OutcomeV1::Reset => Some(Outcome::Reset),
        };
        State { outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: u64) -> Option<Outcome> {
        let mut d = Finisher::new();
        d.write(0, 4, value, 0).unwrap();
        assert_eq!(d.wants_host(), d.outcome().is_some());
        d.outcome()
    }

    #[test]
    fn the_low_half_says_what_and_the_high_half_the_code() {
        assert_eq!(after(0x5555), Some(Outcome::Exit(0)));
        assert_eq!(after(0x0007_5555), Some(Outcome::Exit(0)));
        assert_eq!(after(0x0001_3333), Some(Outcome::Exit(1)));
        assert_eq!(after(0xffff_3333), Some(Outcome::Exit(0xffff)));
        assert_eq!(after(0x7777), Some(Outcome::Reset));
        assert_eq!(after(0), None);
        assert_eq!(after(0x5555_0000), None);
    }

    #[test]
    fn the_first_outcome_stands_until_reset() {
        let mut d = Finisher::new();
        d.write(0, 2, 0x3333, 0).unwrap();
        d.write(0, 4, 0x7777, 0).unwrap();
        assert_eq!(d.outcome(), Some(Outcome::Exit(0)));
        d.reset(0);
        assert_eq!(d.outcome(), None);
        d.write(0, 4, 0x7777, 0).unwrap();
        assert_eq!(d.outcome(), Some(Outcome::Reset));
    }

    #[test]
    fn there_is_one_register_and_it_reads_as_zero() {
        let mut d = Finisher::new();
        assert_eq!(d.read(0, 4, 0), Ok(0));
        for (offset, size) in [(0, 1), (0, 8), (2, 2), (4, 4)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister));
            assert_eq!(d.write(offset, size, 0x5555, 0), Err(NoRegister));
        }
        assert_eq!(d.outcome(), None);
    }
}
