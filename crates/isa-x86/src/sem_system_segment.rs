//! Meanings of the instructions of segments and descriptor tables.

use crate::ops_system::SystemOp;
use crate::ops_system_control::ControlOp;
use crate::ops_system_segment::{SegmentOp, Table, VALID};
use crate::sem::{Done, address, low, offset_with, place, read, update, write, write_reg};
use crate::sem_system::{plain, system, write_word};
use crate::{Insn, Mode, Operand, Reg, X86Machine, seg};
use isa_core::{Bin, Order, Width};

fn segment<M: X86Machine>(m: &mut M, op: SegmentOp) -> Result<M::V, M::Stop> {
    plain(m, SystemOp::Segment(op))
}

/// An operation on the selector that the first operand holds.
fn on_selector<M: X86Machine>(m: &mut M, i: &Insn, op: SegmentOp) -> Done<M> {
    let [from, ..] = i.operands;
    let (selector, none) = (read(m, i, from, Width::B2)?, m.imm(0));
    system(m, SystemOp::Segment(op), selector, none)?;
    Ok(())
}

/// `mov` from or to a segment register.
pub(crate) fn mov_segment<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    match i.operands {
        [Operand::Segment(n), from, ..] => {
            let (selector, none) = (read(m, i, from, Width::B2)?, m.imm(0));
            system(m, SystemOp::Segment(SegmentOp::Load(n)), selector, none)?;
            Ok(())
        }
        [_, Operand::Segment(n), ..] => {
            let v = segment(m, SegmentOp::Read(n))?;
            write_word(m, i, v)
        }
        _ => Ok(()),
    }
}

/// `push` of a segment register.
pub(crate) fn push_segment<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    if let [Operand::Segment(n), ..] = i.operands {
        segment(m, SegmentOp::Push(n, i.width))?;
    }
    Ok(())
}

/// `pop` of a segment register.
pub(crate) fn pop_segment<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    if let [Operand::Segment(n), ..] = i.operands {
        segment(m, SegmentOp::Pop(n, i.width))?;
    }
    Ok(())
}

/// Linear address of what follows `distance` bytes into the memory operand.
pub(crate) fn further<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    distance: i64,
    width: Width,
    write: bool,
) -> Result<M::V, M::Stop> {
    let offset = offset_with(m, i, distance, None);
    m.linear(i.mem.segment, offset, width, write)
}

/// A far pointer with `register`: offset to the general register, selector to the segment register.
fn load_far<M: X86Machine>(m: &mut M, i: &Insn, register: u8) -> Done<M> {
    let at = address(m, i, i.width, false)?;
    let offset = m.load(at, i.width, Order::Tso)?;
    let at = further(m, i, i.width.bytes() as i64, Width::B2, false)?;
    let (selector, none) = (m.load(at, Width::B2, Order::Tso)?, m.imm(0));
    system(m, SystemOp::Segment(SegmentOp::Load(register)), selector, none)?;
    if let [Operand::Reg(to), ..] = i.operands {
        write_reg(m, i.width, to, offset);
    }
    Ok(())
}

/// `lds`
pub fn lds<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_far(m, i, seg::DS)
}

/// `les`
pub fn les<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_far(m, i, seg::ES)
}

/// `lfs`
pub fn lfs<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_far(m, i, seg::FS)
}

/// `lgs`
pub fn lgs<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_far(m, i, seg::GS)
}

/// `lss`
pub fn lss<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_far(m, i, seg::SS)
}

/// The width of a table's base in memory, and whether only 24 bits of it count.
fn base_width<M: X86Machine>(m: &mut M, i: &Insn) -> (Width, bool) {
    use iced_x86::Code;
    let short = matches!(i.code, Code::Lgdt_m1632_16 | Code::Lidt_m1632_16);
    (if m.mode() == Mode::Bits64 { Width::B8 } else { Width::B4 }, short)
}

fn load_table<M: X86Machine>(m: &mut M, i: &Insn, table: Table) -> Done<M> {
    plain(m, SystemOp::Control(ControlOp::Privileged))?;
    let (width, short) = base_width(m, i);
    let at = address(m, i, Width::B2, false)?;
    let limit = m.load(at, Width::B2, Order::Tso)?;
    let at = further(m, i, 2, width, false)?;
    let base = m.load(at, width, Order::Tso)?;
    let base = if short { m.bin_imm(Bin::And, base, 0xff_ffff) } else { base };
    system(m, SystemOp::Segment(SegmentOp::LoadTable(table)), base, limit)?;
    Ok(())
}

fn store_table<M: X86Machine>(m: &mut M, i: &Insn, table: Table) -> Done<M> {
    let limit = segment(m, SegmentOp::TableLimit(table))?;
    let base = segment(m, SegmentOp::TableBase(table))?;
    let (width, _) = base_width(m, i);
    let first = address(m, i, Width::B2, true)?;
    let second = further(m, i, 2, width, true)?;
    m.load_for_update(first, Width::B2)?;
    let base = low(m, width, base);
    m.store(second, width, base, Order::Tso)?;
    m.store(first, Width::B2, limit, Order::Tso)
}

/// `lgdt`
pub fn lgdt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_table(m, i, Table::Global)
}

/// `lidt`
pub fn lidt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    load_table(m, i, Table::Interrupt)
}

/// `sgdt`
pub fn sgdt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    store_table(m, i, Table::Global)
}

/// `sidt`
pub fn sidt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    store_table(m, i, Table::Interrupt)
}

/// `lldt`
pub fn lldt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    plain(m, SystemOp::Control(ControlOp::Privileged))?;
    on_selector(m, i, SegmentOp::LoadLdt)
}

/// `ltr`
pub fn ltr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    plain(m, SystemOp::Control(ControlOp::Privileged))?;
    on_selector(m, i, SegmentOp::LoadTask)
}

/// `sldt`
pub fn sldt<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = segment(m, SegmentOp::StoreLdt)?;
    write_word(m, i, v)
}

/// `str`
pub fn str<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let v = segment(m, SegmentOp::StoreTask)?;
    write_word(m, i, v)
}

/// `verr`
pub fn verr<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    on_selector(m, i, SegmentOp::VerifyRead)
}

/// `verw`
pub fn verw<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    on_selector(m, i, SegmentOp::VerifyWrite)
}

/// What the operation says of the selector in the second operand, to the first if there is anything to say.
fn describe<M: X86Machine>(m: &mut M, i: &Insn, op: SegmentOp) -> Done<M> {
    let [to, from, ..] = i.operands;
    let (selector, none) = (read(m, i, from, Width::B2)?, m.imm(0));
    let v = system(m, SystemOp::Segment(op), selector, none)?;
    let Operand::Reg(Reg { n, .. }) = to else { return Ok(()) };
    let old = m.r(n);
    let valid = m.bin_imm(Bin::And, v, VALID);
    let v = m.bin_imm(Bin::And, v, i.width.mask() & 0xffff_ffff);
    let new = match i.width {
        Width::B2 => {
            let kept = m.bin_imm(Bin::And, old, !0xffff);
            m.bin(Bin::Or, kept, v)
        }
        _ => v,
    };
    let v = m.select(valid, new, old);
    m.set_r(n, v);
    Ok(())
}

/// `lar`
pub fn lar<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    describe(m, i, SegmentOp::AccessRights)
}

/// `lsl`
pub fn lsl<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    describe(m, i, SegmentOp::Limit)
}

/// `arpl`
pub fn arpl<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    let [to, from, ..] = i.operands;
    let other = read(m, i, from, Width::B2)?;
    let (to, own) = update(m, i, to, Width::B2)?;
    let v = system(m, SystemOp::Segment(SegmentOp::AdjustRpl), own, other)?;
    write(m, Width::B2, to, v)
}

fn read_base<M: X86Machine>(m: &mut M, i: &Insn, register: u8) -> Done<M> {
    let v = segment(m, SegmentOp::ReadBase(register))?;
    let [to, ..] = i.operands;
    let (v, to) = (low(m, i.width, v), place(m, i, to, i.width)?);
    write(m, i.width, to, v)
}

fn write_base<M: X86Machine>(m: &mut M, i: &Insn, register: u8) -> Done<M> {
    let [from, ..] = i.operands;
    let (v, none) = (read(m, i, from, i.width)?, m.imm(0));
    system(m, SystemOp::Segment(SegmentOp::WriteBase(register)), v, none)?;
    Ok(())
}

/// `rdfsbase`
pub fn rdfsbase<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    read_base(m, i, seg::FS)
}

/// `rdgsbase`
pub fn rdgsbase<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    read_base(m, i, seg::GS)
}

/// `wrfsbase`
pub fn wrfsbase<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    write_base(m, i, seg::FS)
}

/// `wrgsbase`
pub fn wrgsbase<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
    write_base(m, i, seg::GS)
}

/// `swapgs`
pub fn swapgs<M: X86Machine>(m: &mut M, _: &Insn) -> Done<M> {
    segment(m, SegmentOp::SwapGs)?;
    Ok(())
}
