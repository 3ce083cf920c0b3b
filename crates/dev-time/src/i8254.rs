//! 8254 programmable interval timer, and port 0x61, through which a PC reaches its counter 2.
//!
//! Sources: Intel 8254 datasheet (231164-005, 1993) for the chip (`i8254_counter.rs`); Intel 82371SB
//! (PIIX3) datasheet, "NMI Status and Control Register" for port 0x61. On PC boards CLK is 1.193182
//! MHz, GATE 0 and 1 are high, OUT 0 is IRQ 0. The datasheet leaves the state after power-on open: here
//! nothing counts and OUT 0 is low.
//!
//! In modes 2, 4 and 5, OUT is low for one pulse, 838 ns, and an interrupt controller takes the edge that ends it; in
//! mode 3 it may be low as shortly. Whoever serves deadlines on a real clock comes later than that and would see a line
//! that has never moved. So the wire is a level of its own that follows OUT 0 by one change at a tick: a pulse that was
//! slept through is still shown, several of them as one. After a change that comes late the wire keeps its level for a
//! while ([`HOLD`]). Registers always tell of the present. Only a write to counter 0 lets go of a pulse that is owed.
//!
//! Registers lie at two places of the port space, which are windows on these offsets: 0 to 3 at ports
//! 0x40 to 0x43, 4 at port 0x61.

use crate::i8254_counter::Counter;
use dev_core::{Device, NoRegister, RestoreError, read_bytes, registers, write_bytes};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets in the windows.
    pub enum Reg {
        0 Count[3; 1] RW {}
        3 Control WO { bcd: 0..0, mode: 3..1, access: 5..4, counter: 7..6 }
        4 Port61 RW { gate: 0..0, speaker: 1..1, disable: 3..2, refresh: 4..4, out: 5..5, errors: 7..6 }
    }
}
registers! {
    /// The read-back command, a control word for counter 3.
    pub enum Command {
        3 ReadBack WO { counters: 3..1, no_status: 4..4, no_count: 5..5 }
    }
}

/// The window of the chip.
pub const TIMER: u64 = 0;
/// The window of port 0x61.
pub const PORT61: u64 = 4;
/// CLK, Hz.
const CLOCK_HZ: u128 = 1_193_182;
const SECOND: u128 = 1_000_000_000;
/// Bits of port 0x61 that can be written.
const WRITABLE: u8 = (Port61::mask::gate | Port61::mask::speaker | Port61::mask::disable) as u8;
/// Memory is refreshed, and bit 4 of port 0x61 toggles, this often.
const REFRESH: Nanos = 15_085;

/// After a late change the wire stands still for so many pulses, 20 µs. A count of 2 turns OUT 0 at every pulse: a
/// host that cannot keep up would owe a change for ever, and spend a whole processor on it.
const HOLD: u64 = 24;

/// CLK pulses up to `now`.
fn pulses(now: Nanos) -> u64 {
    (u128::from(now) * CLOCK_HZ / SECOND) as u64
}

/// When pulse `pulse` comes.
fn time_of(pulse: u64) -> Option<Nanos> {
    u64::try_from((u128::from(pulse) * SECOND).div_ceil(CLOCK_HZ)).ok()
}

/// The next pulse after `t` at which a settled counter may do something.
fn next_event(counter: &Counter, t: u64) -> Option<u64> {
    let load = counter.next.map(|(_, at)| at).filter(|&at| at != u64::MAX);
    [load, counter.next_change(t)].into_iter().flatten().min()
}

// ---- state ----

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    counters: [Counter; 3],
    port61: u8,
    /// What OUT 0 drives, and the pulse up to which it has followed.
    wire: bool,
    followed: u64,
    /// The pulse before which it does not change again.
    held: u64,
}

impl State {
    fn new() -> Self {
        let counter = Counter { access: 3, gate: true, ..Counter::default() };
        State {
            counters: [counter, counter, Counter { gate: false, ..counter }],
            port61: 0,
            wire: false,
            followed: 0,
            held: 0,
        }
    }

    /// Counter `n` at pulse `t`, with a count loaded that has waited for it.
    fn counter(&mut self, n: usize, t: u64) -> Option<&mut Counter> {
        let counter = self.counters.get_mut(n)?;
        counter.settle(t);
        Some(counter)
    }

    fn out(&self, n: usize, t: u64) -> bool {
        let Some(&(mut counter)) = self.counters.get(n) else { return false };
        counter.settle(t);
        counter.out(t)
    }

    /// The first pulse after `followed`, up to `t`, at which OUT 0 is not what it drives.
    fn turned(&self, t: u64) -> Option<u64> {
        let [mut counter, ..] = self.counters;
        let mut at = self.followed.min(t);
        // A load changes nothing by itself, so that three are enough.
        for _ in 0..4 {
            counter.settle(at);
            at = next_event(&counter, at).filter(|&at| at <= t)?;
            counter.settle(at);
            if counter.out(at) != self.wire {
                return Some(at);
            }
        }
        None
    }

    /// Has the wire follow OUT 0 by one change at most.
    fn follow(&mut self, t: u64) {
        if t < self.held {
            return;
        }
        let (out, turned) = (self.out(0, t), self.turned(t));
        if turned.is_some_and(|at| at < t) {
            self.held = t.saturating_add(HOLD);
        }
        match turned.filter(|_| out == self.wire) {
            Some(at) => (self.wire, self.followed) = (!self.wire, at),
            None => (self.wire, self.followed) = (out, t),
        }
    }

    fn write_control(&mut self, byte: u8, t: u64) {
        let word = u64::from(byte);
        if Control::counter(word) == 3 {
            for n in 0..3 {
                let Some(counter) = self.counter(n, t).filter(|_| ReadBack::counters(word) >> n & 1 != 0)
                else {
                    continue;
                };
                if ReadBack::no_count(word) == 0 {
                    counter.latch(t);
                }
                if ReadBack::no_status(word) == 0 {
                    counter.latch_status(t);
                }
            }
        } else if let Some(counter) = self.counter(Control::counter(word) as usize, t) {
            if Control::access(word) == 0 {
                counter.latch(t);
            } else {
                counter.control(byte, t);
            }
        }
    }

    fn read_port61(&self, now: Nanos) -> u8 {
        let out = u8::from(self.out(2, pulses(now)));
        let refresh = ((now / REFRESH) & 1) as u8;
        self.port61 | refresh << 4 | out << 5
    }

    fn write_port61(&mut self, byte: u8, t: u64) {
        self.port61 = byte & WRITABLE;
        if let Some(counter) = self.counter(2, t) {
            counter.set_gate(byte & 1 != 0, t);
        }
    }
}

/// The timer. Output 0 is OUT of counter 0.
#[derive(Debug)]
pub struct I8254 {
    state: State,
}

// ---- host side ----

impl I8254 {
    /// As after power-on.
    pub fn new() -> Self {
        I8254 { state: State::new() }
    }
}

impl Default for I8254 {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for I8254 {
    const NAME: &'static str = "i8254";
    const VERSION: u32 = 1;
    type Saved = saved::I8254V1;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        let t = pulses(now);
        read_bytes(offset, size, |at| match Reg::nearest(at) {
            Some((Reg::Count, n, _)) => {
                self.state.counter(n as usize, t).map(|c| c.read(t)).ok_or(NoRegister)
            }
            // "There is no read operation of the Control Word Register": nobody drives the bus.
            Some((Reg::Control, _, 0)) => Ok(0xff),
            Some((Reg::Port61, _, 0)) => Ok(self.state.read_port61(now)),
            _ => Err(NoRegister),
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        let t = pulses(now);
        let [mut before, ..] = self.state.counters;
        before.settle(t);
        let done = write_bytes(offset, size, value, |at, byte| {
            match Reg::nearest(at) {
                Some((Reg::Count, n, _)) => {
                    self.state.counter(n as usize, t).ok_or(NoRegister)?.write(byte, t);
                }
                Some((Reg::Control, _, 0)) => self.state.write_control(byte, t),
                Some((Reg::Port61, _, 0)) => self.state.write_port61(byte, t),
                _ => return Err(NoRegister),
            }
            Ok(())
        });
        let [mut after, ..] = self.state.counters;
        after.settle(t);
        if (before.mode, before.start, before.count, before.next)
            != (after.mode, after.start, after.count, after.next)
        {
            (self.state.wire, self.state.followed, self.state.held) = (self.state.out(0, t), t, t);
        }
        done
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.wire)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, now: Nanos) -> Option<Nanos> {
        let t = pulses(now);
        let due = if self.state.out(0, t) != self.state.wire || self.state.turned(t).is_some() {
            now.checked_add(1)?
        } else {
            let [mut counter, ..] = self.state.counters;
            counter.settle(t);
            time_of(next_event(&counter, t)?)?
        };
        Some(due.max(time_of(self.state.held)?)).filter(|&at| at > now)
    }

    fn tick(&mut self, now: Nanos) {
        self.state.follow(pulses(now));
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
    use super::{State, WRITABLE};
    use crate::i8254_counter::Counter;
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order. Times are CLK pulses since the start.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct I8254V1 {
        /// The counters.
        pub counters: [CounterV1; 3],
        /// What was written to port 0x61.
        pub port61: u8,
        /// What OUT 0 drives.
        pub wire: bool,
        /// The pulse up to which it has followed the counter.
        pub followed: u64,
        /// The pulse before which it does not change again.
        pub held: u64,
    }

    /// One counter.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct CounterV1 {
        /// Mode as written.
        pub mode: u8,
        /// Decimal.
        pub bcd: bool,
        /// Read/write bits.
        pub access: u8,
        /// First byte of a count.
        pub low: Option<u8>,
        /// Second byte is read next.
        pub high_next: bool,
        /// GATE.
        pub gate: bool,
        /// Count in use, 0 if none.
        pub count: u32,
        /// Waiting count, and when it is loaded.
        pub next: Option<(u32, u64)>,
        /// When the count was loaded.
        pub start: Option<u64>,
        /// OUT at or before that time.
        pub first: bool,
        /// When GATE stopped it.
        pub paused: Option<u64>,
        /// Element when last stopped.
        pub held: u32,
        /// Latched count.
        pub latched: Option<u16>,
        /// Latched status.
        pub status: Option<u8>,
    }

    fn from_counter(counter: &Counter) -> CounterV1 {
        let &Counter { mode, bcd, access, low, high_next, gate, count, .. } = counter;
        let &Counter { next, start, first, paused, held, latched, status, .. } = counter;
        CounterV1 {
            mode,
            bcd,
            access,
            low,
            high_next,
            gate,
            count,
            next,
            start,
            first,
            paused,
            held,
            latched,
            status,
        }
    }

    fn into_counter(saved: CounterV1) -> Option<Counter> {
        let CounterV1 {
            mode,
            bcd,
            access,
            low,
            high_next,
            gate,
            count,
            next,
            start,
            first,
            paused,
            held,
            latched,
            status,
        } = saved;
        let number = |n: u32| n <= 0x1_0000;
        let pausable = matches!(mode, 0 | 4);
        let good = mode < 8
            && (1..4).contains(&access)
            && number(count)
            && number(held)
            && next.is_none_or(|(n, _)| n != 0 && number(n))
            && (start.is_none() || count != 0)
            && paused.is_none_or(|at| pausable && start.is_some_and(|start| start <= at));
        good.then_some(Counter {
            mode,
            bcd,
            access,
            low,
            high_next,
            gate,
            count,
            next,
            start,
            first,
            paused,
            held,
            latched,
            status,
        })
    }

    pub(super) fn from_state(state: &State) -> I8254V1 {
        let &State { counters, port61, wire, followed, held } = state;
        I8254V1 { counters: counters.each_ref().map(from_counter), port61, wire, followed, held }
    }

    /// `None` if no timer could be in such a state.
    pub(super) fn into_state(saved: I8254V1) -> Option<State> {
        let I8254V1 { counters: [a, b, c], port61, wire, followed, held } = saved;
        let counters = [into_counter(a)?, into_counter(b)?, into_counter(c)?];
        let gates = counters.map(|counter| counter.gate) == [true, true, port61 & 1 != 0];
        let good = gates && port61 & !WRITABLE == 0;
        good.then_some(State { counters, port61, wire, followed, held })
    }
}

#[cfg(test)]
#[path = "i8254_test.rs"]
mod tests;
