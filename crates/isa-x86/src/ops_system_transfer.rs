//! Far transfers, software interrupts and system calls.

use crate::ops_system::privileged;
use crate::{Change, Env, Event, Fault, Mode, Segment, State, efer, event, far, iret, rflags, seg, vector};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferOp {
    /// `jmp` to `[selector, offset]`.
    Jump,
    /// `call` of `[selector, offset]`, pushing so many bytes each.
    Call(Width),
    /// `ret` far, dropping `[bytes]` bytes of parameters.
    Return(Width),
    /// `iret`, `iretd`, `iretq`
    InterruptReturn(Width),
    /// `int n`, `int3`: vector.
    Interrupt(u8),
    /// `into` with the overflow flag: `[OF]`.
    Overflow,
    /// `int1`
    Debug,
    /// `syscall`
    SystemCall,
    /// `sysret` to code of this operand size: 8 for 64-bit mode.
    SystemReturn(Width),
    /// `sysenter`
    SystemEnter,
    /// `sysexit` to code of this operand size.
    SystemExit(Width),
}

/// Runs one.
///
/// # Errors
/// #GP, #NP, #SS, #TS, #UD.
pub fn run<E: Env>(env: &mut E, op: TransferOp, [a, b, ..]: [u64; 4]) -> Result<u64, Fault> {
    match op {
        TransferOp::Jump => far::jump(env, a as u16, b)?,
        TransferOp::Call(width) => far::call(env, a as u16, b, width)?,
        TransferOp::Return(width) => far::return_far(env, width, a)?,
        TransferOp::InterruptReturn(width) => iret::run(env, width)?,
        TransferOp::Interrupt(vector) => software(env, vector)?,
        TransferOp::Overflow => {
            if a != 0 {
                software(env, vector::OF)?;
            }
        }
        TransferOp::Debug => {
            let next = env.next_rip();
            event::deliver(env, Event::Exception { vector: vector::DB, error: None }, next)?;
        }
        TransferOp::SystemCall => system_call(env)?,
        TransferOp::SystemReturn(width) => system_return(env, width)?,
        TransferOp::SystemEnter => system_enter(env)?,
        TransferOp::SystemExit(width) => system_exit(env, width)?,
    }
    Ok(0)
}

fn software<E: Env>(env: &mut E, vector: u8) -> Result<(), Fault> {
    let next = env.next_rip();
    event::deliver(env, Event::Software { vector }, next)
}

/// The flat segments that system calls load: base 0, limit 4 GiB (SDM volume 2, "SYSCALL").
fn flat(selector: u16, dpl: u8, kind: u8, long: bool) -> Segment {
    let big = !long;
    Segment { limit: u32::MAX, kind, dpl, long, big, granular: true, base: 0, ..Segment::real(selector) }
}

/// Loads CS and SS and goes to `rip`.
fn enter<E: Env>(env: &mut E, cs: u16, ss: u16, dpl: u8, long: bool, rip: u64) {
    let rpl = u16::from(dpl);
    let state = env.state();
    *state.segment_mut(seg::CS) = flat(cs & !3 | rpl, dpl, 0xb, long);
    *state.segment_mut(seg::SS) = Segment { big: true, ..flat(ss & !3 | rpl, dpl, 3, false) };
    env.jump_to(rip);
    env.changed(Change::Context);
    env.changed(Change::Interrupts);
}

/// General registers RCX, RDX, RSP and R11.
fn set<const N: usize>(state: &mut State, value: u64) {
    if let Some(register) = state.gpr.get_mut(N) {
        *register = value;
    }
}

fn get<const N: usize>(state: &State) -> u64 {
    state.gpr.get(N).copied().unwrap_or(0)
}

/// SDM volume 2, "SYSCALL": in 64-bit mode only, as on Intel's processors.
fn system_call<E: Env>(env: &mut E) -> Result<(), Fault> {
    let next = env.next_rip();
    let state = env.state();
    if state.mode() != Mode::Bits64 || state.msrs.efer & efer::SCE == 0 {
        return Err(Fault::ud());
    }
    let flags = state.rflags() & !rflags::RF;
    set::<1>(state, next);
    set::<11>(state, flags);
    state.set_rflags(flags & !state.msrs.fmask);
    let (cs, target) = ((state.msrs.star >> 32) as u16, state.msrs.lstar);
    enter(env, cs, (cs & !3).wrapping_add(8), 0, true, target);
    Ok(())
}

fn system_return<E: Env>(env: &mut E, width: Width) -> Result<(), Fault> {
    let state = env.state_ref();
    if state.mode() != Mode::Bits64 || state.msrs.efer & efer::SCE == 0 {
        return Err(Fault::ud());
    }
    privileged(env)?;
    let long = width == Width::B8;
    let state = env.state();
    let (rcx, r11) = (get::<1>(state), get::<11>(state));
    if long && !state.canonical(rcx) {
        return Err(Fault::gp(0));
    }
    let kept = rflags::STATUS
        | rflags::TF
        | rflags::IF
        | rflags::DF
        | rflags::IOPL
        | rflags::NT
        | rflags::AC
        | rflags::ID;
    state.set_rflags(r11 & kept);
    let base = (state.msrs.star >> 48) as u16;
    let cs = if long { base.wrapping_add(16) } else { base };
    let rip = if long { rcx } else { rcx & 0xffff_ffff };
    enter(env, cs, base.wrapping_add(8), 3, long, rip);
    Ok(())
}

fn system_enter<E: Env>(env: &mut E) -> Result<(), Fault> {
    let state = env.state();
    let cs = state.msrs.sysenter_cs as u16;
    if !state.protected() || cs & !3 == 0 {
        return Err(Fault::gp(0));
    }
    let long = state.long_mode();
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    let (rsp, rip) = (state.msrs.sysenter_esp & mask, state.msrs.sysenter_eip & mask);
    state.system_flags &= !(rflags::VM | rflags::IF | rflags::RF);
    set::<4>(state, rsp);
    enter(env, cs, (cs & !3).wrapping_add(8), 0, long, rip);
    Ok(())
}

fn system_exit<E: Env>(env: &mut E, width: Width) -> Result<(), Fault> {
    let state = env.state_ref();
    let base = state.msrs.sysenter_cs as u16 & !3;
    if !state.protected() || base == 0 {
        return Err(Fault::gp(0));
    }
    privileged(env)?;
    let long = width == Width::B8;
    let state = env.state();
    let (rsp, rip) = (get::<1>(state), get::<2>(state));
    if long && !(state.canonical(rsp) && state.canonical(rip)) {
        return Err(Fault::gp(0));
    }
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    set::<4>(state, rsp & mask);
    let (cs, ss) = if long { (32, 40) } else { (16, 24) };
    enter(env, base.wrapping_add(cs), base.wrapping_add(ss), 3, long, rip & mask);
    Ok(())
}
