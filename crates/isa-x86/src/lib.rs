//! x86-64: what the instructions and the system architecture mean.
//!
//! Encoding and operands are the rows of the decoder library's table; [`decode`] turns a row into an [`Insn`], and
//! `sem_*.rs` gives each mnemonic its one meaning, generic over [`X86Machine`]. What is not straight-line value code is a
//! named operation ([`Op`]). Processor state, segmentation, event delivery and the page-table walk are pure functions on
//! data. This crate knows no engine, no bus, no device, no clock and no host; it never allocates while instructions
//! run.
//!
//! "SDM" is the Intel 64 and IA-32 Architectures Software Developer's Manual.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod cpuid;
mod decode;
mod descriptor;
mod env;
pub mod event;
mod far;
mod fault;
mod insn;
mod iret;
pub mod lift;
mod machine;
pub mod msr;
pub mod ops;
mod ops_arithmetic;
mod ops_memory;
mod ops_number;
mod ops_string;
mod ops_system;
mod ops_system_control;
mod ops_system_fpu;
mod ops_system_info;
mod ops_system_io;
mod ops_system_segment;
mod ops_system_transfer;
pub mod rows;
pub mod saved;
mod segment;
pub mod sem;
mod sem_arithmetic;
mod sem_bit_string;
mod sem_bits;
mod sem_branch;
mod sem_condition;
mod sem_decimal;
mod sem_exchange;
mod sem_flags;
mod sem_move;
mod sem_multiply;
mod sem_shift;
mod sem_stack;
mod sem_string;
mod sem_system;
mod sem_system_segment;
mod sem_system_transfer;
mod sensitivity;
mod stack;
mod state;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod walk;

pub use cpuid::Identity;
pub use decode::{LONGEST, Undecoded, decode};
pub use env::{Access, Change, Env};
pub use fault::{Fault, vector};
pub use iced_x86::Code;
pub use insn::{Insn, Mem, Operand, Prefixes, Reg};
pub use machine::X86Machine;
pub use ops::{Effects, Op, Parts};
pub use ops_arithmetic::ArithmeticOp;
pub use ops_memory::MemoryOp;
pub use ops_string::{Form, Repeat, StringOp};
pub use ops_system::SystemOp;
pub use ops_system_control::ControlOp;
pub use ops_system_fpu::FpuOp;
pub use ops_system_info::InfoOp;
pub use ops_system_io::{IoOp, PortString};
pub use ops_system_segment::{SegmentOp, Table};
pub use ops_system_transfer::TransferOp;
pub use rows::{Meaning, execute};
pub use segment::{Segment, TableRegister, seg};
pub use sensitivity::sensitivity;
pub use state::{Activity, Event, Fpu, Mode, Msrs, Shadow, State, cr0, cr4, dr6, dr7, efer, rflags};
