//! Operations of the system architecture.

use crate::ops::{Effects, Parts};
use crate::{Env, Fault};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemOp {
    /// `hlt`
    Halt,
}

impl SystemOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let all = Parts::REGISTERS.and(Parts::STATUS).and(Parts::MEMORY).and(Parts::SYSTEM);
        Effects { reads: all, writes: all.and(Parts::CONTROL), faults: true }
    }
}

/// Runs one.
///
/// # Errors
/// Its fault.
pub fn run<E: Env>(env: &mut E, op: SystemOp, _: [u64; 4]) -> Result<u64, Fault> {
    match op {
        SystemOp::Halt => {
            if env.state_ref().cpl() != 0 {
                return Err(Fault::gp(0));
            }
            env.halt();
            Ok(0)
        }
    }
}
