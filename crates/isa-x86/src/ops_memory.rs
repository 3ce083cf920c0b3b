//! Operations on memory that are no load, store or atomic of one word.

use crate::ops::{Effects, Parts};
use crate::{Access, Env, Fault};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryOp {
    /// `cmpxchg16b` at linear address `[la]`: registers and ZF too.
    CompareExchange16,
    /// Checks that the byte at linear address `[la]` may be read, and reads nothing (`clflush`).
    Probe,
    /// `pause`: this is a spin loop.
    Pause,
    /// [`crate::X86Machine::linear`] of `[offset]`: what a translator calls, or emits inline.
    Linear {
        /// Number of the segment register.
        segment: u8,
        /// Bytes of the access.
        width: Width,
        /// Whether it writes.
        write: bool,
    },
    /// [`crate::X86Machine::load_for_update`] of `[la]`.
    LoadForUpdate(Width),
    /// [`crate::X86Machine::compare_exchange`] of `[la, expected, new]`.
    CompareExchange(Width),
    /// Of `[condition, target]`: #GP(0) if the condition is not 0 and code may not go on at the target.
    CheckTarget,
    /// Of `[condition, vector, whether it has an error code, the code]`: the exception, if the condition is not 0.
    FaultIf,
}

impl MemoryOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let checks = Effects { reads: Parts::SYSTEM, writes: Parts::NONE, faults: true };
        match self {
            MemoryOp::CompareExchange16 => {
                let all = Parts::REGISTERS.and(Parts::STATUS).and(Parts::MEMORY);
                Effects { reads: all.and(Parts::SYSTEM), writes: all, faults: true }
            }
            MemoryOp::CompareExchange(_) => {
                Effects { reads: Parts::MEMORY.and(Parts::SYSTEM), writes: Parts::MEMORY, faults: true }
            }
            MemoryOp::LoadForUpdate(_) => Effects { reads: Parts::MEMORY.and(Parts::SYSTEM), ..checks },
            MemoryOp::Probe | MemoryOp::Linear { .. } | MemoryOp::CheckTarget => checks,
            MemoryOp::FaultIf => Effects { reads: Parts::NONE, ..checks },
            MemoryOp::Pause => Effects { reads: Parts::NONE, writes: Parts::CONTROL, faults: false },
        }
    }
}

/// Runs one.
///
/// # Errors
/// The access's fault.
pub fn run<E: Env>(env: &mut E, op: MemoryOp, [a, b, c, d]: [u64; 4]) -> Result<u64, Fault> {
    let cpl = env.state_ref().cpl();
    match op {
        MemoryOp::CompareExchange16 => compare_exchange_16(env, a)?,
        MemoryOp::Probe => env.probe(a, 1, Access::data(cpl, false))?,
        MemoryOp::Pause => env.pause(),
        MemoryOp::Linear { segment, width, write } => return env.linear(segment, a, width.bytes(), write),
        MemoryOp::LoadForUpdate(width) => return env.read(a, width, Access::data(cpl, true)),
        MemoryOp::CompareExchange(width) => {
            return env.compare_exchange(a, width, b, c, Access::data(cpl, true));
        }
        MemoryOp::CheckTarget if a != 0 => env.state_ref().check_target(b)?,
        MemoryOp::FaultIf if a != 0 => {
            return Err(Fault { vector: b as u8, error: (c != 0).then_some(d as u32), address: None });
        }
        MemoryOp::CheckTarget | MemoryOp::FaultIf => {}
    }
    Ok(0)
}

/// SDM volume 2, "CMPXCHG8B/CMPXCHG16B": the operand must be aligned; RDX:RAX is compared, RCX:RBX stored; only ZF is
/// affected.
fn compare_exchange_16<E: Env>(env: &mut E, la: u64) -> Result<(), Fault> {
    if !la.is_multiple_of(16) {
        return Err(Fault::gp(0));
    }
    let state = env.state_ref();
    let access = Access::data(state.cpl(), true);
    let [rax, rcx, rdx, rbx, ..] = state.gpr;
    let pair = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    let expected = pair(rdx, rax);
    let old = env.compare_exchange_16(la, expected, pair(rcx, rbx), access)?;
    let state = env.state();
    let equal = old == expected;
    if !equal {
        let [rax, _, rdx, ..] = &mut state.gpr;
        (*rax, *rdx) = (old as u64, (old >> 64) as u64);
    }
    state.set_zero(equal);
    Ok(())
}
