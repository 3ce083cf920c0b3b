//! Lifting: the meanings run on an IR builder.
//!
//! This is one of the two instantiations of the meanings in the product; the other is the hart of the
//! interpreter.

use crate::ops::{Op, Parts};
use crate::rows::flag;
use crate::{Exception, Legal, ROWS, RiscvMachine, csr_name, disasm, execute};
use isa_core::Machine;
use isa_ir::{Builder, Class, Effects, Holds, Isa, Stop, Value};

/// Class of the integer registers. Register 0 is never read or written.
pub const X: u8 = 0;
/// Class of the floating-point registers.
pub const F: u8 = 1;
/// Class of one register: writing 1 to it makes `mstatus.FS` dirty. It is a register of its own so that
/// the IR sees that a block needs to do so once.
pub const FS: u8 = 2;

/// What the IR must know of RISC-V.
pub static ISA: Isa = Isa {
    classes: &[
        Class { name: "x", count: 32, holds: Holds::I64 },
        Class { name: "f", count: 32, holds: Holds::I64 },
        Class { name: "fs", count: 1, holds: Holds::I64 },
    ],
    effects: |number| Op::from_number(number).map(effects),
    operation_name: |number| Op::from_number(number).map_or_else(String::new, name),
};

/// An operation's name in the IR's text form.
fn name(op: Op) -> String {
    match op {
        Op::Csr(op, csr) => match csr_name(csr) {
            Some(name) => format!("csr.{op:?}.{name}").to_lowercase(),
            None => format!("csr.{op:?}.{csr:#x}").to_lowercase(),
        },
        Op::Fp(op, fmt) => {
            let op = format!("{op:?}").replace('(', ".").replace(')', "");
            format!("fp.{op}.{fmt:?}").to_lowercase()
        }
        Op::Block(op) => format!("block.{op:?}").to_lowercase(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

/// An operation's effects, in the IR's terms.
fn effects(op: Op) -> Effects {
    let declared = op.effects();
    let floats = matches!(op, Op::Fp(..));
    Effects::new(parts(declared.reads, false), parts(declared.writes, floats), declared.traps)
}

/// Parts in the IR's terms. A floating-point operation that accrues flags makes FS dirty, as writing
/// the register [`FS`] does: what is known of that register stays true, so it does not count as
/// written (`only_accrues`).
fn parts(parts: Parts, only_accrues: bool) -> isa_ir::Parts {
    use isa_ir::Parts as Ir;
    let flags = if only_accrues { Ir::own(0) } else { Ir::own(0).and(Ir::class(FS)) };
    [
        (Parts::FLAGS, flags),
        (Parts::ROUNDING, Ir::own(1)),
        (Parts::MEMORY, Ir::MEMORY),
        (Parts::SYSTEM, Ir::own(2).and(Ir::class(FS))),
        (Parts::CONTROL, Ir::CONTROL),
    ]
    .into_iter()
    .filter(|(part, _)| parts.contains(*part))
    .fold(Ir::NONE, |all, (_, ir)| all.and(ir))
}

impl RiscvMachine for Builder {
    #[inline]
    fn x(&mut self, r: u8) -> Value {
        if r == 0 { self.imm(0) } else { self.get(X, r) }
    }
    #[inline]
    fn set_x(&mut self, r: u8, v: Value) {
        if r != 0 {
            self.set(X, r, v);
        }
    }
    #[inline]
    fn f(&mut self, r: u8) -> Value {
        self.get(F, r)
    }
    #[inline]
    fn set_f(&mut self, r: u8, v: Value) {
        self.set(F, r, v);
        let dirty = self.imm(1);
        self.set(FS, 0, dirty);
    }
    fn call(&mut self, op: Op, args: [Value; 4]) -> Result<Value, Stop> {
        Ok(self.operation(op.number(), effects(op), &args))
    }
}

/// Appends the instruction `word`, of which only the low half counts if it is a 16-bit one. Returns
/// whether the block must end behind it. `legal` says which rows the hart has; `fp_on` says that `mstatus.FS` is not Off, which the block's
/// key must hold. What is no instruction becomes a trap.
///
/// # Errors
/// [`Stop::Full`] or [`Stop::Ended`]: this instruction begins another block.
pub fn lift(builder: &mut Builder, word: u32, legal: &Legal, fp_on: bool) -> Result<bool, Stop> {
    let length = disasm::length(word);
    builder.insn(length as u8)?;
    let decoded = if length == 2 { legal.decode16(word as u16) } else { legal.decode32(word) };
    let row = decoded.and_then(|insn| ROWS.get(insn.index()).map(|row| (insn, row.flags)));
    match row {
        Some((insn, flags)) if flags & flag::FP == 0 || fp_on => match execute(builder, insn) {
            Ok(()) => Ok(flags & flag::ENDS != 0),
            Err(Stop::Ended) => Ok(true),
            Err(Stop::Full) => Err(Stop::Full),
        },
        _ => {
            let bits = builder.imm(u64::from(if length == 2 { word & 0xffff } else { word }));
            builder.trap(Exception::IllegalInsn as u32, bits);
            Ok(true)
        }
    }
}
