//! Multiplication and division: SDM volume 2, each under its mnemonic.

use crate::ops_arithmetic::ArithmeticOp;
use crate::sem::{Done, RAX, RDX, bits, low, read, read_reg, reg, sign, signed, write_reg};
use crate::{Insn, Op, Operand, Reg, X86Machine};
use isa_core::{Bin, FlagKind, Width};

/// AH, which is to AX what rDX is to the pairs.
const AH: Reg = Reg { n: RAX, high: true };

/// The register of a double-width value's upper half.
fn upper(width: Width) -> Reg {
    if width == Width::B1 { AH } else { reg(RDX) }
}

/// The halves of a product of two values of one width; `wide` is signed or unsigned.
fn product<M: X86Machine>(m: &mut M, width: Width, is_signed: bool, a: M::V, b: M::V) -> (M::V, M::V) {
    if width == Width::B8 {
        let high = m.bin(if is_signed { Bin::MulHighS } else { Bin::MulHighU }, a, b);
        return (high, m.bin(Bin::Mul, a, b));
    }
    let (a, b) = match is_signed {
        true => (signed(m, width, a), signed(m, width, b)),
        false => (a, b),
    };
    let whole = m.bin(Bin::Mul, a, b);
    let high = m.bin_imm(Bin::ShrU, whole, bits(width));
    (low(m, width, high), low(m, width, whole))
}

/// CF and OF say that the upper half is needed; zero, sign and parity, which are undefined, are those of the lower.
fn product_flags<M: X86Machine>(m: &mut M, width: Width, result: M::V, needed: M::V) {
    m.set_flags(FlagKind::Result, width, [result, needed, needed]);
}

/// Whether the upper half is more than the sign of the lower.
fn exceeds<M: X86Machine>(m: &mut M, width: Width, high: M::V, result: M::V) -> M::V {
    let negative = sign(m, width, result);
    let zero = m.imm(0);
    let expected = m.bin(Bin::Sub, zero, negative);
    let expected = low(m, width, expected);
    m.bin(Bin::Ne, high, expected)
}

/// rDX:rAX (AX for bytes) from rAX times the operand.
fn wide<M: X86Machine>(m: &mut M, i: &Insn, is_signed: bool) -> Done<M> {
    let [by, ..] = i.operands;
    let b = read(m, i, by, i.width)?;
    let a = read_reg(m, i.width, reg(RAX));
    let (high, result) = product(m, i.width, is_signed, a, b);
    write_reg(m, i.width, reg(RAX), result);
    write_reg(m, i.width, upper(i.width), high);
    let needed = match is_signed {
        true => exceeds(m, i.width, high, result),
        false => {
            let zero = m.imm(0);
            m.bin(Bin::Ne, high, zero)
        }
    };
    product_flags(m, i.width, result, needed);
    Ok(())
}

/// `mul`
pub fn mul<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    wide(m, i, false)
}

/// `imul` with one, two or three operands.
pub fn imul<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (to, a, b) = match i.operands {
        [_, Operand::None, ..] => return wide(m, i, true),
        [to, from, Operand::None, _] => (to, to, from),
        [to, a, b, _] => (to, a, b),
    };
    let Operand::Reg(to) = to else { return Ok(()) };
    let (a, b) = (read(m, i, a, i.width)?, read(m, i, b, i.width)?);
    let (high, result) = product(m, i.width, true, a, b);
    write_reg(m, i.width, to, result);
    let needed = exceeds(m, i.width, high, result);
    product_flags(m, i.width, result, needed);
    Ok(())
}

/// `mulx`: no flags; where both results have one register, it gets the upper half.
pub fn mulx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [Operand::Reg(high_to), Operand::Reg(low_to), from, _] = i.operands else { return Ok(()) };
    let b = read(m, i, from, i.width)?;
    let a = read_reg(m, i.width, reg(RDX));
    let (high, result) = product(m, i.width, false, a, b);
    write_reg(m, i.width, low_to, result);
    write_reg(m, i.width, high_to, high);
    Ok(())
}

/// rAX and rDX (AL and AH) from rDX:rAX (AX) divided by the operand. The flags, all undefined, stay.
fn divide<M: X86Machine>(m: &mut M, i: &Insn, op: ArithmeticOp) -> Done<M> {
    let [by, ..] = i.operands;
    let divisor = read(m, i, by, i.width)?;
    let (high, dividend) = (read_reg(m, i.width, upper(i.width)), read_reg(m, i.width, reg(RAX)));
    let zero = m.imm(0);
    let quotient = m.call(Op::Arithmetic(op), [high, dividend, divisor, zero])?;
    let back = m.bin(Bin::Mul, quotient, divisor);
    let rest = m.bin(Bin::Sub, dividend, back);
    let rest = low(m, i.width, rest);
    write_reg(m, i.width, reg(RAX), quotient);
    write_reg(m, i.width, upper(i.width), rest);
    Ok(())
}

/// `div`
pub fn div<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    divide(m, i, ArithmeticOp::DivU(i.width))
}

/// `idiv`
pub fn idiv<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    divide(m, i, ArithmeticOp::DivS(i.width))
}
