//! The local APIC's timer: one-shot, periodic and TSC-deadline.
//!
//! Source: SDM volume 3A, "APIC Timer" and "TSC-Deadline Mode". The count is not stored: what is
//! stored is when it reaches 0, rounded up to a nanosecond. A periodic timer keeps to its first
//! phase, with a period rounded likewise, however late somebody looks.

use crate::lapic_state::{Config, Divide, Esr, LvtTimer, State, lvt};
use fabric_clock::Nanos;

const SECOND: u128 = 1_000_000_000;
/// Timer modes, LVT bits 18:17.
const PERIODIC: u64 = 1;
const TSC_DEADLINE: u64 = 2;

/// Nanoseconds that `ticks` of `hz` last, rounded up, at least one.
fn nanos(ticks: u128, hz: u64) -> Nanos {
    let nanos = (ticks * SECOND).div_ceil(u128::from(hz.max(1)));
    u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
}

impl State {
    fn timer_mode(&self) -> u64 {
        LvtTimer::mode(self.entry(lvt::TIMER))
    }

    /// In TSC-deadline mode, where counts and IA32_TSC_DEADLINE exclude each other.
    pub fn tsc_mode(&self) -> bool {
        self.timer_mode() == TSC_DEADLINE
    }

    /// What the divide configuration says: 1 to 128.
    fn divisor(&self) -> u128 {
        let word = u64::from(self.divide);
        let code = Divide::high(word) << 2 | Divide::low(word);
        1 << ((code + 1) & 7)
    }

    /// How long a count of `count` lasts.
    fn lasts(&self, count: u32, config: &Config) -> Nanos {
        nanos(u128::from(count) * self.divisor(), config.timer_hz)
    }

    /// When the timer next does something.
    pub fn timer_due(&self, config: &Config) -> Option<Nanos> {
        if !self.tsc_mode() {
            return self.expiry;
        }
        if self.tsc_deadline == 0 {
            return None;
        }
        // The machine's TSC counts guest time; the processor's is `tsc_offset` (of either sign) ahead.
        // What it would have shown before the machine started is due at once.
        let own = i128::from(self.tsc_deadline) - i128::from(self.tsc_offset as i64);
        let own = u128::try_from(own).unwrap_or(0);
        let at = (own * SECOND).div_ceil(u128::from(config.tsc_hz.max(1)));
        Some(u64::try_from(at).unwrap_or(u64::MAX))
    }

    /// When [`State::settle_timer`] has to be called at the latest. A timer whose interrupt is masked,
    /// or requested already, or an error that is noted already, needs nobody: it is settled when
    /// somebody looks.
    pub fn timer_deadline(&self, config: &Config) -> Option<Nanos> {
        let entry = self.entry(lvt::TIMER);
        let vector = LvtTimer::vector(entry) as u8;
        let known = if vector < 16 {
            u64::from(self.errors) & Esr::mask::receive_illegal != 0
        } else {
            self.irr.has(vector)
        };
        let idle = LvtTimer::mask(entry) != 0 || !self.enabled() || known;
        self.timer_due(config).filter(|_| !idle)
    }

    /// Does what the timer has done up to `now`.
    pub fn settle_timer(&mut self, config: &Config, now: Nanos) {
        let Some(at) = self.timer_due(config).filter(|&at| at <= now) else { return };
        if self.tsc_mode() {
            self.tsc_deadline = 0;
        } else if self.timer_mode() == PERIODIC {
            let period = self.lasts(self.initial, config);
            let periods = (now - at) / period + 1;
            self.expiry = periods.checked_mul(period).and_then(|ahead| at.checked_add(ahead));
        } else {
            self.expiry = None;
        }
        let entry = self.entry(lvt::TIMER);
        if LvtTimer::mask(entry) == 0 {
            self.request(LvtTimer::vector(entry) as u8, false);
        }
    }

    /// The current count.
    pub fn current_count(&self, config: &Config, now: Nanos) -> u32 {
        let Some(at) = self.expiry.filter(|_| !self.tsc_mode()) else { return 0 };
        let left = at.saturating_sub(now);
        let exact = u128::from(left) * u128::from(config.timer_hz);
        let count = exact.div_ceil(SECOND * self.divisor());
        u32::try_from(count).unwrap_or(u32::MAX).min(self.initial)
    }

    /// Starts the count at `count` (0 stops it).
    pub fn start_count(&mut self, count: u32, config: &Config, now: Nanos) {
        self.expiry = if count == 0 { None } else { now.checked_add(self.lasts(count, config)) };
    }

    /// Writes the initial count, which starts the timer.
    pub fn write_initial(&mut self, count: u32, config: &Config, now: Nanos) {
        if !self.tsc_mode() {
            self.initial = count;
            self.start_count(count, config, now);
        }
    }

    /// Writes the divide configuration; a count under way goes on from where it is.
    pub fn write_divide(&mut self, value: u32, config: &Config, now: Nanos) {
        let count = self.current_count(config, now);
        self.divide = value & Divide::FIELDS as u32;
        self.start_count(count, config, now);
    }

    /// Changes the timer's LVT entry: going to or from TSC-deadline mode disarms it.
    pub fn write_timer_entry(&mut self, value: u32) {
        let before = self.tsc_mode();
        if let Some(entry) = self.lvt.get_mut(lvt::TIMER) {
            *entry = value;
        }
        if before != self.tsc_mode() {
            self.expiry = None;
            self.initial = 0;
            self.tsc_deadline = 0;
        }
    }
}
