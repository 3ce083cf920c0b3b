//! Delivery of exceptions and interrupts (SDM volume 3, chapters "Interrupt and Exception Handling" and "8086
//! Emulation", and "Interrupts and Exceptions in 64-bit Mode").

use crate::descriptor::{self, SYSTEM, code_of, kind};
use crate::segment::stack_width_with;
use crate::stack::Stack;
use crate::{Change, Env, Event, Fault, Mode, Segment, dr7, rflags, seg, vector};
use isa_core::Width;

/// Whether an exception pushes an error code (in protected mode).
pub const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21)
}

/// How an exception that comes while another is delivered combines with it (SDM volume 3, table "Conditions for
/// Generating a Double Fault").
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

const fn class(vector: u8) -> Class {
    match vector {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP | vector::CP => Class::Contributory,
        vector::PF | vector::VE => Class::PageFault,
        _ => Class::Benign,
    }
}

/// Delivers a fault of the instruction at `rip`, or a debug trap before it, with whatever faults that leads to.
///
/// # Errors
/// The fault that it began with, if it ends in a triple fault: the processor shuts down.
pub fn raise<E: Env>(env: &mut E, first: Fault, rip: u64) -> Result<(), Fault> {
    let mut now = first;
    loop {
        if let Some(address) = now.address {
            env.state().cr2 = address;
        }
        let event = Event::Exception { vector: now.vector, error: now.error };
        let Err(next) = deliver(env, event, rip) else { return Ok(()) };
        if now.vector == vector::DF {
            return Err(first);
        }
        if next.vector == now.vector && class(now.vector) == Class::Benign {
            // An alignment fault whose handler runs at CPL 3 on the same misaligned stack: a processor tries for ever.
            // Here the instruction raises its fault again, so that the engine comes by in between.
            env.jump_to(rip);
            return Ok(());
        }
        if let Some(address) = next.address {
            env.state().cr2 = address;
        }
        now = match (class(now.vector), class(next.vector)) {
            (Class::Contributory, Class::Contributory)
            | (Class::PageFault, Class::Contributory | Class::PageFault) => Fault::coded(vector::DF, 0),
            _ => next,
        };
    }
}

/// Delivers an event that came from outside between two instructions, of which the next is at `rip`.
///
/// # Errors
/// As [`raise`].
pub fn accept<E: Env>(env: &mut E, event: Event, rip: u64) -> Result<(), Fault> {
    match event {
        Event::Exception { vector, error } => raise(env, Fault { vector, error, address: None }, rip),
        _ => match deliver(env, event, rip) {
            Ok(()) => Ok(()),
            Err(fault) => raise(env, fault, rip),
        },
    }
}

/// What is to be delivered, in the terms of the delivery.
#[derive(Clone, Copy)]
struct Arrival {
    vector: u8,
    error: Option<u32>,
    /// `int n`, `int3`, `into`: the gate's DPL counts.
    software: bool,
    /// The flags to be saved.
    flags: u64,
    /// The address to be saved.
    rip: u64,
}

impl Arrival {
    /// The error code that names the gate.
    fn gate(&self) -> u32 {
        u32::from(self.vector) << 3 | 2
    }
}

/// One attempt to deliver `event`; `rip` is where the handler returns to. Changes nothing if it fails.
///
/// # Errors
/// What the delivery raises, with the EXT bit where it belongs.
pub fn deliver<E: Env>(env: &mut E, event: Event, rip: u64) -> Result<(), Fault> {
    let (vector, error, software) = match event {
        Event::Exception { vector, error } => (vector, error, false),
        Event::Interrupt { vector } => (vector, None, false),
        Event::Software { vector } => (vector, None, true),
        Event::Nmi => (vector::NMI, None, false),
    };
    // Faults save RF set, so that a breakpoint on the instruction does not trap again ("RF flag").
    let fault = matches!(event, Event::Exception { .. }) && !matches!(vector, vector::DB | vector::DF);
    let flags = env.state_ref().rflags() | if fault { rflags::RF } else { 0 };
    let arrival = Arrival { vector, error, software, flags, rip };
    let done = if !env.state_ref().protected() {
        real(env, arrival)
    } else if env.state_ref().long_mode() {
        long(env, arrival)
    } else {
        protected(env, arrival)
    };
    done.map_err(|fault| external(fault, software))?;
    if event == Event::Nmi {
        env.state().nmi_blocked = true;
    }
    if vector == vector::DB {
        // The handler may access the debug registers (SDM volume 3, "Debug Control Register (DR7)").
        env.state().dr7 &= !dr7::GD;
    }
    env.changed(Change::Context);
    env.changed(Change::Interrupts);
    env.changed(Change::Delivered);
    Ok(())
}

/// Sets EXT in error codes that name a selector, unless a software interrupt is delivered.
fn external(fault: Fault, software: bool) -> Fault {
    let selector = matches!(fault.vector, vector::TS | vector::NP | vector::SS | vector::GP);
    match fault.error {
        Some(error) if selector && !software => Fault { error: Some(error | 1), ..fault },
        _ => fault,
    }
}

/// Real-address mode: four bytes a vector, no privilege, no error code.
fn real<E: Env>(env: &mut E, arrival: Arrival) -> Result<(), Fault> {
    let idtr = env.state_ref().idtr;
    let offset = u64::from(arrival.vector) * 4;
    if offset + 3 > u64::from(idtr.limit) {
        return Err(Fault::gp(arrival.gate()));
    }
    let at = descriptor::table_address(env.state_ref(), idtr.base, offset);
    let pointer = env.read(at, Width::B4, SYSTEM)?;
    let mut stack = Stack::current(env.state_ref());
    let cs = env.state_ref().segment(seg::CS).selector;
    for value in [arrival.flags, u64::from(cs), arrival.rip] {
        stack.push(env, Width::B2, value)?;
    }
    let selector = (pointer >> 16) as u16;
    let state = env.state();
    stack.commit(state);
    state.system_flags &= !(rflags::IF | rflags::TF | rflags::AC | rflags::RF);
    *state.segment_mut(seg::CS) = state.real_code(selector);
    env.jump_to(pointer & 0xffff);
    Ok(())
}

/// A gate of the IDT.
struct Gate {
    selector: u16,
    offset: u64,
    kind: u8,
    ist: u8,
}

/// Reads and checks the gate of an event.
fn gate<E: Env>(env: &mut E, arrival: Arrival) -> Result<Gate, Fault> {
    let long = env.state_ref().long_mode();
    let size = if long { 16 } else { 8 };
    let idtr = env.state_ref().idtr;
    let offset = u64::from(arrival.vector) * size;
    if offset + size - 1 > u64::from(idtr.limit) {
        return Err(Fault::gp(arrival.gate()));
    }
    let at = descriptor::table_address(env.state_ref(), idtr.base, offset);
    let raw = env.read(at, Width::B8, SYSTEM)?;
    let kind = (raw >> 40 & 0x1f) as u8;
    let known = match kind {
        kind::INTERRUPT | kind::TRAP => true,
        // A task gate would be a task switch, which this processor does not do.
        kind::INTERRUPT16 | kind::TRAP16 => !long,
        _ => false,
    };
    let (dpl, present) = ((raw >> 45 & 3) as u8, raw >> 47 & 1 != 0);
    if !known || arrival.software && env.state_ref().cpl() > dpl {
        return Err(Fault::gp(arrival.gate()));
    }
    if !present {
        return Err(Fault::coded(vector::NP, arrival.gate()));
    }
    let mut offset = raw & 0xffff;
    if matches!(kind, kind::INTERRUPT | kind::TRAP) {
        offset |= raw >> 32 & 0xffff_0000;
    }
    if long {
        offset |= env.read(at.wrapping_add(8), Width::B4, SYSTEM)? << 32;
    }
    Ok(Gate { selector: (raw >> 16) as u16, offset, kind, ist: (raw >> 32 & 7) as u8 })
}

/// Reads and checks the code segment of a gate; gives it and the level that the handler runs at.
fn handler_segment<E: Env>(env: &mut E, selector: u16) -> Result<(Segment, u8), Fault> {
    if descriptor::is_null(selector) {
        return Err(Fault::gp(0));
    }
    let cpl = env.state_ref().cpl();
    let long = env.state_ref().long_mode();
    let descriptor = descriptor::read(env, selector, vector::GP)?;
    let s = descriptor.segment();
    let refused = Fault::gp(code_of(selector));
    if !s.is_code() || s.dpl > cpl || long && (!s.long || s.big) {
        return Err(refused);
    }
    if !s.present {
        return Err(Fault::coded(vector::NP, code_of(selector)));
    }
    let level = if s.is_conforming() { cpl } else { s.dpl };
    let loaded = descriptor.accessed(env)?;
    Ok((Segment { selector: selector & !3 | u16::from(level), ..loaded }, level))
}

/// Long mode: 64-bit gates, the stack aligned to 16 bytes, SS and RSP always saved.
fn long<E: Env>(env: &mut E, arrival: Arrival) -> Result<(), Fault> {
    let gate = gate(env, arrival)?;
    let (cs, level) = handler_segment(env, gate.selector)?;
    let inner = level < env.state_ref().cpl();
    let old = *env.state_ref().segment(seg::SS);
    let old_cs = env.state_ref().segment(seg::CS).selector;
    let old_rsp = env.state_ref().gpr.get(4).copied().unwrap_or(0);
    let rsp = match gate.ist {
        0 if inner => tss_rsp(env, 4 + 8 * u64::from(level))?,
        0 => old_rsp,
        ist => tss_rsp(env, 0x24 + 8 * u64::from(ist - 1))?,
    };
    let mut stack = Stack::current64(env.state_ref());
    (stack.sp, stack.user) = (rsp & !0xf, level == 3);
    for value in [u64::from(old.selector), old_rsp, arrival.flags, u64::from(old_cs), arrival.rip] {
        stack.push(env, Width::B8, value)?;
    }
    if let Some(error) = arrival.error {
        stack.push(env, Width::B8, error.into())?;
    }
    if !env.state_ref().canonical(gate.offset) {
        return Err(Fault::gp(0));
    }
    let state = env.state();
    if inner {
        *state.segment_mut(seg::SS) =
            Segment { selector: level.into(), base: 0, dpl: level, ..Segment::null() };
    }
    *state.segment_mut(seg::CS) = cs;
    stack.commit(state);
    enter(env, &gate);
    Ok(())
}

/// Flags and address of the handler.
fn enter<E: Env>(env: &mut E, gate: &Gate) {
    let mut cleared = rflags::TF | rflags::NT | rflags::RF | rflags::VM;
    if matches!(gate.kind, kind::INTERRUPT | kind::INTERRUPT16) {
        cleared |= rflags::IF;
    }
    env.state().system_flags &= !cleared;
    env.jump_to(gate.offset);
}

/// Reads a stack pointer of the 64-bit TSS.
pub(crate) fn tss_rsp<E: Env>(env: &mut E, offset: u64) -> Result<u64, Fault> {
    let tr = env.state_ref().tr;
    if offset + 7 > u64::from(tr.limit) || tr.unusable {
        return Err(Fault::coded(vector::TS, code_of(tr.selector)));
    }
    env.read(tr.base.wrapping_add(offset), Width::B8, SYSTEM)
}

/// The stack for level `level` out of a 16- or 32-bit TSS: selector, stack pointer.
pub(crate) fn tss_stack<E: Env>(env: &mut E, level: u8) -> Result<(u16, u64), Fault> {
    let tr = env.state_ref().tr;
    let wide = matches!(tr.kind, kind::TSS | kind::TSS_BUSY);
    let (offset, width) = if wide { (4 + 8 * u64::from(level), 4) } else { (2 + 4 * u64::from(level), 2) };
    if offset + width + 1 > u64::from(tr.limit) || tr.unusable {
        return Err(Fault::coded(vector::TS, code_of(tr.selector)));
    }
    let at = descriptor::table_address(env.state_ref(), tr.base, offset);
    let sp = env.read(at, if wide { Width::B4 } else { Width::B2 }, SYSTEM)?;
    let at = descriptor::table_address(env.state_ref(), tr.base, offset + width);
    let ss = env.read(at, Width::B2, SYSTEM)?;
    Ok((ss as u16, sp))
}

/// The stack of level `level` for a transfer inwards, out of the TSS, checked; its segment is marked accessed.
pub(crate) fn inner_stack<E: Env>(env: &mut E, level: u8) -> Result<Stack, Fault> {
    let (selector, sp) = tss_stack(env, level)?;
    let descriptor = descriptor::stack_segment(env, selector, level, vector::TS)?;
    let ss = descriptor.accessed(env)?;
    let width = stack_width_with(&ss, Mode::Bits32);
    Ok(Stack { ss, sp: sp & width.mask(), width, user: level == 3, error: code_of(selector) })
}

/// Protected mode outside long mode: 16- and 32-bit gates.
fn protected<E: Env>(env: &mut E, arrival: Arrival) -> Result<(), Fault> {
    let gate = gate(env, arrival)?;
    let width = match gate.kind {
        kind::INTERRUPT | kind::TRAP => Width::B4,
        _ => Width::B2,
    };
    let (cs, level) = handler_segment(env, gate.selector)?;
    let old = Stack::current(env.state_ref());
    let old_cs = env.state_ref().segment(seg::CS).selector;
    let inner = level < env.state_ref().cpl();
    let mut stack = if inner { inner_stack(env, level)? } else { old };
    if inner {
        let old_sp = env.state_ref().gpr.get(4).copied().unwrap_or(0);
        stack.push(env, width, old.ss.selector.into())?;
        stack.push(env, width, old_sp)?;
    }
    for value in [arrival.flags, u64::from(old_cs), arrival.rip] {
        stack.push(env, width, value)?;
    }
    if let Some(error) = arrival.error {
        stack.push(env, width, error.into())?;
    }
    if gate.offset > u64::from(cs.limit) {
        return Err(Fault::gp(0));
    }
    let state = env.state();
    *state.segment_mut(seg::SS) = stack.ss;
    *state.segment_mut(seg::CS) = cs;
    stack.commit(state);
    enter(env, &gate);
    Ok(())
}
