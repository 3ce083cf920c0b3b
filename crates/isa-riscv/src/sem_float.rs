//! The shapes that floating-point meanings share. Arithmetic is named operations, which unbox, round,
//! accrue flags and box; moves, sign injection, loads and stores are value code.

use crate::RiscvMachine;
use crate::ops::{Fmt, Op};
use crate::sem::{Done, address};
use isa_core::{Bin, Order, Width};

/// `v` in the low bits, ones above (Unprivileged ISA, "NaN Boxing of Narrower Values").
#[inline(always)]
pub(crate) fn boxed<M: RiscvMachine>(m: &mut M, fmt: Fmt, v: M::V) -> M::V {
    match fmt {
        Fmt::D => v,
        narrow => m.bin_imm(Bin::Or, v, u64::MAX << narrow.bits()),
    }
}

/// The number in a register: its low bits if it is boxed, else the canonical NaN.
#[inline(always)]
fn unboxed<M: RiscvMachine>(m: &mut M, fmt: Fmt, v: M::V) -> M::V {
    if fmt == Fmt::D {
        return v;
    }
    let ones = u64::MAX >> fmt.bits();
    let above = m.bin_imm(Bin::ShrU, v, fmt.bits());
    let is_boxed = m.bin_imm(Bin::Eq, above, ones);
    let low = m.bin_imm(Bin::And, v, !(u64::MAX << fmt.bits()));
    let nan = m.imm(fmt.canonical_nan());
    m.select(is_boxed, low, nan)
}

/// `fd = box(mem[rs1 + offset])`
#[inline(always)]
pub(crate) fn load<M: RiscvMachine>(m: &mut M, fmt: Fmt, fd: u8, rs1: u8, offset: i32) -> Done<M> {
    let va = address(m, rs1, offset);
    let v = m.load(va, width(fmt), Order::Plain)?;
    let v = boxed(m, fmt, v);
    m.set_f(fd, v);
    Ok(())
}

/// `mem[rs1 + offset] = fs2`: the low bits, boxed or not.
#[inline(always)]
pub(crate) fn store<M: RiscvMachine>(m: &mut M, fmt: Fmt, fs2: u8, rs1: u8, offset: i32) -> Done<M> {
    let va = address(m, rs1, offset);
    let v = m.f(fs2);
    m.store(va, width(fmt), v, Order::Plain)
}

#[inline(always)]
fn width(fmt: Fmt) -> Width {
    match fmt {
        Fmt::H => Width::B2,
        Fmt::S => Width::B4,
        Fmt::D => Width::B8,
    }
}

/// `fd = op(fs1, fs2, fs3)`, rounded as `rm` says.
#[inline(always)]
pub(crate) fn ternary<M: RiscvMachine>(m: &mut M, op: Op, fd: u8, fs: [u8; 3], rm: u8) -> Done<M> {
    let [a, b, c] = fs.map(|r| m.f(r));
    let rm = m.imm(u64::from(rm));
    let v = m.call(op, [a, b, c, rm])?;
    m.set_f(fd, v);
    Ok(())
}

/// `fd = op(fs1, fs2)`, rounded as `rm` says.
#[inline(always)]
pub(crate) fn binary<M: RiscvMachine>(m: &mut M, op: Op, fd: u8, fs1: u8, fs2: u8, rm: u8) -> Done<M> {
    let (a, b, zero, rm) = (m.f(fs1), m.f(fs2), m.imm(0), m.imm(u64::from(rm)));
    let v = m.call(op, [a, b, zero, rm])?;
    m.set_f(fd, v);
    Ok(())
}

/// `fd = op(fs1)`, rounded as `rm` says.
#[inline(always)]
pub(crate) fn unary<M: RiscvMachine>(m: &mut M, op: Op, fd: u8, fs1: u8, rm: u8) -> Done<M> {
    let (a, zero, rm) = (m.f(fs1), m.imm(0), m.imm(u64::from(rm)));
    let v = m.call(op, [a, zero, zero, rm])?;
    m.set_f(fd, v);
    Ok(())
}

/// `rd = op(fs1, fs2)`
#[inline(always)]
pub(crate) fn compare<M: RiscvMachine>(m: &mut M, op: Op, rd: u8, fs1: u8, fs2: u8) -> Done<M> {
    let (a, b, zero) = (m.f(fs1), m.f(fs2), m.imm(0));
    let v = m.call(op, [a, b, zero, zero])?;
    m.set_x(rd, v);
    Ok(())
}

/// `rd = op(fs1)`, rounded as `rm` says.
#[inline(always)]
pub(crate) fn to_integer<M: RiscvMachine>(m: &mut M, op: Op, rd: u8, fs1: u8, rm: u8) -> Done<M> {
    let (a, zero, rm) = (m.f(fs1), m.imm(0), m.imm(u64::from(rm)));
    let v = m.call(op, [a, zero, zero, rm])?;
    m.set_x(rd, v);
    Ok(())
}

/// `fd = op(rs1)`, rounded as `rm` says.
#[inline(always)]
pub(crate) fn from_integer<M: RiscvMachine>(m: &mut M, op: Op, fd: u8, rs1: u8, rm: u8) -> Done<M> {
    let (a, zero, rm) = (m.x(rs1), m.imm(0), m.imm(u64::from(rm)));
    let v = m.call(op, [a, zero, zero, rm])?;
    m.set_f(fd, v);
    Ok(())
}

/// Which sign the result of a sign injection has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// That of the second operand.
    Copy,
    /// The opposite.
    Negate,
    /// The product of both.
    Xor,
}

/// `fd = fs1` with another sign. Raises nothing and leaves NaNs as they are.
#[inline(always)]
pub(crate) fn sign<M: RiscvMachine>(m: &mut M, how: Sign, fmt: Fmt, fd: u8, fs1: u8, fs2: u8) -> Done<M> {
    let (a, b) = (m.f(fs1), m.f(fs2));
    let (a, b) = (unboxed(m, fmt, a), unboxed(m, fmt, b));
    let top = 1 << (fmt.bits() - 1);
    let b = m.bin_imm(Bin::And, b, top);
    let v = if how == Sign::Xor {
        m.bin(Bin::Xor, a, b)
    } else {
        let b = if how == Sign::Negate { m.bin_imm(Bin::Xor, b, top) } else { b };
        let a = m.bin_imm(Bin::And, a, !top);
        m.bin(Bin::Or, a, b)
    };
    let v = boxed(m, fmt, v);
    m.set_f(fd, v);
    Ok(())
}
