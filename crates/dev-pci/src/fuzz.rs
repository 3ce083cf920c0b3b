//! Fuzz entries: any bytes, played on one function and on a root complex with bridges.

use crate::complex::{ComplexBuilder, FunctionId, RootComplex};
use crate::decode::{STRIDE_LOG2, Space};
use crate::function::PciFunction;
use crate::layout::Placement;
use crate::ports::{HostBridge, RootPort};
use crate::specimen::Specimen;
use dev_core::chipset::Chipset;
use dev_core::{Device, Slot};
use fabric_clock::{Clock, Timers};
use fabric_wire::{Sink, Wire};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Plays `bytes` on a function with everything.
pub fn function(bytes: &[u8]) {
    function_chipset().fuzz(bytes);
}

fn function_chipset() -> Chipset<PciFunction<Specimen>> {
    Chipset {
        make: || {
            let placement = Placement { below_port: true, ..Placement::default() };
            let mut function = PciFunction::new(Specimen::new(), &placement);
            function.set_reachable(true);
            function
        },
        window: 4096,
        inputs: 1,
        // An access to a BAR; bridges that open and close; an interrupt.
        host: |d, bytes, now| match bytes {
            [0, bar, high, low, size, value @ ..] => {
                let size = 1u8 << (size & 3);
                let offset = (u64::from(*high & 0x7f) << 8 | u64::from(*low)) & !u64::from(size - 1);
                let at = u64::from(bar % 8) << STRIDE_LOG2 | offset;
                if let Ok(read) = d.read(at, size, now) {
                    assert_eq!(read & u64::MAX.checked_shl(8 * u32::from(size)).unwrap_or(0), 0);
                }
                let value = value.iter().fold(0, |v, &b| v << 8 | u64::from(b));
                let _ = d.write(at, size, value & (u64::MAX >> (64 - 8 * u32::from(size))), now);
            }
            [1, reachable, ..] => d.set_reachable(reachable & 1 != 0),
            [2, level, ..] => d.device_mut().raise(level & 1 != 0),
            [bus, at, size, value @ ..] => {
                let value = value.iter().fold(0, |v, &b| v << 8 | u32::from(b));
                let size = 1u8 << (size % 3);
                d.configure(*bus, u16::from(*at) & !(u16::from(size) - 1), size, value, now);
                assert_eq!(d.requester() >> 8, u32::from(*bus));
            }
            _ => {}
        },
    }
}

/// Levels of the four lines.
#[derive(Default)]
struct Lines([AtomicBool; 4]);

impl Sink for Lines {
    fn set(&self, input: u32, high: bool) {
        if let Some(level) = self.0.get(input as usize) {
            level.store(high, Ordering::Relaxed);
        }
    }
}

/// A root complex with four ports, two of them in others, and four devices.
struct Tree {
    complex: Arc<RootComplex>,
    ids: Vec<FunctionId>,
    devices: Vec<(Arc<Slot<PciFunction<Specimen>>>, u8)>,
    lines: Arc<Lines>,
}

fn tree() -> Option<Tree> {
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let lines = Arc::new(Lines::default());
    let sink: Arc<dyn Sink> = Arc::clone(&lines) as _;
    let wires = std::array::from_fn(|n| Some(Wire::new(Arc::clone(&sink), n as u32)));
    let mut builder = ComplexBuilder::new(wires);
    let root = |devfn| Placement { devfn, ..Placement::default() };
    let below = |devfn| Placement { devfn, below_port: true, ..Placement::default() };
    let (host, _) = builder.plug(None, &root(0), HostBridge, &timers).ok()?;
    let (a, _) = builder.plug(None, &root(0x08), RootPort { slot: 1 }, &timers).ok()?;
    let (b, _) = builder.plug(None, &root(0x0a), RootPort { slot: 2 }, &timers).ok()?;
    let (c, _) = builder.plug(Some(b), &below(0), RootPort { slot: 3 }, &timers).ok()?;
    let (d, _) = builder.plug(Some(c), &below(0), RootPort { slot: 4 }, &timers).ok()?;
    let mut ids = vec![host, a, b, c, d];
    let mut devices = Vec::new();
    for (port, placement, line) in
        [(None, root(0x18), 3), (Some(a), below(0), 1), (Some(d), below(0), 1), (Some(d), below(0x21), 1)]
    {
        let (id, slot) = builder.plug(port, &placement, Specimen::new(), &timers).ok()?;
        ids.push(id);
        devices.push((slot, line));
    }
    Some(Tree { complex: builder.build(), ids, devices, lines })
}

/// Registers that routes depend on: of any function, then of bridges, then of BARs.
const REGISTERS: [u64; 16] =
    [4, 4, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x3e, 0x44, 0x70, 0x10, 0x14, 0x20, 0x24];

/// Plays `bytes` on it: configuration writes wherever bus numbers lead, accesses through the windows, resets, states.
pub fn complex(bytes: &[u8]) {
    let Some(tree) = tree() else { return };
    let mut rest = bytes;
    while let [op, a, b, c, tail @ ..] = rest {
        rest = tail;
        tree.step(*op, [*a, *b, *c]);
        tree.check();
    }
}

impl Tree {
    fn step(&self, op: u8, [a, b, c]: [u8; 3]) {
        // Few numbers, so that they meet: buses below 8, the device numbers that there are, addresses of a few MiB.
        let bus = u64::from(a & 7);
        let devfn = *[0u64, 0x08, 0x0a, 0x18, 0x21, 0, 8, 0xff].get(usize::from(a >> 3 & 7)).unwrap_or(&0);
        let size = 1u8 << (a >> 6);
        let register = REGISTERS.get(usize::from(b & 15)).copied().unwrap_or(0);
        let at = (bus << 20 | devfn << 12 | register) & !u64::from(size - 1);
        let value = u64::from(c) << (b >> 4 << 1);
        let (window, space) = if op & 8 == 0 { (0x4000_0000, Space::Memory) } else { (0, Space::Io) };
        let offset =
            (u64::from(a & 0x3f) << 20 | u64::from(b) << 4 | u64::from(c) << 10) & !u64::from(size - 1);
        match op & 7 {
            0..=2 => {
                let _ = self.complex.ecam().write(at, size, value);
            }
            3 => {
                let read = self.complex.ecam().read(at, size);
                assert!(
                    read.is_ok_and(
                        |value| value & u64::MAX.checked_shl(8 * u32::from(size)).unwrap_or(0) == 0
                    )
                );
            }
            4 => {
                let target = self.complex.window(space, window);
                assert!(target.read(offset, size).is_ok());
                assert!(target.write(offset, size, value).is_ok());
            }
            5 => {
                if let Some((slot, _)) = self.devices.get(usize::from(a & 3)) {
                    slot.with(|function, _| function.device_mut().raise(b & 1 != 0));
                }
            }
            _ => {
                let id = self.ids.get(usize::from(a) % self.ids.len());
                let Some(plugged) = id.and_then(|id| self.complex.plugged(*id)) else { return };
                match op & 7 {
                    6 if b & 3 == 0 => plugged.reset(),
                    // Its own state, after a reset that forgets it.
                    6 => {
                        let saved = plugged.save();
                        plugged.reset();
                        assert!(plugged.restore(&saved).is_ok());
                        assert_eq!(plugged.save(), saved);
                    }
                    _ => drop(plugged.restore(&[1, b, c])),
                }
            }
        }
    }

    /// What must hold: routes are as the registers say, and lines as the pins.
    fn check(&self) {
        assert!(self.complex.is_current(), "routes do not follow the registers");
        for (n, level) in self.lines.0.iter().enumerate() {
            let high = |(slot, line): &(Arc<Slot<PciFunction<Specimen>>>, u8)| {
                usize::from(*line) == n && slot.with(|function, now| function.lines(0, now)) != 0
            };
            assert_eq!(level.load(Ordering::Relaxed), self.devices.iter().any(high), "line {n}");
        }
    }
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn a_function_keeps_the_rules_under_any_bytes() {
        super::function_chipset().smoke(60);
    }

    #[test]
    fn a_root_complex_keeps_the_rules_under_any_bytes() {
        for round in 1..=40 {
            super::complex(&noise(round, 2000));
        }
    }
}
