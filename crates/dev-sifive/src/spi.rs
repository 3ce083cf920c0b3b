//! The SPI controller of SiFive's FU540-C000.
//!
//! Source: SiFive FU540-C000 Manual v1p4, chapter "Serial Peripheral Interface (SPI)".
//!
//! A frame takes no time: what is written to the transmit FIFO has been sent, and what came back is in the receive FIFO, when
//! the write is done. What comes while the receive FIFO is full is lost. The line of a chip select is where its registers
//! say, so that a device whose select is active by being high, as a driver may say that it is, does not see the clocks.
//!
//! Behind the first chip select may be an SD card. It takes frames of eight bits on one line; others it does not see. The
//! flash interface has registers and no flash memory behind it; while it is enabled, as at reset, the transmit FIFO keeps
//! what it has.

use crate::spi_saved as saved;
use dev_core::{Device, NoRegister, RestoreError, registers};
use dev_sd::Card;
use fabric_clock::Nanos;
use std::collections::VecDeque;

// ---- registers ----

registers! {
    /// Offsets from the base address (table "Register offsets within the SPI memory map").
    pub enum Reg {
        0x00 Sckdiv RW { div: 11..0 }
        0x04 Sckmode RW { pha: 0..0, pol: 1..1 }
        0x10 Csid RW { csid: 31..0 }
        0x14 Csdef RW { csdef: 31..0 }
        0x18 Csmode RW { mode: 1..0 }
        0x28 Delay0 RW { cssck: 7..0, sckcs: 23..16 }
        0x2c Delay1 RW { intercs: 7..0, interxfr: 23..16 }
        0x40 Fmt RW { proto: 1..0, endian: 2..2, dir: 3..3, len: 19..16 }
        0x48 Txdata RW { data: 7..0, full: 31..31 }
        0x4c Rxdata RO { data: 7..0, empty: 31..31 }
        0x50 Txmark RW { txmark: 2..0 }
        0x54 Rxmark RW { rxmark: 2..0 }
        0x60 Fctrl RW { en: 0..0 }
        0x64 Ffmt RW {
            cmd_en: 0..0, addr_len: 3..1, pad_cnt: 7..4, cmd_proto: 9..8, addr_proto: 11..10, data_proto: 13..12,
            cmd_code: 23..16, pad_code: 31..24,
        }
        0x70 Ie RW { txwm: 0..0, rxwm: 1..1 }
        0x74 Ip RO { txwm: 0..0, rxwm: 1..1 }
    }
}

/// Values of `csmode`; 1 is reserved, and as AUTO.
mod csmode {
    /// Selected from the first frame on, until a register of the chip selects is written.
    pub const HOLD: u32 = 2;
    /// Not selected.
    pub const OFF: u32 = 3;
}

/// Entries of each FIFO.
pub(crate) const DEPTH: usize = 8;
/// Bits of a frame that devices see.
const WHOLE: u64 = 8;
/// What a line reads that nobody drives.
const SILENCE: u8 = 0xff;

// ---- state ----

/// What distinguishes the chip's controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiConfig {
    /// Chip selects, 1 to 32.
    pub selects: u32,
    /// Whether it has the flash interface.
    pub flash: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// What is in the registers, by offset over four; those that are not kept are 0.
    pub registers: [u32; 30],
    pub transmit: VecDeque<u8>,
    pub receive: VecDeque<u8>,
    /// In HOLD mode, a frame has been sent: the device is selected.
    pub held: bool,
}

/// The controller, and what is behind it.
#[derive(Debug)]
pub struct Spi {
    config: SpiConfig,
    pub(crate) state: State,
    pub(crate) card: Option<Card>,
    /// Whether the first chip select's line was low when it was last looked at.
    selected: bool,
}

// ---- host side ----

impl Spi {
    /// A controller with that card, or none, behind its first chip select.
    pub fn new(config: SpiConfig, card: Option<Card>) -> Spi {
        let mut spi = Spi {
            config,
            state: State {
                registers: [0; 30],
                transmit: VecDeque::new(),
                receive: VecDeque::new(),
                held: false,
            },
            card,
            selected: false,
        };
        spi.power_on();
        spi
    }

    /// The card, for whoever does its jobs.
    pub fn card(&mut self) -> Option<&mut Card> {
        self.card.as_mut()
    }

    /// Registers as a reset leaves them.
    fn power_on(&mut self) {
        let flash = u32::from(self.config.flash);
        self.state.registers = [0; 30];
        for (register, value) in [
            (Reg::Sckdiv, 3),
            (Reg::Csdef, self.selects()),
            (Reg::Delay0, 1 << 16 | 1),
            (Reg::Delay1, 1),
            (Reg::Fmt, 8 << 16 | flash << 3),
            (Reg::Txmark, flash),
            (Reg::Fctrl, flash),
            // A read command of three bytes of address.
            (Reg::Ffmt, flash * (3 << 16 | 3 << 1 | 1)),
        ] {
            self.set(register, value);
        }
        self.state.transmit.clear();
        self.state.receive.clear();
        self.state.held = false;
        self.selected = false;
    }

    /// A bit for each chip select.
    fn selects(&self) -> u32 {
        u32::MAX >> (32 - self.config.selects.clamp(1, 32))
    }

    fn get(&self, register: Reg) -> u32 {
        self.state.registers.get(register as usize / 4).copied().unwrap_or(0)
    }

    fn set(&mut self, register: Reg, value: u32) {
        if let Some(place) = self.state.registers.get_mut(register as usize / 4) {
            *place = value;
        }
    }

    /// What can be written of a register.
    fn mask(&self, register: Reg) -> u64 {
        match register {
            Reg::Sckdiv => Sckdiv::FIELDS,
            Reg::Sckmode => Sckmode::FIELDS,
            // As many bits as number them all.
            Reg::Csid => u64::from(self.config.selects.clamp(1, 32).next_power_of_two() - 1),
            Reg::Csdef => u64::from(self.selects()),
            Reg::Csmode => Csmode::FIELDS,
            Reg::Delay0 => Delay0::FIELDS,
            Reg::Delay1 => Delay1::FIELDS,
            Reg::Fmt => Fmt::FIELDS,
            Reg::Txmark => Txmark::FIELDS,
            Reg::Rxmark => Rxmark::FIELDS,
            Reg::Fctrl if self.config.flash => Fctrl::FIELDS,
            Reg::Ffmt if self.config.flash => Ffmt::FIELDS,
            Reg::Ie => Ie::FIELDS,
            Reg::Fctrl | Reg::Ffmt | Reg::Txdata | Reg::Rxdata | Reg::Ip => 0,
        }
    }

    /// Registers that could be restored so.
    pub(crate) fn possible(&self, state: &State) -> bool {
        let registers = state.registers.iter().enumerate();
        let mut kept = registers.map(|(at, &value)| match Reg::at(at as u64 * 4) {
            Some(register) => u64::from(value) & !self.mask(register) == 0,
            None => value == 0,
        });
        kept.all(|fits| fits) && state.transmit.len() <= DEPTH && state.receive.len() <= DEPTH
    }

    /// Whether the first chip select's line is low; `sending`: during a frame.
    fn is_low(&self, sending: bool) -> bool {
        let rests_high = self.get(Reg::Csdef) & 1 != 0;
        let active = match self.get(Reg::Csmode) {
            csmode::OFF => false,
            csmode::HOLD => sending || self.state.held,
            _ => sending,
        };
        (active && self.get(Reg::Csid) == 0) == rests_high
    }

    /// Tells the card that its select goes high.
    fn look(&mut self, sending: bool) {
        let low = self.is_low(sending);
        if let (true, false, Some(card)) = (self.selected, low, &mut self.card) {
            card.deselect();
        }
        self.selected = low;
    }

    /// Sends what is in the transmit FIFO.
    fn run(&mut self) {
        if self.get(Reg::Fctrl) & 1 != 0 {
            return;
        }
        while let Some(byte) = self.state.transmit.pop_front() {
            let answer = self.frame(byte);
            let format = u64::from(self.get(Reg::Fmt));
            if Fmt::dir(format) == 0 && self.state.receive.len() < DEPTH {
                self.state.receive.push_back(answer);
            }
        }
    }

    /// One frame: what is sent, and what comes back.
    fn frame(&mut self, byte: u8) -> u8 {
        let format = u64::from(self.get(Reg::Fmt));
        let turn = |byte: u8| if Fmt::endian(format) != 0 { byte.reverse_bits() } else { byte };
        self.look(true);
        self.state.held = self.get(Reg::Csmode) == csmode::HOLD;
        let seen = self.selected && Fmt::len(format) == WHOLE && Fmt::proto(format) == 0;
        let answer = match &mut self.card {
            Some(card) if seen => turn(card.exchange(turn(byte))),
            _ => SILENCE,
        };
        self.look(false);
        answer
    }

    /// Where the watermarks are passed: the bits of `ip`.
    fn pending(&self) -> u32 {
        let below = self.state.transmit.len() < self.get(Reg::Txmark) as usize;
        let above = self.state.receive.len() > self.get(Reg::Rxmark) as usize;
        u32::from(below) | u32::from(above) << 1
    }
}

// ---- device ----

impl Device for Spi {
    const NAME: &'static str = "sifive-spi";
    const VERSION: u32 = 1;
    type Saved = saved::SpiV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let register = Reg::at(offset).filter(|_| size == 4).ok_or(NoRegister)?;
        Ok(match register {
            Reg::Txdata if self.state.transmit.len() >= DEPTH => Txdata::mask::full,
            Reg::Txdata => 0,
            Reg::Rxdata => self.state.receive.pop_front().map_or(Rxdata::mask::empty, u64::from),
            Reg::Ip => self.pending().into(),
            _ => self.get(register).into(),
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let register = Reg::at(offset).filter(|_| size == 4).ok_or(NoRegister)?;
        match register {
            Reg::Txdata if self.state.transmit.len() >= DEPTH => {}
            Reg::Txdata => self.state.transmit.push_back(value as u8),
            Reg::Rxdata | Reg::Ip => {}
            _ => {
                self.set(register, (value & self.mask(register)) as u32);
                if matches!(register, Reg::Csid | Reg::Csdef | Reg::Csmode) {
                    self.state.held = false;
                    self.look(false);
                }
            }
        }
        self.run();
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.pending() & self.get(Reg::Ie) != 0)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn wants_host(&self) -> bool {
        self.card.as_ref().is_some_and(Card::wants)
    }

    fn reset(&mut self, _now: Nanos) {
        self.power_on();
        if let Some(card) = &mut self.card {
            card.power_cycle();
        }
    }

    fn save(&self) -> Self::Saved {
        saved::from_spi(self)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        saved::into_spi(saved, self)?;
        self.selected = self.is_low(false);
        Ok(())
    }
}
