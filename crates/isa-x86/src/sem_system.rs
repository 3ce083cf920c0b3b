//! Meanings of the system instructions: all are named operations.

use crate::ops::Op;
use crate::ops_system::SystemOp;
use crate::sem::Done;
use crate::{Insn, X86Machine};

/// A system operation without arguments.
fn system<M: X86Machine>(m: &mut M, op: SystemOp) -> Done<M> {
    let none = m.imm(0);
    m.call(Op::System(op), [none; 4])?;
    Ok(())
}

/// `hlt`
pub fn hlt<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    system(m, SystemOp::Halt)
}
