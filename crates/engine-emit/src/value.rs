//! Where the values of a block are while it is emitted.

use crate::asm::Asm;
use crate::layout::{Layout, SPILLS};
use crate::reg::{Homes, RCX, Reg, TEMPS, TEMPS_F};
use crate::{Rmi, Xmm};
use isa_ir::Value;

/// Class of the integer registers.
pub(crate) const X: u8 = 0;
/// Class of the floating-point registers.
pub(crate) const F: u8 = 1;
/// Class of whether the floating-point state is dirty, which is only ever set.
pub(crate) const DIRTY: u8 = 2;

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loc {
    /// Nowhere yet.
    None,
    /// It is this.
    Const(u64),
    /// It is this far from the start of the page.
    Page(i64),
    /// It is what this guest register holds.
    Guest(u8, u8),
    /// In a scratch register.
    Temp(Reg),
    /// In a vector scratch register.
    TempF(Xmm),
    /// In memory.
    Spill(u8),
    /// Not computed yet: `value + constant`, for accesses.
    Sum(Value, i32),
    /// Not computed yet: the comparison that this node is, for a jump.
    Compare,
}

/// The values of one block.
#[derive(Debug, Default)]
pub(crate) struct Values {
    loc: Vec<Loc>,
    uses: Vec<u16>,
    /// Values that may be in guest registers.
    held: Vec<Value>,
    temps: [Option<Value>; 3],
    pinned: [bool; 3],
    /// Guest registers without a home whose values are in scratch registers as well.
    kept: [Option<u8>; 3],
    /// The group whose base's address in the host rcx holds, or 0.
    pub group: Option<u8>,
    temps_f: [Option<Value>; TEMPS_F],
    pinned_f: [bool; TEMPS_F],
    spills: [bool; SPILLS],
}

impl Values {
    pub fn begin(&mut self, nodes: usize) {
        self.loc.clear();
        self.loc.resize(nodes, Loc::None);
        self.uses.clear();
        self.uses.resize(nodes, 0);
        self.held.clear();
        self.temps = [None; 3];
        (self.kept, self.group) = ([None; 3], None);
        self.temps_f = [None; TEMPS_F];
        self.spills = [false; SPILLS];
        self.unpin();
    }

    /// Lets go of scratch registers that an instruction's emission has held.
    pub fn unpin(&mut self) {
        self.pinned = [false; 3];
        self.pinned_f = [false; TEMPS_F];
    }

    /// Lets go of one of them.
    pub fn unpin_temp(&mut self, r: Reg) {
        if let Some(pinned) = self.pinned.get_mut(usize::from(r.0)) {
            *pinned = false;
        }
    }

    /// The scratch register `r` holds what a guest's integer register does.
    pub fn keep(&mut self, r: Reg, class: u8, index: u8) {
        if let Some(kept) = self.kept.get_mut(usize::from(r.0)).filter(|_| class == X) {
            *kept = Some(index);
        }
    }

    /// A guest register has another value.
    pub fn changed(&mut self, class: u8, index: u8) {
        self.kept.iter_mut().filter(|kept| class == X && **kept == Some(index)).for_each(|kept| *kept = None);
    }

    /// Scratch registers may have been changed.
    pub fn forget(&mut self) {
        self.kept = [None; 3];
    }

    /// A free scratch register that holds what the guest's register does.
    pub fn kept(&self, class: u8, index: u8) -> Option<Reg> {
        let n = self.kept.iter().position(|kept| class == X && *kept == Some(index))?;
        TEMPS.into_iter().find(|r| usize::from(r.0) == n && self.temps.get(n) == Some(&None))
    }

    pub fn count(&mut self, v: Value) {
        if let Some(uses) = self.uses.get_mut(v.index()) {
            *uses = uses.saturating_add(1);
        }
    }

    pub fn uses(&self, v: Value) -> u16 {
        self.uses.get(v.index()).copied().unwrap_or(0)
    }

    pub fn at(&self, v: Value) -> Loc {
        self.loc.get(v.index()).copied().unwrap_or(Loc::None)
    }

    pub fn set(&mut self, v: Value, loc: Loc) {
        match loc {
            Loc::Temp(r) => {
                if let Some(temp) = self.temps.get_mut(usize::from(r.0)) {
                    *temp = Some(v);
                }
            }
            Loc::TempF(r) => {
                if let Some(temp) = self.temps_f.get_mut(usize::from(r.0)) {
                    *temp = Some(v);
                }
            }
            Loc::Guest(..) => self.held.push(v),
            _ => {}
        }
        if let Some(place) = self.loc.get_mut(v.index()) {
            *place = loc;
        }
        if self.uses(v) == 0 {
            self.free(v);
        }
    }

    /// One use of `v` is done.
    pub fn used(&mut self, v: Value) {
        let Some(uses) = self.uses.get_mut(v.index()) else { return };
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.free(v);
        }
    }

    /// Leaves `r` to whoever knows what is in it.
    pub fn take(&mut self, r: Reg) {
        if let Some(temp) = self.temps.get_mut(usize::from(r.0)) {
            *temp = None;
        }
    }

    fn free(&mut self, v: Value) {
        match self.at(v) {
            Loc::Temp(r) => {
                if let Some(temp) = self.temps.get_mut(usize::from(r.0)).filter(|t| **t == Some(v)) {
                    *temp = None;
                }
            }
            Loc::TempF(r) => {
                if let Some(temp) = self.temps_f.get_mut(usize::from(r.0)).filter(|t| **t == Some(v)) {
                    *temp = None;
                }
            }
            Loc::Spill(n) => {
                if let Some(spill) = self.spills.get_mut(usize::from(n)) {
                    *spill = false;
                }
            }
            Loc::Sum(base, _) => self.used(base),
            _ => {}
        }
    }
}

/// The values together with what is needed to move them.
pub(crate) struct Place<'a> {
    pub values: &'a mut Values,
    pub asm: &'a mut Asm,
    pub layout: &'a Layout,
    pub homes: &'a Homes,
}

impl Place<'_> {
    /// Where a guest register is in memory.
    pub fn guest(&self, class: u8, index: u8) -> i32 {
        let base = if class == X { self.layout.x } else { self.layout.f };
        base + 8 * i32::from(index)
    }

    /// The host register that a guest's integer register lives in.
    pub fn home(&self, class: u8, index: u8) -> Option<Reg> {
        if class == X { self.homes.x.get(usize::from(index)).copied().flatten() } else { None }
    }

    /// The vector register that a guest's floating-point register lives in.
    pub fn home_f(&self, class: u8, index: u8) -> Option<Xmm> {
        if class == F { self.homes.f.get(usize::from(index)).copied().flatten() } else { None }
    }

    fn slot(&self, n: u8) -> i32 {
        self.layout.spill + 8 * i32::from(n)
    }

    /// A place in memory for a value. There are more than values that can be alive outside registers.
    fn spill_slot(&mut self) -> u8 {
        let free = self.values.spills.iter().position(|used| !used);
        debug_assert!(free.is_some(), "more values than places for them");
        let free = free.unwrap_or(0);
        if let Some(spill) = self.values.spills.get_mut(free) {
            *spill = true;
        }
        free as u8
    }

    fn spill(&mut self, r: Reg) {
        let Some(v) = self.values.temps.get_mut(usize::from(r.0)).and_then(Option::take) else { return };
        let n = self.spill_slot();
        self.asm.save(self.slot(n), r);
        self.values.set(v, Loc::Spill(n));
    }

    /// A scratch register that is free now and stays so while the current node is emitted.
    pub fn temp(&mut self) -> Reg {
        let free = |r: &Reg| {
            let n = usize::from(r.0);
            self.values.temps.get(n) == Some(&None) && self.values.pinned.get(n) == Some(&false)
        };
        let blank = |r: &Reg| {
            self.values.kept.get(usize::from(r.0)) == Some(&None)
                && (*r != RCX || self.values.group.is_none())
        };
        let free = TEMPS.into_iter().find(|r| free(r) && blank(r)).or_else(|| TEMPS.into_iter().find(free));
        let r = free.unwrap_or_else(|| {
            let free = TEMPS.into_iter().find(|r| self.values.pinned.get(usize::from(r.0)) == Some(&false));
            debug_assert!(free.is_some(), "a node that wants more scratch registers than there are");
            let r = free.unwrap_or(TEMPS[0]);
            self.spill(r);
            r
        });
        self.overwrite(r);
        r
    }

    /// A scratch register is about to be written, and is not free while the current node is emitted.
    pub fn overwrite(&mut self, r: Reg) {
        if let Some(kept) = self.values.kept.get_mut(usize::from(r.0)) {
            *kept = None;
        }
        if r == RCX {
            self.values.group = None;
        }
        self.pin(r);
    }

    /// The scratch register of the first of `dying`, if that dies with the current node: its result may be there.
    pub fn dying_temp(&mut self, dying: &[Value]) -> Option<Reg> {
        let &v = dying.first()?;
        let Loc::Temp(r) = self.values.at(v) else { return None };
        let here = dying.iter().filter(|&&d| d == v).count();
        if usize::from(self.values.uses(v)) != here {
            return None;
        }
        self.values.take(r);
        self.overwrite(r);
        Some(r)
    }

    pub fn pin(&mut self, r: Reg) {
        if let Some(pinned) = self.values.pinned.get_mut(usize::from(r.0)) {
            *pinned = true;
        }
    }

    /// A vector scratch register, likewise.
    pub fn temp_f(&mut self) -> Xmm {
        let free = (0..TEMPS_F).find(|&n| {
            self.values.temps_f.get(n) == Some(&None) && self.values.pinned_f.get(n) == Some(&false)
        });
        let n = free.unwrap_or_else(|| {
            let n = (0..TEMPS_F).find(|&n| self.values.pinned_f.get(n) == Some(&false)).unwrap_or(0);
            self.spill_f(n);
            n
        });
        if let Some(pinned) = self.values.pinned_f.get_mut(n) {
            *pinned = true;
        }
        Xmm(n as u8)
    }

    fn spill_f(&mut self, n: usize) {
        let Some(v) = self.values.temps_f.get_mut(n).and_then(Option::take) else { return };
        let slot = self.spill_slot();
        self.asm.save_f(self.slot(slot), Xmm(n as u8));
        self.values.set(v, Loc::Spill(slot));
    }

    /// Empties all scratch registers, those of vectors too if `floats`.
    pub fn clear_temps(&mut self, floats: bool) {
        self.values.forget();
        TEMPS.into_iter().for_each(|r| self.spill(r));
        if floats {
            (0..TEMPS_F).for_each(|n| self.spill_f(n));
        }
    }

    /// Takes values other than `dying` out of a guest register that is about to change.
    pub fn evict(&mut self, class: u8, index: u8, dying: &[Value]) {
        let mut held = std::mem::take(&mut self.values.held);
        held.retain(|&v| {
            if self.values.uses(v) == 0 || !matches!(self.values.at(v), Loc::Guest(..)) {
                return false;
            }
            if self.values.at(v) != Loc::Guest(class, index) {
                return true;
            }
            let here = dying.iter().filter(|&&d| d == v).count();
            if here > 0 && usize::from(self.values.uses(v)) == here {
                return true;
            }
            let n = self.spill_slot();
            if let Some(home) = self.home_f(class, index) {
                self.asm.save_f(self.slot(n), home);
            } else {
                let r = match self.home(class, index) {
                    Some(home) => home,
                    None => {
                        let r = self.temp();
                        self.asm.load(r, self.guest(class, index));
                        r
                    }
                };
                self.asm.save(self.slot(n), r);
            }
            self.values.set(v, Loc::Spill(n));
            false
        });
        // What was pushed meanwhile is none: spills are not held.
        self.values.held = held;
    }

    /// Puts `v` into `d`, which is free.
    pub fn fetch(&mut self, d: Reg, v: Value) {
        match self.values.at(v) {
            Loc::Const(k) => self.asm.mov_imm(d, k),
            Loc::Page(k) => {
                self.asm.load(d, self.layout.page_va);
                self.add_constant(d, k);
            }
            Loc::Guest(class, index) => match (self.home(class, index), self.home_f(class, index)) {
                (Some(home), _) => self.asm.mov(d, home),
                (None, Some(home)) => self.asm.from_f(d, home),
                (None, None) => self.asm.load(d, self.guest(class, index)),
            },
            Loc::Temp(r) => self.asm.mov(d, r),
            Loc::TempF(r) => self.asm.from_f(d, r),
            Loc::Spill(n) => self.asm.load(d, self.slot(n)),
            Loc::Sum(base, k) => {
                self.fetch(d, base);
                self.add_constant(d, i64::from(k));
            }
            Loc::None | Loc::Compare => {}
        }
    }

    /// `d += k`
    pub fn add_constant(&mut self, d: Reg, k: i64) {
        match i32::try_from(k) {
            Ok(0) => {}
            Ok(k) => self.asm.lea(d, d, k),
            Err(_) => {
                let t = self.temp();
                self.asm.mov_imm(t, k as u64);
                self.asm.lea_sum(d, d, t);
            }
        }
    }

    /// `v` in a register, wherever it is.
    pub fn reg(&mut self, v: Value) -> Reg {
        match self.values.at(v) {
            Loc::Temp(r) => {
                self.pin(r);
                r
            }
            Loc::Guest(class, index) if self.home(class, index).is_some() => {
                self.home(class, index).unwrap_or(TEMPS[0])
            }
            _ => {
                let r = self.temp();
                self.fetch(r, v);
                r
            }
        }
    }

    /// The register that `v` is in, if it is in one.
    pub fn in_reg(&mut self, v: Value) -> Option<Reg> {
        match self.values.at(v) {
            Loc::Temp(r) => {
                self.pin(r);
                Some(r)
            }
            Loc::Guest(class, index) => self.home(class, index),
            _ => None,
        }
    }

    /// `v` in the register that it is in, else put into `d`.
    pub fn reg_or(&mut self, d: Reg, v: Value) -> Reg {
        self.in_reg(v).unwrap_or_else(|| {
            self.fetch(d, v);
            d
        })
    }

    /// `v` as a second operand.
    pub fn operand(&mut self, v: Value) -> Rmi {
        match self.values.at(v) {
            Loc::Const(k) => match i32::try_from(k as i64) {
                Ok(k) => Rmi::I(k),
                Err(_) => Rmi::R(self.reg(v)),
            },
            Loc::Guest(class, index)
                if self.home(class, index).is_none() && self.home_f(class, index).is_none() =>
            {
                Rmi::M(self.guest(class, index))
            }
            Loc::Spill(n) => Rmi::M(self.slot(n)),
            _ => Rmi::R(self.reg(v)),
        }
    }

    /// `v` in a vector register.
    pub fn reg_f(&mut self, v: Value) -> Xmm {
        match self.values.at(v) {
            Loc::TempF(r) => {
                if let Some(pinned) = self.values.pinned_f.get_mut(usize::from(r.0)) {
                    *pinned = true;
                }
                r
            }
            Loc::Guest(class, index) if self.home_f(class, index).is_some() => {
                self.home_f(class, index).unwrap_or(Xmm(0))
            }
            _ => {
                let d = self.temp_f();
                self.fetch_f(d, v);
                d
            }
        }
    }

    /// Puts `v` into `d`, which is free.
    pub fn fetch_f(&mut self, d: Xmm, v: Value) {
        match self.values.at(v) {
            Loc::TempF(r) => self.asm.mov_f(d, r),
            Loc::Spill(n) => self.asm.load_f(d, self.slot(n)),
            Loc::Guest(class, index) => match (self.home(class, index), self.home_f(class, index)) {
                (Some(home), _) => self.asm.to_f(d, home),
                (None, Some(home)) => self.asm.mov_f(d, home),
                (None, None) => self.asm.load_f(d, self.guest(class, index)),
            },
            Loc::Temp(r) => self.asm.to_f(d, r),
            _ => {
                let r = self.temp();
                self.fetch(r, v);
                self.asm.to_f(d, r);
            }
        }
    }
}
