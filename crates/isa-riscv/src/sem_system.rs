//! Meanings of fences, CSR accesses, traps, privileged instructions and cache management: mostly calls
//! of named operations.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::ops::{BlockOp, CsrOp, Op};
use crate::sem::Done;
use isa_core::Order;

/// A named operation without operands and result.
#[inline(always)]
fn call<M: RiscvMachine>(m: &mut M, op: Op) -> Done<M> {
    let zero = m.imm(0);
    m.call(op, [zero; 4])?;
    Ok(())
}

/// The weakest [`Order`] that covers a fence (Unprivileged ISA, "Memory Ordering Instructions"). The
/// sets have the bits I 8, O 4, R 2, W 1; device input counts as a read and output as a write.
#[inline(always)]
fn fence_order(pred: u8, succ: u8) -> Order {
    let (before_write, after_read) = (pred & 5 != 0, succ & 10 != 0);
    if pred == 0 || succ == 0 {
        Order::Plain
    } else if !before_write {
        Order::Acquire
    } else if !after_read {
        Order::Release
    } else {
        Order::Both
    }
}

/// `sfence.vma` and `sinval.vma`: the address and the address space, and whether each is named.
#[inline(always)]
fn fence_translations<M: RiscvMachine>(m: &mut M, op: Op, rs1: u8, rs2: u8) -> Done<M> {
    let (va, asid) = (m.x(rs1), m.x(rs2));
    let (has_va, has_asid) = (m.imm(u64::from(rs1 != 0)), m.imm(u64::from(rs2 != 0)));
    m.call(op, [va, asid, has_va, has_asid])?;
    Ok(())
}

/// One CSR access that gives the old value to `rd`. No CSR has a read side effect, so `csrrw` to `x0`
/// needs no operation of its own.
#[inline(always)]
fn csr_access<M: RiscvMachine>(m: &mut M, op: CsrOp, rd: u8, csr: u16, v: M::V) -> Done<M> {
    let zero = m.imm(0);
    let old = m.call(Op::Csr(op, csr), [v, zero, zero, zero])?;
    m.set_x(rd, old);
    Ok(())
}

/// `csrrs`, `csrrc`: the CSR is not written if the mask is `x0`.
#[inline(always)]
fn csr_modify<M: RiscvMachine>(m: &mut M, op: CsrOp, rd: u8, csr: u16, rs1: u8) -> Done<M> {
    let mask = m.x(rs1);
    csr_access(m, if rs1 == 0 { CsrOp::Read } else { op }, rd, csr, mask)
}

/// `csrrsi`, `csrrci`: the CSR is not written if the mask is 0.
#[inline(always)]
fn csr_modify_imm<M: RiscvMachine>(m: &mut M, op: CsrOp, rd: u8, csr: u16, zimm: u8) -> Done<M> {
    let mask = m.imm(u64::from(zimm));
    csr_access(m, if zimm == 0 { CsrOp::Read } else { op }, rd, csr, mask)
}

/// A cache-block instruction.
#[inline(always)]
fn block<M: RiscvMachine>(m: &mut M, op: BlockOp, rs1: u8) -> Done<M> {
    let va = m.x(rs1);
    let zero = m.imm(0);
    m.call(Op::Block(op), [va, zero, zero, zero])?;
    Ok(())
}

#[inline(always)]
pub fn fence<M: RiscvMachine>(m: &mut M, a: args::Fence) -> Done<M> {
    m.fence(fence_order(a.pred, a.succ));
    Ok(())
}

#[inline(always)]
pub fn fence_tso<M: RiscvMachine>(m: &mut M, _: args::FenceTso) -> Done<M> {
    m.fence(Order::Tso);
    Ok(())
}

#[inline(always)]
pub fn pause<M: RiscvMachine>(m: &mut M, _: args::Pause) -> Done<M> {
    call(m, Op::Pause)
}

#[inline(always)]
pub fn fence_i<M: RiscvMachine>(m: &mut M, _: args::FenceI) -> Done<M> {
    call(m, Op::FenceI)
}

#[inline(always)]
pub fn ecall<M: RiscvMachine>(m: &mut M, _: args::Ecall) -> Done<M> {
    call(m, Op::Ecall)
}

#[inline(always)]
pub fn ebreak<M: RiscvMachine>(m: &mut M, _: args::Ebreak) -> Done<M> {
    call(m, Op::Ebreak)
}

#[inline(always)]
pub fn mret<M: RiscvMachine>(m: &mut M, _: args::Mret) -> Done<M> {
    call(m, Op::Mret)
}

#[inline(always)]
pub fn sret<M: RiscvMachine>(m: &mut M, _: args::Sret) -> Done<M> {
    call(m, Op::Sret)
}

#[inline(always)]
pub fn wfi<M: RiscvMachine>(m: &mut M, _: args::Wfi) -> Done<M> {
    call(m, Op::Wfi)
}

#[inline(always)]
pub fn sfence_vma<M: RiscvMachine>(m: &mut M, a: args::SfenceVma) -> Done<M> {
    fence_translations(m, Op::SfenceVma, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sinval_vma<M: RiscvMachine>(m: &mut M, a: args::SinvalVma) -> Done<M> {
    fence_translations(m, Op::SinvalVma, a.rs1, a.rs2)
}

#[inline(always)]
pub fn sfence_w_inval<M: RiscvMachine>(m: &mut M, _: args::SfenceWInval) -> Done<M> {
    call(m, Op::SfenceWInval)
}

#[inline(always)]
pub fn sfence_inval_ir<M: RiscvMachine>(m: &mut M, _: args::SfenceInvalIr) -> Done<M> {
    call(m, Op::SfenceInvalIr)
}

#[inline(always)]
pub fn csrrw<M: RiscvMachine>(m: &mut M, a: args::Csrrw) -> Done<M> {
    let v = m.x(a.rs1);
    csr_access(m, CsrOp::Write, a.rd, a.csr, v)
}

#[inline(always)]
pub fn csrrs<M: RiscvMachine>(m: &mut M, a: args::Csrrs) -> Done<M> {
    csr_modify(m, CsrOp::Set, a.rd, a.csr, a.rs1)
}

#[inline(always)]
pub fn csrrc<M: RiscvMachine>(m: &mut M, a: args::Csrrc) -> Done<M> {
    csr_modify(m, CsrOp::Clear, a.rd, a.csr, a.rs1)
}

#[inline(always)]
pub fn csrrwi<M: RiscvMachine>(m: &mut M, a: args::Csrrwi) -> Done<M> {
    let v = m.imm(u64::from(a.zimm));
    csr_access(m, CsrOp::Write, a.rd, a.csr, v)
}

#[inline(always)]
pub fn csrrsi<M: RiscvMachine>(m: &mut M, a: args::Csrrsi) -> Done<M> {
    csr_modify_imm(m, CsrOp::Set, a.rd, a.csr, a.zimm)
}

#[inline(always)]
pub fn csrrci<M: RiscvMachine>(m: &mut M, a: args::Csrrci) -> Done<M> {
    csr_modify_imm(m, CsrOp::Clear, a.rd, a.csr, a.zimm)
}

#[inline(always)]
pub fn cbo_clean<M: RiscvMachine>(m: &mut M, a: args::CboClean) -> Done<M> {
    block(m, BlockOp::Clean, a.rs1)
}

#[inline(always)]
pub fn cbo_flush<M: RiscvMachine>(m: &mut M, a: args::CboFlush) -> Done<M> {
    block(m, BlockOp::Flush, a.rs1)
}

#[inline(always)]
pub fn cbo_inval<M: RiscvMachine>(m: &mut M, a: args::CboInval) -> Done<M> {
    block(m, BlockOp::Inval, a.rs1)
}

#[inline(always)]
pub fn cbo_zero<M: RiscvMachine>(m: &mut M, a: args::CboZero) -> Done<M> {
    block(m, BlockOp::Zero, a.rs1)
}

#[inline(always)]
pub fn prefetch_i<M: RiscvMachine>(_: &mut M, _: args::PrefetchI) -> Done<M> {
    Ok(())
}

#[inline(always)]
pub fn prefetch_r<M: RiscvMachine>(_: &mut M, _: args::PrefetchR) -> Done<M> {
    Ok(())
}

#[inline(always)]
pub fn prefetch_w<M: RiscvMachine>(_: &mut M, _: args::PrefetchW) -> Done<M> {
    Ok(())
}
