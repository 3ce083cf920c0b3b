//! MC146818 real-time clock of a PC, with 128 bytes of CMOS RAM, behind an index and a data port.
//!
//! Source: Motorola MC146818 datasheet (ADI-856-R2, 1984); its headings are cited below. The century
//! at byte 0x32 is a habit of PCs. The window is ports 0x70 and 0x71.
//!
//! The time is the machine's start time plus guest time, plus what the guest has set. An update takes
//! no time: UIP is high for the 244 µs before it, and then all bytes change at once. The periodic
//! interrupt keeps the phase of guest time. There is no daylight saving, and no SQW pin.

use crate::cmos_date::{DAY, Date, Format};
use dev_core::{Device, NoRegister, RestoreError, read_bytes, registers, write_bytes};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Bytes behind the data port (figure 12, "Address Map").
    pub enum Reg {
        0x00 Seconds RW {}
        0x01 SecondsAlarm RW {}
        0x02 Minutes RW {}
        0x03 MinutesAlarm RW {}
        0x04 Hours RW {}
        0x05 HoursAlarm RW {}
        0x06 Weekday RW {}
        0x07 Day RW {}
        0x08 Month RW {}
        0x09 Year RW {}
        0x0a A RW { rate: 3..0, divider: 6..4, uip: 7..7 }
        0x0b B RW { dse: 0..0, hours_24: 1..1, binary: 2..2, sqwe: 3..3, uie: 4..4, aie: 5..5, pie: 6..6, set: 7..7 }
        0x0c C RO { uf: 4..4, af: 5..5, pf: 6..6, irqf: 7..7 }
        0x0d D RO { vrt: 7..7 }
        0x32 Century RW {}
    }
}

const SECOND: i128 = 1_000_000_000;
/// UIP is high for so long before an update ("Update Cycle", t_BUC).
const BEFORE_UPDATE: i128 = 244_000;
/// The output of the divider, Hz ("Divider Stages", with a crystal of 32,768 Hz).
const CRYSTAL_HZ: u128 = 32_768;
/// Register A after power-on, as a PC's firmware leaves it: divider running, rate 1024 Hz.
const A_DEFAULT: u8 = 0x26;
/// Register B likewise: 24 hours.
const B_DEFAULT: u8 = 0x02;
/// No shown time is further from the epoch, in nanoseconds: ten thousand years and more.
const FARTHEST: i128 = 1 << 70;

// ---- state ----

#[derive(Clone, Debug, PartialEq)]
struct State {
    /// What was written to the index port; bit 7 masks NMI.
    index: u8,
    /// All bytes. Those of the time are valid only while the clock stands still; of registers A and
    /// B, the bits that are written; of C, the three flags.
    bytes: [u8; 128],
    /// Shown time less guest time, in nanoseconds since the Unix epoch.
    offset: i128,
    /// Flags are right up to this guest time.
    settled: Nanos,
}

/// The bytes that are the time.
const TIME: [Reg; 8] =
    [Reg::Seconds, Reg::Minutes, Reg::Hours, Reg::Weekday, Reg::Day, Reg::Month, Reg::Year, Reg::Century];

impl State {
    fn byte(&self, at: Reg) -> u8 {
        self.bytes.get(at as usize).copied().unwrap_or(0)
    }

    fn put(&mut self, at: Reg, value: u8) {
        if let Some(byte) = self.bytes.get_mut(at as usize) {
            *byte = value;
        }
    }

    fn format(&self) -> Format {
        let b = u64::from(self.byte(Reg::B));
        Format { binary: B::binary(b) != 0, hours_24: B::hours_24(b) != 0 }
    }

    /// The clock goes: SET is low and the divider is not held in reset ("Divider Control").
    fn runs(&self) -> bool {
        B::set(u64::from(self.byte(Reg::B))) == 0 && A::divider(u64::from(self.byte(Reg::A))) <= 2
    }

    fn shown(&self, now: Nanos) -> i128 {
        i128::from(now) + self.offset
    }

    /// The bytes of the time at shown time `shown`.
    fn show(&mut self, shown: i128) {
        let date = Date::from_seconds(shown.div_euclid(SECOND) as i64);
        let f = self.format();
        self.put(Reg::Seconds, f.encode(date.second));
        self.put(Reg::Minutes, f.encode(date.minute));
        self.put(Reg::Hours, f.encode_hour(date.hour));
        self.put(Reg::Weekday, f.encode(date.weekday));
        self.put(Reg::Day, f.encode(date.day));
        self.put(Reg::Month, f.encode(date.month));
        self.put(Reg::Year, f.encode((date.year % 100) as u8));
        self.put(Reg::Century, f.encode((date.year / 100) as u8));
    }

    /// The time that the bytes say, in seconds since the epoch.
    fn told(&self) -> i64 {
        let f = self.format();
        let number = |at| f.decode(self.byte(at));
        let century = u16::from(number(Reg::Century).min(99));
        Date {
            second: number(Reg::Seconds),
            minute: number(Reg::Minutes),
            hour: f.decode_hour(self.byte(Reg::Hours)),
            weekday: 1,
            day: number(Reg::Day),
            month: number(Reg::Month),
            year: century * 100 + u16::from(number(Reg::Year).min(99)),
        }
        .to_seconds()
    }

    /// Takes over the time in the bytes, `into` nanoseconds into its second.
    fn set_time(&mut self, into: i128, now: Nanos) {
        self.offset = i128::from(self.told()) * SECOND + into - i128::from(now);
    }

    /// Pulses of the periodic interrupt come every so many of the crystal's ("Periodic Interrupt
    /// Selection", table 5).
    fn periodic(&self) -> Option<u64> {
        match A::rate(u64::from(self.byte(Reg::A))) {
            0 => None,
            rate @ (1 | 2) => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
        .filter(|_| A::divider(u64::from(self.byte(Reg::A))) <= 2)
    }

    /// The first periodic pulse after `after`.
    fn next_pulse(&self, after: Nanos) -> Option<Nanos> {
        let every = self.periodic()?;
        let ticks = u128::from(after) * CRYSTAL_HZ / SECOND as u128;
        let next = (ticks / u128::from(every) + 1) * u128::from(every);
        u64::try_from((next * SECOND as u128).div_ceil(CRYSTAL_HZ)).ok()
    }

    /// The first update after `after`.
    fn next_update(&self, after: Nanos) -> Option<Nanos> {
        let shown = self.shown(after);
        let wait = SECOND - shown.rem_euclid(SECOND);
        if self.runs() { u64::try_from(i128::from(after) + wait).ok() } else { None }
    }

    /// The first update after `after` that the alarm bytes match.
    fn next_alarm(&self, after: Nanos) -> Option<Nanos> {
        let update = self.next_update(after)?;
        let second = self.shown(update).div_euclid(SECOND).rem_euclid(i128::from(DAY)) as i64;
        let wait = self.alarm_wait(second)?;
        u64::try_from(i128::from(update) + i128::from(wait) * SECOND).ok()
    }

    /// Seconds from `second` of a day to one that the alarm matches; 0 if that is one. Bytes of 0xc0
    /// and more match anything ("Time, Calendar, and Alarm Locations").
    fn alarm_wait(&self, second: i64) -> Option<i64> {
        let f = self.format();
        let wanted = |at| Some(self.byte(at)).filter(|&byte| byte < 0xc0);
        let seconds = wanted(Reg::SecondsAlarm).map(|b| i64::from(f.decode(b)));
        let minutes = wanted(Reg::MinutesAlarm).map(|b| i64::from(f.decode(b)));
        let hours = wanted(Reg::HoursAlarm).map(|b| i64::from(f.decode_hour(b)));
        let fits = |wish: Option<i64>, value: i64| wish.is_none_or(|w| w == value);
        // At each step either a whole hour, a whole minute or a second goes by.
        let mut at = second;
        while at <= second + DAY {
            let (hour, minute) = (at / 3600 % 24, at / 60 % 60);
            if !fits(hours, hour) {
                at += 3600 - at % 3600;
            } else if !fits(minutes, minute) {
                at += 60 - at % 60;
            } else {
                match seconds {
                    None => return Some(at - second),
                    Some(wish @ 0..60) if wish >= at % 60 => return Some(at - at % 60 + wish - second),
                    Some(0..60) => at += 60 - at % 60,
                    Some(_) => return None,
                }
            }
        }
        None
    }

    /// Raises the flags of what has happened up to `now`.
    fn settle(&mut self, now: Nanos) {
        let since = self.settled;
        if now <= since {
            return;
        }
        let come = |at: Option<Nanos>| at.is_some_and(|at| at <= now);
        let mut flags = 0;
        for (event, flag) in [
            (self.next_pulse(since), C::mask::pf),
            (self.next_update(since), C::mask::uf),
            (self.next_alarm(since), C::mask::af),
        ] {
            if come(event) {
                flags |= flag as u8;
            }
        }
        self.put(Reg::C, self.byte(Reg::C) | flags);
        self.settled = now;
    }

    /// IRQF: a flag is up that is enabled; they are in the same places in both registers.
    fn interrupts(&self) -> bool {
        self.byte(Reg::C) & self.byte(Reg::B) & ENABLES != 0
    }

    fn read_data(&mut self, now: Nanos) -> u8 {
        let at = self.index & 0x7f;
        let register = Reg::at(u64::from(at));
        if register.is_some_and(|register| TIME.contains(&register)) && self.runs() {
            self.show(self.shown(now));
        }
        let stored = self.bytes.get(usize::from(at)).copied().unwrap_or(0);
        match register {
            Some(Reg::A) => {
                let left = SECOND - self.shown(now).rem_euclid(SECOND);
                let uip = self.runs() && left <= BEFORE_UPDATE;
                stored | if uip { A::mask::uip as u8 } else { 0 }
            }
            Some(Reg::C) => {
                let irqf = if self.interrupts() { C::mask::irqf as u8 } else { 0 };
                self.put(Reg::C, 0);
                stored | irqf
            }
            Some(Reg::D) => D::mask::vrt as u8,
            _ => stored,
        }
    }

    fn write_data(&mut self, value: u8, now: Nanos) {
        let at = self.index & 0x7f;
        match Reg::at(u64::from(at)) {
            Some(Reg::C | Reg::D) => {}
            Some(Reg::A) => self.control(Reg::A, value & !(A::mask::uip as u8), now),
            // "Writing SET high clears UIE."
            Some(Reg::B) if B::set(u64::from(value)) != 0 => {
                self.control(Reg::B, value & !(B::mask::uie as u8), now);
            }
            Some(Reg::B) => self.control(Reg::B, value, now),
            Some(reg) if TIME.contains(&reg) && self.runs() => {
                self.show(self.shown(now));
                self.put(reg, value);
                self.set_time(self.shown(now).rem_euclid(SECOND), now);
            }
            _ => {
                if let Some(byte) = self.bytes.get_mut(usize::from(at)) {
                    *byte = value;
                }
            }
        }
    }

    /// Writes register A or B, which may stop the clock or let it go on with what the bytes say then.
    /// "When the divider is changed from reset to an operating time base, the first update cycle is
    /// one-half second later."
    fn control(&mut self, reg: Reg, value: u8, now: Nanos) {
        let before = self.runs();
        let shown = self.shown(now);
        if before {
            self.show(shown);
        }
        let released = reg == Reg::A && A::divider(u64::from(self.byte(Reg::A))) > 2;
        self.put(reg, value);
        match (before, self.runs()) {
            (false, true) => {
                let into = if released { SECOND / 2 } else { shown.rem_euclid(SECOND) };
                self.set_time(into, now);
            }
            // In another format, the bytes of a running clock are others.
            (true, true) => self.show(shown),
            (_, false) => {}
        }
    }
}

/// The enable bits of register B that have a flag in register C.
const ENABLES: u8 = (B::mask::uie | B::mask::aie | B::mask::pie) as u8;

/// The clock. Output 0 is its interrupt, asserted (the pin IRQ is active low): IRQ 8 of a PC.
#[derive(Debug)]
pub struct Cmos {
    start_wall_ns: u64,
    state: State,
}

// ---- host side ----

impl Cmos {
    /// A clock that shows `start_wall_ns` (since the Unix epoch) at guest time 0.
    pub fn new(start_wall_ns: u64) -> Self {
        let mut bytes = [0; 128];
        for (at, value) in [(Reg::A, A_DEFAULT), (Reg::B, B_DEFAULT)] {
            if let Some(byte) = bytes.get_mut(at as usize) {
                *byte = value;
            }
        }
        let offset = i128::from(start_wall_ns);
        Cmos { start_wall_ns, state: State { index: 0, bytes, offset, settled: 0 } }
    }

    /// Sets a byte of the RAM as firmware would (0x0e to 0x7f, not the century).
    pub fn set_ram(&mut self, index: u8, value: u8) {
        let index = usize::from(index);
        let ram = index > Reg::D as usize && index != Reg::Century as usize;
        if let Some(byte) = self.state.bytes.get_mut(index).filter(|_| ram) {
            *byte = value;
        }
    }

    /// NMI is masked by bit 7 of the index port.
    pub fn nmi_masked(&self) -> bool {
        self.state.index & 0x80 != 0
    }
}

impl Device for Cmos {
    const NAME: &'static str = "cmos";
    const VERSION: u32 = 1;
    type Saved = saved::CmosV1;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        let s = &mut self.state;
        s.settle(now);
        read_bytes(offset, size, |at| match at {
            // The index cannot be read back.
            0 => Ok(0xff),
            1 => Ok(s.read_data(now)),
            _ => Err(NoRegister),
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        let s = &mut self.state;
        s.settle(now);
        write_bytes(offset, size, value, |at, byte| {
            match at {
                0 => s.index = byte,
                1 => s.write_data(byte, now),
                _ => return Err(NoRegister),
            }
            Ok(())
        })
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.interrupts())
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, _now: Nanos) -> Option<Nanos> {
        let s = &self.state;
        if s.interrupts() {
            return None;
        }
        let (since, b) = (s.settled, u64::from(s.byte(Reg::B)));
        let pulse = if B::pie(b) != 0 { s.next_pulse(since) } else { None };
        let update = if B::uie(b) != 0 { s.next_update(since) } else { None };
        let alarm = if B::aie(b) != 0 { s.next_alarm(since) } else { None };
        [pulse, update, alarm].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Nanos) {
        self.state.settle(now);
    }

    fn reset(&mut self, now: Nanos) {
        // The pin RESET clears enables and flags; time and RAM are behind a battery ("RESET").
        let s = &mut self.state;
        s.settle(now);
        s.put(Reg::B, s.byte(Reg::B) & !(ENABLES | B::mask::sqwe as u8));
        s.put(Reg::C, 0);
        s.index = 0;
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state, self.start_wall_ns)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        self.state = saved::into_state(saved, self.start_wall_ns).ok_or(damaged)?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{A, C, FARTHEST, Reg, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order. The wall time at guest time 0 is the machine's.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct CmosV1 {
        /// Index port.
        pub index: u8,
        /// The 128 bytes; those of the time as last shown.
        pub bytes: Vec<u8>,
        /// Nanoseconds added by the guest.
        pub offset: i128,
        /// Flags are right up to this guest time.
        pub settled: u64,
    }

    pub(super) fn from_state(state: &State, start_wall_ns: u64) -> CmosV1 {
        let &State { index, bytes, offset, settled } = state;
        CmosV1 { index, bytes: bytes.to_vec(), offset: offset - i128::from(start_wall_ns), settled }
    }

    /// `None` if no clock could be in such a state.
    pub(super) fn into_state(saved: CmosV1, start_wall_ns: u64) -> Option<State> {
        let CmosV1 { index, bytes, offset, settled } = saved;
        let bytes = <[u8; 128]>::try_from(bytes).ok()?;
        let at = |reg: Reg| u64::from(bytes.get(reg as usize).copied().unwrap_or(0));
        let flags = C::mask::uf | C::mask::af | C::mask::pf;
        let good = at(Reg::A) & A::mask::uip == 0
            && at(Reg::C) & !flags == 0
            && at(Reg::D) == 0
            && (-FARTHEST..=FARTHEST).contains(&offset);
        good.then(|| State { index, bytes, offset: offset + i128::from(start_wall_ns), settled })
    }
}

#[cfg(test)]
#[path = "cmos_test.rs"]
mod tests;
