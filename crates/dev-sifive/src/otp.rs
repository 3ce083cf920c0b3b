//! OTP: the one-time programmable memory of SiFive's FU540-C000, read and programmed by moving the pins
//! of its macro.
//!
//! Sources: SiFive FU540-C000 Manual, chapter "One-Time Programmable Memory (OTP)", for the pins;
//! U-Boot, `drivers/misc/sifive-otp.c`, and QEMU's machine `sifive_u`, for the order in which they are
//! moved and where the serial number is: word 0xfc, its complement behind it.
//!
//! A read is answered as soon as the address is there; times that a program has to wait do not pass.
//! There is no spare cell: what is programmed with PAS set changes nothing. Fuses that nobody has
//! programmed read as ones, and each can be programmed once, to 0 or 1. What is programmed lasts as long
//! as the machine.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address (memory map): one register a pin or group of pins.
    pub enum Reg {
        0x00 Pa RW { address: 11..0 }
        0x04 Paio RW { bit: 4..0 }
        0x08 Pas RW { pin: 0..0 }
        0x0c Pce RW { pin: 0..0 }
        0x10 Pclk RW { pin: 0..0 }
        0x14 Pdin RW { pin: 0..0 }
        0x18 Pdout RO { data: 31..0 }
        0x1c Pdstb RW { pin: 0..0 }
        0x20 Pprog RW { pin: 0..0 }
        0x24 Ptc RW { bits: 4..0 }
        0x28 Ptm RW { bits: 2..0 }
        0x2c PtmRep RW { bits: 2..0 }
        0x30 Ptr RW { bits: 1..0 }
        0x34 Ptrim RW { pin: 0..0 }
        0x38 Pwe RW { pin: 0..0 }
    }
}

/// Pins in the registers' order, with what can be written of each.
const PINS: [u64; 15] = [
    Pa::FIELDS,
    Paio::FIELDS,
    Pas::FIELDS,
    Pce::FIELDS,
    Pclk::FIELDS,
    Pdin::FIELDS,
    0,
    Pdstb::FIELDS,
    Pprog::FIELDS,
    Ptc::FIELDS,
    Ptm::FIELDS,
    PtmRep::FIELDS,
    Ptr::FIELDS,
    Ptrim::FIELDS,
    Pwe::FIELDS,
];

/// Words of 32 fuses.
const WORDS: u16 = 0x1000;
/// The word that holds the serial number; the next holds its complement.
const SERIAL: u16 = 0xfc;
/// What the output pins read while the macro is not ready.
const NOT_READY: u64 = 0xff;

// ---- state ----

/// A word of which fuses have been programmed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Word {
    address: u16,
    value: u32,
    /// Which.
    programmed: u32,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    /// Levels of the pins, by register.
    pins: [u32; 15],
    /// By address, ascending.
    words: Vec<Word>,
}

/// The memory.
#[derive(Debug)]
pub struct Otp {
    state: State,
}

// ---- host side ----

impl Otp {
    /// A memory in which nothing but the serial number is programmed.
    pub fn new(serial: u32) -> Self {
        let word = |address, value| Word { address, value, programmed: u32::MAX };
        let words = vec![word(SERIAL, serial), word(SERIAL + 1, !serial)];
        Otp { state: State { pins: [0; 15], words } }
    }
}

impl State {
    fn pin(&self, register: Reg) -> u32 {
        self.pins.get(register as usize / 4).copied().unwrap_or(0)
    }

    fn place(&self) -> (u16, Result<usize, usize>) {
        let address = self.pin(Reg::Pa) as u16;
        (address, self.words.binary_search_by_key(&address, |word| word.address))
    }

    /// The word at the address pins; the macro has to be enabled, awake and trimmed.
    fn output(&self) -> u64 {
        if [Reg::Pce, Reg::Pdstb, Reg::Ptrim].iter().any(|&pin| self.pin(pin) == 0) {
            return NOT_READY;
        }
        let (_, place) = self.place();
        place.ok().and_then(|at| self.words.get(at)).map_or(u32::MAX, |word| word.value).into()
    }

    /// PWE rises: programs one fuse.
    fn program(&mut self) {
        if self.pin(Reg::Pas) != 0 {
            return;
        }
        let (address, place) = self.place();
        let at = place.unwrap_or_else(|at| {
            self.words.insert(at, Word { address, value: u32::MAX, programmed: 0 });
            at
        });
        let (bit, high) = (1 << self.pin(Reg::Paio), self.pin(Reg::Pdin) != 0);
        if let Some(word) = self.words.get_mut(at)
            && word.programmed & bit == 0
        {
            word.programmed |= bit;
            word.value = if high { word.value | bit } else { word.value & !bit };
        }
    }
}

impl Device for Otp {
    const NAME: &'static str = "fu540-otp";
    const VERSION: u32 = 1;
    type Saved = saved::OtpV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        match Reg::at(offset).filter(|_| size == 4).ok_or(NoRegister)? {
            Reg::Pdout => Ok(self.state.output()),
            register => Ok(self.state.pin(register).into()),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let register = Reg::at(offset).filter(|_| size == 4).ok_or(NoRegister)?;
        let index = register as usize / 4;
        let level = (value & PINS.get(index).copied().unwrap_or(0)) as u32;
        let old = self.state.pin(register);
        if let Some(pin) = self.state.pins.get_mut(index) {
            *pin = level;
        }
        if register == Reg::Pwe && old == 0 && level != 0 {
            self.state.program();
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
        self.state.pins = [0; 15];
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
    use super::{PINS, State, WORDS, Word};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct OtpV1 {
        /// Levels of the pins, by register.
        pub pins: [u32; 15],
        /// Words with programmed fuses, by address: address, value, which fuses.
        pub words: Vec<(u16, u32, u32)>,
    }

    pub(super) fn from_state(state: &State) -> OtpV1 {
        let State { pins, words } = state;
        let word = |Word { address, value, programmed }: &Word| (*address, *value, *programmed);
        OtpV1 { pins: *pins, words: words.iter().map(word).collect() }
    }

    /// `None` if the memory could not be in such a state.
    pub(super) fn into_state(saved: OtpV1) -> Option<State> {
        let OtpV1 { pins, words } = saved;
        let levels = pins.iter().zip(PINS).all(|(&pin, mask)| u64::from(pin) & !mask == 0);
        let order = words.iter().zip(words.iter().skip(1)).all(|(one, next)| one.0 < next.0);
        let fuses = words.iter().all(|&(address, value, programmed)| {
            address < WORDS && programmed != 0 && value | programmed == u32::MAX
        });
        let word = |(address, value, programmed)| Word { address, value, programmed };
        (levels && order && fuses).then(|| State { pins, words: words.into_iter().map(word).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(d: &mut Otp, register: Reg, value: u64) {
        d.write(register as u64, 4, value, 0).unwrap();
    }

    /// As U-Boot reads a word.
    fn word(d: &mut Otp, address: u64) -> u64 {
        for pin in [Reg::Pdstb, Reg::Ptrim, Reg::Pce] {
            set(d, pin, 1);
        }
        set(d, Reg::Pa, address);
        set(d, Reg::Pclk, 1);
        set(d, Reg::Pclk, 0);
        d.read(Reg::Pdout as u64, 4, 0).unwrap()
    }

    /// As U-Boot programs one: both copies of each bit.
    fn program(d: &mut Otp, address: u64, value: u64) {
        set(d, Reg::Pprog, 1);
        set(d, Reg::Pa, address);
        for spare in [0, 1] {
            set(d, Reg::Pas, spare);
            for bit in 0..32 {
                set(d, Reg::Paio, bit);
                set(d, Reg::Pdin, value >> bit & 1);
                set(d, Reg::Pwe, 1);
                set(d, Reg::Pwe, 0);
            }
        }
        set(d, Reg::Pas, 0);
        set(d, Reg::Pprog, 0);
    }

    #[test]
    fn the_serial_number_is_followed_by_its_complement() {
        let mut d = Otp::new(0x1234_5678);
        assert_eq!((word(&mut d, 0xfc), word(&mut d, 0xfd)), (0x1234_5678, 0xedcb_a987));
        assert_eq!((word(&mut d, 0), word(&mut d, 0xfff)), (0xffff_ffff, 0xffff_ffff));
    }

    #[test]
    fn a_macro_that_is_off_gives_no_word() {
        let mut d = Otp::new(7);
        assert_eq!(word(&mut d, 0xfc), 7);
        for pin in [Reg::Pdstb, Reg::Ptrim, Reg::Pce] {
            set(&mut d, pin, 0);
            assert_eq!(d.read(0x18, 4, 0), Ok(0xff));
            set(&mut d, pin, 1);
        }
        assert_eq!(d.read(0x18, 4, 0), Ok(7));
    }

    #[test]
    fn a_fuse_is_programmed_once() {
        let mut d = Otp::new(7);
        program(&mut d, 0x10, 0x5a5a_0000);
        assert_eq!(word(&mut d, 0x10), 0x5a5a_0000);
        program(&mut d, 0x10, 0xffff_ffff);
        assert_eq!(word(&mut d, 0x10), 0x5a5a_0000);
        program(&mut d, 0xfc, 0);
        assert_eq!(word(&mut d, 0xfc), 7, "the maker has programmed it");
        d.reset(0);
        assert_eq!(word(&mut d, 0x10), 0x5a5a_0000, "a reset moves pins only");
    }

    #[test]
    fn only_a_rising_pwe_programs() {
        let mut d = Otp::new(7);
        set(&mut d, Reg::Pa, 3);
        set(&mut d, Reg::Pwe, 1);
        set(&mut d, Reg::Paio, 1);
        set(&mut d, Reg::Pwe, 1);
        assert_eq!(word(&mut d, 3), 0xffff_fffe);
    }

    #[test]
    fn pins_are_as_many_as_there_are_and_read_back() {
        let mut d = Otp::new(7);
        for (index, mask) in PINS.into_iter().enumerate().filter(|(index, _)| *index != 6) {
            let offset = index as u64 * 4;
            d.write(offset, 4, 0xffff_ffff, 0).unwrap();
            assert_eq!(d.read(offset, 4, 0), Ok(mask), "{offset:#x}");
        }
        for (offset, size) in [(0x3c, 4), (0, 8), (0, 2), (2, 4)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister));
        }
    }

    #[test]
    fn fuses_that_contradict_themselves_are_not_restored() {
        let mut d = Otp::new(7);
        for words in [vec![(5, 0, 1)], vec![(0x1000, 0, u32::MAX)], vec![(6, 0, u32::MAX), (5, 0, u32::MAX)]]
        {
            assert!(d.restore(saved::OtpV1 { words, ..d.save() }).is_err());
        }
        assert!(d.restore(d.save()).is_ok());
    }
}
