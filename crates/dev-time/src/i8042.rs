//! 8042 keyboard controller with no keyboard and no mouse: self-test, command byte, the reset line.
//!
//! Source: IBM Personal System/2 Hardware Interface Technical Reference (1988), "Keyboard and
//! Auxiliary Device Controller". Registers lie at ports 0x60 and 0x64, which are windows on offsets 0
//! and 4; between them nothing answers.
//!
//! What is sent to a keyboard that is not there is answered at once as the controller does after 20 ms
//! of silence: 0xfe with the time-out bit. Of an auxiliary port it knows nothing, as an AT's does not:
//! its test fails, and what it is asked to loop back comes back as from the keyboard. So a driver's
//! probe ends after a few answers rather than after its own time-outs.

use crate::Outcome;
use dev_core::{Device, NoRegister, RestoreError, read_bytes, registers, write_bytes};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from port 0x60.
    pub enum Reg {
        0 Data RW {}
        4 Status RO { obf: 0..0, ibf: 1..1, system: 2..2, command: 3..3, inhibit: 4..4, aux: 5..5, timeout: 6..6, parity: 7..7 }
    }
}

/// Commands (written to offset 4). Those with an argument take the next byte written to offset 0.
mod command {
    pub const READ_RAM: std::ops::RangeInclusive<u8> = 0x20..=0x3f;
    pub const WRITE_RAM: std::ops::RangeInclusive<u8> = 0x60..=0x7f;
    pub const TEST_AUX: u8 = 0xa9;
    pub const SELF_TEST: u8 = 0xaa;
    pub const TEST_KEYBOARD: u8 = 0xab;
    pub const DISABLE_KEYBOARD: u8 = 0xad;
    pub const ENABLE_KEYBOARD: u8 = 0xae;
    pub const READ_INPUT: u8 = 0xc0;
    pub const READ_OUTPUT: u8 = 0xd0;
    pub const WRITE_OUTPUT: u8 = 0xd1;
    pub const LOOP_KEYBOARD: u8 = 0xd2;
    pub const LOOP_AUX: u8 = 0xd3;
    pub const WRITE_AUX: u8 = 0xd4;
    /// Pulses those bits of the output port low that are 0 here; bit 0 is the reset line.
    pub const PULSE: std::ops::RangeInclusive<u8> = 0xf0..=0xff;
}

/// Command byte (RAM byte 0): interrupt when there is a byte to read.
const INTERRUPT: u8 = 1 << 0;
/// The system flag, which shows in the status register.
const SYSTEM: u8 = 1 << 2;
/// Keyboard disabled.
const DISABLED: u8 = 1 << 4;
/// Output port: bit 0 is the reset line (not asserted), bit 1 the A20 gate, which is always open.
const OUTPUT_PORT: u8 = 0b11;
/// The answer of a keyboard that is not there.
const RESEND: u8 = 0xfe;

// ---- state ----

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    /// The controller's RAM; byte 0 is the command byte.
    ram: [u8; 32],
    /// The byte to read, and the status bits that came with it.
    output: Option<(u8, u8)>,
    /// What was read last is still on the bus.
    last: u8,
    /// The last write was to offset 4.
    to_command: bool,
    /// The command that waits for its argument.
    awaits: Option<u8>,
    reset: bool,
}

impl State {
    fn new() -> Self {
        let mut state = State::default();
        state.set_command_byte(DISABLED);
        state
    }

    fn command_byte(&self) -> u8 {
        self.ram.first().copied().unwrap_or(0)
    }

    fn set_command_byte(&mut self, value: u8) {
        if let Some(byte) = self.ram.first_mut() {
            *byte = value;
        }
    }

    fn answer(&mut self, byte: u8) {
        self.output = Some((byte, 0));
    }

    fn status(&self) -> u8 {
        let flags = self.output.map_or(0, |(_, flags)| flags | Status::mask::obf as u8);
        let command = if self.to_command { Status::mask::command as u8 } else { 0 };
        // No key lock inhibits the keyboard.
        flags | command | self.command_byte() & SYSTEM | Status::mask::inhibit as u8
    }

    fn read_data(&mut self) -> u8 {
        if let Some((byte, _)) = self.output.take() {
            self.last = byte;
        }
        self.last
    }

    fn write_command(&mut self, byte: u8) {
        self.to_command = true;
        self.awaits = None;
        match byte {
            b if command::READ_RAM.contains(&b) => {
                let value = self.ram.get(usize::from(b & 31)).copied().unwrap_or(0);
                self.answer(value);
            }
            b if command::WRITE_RAM.contains(&b) => self.awaits = Some(b),
            command::WRITE_OUTPUT | command::LOOP_KEYBOARD | command::LOOP_AUX | command::WRITE_AUX => {
                self.awaits = Some(byte);
            }
            command::SELF_TEST => {
                self.set_command_byte(self.command_byte() | SYSTEM);
                self.answer(0x55);
            }
            command::TEST_KEYBOARD => self.answer(0x00),
            // "Clock line is stuck low."
            command::TEST_AUX => self.answer(0x01),
            command::DISABLE_KEYBOARD => self.set_command_byte(self.command_byte() | DISABLED),
            command::ENABLE_KEYBOARD => self.set_command_byte(self.command_byte() & !DISABLED),
            // Bit 7: the keyboard is not locked.
            command::READ_INPUT => self.answer(0x80),
            command::READ_OUTPUT => {
                let full = if self.output.is_some() { 0x10 } else { 0 };
                self.answer(OUTPUT_PORT | full);
            }
            b if command::PULSE.contains(&b) && b & 1 == 0 => self.reset = true,
            _ => {}
        }
    }

    fn write_data(&mut self, byte: u8) {
        self.to_command = false;
        match self.awaits.take() {
            // To the keyboard, or through the auxiliary port to nobody.
            None | Some(command::WRITE_AUX) => {
                self.set_command_byte(self.command_byte() & !DISABLED);
                self.output = Some((RESEND, Status::mask::timeout as u8));
            }
            Some(command::WRITE_OUTPUT) => self.reset |= byte & 1 == 0,
            Some(command::LOOP_KEYBOARD | command::LOOP_AUX) => self.answer(byte),
            Some(to) => {
                if let Some(ram) = self.ram.get_mut(usize::from(to & 31)) {
                    *ram = byte;
                }
            }
        }
    }
}

/// The controller. Output 0 is the keyboard's interrupt: IRQ 1 of a PC.
#[derive(Debug)]
pub struct I8042 {
    state: State,
}

// ---- host side ----

impl I8042 {
    /// As after power-on.
    pub fn new() -> Self {
        I8042 { state: State::new() }
    }

    /// [`Outcome::Reset`] once the guest has pulled the reset line.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.reset.then_some(Outcome::Reset)
    }
}

impl Default for I8042 {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for I8042 {
    const NAME: &'static str = "i8042";
    const VERSION: u32 = 1;
    type Saved = saved::I8042V1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        read_bytes(offset, size, |at| match Reg::at(at) {
            Some(Reg::Data) => Ok(self.state.read_data()),
            Some(Reg::Status) => Ok(self.state.status()),
            None => Err(NoRegister),
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        write_bytes(offset, size, value, |at, byte| {
            match Reg::at(at) {
                Some(Reg::Data) => self.state.write_data(byte),
                Some(Reg::Status) => self.state.write_command(byte),
                None => return Err(NoRegister),
            }
            Ok(())
        })
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.output.is_some() && self.state.command_byte() & INTERRUPT != 0)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn wants_host(&self) -> bool {
        self.state.reset
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::new();
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        self.state = saved::into_state(saved).ok_or(damaged)?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{State, Status, command};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct I8042V1 {
        /// The controller's RAM.
        pub ram: [u8; 32],
        /// Byte to read, and its status bits.
        pub output: Option<(u8, u8)>,
        /// Byte last read.
        pub last: u8,
        /// The last write was a command.
        pub to_command: bool,
        /// The command that waits for its argument.
        pub awaits: Option<u8>,
        /// The reset line was pulled.
        pub reset: bool,
    }

    pub(super) fn from_state(state: &State) -> I8042V1 {
        let &State { ram, output, last, to_command, awaits, reset } = state;
        I8042V1 { ram, output, last, to_command, awaits, reset }
    }

    /// `None` if no controller could be in such a state.
    pub(super) fn into_state(saved: I8042V1) -> Option<State> {
        let I8042V1 { ram, output, last, to_command, awaits, reset } = saved;
        let waits = |c: u8| {
            command::WRITE_RAM.contains(&c) || (command::WRITE_OUTPUT..=command::WRITE_AUX).contains(&c)
        };
        let good = output.is_none_or(|(_, flags)| flags == 0 || u64::from(flags) == Status::mask::timeout)
            && awaits.is_none_or(waits);
        good.then_some(State { ram, output, last, to_command, awaits, reset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(d: &mut I8042, at: u64, value: u64) {
        d.write(at, 1, value, 0).unwrap();
    }

    fn inb(d: &mut I8042, at: u64) -> u64 {
        d.read(at, 1, 0).unwrap()
    }

    #[test]
    fn the_controller_answers_for_itself() {
        let mut d = I8042::new();
        assert_eq!(inb(&mut d, 4), 0x10, "no byte to read");
        out(&mut d, 4, 0xaa);
        assert_eq!((inb(&mut d, 4), inb(&mut d, 0), inb(&mut d, 4)), (0x1d, 0x55, 0x1c));
        out(&mut d, 4, 0xab);
        assert_eq!((inb(&mut d, 0), inb(&mut d, 0)), (0, 0));
        out(&mut d, 4, 0x60);
        out(&mut d, 0, 0x45);
        out(&mut d, 4, 0x20);
        assert_eq!((d.lines(0, 0), inb(&mut d, 0), d.lines(0, 0)), (1, 0x45, 0));
        out(&mut d, 4, 0xad);
        out(&mut d, 4, 0x20);
        assert_eq!(inb(&mut d, 0), 0x55);
        out(&mut d, 4, 0xae);
        out(&mut d, 4, 0x20);
        assert_eq!(inb(&mut d, 0), 0x45);
        out(&mut d, 4, 0xd0);
        assert_eq!(inb(&mut d, 0), 3);
        out(&mut d, 4, 0xc0);
        assert_eq!(inb(&mut d, 0), 0x80);
        out(&mut d, 4, 0x7f);
        out(&mut d, 0, 9);
        out(&mut d, 4, 0x3f);
        assert_eq!(inb(&mut d, 0), 9);
    }

    #[test]
    fn there_is_no_keyboard_and_no_auxiliary_device() {
        let mut d = I8042::new();
        out(&mut d, 0, 0xff);
        assert_eq!((inb(&mut d, 4), inb(&mut d, 0)), (0x51, 0xfe));
        out(&mut d, 4, 0xd4);
        out(&mut d, 0, 0xf2);
        assert_eq!((inb(&mut d, 4), inb(&mut d, 0)), (0x51, 0xfe));
        out(&mut d, 4, 0xd3);
        out(&mut d, 0, 0x5a);
        assert_eq!((inb(&mut d, 4) & 0x20, inb(&mut d, 0)), (0, 0x5a), "not from an auxiliary device");
        out(&mut d, 4, 0xa9);
        assert_eq!(inb(&mut d, 0), 1);
    }

    #[test]
    fn the_reset_line() {
        for (command, argument, resets) in [
            (0xfe, None, true),
            (0xf0, None, true),
            (0xff, None, false),
            (0xd1, Some(2), true),
            (0xd1, Some(3), false),
        ] {
            let mut d = I8042::new();
            out(&mut d, 4, command);
            if let Some(argument) = argument {
                out(&mut d, 0, argument);
            }
            assert_eq!((d.wants_host(), d.outcome()), (resets, resets.then_some(Outcome::Reset)));
            d.reset(0);
            assert_eq!(d.outcome(), None);
        }
    }

    #[test]
    fn other_places_and_impossible_states() {
        let mut d = I8042::new();
        assert_eq!(d.read(1, 1, 0), Err(NoRegister));
        assert_eq!(d.write(4, 2, 0, 0), Err(NoRegister));
        let good = d.save();
        for change in [(|s| s.awaits = Some(0xaa)) as fn(&mut saved::I8042V1), |s| s.output = Some((0, 1))] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(d.restore(bad).is_err());
        }
        assert!(d.restore(good).is_ok());
    }
}
