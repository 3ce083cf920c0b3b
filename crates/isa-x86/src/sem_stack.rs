//! The stack: SDM volume 2, each under its mnemonic; volume 1, "Stacks".

use crate::sem::{Done, Place, RAX, RBP, RSP, low, offset_with, read, read_reg, reg, write_reg};
use crate::{Insn, Operand, X86Machine, seg, sem_system};
use isa_core::{Bin, Order, Width};

/// The stack's address size, and the stack pointer.
#[inline(always)]
pub(crate) fn stack_pointer<M: X86Machine>(m: &mut M) -> (Width, M::V) {
    let stack = m.stack_width();
    (stack, read_reg(m, stack, reg(RSP)))
}

/// The stack pointer after something of this width has been pushed, and the linear address where it then is.
#[inline(always)]
pub(crate) fn pushed<M: X86Machine>(m: &mut M, width: Width) -> Result<(M::V, M::V), M::Stop> {
    let (stack, sp) = stack_pointer(m);
    let sp = m.add_imm(sp, -(width.bytes() as i64));
    let sp = low(m, stack, sp);
    let va = m.linear(seg::SS, sp, width, true)?;
    Ok((sp, va))
}

/// `push`, also of segment registers. `push rsp` pushes what RSP was.
pub fn push<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [from, ..] = i.operands;
    if matches!(from, Operand::Segment(_)) {
        return sem_system::push_segment(m, i);
    }
    let v = read(m, i, from, i.width)?;
    let (sp, va) = pushed(m, i.width)?;
    m.store(va, i.width, v, Order::Tso)?;
    let stack = m.stack_width();
    write_reg(m, stack, reg(RSP), sp);
    Ok(())
}

/// `pop`, also of segment registers. The address of a memory operand is formed after the stack pointer has moved; what
/// `pop rsp` reads replaces it.
pub fn pop<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, ..] = i.operands;
    if matches!(to, Operand::Segment(_)) {
        return sem_system::pop_segment(m, i);
    }
    let (stack, sp) = stack_pointer(m);
    let va = m.linear(seg::SS, sp, i.width, false)?;
    let v = m.load(va, i.width, Order::Tso)?;
    let sp = m.add_imm(sp, i.width.bytes() as i64);
    let sp = low(m, stack, sp);
    let to = match to {
        Operand::Reg(to) => Place::Reg(to),
        _ => {
            let base = moved(m, stack, sp);
            let offset = offset_with(m, i, 0, Some(base));
            Place::Mem(m.linear(i.mem.segment, offset, i.width, true)?)
        }
    };
    if let Place::Mem(va) = to {
        m.store(va, i.width, v, Order::Tso)?;
    }
    write_reg(m, stack, reg(RSP), sp);
    if let Place::Reg(to) = to {
        write_reg(m, i.width, to, v);
    }
    Ok(())
}

/// All of RSP when its part of stack size is `sp`.
fn moved<M: X86Machine>(m: &mut M, stack: Width, sp: M::V) -> M::V {
    if stack != Width::B2 {
        return sp;
    }
    let old = m.r(RSP);
    let kept = m.bin_imm(Bin::And, old, !stack.mask());
    m.bin(Bin::Or, kept, sp)
}

/// The linear address of the `n`th of several words of `width` from `sp` upwards.
fn slot<M: X86Machine>(m: &mut M, width: Width, sp: M::V, n: i64, write: bool) -> Result<M::V, M::Stop> {
    let stack = m.stack_width();
    let offset = m.add_imm(sp, n * width.bytes() as i64);
    let offset = low(m, stack, offset);
    m.linear(seg::SS, offset, width, write)
}

/// `pusha` and `pushad`: AX, CX, DX, BX, SP as it was, BP, SI, DI.
pub fn pusha<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (stack, sp) = stack_pointer(m);
    let sp = m.add_imm(sp, -(8 * i.width.bytes() as i64));
    let sp = low(m, stack, sp);
    let mut places = [sp; 8];
    for (n, place) in (0..).zip(&mut places) {
        *place = slot(m, i.width, sp, n, true)?;
        // The words are in at most two pages; but which, is not known here.
        m.load_for_update(*place, i.width)?;
    }
    for (n, place) in (0u8..).zip(places) {
        let v = read_reg(m, i.width, reg(7 - n));
        m.store(place, i.width, v, Order::Tso)?;
    }
    write_reg(m, stack, reg(RSP), sp);
    Ok(())
}

/// `popa` and `popad`: DI, SI, BP, nothing, BX, DX, CX, AX.
pub fn popa<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (stack, sp) = stack_pointer(m);
    let mut values = [sp; 8];
    for (n, v) in (0..).zip(&mut values) {
        let va = slot(m, i.width, sp, n, false)?;
        *v = m.load(va, i.width, Order::Tso)?;
    }
    let sp = m.add_imm(sp, 8 * i.width.bytes() as i64);
    let sp = low(m, stack, sp);
    write_reg(m, stack, reg(RSP), sp);
    for (n, v) in (0u8..).zip(values) {
        if n != 7 - RSP {
            write_reg(m, i.width, reg(7 - n), v);
        }
    }
    Ok(())
}

/// `enter`: a frame of `imm` bytes that has pointers to `imm2 % 32` enclosing ones.
///
/// All that may fault is tried before anything is written: the pointers' places, the words that are copied, and, as the
/// manual has it, the top of the new frame.
pub fn enter<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (stack, sp) = stack_pointer(m);
    let (level, width) = (i64::from(i.imm2 % 32), i.width);
    let old = read_reg(m, stack, reg(RBP));
    let pushed = if level == 0 { 1 } else { level + 1 };
    for n in 1..=pushed {
        // In the order in which they happen, so that the first that faults is the one that processors report.
        if (2..pushed).contains(&n) {
            let va = slot(m, width, old, 1 - n, false)?;
            m.load(va, width, Order::Tso)?;
        }
        let va = slot(m, width, sp, -n, true)?;
        m.load_for_update(va, width)?;
    }
    let top = m.add_imm(sp, -(pushed * width.bytes() as i64) - i.imm as i64);
    let top = low(m, stack, top);
    let va = m.linear(seg::SS, top, width, true)?;
    m.load_for_update(va, width)?;
    let frame = m.add_imm(sp, -(width.bytes() as i64));
    let frame = low(m, stack, frame);
    let (saved, va) = (read_reg(m, width, reg(RBP)), slot(m, width, sp, -1, true)?);
    m.store(va, width, saved, Order::Tso)?;
    for n in 1..level {
        let (from, to) = (slot(m, width, old, -n, false)?, slot(m, width, sp, -1 - n, true)?);
        let v = m.load(from, width, Order::Tso)?;
        m.store(to, width, v, Order::Tso)?;
    }
    if level > 0 {
        let to = slot(m, width, sp, -1 - level, true)?;
        m.store(to, width, frame, Order::Tso)?;
    }
    let frame = low(m, width, frame);
    write_reg(m, width, reg(RBP), frame);
    write_reg(m, stack, reg(RSP), top);
    Ok(())
}

/// `leave`
pub fn leave<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let stack = m.stack_width();
    let frame = read_reg(m, stack, reg(RBP));
    let va = m.linear(seg::SS, frame, i.width, false)?;
    let v = m.load(va, i.width, Order::Tso)?;
    let sp = m.add_imm(frame, i.width.bytes() as i64);
    let sp = low(m, stack, sp);
    write_reg(m, stack, reg(RSP), sp);
    write_reg(m, i.width, reg(RBP), v);
    Ok(())
}

/// `bound`: #BR unless the signed index is within the two bounds in memory.
pub fn bound<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [index, ..] = i.operands;
    let index = read(m, i, index, i.width)?;
    let index = crate::sem::signed(m, i.width, index);
    let limit = |m: &mut M, distance| {
        let offset = offset_with(m, i, distance, None);
        let va = m.linear(i.mem.segment, offset, i.width, false)?;
        let v = m.load(va, i.width, Order::Tso)?;
        Ok(crate::sem::signed(m, i.width, v))
    };
    let (lower, upper) = (limit(m, 0)?, limit(m, i.width.bytes() as i64)?);
    let (below, above) = (m.bin(Bin::LtS, index, lower), m.bin(Bin::LtS, upper, index));
    let outside = m.bin(Bin::Or, below, above);
    m.fault_if(outside, crate::Fault::plain(crate::vector::BR))
}

const _: () = assert!(RAX == 0, "`pusha` and `popa` count registers by number");
