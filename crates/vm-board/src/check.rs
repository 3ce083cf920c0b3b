//! Checks of a board: the user's choices, the address map, the wires.
//!
//! Wires must form a directed graph without loops whose ends exist, and one input has one driver. The order of the
//! graph is the order in which locks of devices may be taken.

use crate::board::{
    Board, Config, DeviceKind, HtifWords, MIN_MEMORY, PAGE, PHYSICAL_BITS, PORTS, Placed, Processor, Space,
    Target,
};
use crate::pcie;
use crate::size::{MIB, Size};
use std::collections::HashMap;
use std::ops::Range;
use thiserror::Error;

/// Why there can be no such board. The first group is a user's mistake, the second one of the board's author.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BoardError {
    /// No hart.
    #[error("a machine needs at least one CPU; try --cpus 1")]
    NoCpus,
    /// More harts than a board can have.
    #[error("{0} CPUs are too many; the {board} board has room for {max}", board = .1, max = .2)]
    TooManyCpus(u32, &'static str, u32),
    /// Less memory than a board can have.
    #[error("{asked} of memory is too little; a machine needs at least {min}, Linux about 128 MiB: try --memory 128M", asked = Size(*.0), min = Size(MIN_MEMORY))]
    MemoryTooSmall(u64),
    /// Not a whole number of pages.
    #[error("{0} bytes of memory are not a whole number of {PAGE}-byte pages; try --memory {next}M", next = .0.div_ceil(MIB))]
    MemoryNotPages(u64),
    /// Memory would reach past the last physical address.
    #[error("{asked} of memory are too much; physical addresses have {PHYSICAL_BITS} bits: try a smaller --memory", asked = Size(*.0))]
    MemoryTooLarge(u64),
    /// Memory would reach past the place that a board has for it.
    #[error("{asked} of memory are too much; the {1} board has room for {most}: try a smaller --memory", asked = Size(*.0), most = Size(*.2))]
    NoRoomForMemory(u64, &'static str, u64),
    /// More serial cards than a board can have.
    #[error("{0} serial cards are too many; the {1} board has room for {2}")]
    TooManySerialCards(u32, &'static str, u32),
    /// More virtio devices on PCI than a board can have.
    #[error("{0} virtio devices on PCI are too many; the {1} board has room for {2}")]
    TooManyVirtioCards(u32, &'static str, u32),
    /// The program's words of the host-target interface cannot be used.
    #[error("the program's tohost ({:#x}) and fromhost ({:#x}) words {problem}", .words.tohost, .words.fromhost)]
    Htif {
        /// The addresses found in the program.
        words: HtifWords,
        /// What is wrong with them.
        problem: &'static str,
    },

    /// Two windows cover the same address.
    #[error("{} at {:#x}..{:#x} overlaps {} at {:#x}..{:#x}", .0.0, .0.1.start, .0.1.end, .1.0, .1.1.start, .1.1.end)]
    Overlap((&'static str, Range<u64>), (&'static str, Range<u64>)),
    /// A window is empty or reaches past the last address.
    #[error("device {0} has an empty window, or one that reaches past the last physical address")]
    BadWindow(&'static str),
    /// Two devices of one name.
    #[error("two devices are called {0}")]
    DuplicateName(&'static str),
    /// A device's numbers contradict its model's specification or its window.
    #[error("device {device}: {problem}")]
    BadDevice {
        /// Name of the device.
        device: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A wire ends nowhere.
    #[error("output {output} of {device} drives {target:?}, which does not exist")]
    NoTarget {
        /// Name of the driving device.
        device: &'static str,
        /// Number of the output.
        output: usize,
        /// Where the wire should end.
        target: Target,
    },
    /// Two outputs drive one input.
    #[error("both {0} and {1} drive {2:?}")]
    TwoDrivers(&'static str, &'static str, Target),
    /// A device's output comes back to it.
    #[error("the wires from {0} come back to it")]
    Loop(&'static str),
}

/// Checks what a user chose and gives the addresses of RAM that starts at `base`, on a board with room for `max_cpus`
/// harts.
pub(crate) fn ram(
    config: &Config,
    base: u64,
    board: &'static str,
    max_cpus: u32,
) -> Result<Range<u64>, BoardError> {
    let Config { cpus, memory, .. } = *config;
    if cpus == 0 {
        return Err(BoardError::NoCpus);
    }
    if cpus > max_cpus {
        return Err(BoardError::TooManyCpus(cpus, board, max_cpus));
    }
    if memory < MIN_MEMORY {
        return Err(BoardError::MemoryTooSmall(memory));
    }
    let end = base.checked_add(memory).filter(|end| *end <= 1 << PHYSICAL_BITS);
    let end = end.ok_or(BoardError::MemoryTooLarge(memory))?;
    if !memory.is_multiple_of(PAGE) {
        return Err(BoardError::MemoryNotPages(memory));
    }
    Ok(base..end)
}

/// Checks how many PCI cards a user chose, on a board with room for so many serial ones and so many virtio devices.
pub(crate) fn cards(
    config: &Config,
    board: &'static str,
    serial: u32,
    virtio: u32,
) -> Result<(), BoardError> {
    match config {
        Config { serial_cards, .. } if *serial_cards > serial => {
            Err(BoardError::TooManySerialCards(*serial_cards, board, serial))
        }
        Config { virtio_cards, .. } if *virtio_cards > virtio => {
            Err(BoardError::TooManyVirtioCards(*virtio_cards, board, virtio))
        }
        _ => Ok(()),
    }
}

impl Board {
    /// Checks that every address belongs to one device, that every number is one its device can have, and that the
    /// wires are sound.
    pub fn check(&self) -> Result<(), BoardError> {
        self.check_devices()?;
        self.check_address_map()?;
        self.check_wires()?;
        self.wire_order().map(|_| ())
    }

    fn check_devices(&self) -> Result<(), BoardError> {
        for (index, device) in self.devices.iter().enumerate() {
            let earlier = self.devices.iter().take(index).map(|other| other.name);
            if earlier.chain(self.pci_functions().map(|other| other.name)).any(|name| name == device.name) {
                return Err(BoardError::DuplicateName(device.name));
            }
            let last = match device.space {
                Space::Memory => 1 << PHYSICAL_BITS,
                Space::Ports => PORTS,
            };
            let further = device.more.iter().map(|window| (window.base, window.size));
            for (base, size) in std::iter::once((device.base, device.size)).chain(further) {
                let windowless = matches!(device.kind, DeviceKind::LocalApic { .. });
                if (size == 0) != windowless || base.checked_add(size).is_none_or(|end| end > last) {
                    return Err(BoardError::BadWindow(device.name));
                }
            }
            if let Some(problem) = problem(self, device) {
                return Err(BoardError::BadDevice { device: device.name, problem });
            }
        }
        Ok(())
    }

    fn check_address_map(&self) -> Result<(), BoardError> {
        let overlaying = |name: &str| self.device(name).is_some_and(Placed::overlays_ram);
        for space in [Space::Memory, Space::Ports] {
            let mut map = self.map(space);
            map.retain(|(name, _)| !overlaying(name));
            for (first, second) in map.iter().zip(map.iter().skip(1)) {
                if first.1.end > second.1.start {
                    return Err(BoardError::Overlap(first.clone(), second.clone()));
                }
            }
        }
        Ok(())
    }

    fn check_wires(&self) -> Result<(), BoardError> {
        let mut drivers: HashMap<Target, &'static str> = HashMap::new();
        for device in &self.devices {
            for (output, &target) in device.outputs.iter().enumerate() {
                let exists = match target {
                    Target::Hart { hart, .. } => hart < self.cpus && self.processor == Processor::Riscv,
                    Target::Processor { cpu, line } => {
                        cpu < self.cpus && line < PROCESSOR_LINES && self.processor == Processor::X86
                    }
                    Target::Isa(irq) => irq < 16 && self.has_isa_controllers(),
                    Target::Input { device, input } => {
                        self.device(device).is_some_and(|controller| has_input(controller, input))
                    }
                };
                if !exists {
                    return Err(BoardError::NoTarget { device: device.name, output, target });
                }
                if let Some(other) = drivers.insert(target, device.name) {
                    return Err(BoardError::TwoDrivers(other, device.name, target));
                }
            }
        }
        Ok(())
    }

    /// Indices of the devices in an order in which every wire leads forward: a device comes before those it drives.
    pub fn wire_order(&self) -> Result<Vec<usize>, BoardError> {
        let driven = |device: &Placed| -> Vec<usize> {
            let controllers = device.outputs.iter().filter_map(|target| match target {
                Target::Input { device, .. } => self.devices.iter().position(|other| other.name == *device),
                Target::Hart { .. } | Target::Processor { .. } | Target::Isa(_) => None,
            });
            let isa = device.outputs.iter().any(|target| matches!(target, Target::Isa(_)));
            controllers.chain(self.isa_controllers().filter(|_| isa)).collect()
        };
        let mut waiting: Vec<(usize, &Placed)> = self.devices.iter().enumerate().collect();
        let mut order = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            // Take every device that no waiting one drives; where there is none, those that wait form a loop.
            let pending: Vec<usize> = waiting.iter().flat_map(|(_, device)| driven(device)).collect();
            let (free, rest): (Vec<_>, Vec<_>) =
                waiting.iter().partition(|(index, _)| !pending.contains(index));
            if free.is_empty() {
                return Err(BoardError::Loop(rest.first().map_or("a device", |(_, device)| device.name)));
            }
            order.extend(free.iter().map(|(index, _)| *index));
            waiting = rest;
        }
        Ok(order)
    }
}

impl Board {
    /// One of each of the controllers that get the interrupts of the ISA bus.
    fn has_isa_controllers(&self) -> bool {
        let count = |kind| self.devices.iter().filter(|device| device.kind == kind).count();
        count(DeviceKind::I8259) == 1 && count(DeviceKind::IoApic) == 1
    }

    /// The devices that get the interrupts of the ISA bus.
    fn isa_controllers(&self) -> impl Iterator<Item = usize> {
        let all = self.devices.iter().enumerate();
        all.filter(|(_, device)| matches!(device.kind, DeviceKind::I8259 | DeviceKind::IoApic))
            .map(|(index, _)| index)
    }
}

/// Pins of SiFive's GPIO controller as the FU540 has it.
const GPIO_PINS: u32 = 16;

/// Interrupt lines of an x86 processor: INTR, NMI, INIT and SIPI.
const PROCESSOR_LINES: u32 = 4;

fn has_input(controller: &Placed, input: u32) -> bool {
    match controller.kind {
        // Source 0 means "no interrupt" (PLIC specification, "Interrupt Gateways").
        DeviceKind::Plic { sources, .. } => (1..=sources).contains(&input),
        // LINT0 and LINT1.
        DeviceKind::LocalApic { .. } => input < 2,
        _ => false,
    }
}

/// What is wrong with one device's numbers, if anything.
fn problem(board: &Board, device: &Placed) -> Option<&'static str> {
    let outputs = device.outputs.len() as u64;
    match device.kind {
        DeviceKind::Plic { sources, contexts, max_priority } => {
            // PLIC specification, "Memory Map": 1023 sources, 15872 contexts of 4 KiB from 0x200000 on.
            if sources == 0 || sources > 1023 {
                Some("a PLIC has 1 to 1023 sources")
            } else if u64::from(contexts) != outputs {
                Some("a PLIC has one output for each context")
            } else if contexts > 15872 || 0x20_0000 + u64::from(contexts) * 0x1000 > device.size {
                Some("the window is too small for the contexts")
            } else if max_priority == 0 {
                Some("a PLIC needs a priority above 0, which never interrupts")
            } else {
                None
            }
        }
        DeviceKind::Clint => {
            // SiFive's memory map: mtime at 0xbff8 is the last register; mtimecmp of hart h at 0x4000 + 8 h.
            if outputs != 2 * u64::from(board.cpus) {
                Some("a CLINT has two outputs for each hart")
            } else if device.size < 0xc000 || 0x4000 + 8 * u64::from(board.cpus) > 0xbff8 {
                Some("the window is too small for the harts")
            } else {
                None
            }
        }
        DeviceKind::Ns16550 { clock_hz: 0, .. } | DeviceKind::SifiveUart { clock_hz: 0 } => {
            Some("a UART needs a clock")
        }
        DeviceKind::Ns16550 { reg_shift, .. } if reg_shift > 2 || 8 << reg_shift > device.size => {
            Some("the window is too small for eight registers")
        }
        DeviceKind::LocalApic { cpu } if cpu >= board.cpus => Some("a local APIC belongs to a processor"),
        DeviceKind::LocalApic { .. } if outputs != u64::from(PROCESSOR_LINES) => {
            Some("a local APIC has four outputs")
        }
        DeviceKind::LocalApic { .. } => None,
        DeviceKind::Htif { .. } if outputs != 0 => Some("the host-target interface has no output"),
        DeviceKind::Fu540Cache => (outputs != 3).then_some("an L2 cache controller has three outputs"),
        DeviceKind::SifiveGpio { restart_pin } if restart_pin >= GPIO_PINS => {
            Some("the pin that restarts is none of the controller's")
        }
        DeviceKind::SifiveGpio { .. } => {
            (outputs != u64::from(GPIO_PINS)).then_some("a GPIO controller has one output for each pin")
        }
        DeviceKind::SifiveSpi { selects, .. } if !(1..=32).contains(&selects) => {
            Some("an SPI controller has 1 to 32 chip selects")
        }
        DeviceKind::PcieHost { ref functions } => pcie::problem(device, functions),
        DeviceKind::Fu540Prci { hfclk_hz: 0, .. } | DeviceKind::Fu540Prci { rtcclk_hz: 0, .. } => {
            Some("a clock controller needs its crystals")
        }
        _ if outputs > 1 => Some("this model has one output at most"),
        _ => None,
    }
}
