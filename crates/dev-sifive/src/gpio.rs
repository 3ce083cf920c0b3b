//! SiFive's GPIO controller, with 16 pins as in the FU540-C000.
//!
//! Source: SiFive FU540-C000 Manual, chapter "General Purpose Input/Output Controller (GPIO)".
//! What it does not say (levels are latched like edges, a set bit wins over its
//! clearing) is as in SiFive's published RTL (sifive-blocks, `GPIO.scala`).
//!
//! A pin is what drives it: the controller while its output is enabled, else something outside, else its
//! pull-up; one that nothing drives reads 0. A pin given to a hardware function (`iof_en`) is driven by
//! none, as no device here has one.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address (memory map): a bit a pin.
    pub enum Reg {
        0x00 InputVal RO { pins: 15..0 }
        0x04 InputEn RW { pins: 15..0 }
        0x08 OutputEn RW { pins: 15..0 }
        0x0c OutputVal RW { pins: 15..0 }
        0x10 Pue RW { pins: 15..0 }
        0x14 Ds RW { pins: 15..0 }
        0x18 RiseIe RW { pins: 15..0 }
        0x1c RiseIp RW { pins: 15..0 }
        0x20 FallIe RW { pins: 15..0 }
        0x24 FallIp RW { pins: 15..0 }
        0x28 HighIe RW { pins: 15..0 }
        0x2c HighIp RW { pins: 15..0 }
        0x30 LowIe RW { pins: 15..0 }
        0x34 LowIp RW { pins: 15..0 }
        0x38 IofEn RW { pins: 15..0 }
        0x3c IofSel RW { pins: 15..0 }
        0x40 OutXor RW { pins: 15..0 }
    }
}

/// Pins.
const PINS: u32 = 16;

// ---- state ----

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    input_en: u16,
    output_en: u16,
    output_val: u16,
    pue: u16,
    ds: u16,
    rise_ie: u16,
    rise_ip: u16,
    fall_ie: u16,
    fall_ip: u16,
    high_ie: u16,
    high_ip: u16,
    low_ie: u16,
    low_ip: u16,
    iof_en: u16,
    iof_sel: u16,
    out_xor: u16,
    /// Pins that something outside drives, and to what.
    driven: u16,
    driven_to: u16,
    /// What the inputs were when they were last looked at.
    seen: u16,
    /// The pin that restarts has been driven low.
    restart: bool,
}

impl State {
    fn reset(driven: u16, driven_to: u16) -> State {
        let mut state = State {
            input_en: 0,
            output_en: 0,
            output_val: 0,
            pue: 0,
            ds: 0,
            rise_ie: 0,
            rise_ip: 0,
            fall_ie: 0,
            fall_ip: 0,
            high_ie: 0,
            high_ip: 0,
            low_ie: 0,
            low_ip: 0,
            iof_en: 0,
            iof_sel: 0,
            out_xor: 0,
            driven,
            driven_to,
            seen: 0,
            restart: false,
        };
        state.look();
        state
    }

    /// Pins that the controller drives, and to what.
    fn output(&self) -> (u16, u16) {
        (self.output_en & !self.iof_en, self.output_val ^ self.out_xor)
    }

    /// Levels of the pins.
    fn pads(&self) -> u16 {
        let (ours, level) = self.output();
        let outside = self.driven & self.driven_to | !self.driven & self.pue;
        ours & level | !ours & outside
    }

    /// What the inputs show: pins with a disabled input read 0 ("Input / Output Values").
    fn inputs(&self) -> u16 {
        self.pads() & self.input_en
    }

    /// Latches edges and levels ("Interrupts").
    fn look(&mut self) {
        let now = self.inputs();
        self.rise_ip |= now & !self.seen;
        self.fall_ip |= !now & self.seen;
        self.high_ip |= now;
        self.low_ip |= !now;
        self.seen = now;
    }

    fn pending(&self) -> u16 {
        self.rise_ip & self.rise_ie
            | self.fall_ip & self.fall_ie
            | self.high_ip & self.high_ie
            | self.low_ip & self.low_ie
    }
}

/// The controller. Input `n` drives pin `n` from outside; output `n` is the interrupt of pin `n`.
#[derive(Debug)]
pub struct Gpio {
    state: State,
    /// The pin that is joined to the board's reset, active low.
    restart_pin: u32,
}

// ---- host side ----

impl Gpio {
    /// A controller after reset, on a board where pin `restart_pin` restarts the machine when the
    /// controller drives it low.
    pub fn new(restart_pin: u32) -> Self {
        Gpio { state: State::reset(0, 0), restart_pin }
    }

    /// Whether the guest has asked for a restart.
    pub fn restart(&self) -> bool {
        self.state.restart
    }

    /// The levels of the pins, a bit each.
    pub fn pins(&self) -> u16 {
        self.state.pads()
    }

    fn settle(&mut self) {
        self.state.look();
        let (ours, level) = self.state.output();
        self.state.restart |= (ours & !level).checked_shr(self.restart_pin).unwrap_or(0) & 1 != 0;
    }
}

impl Device for Gpio {
    const NAME: &'static str = "sifive-gpio";
    const VERSION: u32 = 1;
    type Saved = saved::GpioV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let s = &self.state;
        let pins = match Reg::at(offset).filter(|_| size == 4).ok_or(NoRegister)? {
            Reg::InputVal => s.inputs(),
            Reg::InputEn => s.input_en,
            Reg::OutputEn => s.output_en,
            Reg::OutputVal => s.output_val,
            Reg::Pue => s.pue,
            Reg::Ds => s.ds,
            Reg::RiseIe => s.rise_ie,
            Reg::RiseIp => s.rise_ip,
            Reg::FallIe => s.fall_ie,
            Reg::FallIp => s.fall_ip,
            Reg::HighIe => s.high_ie,
            Reg::HighIp => s.high_ip,
            Reg::LowIe => s.low_ie,
            Reg::LowIp => s.low_ip,
            Reg::IofEn => s.iof_en,
            Reg::IofSel => s.iof_sel,
            Reg::OutXor => s.out_xor,
        };
        Ok(pins.into())
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let register = Reg::at(offset).filter(|_| size == 4).ok_or(NoRegister)?;
        let s = &mut self.state;
        let pins = value as u16;
        match register {
            Reg::InputVal => {}
            Reg::InputEn => s.input_en = pins,
            Reg::OutputEn => s.output_en = pins,
            Reg::OutputVal => s.output_val = pins,
            Reg::Pue => s.pue = pins,
            Reg::Ds => s.ds = pins,
            Reg::RiseIe => s.rise_ie = pins,
            Reg::FallIe => s.fall_ie = pins,
            Reg::HighIe => s.high_ie = pins,
            Reg::LowIe => s.low_ie = pins,
            // Ones clear; what still is so is latched again at once ("Interrupts").
            Reg::RiseIp => s.rise_ip &= !pins,
            Reg::FallIp => s.fall_ip &= !pins,
            Reg::HighIp => s.high_ip &= !pins,
            Reg::LowIp => s.low_ip &= !pins,
            Reg::IofEn => s.iof_en = pins,
            Reg::IofSel => s.iof_sel = pins,
            Reg::OutXor => s.out_xor = pins,
        }
        self.settle();
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        self.state.pending().into()
    }

    fn outputs(&self) -> usize {
        PINS as usize
    }

    fn input(&mut self, input: u32, high: bool) {
        if input < PINS {
            let pin = 1u16 << input;
            self.state.driven |= pin;
            self.state.driven_to = self.state.driven_to & !pin | if high { pin } else { 0 };
            self.settle();
        }
    }

    fn wants_host(&self) -> bool {
        self.state.restart
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::reset(self.state.driven, self.state.driven_to);
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        self.state = saved::into_state(saved).ok_or(RestoreError::Damaged { device: Self::NAME })?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::State;
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order, bits are pins.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the fields are the registers of their names")]
    pub struct GpioV1 {
        pub input_en: u16,
        pub output_en: u16,
        pub output_val: u16,
        pub pue: u16,
        pub ds: u16,
        /// Interrupt enables: rise, fall, high, low.
        pub ie: [u16; 4],
        /// Interrupts pending, likewise.
        pub ip: [u16; 4],
        pub iof_en: u16,
        pub iof_sel: u16,
        pub out_xor: u16,
        /// Pins driven from outside, and to what.
        pub driven: (u16, u16),
        pub restart: bool,
    }

    pub(super) fn from_state(state: &State) -> GpioV1 {
        let State {
            input_en,
            output_en,
            output_val,
            pue,
            ds,
            rise_ie,
            rise_ip,
            fall_ie,
            fall_ip,
            high_ie,
            high_ip,
            low_ie,
            low_ip,
            iof_en,
            iof_sel,
            out_xor,
            driven,
            driven_to,
            // What the inputs are: every change is looked at.
            seen: _,
            restart,
        } = *state;
        GpioV1 {
            input_en,
            output_en,
            output_val,
            pue,
            ds,
            ie: [rise_ie, fall_ie, high_ie, low_ie],
            ip: [rise_ip, fall_ip, high_ip, low_ip],
            iof_en,
            iof_sel,
            out_xor,
            driven: (driven, driven_to),
            restart,
        }
    }

    /// `None` if the controller could not be in such a state.
    pub(super) fn into_state(saved: GpioV1) -> Option<State> {
        let GpioV1 {
            input_en,
            output_en,
            output_val,
            pue,
            ds,
            ie: [rise_ie, fall_ie, high_ie, low_ie],
            ip: [rise_ip, fall_ip, high_ip, low_ip],
            iof_en,
            iof_sel,
            out_xor,
            driven: (driven, driven_to),
            restart,
        } = saved;
        let mut state = State {
            input_en,
            output_en,
            output_val,
            pue,
            ds,
            rise_ie,
            rise_ip,
            fall_ie,
            fall_ip,
            high_ie,
            high_ip,
            low_ie,
            low_ip,
            iof_en,
            iof_sel,
            out_xor,
            driven,
            driven_to,
            seen: 0,
            restart,
        };
        state.seen = state.inputs();
        // A level that is there is latched.
        let looked = high_ip & state.seen == state.seen && low_ip | state.seen == u16::MAX;
        (looked && driven_to & !driven == 0).then_some(state)
    }
}

#[cfg(test)]
#[path = "gpio_test.rs"]
mod tests;
