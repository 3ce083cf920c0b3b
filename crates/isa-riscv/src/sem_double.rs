//! Meanings of the D extension: double precision.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::ops::{Fmt, FpOp, Op};
use crate::sem::Done;
use crate::sem_float::{Sign, binary, compare, from_integer, load, sign, store, ternary, to_integer, unary};

const FMT: Fmt = Fmt::D;

#[inline(always)]
pub fn fld<M: RiscvMachine>(m: &mut M, a: args::Fld) -> Done<M> {
    load(m, FMT, a.fd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn fsd<M: RiscvMachine>(m: &mut M, a: args::Fsd) -> Done<M> {
    store(m, FMT, a.fs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn fmadd_d<M: RiscvMachine>(m: &mut M, a: args::FmaddD) -> Done<M> {
    ternary(m, Op::Fp(FpOp::MulAdd, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fmsub_d<M: RiscvMachine>(m: &mut M, a: args::FmsubD) -> Done<M> {
    ternary(m, Op::Fp(FpOp::MulSub, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fnmsub_d<M: RiscvMachine>(m: &mut M, a: args::FnmsubD) -> Done<M> {
    ternary(m, Op::Fp(FpOp::NegMulAdd, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fnmadd_d<M: RiscvMachine>(m: &mut M, a: args::FnmaddD) -> Done<M> {
    ternary(m, Op::Fp(FpOp::NegMulSub, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fadd_d<M: RiscvMachine>(m: &mut M, a: args::FaddD) -> Done<M> {
    binary(m, Op::Fp(FpOp::Add, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fsub_d<M: RiscvMachine>(m: &mut M, a: args::FsubD) -> Done<M> {
    binary(m, Op::Fp(FpOp::Sub, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fmul_d<M: RiscvMachine>(m: &mut M, a: args::FmulD) -> Done<M> {
    binary(m, Op::Fp(FpOp::Mul, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fdiv_d<M: RiscvMachine>(m: &mut M, a: args::FdivD) -> Done<M> {
    binary(m, Op::Fp(FpOp::Div, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fsqrt_d<M: RiscvMachine>(m: &mut M, a: args::FsqrtD) -> Done<M> {
    unary(m, Op::Fp(FpOp::Sqrt, FMT), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fsgnj_d<M: RiscvMachine>(m: &mut M, a: args::FsgnjD) -> Done<M> {
    sign(m, Sign::Copy, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fsgnjn_d<M: RiscvMachine>(m: &mut M, a: args::FsgnjnD) -> Done<M> {
    sign(m, Sign::Negate, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fsgnjx_d<M: RiscvMachine>(m: &mut M, a: args::FsgnjxD) -> Done<M> {
    sign(m, Sign::Xor, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fmin_d<M: RiscvMachine>(m: &mut M, a: args::FminD) -> Done<M> {
    binary(m, Op::Fp(FpOp::Min, FMT), a.fd, a.fs1, a.fs2, 0)
}

#[inline(always)]
pub fn fmax_d<M: RiscvMachine>(m: &mut M, a: args::FmaxD) -> Done<M> {
    binary(m, Op::Fp(FpOp::Max, FMT), a.fd, a.fs1, a.fs2, 0)
}

#[inline(always)]
pub fn fle_d<M: RiscvMachine>(m: &mut M, a: args::FleD) -> Done<M> {
    compare(m, Op::Fp(FpOp::Le, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn flt_d<M: RiscvMachine>(m: &mut M, a: args::FltD) -> Done<M> {
    compare(m, Op::Fp(FpOp::Lt, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn feq_d<M: RiscvMachine>(m: &mut M, a: args::FeqD) -> Done<M> {
    compare(m, Op::Fp(FpOp::Eq, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fclass_d<M: RiscvMachine>(m: &mut M, a: args::FclassD) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::Class, FMT), a.rd, a.fs1, 0)
}

#[inline(always)]
pub fn fcvt_w_d<M: RiscvMachine>(m: &mut M, a: args::FcvtWD) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToI32, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_wu_d<M: RiscvMachine>(m: &mut M, a: args::FcvtWuD) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToU32, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_l_d<M: RiscvMachine>(m: &mut M, a: args::FcvtLD) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToI64, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_lu_d<M: RiscvMachine>(m: &mut M, a: args::FcvtLuD) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToU64, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_d_w<M: RiscvMachine>(m: &mut M, a: args::FcvtDW) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromI32, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_d_wu<M: RiscvMachine>(m: &mut M, a: args::FcvtDWu) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromU32, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_d_l<M: RiscvMachine>(m: &mut M, a: args::FcvtDL) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromI64, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_d_lu<M: RiscvMachine>(m: &mut M, a: args::FcvtDLu) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromU64, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_s_d<M: RiscvMachine>(m: &mut M, a: args::FcvtSD) -> Done<M> {
    unary(m, Op::Fp(FpOp::From(Fmt::D), Fmt::S), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_d_s<M: RiscvMachine>(m: &mut M, a: args::FcvtDS) -> Done<M> {
    unary(m, Op::Fp(FpOp::From(Fmt::S), Fmt::D), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fmv_x_d<M: RiscvMachine>(m: &mut M, a: args::FmvXD) -> Done<M> {
    let v = m.f(a.fs1);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn fmv_d_x<M: RiscvMachine>(m: &mut M, a: args::FmvDX) -> Done<M> {
    let v = m.x(a.rs1);
    m.set_f(a.fd, v);
    Ok(())
}
