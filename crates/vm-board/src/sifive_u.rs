//! The `sifive_u` board: SiFive's HiFive Unleashed with its FU540-C000, as far as it is modelled.
//!
//! Hart 0 is the E51 monitor core; harts 1 to 4 are the U54 application cores, as many as the user wants. Sources:
//! SiFive FU540-C000 Manual, its chapters on the E51 and U54 cores, the memory map and the PLIC; Linux, `fu540-c000.dtsi` and `hifive-unleashed-a00.dts` for names, clocks and caches.
//!
//! The chip has no way to power itself off. SiFive's test finisher is therefore at 0x10_0000, where the manual's memory
//! map has nothing. The boot ROM stands in for the loaders in the mask ROM and the SPI flash.
//!
//! Addresses that the chip uses and this board leaves free:
//!
//! | address | size | device |
//! |---|---|---|
//! | 0x0001_0000 | 0x8000 | mask ROM |
//! | 0x0100_0000 | 0x2000 | E51 data memory |
//! | 0x0170_0000 | 0x5000 | bus-error units |
//! | 0x0180_0000 | 0x4_0000 | instruction memories |
//! | 0x0300_0000 | 0x10_0000 | DMA engine, PLIC sources 23 to 30 |
//! | 0x0800_0000 | 0x200_0000 | L2 as memory |
//! | 0x0a00_0000 | 0x200_0000 | L2 zero device |
//! | 0x1002_0000, 0x1002_1000 | 0x1000 | PWM, sources 42 to 49 |
//! | 0x1003_0000 | 0x1000 | I2C, source 50 |
//! | 0x1008_0000 | 0x1000 | pin control |
//! | 0x100b_0000 | 0x1_0000 | DDR controller, source 31 |
//! | 0x2000_0000 | 0x2000_0000 | flash memories of QSPI 0 and 1 |
//! | 0x4000_0000 | 0x4000_0000 | ChipLink |

use crate::board::{
    Board, Config, DeviceKind, HartInterrupt, Placed, Processor, Target, clint_outputs, plic_outputs,
};
use crate::check::{self, BoardError};
use crate::core::Core;
use crate::isa::{Isa, IsaError, Mmu};

/// Physical address of the first byte of RAM.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Physical address after the last byte of RAM that there is room for.
const RAM_END: u64 = 0x20_0000_0000;
/// Most U54 harts.
pub const MAX_CPUS: u32 = 4;
/// Frequency of `mtime`, in Hz: the board's RTC crystal.
pub const TIMEBASE_HZ: u32 = 1_000_000;
/// Frequency of the crystal that the PLLs multiply, in Hz.
const HFCLK_HZ: u32 = 33_333_333;
/// Frequency of TLCLK, the peripherals' clock, in Hz: half of the 1 GHz (33.3 MHz times 120, by 4) that the first-stage
/// boot loader sets the core PLL to.
pub const TLCLK_HZ: u32 = 499_999_995;
/// What QEMU's machine has where the user gives none.
const SERIAL: u32 = 1;
/// The pin that is joined to the board's reset.
const RESTART_PIN: u32 = 10;

const PLIC_SOURCES: u32 = 53;
const PLIC_MAX_PRIORITY: u32 = 7;

/// The instruction set of the application harts.
pub const U54_EXTENSIONS: &[&str] = &["i", "m", "a", "f", "d", "c", "zicntr", "zicsr", "zifencei", "zihpm"];
const E51_EXTENSIONS: &[&str] = &["i", "m", "a", "c", "zicntr", "zicsr", "zifencei", "zihpm"];

const E51_CACHES: &[(&str, u32)] =
    &[("i-cache-block-size", 64), ("i-cache-sets", 128), ("i-cache-size", 0x4000)];
const U54_CACHES: &[(&str, u32)] = &[
    ("d-cache-block-size", 64),
    ("d-cache-sets", 64),
    ("d-cache-size", 0x8000),
    ("d-tlb-sets", 1),
    ("d-tlb-size", 32),
    ("i-cache-block-size", 64),
    ("i-cache-sets", 64),
    ("i-cache-size", 0x8000),
    ("i-tlb-sets", 1),
    ("i-tlb-size", 32),
];

/// The instruction set and address translation of the U54: what a user gets who asks for nothing else.
///
/// # Errors
/// None: the list is one.
pub fn u54_isa() -> Result<(Isa, Mmu), IsaError> {
    Ok((Isa::new(U54_EXTENSIONS)?, Mmu::Sv39))
}

/// "E51 RISC-V Core": M-mode and U-mode only, 8 PMP regions; `time` is left to firmware.
fn e51() -> Result<Core, IsaError> {
    Ok(Core {
        compatible: &["sifive,e51", "sifive,rocket0", "riscv"],
        supervisor: false,
        time_csr: false,
        asid_bits: 0,
        pmp_entries: 8,
        caches: E51_CACHES,
        ..Core::new(Isa::new(E51_EXTENSIONS)?, Mmu::Bare)
    })
}

/// "U54 RISC-V Core": as the manual has it, or another hart in its place if the user asks for one.
fn u54(config: &Config) -> Core {
    let core = Core { caches: U54_CACHES, split_tlb: true, ..Core::new(config.isa.clone(), config.mmu) };
    if u54_isa().is_ok_and(|(isa, mmu)| (&isa, mmu) == (&config.isa, config.mmu)) {
        let compatible = &["sifive,u54-mc", "sifive,rocket0", "riscv"];
        return Core { compatible, time_csr: false, asid_bits: 0, pmp_entries: 8, ..core };
    }
    core
}

fn devices(cpus: u32, ethernet: Option<[u8; 6]>) -> Vec<Placed> {
    let to_plic = |input| Target::Input { device: "plic", input };
    // Hart 0 has no S-mode, and no context for it ("Platform-Level Interrupt Controller").
    let absent = Target::Hart { hart: 0, interrupt: HartInterrupt::SupervisorExternal };
    let outputs: Vec<Target> = plic_outputs(cpus).filter(|&target| target != absent).collect();
    let plic = DeviceKind::Plic {
        sources: PLIC_SOURCES,
        contexts: outputs.len() as u32,
        max_priority: PLIC_MAX_PRIORITY,
    };
    let uart = |name, base, source| {
        Placed::new(name, DeviceKind::SifiveUart { clock_hz: TLCLK_HZ }, base, 0x1000)
            .drives([to_plic(source)])
            .known_as(&["sifive,fu540-c000-uart", "sifive,uart0"])
    };
    // "Serial Peripheral Interface (SPI)", table of the instances.
    let spi = |name, base, source, selects, flash, slot| {
        Placed::new(name, DeviceKind::SifiveSpi { selects, flash, slot }, base, 0x1000)
            .drives([to_plic(source)])
            .known_as(&["sifive,fu540-c000-spi", "sifive,spi0"])
    };
    let prci = DeviceKind::Fu540Prci { hfclk_hz: HFCLK_HZ, rtcclk_hz: TIMEBASE_HZ };
    vec![
        Placed::new("boot-rom", DeviceKind::BootRom, 0x1000, 0x1000),
        Placed::new("test", DeviceKind::TestFinisher, 0x10_0000, 0x1000),
        Placed::new("clint", DeviceKind::Clint, 0x200_0000, 0x1_0000)
            .drives(clint_outputs(cpus))
            .known_as(&["sifive,fu540-c000-clint", "sifive,clint0"]),
        Placed::new("ccache", DeviceKind::Fu540Cache, 0x201_0000, 0x1000).drives((1..=3).map(to_plic)),
        Placed::new("plic", plic, 0xc00_0000, 0x400_0000)
            .drives(outputs)
            .known_as(&["sifive,fu540-c000-plic", "sifive,plic-1.0.0"]),
        Placed::new("prci", prci, 0x1000_0000, 0x1000),
        uart("uart0", 0x1001_0000, 4),
        uart("uart1", 0x1001_1000, 5),
        spi("qspi0", 0x1004_0000, 51, 1, true, false),
        spi("qspi1", 0x1004_1000, 52, 4, true, false),
        spi("qspi2", 0x1005_0000, 6, 1, false, true),
        Placed::new("gpio", DeviceKind::SifiveGpio { restart_pin: RESTART_PIN }, 0x1006_0000, 0x1000)
            .drives((7..=22).map(to_plic))
            .known_as(&["sifive,fu540-c000-gpio", "sifive,gpio0"]),
        Placed::new("otp", DeviceKind::Fu540Otp { serial: SERIAL }, 0x1007_0000, 0x1000),
        Placed::new("gem", DeviceKind::Fu540Gem { mac: ethernet }, 0x1009_0000, 0x2000)
            .and(0x100a_0000, 0x1000, 0x2000)
            .drives([to_plic(53)]),
    ]
}

/// Describes the board. [`Config::cpus`] counts the U54 harts; [`Config::serial`] does not matter, as the chip has UARTs
/// of its own.
///
/// # Errors
/// What a user chose that the board cannot be.
pub fn sifive_u(config: &Config) -> Result<Board, BoardError> {
    let ram = check::ram(config, RAM_BASE, "sifive_u", MAX_CPUS)?;
    check::cards(config, "sifive_u", 0, 0)?;
    if ram.end > RAM_END {
        return Err(BoardError::NoRoomForMemory(config.memory, "sifive_u", RAM_END - RAM_BASE));
    }
    let cpus = 1 + config.cpus;
    let monitor = e51()
        .map_err(|_| BoardError::BadDevice { device: "cpu@0", problem: "its instruction set is none" })?;
    let board = Board {
        name: "sifive_u",
        description: "SiFive's HiFive Unleashed: E51 and U54 harts, CLINT, PLIC, two UARTs, SPI with an SD card, Ethernet, GPIO, PRCI, OTP, test finisher",
        model: "SiFive HiFive Unleashed A00",
        compatible: &["sifive,hifive-unleashed-a00", "sifive,fu540-c000", "sifive,fu540"],
        processor: Processor::Riscv,
        cpus,
        monitors: vec![monitor],
        core: u54(config),
        timebase_hz: TIMEBASE_HZ,
        ram,
        reset_pc: 0x1000,
        devices: devices(cpus, config.ethernet),
    };
    board.check()?;
    Ok(board)
}
