//! Far jumps, calls and returns (SDM volume 2, "JMP", "CALL", "RET"). Task gates and TSS descriptors would switch tasks,
//! which this processor does not do: #GP with the selector, as in long mode.

use crate::descriptor::{self, Descriptor, code_of, is_null, kind, rpl};
use crate::event;
use crate::segment::stack_width_with;
use crate::stack::Stack;
use crate::{Change, Env, Fault, Mode, Segment, State, seg, vector};
use isa_core::Width;

/// Where a transfer goes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub cs: Segment,
    pub rip: u64,
    /// The level that runs there.
    pub level: u8,
    /// Where CS came from, to be marked accessed; real-address mode has none.
    pub descriptor: Option<Descriptor>,
}

impl Target {
    /// The size of code there.
    pub fn mode(&self, state: &State) -> Mode {
        state.mode_with(&self.cs)
    }

    /// Checks that code may be at the address.
    ///
    /// # Errors
    /// #GP(0)
    pub fn check(&self, state: &State) -> Result<(), Fault> {
        state.check_target_in(&self.cs, self.rip)
    }

    /// Marks the descriptor accessed, when everything else has been checked.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn mark<E: Env>(&mut self, env: &mut E) -> Result<(), Fault> {
        if let Some(descriptor) = self.descriptor {
            self.cs.kind = descriptor.accessed(env)?.kind;
        }
        Ok(())
    }

    /// Goes there. The caller has set SS, whose DPL is the level.
    pub fn enter<E: Env>(self, env: &mut E) {
        *env.state().segment_mut(seg::CS) = self.cs;
        env.jump_to(self.rip);
        env.changed(Change::Context);
    }
}

/// A target in the code segment of a descriptor, with `level` as its RPL.
fn code<E: Env>(env: &E, descriptor: Descriptor, level: u8, rip: u64) -> Result<Target, Fault> {
    let s = descriptor.segment();
    let error = code_of(descriptor.selector);
    if env.state_ref().long_mode() && s.long && s.big {
        return Err(Fault::gp(error));
    }
    if !s.present {
        return Err(Fault::coded(vector::NP, error));
    }
    let cs = Segment { selector: descriptor.selector & !3 | u16::from(level), ..s };
    Ok(Target { cs, rip, level, descriptor: Some(descriptor) })
}

/// The target in real-address mode, checked.
pub(crate) fn real_target(state: &State, selector: u16, rip: u64) -> Result<Target, Fault> {
    let target = Target { cs: state.real_code(selector), rip, level: 0, descriptor: None };
    target.check(state)?;
    Ok(target)
}

/// A call gate's target: selector, offset, parameters to copy, and the width of what is pushed.
struct Gate {
    selector: u16,
    offset: u64,
    parameters: u64,
    width: Width,
}

/// What a far pointer of a jump or call names.
enum Named {
    Code(Target),
    Gate(Gate),
}

/// Looks up a far pointer in protected mode.
fn look_up<E: Env>(env: &mut E, selector: u16, offset: u64) -> Result<Named, Fault> {
    if is_null(selector) {
        return Err(Fault::gp(0));
    }
    let descriptor = descriptor::read(env, selector, vector::GP)?;
    let s = descriptor.segment();
    let cpl = env.state_ref().cpl();
    let refused = Fault::gp(code_of(selector));
    if s.is_code() {
        let allowed = match s.is_conforming() {
            true => s.dpl <= cpl,
            false => rpl(selector) <= cpl && s.dpl == cpl,
        };
        if !allowed {
            return Err(refused);
        }
        let target = code(env, descriptor, cpl, offset)?;
        target.check(env.state_ref())?;
        return Ok(Named::Code(target));
    }
    let long = env.state_ref().long_mode();
    let known = s.kind == kind::CALL || s.kind == kind::CALL16 && !long;
    if s.s || !known || s.dpl < cpl || rpl(selector) > s.dpl {
        return Err(refused);
    }
    let high = if long { descriptor::read_high(env, descriptor, vector::GP)? } else { 0 };
    if !s.present {
        return Err(Fault::coded(vector::NP, code_of(selector)));
    }
    let raw = descriptor.raw;
    let (width, mask) = match (long, s.kind) {
        (true, _) => (Width::B8, u64::MAX),
        (false, kind::CALL) => (Width::B4, 0xffff_ffff),
        _ => (Width::B2, 0xffff),
    };
    let offset = (raw & 0xffff | raw >> 32 & 0xffff_0000 | high << 32) & mask;
    let parameters = if long { 0 } else { raw >> 32 & 0x1f };
    Ok(Named::Gate(Gate { selector: (raw >> 16) as u16, offset, parameters, width }))
}

/// The target of a call gate. A jump does not change the level, a call may go inwards.
fn through<E: Env>(env: &mut E, gate: &Gate, jump: bool) -> Result<Target, Fault> {
    if is_null(gate.selector) {
        return Err(Fault::gp(0));
    }
    let descriptor = descriptor::read(env, gate.selector, vector::GP)?;
    let s = descriptor.segment();
    let cpl = env.state_ref().cpl();
    let level = if s.is_conforming() { cpl } else { s.dpl };
    let long = env.state_ref().long_mode();
    if !s.is_code() || s.dpl > cpl || jump && level != cpl || long && (!s.long || s.big) {
        return Err(Fault::gp(code_of(gate.selector)));
    }
    let target = code(env, descriptor, level, gate.offset)?;
    target.check(env.state_ref())?;
    Ok(target)
}

/// `jmp` far.
///
/// # Errors
/// #GP, #NP.
pub(crate) fn jump<E: Env>(env: &mut E, selector: u16, offset: u64) -> Result<(), Fault> {
    let mut target = if env.state_ref().protected() {
        match look_up(env, selector, offset)? {
            Named::Code(target) => target,
            Named::Gate(gate) => through(env, &gate, true)?,
        }
    } else {
        real_target(env.state_ref(), selector, offset)?
    };
    target.mark(env)?;
    target.enter(env);
    Ok(())
}

/// `call` far with operand size `width`.
///
/// # Errors
/// #GP, #NP, #TS, #SS.
pub(crate) fn call<E: Env>(env: &mut E, selector: u16, offset: u64, width: Width) -> Result<(), Fault> {
    let (mut target, width, parameters) = if env.state_ref().protected() {
        match look_up(env, selector, offset)? {
            Named::Code(target) => (target, width, 0),
            Named::Gate(gate) => (through(env, &gate, false)?, gate.width, gate.parameters),
        }
    } else {
        (real_target(env.state_ref(), selector, offset)?, width, 0)
    };
    let mut stack = Stack::current(env.state_ref());
    if target.level < env.state_ref().cpl() {
        stack = call_inwards(env, &target, width, parameters)?;
    }
    let cs = env.state_ref().segment(seg::CS).selector;
    let next = env.next_rip();
    stack.push(env, width, cs.into())?;
    stack.push(env, width, next)?;
    target.mark(env)?;
    *env.state().segment_mut(seg::SS) = stack.ss;
    stack.commit(env.state());
    target.enter(env);
    Ok(())
}

/// The inner stack of a call through a gate, with the old stack pointer and the parameters on it.
fn call_inwards<E: Env>(env: &mut E, target: &Target, width: Width, parameters: u64) -> Result<Stack, Fault> {
    let level = target.level;
    let old = Stack::current(env.state_ref());
    let old_sp = env.state_ref().gpr.get(4).copied().unwrap_or(0);
    let mut stack = if env.state_ref().long_mode() {
        let sp = event::tss_rsp(env, 4 + 8 * u64::from(level))?;
        let ss = Segment { selector: level.into(), base: 0, dpl: level, ..Segment::null() };
        Stack { ss, sp, width: Width::B8, user: false, error: 0 }
    } else {
        event::inner_stack(env, level)?
    };
    stack.push(env, width, old.ss.selector.into())?;
    stack.push(env, width, old_sp)?;
    for n in (0..parameters).rev() {
        let parameter = old.peek(env, width, n * width.bytes())?;
        stack.push(env, width, parameter)?;
    }
    Ok(stack)
}

/// Checks the code segment that a return goes to: to this level or an outer one.
///
/// # Errors
/// #GP, #NP.
pub(crate) fn return_target<E: Env>(env: &mut E, selector: u16, rip: u64) -> Result<Target, Fault> {
    if is_null(selector) {
        return Err(Fault::gp(0));
    }
    let descriptor = descriptor::read(env, selector, vector::GP)?;
    let s = descriptor.segment();
    let level = rpl(selector);
    let allowed = if s.is_conforming() { s.dpl <= level } else { s.dpl == level };
    if !s.is_code() || level < env.state_ref().cpl() || !allowed {
        return Err(Fault::gp(code_of(selector)));
    }
    code(env, descriptor, level, rip)
}

/// The stack segment that a return to `target` loads.
///
/// # Errors
/// #GP, #SS.
pub(crate) fn return_stack<E: Env>(env: &mut E, selector: u16, target: &Target) -> Result<Segment, Fault> {
    let level = target.level;
    if is_null(selector) {
        let mode = target.mode(env.state_ref());
        return if mode == Mode::Bits64 && level != 3 && rpl(selector) == level {
            Ok(Segment { selector, base: 0, dpl: level, ..Segment::null() })
        } else {
            Err(Fault::gp(0))
        };
    }
    descriptor::stack_segment(env, selector, level, vector::GP)?.accessed(env)
}

/// `ret` far with operand size `width`, dropping `bytes` bytes of parameters.
///
/// # Errors
/// #GP, #NP, #SS.
pub(crate) fn return_far<E: Env>(env: &mut E, width: Width, bytes: u64) -> Result<(), Fault> {
    let mut stack = Stack::current(env.state_ref());
    let rip = stack.pop(env, width)?;
    let selector = stack.pop(env, width)? as u16;
    if !env.state_ref().protected() {
        let target = real_target(env.state_ref(), selector, rip)?;
        stack.skip(bytes);
        stack.commit(env.state());
        target.enter(env);
        return Ok(());
    }
    let mut target = return_target(env, selector, rip)?;
    target.check(env.state_ref())?;
    stack.skip(bytes);
    if target.level > env.state_ref().cpl() {
        let sp = stack.pop(env, width)?;
        let ss = stack.pop(env, width)? as u16;
        let ss = return_stack(env, ss, &target)?;
        let width = stack_width_with(&ss, target.mode(env.state_ref()));
        stack = Stack { ss, sp: sp & width.mask(), width, user: target.level == 3, error: 0 };
        stack.skip(bytes);
        target.mark(env)?;
        *env.state().segment_mut(seg::SS) = ss;
        descriptor::drop_inner_segments(env);
    } else {
        target.mark(env)?;
    }
    stack.commit(env.state());
    target.enter(env);
    Ok(())
}
