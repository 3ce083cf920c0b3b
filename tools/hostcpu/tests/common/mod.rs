//! What the tests share: one oracle at a time, and registers.
#![allow(dead_code, reason = "each test file uses some of it")]

use hostcpu::{CODE, DATA, DATA_BYTES, Oracle, Outcome, Regs};
use std::sync::{Mutex, PoisonError};

/// One behind the data.
pub const DATA_END: u64 = DATA + DATA_BYTES as u64;

/// What is always set: IF and bit 1.
pub const NONE: u64 = 0x202;

static ONE: Mutex<()> = Mutex::new(());

/// Runs a test with an oracle; tests of a process wait for each other.
pub fn with_oracle(test: impl FnOnce(&mut Oracle)) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    test(&mut Oracle::new().expect("an oracle"));
}

/// At the beginning of the code, with these registers.
pub fn regs(set: &[(usize, u64)]) -> Regs {
    let mut regs = Regs { rip: CODE, ..Regs::default() };
    for (n, value) in set {
        regs.gpr[*n] = *value;
    }
    regs
}

/// Values of no meaning, in every register, RSP too.
pub fn garbage() -> Regs {
    let gpr = std::array::from_fn(|n| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * n as u64 + 3));
    Regs { gpr, ..regs(&[]) }
}

/// A page fault.
pub fn page_fault(error: u64, address: u64) -> Outcome {
    Outcome::Fault { vector: 14, error: Some(error), address: Some(address) }
}

/// Another exception, with an error code of 0 or none.
pub fn fault(vector: u8) -> Outcome {
    Outcome::Fault { vector, error: Some(0), address: None }
}
