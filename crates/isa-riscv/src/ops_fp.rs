//! The named floating-point operations (Unprivileged ISA, chapters "F", "D" and "Zfh").

use crate::{Env, Trap};
use isa_float::{F16, F32, F64, Flags, Format, Negate, RiscV, Round};

/// A floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fmt {
    /// Half precision.
    H,
    /// Single precision.
    S,
    /// Double precision.
    D,
}

impl Fmt {
    /// Bits of a number.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        match self {
            Fmt::H => 16,
            Fmt::S => 32,
            Fmt::D => 64,
        }
    }

    /// The canonical NaN, not boxed.
    #[inline(always)]
    pub const fn canonical_nan(self) -> u64 {
        match self {
            Fmt::H => 0x7e00,
            Fmt::S => 0x7fc0_0000,
            Fmt::D => 0x7ff8 << 48,
        }
    }
}

/// What a floating-point operation computes. Its format is that of the result, or of the operands if
/// the result is an integer. Floating-point operands and results are whole registers, boxes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FpOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `sqrt(a)`
    Sqrt,
    /// `(a * b) + c`, rounded once.
    MulAdd,
    /// `(a * b) - c`, rounded once.
    MulSub,
    /// `-(a * b) + c`, rounded once.
    NegMulAdd,
    /// `-(a * b) - c`, rounded once.
    NegMulSub,
    /// The smaller (754-2019 minimumNumber).
    Min,
    /// The larger (754-2019 maximumNumber).
    Max,
    /// 1 if `a == b`; quiet.
    Eq,
    /// 1 if `a < b`; signaling.
    Lt,
    /// 1 if `a <= b`; signaling.
    Le,
    /// The class of `a` as one bit of ten.
    Class,
    /// `a` as a signed 32-bit integer, sign-extended.
    ToI32,
    /// `a` as an unsigned 32-bit integer, sign-extended.
    ToU32,
    /// `a` as a signed 64-bit integer.
    ToI64,
    /// `a` as an unsigned 64-bit integer.
    ToU64,
    /// The low word of integer `a`, signed.
    FromI32,
    /// The low word of integer `a`, unsigned.
    FromU32,
    /// The signed integer `a`.
    FromI64,
    /// The unsigned integer `a`.
    FromU64,
    /// `a`, of another format.
    From(Fmt),
}

impl FpOp {
    /// Whether the last argument is a rounding mode. It is checked even where the result is exact
    /// ("Floating-Point Control and Status Register": such instructions treat `rm` as usual).
    #[inline(always)]
    pub const fn rounds(self) -> bool {
        !matches!(self, FpOp::Min | FpOp::Max | FpOp::Eq | FpOp::Lt | FpOp::Le | FpOp::Class)
    }
}

/// Runs `op` on `[a, b, c, rm]`.
///
/// # Errors
/// An illegal instruction if the rounding mode is reserved.
#[inline(always)]
pub(crate) fn run<E: Env>(env: &mut E, op: FpOp, fmt: Fmt, args: [u64; 4]) -> Result<u64, Trap> {
    match fmt {
        Fmt::H => accrue::<F16, E>(env, op, args),
        Fmt::S => accrue::<F32, E>(env, op, args),
        Fmt::D => accrue::<F64, E>(env, op, args),
    }
}

/// Runs `op` in format `F` and accrues its flags.
#[inline(always)]
fn accrue<F: Format<Bits = u64>, E: Env>(env: &mut E, op: FpOp, args: [u64; 4]) -> Result<u64, Trap> {
    let [a, b, c, rm] = args;
    let mode = if op.rounds() { rounding(env, rm)? } else { Round::NearestEven };
    let mut flags = Flags::NONE;
    let v = compute::<F>(op, a, b, c, mode, &mut flags);
    if flags != Flags::NONE {
        let csr = &mut env.hart().csr;
        csr.fflags |= flags.bits();
        csr.set_fp_dirty();
    }
    Ok(v)
}

/// The rounding mode that `rm` names: 7 is the one in `frm`.
#[inline(always)]
fn rounding<E: Env>(env: &E, rm: u64) -> Result<Round, Trap> {
    let rm = if rm == 7 { env.hart_ref().csr.frm } else { rm as u8 };
    Round::from_frm(rm).ok_or(Trap::illegal())
}

/// Bits of a number in format `F`.
const fn width<F: Format>() -> u32 {
    1 + F::EXPONENT_BITS + F::FRACTION_BITS
}

/// The number in a register: its low bits if it is boxed, else the canonical NaN.
#[inline(always)]
fn unboxed<F: Format<Bits = u64>>(v: u64) -> u64 {
    let width = const { width::<F>() };
    if width == 64 {
        v
    } else if v >> width == u64::MAX >> width {
        v & !(u64::MAX << width)
    } else {
        isa_float::canonical_nan::<F>()
    }
}

/// The register that holds a number.
#[inline(always)]
fn boxed<F: Format<Bits = u64>>(v: u64) -> u64 {
    let width = const { width::<F>() };
    if width == 64 { v } else { v | u64::MAX << width }
}

/// `fused`: `(a * b) + c` with signs as in `negate`.
#[inline(always)]
fn fused<F: Format<Bits = u64>>(
    [a, b, c]: [u64; 3],
    product: bool,
    addend: bool,
    mode: Round,
    flags: &mut Flags,
) -> u64 {
    let [a, b, c] = [a, b, c].map(unboxed::<F>);
    boxed::<F>(isa_float::fma_negated::<F, RiscV>(a, b, c, Negate { product, addend }, mode, flags))
}

#[inline(always)]
fn compute<F: Format<Bits = u64>>(op: FpOp, a: u64, b: u64, c: u64, mode: Round, flags: &mut Flags) -> u64 {
    use isa_float as fp;
    let (x, y) = (unboxed::<F>(a), unboxed::<F>(b));
    match op {
        FpOp::Add => boxed::<F>(fp::add::<F, RiscV>(x, y, mode, flags)),
        FpOp::Sub => boxed::<F>(fp::sub::<F, RiscV>(x, y, mode, flags)),
        FpOp::Mul => boxed::<F>(fp::mul::<F, RiscV>(x, y, mode, flags)),
        FpOp::Div => boxed::<F>(fp::div::<F, RiscV>(x, y, mode, flags)),
        FpOp::Sqrt => boxed::<F>(fp::sqrt::<F, RiscV>(x, mode, flags)),
        FpOp::MulAdd => fused::<F>([a, b, c], false, false, mode, flags),
        FpOp::MulSub => fused::<F>([a, b, c], false, true, mode, flags),
        FpOp::NegMulAdd => fused::<F>([a, b, c], true, false, mode, flags),
        FpOp::NegMulSub => fused::<F>([a, b, c], true, true, mode, flags),
        FpOp::Min => boxed::<F>(fp::min::<F, RiscV>(x, y, flags)),
        FpOp::Max => boxed::<F>(fp::max::<F, RiscV>(x, y, flags)),
        FpOp::Eq => u64::from(fp::eq::<F>(x, y, flags)),
        FpOp::Lt => u64::from(fp::lt::<F>(x, y, flags)),
        FpOp::Le => u64::from(fp::le::<F>(x, y, flags)),
        FpOp::Class => u64::from(fp::classify::<F>(x)),
        FpOp::ToI32 => fp::to_i32::<F, RiscV>(x, mode, flags) as u64,
        FpOp::ToU32 => fp::to_u32::<F, RiscV>(x, mode, flags) as i32 as u64,
        FpOp::ToI64 => fp::to_i64::<F, RiscV>(x, mode, flags) as u64,
        FpOp::ToU64 => fp::to_u64::<F, RiscV>(x, mode, flags),
        FpOp::FromI32 => boxed::<F>(fp::from_i32::<F, RiscV>(a as i32, mode, flags)),
        FpOp::FromU32 => boxed::<F>(fp::from_u32::<F, RiscV>(a as u32, mode, flags)),
        FpOp::FromI64 => boxed::<F>(fp::from_i64::<F, RiscV>(a as i64, mode, flags)),
        FpOp::FromU64 => boxed::<F>(fp::from_u64::<F, RiscV>(a, mode, flags)),
        FpOp::From(Fmt::H) => boxed::<F>(fp::convert::<F16, F, RiscV>(unboxed::<F16>(a), mode, flags)),
        FpOp::From(Fmt::S) => boxed::<F>(fp::convert::<F32, F, RiscV>(unboxed::<F32>(a), mode, flags)),
        FpOp::From(Fmt::D) => boxed::<F>(fp::convert::<F64, F, RiscV>(unboxed::<F64>(a), mode, flags)),
    }
}
