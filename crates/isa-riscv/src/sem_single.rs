//! Meanings of the F extension: single precision.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::ops::{Fmt, FpOp, Op};
use crate::sem::Done;
use crate::sem_float::{
    Sign, binary, boxed, compare, from_integer, load, sign, store, ternary, to_integer, unary,
};
use isa_core::Un;

const FMT: Fmt = Fmt::S;

#[inline(always)]
pub fn flw<M: RiscvMachine>(m: &mut M, a: args::Flw) -> Done<M> {
    load(m, FMT, a.fd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn fsw<M: RiscvMachine>(m: &mut M, a: args::Fsw) -> Done<M> {
    store(m, FMT, a.fs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn fmadd_s<M: RiscvMachine>(m: &mut M, a: args::FmaddS) -> Done<M> {
    ternary(m, Op::Fp(FpOp::MulAdd, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fmsub_s<M: RiscvMachine>(m: &mut M, a: args::FmsubS) -> Done<M> {
    ternary(m, Op::Fp(FpOp::MulSub, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fnmsub_s<M: RiscvMachine>(m: &mut M, a: args::FnmsubS) -> Done<M> {
    ternary(m, Op::Fp(FpOp::NegMulAdd, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fnmadd_s<M: RiscvMachine>(m: &mut M, a: args::FnmaddS) -> Done<M> {
    ternary(m, Op::Fp(FpOp::NegMulSub, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fadd_s<M: RiscvMachine>(m: &mut M, a: args::FaddS) -> Done<M> {
    binary(m, Op::Fp(FpOp::Add, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fsub_s<M: RiscvMachine>(m: &mut M, a: args::FsubS) -> Done<M> {
    binary(m, Op::Fp(FpOp::Sub, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fmul_s<M: RiscvMachine>(m: &mut M, a: args::FmulS) -> Done<M> {
    binary(m, Op::Fp(FpOp::Mul, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fdiv_s<M: RiscvMachine>(m: &mut M, a: args::FdivS) -> Done<M> {
    binary(m, Op::Fp(FpOp::Div, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fsqrt_s<M: RiscvMachine>(m: &mut M, a: args::FsqrtS) -> Done<M> {
    unary(m, Op::Fp(FpOp::Sqrt, FMT), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fsgnj_s<M: RiscvMachine>(m: &mut M, a: args::FsgnjS) -> Done<M> {
    sign(m, Sign::Copy, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fsgnjn_s<M: RiscvMachine>(m: &mut M, a: args::FsgnjnS) -> Done<M> {
    sign(m, Sign::Negate, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fsgnjx_s<M: RiscvMachine>(m: &mut M, a: args::FsgnjxS) -> Done<M> {
    sign(m, Sign::Xor, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fmin_s<M: RiscvMachine>(m: &mut M, a: args::FminS) -> Done<M> {
    binary(m, Op::Fp(FpOp::Min, FMT), a.fd, a.fs1, a.fs2, 0)
}

#[inline(always)]
pub fn fmax_s<M: RiscvMachine>(m: &mut M, a: args::FmaxS) -> Done<M> {
    binary(m, Op::Fp(FpOp::Max, FMT), a.fd, a.fs1, a.fs2, 0)
}

#[inline(always)]
pub fn fle_s<M: RiscvMachine>(m: &mut M, a: args::FleS) -> Done<M> {
    compare(m, Op::Fp(FpOp::Le, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn flt_s<M: RiscvMachine>(m: &mut M, a: args::FltS) -> Done<M> {
    compare(m, Op::Fp(FpOp::Lt, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn feq_s<M: RiscvMachine>(m: &mut M, a: args::FeqS) -> Done<M> {
    compare(m, Op::Fp(FpOp::Eq, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fclass_s<M: RiscvMachine>(m: &mut M, a: args::FclassS) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::Class, FMT), a.rd, a.fs1, 0)
}

#[inline(always)]
pub fn fcvt_w_s<M: RiscvMachine>(m: &mut M, a: args::FcvtWS) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToI32, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_wu_s<M: RiscvMachine>(m: &mut M, a: args::FcvtWuS) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToU32, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_l_s<M: RiscvMachine>(m: &mut M, a: args::FcvtLS) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToI64, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_lu_s<M: RiscvMachine>(m: &mut M, a: args::FcvtLuS) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToU64, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_s_w<M: RiscvMachine>(m: &mut M, a: args::FcvtSW) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromI32, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_s_wu<M: RiscvMachine>(m: &mut M, a: args::FcvtSWu) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromU32, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_s_l<M: RiscvMachine>(m: &mut M, a: args::FcvtSL) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromI64, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_s_lu<M: RiscvMachine>(m: &mut M, a: args::FcvtSLu) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromU64, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fmv_x_w<M: RiscvMachine>(m: &mut M, a: args::FmvXW) -> Done<M> {
    let v = m.f(a.fs1);
    let v = m.un(Un::Sext32, v);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn fmv_w_x<M: RiscvMachine>(m: &mut M, a: args::FmvWX) -> Done<M> {
    let v = m.x(a.rs1);
    let v = boxed(m, FMT, v);
    m.set_f(a.fd, v);
    Ok(())
}
