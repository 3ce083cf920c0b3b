//! Named operations: what is not straight-line value code, defined once for every engine.
//!
//! Interpreter and evaluator call [`run`]; a translator may emit an operation inline instead, or call
//! it knowing its [`Effects`]. Integer and floating-point registers are in none of them: arguments and
//! result carry their values.

use crate::csr::{self, CsrAction};
use crate::{Change, Env, Trap, ops_fp, priv_ops};

pub use crate::ops_fp::{Fmt, FpOp};

/// What an instruction does to a CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CsrOp {
    /// Only reads.
    Read,
    /// Replaces the value by the argument.
    Write,
    /// Sets the bits that the argument has set.
    Set,
    /// Clears the bits that the argument has set.
    Clear,
}

/// What a cache-block instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockOp {
    /// `cbo.inval`
    Inval,
    /// `cbo.clean`
    Clean,
    /// `cbo.flush`
    Flush,
    /// `cbo.zero`
    Zero,
}

/// A named operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `fence.i`
    FenceI,
    /// `ecall`
    Ecall,
    /// `ebreak`
    Ebreak,
    /// `mret`
    Mret,
    /// `sret`
    Sret,
    /// `wfi`
    Wfi,
    /// `pause`: a hint, which changes nothing
    Pause,
    /// `sfence.vma` of `[va, asid, whether va is named, whether asid is]`
    SfenceVma,
    /// `sinval.vma`, likewise
    SinvalVma,
    /// `sfence.w.inval`
    SfenceWInval,
    /// `sfence.inval.ir`
    SfenceInvalIr,
    /// An access to the CSR with this number, of `[value or mask]`; gives the old value.
    Csr(CsrOp, u16),
    /// An operation on the cache block that holds `[va]`.
    Block(BlockOp),
    /// A floating-point operation on `[a, b, c, rounding mode]`, `rm` 7 being that in `frm`.
    Fp(FpOp, Fmt),
}

/// Parts of the machine's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parts(u8);

impl Parts {
    /// Nothing.
    pub const NONE: Parts = Parts(0);
    /// `fflags`, and `mstatus.FS` becoming dirty with it.
    pub const FLAGS: Parts = Parts(1);
    /// `frm`.
    pub const ROUNDING: Parts = Parts(2);
    /// Guest memory.
    pub const MEMORY: Parts = Parts(4);
    /// Every other CSR, the privilege mode, and what is derived from them: translation, permissions,
    /// interrupts, which instructions are legal.
    pub const SYSTEM: Parts = Parts(8);
    /// What is executed next.
    pub const CONTROL: Parts = Parts(16);

    /// These and `other`.
    #[must_use]
    pub const fn and(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Parts) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some of `other` are among these.
    pub const fn touches(self, other: Parts) -> bool {
        self.0 & other.0 != 0
    }
}

/// What an operation depends on and changes besides its arguments and result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effects {
    /// What it depends on.
    pub reads: Parts,
    /// What it may change.
    pub writes: Parts,
    /// Whether it may trap. An operation that traps has changed nothing.
    pub traps: bool,
}

impl Op {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        use Parts as P;
        let system = P::SYSTEM;
        match self {
            Op::FenceI => Effects { reads: P::MEMORY, writes: P::CONTROL, traps: false },
            Op::Ecall | Op::Ebreak => Effects { reads: system, writes: P::NONE, traps: true },
            Op::Mret | Op::Sret => Effects { reads: system, writes: system.and(P::CONTROL), traps: true },
            Op::Wfi => Effects { reads: system, writes: P::CONTROL, traps: true },
            Op::Pause => Effects { reads: P::NONE, writes: P::NONE, traps: false },
            Op::SfenceVma | Op::SinvalVma | Op::SfenceWInval | Op::SfenceInvalIr => {
                Effects { reads: system.and(P::MEMORY), writes: system, traps: true }
            }
            Op::Csr(op, number) => csr_effects(op, number),
            Op::Block(BlockOp::Zero) => Effects { reads: system, writes: P::MEMORY, traps: true },
            Op::Block(_) => Effects { reads: system.and(P::MEMORY), writes: P::NONE, traps: true },
            Op::Fp(op, _) => Effects {
                reads: if op.rounds() { P::ROUNDING } else { P::NONE },
                writes: if matches!(op, FpOp::Class) { P::NONE } else { P::FLAGS },
                traps: op.rounds(),
            },
        }
    }
}

/// The effects of a CSR access: `fflags` 1, `frm` 2 and `fcsr` 3 touch the floating-point state.
const fn csr_effects(op: CsrOp, number: u16) -> Effects {
    let state = match number {
        1 => Parts::FLAGS,
        2 => Parts::ROUNDING,
        3 => Parts::FLAGS.and(Parts::ROUNDING),
        _ => Parts::SYSTEM,
    };
    let writes = match op {
        CsrOp::Read => Parts::NONE,
        _ if number <= 3 => state.and(Parts::FLAGS),
        _ => state.and(Parts::CONTROL).and(Parts::FLAGS),
    };
    Effects { reads: state.and(Parts::SYSTEM).and(Parts::FLAGS), writes, traps: true }
}

/// Runs `op`.
///
/// # Errors
/// The trap that the operation takes; nothing has changed then.
#[inline(always)]
pub fn run<E: Env>(env: &mut E, op: Op, args: [u64; 4]) -> Result<u64, Trap> {
    let va = (args[2] != 0).then_some(args[0]);
    let asid = (args[3] != 0).then_some(args[1]);
    match op {
        Op::Fp(op, fmt) => return ops_fp::run(env, op, fmt, args),
        Op::Csr(op, number) => return csr_access(env, op, number, args),
        Op::FenceI => env.changed(Change::FenceI),
        Op::Ecall => return Err(priv_ops::ecall(env)),
        Op::Ebreak => return Err(priv_ops::ebreak(env)),
        Op::Mret => priv_ops::mret(env)?,
        Op::Sret => priv_ops::sret(env)?,
        Op::Wfi => priv_ops::wfi(env)?,
        Op::Pause => env.pause(),
        Op::SfenceVma => priv_ops::sfence_vma(env, va, asid)?,
        Op::SinvalVma => priv_ops::sinval_vma(env, va, asid)?,
        Op::SfenceWInval | Op::SfenceInvalIr => priv_ops::sfence_inval(env)?,
        Op::Block(BlockOp::Zero) => priv_ops::cbo_zero(env, args[0])?,
        Op::Block(BlockOp::Clean | BlockOp::Flush) => priv_ops::cbo_clean(env, args[0])?,
        Op::Block(BlockOp::Inval) => priv_ops::cbo_inval(env, args[0])?,
    }
    Ok(0)
}

#[inline(always)]
fn csr_access<E: Env>(env: &mut E, op: CsrOp, number: u16, [v, ..]: [u64; 4]) -> Result<u64, Trap> {
    let action = match op {
        CsrOp::Read => CsrAction::Read,
        CsrOp::Write => CsrAction::Write(v),
        CsrOp::Set => CsrAction::Set(v),
        CsrOp::Clear => CsrAction::Clear(v),
    };
    csr::access(env, number, action)
}
