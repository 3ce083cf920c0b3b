//! Operations of the system architecture, by theme.

use crate::ops::{Effects, Parts};
use crate::ops_system_control::{self, ControlOp};
use crate::ops_system_fpu::{self, FpuOp};
use crate::ops_system_info::{self, InfoOp};
use crate::ops_system_io::{self, IoOp};
use crate::ops_system_segment::{self, SegmentOp};
use crate::ops_system_transfer::{self, TransferOp};
use crate::{Env, Fault};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemOp {
    /// Control and debug registers, translations, the system flags.
    Control(ControlOp),
    /// x87 and SSE state as a whole.
    Fpu(FpuOp),
    /// CPUID, counters, MSRs.
    Info(InfoOp),
    /// Ports.
    Io(IoOp),
    /// Segment and descriptor-table registers.
    Segment(SegmentOp),
    /// Far transfers, software interrupts, system calls.
    Transfer(TransferOp),
}

impl SystemOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let all = Parts::REGISTERS.and(Parts::STATUS).and(Parts::MEMORY).and(Parts::SYSTEM);
        Effects { reads: all, writes: all.and(Parts::CONTROL), faults: true }
    }
}

/// Runs one.
///
/// # Errors
/// Its fault.
pub fn run<E: Env>(env: &mut E, op: SystemOp, args: [u64; 4]) -> Result<u64, Fault> {
    match op {
        SystemOp::Control(op) => ops_system_control::run(env, op, args),
        SystemOp::Fpu(op) => ops_system_fpu::run(env, op, args),
        SystemOp::Info(op) => ops_system_info::run(env, op),
        SystemOp::Io(op) => ops_system_io::run(env, op, args),
        SystemOp::Segment(op) => ops_system_segment::run(env, op, args),
        SystemOp::Transfer(op) => ops_system_transfer::run(env, op, args),
    }
}

/// Checks that the processor is at privilege level 0.
///
/// # Errors
/// #GP(0)
pub(crate) fn privileged<E: Env>(env: &E) -> Result<(), Fault> {
    if env.state_ref().cpl() == 0 { Ok(()) } else { Err(Fault::gp(0)) }
}
