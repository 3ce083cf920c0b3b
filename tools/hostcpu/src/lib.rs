//! Executes one x86-64 user-level instruction on the processor of the host and says what it did: an
//! oracle for tests of an interpreter.
//!
//! An island of `unsafe`: it runs bytes that somebody else made up. It knows nothing of interpreters
//! and makes no test cases. It knows the general registers and the flags only: what touches other
//! state (x87, vectors, segments, the kernel) is [`Refused`].
//!
//! **How.** The bytes are written into a window of code at a fixed address; the registers are loaded
//! from a block of memory, the stack pointer last, and the instruction is jumped to. Behind it, and where
//! a branch goes, stands a jump to code that stores all registers without needing one. That costs no
//! system call. A branch out of the window ends in a page fault of the fetch; faults are signals, taken on
//! a stack of their own, since the instruction's stack pointer may be anything. Only where neither will
//! do (a jump to itself, say) is an instruction single-stepped, which is slow on virtual hosts.
//!
//! **Speed.** See `examples/speed.rs`. Most of the time of a new instruction goes into the processor's
//! noticing that code has changed; to [`Oracle::load`] some dozens of instructions, in places 64 bytes
//! apart, before each is run is several times faster than one after the other.
//!
//! **What it cannot prevent.** An instruction that stores to an address where this process has memory
//! does so. All but [`DATA`], [`CODE`] and [`EXITS`] is unmapped from address 0 to [`RESERVED`]`.end` in a
//! position-independent executable, so that neither 32-bit addresses nor displacements from the windows
//! hit anything; a random 64-bit address hits something with a chance of about 2⁻³⁰.
//!
//! On hosts other than x86-64 Linux, [`available`] says no and [`Oracle::new`] fails.

mod layout;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod kinds;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod signals;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod switch;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod windows;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use native::{Loaded, Oracle};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use absent::{Loaded, Oracle};

pub use layout::{CODE, CODE_BYTES, DATA, DATA_BYTES, EXITS, PAGE, READ_ONLY, RESERVED, WRITABLE_BYTES};

use std::{fmt, io};

/// Number of RAX in [`Regs::gpr`].
pub const RAX: usize = 0;
/// Number of RCX.
pub const RCX: usize = 1;
/// Number of RDX.
pub const RDX: usize = 2;
/// Number of RBX.
pub const RBX: usize = 3;
/// Number of RSP.
pub const RSP: usize = 4;
/// Number of RBP.
pub const RBP: usize = 5;
/// Number of RSI.
pub const RSI: usize = 6;
/// Number of RDI.
pub const RDI: usize = 7;

/// The flags of [`Regs::rflags`] that can be set before an instruction: CF, PF, AF, ZF, SF, OF, DF, NT
/// and ID. Others are what a Linux process has: IF and bit 1 set, the rest clear.
pub const SETTABLE: u64 = 0x20_4cd5;

/// The most bytes of code: one more than an instruction may have, so that the fault of too long an
/// instruction can be had (SDM volume 3, interrupt 13).
pub const CODE_LIMIT: usize = 16;

/// What an instruction starts with and leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regs {
    /// The general registers by their number in encodings: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8
    /// to R15. Any value, RSP too.
    pub gpr: [u64; 16],
    /// Before: where the instruction stands, in [`CODE`]. After: what the processor goes on with; after a
    /// fault, the saved instruction pointer that a handler would see (behind the instruction for `int3`,
    /// `int1` and `int n` with a gate that user code may use; where a hypervisor on an AMD processor hands it on, at `int1`).
    pub rip: u64,
    /// Before: only [`SETTABLE`] flags count. After: all, but RF, which is always clear.
    pub rflags: u64,
}

/// What became of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It completed. [`Regs::rip`] is the next instruction, which need not be mapped.
    Done,
    /// It raised an exception.
    Fault {
        /// The exception's vector: #DE 0, #DB 1, #BP 3, #OF 4, #UD 6, #SS 12, #GP 13, #PF 14, #AC 17
        /// (SDM volume 3, "Exception and Interrupt Reference").
        vector: u8,
        /// The error code: 0 for a vector that has none. `None` if the kernel hides it: of page faults in
        /// the kernel's half of the address space, Linux always says that a page is present.
        error: Option<u64>,
        /// The address of a page fault (CR2); `None` for other vectors.
        address: Option<u64>,
    },
}

/// Why an instruction was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no code, or more than [`CODE_LIMIT`] bytes.
    Length,
    /// The instruction needs more bytes than there are.
    Incomplete,
    /// [`Regs::rip`] is not in [`CODE`].
    Rip,
    /// It calls the kernel or the hypervisor, or one of them would answer in the processor's place.
    Kernel,
    /// It changes a segment register, or might; or it uses FS, whose base belongs to this process. (The base
    /// of GS is 0.)
    Segment,
    /// It reads or changes state that [`Regs`] does not have: x87, vectors, masks, tiles, transactions.
    State,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Length => "no code, or too much of it",
            Refused::Incomplete => "the instruction is longer than the code",
            Refused::Rip => "RIP is outside the window of code",
            Refused::Kernel => "the kernel or the hypervisor would answer it",
            Refused::Segment => "it may change a segment register, or uses FS",
            Refused::State => "it touches state other than general registers and flags",
        })
    }
}

impl std::error::Error for Refused {}

/// Why there is no oracle.
#[derive(Debug)]
pub enum Unavailable {
    /// The host is no x86-64 Linux.
    Host,
    /// This process has an oracle already: its windows have fixed addresses.
    Second,
    /// The executable is not position-independent, and so where an instruction may hit it easily.
    Executable,
    /// The kernel refused something.
    Kernel(&'static str, io::Error),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Host => f.write_str("instructions can be run natively on x86-64 Linux only"),
            Unavailable::Second => f.write_str(
                "this process has an oracle already; its windows have fixed addresses, so drop it first",
            ),
            Unavailable::Executable => f.write_str(
                "the executable is at a low address, where an instruction may hit it; build it as a PIE",
            ),
            Unavailable::Kernel(what, error) => write!(f, "the kernel refused {what}: {error}"),
        }
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unavailable::Kernel(_, error) => Some(error),
            _ => None,
        }
    }
}

/// What a signal said, raw: to find out what a kernel reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Signal {
    /// `si_signo`
    pub number: i32,
    /// `si_code`
    pub code: i32,
    /// `si_addr`
    pub address: u64,
    /// `REG_TRAPNO` of the context: a vector.
    pub trap: u64,
    /// `REG_ERR` of the context: an error code.
    pub error: u64,
    /// `REG_CR2` of the context.
    pub cr2: u64,
    /// `REG_RIP` of the context.
    pub rip: u64,
    /// `REG_EFL` of the context.
    pub rflags: u64,
}

/// Whether this is a host on which there can be an oracle.
pub const fn available() -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
}
