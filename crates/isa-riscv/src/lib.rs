//! RISC-V: what the instructions and the privileged architecture mean.
//!
//! RV64 only. The rows of `tables/*.isa` give encoding, operands and assembly; `sem_*.rs` gives each
//! row its one meaning; [`ops`] holds the named operations. Hart state, CSRs, trap entry and the
//! page-table walk are pure functions on data. This crate knows no engine, no bus, no device, no
//! clock and no host; it never allocates while instructions run.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod csr;
pub mod csr_fields;
pub mod csr_table;
pub mod disasm;
mod env;
mod features;
#[allow(clippy::all, reason = "generated")]
mod generated;
mod legal;
pub mod lift;
mod machine;
mod op_number;
pub mod ops;
mod ops_fp;
mod pmp;
pub mod priv_ops;
pub mod random;
pub mod rows;
pub mod saved;
pub mod sem;
mod sem_atomic;
mod sem_bits;
mod sem_double;
mod sem_float;
mod sem_half;
mod sem_integer;
mod sem_multiply;
mod sem_single;
mod sem_system;
pub mod sensitivity;
mod state;
#[cfg(feature = "testkit")]
pub mod testkit;
mod trap;
mod walk;

#[cfg(test)]
mod csr_test;
#[cfg(test)]
mod pmp_test;
#[cfg(test)]
mod test_env;
#[cfg(test)]
mod trap_test;
#[cfg(test)]
mod walk_test;

pub use csr_table::{csr_name, csr_number};
pub use disasm::disassemble;
pub use env::{Change, Env};
pub use features::{EXTENSIONS, Extension, Extensions, Features, SatpMode};
pub use generated::{EXTENSIONS as EXTENSION_CHAPTERS, Insn, ROWS, args, decode16, decode32, execute};
pub use legal::Legal;
pub use machine::RiscvMachine;
pub use ops::Op;
pub use pmp::{AccessKind, PageVerdict, Pmp, PmpStretch};
pub use sensitivity::sensitivity;
pub use state::{Csrs, Hart, Mode};
pub use trap::{Cause, Exception, Interrupt, Trap, enabled_interrupts, pending_interrupt, take_trap, wakes};
pub use walk::{AccessFault, Pbmt, PteMemory, Translation, WalkContext, WalkFault, walk, walk_leaf};
