//! The description of a machine: harts, memory, devices at their addresses, and the wires between them.

use crate::core::Core;
use crate::isa::{Isa, Mmu};
use std::ops::Range;

/// Most harts a board can have: what the PLIC's window of the `virt` board holds, two contexts each.
pub const MAX_CPUS: u32 = 512;
/// Least memory a board can have, in bytes: room for a small program, its devicetree and a stack.
pub const MIN_MEMORY: u64 = 1 << 20;
/// Memory comes in whole pages of this many bytes.
pub const PAGE: u64 = 4096;
/// Physical addresses have this many bits (Privileged ISA, Sv39 to Sv57: 44-bit physical page numbers).
pub const PHYSICAL_BITS: u32 = 56;
/// I/O ports of an x86 processor (SDM volume 1, "I/O Port Addressing").
pub const PORTS: u64 = 1 << 16;

/// What a user chooses of a board.
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of harts, 1 to [`MAX_CPUS`]; harts that a board has besides, for firmware, do not count.
    pub cpus: u32,
    /// Bytes of memory: whole pages, at least [`MIN_MEMORY`].
    pub memory: u64,
    /// What those harts implement.
    pub isa: Isa,
    /// The widest address translation of those harts.
    pub mmu: Mmu,
    /// The model of the console's UART.
    pub serial: Serial,
    /// Where the program that will run keeps its host-target interface words, for boards that have one.
    pub htif: Option<HtifWords>,
    /// Serial lines besides the board's own, each on a PCI card, for boards that take them.
    pub serial_cards: u32,
    /// Places for virtio devices on PCI, for boards that have PCI.
    pub virtio_cards: u32,
    /// The link-layer address of the board's own network card, if it is used, for boards that have one.
    pub ethernet: Option<[u8; 6]>,
}

impl Config {
    /// Harts and memory as given, everything else as usual.
    pub fn new(cpus: u32, memory: u64) -> Config {
        let (isa, mmu) = (Isa::default(), Mmu::default());
        Config {
            cpus,
            memory,
            isa,
            mmu,
            serial: Serial::default(),
            htif: None,
            serial_cards: 0,
            virtio_cards: 0,
            ethernet: None,
        }
    }
}

/// Models of UART that a board's console can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serial {
    /// The 16550A, as on QEMU's board.
    #[default]
    Ns16550,
    /// SiFive's UART.
    Sifive,
}

/// Physical addresses of the two 64-bit words of the host-target interface: symbols `tohost` and `fromhost` of a
/// program written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HtifWords {
    /// The word the program writes to.
    pub tohost: u64,
    /// The word the host answers in.
    pub fromhost: u64,
}

/// Models of device, with what distinguishes one of a model from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Read-only memory with the first instructions.
    BootRom,
    /// SiFive's test finisher: a write ends or resets the machine.
    TestFinisher,
    /// NOR flash with the Common Flash Interface: banks of 32 MiB, 32 bits wide.
    CfiFlash {
        /// How many, one after the other.
        banks: u32,
    },
    /// QEMU's firmware configuration device.
    FwCfg,
    /// The Goldfish real-time clock.
    GoldfishRtc,
    /// SiFive's CLINT: software and timer interrupts of every hart, `mtime` at the board's timebase.
    Clint,
    /// The platform-level interrupt controller.
    Plic {
        /// Interrupt sources 1 to `sources`; 0 means none.
        sources: u32,
        /// Contexts, each of which drives one output.
        contexts: u32,
        /// Largest priority; all lower ones exist.
        max_priority: u32,
    },
    /// A 16550A UART.
    Ns16550 {
        /// Frequency that the baud rate divisor divides, in Hz.
        clock_hz: u32,
        /// Registers are `1 << reg_shift` bytes apart.
        reg_shift: u32,
    },
    /// SiFive's UART.
    SifiveUart {
        /// Frequency that the baud rate divisor divides, in Hz.
        clock_hz: u32,
    },
    /// The L2 cache controller of SiFive's FU540. Outputs: DirError, DataError, DataFail.
    Fu540Cache,
    /// The clock and reset controller (PRCI) of SiFive's FU540.
    Fu540Prci {
        /// Frequency of the crystal that the PLLs multiply, in Hz.
        hfclk_hz: u32,
        /// Frequency of the crystal that `mtime` counts, in Hz.
        rtcclk_hz: u32,
    },
    /// SiFive's GPIO controller with 16 pins, each of which drives one output.
    SifiveGpio {
        /// The pin that restarts the machine when the guest drives it low.
        restart_pin: u32,
    },
    /// Cadence's GEM network card as SiFive's FU540 has it: its second window is the management block.
    Fu540Gem {
        /// Its link-layer address; without, it is not used.
        mac: Option<[u8; 6]>,
    },
    /// SiFive's SPI controller.
    SifiveSpi {
        /// How many chip selects it has, 1 to 32.
        selects: u32,
        /// Whether it has the flash interface's registers.
        flash: bool,
        /// What is behind its first chip select is a slot for an SD card; else nothing.
        slot: bool,
    },
    /// The one-time programmable memory of SiFive's FU540.
    Fu540Otp {
        /// The board's serial number, which its maker has programmed.
        serial: u32,
    },
    /// The host-target interface of Berkeley's simulators. Its words lie in the program's memory where the program
    /// has symbols for them, else in a window of their own.
    Htif {
        /// The two words.
        words: HtifWords,
        /// True where the words lie in RAM: the device's window then covers RAM, whose other bytes stay RAM.
        in_ram: bool,
    },
    /// A place for a virtio device over memory-mapped registers; what is attached to it, if anything, is the machine's business.
    VirtioMmio {
        /// Its number among the board's places, from 0 on.
        place: u32,
    },
    /// The cascaded pair of 8259A interrupt controllers of a PC.
    I8259,
    /// The I/O APIC.
    IoApic,
    /// The local APIC of an x86 processor. It has no window: its processor alone sees its registers.
    LocalApic {
        /// The processor's number, which is its APIC id.
        cpu: u32,
    },
    /// The 8254 interval timer of a PC, with port 0x61.
    I8254,
    /// The MC146818 real-time clock of a PC with its CMOS memory.
    Cmos,
    /// The 8042 keyboard controller, without a keyboard: it resets the machine.
    I8042,
    /// A port that ends the machine: a write of `v` with status `2 v + 1`.
    DebugExit,
    /// A PC's power management as far as power-off: a write of 0x2000 ends the machine with status 0.
    PowerControl,
    /// The reset control register of a PC's chipset.
    ResetControl,
    /// A PCI Express root complex. Its window is the ECAM window, 1 MiB for each bus; its further windows are that of the
    /// I/O ports, then those of memory, whose offsets are the PCI addresses that they lead to. Outputs: INTA to INTD.
    PcieHost {
        /// The functions on it, each after the port that it is below.
        functions: Vec<PciPlaced>,
    },
}

/// Models of PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciKind {
    /// The root complex's own first function.
    HostBridge,
    /// A root port.
    RootPort {
        /// Number of its slot, 0 to 8191.
        slot: u16,
    },
    /// A 16550A UART on a card.
    Serial,
    /// A place for a virtio device; what is attached to it is the machine's business, and without anything there is nothing.
    Virtio {
        /// Its number among the board's places on PCI, from 0 on.
        place: u32,
    },
}

/// A PCI function in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciPlaced {
    /// Unique name on the board.
    pub name: &'static str,
    /// Its model.
    pub kind: PciKind,
    /// The port that it is below; none on the root bus.
    pub port: Option<&'static str>,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

impl PciPlaced {
    /// A function on the root bus.
    pub fn on_root(name: &'static str, kind: PciKind, device: u8, function: u8) -> PciPlaced {
        PciPlaced { name, kind, port: None, device, function }
    }

    /// The only function of a card in a port.
    pub fn below(name: &'static str, kind: PciKind, port: &'static str) -> PciPlaced {
        PciPlaced { name, kind, port: Some(port), device: 0, function: 0 }
    }
}

/// The address spaces of a board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Space {
    /// Guest-physical memory.
    #[default]
    Memory,
    /// The 64 KiB of I/O ports of an x86 processor.
    Ports,
}

/// A further window of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Address in the device's space.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// What offset of the device its first byte is.
    pub offset: u64,
}

/// An interrupt pin of a hart; the value is its bit in `mip` (Privileged ISA, "Machine Interrupt Registers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HartInterrupt {
    /// MSIP.
    MachineSoftware = 3,
    /// MTIP.
    MachineTimer = 7,
    /// SEIP.
    SupervisorExternal = 9,
    /// MEIP.
    MachineExternal = 11,
}

/// What an output of a device drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An input of an interrupt controller.
    Input {
        /// Name of the controller.
        device: &'static str,
        /// Number of its input.
        input: u32,
    },
    /// A pin of a hart.
    Hart {
        /// Hart id.
        hart: u32,
        /// Which pin.
        interrupt: HartInterrupt,
    },
    /// A line of an x86 processor.
    Processor {
        /// The processor's number.
        cpu: u32,
        /// The line, as `fabric_wire::local::line` counts them.
        line: u32,
    },
    /// An interrupt of a PC's ISA bus, 0 to 15, which both the 8259 and the I/O APIC get: the latter at the pin of the
    /// same number, but 0 at pin 2.
    Isa(u32),
}

/// A device in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Unique name on the board.
    pub name: &'static str,
    /// Its model.
    pub kind: DeviceKind,
    /// Where its windows are.
    pub space: Space,
    /// Address of its window.
    pub base: u64,
    /// Bytes of its window.
    pub size: u64,
    /// Further windows, of a device whose registers do not lie together.
    pub more: Vec<Window>,
    /// What its outputs drive, by number of the output. A CLINT's outputs are software and timer interrupt of hart 0,
    /// then of hart 1, and so on; a PLIC's are its contexts; other devices have at most one, unless their kind says
    /// otherwise.
    pub outputs: Vec<Target>,
    /// The devicetree's `compatible`, the most specific first; empty for what is usual for the kind.
    pub compatible: &'static [&'static str],
}

impl Placed {
    /// A device without outputs.
    pub fn new(name: &'static str, kind: DeviceKind, base: u64, size: u64) -> Placed {
        let (space, more) = (Space::Memory, Vec::new());
        Placed { name, kind, space, base, size, more, outputs: Vec::new(), compatible: &[] }
    }

    /// The same for a device at I/O ports.
    pub fn at_ports(name: &'static str, kind: DeviceKind, base: u64, size: u64) -> Placed {
        Placed { space: Space::Ports, ..Placed::new(name, kind, base, size) }
    }

    /// The same device with a further window, whose first byte is the device's `offset`.
    #[must_use]
    pub fn and(mut self, base: u64, size: u64, offset: u64) -> Placed {
        self.more.push(Window { base, size, offset });
        self
    }

    /// The same device with another `compatible` in the devicetree.
    #[must_use]
    pub fn known_as(mut self, compatible: &'static [&'static str]) -> Placed {
        self.compatible = compatible;
        self
    }

    /// The same device with outputs.
    #[must_use]
    pub fn drives(mut self, outputs: impl IntoIterator<Item = Target>) -> Placed {
        self.outputs.extend(outputs);
        self
    }

    /// Addresses of its (first) window.
    pub fn window(&self) -> Range<u64> {
        self.base..self.base.saturating_add(self.size)
    }

    /// Addresses of all its windows.
    pub fn windows(&self) -> Vec<Range<u64>> {
        let more = self.more.iter().map(|window| window.base..window.base.saturating_add(window.size));
        std::iter::once(self.window()).chain(more).filter(|range| !range.is_empty()).collect()
    }

    /// True where the window covers RAM on purpose.
    pub fn overlays_ram(&self) -> bool {
        matches!(self.kind, DeviceKind::Htif { in_ram: true, .. })
    }
}

/// What kind of processors a board has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processor {
    /// RISC-V harts.
    #[default]
    Riscv,
    /// x86-64 processors.
    X86,
}

/// A machine, described. The functions that make one check it; see [`crate::check`].
#[derive(Clone, Debug)]
pub struct Board {
    /// What a user calls it.
    pub name: &'static str,
    /// One line for a list of boards.
    pub description: &'static str,
    /// What processors it has. What is said of harts, instruction set, translation, timebase, boot ROM and devicetree
    /// is for RISC-V only.
    pub processor: Processor,
    /// The devicetree's `model`.
    pub model: &'static str,
    /// The devicetree's root `compatible`, the most specific first.
    pub compatible: &'static [&'static str],
    /// Number of harts, all of them; their ids are 0 and up.
    pub cpus: u32,
    /// Models of the first harts, where they are not like the rest: those of hart 0, 1 and so on.
    pub monitors: Vec<Core>,
    /// Model of all other harts.
    pub core: Core,
    /// Frequency of `time` and `mtime`, in Hz.
    pub timebase_hz: u32,
    /// Physical addresses of the RAM.
    pub ram: Range<u64>,
    /// Where every hart starts: in the boot ROM.
    pub reset_pc: u64,
    /// The devices.
    pub devices: Vec<Placed>,
}

impl Board {
    /// What hart `hart` is.
    pub fn core(&self, hart: u32) -> &Core {
        self.monitors.get(hart as usize).unwrap_or(&self.core)
    }

    /// The harts that an operating system can use: those with S-mode.
    pub fn application_harts(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..self.cpus).filter(|&hart| self.core(hart).supervisor)
    }

    /// The hart that boots: the first that an operating system can use.
    pub fn boot_hart(&self) -> u32 {
        self.application_harts().next().unwrap_or(0)
    }

    /// The device of that name.
    pub fn device(&self, name: &str) -> Option<&Placed> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// The address map, lowest address first: every device and the RAM.
    pub fn address_map(&self) -> Vec<(&'static str, Range<u64>)> {
        self.map(Space::Memory)
    }

    /// The map of an address space, lowest address first.
    pub fn map(&self, space: Space) -> Vec<(&'static str, Range<u64>)> {
        let devices = self.devices.iter().filter(|device| device.space == space);
        let mut map: Vec<_> = devices
            .flat_map(|device| device.windows().into_iter().map(|window| (device.name, window)))
            .collect();
        if space == Space::Memory {
            map.push(("ram", self.ram.clone()));
        }
        map.sort_by_key(|(_, range)| (range.start, range.end));
        map
    }

    /// The UARTs, the console's first.
    pub fn uarts(&self) -> impl Iterator<Item = &Placed> {
        let is_uart =
            |d: &&Placed| matches!(d.kind, DeviceKind::Ns16550 { .. } | DeviceKind::SifiveUart { .. });
        self.devices.iter().filter(is_uart)
    }

    /// The flash memory that a program may start from, with its number of banks.
    pub fn flash(&self) -> Option<(&Placed, u32)> {
        self.devices.iter().find_map(|device| match device.kind {
            DeviceKind::CfiFlash { banks } => Some((device, banks)),
            _ => None,
        })
    }

    /// The PCI functions.
    pub fn pci_functions(&self) -> impl Iterator<Item = &PciPlaced> {
        self.devices.iter().flat_map(|device| match &device.kind {
            DeviceKind::PcieHost { functions } => functions.as_slice(),
            _ => &[],
        })
    }

    /// Bytes of RAM.
    pub fn memory(&self) -> u64 {
        self.ram.end.saturating_sub(self.ram.start)
    }
}

/// The outputs of a CLINT: software and timer interrupt of each hart.
pub fn clint_outputs(cpus: u32) -> impl Iterator<Item = Target> {
    let pins = [HartInterrupt::MachineSoftware, HartInterrupt::MachineTimer];
    (0..cpus).flat_map(move |hart| pins.map(|interrupt| Target::Hart { hart, interrupt }))
}

/// The outputs of a PLIC with a machine and a supervisor context for each hart, in this order.
pub fn plic_outputs(cpus: u32) -> impl Iterator<Item = Target> {
    let pins = [HartInterrupt::MachineExternal, HartInterrupt::SupervisorExternal];
    (0..cpus).flat_map(move |hart| pins.map(|interrupt| Target::Hart { hart, interrupt }))
}
