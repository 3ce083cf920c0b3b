//! Counting, extracting and masking bits: SDM volume 2, each under its mnemonic.

use crate::ops_arithmetic::ArithmeticOp;
use crate::sem::{Done, bits, low, read, read_reg, write_reg};
use crate::{Insn, Op, Operand, Reg, X86Machine};
use isa_core::{Bin, FlagKind, Un, Width};

/// The destination, which is always a register, and the value of the operand after it.
fn operands<M: X86Machine>(m: &mut M, i: &Insn) -> Result<(Reg, M::V), M::Stop> {
    let [to, from, ..] = i.operands;
    let v = read(m, i, from, i.width)?;
    // No row has another destination.
    let to = if let Operand::Reg(to) = to { to } else { crate::sem::reg(0) };
    Ok((to, v))
}

fn is_zero<M: X86Machine>(m: &mut M, v: M::V) -> M::V {
    let zero = m.imm(0);
    m.bin(Bin::Eq, v, zero)
}

/// Trailing zeroes; the width if `v` is 0.
fn trailing<M: X86Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    let v = if width == Width::B8 { v } else { m.bin_imm(Bin::Or, v, 1 << bits(width)) };
    m.un(Un::Ctz, v)
}

/// Leading zeroes; the width if `v` is 0.
fn leading<M: X86Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    let v = m.un(Un::Clz, v);
    m.add_imm(v, bits(width) as i64 - 64)
}

/// `bsf` and `bsr` of 0 leave the destination as it is, all 64 bits of it. Flags but ZF are undefined: they are those of
/// the operand as a result.
fn scan<M: X86Machine>(m: &mut M, i: &Insn, find: impl FnOnce(&mut M, M::V) -> M::V) -> Done<M> {
    let (to, v) = operands(m, i)?;
    let found = find(m, v);
    let old = m.r(to.n);
    write_reg(m, i.width, to, found);
    let new = m.r(to.n);
    let new = m.select(v, new, old);
    m.set_r(to.n, new);
    let zero = m.imm(0);
    m.set_flags(FlagKind::Logic, i.width, [v, zero, zero]);
    Ok(())
}

/// `bsf`
pub fn bsf<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    scan(m, i, |m, v| trailing(m, i.width, v))
}

/// `bsr`
pub fn bsr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    scan(m, i, |m, v| {
        let (n, top) = (leading(m, i.width, v), m.imm(bits(i.width) - 1));
        let n = m.bin(Bin::Sub, top, n);
        low(m, i.width, n)
    })
}

/// CF says that the operand was 0, ZF that the count is.
fn count<M: X86Machine>(m: &mut M, i: &Insn, find: impl FnOnce(&mut M, Width, M::V) -> M::V) -> Done<M> {
    let (to, v) = operands(m, i)?;
    let (n, carry, zero) = (find(m, i.width, v), is_zero(m, v), m.imm(0));
    write_reg(m, i.width, to, n);
    m.set_flags(FlagKind::Result, i.width, [n, carry, zero]);
    Ok(())
}

/// `tzcnt`
pub fn tzcnt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    count(m, i, trailing)
}

/// `lzcnt`
pub fn lzcnt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    count(m, i, leading)
}

/// `popcnt`: ZF says that there are none, all other flags are 0.
pub fn popcnt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (to, v) = operands(m, i)?;
    let (n, none, zero) = (m.un(Un::Popcount, v), is_zero(m, v), m.imm(0));
    write_reg(m, i.width, to, n);
    let zf = m.bin_imm(Bin::Shl, none, isa_core::Flag::Zero as u64);
    m.set_flags(FlagKind::Bits, i.width, [zf, zero, zero]);
    Ok(())
}

/// `crc32`: no flags.
pub fn crc32<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [Operand::Reg(to), from, ..] = i.operands else { return Ok(()) };
    let data = read(m, i, from, i.source)?;
    let (sum, zero) = (read_reg(m, Width::B4, to), m.imm(0));
    let sum = m.call(Op::Arithmetic(ArithmeticOp::Crc32(i.source)), [sum, data, zero, zero])?;
    write_reg(m, i.width, to, sum);
    Ok(())
}

/// `pdep` or `pext` of the second operand under the third, a mask: no flags.
fn spread<M: X86Machine>(m: &mut M, i: &Insn, op: ArithmeticOp) -> Done<M> {
    let [_, _, mask, _] = i.operands;
    let (to, v) = operands(m, i)?;
    let (mask, zero) = (read(m, i, mask, i.width)?, m.imm(0));
    let v = m.call(Op::Arithmetic(op), [v, mask, zero, zero])?;
    write_reg(m, i.width, to, v);
    Ok(())
}

/// `pdep`
pub fn pdep<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    spread(m, i, ArithmeticOp::Deposit)
}

/// `pext`
pub fn pext<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    spread(m, i, ArithmeticOp::Extract)
}

/// Writes a result and its flags, of which OF is 0.
fn finish<M: X86Machine>(m: &mut M, i: &Insn, to: Reg, v: M::V, carry: M::V) -> Done<M> {
    let (v, zero) = (low(m, i.width, v), m.imm(0));
    write_reg(m, i.width, to, v);
    m.set_flags(FlagKind::Result, i.width, [v, carry, zero]);
    Ok(())
}

/// `andn`: the third operand where the second is 0.
pub fn andn<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [_, _, from, _] = i.operands;
    let (to, not) = operands(m, i)?;
    let b = read(m, i, from, i.width)?;
    let a = m.un(Un::Not, not);
    let (v, zero) = (m.bin(Bin::And, a, b), m.imm(0));
    finish(m, i, to, v, zero)
}

/// `bextr`: as many bits as bits 15:8 of the third operand say, from the bit that bits 7:0 say.
pub fn bextr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [_, _, control, _] = i.operands;
    let (to, v) = operands(m, i)?;
    let (control, zero, ones) = (read(m, i, control, i.width)?, m.imm(0), m.imm(u64::MAX));
    let start = m.bin_imm(Bin::And, control, 0xff);
    let length = m.bin_imm(Bin::ShrU, control, 8);
    let length = m.bin_imm(Bin::And, length, 0xff);
    let shifted = m.bin(Bin::ShrU, v, start);
    let within = m.bin_imm(Bin::LtU, start, 64);
    let shifted = m.select(within, shifted, zero);
    let above = m.bin(Bin::Shl, ones, length);
    let mask = m.un(Un::Not, above);
    let short = m.bin_imm(Bin::LtU, length, 64);
    let mask = m.select(short, mask, ones);
    let v = m.bin(Bin::And, shifted, mask);
    finish(m, i, to, v, zero)
}

/// `bzhi`: the bits below the one that bits 7:0 of the third operand say; CF where that is none of the operand's.
pub fn bzhi<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [_, _, index, _] = i.operands;
    let (to, v) = operands(m, i)?;
    let (index, ones) = (read(m, i, index, i.width)?, m.imm(u64::MAX));
    let n = m.bin_imm(Bin::And, index, 0xff);
    let above = m.bin(Bin::Shl, ones, n);
    let mask = m.un(Un::Not, above);
    let within = m.bin_imm(Bin::LtU, n, bits(i.width));
    let mask = m.select(within, mask, ones);
    let (v, carry) = (m.bin(Bin::And, v, mask), m.bin_imm(Bin::Xor, within, 1));
    finish(m, i, to, v, carry)
}

/// `blsi`: the lowest 1 alone; CF where there is one.
pub fn blsi<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (to, v) = operands(m, i)?;
    let zero = m.imm(0);
    let (negative, carry) = (m.bin(Bin::Sub, zero, v), m.bin(Bin::Ne, v, zero));
    let v = m.bin(Bin::And, v, negative);
    finish(m, i, to, v, carry)
}

/// `blsmsk`: ones up to the lowest 1; CF where there is none.
pub fn blsmsk<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (to, v) = operands(m, i)?;
    let (before, carry) = (m.add_imm(v, -1), is_zero(m, v));
    let v = m.bin(Bin::Xor, v, before);
    finish(m, i, to, v, carry)
}

/// `blsr`: all but the lowest 1; CF where there is none.
pub fn blsr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (to, v) = operands(m, i)?;
    let (before, carry) = (m.add_imm(v, -1), is_zero(m, v));
    let v = m.bin(Bin::And, v, before);
    finish(m, i, to, v, carry)
}
