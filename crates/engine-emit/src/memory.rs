//! Loads and stores: the remembered page, or the slow way behind the block.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Address, Cold, Emitter, Stored, To};
use crate::facts::{LOW, SIGNED, SMALL};
use crate::near::Near;
use crate::reg::{RAX, RCX, RDX, Reg};
use crate::value::{Loc, X};
use isa_core::{Order, Width};
use isa_ir::Value;

impl Emitter {
    /// Empties the scratch registers for an access to `va`, and gives a register with the address: rdx, or a guest
    /// register's home that holds it.
    pub(crate) fn address(&mut self, va: Value) -> Reg {
        let (base, k) = match self.values.at(va) {
            Loc::Sum(base, k) => (base, k),
            _ => (va, 0),
        };
        let mut p = self.place();
        if let Loc::Temp(r) = p.values.at(base)
            && p.values.uses(base) == 1
            && p.values.uses(va) == 1
        {
            // It lives until here only: no need to put it away.
            p.values.take(r);
            p.clear_temps(true);
            p.asm.lea(RDX, r, k);
            return RDX;
        }
        p.clear_temps(true);
        if let Loc::Guest(class, index) = p.values.at(base)
            && let Some(home) = p.home(class, index)
        {
            if k == 0 {
                return home;
            }
            p.asm.lea(RDX, home, k);
            return RDX;
        }
        p.fetch(RDX, base);
        if k != 0 {
            p.asm.lea(RDX, RDX, k);
        }
        RDX
    }

    /// Looks up the page of `va`: its place in the table in rcx, and the jump that is taken if it is not there.
    pub(crate) fn look_up(&mut self, table: i32, va: Reg, log: u32) -> Patch {
        let mask = !0xfffi32 | ((1 << log) - 1);
        let l = self.layout;
        self.asm.rorx32(RCX, va, 8);
        self.asm.mov(RAX, va);
        self.asm.and32(RCX, l.entry_mask);
        self.asm.alu(Alu::And, RAX, Rmi::I(mask));
        self.asm.alu(Alu::Or, RAX, Rmi::M(l.data_tag));
        self.asm.cmp_entry(RAX, RCX, table + l.entry_tag);
        let miss = self.asm.jcc(Cc::Ne);
        self.asm.load_entry(RCX, RCX, table + l.entry_addend);
        miss
    }

    /// Finds the page of `va`, near or in a table: as [`Emitter::look_up`].
    fn page(&mut self, store: bool, va: Reg, log: u32) -> (Patch, Near) {
        match self.take_near(store) {
            Some(place) => (self.near_page(place, va, log), Near::Page(place)),
            None => {
                let table = if store { self.layout.write } else { self.layout.read };
                (self.look_up(table, va, log), Near::No)
            }
        }
    }

    /// The distance of an access's address from `start`, in rax.
    pub(crate) fn linear_address(&mut self, va: Value, start: u64) -> Reg {
        let (base, k) = match self.values.at(va) {
            Loc::Sum(base, k) => (base, k),
            _ => (va, 0),
        };
        let mut p = self.place();
        let home = match p.values.at(base) {
            Loc::Guest(class, index) => p.home(class, index),
            Loc::Temp(r) if p.values.uses(base) == 1 && p.values.uses(va) == 1 => {
                p.values.take(r);
                Some(r)
            }
            _ => None,
        };
        p.clear_temps(true);
        let from = home.unwrap_or_else(|| {
            p.fetch(RAX, base);
            RAX
        });
        match i64::from(k).checked_sub(start as i64).map(i32::try_from) {
            Some(Ok(k)) => p.asm.lea(RAX, from, k),
            _ => {
                p.asm.lea(RAX, from, k);
                p.asm.mov_imm(RCX, start.wrapping_neg());
                p.asm.lea_sum(RAX, RAX, RCX);
            }
        }
        RAX
    }

    /// Checks a distance against the size of the memory, and puts where that is in the host into rcx; gives the jump that
    /// is taken if it is not in it.
    pub(crate) fn within(&mut self, distance: Reg) -> Patch {
        self.asm.alu(Alu::Cmp, distance, Rmi::M(self.layout.linear_limit));
        let miss = self.asm.jcc(Cc::A);
        self.asm.load(RCX, self.layout.linear_host);
        miss
    }

    pub(crate) fn load(&mut self, width: Width, order: Order, va: Value, at: Value) {
        let log = width.bytes().trailing_zeros();
        let extended = self.scan.extended.get(at.index()).copied().flatten();
        let result = extended.unwrap_or(at);
        let base = match self.values.at(va) {
            Loc::Sum(base, _) => base,
            _ => va,
        };
        let member = self.groups.member(at);
        let address = match (member, self.modes.linear) {
            (Some(_), _) => {
                self.place().clear_temps(true);
                RDX
            }
            (None, Some(start)) => self.linear_address(va, start),
            (None, None) => self.address(va),
        };
        // Whatever must move for the result does so before the ways part.
        let hint = self.scan.hints.get(result.index()).copied().flatten();
        let (home, home_f) = hint.map_or((None, None), |(class, index)| {
            let p = self.place();
            (p.home(class, index), p.home_f(class, index).filter(|_| log == 3))
        });
        let to = match (home, home_f) {
            (Some(_), _) => To::Reg(self.dest(result, &[base]), extended.is_some(), log),
            (None, Some(_)) => To::Float(self.dest_f(result, &[base])),
            (None, None) => To::Reg(RAX, extended.is_some(), log),
        };
        let grouped = member.and_then(|member| self.grouped(member, self.layout.read));
        let (from, address, near) = if let Some((k, from, address, near)) = grouped {
            match to {
                To::Float(d) => self.asm.load_at_f(d, RCX, k),
                To::Reg(d, signed, log) => self.asm.load_at(signed, log, d, RCX, k),
            }
            (from, address, near)
        } else {
            let (from, slow, near) = match self.modes.linear {
                Some(start) => (self.within(address), Address::Linear(start), Near::No),
                None => {
                    let (from, near) = self.page(false, address, log);
                    (from, Address::Reg(address), near)
                }
            };
            self.load_sum(to, address);
            (from, slow, near)
        };
        let back = self.asm.len();
        let info = self.info(log);
        self.cold.push(Cold::Load { from, back, va: address, info, to, near });
        self.know(
            result,
            match (extended.is_some(), log) {
                (true, _) => SIGNED,
                (false, 0 | 1) => SMALL,
                (false, 2) => LOW,
                (false, _) => 0,
            },
        );
        self.values.used(va);
        if to == To::Reg(RAX, extended.is_some(), log) {
            self.values.set(result, Loc::Temp(RAX));
        }
        self.fence(order);
    }

    /// Loads from the sum of a register and rcx.
    pub(crate) fn load_sum(&mut self, to: To, address: Reg) {
        match to {
            To::Float(d) => self.asm.load_sum_f(d, address, RCX),
            To::Reg(d, signed, log) => self.asm.load_sum(signed, log, d, address, RCX),
        }
    }

    /// Stores to the sum of a register and rcx.
    pub(crate) fn store_sum(&mut self, log: u32, address: Reg, value: Stored) {
        match value {
            Stored::Float(r) => self.asm.save_sum_f(log == 3, address, RCX, r),
            Stored::Operand(Rmi::I(k)) => self.asm.save_sum_imm(log, address, RCX, k),
            Stored::Operand(Rmi::R(r)) => self.asm.save_sum(log, address, RCX, r),
            Stored::Operand(Rmi::M(m)) => {
                self.asm.load(RAX, m);
                self.asm.save_sum(log, address, RCX, RAX);
            }
        }
    }

    pub(crate) fn store(&mut self, width: Width, order: Order, va: Value, v: Value, at: Value) {
        let log = width.bytes().trailing_zeros();
        let value = self.stored(log, v);
        let member = self.groups.member(at);
        let address = if member.is_some() {
            self.place().clear_temps(true);
            RDX
        } else {
            self.address(va)
        };
        // The scratch registers were emptied: a value that was in one is in memory.
        let value = match (value, self.values.at(v)) {
            (Stored::Operand(Rmi::R(_)), Loc::Spill(_)) => Stored::Operand(self.place().operand(v)),
            (value, _) => value,
        };
        let grouped = member.and_then(|member| self.grouped(member, self.layout.write));
        let (from, address, near) = if let Some((k, from, address, near)) = grouped {
            match value {
                Stored::Float(r) => self.asm.save_at_f(log == 3, RCX, k, r),
                Stored::Operand(Rmi::I(c)) => self.asm.save_at_imm(log, RCX, k, c),
                Stored::Operand(Rmi::R(r)) => self.asm.save_at(log, RCX, k, r),
                Stored::Operand(Rmi::M(m)) => {
                    self.asm.load(RAX, m);
                    self.asm.save_at(log, RCX, k, RAX);
                }
            }
            (from, address, near)
        } else {
            let (from, near) = self.page(true, address, log);
            self.store_sum(log, address, value);
            (from, Address::Reg(address), near)
        };
        let back = self.asm.len();
        let info = self.info(log);
        self.cold.push(Cold::Store { from, back, va: address, info, value, near });
        self.values.used(va);
        self.values.used(v);
        self.fence(order);
    }

    /// What a store of `v` takes it from: a register that lasts, memory, or a constant.
    pub(crate) fn stored(&mut self, log: u32, v: Value) -> Stored {
        let home_f = match self.values.at(v) {
            Loc::Guest(class, index) => self.place().home_f(class, index),
            _ => None,
        };
        match (self.values.at(v), home_f) {
            (_, Some(home)) if log >= 2 => Stored::Float(home),
            (Loc::Const(k), _) if log < 3 || i32::try_from(k as i64).is_ok() => {
                Stored::Operand(Rmi::I(k as i32))
            }
            (Loc::Const(_) | Loc::Page(_) | Loc::Sum(..) | Loc::TempF(_), _) | (_, Some(_)) => {
                let m = self.layout.args + 8;
                let mut p = self.place();
                let r = p.temp();
                p.fetch(r, v);
                p.asm.save(m, r);
                p.values.unpin();
                Stored::Operand(Rmi::M(m))
            }
            _ => Stored::Operand(self.place().operand(v)),
        }
    }

    /// Puts an access's address into rdx.
    pub(crate) fn slow_address(&mut self, va: Address) {
        match va {
            Address::Reg(r) => self.asm.mov(RDX, r),
            Address::Linear(start) => {
                self.asm.mov_imm(RDX, start);
                self.asm.lea_sum(RDX, RDX, RAX);
            }
            Address::Guest { register, k, clear } => {
                if let Some(slot) = clear {
                    self.asm.save_imm(slot, 0);
                }
                let p = self.place();
                match p.home(X, register) {
                    Some(home) => self.asm.lea(RDX, home, k),
                    None => {
                        let m = p.guest(X, register);
                        self.asm.load(RDX, m);
                        self.asm.lea(RDX, RDX, k);
                    }
                }
            }
        }
    }
}
