//! What the emitter does about each named operation.

use engine_emit::{Float, Operation, Sse};
use isa_riscv::ops::{Fmt, FpOp, Op};

/// For the operation with this number.
pub(crate) fn operation(number: u32) -> Operation {
    match Op::from_number(number) {
        Some(Op::Fp(op, Fmt::D)) => {
            emitted(op, Fmt::D).map_or(Operation::Call, |op| Operation::Float { op, double: true })
        }
        Some(Op::Fp(op, Fmt::S)) => {
            emitted(op, Fmt::S).map_or(Operation::Call, |op| Operation::Float { op, double: false })
        }
        Some(Op::Fp(..)) => Operation::Call,
        _ => Operation::Interpret,
    }
}

fn emitted(op: FpOp, fmt: Fmt) -> Option<Float> {
    Some(match op {
        FpOp::Add => Float::Arithmetic(Sse::Add),
        FpOp::Sub => Float::Arithmetic(Sse::Sub),
        FpOp::Mul => Float::Arithmetic(Sse::Mul),
        FpOp::Div => Float::Arithmetic(Sse::Div),
        FpOp::Sqrt => Float::Sqrt,
        FpOp::MulAdd => Float::Fused(false, false),
        FpOp::MulSub => Float::Fused(false, true),
        FpOp::NegMulAdd => Float::Fused(true, false),
        FpOp::NegMulSub => Float::Fused(true, true),
        FpOp::Min => Float::MinMax(false),
        FpOp::Max => Float::MinMax(true),
        FpOp::Eq => Float::Eq,
        FpOp::Lt => Float::Less(false),
        FpOp::Le => Float::Less(true),
        FpOp::FromI32 => Float::FromInt(false, true),
        FpOp::FromU32 => Float::FromInt(false, false),
        FpOp::FromI64 => Float::FromInt(true, true),
        FpOp::ToI32 => Float::ToInt(false),
        FpOp::ToI64 => Float::ToInt(true),
        FpOp::From(from) if from != Fmt::H && from != fmt => Float::Convert,
        _ => return None,
    })
}
