//! What emitted code calls: accesses whose page is not at hand, atomic operations, named operations.
//!
//! Each gives a value and a status: 0 to go on, else where to go on or one more than the reason to leave with. A trap is taken
//! at once. What must be run by itself leaves for the interpreter at the same instruction, which has changed nothing: there
//! it reaches the device.

use crate::system::{begin, step, take};
use engine_emit::{Helpers, Info};
use engine_interp::{Cpu, Stop};
use isa_core::{AmoOp, Width};
use isa_riscv::ops::{self, Op};
use isa_riscv::{Exception, Trap};

/// A value and a status, in rax and rdx.
#[repr(C)]
pub(crate) struct Answer {
    pub value: u64,
    pub status: u64,
}

/// Addresses of the functions.
pub(crate) fn helpers() -> Helpers {
    Helpers {
        load: load as *const () as u64,
        store: store as *const () as u64,
        float: float as *const () as u64,
        system: system as *const () as u64,
        status: status as *const () as u64,
        trap: trap as *const () as u64,
        amo: amo as *const () as u64,
        reserve: reserve as *const () as u64,
        conditional: conditional as *const () as u64,
    }
}

fn width(info: Info) -> Width {
    match info.width() {
        0 => Width::B1,
        1 => Width::B2,
        2 => Width::B4,
        _ => Width::B8,
    }
}

#[inline]
fn answer(cpu: &mut Cpu, info: u32, result: Result<u64, Stop>) -> Answer {
    match result {
        Ok(value) => Answer { value, status: 0 },
        Err(stop) => stopped(cpu, Info(info), stop),
    }
}

#[cold]
fn stopped(cpu: &mut Cpu, info: Info, stop: Stop) -> Answer {
    let Stop::Trap(trap) = stop else { return step(cpu, info) };
    begin(cpu, info);
    take(cpu, info, trap)
}

/// # Safety
/// `cpu` is the processor whose code calls, which nobody else uses meanwhile.
unsafe extern "C" fn load(cpu: *mut Cpu, va: u64, info: u32) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let result = cpu.load_fast(va, width(Info(info)));
    answer(cpu, info, result)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn store(cpu: *mut Cpu, va: u64, info: u32, v: u64) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let result = cpu.store_fast(va, width(Info(info)), v).map(|()| 0);
    answer(cpu, info, result)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn amo(cpu: *mut Cpu, va: u64, info: u32, v: u64) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let result = match amo_op(cpu.native.args[0]) {
        Some(op) => cpu.atomic(op, va, width(Info(info)), v),
        None => Err(Stop::Alone),
    };
    answer(cpu, info, result)
}

fn amo_op(number: u64) -> Option<AmoOp> {
    use AmoOp as A;
    let all = [A::Swap, A::Add, A::Xor, A::And, A::Or, A::Min, A::Max, A::MinU, A::MaxU, A::SubFrom];
    all.into_iter().find(|op| *op as u64 == number)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn reserve(cpu: *mut Cpu, va: u64, info: u32) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let result = cpu.reserve(va, width(Info(info)));
    answer(cpu, info, result)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn conditional(cpu: *mut Cpu, va: u64, info: u32, v: u64) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let result = cpu.conditional(va, width(Info(info)), v);
    answer(cpu, info, result)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn float(cpu: *mut Cpu, number: u32, info: u32) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let args = cpu.native.args;
    let result = match Op::from_number(number) {
        Some(op @ Op::Fp(..)) => ops::run(cpu, op, args).map_err(|_| Stop::Alone),
        _ => Err(Stop::Alone),
    };
    answer(cpu, info, result)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn system(cpu: *mut Cpu, number: u32, info: u32) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    crate::system::run(cpu, number, Info(info), false)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn status(cpu: *mut Cpu, number: u32, info: u32) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    crate::system::run(cpu, number, Info(info), true)
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn trap(cpu: *mut Cpu, cause: u32, info: u32, value: u64) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    // The only exception that is known when code is translated.
    if cause != Exception::IllegalInsn as u32 {
        return step(cpu, Info(info));
    }
    begin(cpu, Info(info));
    take(cpu, Info(info), Trap::new(Exception::IllegalInsn, value))
}
