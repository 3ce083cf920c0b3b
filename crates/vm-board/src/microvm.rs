//! The `microvm` board: the least of a PC that an x86-64 kernel needs. No firmware: the kernel is entered directly.
//!
//! | where | what | interrupt |
//! |---|---|---|
//! | ports 0x20, 0xa0, 0x4d0 | two 8259A | INTR to LINT0 of the first local APIC |
//! | ports 0x40 to 0x43, 0x61 | 8254 timer, speaker port | ISA 0 |
//! | ports 0x60, 0x64 | 8042 keyboard controller, for reset only | |
//! | ports 0x70, 0x71 | MC146818 clock and CMOS memory | ISA 8 |
//! | port 0xf4 | debug exit: a write of v ends the machine with status 2 v + 1 | |
//! | ports 0x3f8 to 0x3ff | 16550A, the console | ISA 4 |
//! | port 0x604 | power control: a 16-bit write of 0x2000 ends the machine with status 0 | |
//! | port 0xcf9 | reset control | |
//! | 0xfec0_0000 | I/O APIC, 24 pins | |
//! | 0xfee0_0000 | each processor's own local APIC | |
//!
//! Ports and addresses are those of QEMU's `microvm` (and of its PCs, for the debug exit and power control), so that
//! what runs there runs here.

use crate::board::{Board, Config, DeviceKind, Placed, Processor, Target};
use crate::check::{self, BoardError};
use crate::core::Core;
use crate::size::GIB;

/// The most memory the board can have: from 3 GiB on, devices are in the way.
pub const MAX_MEMORY: u64 = 3 * GIB;
/// The most processors it can have so far.
pub const MAX_CPUS: u32 = 1;
/// Frequency that the UART's divisor divides, in Hz.
pub const UART_CLOCK_HZ: u32 = 1_843_200;

/// Describes the board.
pub fn microvm(config: &Config) -> Result<Board, BoardError> {
    let ram = check::ram(config, 0, "microvm", MAX_CPUS)?;
    check::cards(config, "microvm", 0, 0)?;
    if ram.end > MAX_MEMORY {
        return Err(BoardError::NoRoomForMemory(config.memory, "microvm", MAX_MEMORY));
    }
    let uart = DeviceKind::Ns16550 { clock_hz: UART_CLOCK_HZ, reg_shift: 0 };
    let apic_lines = (0..4).map(|line| Target::Processor { cpu: 0, line });
    let devices = vec![
        Placed::at_ports("pic", DeviceKind::I8259, 0x20, 2)
            .and(0xa0, 2, 2)
            .and(0x4d0, 2, 4)
            .drives([Target::Input { device: "lapic0", input: 0 }]),
        Placed::at_ports("pit", DeviceKind::I8254, 0x40, 4).and(0x61, 1, 4).drives([Target::Isa(0)]),
        Placed::at_ports("i8042", DeviceKind::I8042, 0x60, 1).and(0x64, 1, 4),
        Placed::at_ports("rtc", DeviceKind::Cmos, 0x70, 2).drives([Target::Isa(8)]),
        Placed::at_ports("debug-exit", DeviceKind::DebugExit, 0xf4, 4),
        Placed::at_ports("uart0", uart, 0x3f8, 8).drives([Target::Isa(4)]),
        Placed::at_ports("power", DeviceKind::PowerControl, 0x604, 2),
        Placed::at_ports("reset", DeviceKind::ResetControl, 0xcf9, 1),
        Placed::new("ioapic", DeviceKind::IoApic, 0xfec0_0000, 0x1000),
        Placed::new("lapic0", DeviceKind::LocalApic { cpu: 0 }, 0, 0).drives(apic_lines),
    ];
    let board = Board {
        name: "microvm",
        description: "the least of a PC: 8259, I/O APIC, 8254, clock, UART; x86-64",
        processor: Processor::X86,
        model: "",
        compatible: &[],
        cpus: config.cpus,
        monitors: Vec::new(),
        core: Core::new(config.isa.clone(), config.mmu),
        timebase_hz: 1,
        ram,
        reset_pc: 0,
        devices,
    };
    board.check()?;
    Ok(board)
}
