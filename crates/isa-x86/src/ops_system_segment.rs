//! Segment and descriptor-table registers (SDM volume 2, each instruction; volume 3, "Protection").

use crate::descriptor::{self, SYSTEM_WRITE, code_of, is_null, kind, rpl};
use crate::ops_system::privileged;
use crate::ops_system_control::no_umip;
use crate::stack::Stack;
use crate::{Change, Env, Fault, Segment, Shadow, TableRegister, cr4, seg, vector};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentOp {
    /// Loads segment register `n` with selector `[selector]`.
    Load(u8),
    /// The selector in segment register `n`.
    Read(u8),
    /// Pushes segment register `n`, so many bytes.
    Push(u8, Width),
    /// Pops segment register `n`, so many bytes.
    Pop(u8, Width),
    /// `lldt` of `[selector]`
    LoadLdt,
    /// `ltr` of `[selector]`
    LoadTask,
    /// `sldt`
    StoreLdt,
    /// `str`
    StoreTask,
    /// `lgdt`, `lidt` of `[base, limit]`.
    LoadTable(Table),
    /// The base of GDTR or IDTR (`sgdt`, `sidt`).
    TableBase(Table),
    /// Its limit.
    TableLimit(Table),
    /// `lar` of `[selector]`: the value, [`VALID`] if there is one; ZF.
    AccessRights,
    /// `lsl` of `[selector]`, in the same way.
    Limit,
    /// `verr` of `[selector]`: ZF.
    VerifyRead,
    /// `verw` of `[selector]`: ZF.
    VerifyWrite,
    /// `arpl` of `[selector, other]`: the adjusted selector; ZF.
    AdjustRpl,
    /// The base of FS or GS (`rdfsbase`, `rdgsbase`).
    ReadBase(u8),
    /// The base becomes `[value]`.
    WriteBase(u8),
    /// `swapgs`
    SwapGs,
}

/// A descriptor-table register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// GDTR
    Global,
    /// IDTR
    Interrupt,
}

/// Set in what [`SegmentOp::AccessRights`] and [`SegmentOp::Limit`] give if the selector has a value.
pub const VALID: u64 = 1 << 63;

/// Runs one.
///
/// # Errors
/// #GP, #NP, #SS, #UD.
pub fn run<E: Env>(env: &mut E, op: SegmentOp, [a, b, ..]: [u64; 4]) -> Result<u64, Fault> {
    let selector = a as u16;
    match op {
        SegmentOp::Load(n) => load(env, n, selector)?,
        SegmentOp::Read(n) => return Ok(env.state_ref().segment(n).selector.into()),
        SegmentOp::Push(n, width) => {
            let selector = env.state_ref().segment(n).selector;
            let mut stack = Stack::current(env.state_ref());
            stack.push(env, width, selector.into())?;
            stack.commit(env.state());
        }
        SegmentOp::Pop(n, width) => {
            let mut stack = Stack::current(env.state_ref());
            let selector = stack.pop(env, width)? as u16;
            load(env, n, selector)?;
            stack.commit(env.state());
        }
        SegmentOp::LoadLdt => load_ldt(env, selector)?,
        SegmentOp::LoadTask => load_task(env, selector)?,
        SegmentOp::StoreLdt | SegmentOp::StoreTask => {
            in_protected_mode(env)?;
            no_umip(env)?;
            let state = env.state_ref();
            let register = if op == SegmentOp::StoreLdt { state.ldtr } else { state.tr };
            return Ok(register.selector.into());
        }
        SegmentOp::LoadTable(table) => load_table(env, table, a, b as u16)?,
        SegmentOp::TableBase(table) => {
            no_umip(env)?;
            return Ok(table_register(env, table).base);
        }
        SegmentOp::TableLimit(table) => {
            no_umip(env)?;
            return Ok(table_register(env, table).limit.into());
        }
        SegmentOp::AccessRights => return rights(env, selector),
        SegmentOp::Limit => return limit(env, selector),
        SegmentOp::VerifyRead | SegmentOp::VerifyWrite => {
            in_protected_mode(env)?;
            let allowed = verify(env, selector, op == SegmentOp::VerifyWrite)?;
            env.state().set_zero(allowed);
        }
        SegmentOp::AdjustRpl => {
            in_protected_mode(env)?;
            let (own, other) = (a & 3, b & 3);
            env.state().set_zero(own < other);
            return Ok(a & !3 | own.max(other));
        }
        SegmentOp::ReadBase(n) => {
            with_fsgsbase(env)?;
            return Ok(env.state_ref().segment(n).base);
        }
        SegmentOp::WriteBase(n) => {
            with_fsgsbase(env)?;
            if !env.state_ref().canonical(a) {
                return Err(Fault::gp(0));
            }
            env.state().segment_mut(n).base = a;
            env.changed(Change::Context);
        }
        SegmentOp::SwapGs => {
            privileged(env)?;
            let state = env.state();
            let inner = state.msrs.kernel_gs_base;
            state.msrs.kernel_gs_base = std::mem::replace(&mut state.segment_mut(seg::GS).base, inner);
            env.changed(Change::Context);
        }
    }
    Ok(0)
}

fn in_protected_mode<E: Env>(env: &E) -> Result<(), Fault> {
    if env.state_ref().protected() { Ok(()) } else { Err(Fault::ud()) }
}

fn with_fsgsbase<E: Env>(env: &E) -> Result<(), Fault> {
    if env.state_ref().cr4 & cr4::FSGSBASE != 0 { Ok(()) } else { Err(Fault::ud()) }
}

fn table_register<E: Env>(env: &E, table: Table) -> TableRegister {
    match table {
        Table::Global => env.state_ref().gdtr,
        Table::Interrupt => env.state_ref().idtr,
    }
}

/// `mov` and `pop` of a segment register.
fn load<E: Env>(env: &mut E, n: u8, selector: u16) -> Result<(), Fault> {
    if n == seg::CS || n > seg::GS {
        return Err(Fault::ud());
    }
    descriptor::load_data(env, n, selector)?;
    env.changed(Change::Context);
    if n == seg::SS {
        env.state().shadow = Shadow::MovSs;
        env.changed(Change::Interrupts);
    }
    Ok(())
}

/// A system descriptor of one of the types `allowed` out of the GDT.
fn system_segment<E: Env>(
    env: &mut E,
    selector: u16,
    allowed: &[u8],
) -> Result<(Segment, descriptor::Descriptor), Fault> {
    let refused = Fault::gp(code_of(selector));
    if selector & 4 != 0 {
        return Err(refused);
    }
    let descriptor = descriptor::read(env, selector, vector::GP)?;
    let mut s = descriptor.segment();
    if s.s || !allowed.contains(&s.kind) {
        return Err(refused);
    }
    if env.state_ref().long_mode() {
        let high = descriptor::read_high(env, descriptor, vector::GP)?;
        s.base |= high << 32;
        if !env.state_ref().canonical(s.base) {
            return Err(refused);
        }
    }
    if !s.present {
        return Err(Fault::coded(vector::NP, code_of(selector)));
    }
    Ok((s, descriptor))
}

fn load_ldt<E: Env>(env: &mut E, selector: u16) -> Result<(), Fault> {
    in_protected_mode(env)?;
    privileged(env)?;
    env.state().ldtr = if is_null(selector) {
        Segment { selector, ..Segment::null() }
    } else {
        system_segment(env, selector, &[kind::LDT])?.0
    };
    Ok(())
}

fn load_task<E: Env>(env: &mut E, selector: u16) -> Result<(), Fault> {
    in_protected_mode(env)?;
    privileged(env)?;
    if is_null(selector) {
        return Err(Fault::gp(0));
    }
    let allowed: &[u8] = if env.state_ref().long_mode() { &[kind::TSS] } else { &[kind::TSS, kind::TSS16] };
    let (s, descriptor) = system_segment(env, selector, allowed)?;
    let busy = (descriptor.raw >> 40 & 0xff) | 2;
    env.write(descriptor.at.wrapping_add(5), Width::B1, busy, SYSTEM_WRITE)?;
    env.state().tr = Segment { kind: s.kind | 2, ..s };
    Ok(())
}

fn load_table<E: Env>(env: &mut E, table: Table, base: u64, limit: u16) -> Result<(), Fault> {
    privileged(env)?;
    if !env.state_ref().canonical(base) {
        return Err(Fault::gp(0));
    }
    let state = env.state();
    match table {
        Table::Global => state.gdtr = TableRegister { base, limit },
        Table::Interrupt => state.idtr = TableRegister { base, limit },
    }
    Ok(())
}

/// The descriptor that `selector` names, if it names one that code of this level may know of; code and data, or a
/// system descriptor of one of `types`.
fn visible<E: Env>(
    env: &mut E,
    selector: u16,
    types: &[u8],
) -> Result<Option<descriptor::Descriptor>, Fault> {
    if is_null(selector) {
        return Ok(None);
    }
    let descriptor = match descriptor::read(env, selector, vector::GP) {
        Ok(descriptor) => descriptor,
        Err(Fault { vector: vector::GP, .. }) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let s = descriptor.segment();
    let known = s.s || types.contains(&s.kind);
    let cpl = env.state_ref().cpl();
    let allowed = s.is_conforming() || s.dpl >= cpl && s.dpl >= rpl(selector);
    Ok((known && allowed).then_some(descriptor))
}

/// System descriptors that have access rights and limits for `lar` and `lsl` (SDM volume 2, tables of valid types).
fn types<E: Env>(env: &E, gates: bool) -> &'static [u8] {
    match (env.state_ref().long_mode(), gates) {
        (true, false) => &[kind::LDT, kind::TSS, kind::TSS_BUSY],
        (true, true) => &[kind::LDT, kind::TSS, kind::TSS_BUSY, kind::CALL],
        (false, false) => &[kind::TSS16, kind::LDT, kind::TSS16_BUSY, kind::TSS, kind::TSS_BUSY],
        (false, true) => &[
            kind::TSS16,
            kind::LDT,
            kind::TSS16_BUSY,
            kind::CALL16,
            kind::TASK_GATE,
            kind::TSS,
            kind::TSS_BUSY,
            kind::CALL,
        ],
    }
}

fn rights<E: Env>(env: &mut E, selector: u16) -> Result<u64, Fault> {
    in_protected_mode(env)?;
    let types = types(env, true);
    let found = visible(env, selector, types)?;
    env.state().set_zero(found.is_some());
    Ok(found.map_or(0, |descriptor| descriptor.raw >> 32 & 0x00ff_ff00 | VALID))
}

fn limit<E: Env>(env: &mut E, selector: u16) -> Result<u64, Fault> {
    in_protected_mode(env)?;
    let types = types(env, false);
    let found = visible(env, selector, types)?;
    env.state().set_zero(found.is_some());
    Ok(found.map_or(0, |descriptor| u64::from(descriptor.segment().limit) | VALID))
}

fn verify<E: Env>(env: &mut E, selector: u16, write: bool) -> Result<bool, Fault> {
    let found = visible(env, selector, &[])?.map(descriptor::Descriptor::segment);
    Ok(found.is_some_and(|s| if write { s.is_writable() } else { s.is_readable() }))
}
