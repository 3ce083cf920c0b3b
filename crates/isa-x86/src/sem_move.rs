//! Moves, extensions, addresses: SDM volume 2, each under its mnemonic.

use crate::sem::{
    Done, RAX, RBX, RDX, bits, low, offset, place, read, read_reg, reg, signed, write, write_reg,
};
use crate::{Insn, Operand, X86Machine, sem_system};
use isa_core::{Bin, Order, Un, Width};

/// `mov`, also of segment, control and debug registers.
pub fn mov<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    use Operand::{Control, Debug, Segment};
    let [to, from, ..] = i.operands;
    if matches!((to, from), (Segment(_) | Control(_) | Debug(_), _) | (_, Segment(_) | Control(_) | Debug(_)))
    {
        return sem_system::mov_system(m, i);
    }
    let v = read(m, i, from, i.width)?;
    let to = place(m, i, to, i.width)?;
    write(m, i.width, to, v)
}

/// `movzx`
pub fn movzx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, from, ..] = i.operands;
    let v = read(m, i, from, i.source)?;
    let to = place(m, i, to, i.width)?;
    write(m, i.width, to, v)
}

/// `movsx` and `movsxd`
pub fn movsx<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, from, ..] = i.operands;
    let v = read(m, i, from, i.source)?;
    let v = signed(m, i.source, v);
    let v = low(m, i.width, v);
    let to = place(m, i, to, i.width)?;
    write(m, i.width, to, v)
}

/// Bytes of a value of this width in reverse order.
fn reversed<M: X86Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    let v = m.un(Un::ByteSwap, v);
    m.bin_imm(Bin::ShrU, v, 64 - bits(width))
}

/// `movbe`
pub fn movbe<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, from, ..] = i.operands;
    let v = read(m, i, from, i.width)?;
    let v = reversed(m, i.width, v);
    let to = place(m, i, to, i.width)?;
    write(m, i.width, to, v)
}

/// `bswap`: of 16 bits, which the manual leaves undefined, it makes 0, as processors do.
pub fn bswap<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, ..] = i.operands;
    let v = read(m, i, to, i.width)?;
    let v = if i.width == Width::B2 { m.imm(0) } else { reversed(m, i.width, v) };
    let to = place(m, i, to, i.width)?;
    write(m, i.width, to, v)
}

/// `lea`: the offset, truncated to the operand size.
pub fn lea<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, ..] = i.operands;
    let v = offset(m, i);
    let v = low(m, i.width, v);
    let to = place(m, i, to, i.width)?;
    write(m, i.width, to, v)
}

/// rAX from its lower half of width `half`, sign-extended.
fn extend<M: X86Machine>(m: &mut M, half: Width, whole: Width) -> Done<M> {
    let v = read_reg(m, half, reg(RAX));
    let v = signed(m, half, v);
    let v = low(m, whole, v);
    write_reg(m, whole, reg(RAX), v);
    Ok(())
}

/// rDX from the sign of rAX.
fn spread<M: X86Machine>(m: &mut M, width: Width) -> Done<M> {
    let v = read_reg(m, width, reg(RAX));
    let v = signed(m, width, v);
    let v = m.bin_imm(Bin::ShrS, v, 63);
    let v = low(m, width, v);
    write_reg(m, width, reg(RDX), v);
    Ok(())
}

/// `cbw`
pub fn cbw<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    extend(m, Width::B1, Width::B2)
}

/// `cwde`
pub fn cwde<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    extend(m, Width::B2, Width::B4)
}

/// `cdqe`
pub fn cdqe<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    extend(m, Width::B4, Width::B8)
}

/// `cwd`
pub fn cwd<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    spread(m, Width::B2)
}

/// `cdq`
pub fn cdq<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    spread(m, Width::B4)
}

/// `cqo`
pub fn cqo<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    spread(m, Width::B8)
}

/// `xlatb`: AL from the table at rBX, indexed by AL.
pub fn xlatb<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let address = i.mem.address;
    let (table, index) = (m.r(RBX), read_reg(m, Width::B1, reg(RAX)));
    let at = m.bin(Bin::Add, table, index);
    let at = low(m, address, at);
    let va = m.linear(i.mem.segment, at, Width::B1, false)?;
    let v = m.load(va, Width::B1, Order::Tso)?;
    write_reg(m, Width::B1, reg(RAX), v);
    Ok(())
}
