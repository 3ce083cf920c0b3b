//! The meanings of all rows, one function each, and the shapes that several families share.
//!
//! A meaning reads registers, then touches memory, then writes registers. Immediates are sign-extended
//! to 64 bits.

use crate::RiscvMachine;
use isa_core::{Bin, Machine, Un};

pub use crate::sem_atomic::*;
pub use crate::sem_bits::*;
pub use crate::sem_double::*;
pub use crate::sem_half::*;
pub use crate::sem_integer::*;
pub use crate::sem_multiply::*;
pub use crate::sem_single::*;
pub use crate::sem_system::*;

/// What a meaning gives: nothing, or why it stopped.
pub type Done<M> = Result<(), <M as Machine>::Stop>;

/// `rs1 + offset`
#[inline(always)]
pub(crate) fn address<M: RiscvMachine>(m: &mut M, rs1: u8, offset: i32) -> M::V {
    let base = m.x(rs1);
    if offset == 0 { base } else { m.add_imm(base, i64::from(offset)) }
}

/// `rd = op(rs1)`
#[inline(always)]
pub(crate) fn reg<M: RiscvMachine>(m: &mut M, op: Un, rd: u8, rs1: u8) -> Done<M> {
    let a = m.x(rs1);
    let v = m.un(op, a);
    m.set_x(rd, v);
    Ok(())
}

/// `rd = op(rs1, rs2)`
#[inline(always)]
pub(crate) fn reg_reg<M: RiscvMachine>(m: &mut M, op: Bin, rd: u8, rs1: u8, rs2: u8) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let v = m.bin(op, a, b);
    m.set_x(rd, v);
    Ok(())
}

/// `rd = op(rs1, k)`
#[inline(always)]
pub(crate) fn reg_imm<M: RiscvMachine>(m: &mut M, op: Bin, rd: u8, rs1: u8, k: u64) -> Done<M> {
    let a = m.x(rs1);
    let v = m.bin_imm(op, a, k);
    m.set_x(rd, v);
    Ok(())
}

/// An operand on words. Where the high half cannot reach the low half of the result, there is nothing
/// to extend.
#[inline(always)]
pub(crate) fn extended<M: RiscvMachine>(m: &mut M, how: Option<Un>, v: M::V) -> M::V {
    match how {
        Some(how) => m.un(how, v),
        None => v,
    }
}

/// `rd = sext32(op(operand(rs1), operand(rs2)))`: on words.
#[inline(always)]
pub(crate) fn word_reg_reg<M: RiscvMachine>(
    m: &mut M,
    op: Bin,
    operand: Option<Un>,
    rd: u8,
    rs1: u8,
    rs2: u8,
) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let (a, b) = (extended(m, operand, a), extended(m, operand, b));
    let v = m.bin(op, a, b);
    let v = m.un(Un::Sext32, v);
    m.set_x(rd, v);
    Ok(())
}

/// `rd = sext32(op(operand(rs1), k))`: on words.
#[inline(always)]
pub(crate) fn word_reg_imm<M: RiscvMachine>(
    m: &mut M,
    op: Bin,
    operand: Option<Un>,
    rd: u8,
    rs1: u8,
    k: u64,
) -> Done<M> {
    let a = m.x(rs1);
    let a = extended(m, operand, a);
    let v = m.bin_imm(op, a, k);
    let v = m.un(Un::Sext32, v);
    m.set_x(rd, v);
    Ok(())
}
