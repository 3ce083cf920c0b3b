//! Numbers of the named operations: how the IR and emitted code refer to them. They are no saved state
//! and may change from build to build.

use crate::ops::{BlockOp, CsrOp, Fmt, FpOp, Op};

/// Operations without variants; their place is their number.
const PLAIN: [Op; 15] = [
    Op::FenceI,
    Op::Ecall,
    Op::Ebreak,
    Op::Mret,
    Op::Sret,
    Op::Wfi,
    Op::SfenceVma,
    Op::SinvalVma,
    Op::SfenceWInval,
    Op::SfenceInvalIr,
    Op::Block(BlockOp::Inval),
    Op::Block(BlockOp::Clean),
    Op::Block(BlockOp::Flush),
    Op::Block(BlockOp::Zero),
    Op::Pause,
];

const CSR: u32 = 1 << 16;
const CSR_OPS: [CsrOp; 4] = [CsrOp::Read, CsrOp::Write, CsrOp::Set, CsrOp::Clear];

const FP: u32 = 2 << 16;
const FORMATS: [Fmt; 3] = [Fmt::H, Fmt::S, Fmt::D];
const FP_OPS: [FpOp; 26] = [
    FpOp::Add,
    FpOp::Sub,
    FpOp::Mul,
    FpOp::Div,
    FpOp::Sqrt,
    FpOp::MulAdd,
    FpOp::MulSub,
    FpOp::NegMulAdd,
    FpOp::NegMulSub,
    FpOp::Min,
    FpOp::Max,
    FpOp::Eq,
    FpOp::Lt,
    FpOp::Le,
    FpOp::Class,
    FpOp::ToI32,
    FpOp::ToU32,
    FpOp::ToI64,
    FpOp::ToU64,
    FpOp::FromI32,
    FpOp::FromU32,
    FpOp::FromI64,
    FpOp::FromU64,
    FpOp::From(Fmt::H),
    FpOp::From(Fmt::S),
    FpOp::From(Fmt::D),
];

impl Op {
    /// The operation's number.
    pub const fn number(self) -> u32 {
        match self {
            Op::FenceI => 0,
            Op::Ecall => 1,
            Op::Ebreak => 2,
            Op::Mret => 3,
            Op::Sret => 4,
            Op::Wfi => 5,
            Op::SfenceVma => 6,
            Op::SinvalVma => 7,
            Op::SfenceWInval => 8,
            Op::SfenceInvalIr => 9,
            Op::Block(BlockOp::Inval) => 10,
            Op::Block(BlockOp::Clean) => 11,
            Op::Block(BlockOp::Flush) => 12,
            Op::Block(BlockOp::Zero) => 13,
            Op::Pause => 14,
            Op::Csr(op, csr) => CSR | (op as u32) << 12 | csr as u32 & 0xfff,
            Op::Fp(op, fmt) => FP | (fmt as u32) << 8 | fp_number(op),
        }
    }

    /// The operation with this number, if there is one.
    pub fn from_number(number: u32) -> Option<Op> {
        match number & !0xffff {
            0 => PLAIN.get(number as usize).copied(),
            CSR => {
                let op = CSR_OPS.get((number >> 12 & 0xf) as usize)?;
                Some(Op::Csr(*op, number as u16 & 0xfff))
            }
            FP => {
                let fmt = FORMATS.get((number >> 8 & 0xff) as usize)?;
                Some(Op::Fp(*FP_OPS.get((number & 0xff) as usize)?, *fmt))
            }
            _ => None,
        }
    }

    /// Every operation there is, with every CSR number.
    pub fn all() -> impl Iterator<Item = Op> {
        let csr = CSR_OPS.into_iter().flat_map(|op| (0..0x1000).map(move |csr| Op::Csr(op, csr)));
        let fp = FORMATS.into_iter().flat_map(|fmt| FP_OPS.into_iter().map(move |op| Op::Fp(op, fmt)));
        PLAIN.into_iter().chain(csr).chain(fp)
    }
}

const fn fp_number(op: FpOp) -> u32 {
    match op {
        FpOp::Add => 0,
        FpOp::Sub => 1,
        FpOp::Mul => 2,
        FpOp::Div => 3,
        FpOp::Sqrt => 4,
        FpOp::MulAdd => 5,
        FpOp::MulSub => 6,
        FpOp::NegMulAdd => 7,
        FpOp::NegMulSub => 8,
        FpOp::Min => 9,
        FpOp::Max => 10,
        FpOp::Eq => 11,
        FpOp::Lt => 12,
        FpOp::Le => 13,
        FpOp::Class => 14,
        FpOp::ToI32 => 15,
        FpOp::ToU32 => 16,
        FpOp::ToI64 => 17,
        FpOp::ToU64 => 18,
        FpOp::FromI32 => 19,
        FpOp::FromU32 => 20,
        FpOp::FromI64 => 21,
        FpOp::FromU64 => 22,
        FpOp::From(fmt) => 23 + fmt as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back() {
        let mut numbers = std::collections::BTreeSet::new();
        for op in Op::all() {
            assert_eq!(Op::from_number(op.number()), Some(op));
            assert!(numbers.insert(op.number()), "{op:?}");
        }
        let known = (0..4 << 16).filter(|n| Op::from_number(*n).is_some()).count();
        assert_eq!(known, numbers.len());
    }
}
