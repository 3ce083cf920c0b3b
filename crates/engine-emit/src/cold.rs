//! Ways out of a block, and what is emitted behind it because it is rarely run.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Address, Cold, Emitter, Link, PAGE, Stored, To, Whither};
use crate::layout::{Info, Leave};
use crate::near::Near;
use crate::reg::{RAX, RCX, RDX};

impl Emitter {
    /// Goes to the code for the program counter in rax, if the jump table has it.
    pub(crate) fn probe(&mut self) {
        self.depart();
        let [other, stale] = self.look_in_table();
        let find = self.ways().find;
        self.outside(other, find);
        self.outside(stale, find);
    }

    pub(crate) fn leave(&mut self, reason: u32) {
        self.asm.mov_imm(RAX, u64::from(reason));
        let to = self.asm.jmp();
        self.outside(to, self.ways().leave);
    }

    /// Makes a jump or call go to an address outside the unit.
    pub(crate) fn outside(&mut self, from: Patch, to: u64) {
        self.asm.patch_out(from, to.wrapping_sub(self.room.usual) as i64);
    }

    pub(crate) fn save_pc(&mut self, k: i64) {
        self.asm.load(RCX, self.layout.page_va);
        self.asm.lea(RCX, RCX, k as i32);
        self.asm.save(self.layout.pc, RCX);
    }

    /// Leaves for the interpreter at an instruction.
    pub(crate) fn step(&mut self, k: i64) {
        self.depart();
        self.save_pc(k);
        self.leave(Leave::Step as u32);
    }

    /// Emits what is rarely run; gives where the way out for a budget that does not suffice begins.
    pub(crate) fn cold_code(&mut self) -> i64 {
        self.asm.go_elsewhere(self.room.seldom.wrapping_sub(self.room.usual) as i64);
        let (mut n, mut stale) = (0, 0);
        let mut failed = Vec::new();
        while let Some(&cold) = self.cold.get(n) {
            n += 1;
            let here = self.asm.len();
            match cold {
                Cold::Jump { from, target, rest, page } => self.cold_jump(from, target, rest, page),
                Cold::Budget { from, insns, start } => {
                    self.asm.patch(from, here);
                    self.asm.alu(Alu::Add, crate::reg::BUDGET, Rmi::I(insns as i32));
                    self.depart();
                    stale = self.asm.distance(self.asm.len());
                    self.save_pc(i64::from(start));
                    self.leave(Leave::Budget as u32);
                }
                Cold::Load { from, back, va, info, to, near } => {
                    self.asm.patch(from, here);
                    self.renew(near);
                    self.slow_address(va);
                    self.by_itself((va, near), self.layout.read, info, back, |e| e.load_sum(to, RDX));
                    self.asm.mov_imm(RAX, u64::from(info.0));
                    failed.push(self.call_shared(self.ways().load));
                    self.take(to);
                    self.without_group(va);
                    self.back(back);
                }
                Cold::Store { from, back, va, info, value, near } => {
                    self.asm.patch(from, here);
                    self.renew(near);
                    self.slow_address(va);
                    self.by_itself((va, near), self.layout.write, info, back, |e| {
                        e.store_sum(info.width(), RDX, value)
                    });
                    match value {
                        Stored::Float(r) => self.asm.from_f(RCX, r),
                        Stored::Operand(Rmi::R(r)) => self.asm.mov(RCX, r),
                        Stored::Operand(Rmi::M(m)) => self.asm.load(RCX, m),
                        Stored::Operand(Rmi::I(k)) => self.asm.mov_imm(RCX, k as i64 as u64),
                    }
                    self.asm.mov_imm(RAX, u64::from(info.0));
                    failed.push(self.call_shared(self.ways().store));
                    self.without_group(va);
                    self.back(back);
                }
                Cold::Bank { from, back, number } => {
                    from.into_iter().for_each(|from| self.asm.patch(from, here));
                    self.empty_bank(number);
                    self.back(back);
                }
                Cold::Dirty { from, back } => {
                    self.asm.patch(from, here);
                    self.asm.or_mem32(self.layout.status, self.layout.status_dirty);
                    self.asm.or_mem32(self.layout.dirty, 1);
                    self.back(back);
                }
                Cold::Nan { from, back, d, bits } => {
                    self.asm.patch(from, here);
                    self.asm.mov_imm(RAX, bits);
                    self.asm.to_f(d, RAX);
                    self.back(back);
                }
                Cold::Call { from, back, id, info, args, rm, to } => {
                    self.asm.patch(from, here);
                    for (n, arg) in (0..).zip(args) {
                        if let Some(arg) = arg {
                            self.asm.save_f(self.layout.args + 8 * n, arg);
                        }
                    }
                    self.asm.save_imm(self.layout.args + 24, rm as i32);
                    failed.push(self.call(id, info));
                    self.take(to);
                    self.back(back);
                }
                Cold::Atomic { from, back, va, info, what } => {
                    self.asm.patch(from, here);
                    failed.push(self.atomic_call(va, info, what));
                    self.back(back);
                }
                Cold::Far(far) => self.far_away(far),
                Cold::Within { within, target } => self.not_within(within, target),
                Cold::Failed { from } => failed.push(from),
                Cold::Elsewhere { from, result: None } => failed.push(from),
                Cold::Elsewhere { from, result } => {
                    self.asm.patch(from, here);
                    self.elsewhere(result);
                    failed.push(self.asm.jmp());
                }
            }
        }
        if !failed.is_empty() {
            let here = self.asm.len();
            failed.into_iter().for_each(|from| self.asm.patch(from, here));
            self.depart();
            let to = self.asm.jmp();
            self.outside(to, self.ways().failed);
        }
        stale
    }

    /// Looks up the page of a group that was not the near one.
    fn renew(&mut self, near: Near) {
        if let Near::Group(group) = near {
            self.renew_group(&group);
        }
    }

    /// Tries an access by itself whose group did not lie in one page or whose page was not the near one. Its address is in
    /// rdx.
    fn by_itself(
        &mut self,
        (va, near): (Address, Near),
        table: i32,
        info: Info,
        back: usize,
        access: impl FnOnce(&mut Emitter),
    ) {
        let near = match near {
            Near::Page(place) => Some(place),
            Near::No | Near::Group(_) => None,
        };
        if near.is_none() && !matches!(va, Address::Guest { .. }) {
            return;
        }
        let miss = self.look_up(table, RDX, info.width());
        if let Some(place) = near {
            self.note_near(place, RDX);
        }
        access(self);
        self.without_group(va);
        self.back(back);
        let here = self.asm.len();
        self.asm.patch(miss, here);
    }

    /// A direct jump.
    fn cold_jump(&mut self, mut from: Patch, target: i64, rest: u32, page: u32) {
        let here = self.asm.len();
        let region = self.region.as_ref();
        let label = u32::try_from(target).ok().and_then(|target| region.and_then(|r| r.label(target)));
        // Links lead to where the page is the one that the unit is entered in.
        let entered = region.map_or(0, |region| region.page);
        let near = u32::try_from(target - i64::from(entered)).ok().filter(|target| *target < PAGE);
        let crosses = self.crosses_from(page, target);
        if let (Some(label), 0, None) = (label, rest, crosses) {
            self.asm.patch(from, label);
            return;
        }
        self.asm.patch(from, here);
        self.refund(rest);
        if let Some(to) = crosses {
            self.cross(to);
        }
        match (label, near) {
            (Some(label), _) => self.back(label),
            (None, Some(target)) => {
                // A link goes past what was emitted for it here.
                if self.region.is_some() || rest > 0 {
                    self.depart();
                    self.move_page(i64::from(entered));
                    from = self.asm.jmp();
                    let here = self.asm.len();
                    self.asm.patch(from, here);
                }
                self.unlinked(from, target);
            }
            (None, None) => {
                self.depart();
                self.far(target);
            }
        }
    }

    /// Calls shared code; gives the jump that is taken if it says to leave.
    pub(crate) fn call_shared(&mut self, to: u64) -> Patch {
        let call = self.asm.call();
        self.outside(call, to);
        self.asm.jcc(Cc::Ne)
    }

    pub(crate) fn take(&mut self, to: To) {
        match to {
            To::Reg(d, true, log) if log < 3 => self.asm.extend(true, log, d, RAX),
            To::Reg(d, ..) => self.asm.mov(d, RAX),
            To::Float(d) => self.asm.to_f(d, RAX),
        }
    }

    /// The accesses of a group that follow may rely on rcx.
    fn without_group(&mut self, va: Address) {
        if let Address::Guest { .. } = va {
            self.asm.mov_imm(RCX, 0);
        }
    }

    pub(crate) fn back(&mut self, to: usize) {
        let jump = self.asm.jmp();
        self.asm.patch(jump, to);
    }

    /// Calls an operation whose arguments are in their place; its result is in rax.
    pub(crate) fn call(&mut self, id: u32, info: Info) -> Patch {
        self.asm.mov_imm(RDX, u64::from(id));
        self.asm.mov_imm(RAX, u64::from(info.0));
        self.call_shared(self.ways().float)
    }

    /// What a link does while it is not linked.
    pub(crate) fn unlinked(&mut self, from: Patch, target: u32) {
        let reason = self.link(Link { at: self.asm.distance(from.0), to: Whither::Near(target) });
        self.save_pc(i64::from(target));
        self.leave(reason);
    }
}
