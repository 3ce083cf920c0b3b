//! `iret`, `iretd`, `iretq` (SDM volume 2, "IRET"). A return to another task (NT set) or to virtual-8086 mode, which
//! this processor does not have, is #GP(0).

use crate::descriptor;
use crate::far::{self, Target};
use crate::segment::stack_width_with;
use crate::stack::Stack;
use crate::{Change, Env, Fault, Mode, State, rflags, seg};
use isa_core::Width;

/// Flags that any level may load.
const ANY: u64 = rflags::STATUS | rflags::TF | rflags::DF | rflags::NT | rflags::AC | rflags::ID;

/// RFLAGS after code of `cpl` has loaded `value`, `width` bytes of it (SDM volume 2, "POPF" and "IRET"). RF is not kept:
/// it only matters for instruction breakpoints.
pub(crate) fn loaded_flags(state: &State, value: u64, width: Width) -> u64 {
    let old = state.rflags();
    let mut mask = ANY;
    if state.within_iopl() {
        mask |= rflags::IF;
    }
    if !state.protected() || state.cpl() == 0 {
        mask |= rflags::IOPL;
    }
    if width == Width::B2 {
        mask &= 0xffff;
    }
    old & !mask | value & mask
}

/// Runs one with operand size `width`.
///
/// # Errors
/// #GP, #NP, #SS.
pub(crate) fn run<E: Env>(env: &mut E, width: Width) -> Result<(), Fault> {
    // NMIs are let through again even if this faults (SDM volume 3, "Handling Multiple NMIs").
    env.state().nmi_blocked = false;
    let state = env.state_ref();
    let (protected, long, mode) = (state.protected(), state.long_mode(), state.mode());
    if protected && state.system_flags & rflags::NT != 0 {
        return Err(Fault::gp(0));
    }
    let mut stack = Stack::current(state);
    let rip = stack.pop(env, width)?;
    let selector = stack.pop(env, width)? as u16;
    let flags = stack.pop(env, width)?;
    if !protected {
        let target = far::real_target(env.state_ref(), selector, rip)?;
        return finish(env, target, stack, flags, width);
    }
    let cpl = env.state_ref().cpl();
    if flags & rflags::VM != 0 && !long && width != Width::B2 && cpl == 0 {
        return Err(Fault::gp(0));
    }
    let mut target = far::return_target(env, selector, rip)?;
    if target.level > cpl || mode == Mode::Bits64 {
        let sp = stack.pop(env, width)?;
        let ss = stack.pop(env, width)? as u16;
        let ss = far::return_stack(env, ss, &target)?;
        let width = stack_width_with(&ss, target.mode(env.state_ref()));
        stack = Stack { ss, sp: sp & width.mask(), width, user: target.level == 3, error: 0 };
    }
    target.check(env.state_ref())?;
    target.mark(env)?;
    finish(env, target, stack, flags, width)
}

/// Commits: flags by the rights of the old level, then segments and stack.
fn finish<E: Env>(env: &mut E, target: Target, stack: Stack, flags: u64, width: Width) -> Result<(), Fault> {
    let flags = loaded_flags(env.state_ref(), flags, width);
    let outwards = target.level > env.state_ref().cpl();
    let state = env.state();
    state.set_rflags(flags);
    *state.segment_mut(seg::SS) = stack.ss;
    stack.commit(state);
    if outwards {
        descriptor::drop_inner_segments(env);
    }
    target.enter(env);
    env.changed(Change::Interrupts);
    Ok(())
}
