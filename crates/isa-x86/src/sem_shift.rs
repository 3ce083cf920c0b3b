//! Shifts and rotations: SDM volume 2, each under its mnemonic.
//!
//! A count of 0 leaves the flags as they are. What the manual leaves undefined (OF for counts other than 1, AF, counts
//! beyond the width) is as the formulas for the defined cases give it.

use crate::sem::{Done, bits, low, merged_flags, read, sign, signed, update, write, write_reg};
use crate::{Insn, Operand, X86Machine, rflags};
use isa_core::{Bin, FlagKind, Width};

/// The bits of a count that count.
const fn count_mask(width: Width) -> u64 {
    match width {
        Width::B8 => 63,
        _ => 31,
    }
}

/// The count, masked.
#[inline(always)]
fn count<M: X86Machine>(m: &mut M, i: &Insn, operand: Operand) -> Result<M::V, M::Stop> {
    match operand {
        Operand::Imm => Ok(m.imm(i.imm & count_mask(i.width))),
        _ => {
            let c = read(m, i, operand, Width::B1)?;
            Ok(m.bin_imm(Bin::And, c, count_mask(i.width)))
        }
    }
}

/// Sets the flags unless the count is 0.
#[inline(always)]
fn set_counted<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    operand: Operand,
    c: M::V,
    kind: FlagKind,
    flags: [M::V; 3],
) {
    match operand {
        Operand::Imm if i.imm & count_mask(i.width) == 0 => {}
        Operand::Imm => m.set_flags(kind, i.width, flags),
        _ => m.set_flags_if(c, kind, i.width, flags),
    }
}

#[inline(always)]
fn shift<M: X86Machine>(m: &mut M, i: &Insn, kind: FlagKind, op: Bin) -> Done<M> {
    let [to, by, ..] = i.operands;
    let c = count(m, i, by)?;
    let (to, a) = update(m, i, to, i.width)?;
    let from = if op == Bin::ShrS { signed(m, i.width, a) } else { a };
    let v = m.bin(op, from, c);
    let v = low(m, i.width, v);
    write(m, i.width, to, v)?;
    let zero = m.imm(0);
    set_counted(m, i, by, c, kind, [a, c, zero]);
    Ok(())
}

/// `shl`, also named `sal`
pub fn shl<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    shift(m, i, FlagKind::Shl, Bin::Shl)
}

/// `shr`
pub fn shr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    shift(m, i, FlagKind::Shr, Bin::ShrU)
}

/// `sar`
pub fn sar<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    shift(m, i, FlagKind::Sar, Bin::ShrS)
}

/// Sets CF and OF, the only flags of rotations, unless the count is 0.
fn rotation_flags<M: X86Machine>(m: &mut M, i: &Insn, by: Operand, c: M::V, carry: M::V, overflow: M::V) {
    let overflow = m.bin_imm(Bin::Shl, overflow, isa_core::Flag::Overflow as u64);
    let set = m.bin(Bin::Or, carry, overflow);
    let (all, zero) = (merged_flags(m, rflags::CF | rflags::OF, set), m.imm(0));
    set_counted(m, i, by, c, FlagKind::Bits, [all, zero, zero]);
}

/// Whether the top two bits of `v` differ.
fn top_two_differ<M: X86Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    let (top, next) = (sign(m, width, v), m.bin_imm(Bin::ShrU, v, bits(width) - 2));
    let next = m.bin_imm(Bin::And, next, 1);
    m.bin(Bin::Xor, top, next)
}

/// The value again and again, so that a rotation of 64 bits is one of the width.
fn repeated<M: X86Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    match width {
        Width::B1 => m.bin_imm(Bin::Mul, v, 0x0101_0101_0101_0101),
        Width::B2 => m.bin_imm(Bin::Mul, v, 0x0001_0001_0001_0001),
        Width::B4 => m.bin_imm(Bin::Mul, v, 0x0000_0001_0000_0001),
        Width::B8 => v,
    }
}

/// `rol`: CF is the bit that has come in at the bottom; OF says that it differs from the top.
pub fn rol<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, by, ..] = i.operands;
    let c = count(m, i, by)?;
    let (to, a) = update(m, i, to, i.width)?;
    let (zero, all) = (m.imm(0), repeated(m, i.width, a));
    let right = m.bin(Bin::Sub, zero, c);
    let v = m.bin(Bin::RotR, all, right);
    let v = low(m, i.width, v);
    write(m, i.width, to, v)?;
    let (carry, top) = (m.bin_imm(Bin::And, v, 1), sign(m, i.width, v));
    let overflow = m.bin(Bin::Xor, carry, top);
    rotation_flags(m, i, by, c, carry, overflow);
    Ok(())
}

/// `ror`: CF is the bit that has come in at the top; OF says that it differs from the next.
pub fn ror<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, by, ..] = i.operands;
    let c = count(m, i, by)?;
    let (to, a) = update(m, i, to, i.width)?;
    let all = repeated(m, i.width, a);
    let v = m.bin(Bin::RotR, all, c);
    let v = low(m, i.width, v);
    write(m, i.width, to, v)?;
    let (carry, overflow) = (sign(m, i.width, v), top_two_differ(m, i.width, v));
    rotation_flags(m, i, by, c, carry, overflow);
    Ok(())
}

/// How far `rcl` and `rcr` rotate: the masked count modulo one more than the width.
fn through_carry<M: X86Machine>(m: &mut M, width: Width, c: M::V) -> M::V {
    match width {
        Width::B1 | Width::B2 => m.bin_imm(Bin::RemU, c, bits(width) + 1),
        Width::B4 | Width::B8 => c,
    }
}

/// `rcl`: the operand with CF above it rotates.
pub fn rcl<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, by, ..] = i.operands;
    let c = count(m, i, by)?;
    let (to, a) = update(m, i, to, i.width)?;
    let (n, carry) = (through_carry(m, i.width, c), m.flag(isa_core::Flag::Carry));
    // What comes in from the right: CF, then the operand's top bits.
    let (up, size) = (m.bin(Bin::Shl, a, n), m.imm(bits(i.width)));
    let behind = m.bin_imm(Bin::ShrU, a, 1);
    let distance = m.bin(Bin::Sub, size, n);
    let wrapped = m.bin(Bin::ShrU, behind, distance);
    let before = m.add_imm(n, -1);
    let one = m.bin(Bin::Shl, carry, before);
    let v = m.bin(Bin::Or, up, wrapped);
    let v = m.bin(Bin::Or, v, one);
    let v = low(m, i.width, v);
    let v = m.select(n, v, a);
    let out = m.bin(Bin::ShrU, a, distance);
    let out = m.bin_imm(Bin::And, out, 1);
    let out = m.select(n, out, carry);
    write(m, i.width, to, v)?;
    let top = sign(m, i.width, v);
    let overflow = m.bin(Bin::Xor, top, out);
    rotation_flags(m, i, by, c, out, overflow);
    Ok(())
}

/// `rcr`: the operand with CF above it rotates.
pub fn rcr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, by, ..] = i.operands;
    let c = count(m, i, by)?;
    let (to, a) = update(m, i, to, i.width)?;
    let (n, carry) = (through_carry(m, i.width, c), m.flag(isa_core::Flag::Carry));
    // What comes in from the left: CF, then the operand's bottom bits.
    let (down, size) = (m.bin(Bin::ShrU, a, n), m.imm(bits(i.width)));
    let distance = m.bin(Bin::Sub, size, n);
    let doubled = m.bin_imm(Bin::Shl, a, 1);
    let wrapped = m.bin(Bin::Shl, doubled, distance);
    let one = m.bin(Bin::Shl, carry, distance);
    let v = m.bin(Bin::Or, down, wrapped);
    let v = m.bin(Bin::Or, v, one);
    let v = low(m, i.width, v);
    let v = m.select(n, v, a);
    let before = m.add_imm(n, -1);
    let out = m.bin(Bin::ShrU, a, before);
    let out = m.bin_imm(Bin::And, out, 1);
    let out = m.select(n, out, carry);
    write(m, i.width, to, v)?;
    let overflow = top_two_differ(m, i.width, v);
    rotation_flags(m, i, by, c, out, overflow);
    Ok(())
}

/// `shld` and `shrd` fill up with the source's bits. With a 16-bit operand and a count above 16, which the manual leaves
/// undefined, the destination's own bits follow those.
fn double<M: X86Machine>(m: &mut M, i: &Insn, left: bool) -> Done<M> {
    let [to, from, by, _] = i.operands;
    let c = count(m, i, by)?;
    let b = read(m, i, from, i.width)?;
    let (to, a) = update(m, i, to, i.width)?;
    let size = bits(i.width);
    let (v, carry) = match (i.width, left) {
        (Width::B2, _) => {
            let (high, middle) = (m.bin_imm(Bin::Shl, a, 32), m.bin_imm(Bin::Shl, b, 16));
            let all = m.bin(Bin::Or, high, middle);
            let all = m.bin(Bin::Or, all, a);
            let before = m.add_imm(c, -1);
            if left {
                let moved = m.bin(Bin::Shl, all, c);
                let carried = m.bin(Bin::Shl, all, before);
                (m.bin_imm(Bin::ShrU, moved, 32), m.bin_imm(Bin::ShrU, carried, 47))
            } else {
                (m.bin(Bin::ShrU, all, c), m.bin(Bin::ShrU, all, before))
            }
        }
        (_, true) => {
            let (size, before) = (m.imm(size), m.add_imm(c, -1));
            let distance = m.bin(Bin::Sub, size, c);
            let (up, fill) = (m.bin(Bin::Shl, a, c), m.bin(Bin::ShrU, b, distance));
            let carried = m.bin(Bin::Shl, a, before);
            (m.bin(Bin::Or, up, fill), sign(m, i.width, carried))
        }
        (_, false) => {
            let (size, before) = (m.imm(size), m.add_imm(c, -1));
            let distance = m.bin(Bin::Sub, size, c);
            let (down, fill) = (m.bin(Bin::ShrU, a, c), m.bin(Bin::Shl, b, distance));
            (m.bin(Bin::Or, down, fill), m.bin(Bin::ShrU, a, before))
        }
    };
    let v = low(m, i.width, v);
    let v = m.select(c, v, a);
    let carry = m.bin_imm(Bin::And, carry, 1);
    write(m, i.width, to, v)?;
    let overflow = if left {
        let top = sign(m, i.width, v);
        m.bin(Bin::Xor, top, carry)
    } else {
        top_two_differ(m, i.width, v)
    };
    set_counted(m, i, by, c, FlagKind::Result, [v, carry, overflow]);
    Ok(())
}

/// `shld`
pub fn shld<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    double(m, i, true)
}

/// `shrd`
pub fn shrd<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    double(m, i, false)
}

/// The BMI2 shifts: no flags.
fn plain<M: X86Machine>(m: &mut M, i: &Insn, op: Bin) -> Done<M> {
    let [Operand::Reg(to), from, by, _] = i.operands else { return Ok(()) };
    let c = count(m, i, by)?;
    let a = read(m, i, from, i.width)?;
    let a = match op {
        Bin::ShrS => signed(m, i.width, a),
        Bin::RotR => repeated(m, i.width, a),
        _ => a,
    };
    let v = m.bin(op, a, c);
    let v = low(m, i.width, v);
    write_reg(m, i.width, to, v);
    Ok(())
}

/// `shlx`
pub fn shlx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    plain(m, i, Bin::Shl)
}

/// `shrx`
pub fn shrx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    plain(m, i, Bin::ShrU)
}

/// `sarx`
pub fn sarx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    plain(m, i, Bin::ShrS)
}

/// `rorx`
pub fn rorx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    plain(m, i, Bin::RotR)
}
