//! Meanings of the M extension. The edge cases of division are those of [`Bin`]; for words they come
//! out right because operands are extended first and the result is sign-extended after.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::sem::{Done, reg_reg, word_reg_reg};
use isa_core::{Bin, Un};

#[inline(always)]
pub fn mul<M: RiscvMachine>(m: &mut M, a: args::Mul) -> Done<M> {
    reg_reg(m, Bin::Mul, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn mulh<M: RiscvMachine>(m: &mut M, a: args::Mulh) -> Done<M> {
    reg_reg(m, Bin::MulHighS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn mulhsu<M: RiscvMachine>(m: &mut M, a: args::Mulhsu) -> Done<M> {
    reg_reg(m, Bin::MulHighSU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn mulhu<M: RiscvMachine>(m: &mut M, a: args::Mulhu) -> Done<M> {
    reg_reg(m, Bin::MulHighU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn div<M: RiscvMachine>(m: &mut M, a: args::Div) -> Done<M> {
    reg_reg(m, Bin::DivS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn divu<M: RiscvMachine>(m: &mut M, a: args::Divu) -> Done<M> {
    reg_reg(m, Bin::DivU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn rem<M: RiscvMachine>(m: &mut M, a: args::Rem) -> Done<M> {
    reg_reg(m, Bin::RemS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn remu<M: RiscvMachine>(m: &mut M, a: args::Remu) -> Done<M> {
    reg_reg(m, Bin::RemU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn mulw<M: RiscvMachine>(m: &mut M, a: args::Mulw) -> Done<M> {
    word_reg_reg(m, Bin::Mul, None, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn divw<M: RiscvMachine>(m: &mut M, a: args::Divw) -> Done<M> {
    word_reg_reg(m, Bin::DivS, Some(Un::Sext32), a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn divuw<M: RiscvMachine>(m: &mut M, a: args::Divuw) -> Done<M> {
    word_reg_reg(m, Bin::DivU, Some(Un::Zext32), a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn remw<M: RiscvMachine>(m: &mut M, a: args::Remw) -> Done<M> {
    word_reg_reg(m, Bin::RemS, Some(Un::Sext32), a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn remuw<M: RiscvMachine>(m: &mut M, a: args::Remuw) -> Done<M> {
    word_reg_reg(m, Bin::RemU, Some(Un::Zext32), a.rd, a.rs1, a.rs2)
}
