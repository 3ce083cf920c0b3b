//! CPUID, counters and MSRs as instructions.

use crate::ops_system::privileged;
use crate::{Env, Fault, cpuid, cr4, msr};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InfoOp {
    /// `cpuid`
    Identify,
    /// `rdtsc`: the count.
    ReadTsc,
    /// `rdpid`, and the rest of `rdtscp`: IA32_TSC_AUX.
    ReadTscAux,
    /// `rdpmc`: there are no counters.
    ReadCounter,
    /// `rdmsr`: number in ECX, value to EDX:EAX.
    ReadMsr,
    /// `wrmsr`
    WriteMsr,
}

/// Runs one.
///
/// # Errors
/// #GP(0)
pub fn run<E: Env>(env: &mut E, op: InfoOp) -> Result<u64, Fault> {
    let [rax, rcx, rdx, ..] = env.state_ref().gpr;
    match op {
        InfoOp::Identify => {
            let leaf = cpuid::leaf(env.state_ref(), rax as u32, rcx as u32);
            let state = env.state();
            let [rax, rcx, rdx, rbx, ..] = &mut state.gpr;
            *rax = leaf.eax.into();
            *rbx = leaf.ebx.into();
            *rcx = leaf.ecx.into();
            *rdx = leaf.edx.into();
            env.changed(crate::Change::Serialize);
            Ok(0)
        }
        InfoOp::ReadTsc => {
            let state = env.state_ref();
            if state.cr4 & cr4::TSD != 0 && state.cpl() != 0 && state.protected() {
                return Err(Fault::gp(0));
            }
            let offset = state.msrs.tsc_offset;
            Ok(env.tsc().wrapping_add(offset))
        }
        InfoOp::ReadTscAux => Ok(env.state_ref().msrs.tsc_aux),
        InfoOp::ReadCounter => Err(Fault::gp(0)),
        InfoOp::ReadMsr => {
            privileged(env)?;
            let value = msr::read(env, rcx as u32)?;
            let [rax, _, rdx, ..] = &mut env.state().gpr;
            (*rax, *rdx) = (value & 0xffff_ffff, value >> 32);
            Ok(0)
        }
        InfoOp::WriteMsr => {
            privileged(env)?;
            msr::write(env, rcx as u32, rdx << 32 | rax & 0xffff_ffff)?;
            Ok(0)
        }
    }
}
