//! Exchanges: SDM volume 2, each under its mnemonic.

use crate::ops_memory::MemoryOp;
use crate::sem::{
    Done, Place, RAX, RBX, RCX, RDX, address, low, merged_flags, modify, place, read_reg, reg, update,
    write_reg,
};
use crate::{Insn, Op, Operand, Reg, X86Machine};
use isa_core::{AmoOp, Bin, Flag, FlagKind, Order, Width};

/// `xchg`: with memory it is atomic, with or without LOCK.
pub fn xchg<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, from, ..] = i.operands;
    let (to, from) = match (to, from) {
        (to, Operand::Reg(from)) => (to, from),
        (Operand::Reg(to), from) => (from, to),
        _ => return Ok(()), // no row has two memory operands
    };
    let b = read_reg(m, i.width, from);
    let a = match place(m, i, to, i.width)? {
        Place::Reg(to) => {
            let a = read_reg(m, i.width, to);
            write_reg(m, i.width, to, b);
            a
        }
        Place::Mem(va) => {
            let a = m.amo(AmoOp::Swap, va, i.width, b, Order::Both)?;
            low(m, i.width, a)
        }
    };
    write_reg(m, i.width, from, a);
    Ok(())
}

/// `xadd`: where both operands are one register, the sum stays.
pub fn xadd<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, Operand::Reg(from), ..] = i.operands else { return Ok(()) };
    let (b, zero) = (read_reg(m, i.width, from), m.imm(0));
    let a = match to {
        Operand::Reg(to) => {
            let a = read_reg(m, i.width, to);
            let sum = m.bin(Bin::Add, a, b);
            let sum = low(m, i.width, sum);
            write_reg(m, i.width, from, a);
            write_reg(m, i.width, to, sum);
            a
        }
        _ => {
            let a = modify(m, i, (AmoOp::Add, b), |m, a| m.bin(Bin::Add, a, b))?;
            write_reg(m, i.width, from, a);
            a
        }
    };
    m.set_flags(FlagKind::Add, i.width, [a, b, zero]);
    Ok(())
}

/// What register `to` is after `write_reg` of `v` to it, if `condition`; else what it is.
fn write_if<M: X86Machine>(m: &mut M, condition: M::V, width: Width, to: Reg, v: M::V) {
    let old = m.r(to.n);
    write_reg(m, width, to, v);
    let new = m.r(to.n);
    let v = m.select(condition, new, old);
    m.set_r(to.n, v);
}

/// `cmpxchg`: memory is written in either case, a register only with the new value (so that 32 bits clear the rest then
/// and only then, as on processors).
pub fn cmpxchg<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, Operand::Reg(from), ..] = i.operands else { return Ok(()) };
    let (expected, new, zero) = (read_reg(m, i.width, reg(RAX)), read_reg(m, i.width, from), m.imm(0));
    let old = if i.prefixes.lock {
        let va = address(m, i, i.width, true)?;
        m.compare_exchange(va, i.width, expected, new)?
    } else {
        let (to, old) = update(m, i, to, i.width)?;
        let equal = m.bin(Bin::Eq, old, expected);
        match to {
            Place::Reg(to) => write_if(m, equal, i.width, to, new),
            Place::Mem(va) => {
                let v = m.select(equal, new, old);
                m.store(va, i.width, v, Order::Tso)?;
            }
        }
        old
    };
    let differs = m.bin(Bin::Ne, old, expected);
    write_if(m, differs, i.width, reg(RAX), old);
    m.set_flags(FlagKind::Sub, i.width, [expected, old, zero]);
    Ok(())
}

/// `cmpxchg8b`: only ZF changes.
pub fn cmpxchg8b<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let pair = |m: &mut M, high, low| {
        let (high, low) = (read_reg(m, Width::B4, reg(high)), read_reg(m, Width::B4, reg(low)));
        let high = m.bin_imm(Bin::Shl, high, 32);
        m.bin(Bin::Or, high, low)
    };
    let (expected, new) = (pair(m, RDX, RAX), pair(m, RCX, RBX));
    let va = address(m, i, Width::B8, true)?;
    let old = if i.prefixes.lock {
        m.compare_exchange(va, Width::B8, expected, new)?
    } else {
        let old = m.load_for_update(va, Width::B8)?;
        let equal = m.bin(Bin::Eq, old, expected);
        let v = m.select(equal, new, old);
        m.store(va, Width::B8, v, Order::Tso)?;
        old
    };
    let (differs, equal) = (m.bin(Bin::Ne, old, expected), m.bin(Bin::Eq, old, expected));
    let (high, half) = (m.bin_imm(Bin::ShrU, old, 32), low(m, Width::B4, old));
    write_if(m, differs, Width::B4, reg(RAX), half);
    write_if(m, differs, Width::B4, reg(RDX), high);
    let zero = m.bin_imm(Bin::Shl, equal, Flag::Zero as u64);
    let bits = merged_flags(m, 1 << Flag::Zero as u8, zero);
    let zero = m.imm(0);
    m.set_flags(FlagKind::Bits, i.width, [bits, zero, zero]);
    Ok(())
}

/// `cmpxchg16b`: with or without LOCK the same. Not in one step to other processors (see `cpuid`).
pub fn cmpxchg16b<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (va, zero) = (address(m, i, Width::B8, true)?, m.imm(0));
    m.call(Op::Memory(MemoryOp::CompareExchange16), [va, zero, zero, zero])?;
    Ok(())
}
