//! Meanings of the system instructions: control, information, ports, x87 state. All are named operations; what is left
//! here is where their operands are.

use crate::ops::Op;
use crate::ops_system::SystemOp;
use crate::ops_system_control::ControlOp;
use crate::ops_system_fpu::FpuOp;
use crate::ops_system_info::InfoOp;
use crate::ops_system_io::{IoOp, PortString};
use crate::sem::{
    Done, Place, RAX, RCX, RDX, address, low, offset, place, read, read_reg, reg, write, write_reg,
};
use crate::{Insn, Mode, Operand, X86Machine};
use iced_x86::Code;
use isa_core::{Bin, Order, Width};

pub use crate::sem_system_segment::*;
pub use crate::sem_system_transfer::*;

/// A system operation with up to two arguments.
pub(crate) fn system<M: X86Machine>(m: &mut M, op: SystemOp, a: M::V, b: M::V) -> Result<M::V, M::Stop> {
    let none = m.imm(0);
    m.call(Op::System(op), [a, b, none, none])
}

/// A system operation without arguments.
pub(crate) fn plain<M: X86Machine>(m: &mut M, op: SystemOp) -> Result<M::V, M::Stop> {
    let none = m.imm(0);
    system(m, op, none, none)
}

fn control<M: X86Machine>(m: &mut M, op: ControlOp) -> Done<M> {
    plain(m, SystemOp::Control(op))?;
    Ok(())
}

/// Writes a 16-bit value: all of a register operand, zero-extended; 16 bits of memory.
pub(crate) fn write_word<M: X86Machine>(m: &mut M, i: &Insn, v: M::V) -> Done<M> {
    let [to, ..] = i.operands;
    let width = if to == Operand::Mem { Width::B2 } else { i.width };
    let to = place(m, i, to, width)?;
    let v = low(m, width, v);
    write(m, width, to, v)
}

/// `mov` from or to a segment, control or debug register.
pub(crate) fn mov_system<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let wide = if m.mode() == Mode::Bits64 { Width::B8 } else { Width::B4 };
    let none = m.imm(0);
    let (op, other) = match i.operands {
        [Operand::Segment(_), ..] | [_, Operand::Segment(_), ..] => return mov_segment(m, i),
        [Operand::Control(n), other, ..] => (ControlOp::Write(n), other),
        [Operand::Debug(n), other, ..] => (ControlOp::WriteDebug(n), other),
        [other, Operand::Control(n), ..] => (ControlOp::Read(n), other),
        [other, Operand::Debug(n), ..] => (ControlOp::ReadDebug(n), other),
        _ => return Ok(()),
    };
    if matches!(op, ControlOp::Write(_) | ControlOp::WriteDebug(_)) {
        let v = read(m, i, other, wide)?;
        system(m, SystemOp::Control(op), v, none)?;
        return Ok(());
    }
    let v = plain(m, SystemOp::Control(op))?;
    let (v, to) = (low(m, wide, v), place(m, i, other, wide)?);
    write(m, wide, to, v)
}

/// `hlt`
pub fn hlt<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::Halt)
}

/// `clts`
pub fn clts<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::ClearTaskSwitched)
}

/// `cli`
pub fn cli<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::Interrupts(false))
}

/// `sti`
pub fn sti<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::Interrupts(true))
}

/// `clac`
pub fn clac<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::AlignmentCheck(false))
}

/// `stac`
pub fn stac<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::AlignmentCheck(true))
}

/// `invd`, `wbinvd`
pub fn caches<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::Caches)
}

/// `serialize`
pub fn serialize<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    control(m, ControlOp::Serialize)
}

/// `pushf`, `pushfd`, `pushfq`
pub fn pushf<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    control(m, ControlOp::PushFlags(i.width))
}

/// `popf`, `popfd`, `popfq`
pub fn popf<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    control(m, ControlOp::PopFlags(i.width))
}

/// `smsw`
pub fn smsw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = plain(m, SystemOp::Control(ControlOp::StoreStatusWord))?;
    write_word(m, i, v)
}

/// `lmsw`
pub fn lmsw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    control(m, ControlOp::Privileged)?;
    let [from, ..] = i.operands;
    let (v, none) = (read(m, i, from, Width::B2)?, m.imm(0));
    system(m, SystemOp::Control(ControlOp::LoadStatusWord), v, none)?;
    Ok(())
}

/// `invlpg`: the operand is an address; nothing is accessed.
pub fn invlpg<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (segment, offset) = (m.imm(i.mem.segment.into()), offset(m, i));
    system(m, SystemOp::Control(ControlOp::InvalidatePage), segment, offset)?;
    Ok(())
}

/// `invpcid`
pub fn invpcid<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    control(m, ControlOp::Privileged)?;
    let wide = if m.mode() == Mode::Bits64 { Width::B8 } else { Width::B4 };
    let [kind, ..] = i.operands;
    let kind = read(m, i, kind, wide)?;
    let at = address(m, i, Width::B8, false)?;
    system(m, SystemOp::Control(ControlOp::InvalidatePcid), kind, at)?;
    Ok(())
}

fn info<M: X86Machine>(m: &mut M, op: InfoOp) -> Result<M::V, M::Stop> {
    plain(m, SystemOp::Info(op))
}

/// `cpuid`
pub fn cpuid<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    info(m, InfoOp::Identify)?;
    Ok(())
}

/// `rdtsc`
pub fn rdtsc<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = info(m, InfoOp::ReadTsc)?;
    let (lower, upper) = (low(m, Width::B4, v), m.bin_imm(Bin::ShrU, v, 32));
    m.set_r(RAX, lower);
    m.set_r(RDX, upper);
    Ok(())
}

/// `rdtscp`
pub fn rdtscp<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    rdtsc(m, i)?;
    let v = info(m, InfoOp::ReadTscAux)?;
    m.set_r(RCX, v);
    Ok(())
}

/// `rdpid`
pub fn rdpid<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = info(m, InfoOp::ReadTscAux)?;
    if let [Operand::Reg(to), ..] = i.operands {
        m.set_r(to.n, v);
    }
    Ok(())
}

/// `rdpmc`
pub fn rdpmc<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    info(m, InfoOp::ReadCounter)?;
    Ok(())
}

/// `rdmsr`
pub fn rdmsr<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    info(m, InfoOp::ReadMsr)?;
    Ok(())
}

/// `wrmsr`
pub fn wrmsr<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    info(m, InfoOp::WriteMsr)?;
    Ok(())
}

/// `in`
pub fn in_<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [_, port, ..] = i.operands;
    let (port, none) = (read(m, i, port, Width::B2)?, m.imm(0));
    let v = system(m, SystemOp::Io(IoOp::In(i.width)), port, none)?;
    write_reg(m, i.width, reg(RAX), v);
    Ok(())
}

/// `out`: the width is that of the second operand.
pub fn out<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let width = match i.code {
        Code::Out_imm8_AL | Code::Out_DX_AL => Width::B1,
        Code::Out_imm8_AX | Code::Out_DX_AX => Width::B2,
        _ => Width::B4,
    };
    let [port, ..] = i.operands;
    let port = read(m, i, port, Width::B2)?;
    let v = read_reg(m, width, reg(RAX));
    system(m, SystemOp::Io(IoOp::Out(width)), port, v)?;
    Ok(())
}

fn port_string<M: X86Machine>(m: &mut M, i: &Insn, width: Width, op: fn(PortString) -> IoOp) -> Done<M> {
    let rep = i.prefixes.rep || i.prefixes.repne;
    let form = PortString { width, address: i.address, segment: i.mem.segment, rep };
    plain(m, SystemOp::Io(op(form)))?;
    Ok(())
}

/// `insb`
pub fn insb<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    port_string(m, i, Width::B1, IoOp::Ins)
}

/// `insw`
pub fn insw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    port_string(m, i, Width::B2, IoOp::Ins)
}

/// `insd`
pub fn insd<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    port_string(m, i, Width::B4, IoOp::Ins)
}

/// `outsb`
pub fn outsb<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    port_string(m, i, Width::B1, IoOp::Outs)
}

/// `outsw`
pub fn outsw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    port_string(m, i, Width::B2, IoOp::Outs)
}

/// `outsd`
pub fn outsd<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    port_string(m, i, Width::B4, IoOp::Outs)
}

fn fpu<M: X86Machine>(m: &mut M, op: FpuOp) -> Result<M::V, M::Stop> {
    plain(m, SystemOp::Fpu(op))
}

/// `fninit`
pub fn fninit<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    fpu(m, FpuOp::Init)?;
    Ok(())
}

/// `fnclex`
pub fn fnclex<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    fpu(m, FpuOp::ClearExceptions)?;
    Ok(())
}

/// `wait`
pub fn wait<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    fpu(m, FpuOp::Wait)?;
    Ok(())
}

/// `fnstcw`
pub fn fnstcw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = fpu(m, FpuOp::StoreControl)?;
    let va = address(m, i, Width::B2, true)?;
    m.store(va, Width::B2, v, Order::Tso)
}

/// `fnstsw`
pub fn fnstsw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = fpu(m, FpuOp::StoreStatus)?;
    let [to, ..] = i.operands;
    let to = place(m, i, to, Width::B2)?;
    write(m, Width::B2, to, v)
}

/// `fldcw`
pub fn fldcw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    fpu(m, FpuOp::StoreControl)?;
    let va = address(m, i, Width::B2, false)?;
    let (v, none) = (m.load(va, Width::B2, Order::Tso)?, m.imm(0));
    system(m, SystemOp::Fpu(FpuOp::LoadControl), v, none)?;
    Ok(())
}

fn area<M: X86Machine>(m: &mut M, i: &Insn, op: FpuOp, write: bool) -> Done<M> {
    let none = m.imm(0);
    let va = address(m, i, Width::B8, write)?;
    system(m, SystemOp::Fpu(op), va, none)?;
    Ok(())
}

/// `fxsave`
pub fn fxsave<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    area(m, i, FpuOp::Save(false), true)
}

/// `fxsave64`
pub fn fxsave64<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    area(m, i, FpuOp::Save(true), true)
}

/// `fxrstor`
pub fn fxrstor<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    area(m, i, FpuOp::Restore(false), false)
}

/// `fxrstor64`
pub fn fxrstor64<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    area(m, i, FpuOp::Restore(true), false)
}

/// `ldmxcsr`
pub fn ldmxcsr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    fpu(m, FpuOp::CheckMxcsr)?;
    let va = address(m, i, Width::B4, false)?;
    let (v, none) = (m.load(va, Width::B4, Order::Tso)?, m.imm(0));
    system(m, SystemOp::Fpu(FpuOp::LoadMxcsr), v, none)?;
    Ok(())
}

/// `stmxcsr`
pub fn stmxcsr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = fpu(m, FpuOp::StoreMxcsr)?;
    let va = address(m, i, Width::B4, true)?;
    write(m, Width::B4, Place::Mem(va), v)
}
