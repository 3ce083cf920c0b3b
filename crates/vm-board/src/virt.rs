//! The `virt` board: compatible with QEMU's machine of that name, so that firmware, boot loaders and kernels built
//! for it run unchanged.
//!
//! Source: the devicetree that QEMU 10 generates (`-M virt,dumpdtb=FILE`); the comparison is in `tests/virt.rs`.
//!
//! Addresses that QEMU's machine uses and this one leaves free for the same purpose:
//!
//! | address | size | device |
//! |---|---|---|
//! | 0x0400_0000 | 0x200_0000 | platform bus |

use crate::board::{
    Board, Config, DeviceKind, MAX_CPUS, PHYSICAL_BITS, Placed, Processor, Serial, Target, clint_outputs,
    plic_outputs,
};
use crate::check::{self, BoardError};
use crate::core::Core;
use crate::pcie;
use crate::size::GIB;
use std::ops::Range;

/// Physical address of the first byte of RAM.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Frequency of `time`, in Hz.
pub const TIMEBASE_HZ: u32 = 10_000_000;
/// The UART's input clock, in Hz: 115200 baud times 16, times 2.
pub const UART_CLOCK_HZ: u32 = 3_686_400;

const UART_SOURCE: u32 = 10;
const RTC_SOURCE: u32 = 11;
const PCIE_SOURCES: [u32; 4] = [32, 33, 34, 35];
/// The places for virtio devices: names, the first one's address and bytes of each. Their sources are 1 to 8.
const VIRTIO: [&str; 8] =
    ["virtio0", "virtio1", "virtio2", "virtio3", "virtio4", "virtio5", "virtio6", "virtio7"];
const VIRTIO_BASE: u64 = 0x1000_1000;
const VIRTIO_SIZE: u64 = 0x1000;
/// How many virtio devices there is room for at memory-mapped registers.
pub const VIRTIO_PLACES: usize = VIRTIO.len();
const PLIC_SOURCES: u32 = 95;
const PLIC_MAX_PRIORITY: u32 = 7;

pub use crate::pcie::{MAX_SERIAL_CARDS, MAX_VIRTIO_CARDS};

/// Bytes of the PCIe window above 4 GiB, and what its address is a multiple of.
const PCIE_WIDE: u64 = 16 * GIB;

/// The root complex. Its large window is at the first multiple of its size behind RAM, as on QEMU's board, if there is room.
fn pcie(ram: &Range<u64>, config: &Config) -> Placed {
    let functions = pcie::functions(config.serial_cards, config.virtio_cards);
    let host = Placed::new("pcie", DeviceKind::PcieHost { functions }, 0x3000_0000, 0x1000_0000)
        .and(0x300_0000, 0x1_0000, 0)
        .and(0x4000_0000, 0x4000_0000, 0x4000_0000);
    let wide = ram.end.next_multiple_of(PCIE_WIDE);
    if wide + PCIE_WIDE > 1 << PHYSICAL_BITS { host } else { host.and(wide, PCIE_WIDE, wide) }
}

/// Describes the board.
pub fn virt(config: &Config) -> Result<Board, BoardError> {
    let ram = check::ram(config, RAM_BASE, "virt", MAX_CPUS)?;
    check::cards(config, "virt", MAX_SERIAL_CARDS, MAX_VIRTIO_CARDS)?;
    let cpus = config.cpus;
    let to_plic = |input| [Target::Input { device: "plic", input }];
    let plic =
        DeviceKind::Plic { sources: PLIC_SOURCES, contexts: 2 * cpus, max_priority: PLIC_MAX_PRIORITY };
    let (uart, uart_size) = match config.serial {
        Serial::Ns16550 => (DeviceKind::Ns16550 { clock_hz: UART_CLOCK_HZ, reg_shift: 0 }, 0x100),
        Serial::Sifive => (DeviceKind::SifiveUart { clock_hz: UART_CLOCK_HZ }, 0x1000),
    };
    let mut devices = vec![
        Placed::new("boot-rom", DeviceKind::BootRom, 0x1000, 0xf000),
        Placed::new("test", DeviceKind::TestFinisher, 0x10_0000, 0x1000),
        Placed::new("rtc0", DeviceKind::GoldfishRtc, 0x10_1000, 0x1000).drives(to_plic(RTC_SOURCE)),
        Placed::new("clint", DeviceKind::Clint, 0x200_0000, 0x1_0000).drives(clint_outputs(cpus)),
        Placed::new("plic", plic, 0xc00_0000, 0x60_0000).drives(plic_outputs(cpus)),
        Placed::new("fw-cfg", DeviceKind::FwCfg, 0x1010_0000, 0x18),
        Placed::new("flash", DeviceKind::CfiFlash { banks: 2 }, 0x2000_0000, 0x400_0000),
        Placed::new("uart0", uart, 0x1000_0000, uart_size).drives(to_plic(UART_SOURCE)),
        pcie(&ram, config).drives(PCIE_SOURCES.into_iter().flat_map(to_plic)),
    ];
    devices.extend(VIRTIO.into_iter().zip(0..).map(|(name, place)| {
        let base = VIRTIO_BASE + VIRTIO_SIZE * u64::from(place);
        Placed::new(name, DeviceKind::VirtioMmio { place }, base, VIRTIO_SIZE).drives(to_plic(1 + place))
    }));
    let board = Board {
        name: "virt",
        description: "compatible with QEMU's virt: CLINT, PLIC, UART, clock, flash, fw_cfg, virtio, PCIe, test finisher",
        model: "riscv-virtio,hostel",
        processor: Processor::Riscv,
        compatible: &["riscv-virtio"],
        cpus,
        monitors: Vec::new(),
        core: Core::new(config.isa.clone(), config.mmu),
        timebase_hz: TIMEBASE_HZ,
        ram,
        reset_pc: 0x1000,
        devices,
    };
    board.check()?;
    Ok(board)
}
