//! Addition, subtraction, logic: SDM volume 2, each under its mnemonic.

use crate::sem::{Done, low, modify, read, update, write};
use crate::{Insn, X86Machine};
use isa_core::{AmoOp, Bin, Flag, FlagKind};

fn add_with<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    carry: M::V,
    addend: impl FnOnce(&mut M, M::V) -> M::V,
) -> Done<M> {
    let [_, from, ..] = i.operands;
    let b = read(m, i, from, i.width)?;
    let by = addend(m, b);
    let a = modify(m, i, (AmoOp::Add, by), |m, a| m.bin(Bin::Add, a, by))?;
    m.set_flags(FlagKind::Add, i.width, [a, b, carry]);
    Ok(())
}

fn subtract_with<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    carry: M::V,
    subtrahend: impl FnOnce(&mut M, M::V) -> M::V,
) -> Done<M> {
    let [_, from, ..] = i.operands;
    let b = read(m, i, from, i.width)?;
    let by = subtrahend(m, b);
    let zero = m.imm(0);
    // Only the locked form needs it.
    let negative = if i.prefixes.lock { m.bin(Bin::Sub, zero, by) } else { by };
    let a = modify(m, i, (AmoOp::Add, negative), |m, a| m.bin(Bin::Sub, a, by))?;
    m.set_flags(FlagKind::Sub, i.width, [a, b, carry]);
    Ok(())
}

/// `add`
pub fn add<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let zero = m.imm(0);
    add_with(m, i, zero, |_, b| b)
}

/// `adc`
pub fn adc<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let carry = m.flag(Flag::Carry);
    add_with(m, i, carry, |m, b| m.bin(Bin::Add, b, carry))
}

/// `sub`
pub fn sub<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let zero = m.imm(0);
    subtract_with(m, i, zero, |_, b| b)
}

/// `sbb`
pub fn sbb<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let carry = m.flag(Flag::Carry);
    subtract_with(m, i, carry, |m, b| m.bin(Bin::Add, b, carry))
}

/// `cmp`
pub fn cmp<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [a, b, ..] = i.operands;
    let (a, b) = (read(m, i, a, i.width)?, read(m, i, b, i.width)?);
    let zero = m.imm(0);
    m.set_flags(FlagKind::Sub, i.width, [a, b, zero]);
    Ok(())
}

fn logic<M: X86Machine>(m: &mut M, i: &Insn, amo: AmoOp, op: Bin) -> Done<M> {
    let [_, from, ..] = i.operands;
    let b = read(m, i, from, i.width)?;
    let a = modify(m, i, (amo, b), |m, a| m.bin(op, a, b))?;
    logic_flags(m, i, op, a, b)
}

fn logic_flags<M: X86Machine>(m: &mut M, i: &Insn, op: Bin, a: M::V, b: M::V) -> Done<M> {
    let (result, zero) = (m.bin(op, a, b), m.imm(0));
    m.set_flags(FlagKind::Logic, i.width, [result, zero, zero]);
    Ok(())
}

/// `and`
pub fn and<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    logic(m, i, AmoOp::And, Bin::And)
}

/// `or`
pub fn or<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    logic(m, i, AmoOp::Or, Bin::Or)
}

/// `xor`
pub fn xor<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    logic(m, i, AmoOp::Xor, Bin::Xor)
}

/// `test`
pub fn test<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [a, b, ..] = i.operands;
    let (a, b) = (read(m, i, a, i.width)?, read(m, i, b, i.width)?);
    logic_flags(m, i, Bin::And, a, b)
}

fn step<M: X86Machine>(m: &mut M, i: &Insn, kind: FlagKind, by: i64) -> Done<M> {
    let (carry, step, zero) = (m.flag(Flag::Carry), m.imm(by as u64), m.imm(0));
    let a = modify(m, i, (AmoOp::Add, step), |m, a| m.add_imm(a, by))?;
    m.set_flags(kind, i.width, [a, zero, carry]);
    Ok(())
}

/// `inc`
pub fn inc<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    step(m, i, FlagKind::Inc, 1)
}

/// `dec`
pub fn dec<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    step(m, i, FlagKind::Dec, -1)
}

/// `not`: no flags.
pub fn not<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let ones = m.imm(u64::MAX);
    modify(m, i, (AmoOp::Xor, ones), |m, a| m.bin(Bin::Xor, a, ones))?;
    Ok(())
}

/// `neg`: flags of 0 minus the operand.
pub fn neg<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let zero = m.imm(0);
    let a = modify(m, i, (AmoOp::SubFrom, zero), |m, a| m.bin(Bin::Sub, zero, a))?;
    m.set_flags(FlagKind::Sub, i.width, [zero, a, zero]);
    Ok(())
}

/// An addition with carry in and out through one flag, which is the only one that changes.
fn add_through<M: X86Machine>(m: &mut M, i: &Insn, flag: Flag) -> Done<M> {
    let [to, from, ..] = i.operands;
    let b = read(m, i, from, i.width)?;
    let carry = m.flag(flag);
    let (to, a) = update(m, i, to, i.width)?;
    let sum = m.bin(Bin::Add, a, b);
    let sum = m.bin(Bin::Add, sum, carry);
    let sum = low(m, i.width, sum);
    // Carry out of the top: of a and b, or of one of them where the sum has lost the bit.
    let (both, either) = (m.bin(Bin::And, a, b), m.bin(Bin::Or, a, b));
    let absent = m.un(isa_core::Un::Not, sum);
    let passed = m.bin(Bin::And, either, absent);
    let out = m.bin(Bin::Or, both, passed);
    let out = crate::sem::sign(m, i.width, out);
    let out = m.bin_imm(Bin::And, out, 1);
    let out = m.bin_imm(Bin::Shl, out, flag as u64);
    let bits = crate::sem::merged_flags(m, 1 << flag as u8, out);
    write(m, i.width, to, sum)?;
    let zero = m.imm(0);
    m.set_flags(FlagKind::Bits, i.width, [bits, zero, zero]);
    Ok(())
}

/// `adcx`: carries through CF.
pub fn adcx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    add_through(m, i, Flag::Carry)
}

/// `adox`: carries through OF.
pub fn adox<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    add_through(m, i, Flag::Overflow)
}
