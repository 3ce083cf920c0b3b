//! The `spike` board: the machine that the RISC-V ISA simulator Spike describes, for test programs that end by
//! writing to `tohost`.
//!
//! Sources: Spike's `riscv/platform.h` (addresses), `riscv/dts.cc` (devicetree), `fesvr/htif.cc` (the host-target
//! interface); for the address of the interface's own window, the devicetree of QEMU 10's `spike` machine.

use crate::board::{
    Board, Config, DeviceKind, HtifWords, MAX_CPUS, Placed, Processor, Serial, Target, clint_outputs,
    plic_outputs,
};
use crate::check::{self, BoardError};
use crate::core::Core;
use std::ops::Range;

/// Physical address of the first byte of RAM.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Frequency of `time`, in Hz: Spike counts 1 GHz by hundreds.
pub const TIMEBASE_HZ: u32 = 10_000_000;

/// Window of the host-target interface for programs without symbols for it.
const HTIF_BASE: u64 = 0x100_0000;
/// Farthest that `tohost` and `fromhost` may be apart, so that the window over RAM stays small.
const HTIF_MAX_SIZE: u64 = 0x1000;
const UART_SOURCE: u32 = 1;
const PLIC_SOURCES: u32 = 31;
const PLIC_MAX_PRIORITY: u32 = 15;

/// Describes the board.
pub fn spike(config: &Config) -> Result<Board, BoardError> {
    let ram = check::ram(config, RAM_BASE, "spike", MAX_CPUS)?;
    check::cards(config, "spike", 0, 0)?;
    let cpus = config.cpus;
    let plic =
        DeviceKind::Plic { sources: PLIC_SOURCES, contexts: 2 * cpus, max_priority: PLIC_MAX_PRIORITY };
    let (uart, uart_size) = match config.serial {
        Serial::Ns16550 => (DeviceKind::Ns16550 { clock_hz: TIMEBASE_HZ, reg_shift: 0 }, 0x100),
        Serial::Sifive => (DeviceKind::SifiveUart { clock_hz: TIMEBASE_HZ }, 0x1000),
    };
    let devices = vec![
        Placed::new("boot-rom", DeviceKind::BootRom, 0x1000, 0xf000),
        htif(config.htif, &ram)?,
        Placed::new("clint", DeviceKind::Clint, 0x200_0000, 0xc_0000).drives(clint_outputs(cpus)),
        Placed::new("plic", plic, 0xc00_0000, 0x100_0000).drives(plic_outputs(cpus)),
        Placed::new("uart0", uart, 0x1000_0000, uart_size)
            .drives([Target::Input { device: "plic", input: UART_SOURCE }]),
    ];
    let board = Board {
        name: "spike",
        description: "as the Spike simulator: HTIF at the program's tohost, CLINT, PLIC, UART",
        model: "ucbbar,spike-bare,hostel",
        processor: Processor::Riscv,
        compatible: &["ucbbar,spike-bare-dev"],
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

/// The interface over the program's words, or in its own window with `tohost` at 0 and `fromhost` at 8.
fn htif(words: Option<HtifWords>, ram: &Range<u64>) -> Result<Placed, BoardError> {
    let Some(words) = words else {
        let words = HtifWords { tohost: HTIF_BASE, fromhost: HTIF_BASE + 8 };
        let kind = DeviceKind::Htif { words, in_ram: false };
        return Ok(Placed::new("htif", kind, HTIF_BASE, HTIF_MAX_SIZE));
    };
    let wrong = |problem| Err(BoardError::Htif { words, problem });
    let (low, high) = (words.tohost.min(words.fromhost), words.tohost.max(words.fromhost));
    if low < ram.start || high > ram.end - 8 {
        return wrong("lie outside the machine's memory");
    }
    if !low.is_multiple_of(8) || !high.is_multiple_of(8) {
        return wrong("are not aligned to 8 bytes");
    }
    if low == high {
        return wrong("are the same word");
    }
    if high - low > HTIF_MAX_SIZE - 8 {
        return wrong("are more than 4 KiB apart");
    }
    let kind = DeviceKind::Htif { words, in_ram: true };
    Ok(Placed::new("htif", kind, low, high + 8 - low))
}
