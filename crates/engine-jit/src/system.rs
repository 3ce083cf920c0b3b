//! Named operations and traps, called from emitted code: they are done there, and emitted code goes on behind them or where
//! they lead, without coming back to the run loop if the code is at hand and nothing must be looked at first.

use crate::helpers::Answer;
use crate::jit::{Translator, fflags, mxcsr};
use engine_emit::{Info, Leave};
use engine_interp::{Cpu, FP};
use isa_riscv::ops::{self, Op};
use isa_riscv::{Exception, Trap, priv_ops};

/// Leaves for the interpreter, which does the instruction.
pub(crate) fn step(cpu: &mut Cpu, info: Info) -> Answer {
    cpu.hart.pc = cpu.native.page_va.wrapping_add(info.offset());
    cpu.native.budget += info.left();
    leave(Leave::Step)
}

fn leave(reason: Leave) -> Answer {
    Answer { value: 0, status: reason as u64 + 1 }
}

/// Has the processor's state show that the instruction is being run.
#[inline]
pub(crate) fn begin(cpu: &mut Cpu, info: Info) {
    cpu.block_pc = cpu.native.page_va.wrapping_add(info.offset());
    cpu.position = 0;
    let left = cpu.native.budget + info.left();
    cpu.retired = cpu.native.end.wrapping_sub(left as u64);
}

/// Takes a trap at the instruction begun.
pub(crate) fn take(cpu: &mut Cpu, info: Info, trap: Trap) -> Answer {
    cpu.native.budget += info.left();
    if let Some(exit) = cpu.trap(trap) {
        cpu.native.exit = Some(exit);
        return leave(Leave::Exit);
    }
    // Traps alone use up no budget.
    if cpu.traps.futile() {
        return leave(Leave::Lookup);
    }
    elsewhere(cpu, 0)
}

/// What translates, to be used while emitted code waits.
fn with_translator<R>(cpu: &mut Cpu, f: impl FnOnce(&mut Translator, &mut Cpu) -> R) -> R {
    let translator = cpu.native.translator as *mut Translator;
    // SAFETY: `Jit::enter` has put it there for the time that emitted code runs, and does not use it itself meanwhile. Only
    // functions that emitted code calls get here, one at a time, and what they do does not get here again.
    f(unsafe { &mut *translator }, cpu)
}

/// Goes on at the program counter.
fn elsewhere(cpu: &mut Cpu, value: u64) -> Answer {
    let go = cpu.stop_at != 0 && cpu.native.budget > 0;
    // The code that called is still needed: nothing may be put in its place.
    let find = |t: &mut Translator, cpu: &mut Cpu| if t.cache.full() { None } else { t.find(cpu) };
    let host = if go { with_translator(cpu, find) } else { None };
    Answer { value, status: host.unwrap_or(Leave::Lookup as u64 + 1) }
}

/// Brings `fflags` up to what MXCSR, which the processor's state holds, has collected.
fn fold_flags(cpu: &mut Cpu) {
    let flags = fflags(cpu.native.mxcsr);
    cpu.native.mxcsr = mxcsr(cpu.hart.csr.frm);
    if flags != 0 {
        cpu.hart.csr.fflags |= flags;
        cpu.hart.csr.set_fp_dirty();
    }
}

/// Runs one of the operations that are hot by themselves.
#[inline]
fn hot(cpu: &mut Cpu, number: u32, info: Info) -> Option<Answer> {
    const ECALL: u32 = Op::Ecall.number();
    const MRET: u32 = Op::Mret.number();
    const SRET: u32 = Op::Sret.number();
    let returned = match number {
        ECALL => {
            begin(cpu, info);
            let trap = priv_ops::ecall(cpu);
            return Some(take(cpu, info, trap));
        }
        MRET => {
            begin(cpu, info);
            priv_ops::mret(cpu)
        }
        SRET => {
            begin(cpu, info);
            priv_ops::sret(cpu)
        }
        _ => return None,
    };
    if returned.is_err() {
        return Some(step(cpu, info));
    }
    cpu.hart.pc = cpu.next_pc;
    cpu.native.budget += info.left() - 1;
    Some(elsewhere(cpu, 0))
}

/// Runs the operation with this number. `status` says that MXCSR is in the processor's state if floating-point instructions
/// are legal, and what is there then counts after it.
#[inline]
pub(crate) fn run(cpu: &mut Cpu, number: u32, info: Info, status: bool) -> Answer {
    hot(cpu, number, info).unwrap_or_else(|| any(cpu, number, info, status))
}

#[inline(never)]
fn any(cpu: &mut Cpu, number: u32, info: Info, status: bool) -> Answer {
    let Some(op) = Op::from_number(number) else { return step(cpu, info) };
    begin(cpu, info);
    let args = cpu.native.args;
    let next = cpu.block_pc.wrapping_add(1 << info.width());
    cpu.next_pc = next;
    let code = cpu.code.number();
    let floats = cpu.code_floats;
    if status && floats & FP != 0 {
        fold_flags(cpu);
    }
    let value = match ops::run(cpu, op, args) {
        Ok(value) => value,
        // Only the interpreter knows the instruction's bits.
        Err(Trap { cause: Exception::IllegalInsn, tval: 0 }) => return step(cpu, info),
        Err(trap) => return take(cpu, info, trap),
    };
    // A region holds blocks that it goes on to by itself: if any block is gone, this code is not what to go on with.
    let holds = op != Op::FenceI
        || with_translator(cpu, |t, cpu| {
            let killed = t.cache.killed;
            t.catch_up(cpu);
            t.cache.killed == killed
        });
    if status {
        cpu.note_dirty();
        cpu.note_floats();
    }
    if holds && cpu.code.number() == code && cpu.stop_at != 0 && cpu.next_pc == next {
        return Answer { value, status: 0 };
    }
    cpu.hart.pc = cpu.next_pc;
    cpu.native.budget += info.left() - 1;
    if cpu.code_floats != floats {
        cpu.native.mxcsr = mxcsr(cpu.hart.csr.frm);
    }
    elsewhere(cpu, value)
}
