//! Single bits of registers and of bit strings in memory: SDM volume 2, each under its mnemonic, and "Bit(BitBase,
//! BitOffset)" in its notation chapter.

use crate::sem::{Done, Place, bits, low, merged_flags, offset_with, read, read_reg, signed, write_reg};
use crate::{Insn, Operand, X86Machine};
use isa_core::{AmoOp, Bin, FlagKind, Order, Un};

/// What becomes of the bit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Set,
    Reset,
    Complement,
}

/// CF is the bit as it was; the other flags stay as they are (the manual leaves all but ZF undefined).
fn bit<M: X86Machine>(m: &mut M, i: &Insn, change: Change) -> Done<M> {
    let [to, by, ..] = i.operands;
    let index = read(m, i, by, i.width)?;
    let n = m.bin_imm(Bin::And, index, bits(i.width) - 1);
    let one = m.imm(1);
    let mask = m.bin(Bin::Shl, one, n);
    let changed = |m: &mut M, v| match change {
        Change::None => v,
        Change::Set => m.bin(Bin::Or, v, mask),
        Change::Complement => m.bin(Bin::Xor, v, mask),
        Change::Reset => {
            let others = m.un(Un::Not, mask);
            m.bin(Bin::And, v, others)
        }
    };
    let place = match to {
        Operand::Reg(reg) => Place::Reg(reg),
        _ => {
            let offset = word(m, i, by, index);
            Place::Mem(m.linear(i.mem.segment, offset, i.width, change != Change::None)?)
        }
    };
    let old = match place {
        Place::Reg(reg) => {
            let old = read_reg(m, i.width, reg);
            if change != Change::None {
                let v = changed(m, old);
                write_reg(m, i.width, reg, v);
            }
            old
        }
        Place::Mem(va) if change == Change::None => m.load(va, i.width, Order::Tso)?,
        Place::Mem(va) if i.prefixes.lock => {
            let (op, by) = match change {
                Change::Set => (AmoOp::Or, mask),
                Change::Complement => (AmoOp::Xor, mask),
                _ => (AmoOp::And, m.un(Un::Not, mask)),
            };
            m.amo(op, va, i.width, by, Order::Both)?
        }
        Place::Mem(va) => {
            let old = m.load_for_update(va, i.width)?;
            let v = changed(m, old);
            m.store(va, i.width, v, Order::Tso)?;
            old
        }
    };
    let carry = m.bin(Bin::ShrU, old, n);
    let carry = m.bin_imm(Bin::And, carry, 1);
    let (all, zero) = (merged_flags(m, crate::rflags::CF, carry), m.imm(0));
    m.set_flags(FlagKind::Bits, i.width, [all, zero, zero]);
    Ok(())
}

/// The offset of the word in memory that has the bit: a register's index is signed and reaches beyond the operand, an
/// immediate's does not.
fn word<M: X86Machine>(m: &mut M, i: &Insn, by: Operand, index: M::V) -> M::V {
    let base = offset_with(m, i, 0, None);
    if !matches!(by, Operand::Reg(_)) {
        return base;
    }
    let index = signed(m, i.width, index);
    let words = m.bin_imm(Bin::ShrS, index, bits(i.width).trailing_zeros().into());
    let bytes = m.bin_imm(Bin::Mul, words, i.width.bytes());
    let sum = m.bin(Bin::Add, base, bytes);
    low(m, i.mem.address, sum)
}

/// `bt`
pub fn bt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    bit(m, i, Change::None)
}

/// `bts`
pub fn bts<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    bit(m, i, Change::Set)
}

/// `btr`
pub fn btr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    bit(m, i, Change::Reset)
}

/// `btc`
pub fn btc<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    bit(m, i, Change::Complement)
}
