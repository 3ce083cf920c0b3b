//! Meanings of far transfers, software interrupts and system calls.

use crate::ops_system::SystemOp;
use crate::ops_system_transfer::TransferOp;
use crate::sem::{Done, address};
use crate::sem_system::{plain, system};
use crate::sem_system_segment::further;
use crate::{Insn, Operand, X86Machine, vector};
use iced_x86::Code;
use isa_core::{Flag, Order, Width};

fn transfer<M: X86Machine>(m: &mut M, op: TransferOp) -> Done<M> {
    plain(m, SystemOp::Transfer(op))?;
    Ok(())
}

/// Width of the offset of a far pointer.
const fn offset_width(code: Code) -> Width {
    match code {
        Code::Jmp_ptr1616 | Code::Call_ptr1616 | Code::Jmp_m1616 | Code::Call_m1616 => Width::B2,
        Code::Jmp_m1664 | Code::Call_m1664 => Width::B8,
        _ => Width::B4,
    }
}

/// Selector and offset of a far jump or call.
fn pointer<M: X86Machine>(m: &mut M, i: &Insn) -> Result<(M::V, M::V), M::Stop> {
    let width = offset_width(i.code);
    let [Operand::Mem, ..] = i.operands else {
        return Ok((m.imm(i.imm2.into()), m.imm(i.imm)));
    };
    let at = address(m, i, width, false)?;
    let offset = m.load(at, width, Order::Tso)?;
    let at = further(m, i, width.bytes() as i64, Width::B2, false)?;
    Ok((m.load(at, Width::B2, Order::Tso)?, offset))
}

/// `jmp` with a selector.
pub(crate) fn jmp_far<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (selector, offset) = pointer(m, i)?;
    system(m, SystemOp::Transfer(TransferOp::Jump), selector, offset)?;
    Ok(())
}

/// `call` with a selector.
pub(crate) fn call_far<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (selector, offset) = pointer(m, i)?;
    system(m, SystemOp::Transfer(TransferOp::Call(offset_width(i.code))), selector, offset)?;
    Ok(())
}

/// `ret` with a selector.
pub fn retf<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (bytes, none) = (m.imm(i.imm), m.imm(0));
    system(m, SystemOp::Transfer(TransferOp::Return(i.width)), bytes, none)?;
    Ok(())
}

/// `iret`
pub fn iret<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::InterruptReturn(Width::B2))
}

/// `iretd`
pub fn iretd<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::InterruptReturn(Width::B4))
}

/// `iretq`
pub fn iretq<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::InterruptReturn(Width::B8))
}

/// `int n`
pub fn int<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    transfer(m, TransferOp::Interrupt(i.imm as u8))
}

/// `int3`
pub fn int3<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::Interrupt(vector::BP))
}

/// `into`
pub fn into<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let (overflow, none) = (m.flag(Flag::Overflow), m.imm(0));
    system(m, SystemOp::Transfer(TransferOp::Overflow), overflow, none)?;
    Ok(())
}

/// `int1`
pub fn int1<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::Debug)
}

/// `syscall`
pub fn syscall<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::SystemCall)
}

/// `sysret` to 32-bit code
pub fn sysret<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::SystemReturn(Width::B4))
}

/// `sysret` to 64-bit code
pub fn sysretq<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::SystemReturn(Width::B8))
}

/// `sysenter`
pub fn sysenter<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::SystemEnter)
}

/// `sysexit` to 32-bit code
pub fn sysexit<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::SystemExit(Width::B4))
}

/// `sysexit` to 64-bit code
pub fn sysexitq<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    transfer(m, TransferOp::SystemExit(Width::B8))
}
