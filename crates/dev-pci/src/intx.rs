//! INTx: the pins of all functions, OR-ed onto the root complex's four lines.
//!
//! Sources: PCI-to-PCI Bridge Architecture Specification 1.2, 9.1 (each bridge turns the pins of device `d` below it by
//! `d`); PCI Express Base Specification, 2.2.8.1 (a virtual wire is asserted while any below it is).

use fabric_wire::{Sink, Wire};
use std::sync::{Mutex, PoisonError};

/// The lines INTA to INTD.
pub(crate) const LINES: usize = 4;

/// The pin (0 for INTA) on the bus above of pin `pin` of device `device`.
pub(crate) fn swizzle(pin: u8, device: u8) -> u8 {
    (pin + device) % LINES as u8
}

/// Collects pins. Input `n` of it is a function's; which line that drives is fixed when it is added.
pub(crate) struct Intx {
    wires: [Option<Wire>; LINES],
    levels: Mutex<Levels>,
}

#[derive(Default)]
struct Levels {
    /// Line and level of each input.
    inputs: Vec<(u8, bool)>,
    /// How many inputs of each line are high.
    high: [u32; LINES],
}

impl Intx {
    pub fn new(wires: [Option<Wire>; LINES]) -> Intx {
        Intx { wires, levels: Mutex::default() }
    }

    /// A new input that drives `line`: its number.
    pub fn add(&self, line: u8) -> u32 {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.inputs.push((line, false));
        levels.inputs.len() as u32 - 1
    }
}

impl Sink for Intx {
    /// The line is driven under the lock, so that the order of its levels is that of the states. Locks are taken in the
    /// order of the wires: functions, this, the interrupt controller.
    fn set(&self, input: u32, level: bool) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((line, old)) = levels.inputs.get_mut(input as usize) else { return };
        if *old == level {
            return;
        }
        *old = level;
        let line = usize::from(*line);
        let Some(high) = levels.high.get_mut(line) else { return };
        let was = *high > 0;
        *high = if level { *high + 1 } else { high.saturating_sub(1) };
        let is = *high > 0;
        if let Some(Some(wire)) = self.wires.get(line)
            && is != was
        {
            wire.set(is);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Default)]
    struct Log(Mutex<Vec<(u32, bool)>>);

    impl Sink for Log {
        fn set(&self, input: u32, high: bool) {
            self.0.lock().unwrap().push((input, high));
        }
    }

    #[test]
    fn a_line_is_high_while_any_pin_on_it_is() {
        let log = Arc::new(Log::default());
        let wires = std::array::from_fn(|n| Some(Wire::new(Arc::clone(&log) as _, 32 + n as u32)));
        let intx = Intx::new(wires);
        let (a, b, c) = (intx.add(1), intx.add(1), intx.add(3));
        for (input, level) in [(a, true), (a, true), (b, true), (a, false), (c, true), (b, false), (9, true)]
        {
            intx.set(input, level);
        }
        assert_eq!(*log.0.lock().unwrap(), [(33, true), (35, true), (33, false)]);
    }

    #[test]
    fn the_swizzle_is_the_specifications() {
        // Table 9-1: device number, and where INTA to INTD of it go.
        for (device, expected) in
            [(0, [0, 1, 2, 3]), (1, [1, 2, 3, 0]), (2, [2, 3, 0, 1]), (31, [3, 0, 1, 2])]
        {
            assert_eq!([0, 1, 2, 3].map(|pin| swizzle(pin, device)), expected);
        }
    }
}
