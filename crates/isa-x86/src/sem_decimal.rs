//! Decimal arithmetic, which 64-bit mode does not have: SDM volume 2, each under its mnemonic.

use crate::sem::{Done, RAX, read_reg, reg, write_reg};
use crate::{Fault, Insn, Reg, X86Machine, vector};
use isa_core::{Bin, Flag, FlagKind, Width};

const AL: Reg = reg(RAX);
const AH: Reg = Reg { n: RAX, high: true };

/// Sets zero, sign and parity by `result`, a byte, and AF and CF as given; OF is 0.
fn finish<M: X86Machine>(m: &mut M, result: M::V, adjust: M::V, carry: M::V) -> Done<M> {
    let zero = m.imm(0);
    // Whoever runs this once a year may pay for all six.
    m.set_flags(FlagKind::Result, Width::B1, [result, carry, zero]);
    let (all, adjust) = (m.status(), m.bin_imm(Bin::Shl, adjust, Flag::Adjust as u64));
    let all = m.bin(Bin::Or, all, adjust);
    m.set_flags(FlagKind::Bits, Width::B1, [all, zero, zero]);
    Ok(())
}

/// Whether the low digit of AL is above 9, or AF.
fn low_digit<M: X86Machine>(m: &mut M, al: M::V) -> M::V {
    let (digit, nine, af) = (m.bin_imm(Bin::And, al, 15), m.imm(9), m.flag(Flag::Adjust));
    let over = m.bin(Bin::LtU, nine, digit);
    m.bin(Bin::Or, over, af)
}

/// `daa` and `das`: 6 for the low digit, 0x60 for the high one.
fn packed<M: X86Machine>(m: &mut M, op: Bin) -> Done<M> {
    let (al, zero, six, sixty, limit) =
        (read_reg(m, Width::B1, AL), m.imm(0), m.imm(6), m.imm(0x60), m.imm(0x99));
    let (adjust, carry) = (low_digit(m, al), m.flag(Flag::Carry));
    let over = m.bin(Bin::LtU, limit, al);
    let high = m.bin(Bin::Or, over, carry);
    let low_by = m.select(adjust, six, zero);
    // `das` of 0 to 5 with AF borrows, which shows in CF even where the high digit needs nothing.
    let borrows = m.bin(Bin::LtU, al, low_by);
    let high_by = m.select(high, sixty, zero);
    let by = m.bin(Bin::Add, low_by, high_by);
    let v = m.bin(op, al, by);
    let v = m.bin_imm(Bin::And, v, 0xff);
    write_reg(m, Width::B1, AL, v);
    let carry = if op == Bin::Sub { m.bin(Bin::Or, high, borrows) } else { high };
    finish(m, v, adjust, carry)
}

/// `daa`
pub fn daa<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    packed(m, Bin::Add)
}

/// `das`
pub fn das<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    packed(m, Bin::Sub)
}

/// `aaa` and `aas`: 0x106 of AX if the digit is above 9 or AF is set; the high digit of AL goes.
fn unpacked<M: X86Machine>(m: &mut M, op: Bin) -> Done<M> {
    let (ax, al, zero, by) = (read_reg(m, Width::B2, AL), read_reg(m, Width::B1, AL), m.imm(0), m.imm(0x106));
    let adjust = low_digit(m, al);
    let by = m.select(adjust, by, zero);
    let v = m.bin(op, ax, by);
    let v = m.bin_imm(Bin::And, v, 0xff0f);
    write_reg(m, Width::B2, AL, v);
    let result = m.bin_imm(Bin::And, v, 0xff);
    finish(m, result, adjust, adjust)
}

/// `aaa`
pub fn aaa<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    unpacked(m, Bin::Add)
}

/// `aas`
pub fn aas<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    unpacked(m, Bin::Sub)
}

/// `aam`: digits of AL to the base of the immediate; #DE for base 0.
pub fn aam<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let base = i.imm & 0xff;
    if base == 0 {
        return Err(m.fault(Fault::plain(vector::DE)));
    }
    let (al, zero) = (read_reg(m, Width::B1, AL), m.imm(0));
    let (high, low) = (m.bin_imm(Bin::DivU, al, base), m.bin_imm(Bin::RemU, al, base));
    write_reg(m, Width::B1, AH, high);
    write_reg(m, Width::B1, AL, low);
    finish(m, low, zero, zero)
}

/// `aad`: AL from two digits, AH becomes 0.
pub fn aad<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (al, ah, zero) = (read_reg(m, Width::B1, AL), read_reg(m, Width::B1, AH), m.imm(0));
    let high = m.bin_imm(Bin::Mul, ah, i.imm & 0xff);
    let v = m.bin(Bin::Add, al, high);
    let v = m.bin_imm(Bin::And, v, 0xff);
    write_reg(m, Width::B2, AL, v);
    finish(m, v, zero, zero)
}

/// `salc`, which the manual does not list: AL is all ones if CF, else 0.
pub fn salc<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let (carry, zero) = (m.flag(Flag::Carry), m.imm(0));
    let v = m.bin(Bin::Sub, zero, carry);
    let v = m.bin_imm(Bin::And, v, 0xff);
    write_reg(m, Width::B1, AL, v);
    Ok(())
}
