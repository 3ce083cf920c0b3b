//! String instructions: committed element by element, restartable.

use crate::ops::{Effects, Parts};
use crate::{Env, Fault};
use isa_core::Width;

/// A string instruction with everything that is fixed at decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StringOp {
    /// `stos`: RAX to ES:RDI.
    Stos {
        /// Element.
        width: Width,
        /// Address size.
        address: Width,
        /// With REP.
        rep: bool,
    },
}

impl StringOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let all = Parts::REGISTERS.and(Parts::STATUS).and(Parts::MEMORY);
        Effects { reads: all.and(Parts::SYSTEM), writes: all.and(Parts::CONTROL), faults: true }
    }
}

/// Runs one.
///
/// # Errors
/// The fault of an element's access; the elements before it are done.
pub fn run<E: Env>(_env: &mut E, op: StringOp, _: [u64; 4]) -> Result<u64, Fault> {
    match op {
        StringOp::Stos { .. } => Err(Fault::ud()),
    }
}
