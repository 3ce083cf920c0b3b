//! Meanings of Zba, Zbb, Zbc, Zbs and Zicond.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::sem::{Done, reg, reg_imm, reg_reg};
use isa_core::{Bin, Un};

/// `rd = (rs1 << shift) + rs2`, of the low word of `rs1` if `word`.
#[inline(always)]
fn shift_add<M: RiscvMachine>(m: &mut M, shift: u64, word: bool, rd: u8, rs1: u8, rs2: u8) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let a = if word { m.un(Un::Zext32, a) } else { a };
    let a = if shift == 0 { a } else { m.bin_imm(Bin::Shl, a, shift) };
    let v = m.bin(Bin::Add, a, b);
    m.set_x(rd, v);
    Ok(())
}

/// `rd = op(rs1, ~rs2)`
#[inline(always)]
fn reg_not_reg<M: RiscvMachine>(m: &mut M, op: Bin, rd: u8, rs1: u8, rs2: u8) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let b = m.un(Un::Not, b);
    let v = m.bin(op, a, b);
    m.set_x(rd, v);
    Ok(())
}

/// `rd = test(rs1, rs2) ? rs1 : rs2`
#[inline(always)]
fn choose<M: RiscvMachine>(m: &mut M, test: Bin, rd: u8, rs1: u8, rs2: u8) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let first = m.bin(test, a, b);
    let v = m.select(first, a, b);
    m.set_x(rd, v);
    Ok(())
}

/// `-v`
#[inline(always)]
fn negate<M: RiscvMachine>(m: &mut M, v: M::V) -> M::V {
    let zero = m.imm(0);
    m.bin(Bin::Sub, zero, v)
}

/// The low word of `rs1` rotated right by `count[4:0]`. Two copies of the word side by side repeat
/// every 32 bits, so the rest of `count` makes no difference.
#[inline(always)]
fn rotate_word<M: RiscvMachine>(m: &mut M, rd: u8, rs1: u8, count: M::V) -> Done<M> {
    let v = m.x(rs1);
    let (low, high) = (m.un(Un::Zext32, v), m.bin_imm(Bin::Shl, v, 32));
    let twice = m.bin(Bin::Or, low, high);
    let v = m.bin(Bin::RotR, twice, count);
    let v = m.un(Un::Sext32, v);
    m.set_x(rd, v);
    Ok(())
}

/// `rd = op(rs1, 1 << rs2[5:0])`, or of all the other bits.
#[inline(always)]
fn with_bit<M: RiscvMachine>(m: &mut M, op: Bin, others: bool, rd: u8, rs1: u8, rs2: u8) -> Done<M> {
    let (a, n, one) = (m.x(rs1), m.x(rs2), m.imm(1));
    let bit = m.bin(Bin::Shl, one, n);
    let bits = if others { m.un(Un::Not, bit) } else { bit };
    let v = m.bin(op, a, bits);
    m.set_x(rd, v);
    Ok(())
}

#[inline(always)]
pub fn sh1add<M: RiscvMachine>(m: &mut M, a: args::Sh1add) -> Done<M> {
    shift_add(m, 1, false, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sh2add<M: RiscvMachine>(m: &mut M, a: args::Sh2add) -> Done<M> {
    shift_add(m, 2, false, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sh3add<M: RiscvMachine>(m: &mut M, a: args::Sh3add) -> Done<M> {
    shift_add(m, 3, false, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn add_uw<M: RiscvMachine>(m: &mut M, a: args::AddUw) -> Done<M> {
    shift_add(m, 0, true, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sh1add_uw<M: RiscvMachine>(m: &mut M, a: args::Sh1addUw) -> Done<M> {
    shift_add(m, 1, true, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sh2add_uw<M: RiscvMachine>(m: &mut M, a: args::Sh2addUw) -> Done<M> {
    shift_add(m, 2, true, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sh3add_uw<M: RiscvMachine>(m: &mut M, a: args::Sh3addUw) -> Done<M> {
    shift_add(m, 3, true, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn slli_uw<M: RiscvMachine>(m: &mut M, a: args::SlliUw) -> Done<M> {
    let v = m.x(a.rs1);
    let v = m.un(Un::Zext32, v);
    let v = m.bin_imm(Bin::Shl, v, u64::from(a.shamt));
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn andn<M: RiscvMachine>(m: &mut M, a: args::Andn) -> Done<M> {
    reg_not_reg(m, Bin::And, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn orn<M: RiscvMachine>(m: &mut M, a: args::Orn) -> Done<M> {
    reg_not_reg(m, Bin::Or, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn xnor<M: RiscvMachine>(m: &mut M, a: args::Xnor) -> Done<M> {
    reg_not_reg(m, Bin::Xor, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn clz<M: RiscvMachine>(m: &mut M, a: args::Clz) -> Done<M> {
    reg(m, Un::Clz, a.rd, a.rs1)
}

#[inline(always)]
pub fn ctz<M: RiscvMachine>(m: &mut M, a: args::Ctz) -> Done<M> {
    reg(m, Un::Ctz, a.rd, a.rs1)
}

#[inline(always)]
pub fn cpop<M: RiscvMachine>(m: &mut M, a: args::Cpop) -> Done<M> {
    reg(m, Un::Popcount, a.rd, a.rs1)
}

/// The word is moved to the top; a one below it stops the count at 32.
#[inline(always)]
pub fn clzw<M: RiscvMachine>(m: &mut M, a: args::Clzw) -> Done<M> {
    let v = m.x(a.rs1);
    let v = m.bin_imm(Bin::Shl, v, 32);
    let v = m.bin_imm(Bin::Or, v, 1 << 31);
    let v = m.un(Un::Clz, v);
    m.set_x(a.rd, v);
    Ok(())
}

/// A one above the word stops the count at 32.
#[inline(always)]
pub fn ctzw<M: RiscvMachine>(m: &mut M, a: args::Ctzw) -> Done<M> {
    let v = m.x(a.rs1);
    let v = m.bin_imm(Bin::Or, v, 1 << 32);
    let v = m.un(Un::Ctz, v);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn cpopw<M: RiscvMachine>(m: &mut M, a: args::Cpopw) -> Done<M> {
    let v = m.x(a.rs1);
    let v = m.un(Un::Zext32, v);
    let v = m.un(Un::Popcount, v);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn min<M: RiscvMachine>(m: &mut M, a: args::Min) -> Done<M> {
    choose(m, Bin::LtS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn minu<M: RiscvMachine>(m: &mut M, a: args::Minu) -> Done<M> {
    choose(m, Bin::LtU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn max<M: RiscvMachine>(m: &mut M, a: args::Max) -> Done<M> {
    choose(m, Bin::GeS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn maxu<M: RiscvMachine>(m: &mut M, a: args::Maxu) -> Done<M> {
    choose(m, Bin::GeU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sext_b<M: RiscvMachine>(m: &mut M, a: args::SextB) -> Done<M> {
    reg(m, Un::Sext8, a.rd, a.rs1)
}

#[inline(always)]
pub fn sext_h<M: RiscvMachine>(m: &mut M, a: args::SextH) -> Done<M> {
    reg(m, Un::Sext16, a.rd, a.rs1)
}

#[inline(always)]
pub fn zext_h<M: RiscvMachine>(m: &mut M, a: args::ZextH) -> Done<M> {
    reg(m, Un::Zext16, a.rd, a.rs1)
}

#[inline(always)]
pub fn rol<M: RiscvMachine>(m: &mut M, a: args::Rol) -> Done<M> {
    let (v, n) = (m.x(a.rs1), m.x(a.rs2));
    let n = negate(m, n);
    let v = m.bin(Bin::RotR, v, n);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn ror<M: RiscvMachine>(m: &mut M, a: args::Ror) -> Done<M> {
    reg_reg(m, Bin::RotR, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn rori<M: RiscvMachine>(m: &mut M, a: args::Rori) -> Done<M> {
    reg_imm(m, Bin::RotR, a.rd, a.rs1, u64::from(a.shamt))
}

#[inline(always)]
pub fn rolw<M: RiscvMachine>(m: &mut M, a: args::Rolw) -> Done<M> {
    let n = m.x(a.rs2);
    let n = negate(m, n);
    rotate_word(m, a.rd, a.rs1, n)
}

#[inline(always)]
pub fn rorw<M: RiscvMachine>(m: &mut M, a: args::Rorw) -> Done<M> {
    let n = m.x(a.rs2);
    rotate_word(m, a.rd, a.rs1, n)
}

#[inline(always)]
pub fn roriw<M: RiscvMachine>(m: &mut M, a: args::Roriw) -> Done<M> {
    let n = m.imm(u64::from(a.shamtw));
    rotate_word(m, a.rd, a.rs1, n)
}

#[inline(always)]
pub fn orc_b<M: RiscvMachine>(m: &mut M, a: args::OrcB) -> Done<M> {
    reg(m, Un::OrCombine, a.rd, a.rs1)
}

#[inline(always)]
pub fn rev8<M: RiscvMachine>(m: &mut M, a: args::Rev8) -> Done<M> {
    reg(m, Un::ByteSwap, a.rd, a.rs1)
}

#[inline(always)]
pub fn clmul<M: RiscvMachine>(m: &mut M, a: args::Clmul) -> Done<M> {
    reg_reg(m, Bin::ClMul, a.rd, a.rs1, a.rs2)
}

/// Bits 126 to 63 of the product: the high half moved up by one, and the top bit of the low half.
#[inline(always)]
pub fn clmulr<M: RiscvMachine>(m: &mut M, a: args::Clmulr) -> Done<M> {
    let (v, w) = (m.x(a.rs1), m.x(a.rs2));
    let (low, high) = (m.bin(Bin::ClMul, v, w), m.bin(Bin::ClMulHigh, v, w));
    let (low, high) = (m.bin_imm(Bin::ShrU, low, 63), m.bin_imm(Bin::Shl, high, 1));
    let v = m.bin(Bin::Or, low, high);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn clmulh<M: RiscvMachine>(m: &mut M, a: args::Clmulh) -> Done<M> {
    reg_reg(m, Bin::ClMulHigh, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn bclr<M: RiscvMachine>(m: &mut M, a: args::Bclr) -> Done<M> {
    with_bit(m, Bin::And, true, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn bext<M: RiscvMachine>(m: &mut M, a: args::Bext) -> Done<M> {
    let (v, n) = (m.x(a.rs1), m.x(a.rs2));
    let v = m.bin(Bin::ShrU, v, n);
    let v = m.bin_imm(Bin::And, v, 1);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn binv<M: RiscvMachine>(m: &mut M, a: args::Binv) -> Done<M> {
    with_bit(m, Bin::Xor, false, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn bset<M: RiscvMachine>(m: &mut M, a: args::Bset) -> Done<M> {
    with_bit(m, Bin::Or, false, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn bclri<M: RiscvMachine>(m: &mut M, a: args::Bclri) -> Done<M> {
    reg_imm(m, Bin::And, a.rd, a.rs1, !(1 << (a.shamt & 63)))
}

#[inline(always)]
pub fn bexti<M: RiscvMachine>(m: &mut M, a: args::Bexti) -> Done<M> {
    let v = m.x(a.rs1);
    let v = m.bin_imm(Bin::ShrU, v, u64::from(a.shamt));
    let v = m.bin_imm(Bin::And, v, 1);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn binvi<M: RiscvMachine>(m: &mut M, a: args::Binvi) -> Done<M> {
    reg_imm(m, Bin::Xor, a.rd, a.rs1, 1 << (a.shamt & 63))
}

#[inline(always)]
pub fn bseti<M: RiscvMachine>(m: &mut M, a: args::Bseti) -> Done<M> {
    reg_imm(m, Bin::Or, a.rd, a.rs1, 1 << (a.shamt & 63))
}

#[inline(always)]
pub fn czero_eqz<M: RiscvMachine>(m: &mut M, a: args::CzeroEqz) -> Done<M> {
    let (v, c, zero) = (m.x(a.rs1), m.x(a.rs2), m.imm(0));
    let v = m.select(c, v, zero);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn czero_nez<M: RiscvMachine>(m: &mut M, a: args::CzeroNez) -> Done<M> {
    let (v, c, zero) = (m.x(a.rs1), m.x(a.rs2), m.imm(0));
    let v = m.select(c, zero, v);
    m.set_x(a.rd, v);
    Ok(())
}
