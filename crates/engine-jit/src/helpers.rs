//! What emitted code calls: accesses whose page is not at hand, atomic operations, named operations.
//!
//! Each gives a value and a status: 0 to go on, else one more than the reason to leave with. Whatever does not work out
//! leaves for the interpreter at the same instruction, which has changed nothing: there it traps, or reaches the device.

use engine_emit::{Helpers, Info, Leave};
use engine_interp::{Cpu, Stop};
use isa_core::{AmoOp, Width};
use isa_riscv::ops::{self, Op};

/// A value and a status, in rax and rdx.
#[repr(C)]
struct Answer {
    value: u64,
    status: u64,
}

/// Addresses of the functions.
pub(crate) fn helpers() -> Helpers {
    Helpers {
        load: load as *const () as u64,
        store: store as *const () as u64,
        call: call as *const () as u64,
        amo: amo as *const () as u64,
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

fn answer(cpu: &mut Cpu, info: u32, result: Result<u64, Stop>) -> Answer {
    match result {
        Ok(value) => Answer { value, status: 0 },
        Err(_) => {
            let info = Info(info);
            cpu.hart.pc = cpu.native.page_va.wrapping_add(info.offset());
            cpu.native.budget += info.left();
            Answer { value: 0, status: Leave::Step as u64 + 1 }
        }
    }
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
unsafe extern "C" fn call(cpu: *mut Cpu, number: u32, info: u32) -> Answer {
    // SAFETY: the caller's promise.
    let cpu = unsafe { &mut *cpu };
    let args = cpu.native.args;
    let result = match Op::from_number(number) {
        Some(op @ Op::Fp(..)) => ops::run(cpu, op, args).map_err(Stop::Trap),
        _ => Err(Stop::Alone),
    };
    answer(cpu, info, result)
}
