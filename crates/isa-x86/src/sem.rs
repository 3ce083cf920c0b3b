//! The meanings of all rows, one function a mnemonic, and the shapes that several share.
//!
//! A meaning reads registers, then touches memory, then writes registers, then flags.

use crate::{Insn, Operand, Reg, X86Machine};
use isa_core::{Bin, FlagKind, Machine, Order, Width};

pub use crate::sem_system::*;

/// What a meaning gives: nothing, or why it stopped.
pub type Done<M> = Result<(), <M as Machine>::Stop>;

/// `v` truncated to `width`.
#[inline(always)]
pub(crate) fn low<M: Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    match width {
        Width::B8 => v,
        _ => m.bin_imm(Bin::And, v, width.mask()),
    }
}

/// Reads a register, zero-extended from the width.
#[inline(always)]
pub(crate) fn read_reg<M: X86Machine>(m: &mut M, width: Width, reg: Reg) -> M::V {
    let v = m.r(reg.n);
    let v = if reg.high { m.bin_imm(Bin::ShrU, v, 8) } else { v };
    low(m, width, v)
}

/// Writes a register: 32 bits clear the rest, 8 and 16 keep it (SDM volume 1, "General-Purpose Registers in 64-Bit
/// Mode"). `v` has no bits above the width.
#[inline(always)]
pub(crate) fn write_reg<M: X86Machine>(m: &mut M, width: Width, reg: Reg, v: M::V) {
    let v = match width {
        Width::B4 | Width::B8 => v,
        _ => {
            let shift = if reg.high { 8 } else { 0 };
            let old = m.r(reg.n);
            let kept = m.bin_imm(Bin::And, old, !(width.mask() << shift));
            let v = m.bin_imm(Bin::Shl, v, shift);
            m.bin(Bin::Or, kept, v)
        }
    };
    m.set_r(reg.n, v);
}

/// The offset of the memory operand in its segment.
#[inline(always)]
pub(crate) fn offset<M: X86Machine>(m: &mut M, insn: &Insn) -> M::V {
    use crate::Mem;
    let mem = insn.mem;
    let base = match mem.base {
        Mem::NONE => None,
        Mem::RIP => Some(m.next_pc()),
        r => Some(m.r(r)),
    };
    let index = (mem.index != Mem::NONE).then(|| {
        let index = m.r(mem.index);
        if mem.scale == 0 { index } else { m.bin_imm(Bin::Shl, index, mem.scale.into()) }
    });
    let sum = match (base, index) {
        (Some(base), Some(index)) => m.bin(Bin::Add, base, index),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => {
            let k = m.imm(mem.displacement as u64 & mem.address.mask());
            return k;
        }
    };
    let sum = if mem.displacement == 0 { sum } else { m.add_imm(sum, mem.displacement) };
    low(m, mem.address, sum)
}

/// The linear address of the memory operand.
#[inline(always)]
pub(crate) fn address<M: X86Machine>(
    m: &mut M,
    insn: &Insn,
    width: Width,
    write: bool,
) -> Result<M::V, M::Stop> {
    let offset = offset(m, insn);
    m.linear(insn.mem.segment, offset, width, write)
}

/// `add`: `to = to + from`, all six flags (SDM volume 2, "ADD").
pub fn add<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, from, ..] = i.operands;
    let (Operand::Reg(to), Operand::Reg(from)) = (to, from) else {
        let va = address(m, i, i.width, true)?;
        let _ = m.load(va, i.width, Order::Tso)?;
        return Ok(());
    };
    let (a, b) = (read_reg(m, i.width, to), read_reg(m, i.width, from));
    let sum = m.bin(Bin::Add, a, b);
    let sum = low(m, i.width, sum);
    write_reg(m, i.width, to, sum);
    let zero = m.imm(0);
    m.set_flags(FlagKind::Add, i.width, [a, b, zero]);
    Ok(())
}
