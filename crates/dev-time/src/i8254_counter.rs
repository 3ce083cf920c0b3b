//! One counter of an 8254: its six modes as functions of time.
//!
//! Source: Intel 8254 datasheet (231164-005, 1993), "Mode Definitions" and "Operation Common to All
//! Modes". Time is the number of CLK pulses since the machine was started. Nothing counts here: what
//! is stored is at which pulse the counting element was loaded and with what.

/// A counter. A count of 0 has not been written; the largest, 65536 or 10000, is written as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Bits M2 to M0 as written; 6 and 7 are modes 2 and 3.
    pub mode: u8,
    /// Counts in four decades.
    pub bcd: bool,
    /// RW1 and RW0: 1 least, 2 most significant byte, 3 both.
    pub access: u8,
    /// The least significant byte of a count whose other byte is still to come.
    pub low: Option<u8>,
    /// The next read of a two-byte count is the most significant byte.
    pub high_next: bool,
    /// Level at GATE.
    pub gate: bool,
    /// Count in (or, before the first trigger, for) the counting element.
    pub count: u32,
    /// A count in the count register, and the pulse at which it is loaded; `u64::MAX` with a trigger.
    pub next: Option<(u32, u64)>,
    /// The pulse at which the counting element was (or will be) loaded.
    pub start: Option<u64>,
    /// OUT before (modes 1, 5) or from (mode 3) that pulse on.
    pub first: bool,
    /// The pulse at which GATE stopped the counting (modes 0 and 4).
    pub paused: Option<u64>,
    /// What the counting element held when it was last stopped.
    pub held: u32,
    /// Latched count.
    pub latched: Option<u16>,
    /// Latched status byte.
    pub status: Option<u8>,
}

impl Counter {
    /// The mode, 0 to 5.
    pub fn effective_mode(&self) -> u8 {
        if self.mode > 5 { self.mode - 4 } else { self.mode }
    }

    /// Pulses after which an element that nobody reloads is back where it was.
    fn modulus(&self) -> u64 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// Pulses since the element was loaded, while it counts or stands still.
    fn elapsed(&self, t: u64) -> Option<u64> {
        self.paused.unwrap_or(t).checked_sub(self.start?)
    }

    fn period(&self) -> u64 {
        u64::from(self.count.max(1))
    }

    /// Length of a half-cycle of mode 3 in which OUT is so ("Mode 3: Square Wave Mode").
    fn half(&self, high: bool) -> u64 {
        if high { self.period().div_ceil(2) } else { self.period() / 2 }
    }

    /// In mode 3: OUT, how far into its half-cycle, and at which pulse that ends.
    fn half_cycle(&self, t: u64) -> Option<(bool, u64, u64)> {
        let elapsed = self.elapsed(t)?;
        let (cycle, position) = (elapsed / self.period(), elapsed % self.period());
        let first = self.half(self.first);
        let begin = t - position;
        Some(if position < first {
            (self.first, position, begin.saturating_add(first))
        } else {
            let end = self.start.unwrap_or(0).saturating_add((cycle + 1) * self.period());
            (!self.first, position - first, end)
        })
    }

    /// Loads a waiting count whose pulse has come.
    pub fn settle(&mut self, t: u64) {
        let Some((count, at)) = self.next.filter(|&(_, at)| at <= t) else { return };
        if self.effective_mode() == 3
            && let Some((out, ..)) = self.half_cycle(at.saturating_sub(1))
        {
            self.first = !out;
        }
        (self.count, self.start, self.next) = (count, Some(at), None);
    }

    /// OUT at pulse `t`.
    pub fn out(&self, t: u64) -> bool {
        let n = self.period();
        let elapsed = self.elapsed(t);
        match (self.effective_mode(), elapsed) {
            (0, elapsed) => elapsed.is_some_and(|e| e >= n),
            (1, Some(e)) => e >= n,
            (1 | 5, None) => self.start.is_none() || self.first,
            (2, Some(e)) => e % n != n - 1,
            (3, Some(_)) => self.half_cycle(t).is_none_or(|(out, ..)| out),
            (_, Some(e)) => e != n,
            (_, None) => true,
        }
    }

    /// The next pulse after `t` at which OUT may change.
    pub fn next_change(&self, t: u64) -> Option<u64> {
        let (start, n) = (self.start?, self.period());
        let after = |pulses: u64| start.checked_add(pulses);
        if self.paused.is_some() {
            return None;
        }
        let mode = self.effective_mode();
        let Some(elapsed) = self.elapsed(t) else {
            // Not loaded yet: mode 1 begins its pulse with the load, the others nothing before it.
            return if mode == 1 { Some(start) } else { self.next_change(start).or(Some(start)) };
        };
        match mode {
            0 | 1 => {
                if elapsed < n {
                    after(n)
                } else {
                    None
                }
            }
            2 | 3 if n == 1 => None,
            2 => {
                let (cycle, position) = (elapsed / n, elapsed % n);
                after(cycle * n + if position < n - 1 { n - 1 } else { n })
            }
            3 => self.half_cycle(t).map(|(.., end)| end),
            _ if elapsed < n => after(n),
            _ if elapsed == n => after(n + 1),
            _ => None,
        }
    }

    /// The counting element at pulse `t`, in binary.
    fn element(&self, t: u64) -> u32 {
        let Some(elapsed) = self.elapsed(t) else {
            return if self.start.is_some() { self.count } else { self.held };
        };
        let n = self.period();
        let value = match self.effective_mode() {
            2 => n - elapsed % n,
            // Down in steps of two, from the even number at or below the count.
            3 => self.half_cycle(t).map_or(0, |(_, position, _)| (n & !1).saturating_sub(2 * position)),
            _ => {
                let modulus = self.modulus();
                (n % modulus + modulus - elapsed % modulus) % modulus
            }
        };
        value as u32
    }

    /// The counting element as it is read.
    pub fn value(&self, t: u64) -> u16 {
        let element = self.element(t);
        if !self.bcd {
            return element as u16;
        }
        let digit = |unit: u32| (element / unit % 10) as u16;
        digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
    }

    /// The status byte ("Read-Back Command").
    pub fn status_byte(&self, t: u64) -> u8 {
        let null = self.count == 0 || self.next.is_some() || self.start.is_some_and(|start| t < start);
        u8::from(self.out(t)) << 7
            | u8::from(null) << 6
            | self.access << 4
            | self.mode << 1
            | u8::from(self.bcd)
    }

    /// A control word: the mode begins, and a count has to be written.
    pub fn control(&mut self, word: u8, t: u64) {
        *self = Counter {
            mode: word >> 1 & 7,
            bcd: word & 1 != 0,
            access: word >> 4 & 3,
            gate: self.gate,
            held: self.element(t),
            ..Counter::default()
        };
    }

    /// Latches the count, unless there is a latched one that was not read ("Counter Latch Command").
    pub fn latch(&mut self, t: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.value(t));
        }
    }

    /// Latches the status, likewise.
    pub fn latch_status(&mut self, t: u64) {
        if self.status.is_none() {
            self.status = Some(self.status_byte(t));
        }
    }

    /// Reads a byte: a latched status, then a latched count, then the element as it is.
    pub fn read(&mut self, t: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let [low, high] = self.latched.unwrap_or_else(|| self.value(t)).to_le_bytes();
        let both = self.access == 3;
        let high_now = self.access == 2 || both && self.high_next;
        if both {
            self.high_next = !self.high_next;
        }
        if !both || high_now {
            self.latched = None;
        }
        if high_now { high } else { low }
    }

    /// Writes a byte of a count.
    pub fn write(&mut self, byte: u8, t: u64) {
        let written = match (self.access, self.low.take()) {
            (1, _) => u16::from(byte),
            (2, _) => u16::from(byte) << 8,
            (_, Some(low)) => u16::from_le_bytes([low, byte]),
            (_, None) => {
                self.low = Some(byte);
                if self.effective_mode() == 0 {
                    // "Writing the first byte disables counting. OUT is set low immediately."
                    self.stop(t);
                }
                return;
            }
        };
        self.load(self.number(written), t);
    }

    /// What a written count means.
    fn number(&self, written: u16) -> u32 {
        let number = if self.bcd {
            let digit = |shift: u32| u32::from(written >> shift & 15);
            digit(12) * 1000 + digit(8) * 100 + digit(4) * 10 + digit(0)
        } else {
            u32::from(written)
        };
        if number == 0 { self.modulus() as u32 } else { number }
    }

    fn stop(&mut self, t: u64) {
        self.held = self.element(t);
        (self.start, self.paused) = (None, None);
    }

    fn load(&mut self, number: u32, t: u64) {
        let at = t.saturating_add(1);
        let running = self.start.is_some_and(|start| start <= t);
        match self.effective_mode() {
            0 | 4 => {
                (self.count, self.start) = (number, Some(at));
                self.paused = (!self.gate).then_some(at);
            }
            1 | 5 => self.next = Some((number, u64::MAX)),
            _ if !self.gate => self.next = Some((number, u64::MAX)),
            // "The next period": of mode 2 the whole cycle, of mode 3 the half.
            2 if running => {
                let elapsed = self.elapsed(t).unwrap_or(0);
                let left = self.period() - elapsed % self.period();
                self.next = Some((number, t.saturating_add(left)));
            }
            3 if running => {
                let end = self.half_cycle(t).map_or(at, |(.., end)| end);
                self.next = Some((number, end));
            }
            _ => (self.count, self.start, self.first) = (number, Some(at), true),
        }
    }

    /// Drives GATE ("Gate Pin Operations Summary").
    pub fn set_gate(&mut self, high: bool, t: u64) {
        if std::mem::replace(&mut self.gate, high) == high {
            return;
        }
        match (self.effective_mode(), high) {
            (0 | 4, true) => {
                if let (Some(start), Some(paused)) = (self.start, self.paused.take()) {
                    self.start = start.checked_add(t.max(paused) - paused);
                }
            }
            (0 | 4, false) => self.paused = self.start.map(|start| t.max(start)),
            (1 | 5, false) => {}
            (mode, true) => {
                let first = mode == 2 || mode == 3 || self.out(t);
                let count = self.next.take().map_or(self.count, |(count, _)| count);
                if count != 0 {
                    (self.count, self.start, self.first) = (count, Some(t.saturating_add(1)), first);
                }
            }
            (_, false) => {
                self.stop(t);
                self.next = self.next.map(|(count, _)| (count, u64::MAX));
            }
        }
    }
}
