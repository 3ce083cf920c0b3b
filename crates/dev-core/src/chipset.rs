//! A chipset for fuzzing: one device in a real slot on a virtual clock, driven by bytes.
//!
//! After every step it checks what must hold of every device: the wires are where [`Device::lines`]
//! says, a saved and restored device is the same one, and a served deadline does not stay due.

use crate::{Device, Plugged, Slot};
use fabric_bus::Target;
use fabric_clock::{Clock, Nanos, Timers};
use fabric_wire::{Sink, Wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the fuzzer may do to a device besides the accesses that every device takes.
pub struct Chipset<D: Device> {
    /// Makes the device, always the same way.
    pub make: fn() -> D,
    /// Offsets are below this (one page more is tried now and then).
    pub window: u64,
    /// Interrupt inputs are below this.
    pub inputs: u32,
    /// The host side: takes some bytes, and may fetch.
    pub host: fn(&mut D, &[u8], Nanos),
}

struct Levels(Vec<AtomicBool>);

impl Sink for Levels {
    fn set(&self, input: u32, high: bool) {
        if let Some(level) = self.0.get(input as usize) {
            level.store(high, Ordering::Relaxed);
        }
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn number(&mut self, bytes: usize) -> u64 {
        let mut n = 0;
        for _ in 0..bytes {
            n = n << 8 | u64::from(self.byte().unwrap_or(0));
        }
        n
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn bytes(&mut self, n: usize) -> &[u8] {
        let (head, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        head
    }
}

impl<D: Device> Chipset<D> {
    /// Plays `bytes` on a new device.
    ///
    /// # Panics
    /// If the device breaks one of the rules.
    pub fn fuzz(&self, bytes: &[u8]) {
        let clock = Arc::new(Clock::virtual_());
        let timers = Timers::new(Arc::clone(&clock));
        let device = (self.make)();
        let levels = Arc::new(Levels((0..device.outputs()).map(|_| AtomicBool::new(false)).collect()));
        let sink: Arc<dyn Sink> = Arc::clone(&levels) as _;
        let wires = (0..device.outputs()).map(|n| Some(Wire::new(Arc::clone(&sink), n as u32))).collect();
        let slot = Slot::new(device, wires, &timers);
        let mut cursor = Cursor(bytes);
        while let Some(op) = cursor.byte() {
            self.step(op, &mut cursor, &slot, &clock, &timers);
            self.check(&slot, &levels);
        }
    }

    fn offset(&self, op: u8, size: u8, cursor: &mut Cursor<'_>) -> u64 {
        let offset = match op >> 5 & 3 {
            0 => cursor.number(4),
            1 => cursor.number(2),
            _ => cursor.number(1),
        };
        let window = self.window + if op >> 7 == 1 { 0x1000 } else { 0 };
        (offset % window.max(1)) & !u64::from(size - 1)
    }

    fn step(
        &self,
        op: u8,
        cursor: &mut Cursor<'_>,
        slot: &Arc<Slot<D>>,
        clock: &Arc<Clock>,
        timers: &Arc<Timers>,
    ) {
        let size = 1u8 << (op >> 3 & 3);
        match op & 7 {
            0 | 1 => {
                let offset = self.offset(op, size, cursor);
                if let Ok(value) = slot.read(offset, size) {
                    let unused = u64::MAX.checked_shl(u32::from(size) * 8).unwrap_or(0);
                    assert_eq!(value & unused, 0, "a read of {size} bytes at {offset:#x} is too wide");
                }
            }
            2 | 3 => {
                let offset = self.offset(op, size, cursor);
                let value = cursor.number(usize::from(size));
                let _ = slot.write(offset, size, value);
            }
            4 => {
                let delta = cursor.number(2) << (op >> 3);
                clock.advance_to(clock.now().saturating_add(delta));
                slot.with(|d, now| {
                    if d.deadline(now).is_some_and(|at| at <= now) {
                        d.tick(now);
                        assert!(d.deadline(now).is_none_or(|at| at > now), "the deadline stays due");
                    }
                });
                timers.run_due(clock.now());
            }
            5 => {
                let input = cursor.number(2) as u32 % self.inputs.max(1);
                slot.set(input, op >> 3 & 1 != 0);
            }
            6 => {
                let bytes = cursor.bytes(usize::from(op >> 3)).to_vec();
                slot.with(|d, now| (self.host)(d, &bytes, now));
            }
            _ if op >> 3 == 0 => Plugged::reset(&**slot),
            _ => {
                let _ = slot.restore(cursor.bytes(usize::from(op >> 3)));
            }
        }
    }

    fn check(&self, slot: &Arc<Slot<D>>, levels: &Levels) {
        slot.with(|d, now| {
            let saved = d.save();
            let mut twin = (self.make)();
            assert!(twin.restore(saved.clone()).is_ok(), "a device refuses its own state: {saved:?}");
            assert_eq!(twin.save(), saved, "the restored device has another state");
            assert_eq!(twin.deadline(now), d.deadline(now), "the restored device has another deadline");
            for word in 0..levels.0.len().div_ceil(64) {
                assert_eq!(twin.lines(word, now), d.lines(word, now), "the restored device has other lines");
            }
            for (n, level) in levels.0.iter().enumerate() {
                let line = d.lines(n / 64, now) >> (n % 64) & 1 != 0;
                assert_eq!(line, level.load(Ordering::Relaxed), "wire {n} is not where the state says");
            }
        });
    }

    /// Plays `rounds` pseudo-random byte strings: the fuzzer's smoke test in every `cargo test`.
    ///
    /// # Panics
    /// If the device breaks one of the rules.
    pub fn smoke(&self, rounds: u64) {
        for round in 1..=rounds {
            self.fuzz(&noise(round, 1500));
        }
    }
}

/// `len` pseudo-random bytes, others for each `seed` from 1 on (Marsaglia, "Xorshift RNGs", 2003).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
