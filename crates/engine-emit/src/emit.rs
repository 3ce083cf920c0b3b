//! The emitter: one pass over a block's nodes, each turned into host code at once.
//!
//! Guest registers are as the guest expects them between any two instructions, so that a fault in the middle of a block
//! needs no repair: what leaves the block only says which instruction it is.

use crate::asm::{Alu, Asm, Cc, Patch, Rmi};
use crate::facts::{Facts, LOW, SIGNED, SMALL};
use crate::float::Operation;
use crate::group::Groups;
use crate::layout::{Info, Layout, Leave, Shared};
use crate::reg::{Homes, RAX, RCX, RDX, Reg, Xmm};
use crate::region::Region;
use crate::scan::{Modes, Scan};
use crate::value::{F, Loc, Place, Values, X};
use isa_core::{Bin, Order, Width};
use isa_ir::{Block, Node, Value};

/// A jump to code that may not exist yet: a rel32 that leaves until it is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the rel32 is, in bytes from the start of the unit.
    pub at: usize,
    /// Where it goes when it is not linked.
    pub unlinked: usize,
    /// The guest code it wants, in bytes from the start of the page.
    pub target: u32,
}

/// What was made of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Where an indirect jump enters, with the program counter in rax.
    pub indirect: usize,
    /// Where a direct jump enters.
    pub direct: usize,
    /// Where to go instead of entering once the block no longer holds: it leaves as if the budget did not suffice.
    pub stale: usize,
    /// Instructions.
    pub insns: u32,
    /// Bytes of guest code they have.
    pub bytes: u32,
}

/// What is emitted behind the block, because it is rarely run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cold {
    /// A direct jump to this distance from the start of the page.
    Jump { from: Patch, target: i64 },
    /// A load whose page is not remembered.
    Load { from: Patch, back: usize, va: Address, info: Info, to: To },
    /// A store, likewise.
    Store { from: Patch, back: usize, va: Address, info: Info, value: Stored },
    /// The budget does not suffice for the block of so many instructions at this distance from the start of the page.
    Budget { from: Patch, insns: u32, start: u32 },
    /// A floating-point result is not a number: it becomes the canonical one.
    Nan { from: Patch, back: usize, d: Xmm, bits: u64 },
    /// A floating-point operation must be done the slow way.
    Call { from: Patch, back: usize, id: u32, info: Info, args: [Option<Xmm>; 3], rm: u64, to: To },
    /// Shared code said to leave.
    Failed { from: Patch },
}

/// Where an access's address is when it must go the slow way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// In a register.
    Reg(Reg),
    /// At a distance, which rax holds, from this.
    Linear(u64),
    /// At a distance from a guest register; the group's slot must be cleared.
    Guest { register: u8, k: i32, clear: Option<i32> },
}

/// Where a loaded value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Reg(Reg, bool, u32),
    Float(Xmm),
}

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Operand(Rmi),
    Float(Xmm),
}

/// Turns blocks into host code. Made once and used for many.
pub struct Emitter {
    pub(crate) asm: Asm,
    pub(crate) values: Values,
    pub(crate) scan: Scan,
    pub(crate) cold: Vec<Cold>,
    pub(crate) layout: Layout,
    pub(crate) homes: Homes,
    pub(crate) shared: Shared,
    links: Vec<Link>,
    /// Address of the unit in the host.
    base: u64,
    /// Number of the first link.
    first_link: u32,
    /// Distance of the block from the start of its page.
    start: u32,
    /// Distance of the current instruction from the start of its page.
    offset: i64,
    /// Instructions left, the current one included.
    pub(crate) left: u32,
    pub(crate) modes: Modes,
    pub(crate) operations: fn(u32) -> Operation,
    pub(crate) groups: Groups,
    pub(crate) facts: Facts,
    /// What is different in a region.
    pub(crate) region: Option<Region>,
    /// Values and registers that are known to hold boxed singles.
    pub(crate) boxed: Vec<bool>,
    pub(crate) boxed_registers: u32,
}

impl Emitter {
    /// An emitter of code for processors that look like `layout`.
    pub fn new(layout: Layout, shared: Shared) -> Emitter {
        Emitter {
            asm: Asm::default(),
            values: Values::default(),
            scan: Scan::default(),
            cold: Vec::new(),
            layout,
            homes: Homes::default(),
            shared,
            links: Vec::new(),
            base: 0,
            first_link: 0,
            start: 0,
            offset: 0,
            left: 0,
            modes: Modes::default(),
            operations: |_| Operation::Interpret,
            groups: Groups::default(),
            facts: Facts::default(),
            region: None,
            boxed: Vec::new(),
            boxed_registers: 0,
        }
    }

    /// The code of the last block.
    pub fn bytes(&self) -> &[u8] {
        self.asm.bytes()
    }

    /// Its links, in the order of their numbers.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Emits `block`, which begins `start` bytes into its page, for address `base` of the host. Its links have numbers from
    /// `first_link` on. `operations` says what to do about operations. `None` if the first instruction already is one that
    /// must be interpreted.
    pub fn emit(
        &mut self,
        block: &Block,
        start: u32,
        base: u64,
        first_link: u32,
        modes: Modes,
        operations: fn(u32) -> Operation,
    ) -> Option<Code> {
        self.begin(base, first_link, modes, operations);
        self.region = None;
        self.look_at(block);
        if self.scan.insns == 0 {
            return None;
        }
        self.asm.lea(RCX, RAX, -(start as i32));
        self.asm.save(self.layout.page_va, RCX);
        let direct = self.asm.len();
        let bytes = self.body(block, start);
        let insns = self.scan.insns;
        let stale = self.cold_code();
        Some(Code { indirect: 0, direct, stale, insns, bytes })
    }

    pub(crate) fn begin(
        &mut self,
        base: u64,
        first_link: u32,
        modes: Modes,
        operations: fn(u32) -> Operation,
    ) {
        self.asm.clear();
        self.cold.clear();
        self.links.clear();
        (self.base, self.first_link, self.modes, self.operations) = (base, first_link, modes, operations);
    }

    pub(crate) fn look_at(&mut self, block: &Block) {
        self.scan.run(block, self.modes, self.operations, &mut self.values);
        self.boxed.clear();
        self.boxed.resize(self.scan.nodes, false);
        self.boxed_registers = 0;
        self.facts.begin(self.scan.nodes);
        let nodes = block.nodes().get(..self.scan.nodes).unwrap_or_default();
        self.groups.find(nodes, self.modes.linear.is_none());
    }

    /// The code of a block that has been looked at; gives the bytes of guest code that it covers.
    pub(crate) fn body(&mut self, block: &Block, start: u32) -> u32 {
        let insns = self.scan.insns;
        self.start = start;
        self.left = insns + 1;
        if insns > 0 {
            self.asm.alu(Alu::Sub, crate::reg::BUDGET, Rmi::I(insns as i32));
            let from = self.asm.jcc(Cc::S);
            self.cold.push(Cold::Budget { from, insns, start });
        }
        let mut bytes = 0;
        for (at, node) in block.nodes().iter().take(self.scan.nodes).enumerate() {
            if let Node::Insn { offset, length } = *node {
                self.offset = i64::from(start + offset);
                bytes = offset + u32::from(length);
                self.left -= 1;
                continue;
            }
            self.node(block, node, Value::from_index(at));
            self.values.unpin();
        }
        if self.scan.step {
            self.step(i64::from(start + bytes));
        }
        bytes
    }

    pub(crate) fn info(&self, width: u32) -> Info {
        Info::new(self.offset as u32, width, self.left)
    }

    pub(crate) fn place(&mut self) -> Place<'_> {
        Place { values: &mut self.values, asm: &mut self.asm, layout: &self.layout, homes: &self.homes }
    }

    fn node(&mut self, block: &Block, node: &Node, at: Value) {
        match *node {
            Node::Const(k) => self.values.set(at, Loc::Const(k)),
            Node::Pc(k) => self.values.set(at, Loc::Page(i64::from(self.start) + k)),
            Node::Get { class, index } => self.get(class, index, at),
            Node::Set { class, index, v } if class <= F => {
                self.note_box(class, index, v);
                self.note_register(class, index, v);
                self.set(class, index, v);
            }
            Node::Set { v, .. } => self.values.used(v),
            Node::Bin { op, a, b } => self.bin(op, a, b, at),
            Node::Un { op, a } => self.un(op, a, at),
            Node::Select { c, a, b } => self.select(block, c, a, b, at),
            Node::Load { width, order, va } => self.load(width, order, va, at),
            Node::Store { width, order, va, v } => self.store(width, order, va, v, at),
            Node::Amo { op, width, va, v, .. } => self.amo(op, width, va, v, at),
            Node::Fence(order) => self.fence(order),
            Node::Call { id, .. } => self.operation(block.pooled(node), id, at),
            Node::ExitIf { taken, target } => self.exit_if(block, taken, target),
            Node::Jump { target } => self.jump(target),
            Node::Next { offset } if self.falls_into(self.start + offset) => {}
            Node::Next { offset } => {
                let from = self.asm.jmp();
                self.cold.push(Cold::Jump { from, target: i64::from(self.start + offset) });
            }
            _ => {}
        }
    }

    pub(crate) fn fence(&mut self, order: Order) {
        // The host keeps all orders but store to load.
        if order == Order::Both {
            self.asm.mfence();
        }
    }

    fn set(&mut self, class: u8, index: u8, v: Value) {
        if self.values.at(v) == Loc::Guest(class, index) {
            // Computed there, or what it was anyway.
            self.values.used(v);
            return;
        }
        let mut p = self.place();
        p.evict(class, index, &[]);
        match (p.home(class, index), p.home_f(class, index)) {
            (Some(home), _) => p.into_reg(home, v),
            (None, Some(home)) => p.into_f(home, v),
            (None, None) => {
                let m = p.guest(class, index);
                match p.values.at(v) {
                    Loc::TempF(r) => p.asm.save_f(m, r),
                    Loc::Guest(c, i) if p.home_f(c, i).is_some() => {
                        let r = p.reg_f(v);
                        p.asm.save_f(m, r);
                    }
                    _ => match p.operand(v) {
                        Rmi::R(r) => p.asm.save(m, r),
                        Rmi::I(k) => p.asm.save_imm(m, k),
                        Rmi::M(_) => {
                            let r = p.reg(v);
                            p.asm.save(m, r);
                        }
                    },
                }
            }
        }
        self.values.used(v);
    }

    /// Where the result of node `at` is to be computed; `dying` are its operands.
    pub(crate) fn dest(&mut self, at: Value, dying: &[Value]) -> Reg {
        let hint = self.scan.hints.get(at.index()).copied().flatten();
        let mut p = self.place();
        if let Some((class, index)) = hint
            && let Some(home) = p.home(class, index)
        {
            p.evict(class, index, dying);
            p.values.set(at, Loc::Guest(class, index));
            return home;
        }
        let d = p.temp();
        p.values.set(at, Loc::Temp(d));
        d
    }

    /// The same in a vector register.
    pub(crate) fn dest_f(&mut self, at: Value, dying: &[Value]) -> Xmm {
        let hint = self.scan.hints.get(at.index()).copied().flatten();
        let mut p = self.place();
        if let Some((class, index)) = hint
            && let Some(home) = p.home_f(class, index)
        {
            p.evict(class, index, dying);
            p.values.set(at, Loc::Guest(class, index));
            return home;
        }
        let d = p.temp_f();
        p.values.set(at, Loc::TempF(d));
        d
    }

    /// Empties the scratch registers for an access to `va`, and gives a register with the address: rdx, or a guest
    /// register's home that holds it.
    fn address(&mut self, va: Value) -> Reg {
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
        p.into_reg(RDX, base);
        if k != 0 {
            p.asm.lea(RDX, RDX, k);
        }
        RDX
    }

    /// Looks up the page of `va`: its place in the table in rcx, and the jump that is taken if it is not there.
    fn look_up(&mut self, table: i32, va: Reg, log: u32) -> Patch {
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

    /// The distance of an access's address from `start`, in rax.
    fn linear_address(&mut self, va: Value, start: u64) -> Reg {
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
            p.into_reg(RAX, base);
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
    fn within(&mut self, distance: Reg) -> Patch {
        self.asm.alu(Alu::Cmp, distance, Rmi::M(self.layout.linear_limit));
        let miss = self.asm.jcc(Cc::A);
        self.asm.load(RCX, self.layout.linear_host);
        miss
    }

    /// Several jumps to one slow way.
    fn slow_ways(&mut self, from: Vec<Patch>, cold: impl Fn(Patch) -> Cold) {
        self.cold.extend(from.into_iter().map(cold));
    }

    fn load(&mut self, width: Width, order: Order, va: Value, at: Value) {
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
        let (from, address) = if let Some((k, from, address)) = grouped {
            match to {
                To::Float(d) => self.asm.load_at_f(d, RCX, k),
                To::Reg(d, signed, log) => self.asm.load_at(signed, log, d, RCX, k),
            }
            (from, address)
        } else {
            let (from, slow) = match self.modes.linear {
                Some(start) => (self.within(address), Address::Linear(start)),
                None => (self.look_up(self.layout.read, address, log), Address::Reg(address)),
            };
            match to {
                To::Float(d) => self.asm.load_sum_f(d, address, RCX),
                To::Reg(d, signed, log) => self.asm.load_sum(signed, log, d, address, RCX),
            }
            (vec![from], slow)
        };
        let back = self.asm.len();
        let info = self.info(log);
        self.slow_ways(from, |from| Cold::Load { from, back, va: address, info, to });
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

    fn store(&mut self, width: Width, order: Order, va: Value, v: Value, at: Value) {
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
        let (from, address) = if let Some((k, from, address)) = grouped {
            match value {
                Stored::Float(r) => self.asm.save_at_f(log == 3, RCX, k, r),
                Stored::Operand(Rmi::I(c)) => self.asm.save_at_imm(log, RCX, k, c),
                Stored::Operand(Rmi::R(r)) => self.asm.save_at(log, RCX, k, r),
                Stored::Operand(Rmi::M(m)) => {
                    self.asm.load(RAX, m);
                    self.asm.save_at(log, RCX, k, RAX);
                }
            }
            (from, address)
        } else {
            let from = self.look_up(self.layout.write, address, log);
            match value {
                Stored::Float(r) => self.asm.save_sum_f(log == 3, address, RCX, r),
                Stored::Operand(Rmi::I(k)) => self.asm.save_sum_imm(log, address, RCX, k),
                Stored::Operand(Rmi::R(r)) => self.asm.save_sum(log, address, RCX, r),
                Stored::Operand(Rmi::M(m)) => {
                    self.asm.load(RAX, m);
                    self.asm.save_sum(log, address, RCX, RAX);
                }
            }
            (vec![from], Address::Reg(address))
        };
        let back = self.asm.len();
        let info = self.info(log);
        self.slow_ways(from, |from| Cold::Store { from, back, va: address, info, value });
        self.values.used(va);
        self.values.used(v);
        self.fence(order);
    }

    /// What a store of `v` takes it from: a register that lasts, memory, or a constant.
    fn stored(&mut self, log: u32, v: Value) -> Stored {
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
                p.into_reg(r, v);
                p.asm.save(m, r);
                p.values.unpin();
                Stored::Operand(Rmi::M(m))
            }
            _ => Stored::Operand(self.place().operand(v)),
        }
    }

    fn exit_if(&mut self, block: &Block, taken: Value, target: Value) {
        let Loc::Page(k) = self.values.at(target) else {
            let cc = self.condition(block, taken);
            let not = self.asm.jcc(cc.not());
            self.place().into_reg(RAX, target);
            self.probe();
            let here = self.asm.len();
            self.asm.patch(not, here);
            self.values.used(taken);
            self.values.used(target);
            return;
        };
        match self.values.at(taken) {
            Loc::Const(0) => {}
            Loc::Const(_) => {
                let from = self.asm.jmp();
                self.cold.push(Cold::Jump { from, target: k });
            }
            _ => {
                let cc = self.condition(block, taken);
                let from = self.asm.jcc(cc);
                self.cold.push(Cold::Jump { from, target: k });
            }
        }
        self.values.used(taken);
        self.values.used(target);
    }

    /// Sets the host's flags so that the condition says whether `v` is not 0.
    pub(crate) fn condition(&mut self, block: &Block, v: Value) -> Cc {
        if self.values.at(v) == Loc::Compare
            && let Some(&Node::Bin { op, a, b }) = block.nodes().get(v.index())
        {
            let cc = self.compare(op, a, b);
            self.values.used(a);
            self.values.used(b);
            return cc;
        }
        let r = self.place().reg(v);
        self.asm.test(r);
        Cc::Ne
    }

    /// Compares; gives the condition under which `op` is 1.
    pub(crate) fn compare(&mut self, op: Bin, a: Value, b: Value) -> Cc {
        let mut p = self.place();
        let a = p.reg(a);
        let b = p.operand(b);
        if b == Rmi::I(0) {
            p.asm.test(a)
        } else {
            p.asm.alu(Alu::Cmp, a, b)
        }
        match op {
            Bin::Eq => Cc::E,
            Bin::Ne => Cc::Ne,
            Bin::LtS => Cc::L,
            Bin::GeS => Cc::Ge,
            Bin::LtU => Cc::B,
            _ => Cc::Ae,
        }
    }

    fn jump(&mut self, target: Value) {
        match self.values.at(target) {
            Loc::Page(k) => {
                let from = self.asm.jmp();
                self.cold.push(Cold::Jump { from, target: k });
            }
            _ => {
                let mut p = self.place();
                p.into_reg(RAX, target);
                self.likely_targets();
                self.probe();
            }
        }
        self.values.used(target);
    }

    /// Goes to the code for the program counter in rax, if the jump table has it.
    fn probe(&mut self) {
        self.depart();
        let l = self.layout;
        self.asm.mov32(RCX, RAX);
        self.asm.and32(RCX, l.jump_mask);
        self.asm.shl32(RCX, 4);
        self.asm.load(RDX, l.code_number);
        self.asm.cmp_entry(RAX, RCX, l.jump);
        let other = self.asm.jcc(Cc::Ne);
        self.asm.cmp_entry(RDX, RCX, l.jump + 8);
        let stale = self.asm.jcc(Cc::Ne);
        self.asm.jmp_entry(RCX, l.jump + 16);
        let here = self.asm.len();
        self.asm.patch(other, here);
        self.asm.patch(stale, here);
        self.asm.save(l.pc, RAX);
        self.leave(Leave::Lookup as u32);
    }

    fn leave(&mut self, reason: u32) {
        self.asm.mov_imm(RAX, u64::from(reason));
        let to = self.asm.jmp();
        self.outside(to, self.shared.leave);
    }

    /// Makes a jump or call go to an address outside the unit.
    pub(crate) fn outside(&mut self, from: Patch, to: u64) {
        let distance = to.wrapping_sub(self.base);
        self.asm.patch(from, distance as usize);
    }

    fn save_pc(&mut self, k: i64) {
        self.asm.load(RCX, self.layout.page_va);
        self.asm.lea(RCX, RCX, k as i32);
        self.asm.save(self.layout.pc, RCX);
    }

    /// Leaves for the interpreter at an instruction.
    fn step(&mut self, k: i64) {
        self.depart();
        self.save_pc(k);
        self.leave(Leave::Step as u32);
    }

    /// Emits what is rarely run; gives where the way out for a budget that does not suffice begins.
    pub(crate) fn cold_code(&mut self) -> usize {
        let (mut n, mut stale) = (0, 0);
        let mut failed = Vec::new();
        while let Some(&cold) = self.cold.get(n) {
            n += 1;
            let here = self.asm.len();
            match cold {
                Cold::Jump { from, target } => self.cold_jump(from, target),
                Cold::Budget { from, insns, start } => {
                    self.asm.patch(from, here);
                    self.asm.alu(Alu::Add, crate::reg::BUDGET, Rmi::I(insns as i32));
                    self.depart();
                    stale = self.asm.len();
                    self.save_pc(i64::from(start));
                    self.leave(Leave::Budget as u32);
                }
                Cold::Load { from, back, va, info, to } => {
                    self.asm.patch(from, here);
                    self.slow_address(va);
                    self.asm.mov_imm(RAX, u64::from(info.0));
                    failed.push(self.call_shared(self.shared.load));
                    self.take(to);
                    self.back(back);
                }
                Cold::Store { from, back, va, info, value } => {
                    self.asm.patch(from, here);
                    self.slow_address(va);
                    match value {
                        Stored::Float(r) => self.asm.from_f(RCX, r),
                        Stored::Operand(Rmi::R(r)) => self.asm.mov(RCX, r),
                        Stored::Operand(Rmi::M(m)) => self.asm.load(RCX, m),
                        Stored::Operand(Rmi::I(k)) => self.asm.mov_imm(RCX, k as i64 as u64),
                    }
                    self.asm.mov_imm(RAX, u64::from(info.0));
                    failed.push(self.call_shared(self.shared.store));
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
                Cold::Failed { from } => failed.push(from),
            }
        }
        if !failed.is_empty() {
            let here = self.asm.len();
            failed.into_iter().for_each(|from| self.asm.patch(from, here));
            self.depart();
            let to = self.asm.jmp();
            self.outside(to, self.shared.failed);
        }
        stale
    }

    /// Puts an access's address into rdx.
    fn slow_address(&mut self, va: Address) {
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

    /// A direct jump.
    fn cold_jump(&mut self, from: Patch, target: i64) {
        let here = self.asm.len();
        match u32::try_from(target) {
            Ok(target) if target < 4096 => match self.region.as_ref().and_then(|r| r.label(target)) {
                Some(label) => self.asm.patch(from, label),
                None if self.region.is_some() => {
                    self.asm.patch(from, here);
                    self.depart();
                    let from = self.asm.jmp();
                    let here = self.asm.len();
                    self.asm.patch(from, here);
                    self.unlinked(from, target);
                }
                None => {
                    self.asm.patch(from, here);
                    self.unlinked(from, target);
                }
            },
            _ => {
                self.asm.patch(from, here);
                self.asm.load(RAX, self.layout.page_va);
                self.asm.lea(RAX, RAX, target as i32);
                self.probe();
            }
        }
    }

    /// Calls shared code; gives the jump that is taken if it says to leave.
    fn call_shared(&mut self, to: u64) -> Patch {
        let call = self.asm.call();
        self.outside(call, to);
        self.asm.jcc(Cc::Ne)
    }

    fn take(&mut self, to: To) {
        match to {
            To::Reg(d, true, log) if log < 3 => self.asm.extend(true, log, d, RAX),
            To::Reg(d, ..) => self.asm.mov(d, RAX),
            To::Float(d) => self.asm.to_f(d, RAX),
        }
    }

    fn back(&mut self, to: usize) {
        let jump = self.asm.jmp();
        self.asm.patch(jump, to);
    }

    /// Calls an operation whose arguments are in their place; its result is in rax.
    pub(crate) fn call(&mut self, id: u32, info: Info) -> Patch {
        self.asm.mov_imm(RDX, u64::from(id));
        self.asm.mov_imm(RAX, u64::from(info.0));
        self.call_shared(self.shared.call)
    }

    /// What a link does while it is not linked.
    fn unlinked(&mut self, from: Patch, target: u32) {
        let number = self.first_link + self.links.len() as u32;
        self.links.push(Link { at: from.0, unlinked: self.asm.len(), target });
        self.save_pc(i64::from(target));
        self.leave(Leave::Link as u32 + number);
    }

    fn amo(&mut self, op: isa_core::AmoOp, width: Width, va: Value, v: Value, at: Value) {
        let log = width.bytes().trailing_zeros();
        let mut p = self.place();
        p.clear_temps(true);
        p.into_reg(RDX, va);
        p.pin(RDX);
        p.into_reg(RCX, v);
        let args = self.layout.args;
        self.asm.save_imm(args, op as i32);
        let info = self.info(log);
        self.asm.mov_imm(RAX, u64::from(info.0));
        let from = self.call_shared(self.shared.amo);
        self.cold.push(Cold::Failed { from });
        self.values.used(va);
        self.values.used(v);
        self.result(at);
    }

    /// Takes a call's result out of rax.
    pub(crate) fn result(&mut self, at: Value) {
        let hint = self.scan.hints.get(at.index()).copied().flatten();
        if let Some((X, index)) = hint
            && self.homes.x.get(usize::from(index)).copied().flatten().is_some()
        {
            self.place().pin(RAX);
            let d = self.dest(at, &[]);
            self.asm.mov(d, RAX);
        } else {
            self.values.set(at, Loc::Temp(RAX));
        }
    }
}
