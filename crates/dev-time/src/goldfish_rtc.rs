//! Goldfish RTC: wall-clock time in nanoseconds since the Unix epoch, and one alarm.
//!
//! Sources: Android emulator, "Goldfish virtual hardware", section "Goldfish real-time clock"
//! (TIME_LOW latches TIME_HIGH, writing ALARM_LOW arms the alarm); the comments of Linux
//! `drivers/clocksource/timer-goldfish.h` for the registers added later (IRQ_ENABLED, CLEAR_ALARM,
//! ALARM_STATUS, CLEAR_INTERRUPT) and the order in which `drivers/rtc/rtc-goldfish.c` uses them:
//! high half first when writing. Both halves of the time are writable.
//!
//! The wall clock is the machine's start time plus guest time, so it is repeatable with it.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address.
    pub enum Reg {
        0x00 TimeLow RW { time: 31..0 }
        0x04 TimeHigh RW { time: 31..0 }
        0x08 AlarmLow RW { alarm: 31..0 }
        0x0c AlarmHigh RW { alarm: 31..0 }
        0x10 IrqEnabled RW { enabled: 0..0 }
        0x14 ClearAlarm WO {}
        0x18 AlarmStatus RO { running: 0..0 }
        0x1c ClearInterrupt WO {}
    }
}

/// Bytes the device occupies; past the registers they read as zero.
const WINDOW: u64 = 0x1000;

// ---- state ----

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    /// What the guest's setting of the time has added to it, wrapping.
    offset: u64,
    /// TIME_HIGH as latched by the last read of TIME_LOW.
    time_high: u32,
    /// ALARM_HIGH and ALARM_LOW.
    alarm: u64,
    running: bool,
    irq_enabled: bool,
    irq_pending: bool,
}

/// The clock.
#[derive(Debug)]
pub struct GoldfishRtc {
    start_wall_ns: u64,
    state: State,
}

impl GoldfishRtc {
    fn time(&self, now: Nanos) -> u64 {
        self.start_wall_ns.wrapping_add(now).wrapping_add(self.state.offset)
    }

    fn alarm_is_due(&self, now: Nanos) -> bool {
        self.state.running && self.time(now) >= self.state.alarm
    }

    /// A due alarm stops running and becomes an interrupt.
    fn settle(&mut self, now: Nanos) {
        if self.alarm_is_due(now) {
            self.state.running = false;
            self.state.irq_pending = true;
        }
    }

    fn set_time(&mut self, time: u64, now: Nanos) {
        let step = time.wrapping_sub(self.time(now));
        self.state.offset = self.state.offset.wrapping_add(step);
    }
}

fn with_low(word: u64, low: u64) -> u64 {
    word & !0xffff_ffff | low & 0xffff_ffff
}

fn with_high(word: u64, high: u64) -> u64 {
    word & 0xffff_ffff | high << 32
}

// ---- host side ----

impl GoldfishRtc {
    /// A clock that shows `start_wall_ns` (since the Unix epoch) at guest time 0.
    pub fn new(start_wall_ns: u64) -> Self {
        GoldfishRtc { start_wall_ns, state: State::default() }
    }
}

impl Device for GoldfishRtc {
    const NAME: &'static str = "goldfish-rtc";
    const VERSION: u32 = 1;
    type Saved = saved::GoldfishRtcV1;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        if size != 4 || offset >= WINDOW {
            return Err(NoRegister);
        }
        self.settle(now);
        let time = self.time(now);
        let s = &mut self.state;
        Ok(match Reg::at(offset) {
            Some(Reg::TimeLow) => {
                s.time_high = (time >> 32) as u32;
                time & 0xffff_ffff
            }
            Some(Reg::TimeHigh) => u64::from(s.time_high),
            Some(Reg::AlarmLow) => s.alarm & 0xffff_ffff,
            Some(Reg::AlarmHigh) => s.alarm >> 32,
            Some(Reg::IrqEnabled) => u64::from(s.irq_enabled),
            Some(Reg::AlarmStatus) => u64::from(s.running),
            Some(Reg::ClearAlarm | Reg::ClearInterrupt) | None => 0,
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        if size != 4 || offset >= WINDOW {
            return Err(NoRegister);
        }
        self.settle(now);
        let time = self.time(now);
        match Reg::at(offset) {
            Some(Reg::TimeLow) => self.set_time(with_low(time, value), now),
            Some(Reg::TimeHigh) => self.set_time(with_high(time, value), now),
            Some(Reg::AlarmLow) => {
                self.state.alarm = with_low(self.state.alarm, value);
                self.state.running = true;
            }
            Some(Reg::AlarmHigh) => self.state.alarm = with_high(self.state.alarm, value),
            Some(Reg::IrqEnabled) => self.state.irq_enabled = IrqEnabled::enabled(value) != 0,
            Some(Reg::ClearAlarm) => self.state.running = false,
            Some(Reg::ClearInterrupt) => self.state.irq_pending = false,
            Some(Reg::AlarmStatus) | None => {}
        }
        self.settle(now);
        Ok(())
    }

    fn lines(&self, _word: usize, now: Nanos) -> u64 {
        let pending = self.state.irq_pending || self.alarm_is_due(now);
        u64::from(pending && self.state.irq_enabled)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, now: Nanos) -> Option<Nanos> {
        let wait = self.state.alarm.checked_sub(self.time(now)).filter(|&wait| wait > 0)?;
        if self.state.running { now.checked_add(wait) } else { None }
    }

    fn tick(&mut self, now: Nanos) {
        self.settle(now);
    }

    fn reset(&mut self, _now: Nanos) {
        // The time that was set outlives a reset, as behind a battery.
        self.state = State { offset: self.state.offset, ..State::default() };
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
    use super::State;
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order. The wall time at guest time 0 is the machine's.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct GoldfishRtcV1 {
        /// Nanoseconds added by the guest, wrapping.
        pub offset: u64,
        /// Latched TIME_HIGH.
        pub time_high: u32,
        /// Alarm, nanoseconds since the Unix epoch.
        pub alarm: u64,
        /// Whether the alarm is armed.
        pub running: bool,
        /// IRQ_ENABLED.
        pub irq_enabled: bool,
        /// The alarm has come and its interrupt is not cleared.
        pub irq_pending: bool,
    }

    pub(super) fn from_state(state: &State) -> GoldfishRtcV1 {
        let &State { offset, time_high, alarm, running, irq_enabled, irq_pending } = state;
        GoldfishRtcV1 { offset, time_high, alarm, running, irq_enabled, irq_pending }
    }

    pub(super) fn into_state(saved: GoldfishRtcV1) -> State {
        let GoldfishRtcV1 { offset, time_high, alarm, running, irq_enabled, irq_pending } = saved;
        State { offset, time_high, alarm, running, irq_enabled, irq_pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 0x1_ffff_fff0;

    fn at(d: &mut GoldfishRtc, reg: Reg, now: Nanos) -> u64 {
        d.read(reg as u64, 4, now).unwrap()
    }

    fn set(d: &mut GoldfishRtc, reg: Reg, value: u64, now: Nanos) {
        d.write(reg as u64, 4, value, now).unwrap();
    }

    #[test]
    fn reading_time_low_latches_time_high() {
        let mut d = GoldfishRtc::new(WALL);
        assert_eq!(at(&mut d, Reg::TimeLow, 15), 0xffff_ffff);
        assert_eq!(at(&mut d, Reg::TimeHigh, 16), 1, "the halves belong together");
        assert_eq!(at(&mut d, Reg::TimeLow, 16), 0);
        assert_eq!(at(&mut d, Reg::TimeHigh, 16), 2);
    }

    #[test]
    fn the_time_can_be_set_high_half_first() {
        let mut d = GoldfishRtc::new(WALL);
        set(&mut d, Reg::TimeHigh, 7, 0);
        set(&mut d, Reg::TimeLow, 5, 0);
        assert_eq!(at(&mut d, Reg::TimeLow, 100), 105);
        assert_eq!(at(&mut d, Reg::TimeHigh, 100), 7);
        d.reset(200);
        assert_eq!(at(&mut d, Reg::TimeLow, 200), 205, "a reset does not lose the time");
    }

    #[test]
    fn the_alarm_is_armed_by_its_low_half_and_interrupts_when_enabled() {
        let mut d = GoldfishRtc::new(WALL);
        set(&mut d, Reg::AlarmHigh, 2, 0);
        assert_eq!(d.deadline(0), None);
        set(&mut d, Reg::AlarmLow, 4, 0);
        assert_eq!(at(&mut d, Reg::AlarmStatus, 0), 1);
        assert_eq!((at(&mut d, Reg::AlarmLow, 0), at(&mut d, Reg::AlarmHigh, 0)), (4, 2));
        assert_eq!(d.deadline(0), Some(20));
        assert_eq!(d.lines(0, 20), 0, "not enabled");
        set(&mut d, Reg::IrqEnabled, 1, 0);
        assert_eq!((d.lines(0, 19), d.lines(0, 20)), (0, 1));
        d.tick(20);
        assert_eq!(at(&mut d, Reg::AlarmStatus, 20), 0);
        assert_eq!(d.deadline(20), None);
        assert_eq!(d.lines(0, 20), 1);
        set(&mut d, Reg::ClearInterrupt, 1, 21);
        assert_eq!(d.lines(0, 21), 0);
    }

    #[test]
    fn an_alarm_in_the_past_comes_at_once() {
        let mut d = GoldfishRtc::new(WALL);
        set(&mut d, Reg::IrqEnabled, 1, 0);
        set(&mut d, Reg::AlarmLow, 1, 0);
        assert_eq!((d.lines(0, 0), at(&mut d, Reg::AlarmStatus, 0)), (1, 0));
        set(&mut d, Reg::IrqEnabled, 0, 0);
        assert_eq!(d.lines(0, 0), 0);
    }

    #[test]
    fn clear_alarm_disarms_it() {
        let mut d = GoldfishRtc::new(0);
        set(&mut d, Reg::IrqEnabled, 1, 0);
        set(&mut d, Reg::AlarmLow, 50, 0);
        set(&mut d, Reg::ClearAlarm, 1, 10);
        assert_eq!((d.deadline(10), d.lines(0, 60), at(&mut d, Reg::AlarmStatus, 10)), (None, 0, 0));
    }

    #[test]
    fn only_words_are_answered() {
        let mut d = GoldfishRtc::new(0);
        for (offset, size) in [(0, 1), (0, 2), (0, 8), (0x1000, 4)] {
            assert_eq!(d.read(offset, size, 9), Err(NoRegister));
            assert_eq!(d.write(offset, size, 1, 9), Err(NoRegister));
        }
        assert_eq!(d.read(0x20, 4, 9), Ok(0));
    }
}
