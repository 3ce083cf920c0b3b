//! Atomic accesses (Unprivileged ISA, chapter "A"), as the host's own: a locked instruction orders everything, and what
//! translated code may store to, it may change so.
//!
//! Where there is one hart only, nobody else changes memory in the middle of an instruction in a way that could matter:
//! devices store what they own. What does not also order (`aqrl`) needs no lock then.
//!
//! A reservation is the value that was seen at a place of the host's memory; the conditional store compares and swaps.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Cold, Emitter, Stored};
use crate::layout::Info;
use crate::reg::{RAX, RCX, RDX, Reg};
use crate::value::Loc;
use isa_core::{AmoOp, Order, Width};
use isa_ir::Value;

/// An atomic access, as the slow way needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Atomic {
    /// Replaces a word.
    Amo(AmoOp, Rmi),
    /// Loads and reserves.
    Reserve,
    /// Stores if the reservation holds.
    Conditional(Rmi),
}

impl Emitter {
    pub(crate) fn amo(&mut self, op: AmoOp, (width, order): (Width, Order), va: Value, v: Value, at: Value) {
        let (wide, log) = (width == Width::B8, width.bytes().trailing_zeros());
        let locked = self.locked(order);
        let (address, operand, from) = self.atomic_address(self.layout.write, width, va, v);
        match op {
            AmoOp::Add => {
                self.operand_into(RAX, operand);
                self.asm.exchange_add(locked, wide, RCX, RAX);
            }
            AmoOp::Swap if locked => {
                self.operand_into(RAX, operand);
                self.asm.exchange(wide, RCX, RAX);
            }
            _ => {
                self.asm.load_at(true, log, RAX, RCX, 0);
                let again = self.asm.len();
                self.operand_into(RDX, operand);
                self.amo_result(op);
                if locked {
                    self.asm.compare_exchange(true, wide, RCX, RDX);
                    if !wide {
                        // What another hart has stored meanwhile; flags stay.
                        self.asm.extend(true, 2, RAX, RAX);
                    }
                    let changed = self.asm.jcc(Cc::Ne);
                    self.asm.patch(changed, again);
                } else {
                    self.asm.save_at(log, RCX, 0, RDX);
                }
            }
        }
        if !wide && matches!(op, AmoOp::Swap | AmoOp::Add) {
            self.asm.extend(true, 2, RAX, RAX);
        }
        self.atomic_end(from, address, width, Atomic::Amo(op, operand), at);
        self.values.used(va);
        self.values.used(v);
        self.result(at);
    }

    /// Whether other harts must see an access as one.
    fn locked(&self, order: Order) -> bool {
        !self.layout.one_hart || order == Order::Both
    }

    /// What is to be stored, from the old value in rax and the operand in rdx: in rdx.
    fn amo_result(&mut self, op: AmoOp) {
        let choose = |e: &mut Emitter, cc| {
            e.asm.alu(Alu::Cmp, RAX, Rmi::R(RDX));
            e.asm.cmov(cc, RDX, RAX);
        };
        match op {
            AmoOp::Xor => self.asm.alu(Alu::Xor, RDX, Rmi::R(RAX)),
            AmoOp::And => self.asm.alu(Alu::And, RDX, Rmi::R(RAX)),
            AmoOp::Or => self.asm.alu(Alu::Or, RDX, Rmi::R(RAX)),
            AmoOp::Min => choose(self, Cc::L),
            AmoOp::Max => choose(self, Cc::Ge),
            AmoOp::MinU => choose(self, Cc::B),
            AmoOp::MaxU => choose(self, Cc::Ae),
            AmoOp::SubFrom => self.asm.alu(Alu::Sub, RDX, Rmi::R(RAX)),
            AmoOp::Swap | AmoOp::Add => {}
        }
    }

    pub(crate) fn load_reserved(&mut self, width: Width, order: Order, va: Value, at: Value) {
        if matches!(order, Order::Both | Order::Release) {
            self.asm.mfence();
        }
        let log = width.bytes().trailing_zeros();
        let address = self.address(va);
        let from = self.look_up(self.layout.read, address, log);
        self.asm.lea_sum(RCX, address, RCX);
        self.asm.load_at(true, log, RAX, RCX, 0);
        let reservation = self.layout.reservation;
        self.asm.save(reservation, RCX);
        self.asm.save(reservation + 8, RAX);
        self.asm.save_imm(reservation + 16, width.bytes() as i32);
        self.atomic_end(from, address, width, Atomic::Reserve, at);
        self.fence(order);
        self.values.used(va);
        self.result(at);
    }

    pub(crate) fn store_conditional(
        &mut self,
        (width, order): (Width, Order),
        va: Value,
        v: Value,
        at: Value,
    ) {
        let locked = self.locked(order);
        let wide = width == Width::B8;
        let (address, operand, from) = self.atomic_address(self.layout.write, width, va, v);
        let reservation = self.layout.reservation;
        self.asm.alu(Alu::Cmp, RCX, Rmi::M(reservation));
        let other = self.asm.jcc_short(Cc::Ne);
        self.asm.cmp_mem(reservation + 16, Rmi::I(width.bytes() as i32));
        let none = self.asm.jcc_short(Cc::Ne);
        self.asm.load(RAX, reservation + 8);
        self.operand_into(RDX, operand);
        self.asm.compare_exchange(locked, wide, RCX, RDX);
        self.asm.land(other);
        self.asm.land(none);
        self.asm.set(Cc::Ne, RAX);
        self.asm.save_imm(reservation + 16, 0);
        self.atomic_end(from, address, width, Atomic::Conditional(operand), at);
        self.values.used(va);
        self.values.used(v);
        self.result(at);
    }

    /// The guest's address, what is to be stored, and the jump that is taken if the page is not remembered; the place in the
    /// host's memory is in rcx then, and the other scratch registers are free.
    fn atomic_address(&mut self, table: i32, width: Width, va: Value, v: Value) -> (Reg, Rmi, Patch) {
        let log = width.bytes().trailing_zeros();
        let stored = self.stored(3, v);
        let address = self.address(va);
        let operand = match (stored, self.values.at(v)) {
            (Stored::Operand(Rmi::R(_)), Loc::Spill(_)) => self.place().operand(v),
            (Stored::Operand(operand), _) => operand,
            (Stored::Float(r), _) => {
                let m = self.layout.args + 8;
                self.asm.save_f(m, r);
                Rmi::M(m)
            }
        };
        let from = self.look_up(table, address, log);
        self.asm.lea_sum(RCX, address, RCX);
        (address, operand, from)
    }

    fn atomic_end(&mut self, from: Patch, va: Reg, width: Width, what: Atomic, at: Value) {
        let (back, info) = (self.asm.len(), self.info(width.bytes().trailing_zeros()));
        debug_assert!(self.values.at(at) == Loc::None);
        self.cold.push(Cold::Atomic { from, back, va, info, what });
    }

    fn operand_into(&mut self, d: Reg, operand: Rmi) {
        match operand {
            Rmi::R(r) => self.asm.mov(d, r),
            Rmi::M(m) => self.asm.load(d, m),
            Rmi::I(k) => self.asm.mov_imm(d, k as i64 as u64),
        }
    }

    /// The slow way of an access; gives the jump that is taken if it does not go on.
    pub(crate) fn atomic_call(&mut self, va: Reg, info: Info, what: Atomic) -> Patch {
        self.asm.mov(RDX, va);
        let ways = self.ways();
        let way = match what {
            Atomic::Amo(op, operand) => {
                self.operand_into(RCX, operand);
                self.asm.save_imm(self.layout.args, op as i32);
                ways.amo
            }
            Atomic::Reserve => ways.reserve,
            Atomic::Conditional(operand) => {
                self.operand_into(RCX, operand);
                ways.conditional
            }
        };
        self.asm.mov_imm(RAX, u64::from(info.0));
        self.call_shared(way)
    }
}
