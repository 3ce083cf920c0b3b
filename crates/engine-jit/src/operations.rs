//! What the emitter does about each named operation.

use crate::layout::hart_at;
use engine_emit::{Access, Float, Modes, Operation, Register, Sse};
use engine_interp::{Cpu, FP, LINEAR};
use isa_riscv::csr_fields::mstatus;
use isa_riscv::csr_table::{Csr, find};
use isa_riscv::ops::{CsrOp, Fmt, FpOp, Op};
use isa_riscv::{Csrs, Hart, Mode};
use std::mem::offset_of;

/// Where the privilege mode is in a block's modes, above what [`Cpu::floats`] has.
const PRIVILEGE: u32 = 16;
/// The hart has S-mode.
const SUPERVISOR: u32 = 1 << 18;

/// The modes that the meaning of code depends on.
pub(crate) fn modes(cpu: &Cpu) -> u32 {
    let supervisor = if cpu.hart.features.supervisor { SUPERVISOR } else { 0 };
    cpu.floats() | (cpu.hart.mode as u32) << PRIVILEGE | supervisor
}

fn privilege(key: u32) -> Mode {
    Mode::from_bits(u64::from(key >> PRIVILEGE & 3)).unwrap_or(Mode::U)
}

/// For the operation with this number.
pub(crate) fn operation(number: u32, modes: Modes) -> Operation {
    match Op::from_number(number) {
        Some(Op::Fp(op, Fmt::D)) => {
            emitted(op, Fmt::D).map_or(Operation::Call, |op| Operation::Float { op, double: true })
        }
        Some(Op::Fp(op, Fmt::S)) => {
            emitted(op, Fmt::S).map_or(Operation::Call, |op| Operation::Float { op, double: false })
        }
        Some(Op::Fp(..)) => Operation::Call,
        Some(Op::Csr(op, number)) => csr(op, number, modes.key),
        Some(_) => Operation::System { status: false },
        None => Operation::Interpret,
    }
}

/// Whether an instruction that does this may have others behind it in its block, though it ends one elsewhere.
pub(crate) fn goes_on(operation: Operation) -> bool {
    matches!(operation, Operation::Register(..))
}

/// What is in memory as it is read.
const fn plain(at: i32, writable: u64) -> Register {
    Register { at, visible: u64::MAX, readable: true, writable }
}

/// The register that holds `csr`, if it can be read in place with floating point as in `key`, and whether it can be
/// written there.
fn register(csr: Csr, key: u32) -> Option<(Register, bool)> {
    macro_rules! at {
        ($field:ident) => {
            hart_at(offset_of!(Hart, csr) + offset_of!(Csrs, $field))
        };
    }
    let read = |at| Some((plain(at, 0), false));
    let both = |at, writable| Some((plain(at, writable), true));
    // SD is set if floating-point state is dirty, which is not known where there is any.
    let readable = key & FP == 0;
    // With C, which translated code has.
    let even = !1;
    match csr {
        Csr::Sscratch => both(at!(sscratch), u64::MAX),
        Csr::Sepc => both(at!(sepc), even),
        Csr::Scause => both(at!(scause), u64::MAX),
        Csr::Stval => both(at!(stval), u64::MAX),
        Csr::Mscratch => both(at!(mscratch), u64::MAX),
        Csr::Mepc => both(at!(mepc), even),
        Csr::Mcause => both(at!(mcause), u64::MAX),
        Csr::Mtval => both(at!(mtval), u64::MAX),
        Csr::Stvec => read(at!(stvec)),
        Csr::Mtvec => read(at!(mtvec)),
        Csr::Scounteren => read(at!(scounteren)),
        Csr::Mcounteren => read(at!(mcounteren)),
        Csr::Senvcfg => read(at!(senvcfg)),
        Csr::Menvcfg => read(at!(menvcfg)),
        Csr::Medeleg => read(at!(medeleg)),
        Csr::Mideleg => read(at!(mideleg)),
        Csr::Mie => read(at!(mie)),
        // TVM may forbid it in S-mode.
        Csr::Satp if privilege(key) == Mode::M => read(at!(satp)),
        Csr::Mhartid => read(hart_at(offset_of!(Hart, hartid))),
        Csr::Mstatus => Some((Register { readable, ..plain(at!(mstatus), u64::MAX) }, false)),
        Csr::Sstatus => {
            let visible = mstatus::S_VISIBLE;
            Some((Register { visible, readable, ..plain(at!(mstatus), u64::MAX) }, false))
        }
        _ => None,
    }
}

/// An access to a CSR.
fn csr(op: CsrOp, number: u16, key: u32) -> Operation {
    let Some(row) = find(number) else { return Operation::System { status: false } };
    let status = matches!(row.csr, Csr::Mstatus | Csr::Sstatus | Csr::Fflags | Csr::Frm | Csr::Fcsr);
    let call = Operation::System { status };
    // Those that `register` knows exist on every hart, or on those with S-mode.
    let exists =
        key & SUPERVISOR != 0 || row.number >> 8 & 3 == 3 && !matches!(row.csr, Csr::Medeleg | Csr::Mideleg);
    if privilege(key) < row.least_mode() || !exists {
        return call;
    }
    let Some((register, writable)) = register(row.csr, key) else { return call };
    match (op, row.csr) {
        (CsrOp::Read, _) if register.readable => Operation::Register(Access::Read, register),
        (CsrOp::Read, _) => call,
        // Fewer interrupts than before: nothing to look for.
        (CsrOp::Clear, Csr::Sstatus) => Operation::Toggle(register, mstatus::SIE),
        (CsrOp::Clear, Csr::Mstatus) => Operation::Toggle(register, mstatus::SIE | mstatus::MIE),
        _ if !writable => call,
        (CsrOp::Write, _) => Operation::Register(Access::Write, register),
        (CsrOp::Set, _) => Operation::Register(Access::Set, register),
        (CsrOp::Clear, _) => Operation::Register(Access::Clear, register),
    }
}

/// The modes that the emitter knows, of those in a block's key.
pub(crate) fn emitter_modes(cpu: &Cpu, key: u32) -> Modes {
    Modes {
        frm: (key >> engine_interp::FRM & 7) as u8,
        floats: key & FP != 0,
        key,
        linear: (key & LINEAR != 0).then_some(cpu.native.linear_base),
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
