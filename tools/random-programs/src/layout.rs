//! What is where: in RAM, in a program's slot, in its window of code and of data.

/// Where RAM is.
pub const RAM: u64 = 0x8000_0000;
/// Bytes of a program's slot; it lies at a multiple of that.
pub const SLOT: u64 = 0x4_0000;
/// Bytes of a window: code or data, wherever they are mapped. An address is one by its low bits.
pub const WINDOW: u64 = 0x1_0000;

// In a slot.

/// Code.
pub const CODE: u64 = 0;

/// Data.
pub const DATA: u64 = 0x1_0000;
/// Page tables.
pub const TABLES: u64 = 0x2_0000;
/// Pages of page tables.
pub const TABLE_PAGES: u64 = 28;
/// What the trap handlers keep.
pub const STATE: u64 = 0x3_c000;
/// What registers and CSRs start with, and what the program leaves in them.
pub const LEFT: u64 = 0x3_f000;

// In a window.

/// Bytes at the start of the code that are the runtime's.
pub const RUNTIME: u64 = 0x1000;
/// What the base register points to in the data, so that all immediates lie in it.
pub const BASE: u64 = 0x2000;
/// Pages of data that random accesses reach, and whose page tables are random.
pub const RANDOM_PAGES: u64 = 12;
/// Where the stack begins in the data; it has the last four pages, what is above it included, which accesses by the
/// stack pointer reach.
pub const STACK: u64 = 0xfe00;
/// Bytes below the stack pointer's value that a function has for its own use.
pub const SCRATCH: u64 = 64;

// In the handlers' state.

/// Registers that the handler in M-mode uses.
pub const SAVED: u64 = 0;
/// Physical address of the context in use.
pub const CURRENT: u64 = 32;
/// Random numbers of the handler.
pub const RANDOM: u64 = 40;
/// Where in the log the next trap goes.
pub const LOG_AT: u64 = 48;
/// How many traps there were.
pub const TRAPS: u64 = 56;
/// A hash of what the handler in S-mode saw.
pub const S_HASH: u64 = 64;
/// Contexts: see [`record`].
pub const CONTEXTS: u64 = 0x100;
/// Bytes of a context.
pub const CONTEXT: u64 = 64;
/// The last traps: cause, address, value, `mstatus` of each.
pub const LOG: u64 = 0x400;
/// Bytes of the log, which then starts again.
pub const LOG_BYTES: u64 = 2048;

/// Fields of a context, in bytes from its start.
pub mod record {
    /// `satp`.
    pub const SATP: u64 = 0;
    /// The mode as `mstatus.MPP`.
    pub const MPP: u64 = 8;
    /// Where code is.
    pub const CODE: u64 = 16;
    /// Where data is.
    pub const DATA: u64 = 24;
    /// Physical address of the leaf entry of the first page of data; 0 if there is none.
    pub const PTE: u64 = 32;
    /// `stvec`.
    pub const STVEC: u64 = 40;
    /// Where the whole slot is, for code that changes page tables.
    pub const LINEAR: u64 = 48;
    /// The same for the handler in S-mode, in `sscratch`.
    pub const SSCRATCH: u64 = 56;
}

/// Where nothing is, in any address space: a jump to it is a call to the handler in M-mode. Bits from 16 on count the
/// services, the low ones say where in the code to go on.
pub const SERVICE: u64 = 0x20_0000_0000;
/// The service that ends the program; the next ones switch to context 0, 1 and so on.
pub const EXIT: u64 = 0;
/// Where all RAM is mapped for S-mode, in every address space.
pub const LINEAR: u64 = 0x38_0000_0000;

/// The CLINT.
pub const CLINT: u64 = 0x200_0000;
/// A 16550.
pub const UART: u64 = 0x1000_0000;
/// The test finisher.
pub const FINISHER: u64 = 0x10_0000;

/// CSRs whose last values a program leaves, behind the integer and the floating-point registers.
pub const LEFT_CSRS: [&str; 20] = [
    "mstatus",
    "fcsr",
    "mepc",
    "mcause",
    "mie",
    "mip",
    "mideleg",
    "medeleg",
    "mcounteren",
    "menvcfg",
    "satp",
    "stvec",
    "sscratch",
    "sepc",
    "scause",
    "scounteren",
    "senvcfg",
    "pmpcfg0",
    "pmpaddr0",
    "pmpaddr1",
];
