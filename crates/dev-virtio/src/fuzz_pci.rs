//! Fuzz entry: any bytes, played on a device on PCI: its configuration space, its BARs, the driver's memory.

use crate::fuzz_driver::{Echo, RAM, memory};
use crate::identity::Identity;
use crate::{Attendant, Attended, Pci, When, feature};
use dev_core::Plugged;
use dev_pci::{ComplexBuilder, PciFunction, Placement, RootComplex, Space};
use fabric_bus::{Bus, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::PAGE;
use std::sync::Arc;

/// The function: device 4 of bus 0. Where its BARs are put, from the first address of the window of memory on.
const FUNCTION: u64 = 4 << 15;
const WINDOW: u64 = 0x4000_0000;
const VECTORS: u64 = 0x1_0000;
const BAR: u64 = 0x2_0000;
const PAGES: u64 = 4;
const QUEUES: u64 = 3;

/// Registers that matter most: of configuration space, and of the common configuration.
const CONFIG: [u64; 16] =
    [4, 4, 4, 0x10, 0x14, 0x20, 0x24, 0x3c, 0x44, 0x50, 0x80, 0x84, 0x86, 0xd8, 0xdc, 0xe0];
const COMMON: [(u64, u8); 20] = [
    (0, 4),
    (8, 4),
    (12, 4),
    (16, 2),
    (20, 1),
    (20, 1),
    (22, 2),
    (22, 2),
    (24, 2),
    (26, 2),
    (28, 2),
    (32, 4),
    (36, 4),
    (40, 4),
    (48, 8),
    (58, 2),
    (58, 2),
    (0x1000, 1),
    (0x2000, 4),
    (0x3000, 2),
];

struct Machine {
    bus: Arc<Bus>,
    complex: Arc<RootComplex>,
    attendant: Arc<Attendant<PciFunction<Pci>>>,
    function: Arc<dyn Plugged>,
    ecam: Arc<dyn Target>,
    memory: Arc<dyn Target>,
}

fn machine() -> Option<Machine> {
    let bus = memory(PAGES)?;
    let dma = Dma::new(Arc::clone(&bus), FUNCTION as u32 >> 12);
    let features = feature::USUAL | feature::RING_PACKED;
    let identity = Identity {
        id: 4,
        features,
        queues: vec![8, 64, 0x8000],
        config: vec![1; 12],
        writable: vec![255; 3],
    };
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let mut builder = ComplexBuilder::new([None, None, None, None]);
    let placement = Placement { devfn: (FUNCTION >> 12) as u8, ..Placement::default() };
    let mut made = None;
    let plugged = builder.plug_behind(None, &placement, Pci::new(identity), &timers, |slot| {
        let attendant = Attendant::new(Arc::clone(slot), dma, Box::new(Echo::default()), |_| ());
        made = Some(Arc::clone(&attendant));
        Arc::new(Attended::new(Arc::clone(slot), attendant, When::AtOnce))
    });
    let (id, _) = plugged.ok()?;
    let complex = builder.build();
    let (function, attendant) = (complex.plugged(id)?, made?);
    let (ecam, memory) = (complex.ecam(), complex.window(Space::Memory, WINDOW));
    Some(Machine { bus, complex, attendant, function, ecam, memory })
}

/// Plays `bytes` on it. However it ends, the device works again behind a reset.
pub fn pci(bytes: &[u8]) {
    let Some(machine) = machine() else { return };
    machine.place();
    let mut rest = bytes;
    while let [op, a, b, c, tail @ ..] = rest {
        rest = tail;
        machine.bus.ram().dirty().take();
        let before = machine.masters();
        machine.step(*op, [*a, *b, *c]);
        let touched = !machine.bus.ram().dirty().take().is_empty();
        let may = before || machine.masters() || op & 7 == 5 || op & 7 == 7;
        assert!(may || !touched, "memory was written without bus mastering");
        assert!(machine.complex.is_current(), "routes do not follow the registers");
    }
    machine.function.reset();
    machine.place();
    let _ = machine.bus.ram().fill(0, PAGES * PAGE, 0);
    machine.start(feature::VERSION_1);
    assert_eq!(machine.load(0x14, 1), 15, "it does not work behind a reset");
}

impl Machine {
    fn config(&self, at: u64, size: u8) -> u64 {
        self.ecam.read(FUNCTION + at, size).unwrap_or_default()
    }

    fn configure(&self, at: u64, size: u8, value: u64) {
        assert!(self.ecam.write(FUNCTION + at, size, value).is_ok());
    }

    fn load(&self, at: u64, size: u8) -> u64 {
        let read = self.memory.read(BAR + at, size).unwrap_or_default();
        assert_eq!(read & u64::MAX.checked_shl(8 * u32::from(size)).unwrap_or(0), 0, "{at:#x}");
        read
    }

    fn store(&self, at: u64, size: u8, value: u64) {
        assert!(self.memory.write(BAR + at, size, value).is_ok());
    }

    fn masters(&self) -> bool {
        self.config(4, 2) & 4 != 0
    }

    fn place(&self) {
        for (at, value) in [(0x14, WINDOW + VECTORS), (0x20, WINDOW + BAR), (0x24, 0), (4, 6)] {
            self.configure(at, 4, value);
        }
    }

    /// All that a driver does before its first request. The queues share their memory.
    fn start(&self, features: u64) {
        self.store(0x14, 1, 0);
        self.store(0x14, 1, 3);
        for half in 0..2 {
            self.store(8, 4, half);
            self.store(12, 4, features >> (32 * half) & 0xffff_ffff);
        }
        self.store(0x14, 1, 11);
        for queue in 0..QUEUES {
            self.store(0x16, 2, queue);
            self.store(0x18, 2, 8);
            for (field, at) in [(0x20, RAM), (0x28, RAM + PAGE), (0x30, RAM + 2 * PAGE)] {
                self.store(field, 8, at);
            }
            self.store(0x1c, 2, 1);
        }
        self.store(0x14, 1, 15);
    }

    fn step(&self, op: u8, [a, b, c]: [u8; 3]) {
        let size = 1u8 << (op >> 3 & 3);
        let mask = u64::MAX >> (64 - 8 * u32::from(size));
        let value = (u64::from(b) << 8 | u64::from(c)) << (op >> 5 << 2);
        let anywhere = (u64::from(a) << 8 | u64::from(b)) & !u64::from(size - 1);
        match op & 7 {
            0 => {
                let (at, size) = COMMON.get(usize::from(a) % COMMON.len()).copied().unwrap_or_default();
                self.store(at, size, value & u64::MAX >> (64 - 8 * u32::from(size.max(1))));
            }
            1 => self.store(anywhere & 0x3fff, size, u64::from(c).wrapping_mul(0x0101_0101_0101_0101) & mask),
            2 => {
                self.load(anywhere & 0x3fff, size);
            }
            3 => {
                let at = CONFIG.get(usize::from(a) % CONFIG.len()).copied().unwrap_or_default();
                self.configure(at & !u64::from(size - 1), size, value & mask);
            }
            4 => {
                let at = anywhere & 0xfff;
                self.config(at, size);
                self.configure(at, size, u64::from(c).wrapping_mul(0x0101_0101_0101_0101) & mask);
            }
            5 => {
                let at = (u64::from(a & 3) * PAGE + u64::from(b)) & (PAGES * PAGE - 1);
                let _ = self.bus.ram().copy_in(at, &[c]);
            }
            6 => match a & 3 {
                0 => {
                    let saved = self.function.save();
                    self.attendant.quiesce();
                    self.function.reset();
                    assert!(self.function.restore(&saved).is_ok());
                    assert_eq!(self.function.save(), saved);
                }
                1 => self.function.reset(),
                2 => drop(self.function.restore(&[1, b, c])),
                _ => self.attendant.attend_all(),
            },
            _ => {
                self.place();
                let when = |bit: u8, feature| if a >> bit & 1 != 0 { feature } else { 0 };
                let features = when(0, feature::RING_PACKED)
                    | when(1, feature::EVENT_IDX)
                    | when(2, feature::INDIRECT_DESC)
                    | when(3, feature::RING_RESET);
                self.start(feature::VERSION_1 | features);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn the_device_keeps_the_rules_under_any_bytes() {
        for round in 1..=60 {
            super::pci(&noise(round, 1600));
        }
    }
}
