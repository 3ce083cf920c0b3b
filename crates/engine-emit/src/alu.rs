//! Integer operations.

use crate::asm::{Alu, Cc, Rmi, Shift};
use crate::emit::Emitter;
use crate::reg::{RAX, RCX, RDX, Reg};
use crate::scan::{ADDRESS, CONDITION};
use crate::value::Loc;
use isa_core::{Bin, Un};
use isa_ir::{Block, Value};

/// Whether `op` compares.
fn compares(op: Bin) -> bool {
    matches!(op, Bin::Eq | Bin::Ne | Bin::LtS | Bin::LtU | Bin::GeS | Bin::GeU)
}

impl Emitter {
    pub(crate) fn bin(&mut self, op: Bin, a: Value, b: Value, at: Value) {
        if self.folded(op, a, b, at) {
            return;
        }
        self.know_bin(op, a, b, at);
        match op {
            Bin::Add => self.add(a, b, at),
            Bin::Sub => self.sub(a, b, at),
            Bin::And => self.two(Alu::And, true, a, b, at),
            Bin::Or => self.two(Alu::Or, true, a, b, at),
            Bin::Xor => self.two(Alu::Xor, true, a, b, at),
            Bin::Mul => self.mul(a, b, at),
            Bin::MulHighS | Bin::MulHighU | Bin::MulHighSU => self.mul_high(op, a, b, at),
            Bin::DivS | Bin::DivU | Bin::RemS | Bin::RemU => self.divide(op, a, b, at),
            Bin::Shl => self.shift(Shift::Shl, a, b, at),
            Bin::ShrU => self.shift(Shift::Shr, a, b, at),
            Bin::ShrS => self.shift(Shift::Sar, a, b, at),
            Bin::RotR => self.rotate(a, b, at),
            Bin::ClMul | Bin::ClMulHigh => self.carry_less(op, a, b, at),
            _ => {
                let cc = self.compare(op, a, b);
                let d = self.dest(at, &[a, b]);
                self.asm.set(cc, d);
            }
        }
        self.values.used(a);
        self.values.used(b);
    }

    /// What needs no code: known results, and what is left to whoever uses it.
    fn folded(&mut self, op: Bin, a: Value, b: Value, at: Value) -> bool {
        let known = match (op, self.values.at(a), self.values.at(b)) {
            (_, Loc::Const(a), Loc::Const(b)) => Loc::Const(op.apply(a, b)),
            (Bin::Add, Loc::Page(a), Loc::Const(b)) => Loc::Page(a.wrapping_add(b as i64)),
            // The two uses go on to whoever takes the value.
            (Bin::Add, Loc::Guest(..) | Loc::Temp(_), Loc::Const(k)) if self.scan.only(at, ADDRESS) => {
                match i32::try_from(k as i64) {
                    Ok(k) => {
                        self.values.set(at, Loc::Sum(a, k));
                        self.values.used(b);
                        return true;
                    }
                    Err(_) => return false,
                }
            }
            _ if compares(op) && self.scan.only(at, CONDITION) => {
                // Whoever wants it compares, each with uses of the operands of its own.
                for _ in 1..self.values.uses(at) {
                    self.values.count(a);
                    self.values.count(b);
                }
                self.values.set(at, Loc::Compare);
                return true;
            }
            _ => return false,
        };
        self.values.set(at, known);
        self.values.used(a);
        self.values.used(b);
        true
    }

    /// The constant that `v` is, if an instruction can hold it.
    fn constant(&self, v: Value) -> Option<i32> {
        match self.values.at(v) {
            Loc::Const(k) => i32::try_from(k as i64).ok(),
            _ => None,
        }
    }

    fn add(&mut self, a: Value, b: Value, at: Value) {
        let (a, b) = if self.constant(a).is_some() { (b, a) } else { (a, b) };
        if let Some(k) = self.constant(b) {
            if k == 0 && self.same(a, at) {
                return;
            }
            let d = self.dest(at, &[a, b]);
            let a = self.place().reg_or(d, a);
            match (a == d, k) {
                (_, 0) => self.asm.mov(d, a),
                (true, _) => self.asm.alu(Alu::Add, d, Rmi::I(k)),
                (false, _) => self.asm.lea(d, a, k),
            }
            return;
        }
        let d = self.dest(at, &[a, b]);
        let mut p = self.place();
        let (x, y) = (p.in_reg(a), p.in_reg(b));
        match (x, y) {
            (Some(x), Some(y)) if x != d && y != d => self.asm.lea_sum(d, x, y),
            _ => self.two_into(Alu::Add, true, d, a, b),
        }
    }

    fn sub(&mut self, a: Value, b: Value, at: Value) {
        if let Some(k) = self.constant(b).and_then(i32::checked_neg) {
            let d = self.dest(at, &[a, b]);
            let a = self.place().reg_or(d, a);
            if a == d { self.asm.alu(Alu::Add, d, Rmi::I(k)) } else { self.asm.lea(d, a, k) }
        } else if self.constant(a) == Some(0) {
            let d = self.dest(at, &[a, b]);
            self.place().fetch(d, b);
            self.asm.neg(d);
        } else {
            self.two(Alu::Sub, false, a, b, at);
        }
    }

    fn two(&mut self, op: Alu, commutes: bool, a: Value, b: Value, at: Value) {
        let first = !commutes || matches!(self.values.at(a), Loc::Temp(_));
        let d = self.dest(at, &if first { [a, b] } else { [b, a] });
        self.two_into(op, commutes, d, a, b);
    }

    /// `d = a op b`
    fn two_into(&mut self, op: Alu, commutes: bool, d: Reg, a: Value, b: Value) {
        let mut p = self.place();
        let b_here = p.in_reg(b) == Some(d);
        if b_here && commutes {
            let a = p.operand(a);
            p.asm.alu(op, d, a);
        } else if b_here && p.in_reg(a) != Some(d) {
            let t = p.temp();
            p.asm.mov(t, d);
            p.fetch(d, a);
            p.asm.alu(op, d, Rmi::R(t));
        } else {
            let b = p.operand(b);
            p.fetch(d, a);
            p.asm.alu(op, d, b);
        }
    }

    fn mul(&mut self, a: Value, b: Value, at: Value) {
        let d = self.dest(at, &[a, b]);
        let mut p = self.place();
        let (a, b) = if p.in_reg(b) == Some(d) { (b, a) } else { (a, b) };
        let b = p.operand(b);
        p.fetch(d, a);
        p.asm.imul(d, b);
    }

    /// Puts `a` into rax and gives `b` in another register than rax and rdx; the scratch registers are emptied.
    fn wide_operands(&mut self, a: Value, b: Value) -> Reg {
        let mut p = self.place();
        p.clear_temps(false);
        [RAX, RCX, RDX].into_iter().for_each(|r| p.overwrite(r));
        p.fetch(RAX, a);
        match p.in_reg(b) {
            Some(r) => r,
            None => {
                p.fetch(RCX, b);
                RCX
            }
        }
    }

    /// Takes a result out of rax or rdx.
    fn wide_result(&mut self, from: Reg, at: Value, dying: &[Value]) {
        match self.scan.hints.get(at.index()).copied().flatten() {
            Some((class, index)) if self.place().home(class, index).is_some() => {
                let d = self.dest(at, dying);
                self.asm.mov(d, from);
            }
            _ => self.values.set(at, Loc::Temp(from)),
        }
    }

    fn mul_high(&mut self, op: Bin, a: Value, b: Value, at: Value) {
        let y = self.wide_operands(a, b);
        self.asm.wide_mul(op == Bin::MulHighS, y);
        if op == Bin::MulHighSU {
            // What an unsigned product has too much where the first factor is negative.
            self.place().fetch(RAX, a);
            self.asm.shift(Shift::Sar, RAX, 63);
            self.asm.alu(Alu::And, RAX, Rmi::R(y));
            self.asm.alu(Alu::Sub, RDX, Rmi::R(RAX));
        }
        self.wide_result(RDX, at, &[a, b]);
    }

    fn divide(&mut self, op: Bin, a: Value, b: Value, at: Value) {
        let y = self.wide_operands(a, b);
        let signed = matches!(op, Bin::DivS | Bin::RemS);
        let remainder = matches!(op, Bin::RemS | Bin::RemU);
        self.asm.test(y);
        let zero = self.asm.jcc_short(Cc::E);
        let mut overflow = None;
        if signed {
            self.asm.alu(Alu::Cmp, y, Rmi::I(-1));
            overflow = Some(self.asm.jcc_short(Cc::E));
        }
        self.asm.div(signed, y);
        let done = self.asm.jmp_short();
        let mut done_too = None;
        if let Some(overflow) = overflow {
            self.asm.land(overflow);
            if remainder {
                self.asm.mov_imm(RDX, 0);
            } else {
                self.asm.neg(RAX);
            }
            done_too = Some(self.asm.jmp_short());
        }
        self.asm.land(zero);
        if remainder {
            self.asm.mov(RDX, RAX);
        } else {
            self.asm.mov_imm(RAX, u64::MAX);
        }
        self.asm.land(done);
        if let Some(done) = done_too {
            self.asm.land(done);
        }
        self.wide_result(if remainder { RDX } else { RAX }, at, &[a, b]);
    }

    fn shift(&mut self, op: Shift, a: Value, b: Value, at: Value) {
        let d = self.dest(at, &[a, b]);
        let mut p = self.place();
        if let Loc::Const(k) = p.values.at(b) {
            p.fetch(d, a);
            if k & 63 != 0 {
                p.asm.shift(op, d, (k & 63) as u8);
            }
            return;
        }
        let (a, b) = (p.reg(a), p.reg(b));
        p.asm.shiftx(op, d, a, b);
    }

    fn rotate(&mut self, a: Value, b: Value, at: Value) {
        if let Loc::Const(k) = self.values.at(b) {
            let d = self.dest(at, &[a, b]);
            let a = self.place().reg(a);
            self.asm.rorx(d, a, (k & 63) as u8);
            return;
        }
        let mut p = self.place();
        p.clear_temps(false);
        p.overwrite(RCX);
        p.overwrite(RAX);
        p.fetch(RCX, b);
        p.fetch(RAX, a);
        p.asm.ror_cl(RAX);
        self.wide_result(RAX, at, &[a, b]);
    }

    fn carry_less(&mut self, op: Bin, a: Value, b: Value, at: Value) {
        let d = self.dest(at, &[a, b]);
        let mut p = self.place();
        let (x, y) = (p.temp_f(), p.temp_f());
        p.fetch_f(x, a);
        p.fetch_f(y, b);
        p.asm.carry_less_mul(x, y);
        if op == Bin::ClMul { p.asm.from_f(d, x) } else { p.asm.high_from_f(d, x) }
    }

    /// Makes `at` stand for the same register or memory as `a`, if it need not be elsewhere.
    fn same(&mut self, a: Value, at: Value) -> bool {
        // A register in memory is as good a place to copy to later.
        let hint = self.scan.hints.get(at.index()).copied().flatten();
        let hint = hint.filter(|&(class, index)| self.place().home(class, index).is_some());
        match self.values.at(a) {
            Loc::Guest(class, index) if hint.is_none() || hint == Some((class, index)) => {
                self.values.set(at, Loc::Guest(class, index));
                true
            }
            Loc::Temp(r) if hint.is_none() && self.values.uses(a) == 1 => {
                self.values.take(r);
                self.values.set(at, Loc::Temp(r));
                true
            }
            _ => false,
        }
    }

    pub(crate) fn un(&mut self, op: Un, a: Value, at: Value) {
        if let Loc::Const(k) = self.values.at(a) {
            self.values.set(at, Loc::Const(op.apply(k)));
            self.values.used(a);
            return;
        }
        if self.scan.extended.get(a.index()).copied().flatten() == Some(at) {
            // The load did it.
            self.values.used(a);
            return;
        }
        self.know_un(op, a, at);
        let idle = self.idle(op, a);
        if idle && self.same(a, at) {
            self.values.used(a);
            return;
        }
        let d = self.dest(at, &[a]);
        let mut p = self.place();
        let s = p.reg_or(d, a);
        match op {
            _ if idle => p.asm.mov(d, s),
            Un::Not => {
                p.asm.mov(d, s);
                p.asm.not(d);
            }
            Un::Sext8 => p.asm.extend(true, 0, d, s),
            Un::Sext16 => p.asm.extend(true, 1, d, s),
            Un::Sext32 => p.asm.extend(true, 2, d, s),
            Un::Zext8 => p.asm.extend(false, 0, d, s),
            Un::Zext16 => p.asm.extend(false, 1, d, s),
            Un::Zext32 => p.asm.extend(false, 2, d, s),
            Un::ByteSwap => {
                p.asm.mov(d, s);
                p.asm.bswap(d);
            }
            Un::OrCombine => {
                let (x, zero) = (p.temp_f(), p.temp_f());
                p.asm.to_f(x, s);
                p.asm.zero_bytes(x, zero);
                p.asm.from_f(d, x);
                p.asm.not(d);
            }
            _ => p.asm.count(op, d, s),
        }
        self.values.used(a);
    }

    /// A choice between what the result's register holds, under a condition, and `b`.
    fn kept_or(&mut self, cc: Cc, a: Value, b: Value, at: Value) -> bool {
        let hint = self.scan.hints.get(at.index()).copied().flatten();
        let Some((class, index)) =
            hint.filter(|&(class, index)| self.values.at(a) == Loc::Guest(class, index))
        else {
            return false;
        };
        if self.place().home(class, index).is_none() {
            return false;
        }
        let b = self.place().reg(b);
        let d = self.dest(at, &[a]);
        self.asm.cmov(cc.not(), d, b);
        true
    }

    pub(crate) fn select(&mut self, block: &Block, c: Value, a: Value, b: Value, at: Value) {
        if let Loc::Const(k) = self.values.at(c) {
            let d = self.dest(at, &[a, b]);
            self.place().fetch(d, if k != 0 { a } else { b });
        } else {
            // Whatever fetches operands and makes room leaves the flags alone.
            let cc = self.condition(block, c);
            self.values.unpin();
            if self.kept_or(cc, a, b, at) {
                for v in [c, a, b] {
                    self.values.used(v);
                }
                return;
            }
            let mut p = self.place();
            let x = p.reg(a);
            let t = p.temp();
            p.fetch(t, b);
            p.asm.cmov(cc, t, x);
            match self.scan.hints.get(at.index()).copied().flatten() {
                Some((class, index)) if self.place().home(class, index).is_some() => {
                    let d = self.dest(at, &[a, b]);
                    self.asm.mov(d, t);
                }
                _ => self.values.set(at, Loc::Temp(t)),
            }
        }
        for v in [c, a, b] {
            self.values.used(v);
        }
    }
}
