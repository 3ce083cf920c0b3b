//! Meanings of the Zfh extension: half precision.

#![allow(missing_docs, reason = "a meaning is documented by its row")]

use crate::RiscvMachine;
use crate::generated::args;
use crate::ops::{Fmt, FpOp, Op};
use crate::sem::Done;
use crate::sem_float::{
    Sign, binary, boxed, compare, from_integer, load, sign, store, ternary, to_integer, unary,
};
use isa_core::Un;

const FMT: Fmt = Fmt::H;

#[inline(always)]
pub fn flh<M: RiscvMachine>(m: &mut M, a: args::Flh) -> Done<M> {
    load(m, FMT, a.fd, a.rs1, a.imm_i)
}

#[inline(always)]
pub fn fsh<M: RiscvMachine>(m: &mut M, a: args::Fsh) -> Done<M> {
    store(m, FMT, a.fs2, a.rs1, a.imm_s)
}

#[inline(always)]
pub fn fmadd_h<M: RiscvMachine>(m: &mut M, a: args::FmaddH) -> Done<M> {
    ternary(m, Op::Fp(FpOp::MulAdd, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fmsub_h<M: RiscvMachine>(m: &mut M, a: args::FmsubH) -> Done<M> {
    ternary(m, Op::Fp(FpOp::MulSub, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fnmsub_h<M: RiscvMachine>(m: &mut M, a: args::FnmsubH) -> Done<M> {
    ternary(m, Op::Fp(FpOp::NegMulAdd, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fnmadd_h<M: RiscvMachine>(m: &mut M, a: args::FnmaddH) -> Done<M> {
    ternary(m, Op::Fp(FpOp::NegMulSub, FMT), a.fd, [a.fs1, a.fs2, a.fs3], a.rm)
}

#[inline(always)]
pub fn fadd_h<M: RiscvMachine>(m: &mut M, a: args::FaddH) -> Done<M> {
    binary(m, Op::Fp(FpOp::Add, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fsub_h<M: RiscvMachine>(m: &mut M, a: args::FsubH) -> Done<M> {
    binary(m, Op::Fp(FpOp::Sub, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fmul_h<M: RiscvMachine>(m: &mut M, a: args::FmulH) -> Done<M> {
    binary(m, Op::Fp(FpOp::Mul, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fdiv_h<M: RiscvMachine>(m: &mut M, a: args::FdivH) -> Done<M> {
    binary(m, Op::Fp(FpOp::Div, FMT), a.fd, a.fs1, a.fs2, a.rm)
}

#[inline(always)]
pub fn fsqrt_h<M: RiscvMachine>(m: &mut M, a: args::FsqrtH) -> Done<M> {
    unary(m, Op::Fp(FpOp::Sqrt, FMT), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fsgnj_h<M: RiscvMachine>(m: &mut M, a: args::FsgnjH) -> Done<M> {
    sign(m, Sign::Copy, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fsgnjn_h<M: RiscvMachine>(m: &mut M, a: args::FsgnjnH) -> Done<M> {
    sign(m, Sign::Negate, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fsgnjx_h<M: RiscvMachine>(m: &mut M, a: args::FsgnjxH) -> Done<M> {
    sign(m, Sign::Xor, FMT, a.fd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fmin_h<M: RiscvMachine>(m: &mut M, a: args::FminH) -> Done<M> {
    binary(m, Op::Fp(FpOp::Min, FMT), a.fd, a.fs1, a.fs2, 0)
}

#[inline(always)]
pub fn fmax_h<M: RiscvMachine>(m: &mut M, a: args::FmaxH) -> Done<M> {
    binary(m, Op::Fp(FpOp::Max, FMT), a.fd, a.fs1, a.fs2, 0)
}

#[inline(always)]
pub fn fle_h<M: RiscvMachine>(m: &mut M, a: args::FleH) -> Done<M> {
    compare(m, Op::Fp(FpOp::Le, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn flt_h<M: RiscvMachine>(m: &mut M, a: args::FltH) -> Done<M> {
    compare(m, Op::Fp(FpOp::Lt, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn feq_h<M: RiscvMachine>(m: &mut M, a: args::FeqH) -> Done<M> {
    compare(m, Op::Fp(FpOp::Eq, FMT), a.rd, a.fs1, a.fs2)
}

#[inline(always)]
pub fn fclass_h<M: RiscvMachine>(m: &mut M, a: args::FclassH) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::Class, FMT), a.rd, a.fs1, 0)
}

#[inline(always)]
pub fn fcvt_w_h<M: RiscvMachine>(m: &mut M, a: args::FcvtWH) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToI32, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_wu_h<M: RiscvMachine>(m: &mut M, a: args::FcvtWuH) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToU32, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_l_h<M: RiscvMachine>(m: &mut M, a: args::FcvtLH) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToI64, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_lu_h<M: RiscvMachine>(m: &mut M, a: args::FcvtLuH) -> Done<M> {
    to_integer(m, Op::Fp(FpOp::ToU64, FMT), a.rd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_h_w<M: RiscvMachine>(m: &mut M, a: args::FcvtHW) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromI32, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_h_wu<M: RiscvMachine>(m: &mut M, a: args::FcvtHWu) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromU32, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_h_l<M: RiscvMachine>(m: &mut M, a: args::FcvtHL) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromI64, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_h_lu<M: RiscvMachine>(m: &mut M, a: args::FcvtHLu) -> Done<M> {
    from_integer(m, Op::Fp(FpOp::FromU64, FMT), a.fd, a.rs1, a.rm)
}

#[inline(always)]
pub fn fcvt_s_h<M: RiscvMachine>(m: &mut M, a: args::FcvtSH) -> Done<M> {
    unary(m, Op::Fp(FpOp::From(Fmt::H), Fmt::S), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_h_s<M: RiscvMachine>(m: &mut M, a: args::FcvtHS) -> Done<M> {
    unary(m, Op::Fp(FpOp::From(Fmt::S), Fmt::H), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_d_h<M: RiscvMachine>(m: &mut M, a: args::FcvtDH) -> Done<M> {
    unary(m, Op::Fp(FpOp::From(Fmt::H), Fmt::D), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fcvt_h_d<M: RiscvMachine>(m: &mut M, a: args::FcvtHD) -> Done<M> {
    unary(m, Op::Fp(FpOp::From(Fmt::D), Fmt::H), a.fd, a.fs1, a.rm)
}

#[inline(always)]
pub fn fmv_x_h<M: RiscvMachine>(m: &mut M, a: args::FmvXH) -> Done<M> {
    let v = m.f(a.fs1);
    let v = m.un(Un::Sext16, v);
    m.set_x(a.rd, v);
    Ok(())
}

#[inline(always)]
pub fn fmv_h_x<M: RiscvMachine>(m: &mut M, a: args::FmvHX) -> Done<M> {
    let v = m.x(a.rs1);
    let v = boxed(m, FMT, v);
    m.set_f(a.fd, v);
    Ok(())
}
