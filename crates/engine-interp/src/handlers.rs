//! Handlers: for each instruction, a function that runs its meaning and then the next op.

use crate::blocks::Op;
use crate::cpu::Cpu;
use isa_riscv::{Insn, for_each_insn, sem};

/// How a run of ops ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flow {
    /// All ops ran; `Cpu::next_pc` says where to go on.
    End,
    /// The op at `Cpu::position` stopped; `Cpu::stop` says why.
    Stopped,
}

/// Runs an op, then the rest of its block.
///
/// The call to the next op is the last thing a handler does, so an optimised build makes a jump of
/// it; a build that does not, nests at most as deep as a block is long.
pub(crate) type Handler = fn(&mut Cpu, &Op, &[Op]) -> Flow;

/// Goes on with the rest of the block.
#[inline(always)]
fn proceed(cpu: &mut Cpu, rest: &[Op]) -> Flow {
    match rest.split_first() {
        Some((next, rest)) => (next.run)(cpu, next, rest),
        None => Flow::End,
    }
}

macro_rules! handlers {
    ($( ($Variant:ident, $meaning:ident) )*) => {
        /// The handlers, each named after its instruction.
        mod of {
            use super::*;
            $(
                pub fn $meaning(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
                    cpu.position = op.position;
                    let Insn::$Variant(args) = op.insn else { return Flow::End };
                    match sem::$meaning(cpu, args) {
                        Ok(()) => proceed(cpu, rest),
                        Err(stop) => {
                            cpu.stop = stop;
                            Flow::Stopped
                        }
                    }
                }
            )*
        }

        /// The handler of an instruction.
        pub(crate) fn handler_of(insn: Insn) -> Handler {
            match insn { $( Insn::$Variant(_) => of::$meaning, )* }
        }
    };
}

for_each_insn!(handlers);

/// The handler of what is no instruction.
pub(crate) fn illegal(cpu: &mut Cpu, op: &Op, _rest: &[Op]) -> Flow {
    cpu.position = op.position;
    cpu.stop = isa_riscv::Trap::illegal().into();
    Flow::Stopped
}
