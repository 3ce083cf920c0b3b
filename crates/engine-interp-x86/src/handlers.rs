//! Handlers: for each meaning, a function that runs it and then the next op.

use crate::blocks::Op;
use crate::cpu::{Cpu, Stopped};
use isa_x86::{Fault, Insn, Meaning, for_each_meaning, sem};

/// How a run of ops ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flow {
    /// All ops ran; `Cpu::next_rip` says where to go on.
    End,
    /// The op at `Cpu::position` is done, and the block is to be left behind it.
    Left,
    /// The op at `Cpu::position` stopped; `Cpu::fault` says why.
    Faulted,
}

/// Runs an op, then the rest of its block.
///
/// The call to the next op is the last thing a handler does, so an optimised build makes a jump of
/// it; a build that does not, nests at most as deep as a block is long.
pub(crate) type Handler = fn(&mut Cpu, &Op, &[Op]) -> Flow;

/// Runs the meaning of an op, then the rest.
#[inline(always)]
fn step(
    cpu: &mut Cpu,
    op: &Op,
    rest: &[Op],
    meaning: impl FnOnce(&mut Cpu, &Insn) -> Result<(), Stopped>,
) -> Flow {
    cpu.position = op.position;
    if meaning(cpu, &op.insn).is_err() {
        return Flow::Faulted;
    }
    if cpu.leave {
        return Flow::Left;
    }
    match rest.split_first() {
        Some((next, rest)) => (next.run)(cpu, next, rest),
        None => Flow::End,
    }
}

macro_rules! handlers {
    ($( ($Mnemonic:ident, $meaning:ident) )*) => {
        /// The handler of a meaning.
        pub(crate) fn handler_of(meaning: Meaning) -> Handler {
            match meaning { $(
                Meaning::$Mnemonic => |cpu: &mut Cpu, op: &Op, rest: &[Op]| {
                    step(cpu, op, rest, |cpu, insn| sem::$meaning(cpu, insn))
                },
            )* }
        }
    };
}

for_each_meaning!(handlers);

/// The handler of what is no instruction.
pub(crate) fn undefined(cpu: &mut Cpu, op: &Op, _rest: &[Op]) -> Flow {
    cpu.position = op.position;
    cpu.fault = Fault::ud();
    Flow::Faulted
}

/// The handler of what is longer than an instruction may be.
pub(crate) fn too_long(cpu: &mut Cpu, op: &Op, _rest: &[Op]) -> Flow {
    cpu.position = op.position;
    cpu.fault = Fault::gp(0);
    Flow::Faulted
}
