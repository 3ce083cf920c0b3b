//! String instructions: committed element by element, restartable (SDM volume 1, "String Operations"; volume 2,
//! "REP/REPE/REPZ/REPNE/REPNZ").

use crate::ops::{Effects, Parts};
use crate::segment::seg;
use crate::{Access, Env, Fault, State, rflags};
use isa_core::{FlagKind, LazyFlags, Width};

/// How often the instruction is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// Not: one element.
    Once,
    /// rCX times.
    Count,
    /// rCX times, while the compared are equal (REPE).
    WhileEqual,
    /// rCX times, while they are not (REPNE).
    WhileNotEqual,
}

/// What is fixed at decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// Element.
    pub width: Width,
    /// Address size: of rSI, rDI and rCX.
    pub address: Width,
    /// Segment of the source; the destination's is ES.
    pub segment: u8,
    /// Prefix.
    pub repeat: Repeat,
}

/// A string instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StringOp {
    /// `movs`: source to destination.
    Movs(Form),
    /// `cmps`: flags of source minus destination.
    Cmps(Form),
    /// `scas`: flags of rAX minus destination.
    Scas(Form),
    /// `lods`: source to rAX.
    Lods(Form),
    /// `stos`: rAX to destination.
    Stos(Form),
}

impl StringOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let all = Parts::REGISTERS.and(Parts::STATUS).and(Parts::MEMORY);
        Effects { reads: all.and(Parts::SYSTEM), writes: all.and(Parts::CONTROL), faults: true }
    }

    /// What is fixed at decoding.
    const fn form(self) -> Form {
        match self {
            StringOp::Movs(form)
            | StringOp::Cmps(form)
            | StringOp::Scas(form)
            | StringOp::Lods(form)
            | StringOp::Stos(form) => form,
        }
    }
}

/// Runs one.
///
/// # Errors
/// The fault of an element's access; the elements before it are done. Their comparisons have left no flags then (SDM
/// volume 2, "REP/REPE/REPZ/REPNE/REPNZ").
pub fn run<E: Env>(env: &mut E, op: StringOp, _: [u64; 4]) -> Result<u64, Fault> {
    let form = op.form();
    if form.repeat == Repeat::Once {
        if let Some(flags) = element(env, op, form)? {
            env.state().status = flags;
        }
        return Ok(0);
    }
    let mut left = count(env.state_ref(), form.address);
    let mut may = env.elements().max(1);
    while left != 0 {
        if may == 0 {
            env.again();
            return Ok(0);
        }
        let run = at_once(env, op, form, left.min(may));
        if run != 0 {
            (left, may) = (left - run, may - run);
            let [_, rcx, ..] = &mut env.state().gpr;
            *rcx = put(*rcx, form.address, left);
            continue;
        }
        let flags = element(env, op, form)?;
        (left, may) = (left - 1, may - 1);
        let [_, rcx, ..] = &mut env.state().gpr;
        *rcx = put(*rcx, form.address, left);
        let Some(flags) = flags else { continue };
        let equal = flags.flag(isa_core::Flag::Zero);
        if left == 0 || equal != (form.repeat == Repeat::WhileEqual) {
            env.state().status = flags;
            return Ok(0);
        }
    }
    Ok(0)
}

/// As many elements of an ascending `movs` or `stos` as lie in one page and the engine can do at once, without rCX; 0 if
/// it is to be done element by element.
fn at_once<E: Env>(env: &mut E, op: StringOp, form: Form, most: u64) -> u64 {
    let Form { width, address, segment, .. } = form;
    let state = env.state_ref();
    if state.system_flags & rflags::DF != 0 || !matches!(op, StringOp::Movs(_) | StringOp::Stos(_)) {
        return 0;
    }
    let [rax, .., rsi, rdi, _, _, _, _, _, _, _, _] = state.gpr;
    let (from, to) = (rsi & address.mask(), rdi & address.mask());
    // The linear address of a run that stays in its page and its segment, and does not wrap.
    let place = |env: &mut E, segment, offset: u64, elements: u64, write| {
        let la = env.linear(segment, offset, width.bytes(), write).ok()?;
        let elements = elements.min((PAGE - la % PAGE) / width.bytes());
        let bytes = elements * width.bytes();
        let last = offset.checked_add(bytes.checked_sub(1)?)?;
        env.linear(segment, offset, bytes, write).ok().filter(|_| last <= address.mask())?;
        Some((la, elements))
    };
    let Some((to_la, mut elements)) = place(env, seg::ES, to, most, true) else { return 0 };
    let moves = matches!(op, StringOp::Movs(_));
    let done = if moves {
        let Some((from_la, fewer)) = place(env, segment, from, elements, false) else { return 0 };
        elements = fewer;
        env.copy(from_la, to_la, width, elements)
    } else {
        env.fill(to_la, width, rax & width.mask(), elements)
    };
    let step = done * width.bytes();
    let [.., rsi, rdi, _, _, _, _, _, _, _, _] = &mut env.state().gpr;
    if moves && done != 0 {
        *rsi = put(*rsi, address, from.wrapping_add(step));
    }
    if done != 0 {
        *rdi = put(*rdi, address, to.wrapping_add(step));
    }
    done
}

/// A page of linear addresses.
const PAGE: u64 = 4096;

/// rCX, of address size.
fn count(state: &State, address: Width) -> u64 {
    let [_, rcx, ..] = state.gpr;
    rcx & address.mask()
}

/// A register after its part of `width` has become `v`: 32 bits clear the rest, 16 keep it.
pub(crate) fn put(old: u64, width: Width, v: u64) -> u64 {
    match width {
        Width::B4 | Width::B8 => v & width.mask(),
        _ => old & !width.mask() | v & width.mask(),
    }
}

/// One element, without rCX. Gives the flags of a comparison.
#[inline]
fn element<E: Env>(env: &mut E, op: StringOp, form: Form) -> Result<Option<LazyFlags>, Fault> {
    let Form { width, address, segment, .. } = form;
    let state = env.state_ref();
    let [rax, .., rsi, rdi, _, _, _, _, _, _, _, _] = state.gpr;
    let (read, write) = (Access::data(state.cpl(), false), Access::data(state.cpl(), true));
    let back = state.system_flags & rflags::DF != 0;
    let (from, to) = (rsi & address.mask(), rdi & address.mask());
    let source = |env: &mut E| {
        let la = env.linear(segment, from, width.bytes(), false)?;
        env.read(la, width, read)
    };
    let store = |env: &mut E, v| {
        let la = env.linear(seg::ES, to, width.bytes(), true)?;
        env.write(la, width, v, write)
    };
    let destination = |env: &mut E| {
        let la = env.linear(seg::ES, to, width.bytes(), false)?;
        env.read(la, width, read)
    };
    let compared = |a, b| Some(LazyFlags { kind: FlagKind::Sub, width, a, b, c: 0 });
    let (mut flags, mut loaded) = (None, None);
    let (steps_from, steps_to) = match op {
        StringOp::Movs(_) => {
            let v = source(env)?;
            store(env, v)?;
            (true, true)
        }
        StringOp::Cmps(_) => {
            // The order shows where both fault; processors take this one.
            let b = destination(env)?;
            flags = compared(source(env)?, b);
            (true, true)
        }
        StringOp::Scas(_) => {
            flags = compared(rax & width.mask(), destination(env)?);
            (false, true)
        }
        StringOp::Lods(_) => {
            loaded = Some(source(env)?);
            (true, false)
        }
        StringOp::Stos(_) => {
            store(env, rax & width.mask())?;
            (false, true)
        }
    };
    let step = |v: u64| if back { v.wrapping_sub(width.bytes()) } else { v.wrapping_add(width.bytes()) };
    let [rax, .., rsi, rdi, _, _, _, _, _, _, _, _] = &mut env.state().gpr;
    if steps_from {
        *rsi = put(*rsi, address, step(from));
    }
    if steps_to {
        *rdi = put(*rdi, address, step(to));
    }
    if let Some(v) = loaded {
        *rax = put(*rax, width, v);
    }
    Ok(flags)
}
