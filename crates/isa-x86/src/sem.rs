//! The meanings of all rows, one function a mnemonic, and the shapes that several share.
//!
//! A meaning reads registers, then touches memory, then writes registers, then flags.

use crate::{Insn, Operand, Reg, X86Machine};
use isa_core::{AmoOp, Bin, Machine, Order, Un, Width};

pub use crate::sem_arithmetic::*;
pub use crate::sem_bit_string::*;
pub use crate::sem_bits::*;
pub use crate::sem_branch::*;
pub use crate::sem_condition::*;
pub use crate::sem_decimal::*;
pub use crate::sem_exchange::*;
pub use crate::sem_flags::*;
pub use crate::sem_move::*;
pub use crate::sem_multiply::*;
pub use crate::sem_shift::*;
pub use crate::sem_stack::*;
pub use crate::sem_string::*;
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

/// `v` sign-extended from `width`.
#[inline(always)]
pub(crate) fn signed<M: Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    match width {
        Width::B1 => m.un(Un::Sext8, v),
        Width::B2 => m.un(Un::Sext16, v),
        Width::B4 => m.un(Un::Sext32, v),
        Width::B8 => v,
    }
}

/// The top bit of `v`, which has no bits above the width.
#[inline(always)]
pub(crate) fn sign<M: Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    m.bin_imm(Bin::ShrU, v, bits(width) - 1)
}

/// Bits of a width.
#[inline(always)]
pub(crate) const fn bits(width: Width) -> u64 {
    8 * width.bytes()
}

/// The offset of the memory operand in its segment.
#[inline(always)]
pub(crate) fn offset<M: X86Machine>(m: &mut M, insn: &Insn) -> M::V {
    offset_with(m, insn, 0, None)
}

/// The same with `distance` added, and a stack pointer that differs from the register's if there is one.
#[inline(always)]
pub(crate) fn offset_with<M: X86Machine>(m: &mut M, insn: &Insn, distance: i64, stack: Option<M::V>) -> M::V {
    use crate::Mem;
    let mem = insn.mem;
    let displacement = mem.displacement.wrapping_add(distance);
    let base = match (mem.base, stack) {
        (Mem::NONE, _) => None,
        (Mem::RIP, _) => Some(m.next_pc()),
        (RSP, Some(stack)) => Some(stack),
        (r, _) => Some(m.r(r)),
    };
    let index = (mem.index != Mem::NONE).then(|| {
        let index = m.r(mem.index);
        if mem.scale == 0 { index } else { m.bin_imm(Bin::Shl, index, mem.scale.into()) }
    });
    let sum = match (base, index) {
        (Some(base), Some(index)) => m.bin(Bin::Add, base, index),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return m.imm(displacement as u64 & mem.address.mask()),
    };
    let sum = if displacement == 0 { sum } else { m.add_imm(sum, displacement) };
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

/// Numbers of general registers.
pub(crate) const RAX: u8 = 0;
/// RCX
pub(crate) const RCX: u8 = 1;
/// RDX
pub(crate) const RDX: u8 = 2;
/// RBX
pub(crate) const RBX: u8 = 3;
/// RSP
pub(crate) const RSP: u8 = 4;
/// RBP
pub(crate) const RBP: u8 = 5;

/// A general register as an operand, not its bits 15:8.
pub(crate) const fn reg(n: u8) -> Reg {
    Reg { n, high: false }
}

/// Reads an operand `width` wide, zero-extended.
#[inline(always)]
pub(crate) fn read<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    operand: Operand,
    width: Width,
) -> Result<M::V, M::Stop> {
    match operand {
        Operand::Reg(reg) => Ok(read_reg(m, width, reg)),
        Operand::Mem => {
            let va = address(m, i, width, false)?;
            m.load(va, width, Order::Tso)
        }
        Operand::Imm2 => Ok(m.imm(i.imm2.into())),
        // No row has others here.
        _ => Ok(m.imm(i.imm & width.mask())),
    }
}

/// Where an operand is written.
#[derive(Clone, Copy)]
pub(crate) enum Place<V> {
    /// A register.
    Reg(Reg),
    /// Memory at this linear address.
    Mem(V),
}

/// The place of an operand that is only written.
#[inline(always)]
pub(crate) fn place<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    operand: Operand,
    width: Width,
) -> Result<Place<M::V>, M::Stop> {
    match operand {
        Operand::Reg(reg) => Ok(Place::Reg(reg)),
        _ => Ok(Place::Mem(address(m, i, width, true)?)),
    }
}

/// A place, and what is there.
pub(crate) type Placed<M> = (Place<<M as Machine>::V>, <M as Machine>::V);

/// The place and the value of an operand that is read and written.
#[inline(always)]
pub(crate) fn update<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    operand: Operand,
    width: Width,
) -> Result<Placed<M>, M::Stop> {
    match place(m, i, operand, width)? {
        Place::Reg(reg) => Ok((Place::Reg(reg), read_reg(m, width, reg))),
        Place::Mem(va) => Ok((Place::Mem(va), m.load_for_update(va, width)?)),
    }
}

/// Writes a value, which has no bits above the width, to its place.
#[inline(always)]
pub(crate) fn write<M: X86Machine>(m: &mut M, width: Width, to: Place<M::V>, v: M::V) -> Done<M> {
    match to {
        Place::Reg(reg) => {
            write_reg(m, width, reg, v);
            Ok(())
        }
        Place::Mem(va) => m.store(va, width, v, Order::Tso),
    }
}

/// Replaces the first operand by `new` of it, which with LOCK is the atomic operation `op` with operand `by` on memory.
/// Gives what it was.
#[inline(always)]
pub(crate) fn modify<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    (op, by): (AmoOp, M::V),
    new: impl FnOnce(&mut M, M::V) -> M::V,
) -> Result<M::V, M::Stop> {
    let [to, ..] = i.operands;
    if i.prefixes.lock {
        let va = address(m, i, i.width, true)?;
        let old = m.amo(op, va, i.width, by, Order::Both)?;
        return Ok(low(m, i.width, old));
    }
    let (to, old) = update(m, i, to, i.width)?;
    let v = new(m, old);
    let v = low(m, i.width, v);
    write(m, i.width, to, v)?;
    Ok(old)
}

/// The status flags where `clear` has no bits, and `set` where it has.
#[inline(always)]
pub(crate) fn merged_flags<M: X86Machine>(m: &mut M, clear: u64, set: M::V) -> M::V {
    let old = m.status();
    let kept = m.bin_imm(Bin::And, old, !clear);
    m.bin(Bin::Or, kept, set)
}
