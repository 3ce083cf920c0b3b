//! Meanings of the A extension. Misaligned addresses trap in the environment's accesses.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::sem::Done;
use isa_core::{AmoOp, Order, Un, Width};

/// The ordering that the `aq` (2) and `rl` (1) bits ask for.
#[inline(always)]
fn order(aqrl: u8) -> Order {
    match aqrl & 3 {
        0 => Order::Plain,
        1 => Order::Release,
        2 => Order::Acquire,
        _ => Order::Both,
    }
}

/// `lr`
#[inline(always)]
fn load_reserved<M: RiscvMachine>(m: &mut M, width: Width, rd: u8, rs1: u8, aqrl: u8) -> Done<M> {
    let va = m.x(rs1);
    let v = m.load_reserved(va, width, order(aqrl))?;
    m.set_x(rd, v);
    Ok(())
}

/// `sc`
#[inline(always)]
fn store_conditional<M: RiscvMachine>(
    m: &mut M,
    width: Width,
    rd: u8,
    rs1: u8,
    rs2: u8,
    aqrl: u8,
) -> Done<M> {
    let (va, v) = (m.x(rs1), m.x(rs2));
    let failed = m.store_conditional(va, width, v, order(aqrl))?;
    m.set_x(rd, failed);
    Ok(())
}

/// An atomic memory operation. Words are sign-extended, as [`AmoOp`] wants its operands: that
/// keeps the order of unsigned words too.
#[inline(always)]
fn amo<M: RiscvMachine>(m: &mut M, op: AmoOp, width: Width, rd: u8, rs1: u8, rs2: u8, aqrl: u8) -> Done<M> {
    let (va, v) = (m.x(rs1), m.x(rs2));
    let v = if width == Width::B4 { m.un(Un::Sext32, v) } else { v };
    let old = m.amo(op, va, width, v, order(aqrl))?;
    m.set_x(rd, old);
    Ok(())
}

#[inline(always)]
pub fn lr_w<M: RiscvMachine>(m: &mut M, a: args::LrW) -> Done<M> {
    load_reserved(m, Width::B4, a.rd, a.rs1, a.aqrl)
}

#[inline(always)]
pub fn sc_w<M: RiscvMachine>(m: &mut M, a: args::ScW) -> Done<M> {
    store_conditional(m, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoswap_w<M: RiscvMachine>(m: &mut M, a: args::AmoswapW) -> Done<M> {
    amo(m, AmoOp::Swap, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoadd_w<M: RiscvMachine>(m: &mut M, a: args::AmoaddW) -> Done<M> {
    amo(m, AmoOp::Add, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoxor_w<M: RiscvMachine>(m: &mut M, a: args::AmoxorW) -> Done<M> {
    amo(m, AmoOp::Xor, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoand_w<M: RiscvMachine>(m: &mut M, a: args::AmoandW) -> Done<M> {
    amo(m, AmoOp::And, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoor_w<M: RiscvMachine>(m: &mut M, a: args::AmoorW) -> Done<M> {
    amo(m, AmoOp::Or, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amomin_w<M: RiscvMachine>(m: &mut M, a: args::AmominW) -> Done<M> {
    amo(m, AmoOp::Min, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amomax_w<M: RiscvMachine>(m: &mut M, a: args::AmomaxW) -> Done<M> {
    amo(m, AmoOp::Max, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amominu_w<M: RiscvMachine>(m: &mut M, a: args::AmominuW) -> Done<M> {
    amo(m, AmoOp::MinU, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amomaxu_w<M: RiscvMachine>(m: &mut M, a: args::AmomaxuW) -> Done<M> {
    amo(m, AmoOp::MaxU, Width::B4, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn lr_d<M: RiscvMachine>(m: &mut M, a: args::LrD) -> Done<M> {
    load_reserved(m, Width::B8, a.rd, a.rs1, a.aqrl)
}

#[inline(always)]
pub fn sc_d<M: RiscvMachine>(m: &mut M, a: args::ScD) -> Done<M> {
    store_conditional(m, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoswap_d<M: RiscvMachine>(m: &mut M, a: args::AmoswapD) -> Done<M> {
    amo(m, AmoOp::Swap, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoadd_d<M: RiscvMachine>(m: &mut M, a: args::AmoaddD) -> Done<M> {
    amo(m, AmoOp::Add, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoxor_d<M: RiscvMachine>(m: &mut M, a: args::AmoxorD) -> Done<M> {
    amo(m, AmoOp::Xor, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoand_d<M: RiscvMachine>(m: &mut M, a: args::AmoandD) -> Done<M> {
    amo(m, AmoOp::And, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amoor_d<M: RiscvMachine>(m: &mut M, a: args::AmoorD) -> Done<M> {
    amo(m, AmoOp::Or, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amomin_d<M: RiscvMachine>(m: &mut M, a: args::AmominD) -> Done<M> {
    amo(m, AmoOp::Min, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amomax_d<M: RiscvMachine>(m: &mut M, a: args::AmomaxD) -> Done<M> {
    amo(m, AmoOp::Max, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amominu_d<M: RiscvMachine>(m: &mut M, a: args::AmominuD) -> Done<M> {
    amo(m, AmoOp::MinU, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}

#[inline(always)]
pub fn amomaxu_d<M: RiscvMachine>(m: &mut M, a: args::AmomaxuD) -> Done<M> {
    amo(m, AmoOp::MaxU, Width::B8, a.rd, a.rs1, a.rs2, a.aqrl)
}
