//! Near branches, calls and returns: SDM volume 2, each under its mnemonic.
//!
//! A target is truncated to the operand size, which in 64-bit mode is always 64 bits.

use crate::sem::{Done, RCX, RSP, low, read, read_reg, reg, write_reg};
use crate::sem_stack::{pushed, stack_pointer};
use crate::{Insn, Operand, X86Machine, seg, sem_system};
use iced_x86::Code;
use isa_core::{Bin, Flag, Order, Width};

/// The target: relative to the next instruction, or the operand's value.
#[inline(always)]
pub(crate) fn target<M: X86Machine>(m: &mut M, i: &Insn) -> Result<M::V, M::Stop> {
    let [to, ..] = i.operands;
    if to != Operand::Imm {
        return read(m, i, to, i.width);
    }
    let next = m.next_pc();
    let target = m.add_imm(next, i.imm as i64);
    Ok(low(m, i.width, target))
}

/// A `jmp` or `call` with a selector.
const fn is_far(code: Code) -> bool {
    matches!(
        code,
        Code::Jmp_ptr1616
            | Code::Jmp_ptr1632
            | Code::Jmp_m1616
            | Code::Jmp_m1632
            | Code::Jmp_m1664
            | Code::Call_ptr1616
            | Code::Call_ptr1632
            | Code::Call_m1616
            | Code::Call_m1632
            | Code::Call_m1664
    )
}

/// `jmp`
pub fn jmp<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    if is_far(i.code) {
        return sem_system::jmp_far(m, i);
    }
    let target = target(m, i)?;
    m.jump(target)
}

/// `call`: the push may fault, then the jump. What a refused jump leaves is a word below the stack pointer, on processors
/// too.
pub fn call<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    if is_far(i.code) {
        return sem_system::call_far(m, i);
    }
    let target = target(m, i)?;
    let (back, width) = (m.next_pc(), i.width);
    let (sp, va) = pushed(m, width)?;
    m.store(va, width, back, Order::Tso)?;
    m.jump(target)?;
    let stack = m.stack_width();
    write_reg(m, stack, reg(RSP), sp);
    Ok(())
}

/// `ret`: the immediate is what the stack shrinks by besides.
pub fn ret<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (stack, sp) = stack_pointer(m);
    let va = m.linear(seg::SS, sp, i.width, false)?;
    let target = m.load(va, i.width, Order::Tso)?;
    m.jump(target)?;
    let sp = m.add_imm(sp, (i.width.bytes() + i.imm) as i64);
    let sp = low(m, stack, sp);
    write_reg(m, stack, reg(RSP), sp);
    Ok(())
}

/// Jumps if rCX of this width is 0.
fn jump_if_zero<M: X86Machine>(m: &mut M, i: &Insn, width: Width) -> Done<M> {
    let (count, zero) = (read_reg(m, width, reg(RCX)), m.imm(0));
    let taken = m.bin(Bin::Eq, count, zero);
    let target = target(m, i)?;
    m.jump_if(taken, target)
}

/// `jcxz`
pub fn jcxz<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    jump_if_zero(m, i, Width::B2)
}

/// `jecxz`
pub fn jecxz<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    jump_if_zero(m, i, Width::B4)
}

/// `jrcxz`
pub fn jrcxz<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    jump_if_zero(m, i, Width::B8)
}

/// Counts rCX of address size down; jumps unless it is 0 now, and if `also`.
fn count_down<M: X86Machine>(m: &mut M, i: &Insn, also: impl FnOnce(&mut M) -> Option<M::V>) -> Done<M> {
    let count = read_reg(m, i.address, reg(RCX));
    let count = m.add_imm(count, -1);
    let (count, zero) = (low(m, i.address, count), m.imm(0));
    let left = m.bin(Bin::Ne, count, zero);
    let taken = match also(m) {
        None => left,
        Some(condition) => m.bin(Bin::And, left, condition),
    };
    let target = target(m, i)?;
    m.jump_if(taken, target)?;
    write_reg(m, i.address, reg(RCX), count);
    Ok(())
}

/// `loop`
pub fn loop_<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    count_down(m, i, |_| None)
}

/// `loope`
pub fn loope<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    count_down(m, i, |m| Some(m.flag(Flag::Zero)))
}

/// `loopne`
pub fn loopne<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    count_down(m, i, |m| {
        let zero = m.flag(Flag::Zero);
        Some(m.bin_imm(Bin::Xor, zero, 1))
    })
}
