//! Operations that are not arithmetic: control registers, traps, fences. The simple registers are accessed in place; the rest
//! is called, and may go on elsewhere.

use crate::asm::{Alu, Rmi};
use crate::emit::{Cold, Emitter};
use crate::float::Operation;
use crate::layout::Leave;
use crate::reg::{RAX, RCX, RDX, Reg};
use crate::value::{Loc, X};
use crate::{Cc, Ways};
use isa_ir::{Block, Node, Value};

/// What is done to a control register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reads.
    Read,
    /// Replaces the value.
    Write,
    /// Sets the bits that the argument has set.
    Set,
    /// Clears the bits that the argument has set.
    Clear,
}

/// A control register of which nothing is cached: a word in the processor's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its distance from rbp.
    pub at: i32,
    /// Bits that a read shows.
    pub visible: u64,
    /// Whether a read shows no others; else it cannot be read in place.
    pub readable: bool,
    /// Bits that a write may set; the others become 0.
    pub writable: u64,
}

impl Emitter {
    /// The ways of blocks like this one.
    pub(crate) fn ways(&self) -> Ways {
        if self.modes.floats { self.shared.floats } else { self.shared.plain }
    }

    /// Emits an operation that is not a floating-point one.
    pub(crate) fn system(&mut self, block: &Block, node: &Node, operation: Operation, id: u32, at: Value) {
        let args = block.pooled(node);
        let first = args.first().copied().unwrap_or(at);
        match (operation, self.values.at(first)) {
            (Operation::Register(access, register), _) => self.register(access, register, first, at),
            (Operation::Toggle(register, bits), Loc::Const(k))
                if k & !bits == 0 && (register.readable || self.values.uses(at) == 0) =>
            {
                self.register(Access::Clear, register, first, at);
            }
            (Operation::System { status: false }, _) => {
                self.call_system(block, args, id, self.ways().system, at)
            }
            _ => self.call_system(block, args, id, self.ways().status, at),
        }
        args.iter().for_each(|&v| self.values.used(v));
    }

    /// An access to a register in memory.
    fn register(&mut self, access: Access, register: Register, v: Value, at: Value) {
        let mut old = None;
        if self.values.uses(at) > 0 {
            let d = match access {
                Access::Read => self.dest(at, &[]),
                _ => self.place().temp(),
            };
            self.asm.load(d, register.at);
            self.masked(Alu::And, d, register.visible, u64::MAX);
            old = Some(d);
        }
        let mut p = self.place();
        match access {
            Access::Read => return,
            Access::Write => match p.operand(v) {
                Rmi::I(k) => {
                    let k = (k as i64 as u64 & register.writable) as i64;
                    // A mask takes bits at the bottom, so that the constant stays as short.
                    p.asm.save_imm(register.at, k as i32);
                }
                _ => {
                    let r = p.reg(v);
                    if register.writable == u64::MAX {
                        p.asm.save(register.at, r);
                    } else {
                        let t = p.temp();
                        p.asm.mov(t, r);
                        self.masked(Alu::And, t, register.writable, u64::MAX);
                        self.asm.save(register.at, t);
                    }
                }
            },
            Access::Set | Access::Clear => {
                let t = p.temp();
                p.fetch(t, v);
                if access == Access::Set {
                    p.asm.alu(Alu::Or, t, Rmi::M(register.at));
                } else {
                    p.asm.not(t);
                    p.asm.alu(Alu::And, t, Rmi::M(register.at));
                }
                self.masked(Alu::And, t, register.writable, u64::MAX);
                self.asm.save(register.at, t);
            }
        }
        if let Some(d) = old {
            self.values.set(at, Loc::Temp(d));
        }
    }

    /// `d = d op mask`, nothing if the mask is `none`.
    fn masked(&mut self, op: Alu, d: Reg, mask: u64, none: u64) {
        if mask == none {
            return;
        }
        match i32::try_from(mask as i64) {
            Ok(mask) => self.asm.alu(op, d, Rmi::I(mask)),
            Err(_) => {
                let t = self.place().temp();
                self.asm.mov_imm(t, mask);
                self.asm.alu(op, d, Rmi::R(t));
                self.values.unpin_temp(t);
            }
        }
    }

    /// Calls an operation that may go on elsewhere. Its result becomes a register's there too.
    fn call_system(&mut self, block: &Block, args: &[Value], id: u32, way: u64, at: Value) {
        self.place().clear_temps(true);
        for (n, &arg) in (0..).zip(args) {
            let m = self.layout.args + 8 * n;
            let mut p = self.place();
            match p.operand(arg) {
                Rmi::I(k) => p.asm.save_imm(m, k),
                _ => {
                    let r = p.reg(arg);
                    p.asm.save(m, r);
                }
            }
            self.values.unpin();
        }
        self.place().clear_temps(false);
        self.asm.mov_imm(RDX, u64::from(id));
        let info = self.info(self.length.trailing_zeros());
        self.asm.mov_imm(RAX, u64::from(info.0));
        let from = self.call_shared(way);
        self.dirty = false;
        let after = block.nodes().iter().skip(at.index() + 1).take_while(|n| !matches!(n, Node::Insn { .. }));
        let result = after.into_iter().find_map(|n| match *n {
            Node::Set { class: X, index, v } if v == at => Some(index),
            _ => None,
        });
        self.cold.push(Cold::Elsewhere { from, result });
        self.result(at);
    }

    /// The way on after a call that is done but does not go on here. If the instruction is left to the interpreter instead,
    /// it has no result.
    pub(crate) fn elsewhere(&mut self, result: Option<u8>) {
        let Some(index) = result else { return };
        self.asm.alu(Alu::Cmp, RDX, Rmi::I(Leave::Step as i32 + 1));
        let step = self.asm.jcc_short(Cc::E);
        match self.homes.x.get(usize::from(index)).copied().flatten() {
            Some(home) => self.asm.mov(home, RAX),
            None => self.asm.save(self.layout.x + 8 * i32::from(index), RAX),
        }
        self.asm.land(step);
    }

    /// A trap that is taken always.
    pub(crate) fn trap(&mut self, code: u32, arg: Value) {
        let mut p = self.place();
        p.clear_temps(true);
        p.fetch(RCX, arg);
        p.asm.mov_imm(RDX, u64::from(code));
        let info = self.info(self.length.trailing_zeros());
        self.asm.mov_imm(RAX, u64::from(info.0));
        let call = self.asm.call();
        self.outside(call, self.ways().trap);
        let from = self.asm.jmp();
        self.cold.push(Cold::Failed { from });
        self.values.used(arg);
    }
}
