//! Flags, fences, hints, and what does nothing: SDM volume 2, each under its mnemonic.

use crate::ops_memory::MemoryOp;
use crate::sem::{Done, RAX, address, merged_flags, read_reg, write_reg};
use crate::{Fault, Insn, Op, Reg, X86Machine, rflags};
use isa_core::{Bin, Flag, FlagKind, Order, Width};

const AH: Reg = Reg { n: RAX, high: true };

/// Sets the flags of `which` as `v` has them.
fn set<M: X86Machine>(m: &mut M, which: u64, v: M::V) -> Done<M> {
    let v = m.bin_imm(Bin::And, v, which);
    let (all, zero) = (merged_flags(m, which, v), m.imm(0));
    m.set_flags(FlagKind::Bits, Width::B8, [all, zero, zero]);
    Ok(())
}

/// `clc`
pub fn clc<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = m.imm(0);
    set(m, rflags::CF, v)
}

/// `stc`
pub fn stc<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = m.imm(rflags::CF);
    set(m, rflags::CF, v)
}

/// `cmc`
pub fn cmc<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = m.flag(Flag::Carry);
    let v = m.bin_imm(Bin::Xor, v, rflags::CF);
    set(m, rflags::CF, v)
}

/// `cld`
pub fn cld<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = m.imm(0);
    m.set_direction(v);
    Ok(())
}

/// `std`
pub fn std<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = m.imm(1);
    m.set_direction(v);
    Ok(())
}

/// `lahf`: bit 1 is 1, as in RFLAGS.
pub fn lahf<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = m.status();
    let v = m.bin_imm(Bin::And, v, 0xff);
    let v = m.bin_imm(Bin::Or, v, rflags::FIXED);
    write_reg(m, Width::B1, AH, v);
    Ok(())
}

/// `sahf`: all but OF.
pub fn sahf<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let v = read_reg(m, Width::B1, AH);
    set(m, rflags::STATUS & !rflags::OF, v)
}

/// `nop` and what is reserved to do nothing (`endbr`, prefetches): operands are not touched.
pub fn nop<M: X86Machine>(_: &mut M, _: &Insn) -> Done<M> {
    Ok(())
}

/// `lfence`, `mfence`, `sfence`
pub fn fence<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    m.fence(Order::Both);
    Ok(())
}

/// `pause`
pub fn pause<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    let none = m.imm(0);
    m.call(Op::Memory(MemoryOp::Pause), [none; 4])?;
    Ok(())
}

/// `clflush`, `clflushopt`, `clwb`: for access rights they are loads of a byte; there is no cache.
pub fn flush_line<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let (va, none) = (address(m, i, Width::B1, false)?, m.imm(0));
    m.call(Op::Memory(MemoryOp::Probe), [va, none, none, none])?;
    Ok(())
}

/// `ud0`, `ud1`, `ud2`
pub fn ud<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    Err(m.fault(Fault::ud()))
}
