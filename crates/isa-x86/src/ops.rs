//! Named operations: what is not straight-line value code, defined once for every engine.
//!
//! Interpreter and evaluator call [`run`]; a translator may emit an operation inline instead, or call it knowing its
//! [`Effects`]. Arguments and result carry the values of general registers, except where the effects say otherwise.

use crate::ops_arithmetic::{self, ArithmeticOp};
use crate::ops_string::{self, StringOp};
use crate::ops_system::{self, SystemOp};
use crate::{Env, Fault};

/// A named operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Arithmetic that is a loop or may fault: division, `crc32`, `pdep` and so on.
    Arithmetic(ArithmeticOp),
    /// A string instruction.
    String(StringOp),
    /// The system architecture: segments, far transfers, control registers, MSRs, I/O.
    System(SystemOp),
}

/// Parts of the processor's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parts(u8);

impl Parts {
    /// Nothing.
    pub const NONE: Parts = Parts(0);
    /// General registers.
    pub const REGISTERS: Parts = Parts(1);
    /// The status flags.
    pub const STATUS: Parts = Parts(2);
    /// Guest memory.
    pub const MEMORY: Parts = Parts(4);
    /// Everything else: segments, control registers, the system flags, and what is derived from them.
    pub const SYSTEM: Parts = Parts(8);
    /// What is executed next.
    pub const CONTROL: Parts = Parts(16);

    /// These and `other`.
    #[must_use]
    pub const fn and(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Parts) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What an operation depends on and changes besides its arguments and result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effects {
    /// What it depends on.
    pub reads: Parts,
    /// What it may change.
    pub writes: Parts,
    /// Whether it may fault. An operation that faults has changed nothing, but for the elements of a string that are
    /// done.
    pub faults: bool,
}

impl Op {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        match self {
            Op::Arithmetic(op) => op.effects(),
            Op::String(op) => op.effects(),
            Op::System(op) => op.effects(),
        }
    }
}

/// Runs an operation.
///
/// # Errors
/// The fault that it raises.
pub fn run<E: Env>(env: &mut E, op: Op, args: [u64; 4]) -> Result<u64, Fault> {
    match op {
        Op::Arithmetic(op) => ops_arithmetic::run(op, args),
        Op::String(op) => ops_string::run(env, op, args),
        Op::System(op) => ops_system::run(env, op, args),
    }
}
