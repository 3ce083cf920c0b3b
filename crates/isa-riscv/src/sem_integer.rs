//! Meanings of the base integer instructions.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::sem::{Done, address, extended, reg_imm, reg_reg, word_reg_imm, word_reg_reg};
use isa_core::{Bin, Order, Un, Width};

/// A conditional branch.
#[inline(always)]
fn branch<M: RiscvMachine>(m: &mut M, test: Bin, rs1: u8, rs2: u8, offset: i32) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let taken = m.bin(test, a, b);
    let pc = m.pc();
    let target = m.add_imm(pc, i64::from(offset));
    m.jump_if(taken, target)
}

/// A load that fills the rest of `rd` with zeroes.
#[inline(always)]
fn load_unsigned<M: RiscvMachine>(m: &mut M, width: Width, rd: u8, rs1: u8, offset: i32) -> Done<M> {
    let va = address(m, rs1, offset);
    let v = m.load(va, width, Order::Plain)?;
    m.set_x(rd, v);
    Ok(())
}

/// A load that fills the rest of `rd` with the sign.
#[inline(always)]
fn load_signed<M: RiscvMachine>(m: &mut M, width: Width, rd: u8, rs1: u8, offset: i32) -> Done<M> {
    let va = address(m, rs1, offset);
    let v = m.load(va, width, Order::Plain)?;
    let v = match width {
        Width::B1 => m.un(Un::Sext8, v),
        Width::B2 => m.un(Un::Sext16, v),
        Width::B4 => m.un(Un::Sext32, v),
        Width::B8 => v,
    };
    m.set_x(rd, v);
    Ok(())
}

/// A store.
#[inline(always)]
fn store<M: RiscvMachine>(m: &mut M, width: Width, rs2: u8, rs1: u8, offset: i32) -> Done<M> {
    let va = address(m, rs1, offset);
    let v = m.x(rs2);
    m.store(va, width, v, Order::Plain)
}

/// A shift of words: the count is `rs2[4:0]`.
#[inline(always)]
fn word_shift<M: RiscvMachine>(m: &mut M, op: Bin, operand: Option<Un>, rd: u8, rs1: u8, rs2: u8) -> Done<M> {
    let (a, b) = (m.x(rs1), m.x(rs2));
    let a = extended(m, operand, a);
    let count = m.bin_imm(Bin::And, b, 31);
    let v = m.bin(op, a, count);
    let v = m.un(Un::Sext32, v);
    m.set_x(rd, v);
    Ok(())
}

#[inline(always)]
pub fn lui<M: RiscvMachine>(m: &mut M, a: args::Lui) -> Done<M> {
    let v = m.imm(a.imm_u as u64);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn auipc<M: RiscvMachine>(m: &mut M, a: args::Auipc) -> Done<M> {
    let pc = m.pc();
    let v = m.add_imm(pc, i64::from(a.imm_u));
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn jal<M: RiscvMachine>(m: &mut M, a: args::Jal) -> Done<M> {
    let pc = m.pc();
    let target = m.add_imm(pc, i64::from(a.imm_j));
    let link = m.next_pc();
    m.jump(target)?;
    m.set_x(a.rd, link);
    Ok(())
}

#[inline(always)]
pub fn jalr<M: RiscvMachine>(m: &mut M, a: args::Jalr) -> Done<M> {
    let sum = address(m, a.rs1, a.imm_i);
    let target = m.bin_imm(Bin::And, sum, !1);
    let link = m.next_pc();
    m.jump(target)?;
    m.set_x(a.rd, link);
    Ok(())
}

#[inline(always)]
pub fn beq<M: RiscvMachine>(m: &mut M, a: args::Beq) -> Done<M> {
    branch(m, Bin::Eq, a.rs1, a.rs2, a.imm_b)
}

#[inline(always)]
pub fn bne<M: RiscvMachine>(m: &mut M, a: args::Bne) -> Done<M> {
    branch(m, Bin::Ne, a.rs1, a.rs2, a.imm_b)
}

#[inline(always)]
pub fn blt<M: RiscvMachine>(m: &mut M, a: args::Blt) -> Done<M> {
    branch(m, Bin::LtS, a.rs1, a.rs2, a.imm_b)
}

#[inline(always)]
pub fn bge<M: RiscvMachine>(m: &mut M, a: args::Bge) -> Done<M> {
    branch(m, Bin::GeS, a.rs1, a.rs2, a.imm_b)
}

#[inline(always)]
pub fn bltu<M: RiscvMachine>(m: &mut M, a: args::Bltu) -> Done<M> {
    branch(m, Bin::LtU, a.rs1, a.rs2, a.imm_b)
}

#[inline(always)]
pub fn bgeu<M: RiscvMachine>(m: &mut M, a: args::Bgeu) -> Done<M> {
    branch(m, Bin::GeU, a.rs1, a.rs2, a.imm_b)
}

#[inline(always)]
pub fn lb<M: RiscvMachine>(m: &mut M, a: args::Lb) -> Done<M> {
    load_signed(m, Width::B1, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn lh<M: RiscvMachine>(m: &mut M, a: args::Lh) -> Done<M> {
    load_signed(m, Width::B2, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn lw<M: RiscvMachine>(m: &mut M, a: args::Lw) -> Done<M> {
    load_signed(m, Width::B4, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn ld<M: RiscvMachine>(m: &mut M, a: args::Ld) -> Done<M> {
    load_unsigned(m, Width::B8, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn lbu<M: RiscvMachine>(m: &mut M, a: args::Lbu) -> Done<M> {
    load_unsigned(m, Width::B1, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn lhu<M: RiscvMachine>(m: &mut M, a: args::Lhu) -> Done<M> {
    load_unsigned(m, Width::B2, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn lwu<M: RiscvMachine>(m: &mut M, a: args::Lwu) -> Done<M> {
    load_unsigned(m, Width::B4, a.rd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn sb<M: RiscvMachine>(m: &mut M, a: args::Sb) -> Done<M> {
    store(m, Width::B1, a.rs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn sh<M: RiscvMachine>(m: &mut M, a: args::Sh) -> Done<M> {
    store(m, Width::B2, a.rs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn sw<M: RiscvMachine>(m: &mut M, a: args::Sw) -> Done<M> {
    store(m, Width::B4, a.rs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn sd<M: RiscvMachine>(m: &mut M, a: args::Sd) -> Done<M> {
    store(m, Width::B8, a.rs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn addi<M: RiscvMachine>(m: &mut M, a: args::Addi) -> Done<M> {
    reg_imm(m, Bin::Add, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn slti<M: RiscvMachine>(m: &mut M, a: args::Slti) -> Done<M> {
    reg_imm(m, Bin::LtS, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn sltiu<M: RiscvMachine>(m: &mut M, a: args::Sltiu) -> Done<M> {
    reg_imm(m, Bin::LtU, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn xori<M: RiscvMachine>(m: &mut M, a: args::Xori) -> Done<M> {
    reg_imm(m, Bin::Xor, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn ori<M: RiscvMachine>(m: &mut M, a: args::Ori) -> Done<M> {
    reg_imm(m, Bin::Or, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn andi<M: RiscvMachine>(m: &mut M, a: args::Andi) -> Done<M> {
    reg_imm(m, Bin::And, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn slli<M: RiscvMachine>(m: &mut M, a: args::Slli) -> Done<M> {
    reg_imm(m, Bin::Shl, a.rd, a.rs1, u64::from(a.shamt))
}

#[inline(always)]
pub fn srli<M: RiscvMachine>(m: &mut M, a: args::Srli) -> Done<M> {
    reg_imm(m, Bin::ShrU, a.rd, a.rs1, u64::from(a.shamt))
}

#[inline(always)]
pub fn srai<M: RiscvMachine>(m: &mut M, a: args::Srai) -> Done<M> {
    reg_imm(m, Bin::ShrS, a.rd, a.rs1, u64::from(a.shamt))
}

#[inline(always)]
pub fn add<M: RiscvMachine>(m: &mut M, a: args::Add) -> Done<M> {
    reg_reg(m, Bin::Add, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sub<M: RiscvMachine>(m: &mut M, a: args::Sub) -> Done<M> {
    reg_reg(m, Bin::Sub, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sll<M: RiscvMachine>(m: &mut M, a: args::Sll) -> Done<M> {
    reg_reg(m, Bin::Shl, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn slt<M: RiscvMachine>(m: &mut M, a: args::Slt) -> Done<M> {
    reg_reg(m, Bin::LtS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sltu<M: RiscvMachine>(m: &mut M, a: args::Sltu) -> Done<M> {
    reg_reg(m, Bin::LtU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn xor<M: RiscvMachine>(m: &mut M, a: args::Xor) -> Done<M> {
    reg_reg(m, Bin::Xor, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn srl<M: RiscvMachine>(m: &mut M, a: args::Srl) -> Done<M> {
    reg_reg(m, Bin::ShrU, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sra<M: RiscvMachine>(m: &mut M, a: args::Sra) -> Done<M> {
    reg_reg(m, Bin::ShrS, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn or<M: RiscvMachine>(m: &mut M, a: args::Or) -> Done<M> {
    reg_reg(m, Bin::Or, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn and<M: RiscvMachine>(m: &mut M, a: args::And) -> Done<M> {
    reg_reg(m, Bin::And, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn addiw<M: RiscvMachine>(m: &mut M, a: args::Addiw) -> Done<M> {
    word_reg_imm(m, Bin::Add, None, a.rd, a.rs1, a.imm_i as u64)
}

#[inline(always)]
pub fn slliw<M: RiscvMachine>(m: &mut M, a: args::Slliw) -> Done<M> {
    word_reg_imm(m, Bin::Shl, None, a.rd, a.rs1, u64::from(a.shamtw))
}

#[inline(always)]
pub fn srliw<M: RiscvMachine>(m: &mut M, a: args::Srliw) -> Done<M> {
    word_reg_imm(m, Bin::ShrU, Some(Un::Zext32), a.rd, a.rs1, u64::from(a.shamtw))
}

#[inline(always)]
pub fn sraiw<M: RiscvMachine>(m: &mut M, a: args::Sraiw) -> Done<M> {
    word_reg_imm(m, Bin::ShrS, Some(Un::Sext32), a.rd, a.rs1, u64::from(a.shamtw))
}

#[inline(always)]
pub fn addw<M: RiscvMachine>(m: &mut M, a: args::Addw) -> Done<M> {
    word_reg_reg(m, Bin::Add, None, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn subw<M: RiscvMachine>(m: &mut M, a: args::Subw) -> Done<M> {
    word_reg_reg(m, Bin::Sub, None, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sllw<M: RiscvMachine>(m: &mut M, a: args::Sllw) -> Done<M> {
    word_shift(m, Bin::Shl, None, a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn srlw<M: RiscvMachine>(m: &mut M, a: args::Srlw) -> Done<M> {
    word_shift(m, Bin::ShrU, Some(Un::Zext32), a.rd, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sraw<M: RiscvMachine>(m: &mut M, a: args::Sraw) -> Done<M> {
    word_shift(m, Bin::ShrS, Some(Un::Sext32), a.rd, a.rs1, a.rs2)
}
