//! ACPI's PM1a control register, as far as powering off needs it.
//!
//! Source: Advanced Configuration and Power Interface Specification 6.5, 4.8.3.2.1 "PM1 Control
//! Registers" (table 4.19). What SLP_TYP means is the machine's to say, in its `_S5` object: here 0 is
//! S5, as on QEMU's q35 and microvm, so that writing 0x2000 powers off with status 0. There are no
//! other sleeping states. Commonly at port 0x604.

use crate::Outcome;
use dev_core::{Device, NoRegister, RestoreError, read_bytes, registers, write_bytes};
use fabric_clock::Nanos;

registers! {
    /// The register; its upper 16 bits are not there, but take accesses.
    pub enum Reg {
        0 Control RW { sci_enable: 0..0, bm_rld: 1..1, global_release: 2..2, sleep_type: 12..10, sleep_enable: 13..13 }
    }
}

/// Bytes that the device occupies.
const SIZE: u64 = 4;
/// SLP_TYP of S5.
const SOFT_OFF: u64 = 0;
/// Bits that are kept; GBL_RLS and SLP_EN are write-only.
const KEPT: u64 = Control::mask::sci_enable | Control::mask::bm_rld | Control::mask::sleep_type;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    control: u16,
    off: bool,
}

/// The register.
#[derive(Debug, Default)]
pub struct Pm1Control {
    state: State,
}

// ---- host side ----

impl Pm1Control {
    /// As after power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// `Outcome::Exit(0)` once the guest has powered the machine off.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.off.then_some(Outcome::Exit(0))
    }
}

impl Device for Pm1Control {
    const NAME: &'static str = "pm1-control";
    const VERSION: u32 = 1;
    type Saved = saved::Pm1ControlV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let [low, high] = self.state.control.to_le_bytes();
        read_bytes(offset, size, |at| match at {
            0 => Ok(low),
            1 => Ok(high),
            2..SIZE => Ok(0),
            _ => Err(NoRegister),
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let mut word = u64::from(self.state.control);
        write_bytes(offset, size, value, |at, byte| {
            match at {
                0 => word = word & 0xff00 | u64::from(byte),
                1 => word = word & 0x00ff | u64::from(byte) << 8,
                2..SIZE => {}
                _ => return Err(NoRegister),
            }
            Ok(())
        })?;
        self.state.control = (word & KEPT) as u16;
        self.state.off |= Control::sleep_enable(word) != 0 && Control::sleep_type(word) == SOFT_OFF;
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn wants_host(&self) -> bool {
        self.state.off
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::default();
    }

    fn save(&self) -> Self::Saved {
        let State { control, off } = self.state;
        saved::Pm1ControlV1 { control, off }
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let saved::Pm1ControlV1 { control, off } = saved;
        if u64::from(control) & !KEPT != 0 {
            return Err(RestoreError::Damaged { device: Self::NAME });
        }
        self.state = State { control, off };
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Pm1ControlV1 {
        /// The register.
        pub control: u16,
        /// The guest has powered off.
        pub off: bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_enable_with_the_type_of_s5_powers_off() {
        for (offset, size, value, off) in [
            (0, 4, 0x2000, true),
            (0, 2, 0x2001, true),
            (1, 1, 0x20, true),
            (0, 2, 0x3c00, false),
            (0, 2, 0x1c00, false),
            (2, 2, 0x2000, false),
        ] {
            let mut d = Pm1Control::new();
            d.write(offset, size, value, 0).unwrap();
            assert_eq!((d.outcome(), d.wants_host()), (off.then_some(Outcome::Exit(0)), off), "{value:#x}");
            d.reset(0);
            assert_eq!(d.outcome(), None);
        }
    }

    #[test]
    fn what_is_kept_reads_back() {
        let mut d = Pm1Control::new();
        d.write(0, 2, 0xdfff, 0).unwrap();
        assert_eq!((d.read(0, 4, 0), d.read(1, 1, 0)), (Ok(0x1c03), Ok(0x1c)));
        assert_eq!((d.read(2, 4, 0), d.write(4, 1, 0, 0)), (Err(NoRegister), Err(NoRegister)));
        assert!(d.restore(saved::Pm1ControlV1 { control: 0x2000, off: false }).is_err());
        assert!(d.restore(saved::Pm1ControlV1 { control: 0x1c03, off: true }).is_ok());
    }
}
