//! The emitter: one pass over a block's nodes, each turned into host code at once.
//!
//! Guest registers are as the guest expects them between any two instructions, so that a fault in the middle of a block
//! needs no repair: what leaves the block only says which instruction it is.

use crate::asm::{Alu, Asm, Cc, Patch, Rmi};
use crate::atomic::Atomic;
use crate::facts::Facts;
use crate::far::{Far, Guard};
use crate::float::Operation;
use crate::group::Groups;
use crate::layout::{Info, Layout, Shared};
use crate::near::{Bank, Near};
use crate::reg::{Homes, RAX, RCX, Reg, Xmm};
use crate::region::Region;
use crate::scan::{Modes, Scan};
use crate::value::{F, Loc, Place, Values, X};
use isa_core::{Bin, Order};
use isa_ir::{Block, Node, Value};

/// A jump to code that may not exist yet: a rel32 that leaves until it is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the rel32 is, in bytes from [`Room::usual`].
    pub at: i64,
    /// Where it wants to go.
    pub to: Whither,
}

/// Where a link leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whither {
    /// To the code at this distance from the start of the same page, in bytes.
    Near(u32),
    /// To another page, as long as two words, so many bytes from [`Room::usual`], are the program counter there and the
    /// number of the context.
    Far {
        /// Where it wants to go: how far from the start of the page, in bytes.
        target: i64,
        /// Where the words are.
        words: i64,
    },
    /// To the code of the same region at this distance from the start of its first page, which is in another page than the
    /// jump: as long as two words, likewise, are the program counter there and the number of the context. There is nothing to
    /// patch but those.
    Within {
        /// Where it wants to go.
        target: u32,
        /// Where the words are.
        words: i64,
    },
}

/// Bytes of a page.
pub(crate) const PAGE: u32 = 4096;

/// Where the code of a unit will be in the host. What is seldom run goes elsewhere, so that what is run lies close together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Address of the code that is usually run.
    pub usual: u64,
    /// Address of the rest.
    pub seldom: u64,
}

/// What was made of a block: places are in bytes from [`Room::usual`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Where an indirect jump enters, with the program counter in rax.
    pub indirect: i64,
    /// Where a direct jump goes to: `direct`, unless the code goes on in the next page. Where that page is must be looked up.
    pub link: i64,
    /// Where the block begins once its page is known.
    pub direct: i64,
    /// Where to go instead of entering once the block no longer holds: it leaves as if the budget did not suffice.
    pub stale: i64,
    /// Instructions.
    pub insns: u32,
    /// Bytes of guest code they have.
    pub bytes: u32,
}

/// What is emitted behind the block, because it is rarely run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cold {
    /// A direct jump to this distance from the start of the (first) page, made in the page that begins at `page`, which leaves so
    /// many instructions undone.
    Jump { from: Patch, target: i64, rest: u32, page: u32 },
    /// A load whose page is not remembered.
    Load { from: Patch, back: usize, va: Address, info: Info, to: To, near: Near },
    /// A store, likewise.
    Store { from: Patch, back: usize, va: Address, info: Info, value: Stored, near: Near },
    /// The bank of near pages with this number must be emptied.
    Bank { from: [Patch; 2], back: usize, number: usize },
    /// The budget does not suffice for the block of so many instructions at this distance from the start of the page.
    Budget { from: Patch, insns: u32, start: u32 },
    /// The floating-point state must be made dirty.
    Dirty { from: Patch, back: usize },
    /// A floating-point result is not a number: it becomes the canonical one.
    Nan { from: Patch, back: usize, d: Xmm, bits: u64 },
    /// A floating-point operation must be done the slow way.
    Call { from: Patch, back: usize, id: u32, info: Info, args: [Option<Xmm>; 3], rm: u64, to: To },
    /// An atomic access whose page is not remembered; its result is wanted in rax.
    Atomic { from: Patch, back: usize, va: Reg, info: Info, what: Atomic },
    /// A direct jump to another page.
    Far(Far),
    /// One inside a region.
    Within { within: Guard, target: u32 },
    /// Shared code said not to go on.
    Failed { from: Patch },
    /// The same after an operation whose result becomes a register's.
    Elsewhere { from: Patch, result: Option<u8> },
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
    pub(crate) links: Vec<Link>,
    pub(crate) room: Room,
    /// Number of the first link.
    pub(crate) first_link: u32,
    /// Distance of the block from the start of its page.
    pub(crate) start: u32,
    /// Distance of the current instruction from the start of its page.
    pub(crate) offset: i64,
    /// Instructions left, the current one included.
    pub(crate) left: u32,
    pub(crate) modes: Modes,
    /// Bytes of the current instruction.
    pub(crate) length: u8,
    pub(crate) operations: fn(u32, Modes) -> Operation,
    pub(crate) groups: Groups,
    pub(crate) facts: Facts,
    /// The floating-point state is dirty.
    pub(crate) dirty: bool,
    /// Near pages of the region.
    pub(crate) near: Option<Bank>,
    /// The bank that was given last.
    pub(crate) banks: usize,
    /// What is different in a region.
    pub(crate) region: Option<Region>,
    /// Values and registers that are known to hold boxed singles.
    pub(crate) boxed: Vec<bool>,
    pub(crate) boxed_registers: u32,
}

/// Whether the code for `node` uses scratch registers only as it is given them.
fn keeps(node: &Node) -> bool {
    matches!(
        node,
        Node::Get { .. } | Node::Set { .. } | Node::Bin { .. } | Node::Un { .. } | Node::Skip { .. }
    ) || matches!(node, Node::Const(_) | Node::Pc(_) | Node::Nop | Node::ExitIf { .. })
}

/// Where the first instruction is from node `at` on.
fn insn_offset(block: &Block, at: usize) -> Option<u32> {
    block.nodes().get(at..)?.iter().find_map(|node| match node {
        Node::Insn { offset, .. } => Some(*offset),
        _ => None,
    })
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
            room: Room::default(),
            first_link: 0,
            start: 0,
            offset: 0,
            left: 0,
            modes: Modes::default(),
            length: 0,
            operations: |_, _| Operation::Interpret,
            groups: Groups::default(),
            facts: Facts::default(),
            dirty: false,
            near: None,
            banks: 0,
            region: None,
            boxed: Vec::new(),
            boxed_registers: 0,
        }
    }

    /// The code of the last unit: what is usually run, and the rest.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.asm.parts()
    }

    /// Its links, in the order of their numbers.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Emits `block`, which begins `start` bytes into its page, for `room` in the host. Its links have numbers from
    /// `first_link` on. `operations` says what to do about operations. `None` if the first instruction already is one that
    /// must be interpreted.
    pub fn emit(
        &mut self,
        block: &Block,
        start: u32,
        room: Room,
        first_link: u32,
        modes: Modes,
        operations: fn(u32, Modes) -> Operation,
    ) -> Option<Code> {
        self.begin(room, first_link, modes, operations);
        (self.region, self.near) = (None, None);
        self.look_at(block);
        if self.scan.insns == 0 {
            return None;
        }
        self.asm.lea(RCX, RAX, -(start as i32));
        self.asm.save(self.layout.page_va, RCX);
        let direct = self.asm.len() as i64;
        let bytes = self.body(block, start);
        let insns = self.scan.insns;
        let stale = self.cold_code();
        let link = if start + bytes > PAGE { self.find_itself(start) } else { direct };
        Some(Code { indirect: 0, link, direct, stale, insns, bytes })
    }

    /// Code that looks up the block's own beginning.
    fn find_itself(&mut self, start: u32) -> i64 {
        let here = self.asm.distance(self.asm.len());
        self.asm.load(RAX, self.layout.page_va);
        self.asm.lea(RAX, RAX, start as i32);
        self.probe();
        here
    }

    pub(crate) fn begin(
        &mut self,
        room: Room,
        first_link: u32,
        modes: Modes,
        operations: fn(u32, Modes) -> Operation,
    ) {
        self.asm.clear();
        self.cold.clear();
        self.links.clear();
        (self.room, self.first_link, self.modes, self.operations) = (room, first_link, modes, operations);
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
        self.dirty = false;
        if insns > 0 {
            self.asm.alu(Alu::Sub, crate::reg::BUDGET, Rmi::I(insns as i32));
            let from = self.asm.jcc(Cc::S);
            let first = insn_offset(block, 0).unwrap_or(0);
            self.cold.push(Cold::Budget { from, insns, start: start + first });
        }
        let mut bytes = 0;
        for (at, node) in block.nodes().iter().take(self.scan.nodes).enumerate() {
            if let Node::Insn { offset, length } = *node {
                self.offset = i64::from(start + offset);
                bytes = offset + u32::from(length);
                self.length = length;
                self.left -= 1;
                continue;
            }
            let value = Value::from_index(at);
            if node.pure() && self.values.uses(value) == 0 {
                continue;
            }
            self.node(block, node, value);
            if !keeps(node) {
                self.values.forget();
                self.values.group = self.groups.held.take();
            }
            self.values.unpin();
        }
        let next = i64::from(start + insn_offset(block, self.scan.nodes).unwrap_or(bytes));
        if self.scan.step {
            self.step(next);
        }
        if self.scan.apart {
            self.jump_to(next);
        }
        bytes
    }

    /// Jumps to a distance from the start of the page.
    fn jump_to(&mut self, target: i64) {
        if self.region.is_none() && self.rest() == 0 && !(0..i64::from(PAGE)).contains(&target) {
            self.far(target);
            return;
        }
        if let Some(to) = self.crosses(target) {
            self.refund(self.rest());
            self.cross(to);
            self.cold_jump_from(target, 0, to & !(PAGE - 1));
            return;
        }
        self.cold_jump_from(target, self.rest(), self.page_here());
    }

    /// A jump that goes where it leads by way of what is emitted behind the block.
    fn cold_jump_from(&mut self, target: i64, rest: u32, page: u32) {
        let from = self.asm.jmp();
        self.cold.push(Cold::Jump { from, target, rest, page });
    }

    /// Where the page of the current instruction begins.
    pub(crate) fn page_here(&self) -> u32 {
        self.offset as u32 & !(PAGE - 1)
    }

    /// Instructions behind the current one that have been paid for.
    fn rest(&self) -> u32 {
        self.left.saturating_sub(1)
    }

    /// Gives back what has been paid for and is not done.
    pub(crate) fn refund(&mut self, rest: u32) {
        if rest > 0 {
            self.asm.lea(crate::reg::BUDGET, crate::reg::BUDGET, rest as i32);
        }
    }

    pub(crate) fn info(&self, width: u32) -> Info {
        Info::new(self.offset as u32, width, self.left)
    }

    pub(crate) fn place(&mut self) -> Place<'_> {
        Place { values: &mut self.values, asm: &mut self.asm, layout: &self.layout, homes: &self.homes }
    }

    pub(crate) fn node(&mut self, block: &Block, node: &Node, at: Value) {
        match *node {
            Node::Const(k) => self.values.set(at, Loc::Const(k)),
            Node::Pc(k) => self.values.set(at, Loc::Page(i64::from(self.start) + k)),
            Node::Get { class, index } => self.get(class, index, at),
            Node::Set { class, index, v } if class <= F => {
                self.note_box(class, index, v);
                self.note_register(class, index, v);
                self.set(class, index, v);
            }
            Node::Set { v, .. } => {
                self.make_dirty();
                self.values.used(v);
            }
            Node::Bin { op, a, b } => self.bin(op, a, b, at),
            Node::Un { op, a } => self.un(op, a, at),
            Node::Select { c, a, b } => self.select(block, c, a, b, at),
            Node::Load { width, order, va } => self.load(width, order, va, at),
            Node::Store { width, order, va, v } => self.store(width, order, va, v, at),
            Node::Amo { op, width, order, va, v } => self.amo(op, (width, order), va, v, at),
            Node::LoadReserved { width, order, va } => self.load_reserved(width, order, va, at),
            Node::StoreConditional { width, order, va, v } => {
                self.store_conditional((width, order), va, v, at)
            }
            Node::Fence(order) => self.fence(order),
            Node::Call { id, .. } => match (self.operations)(id, self.modes) {
                Operation::Call | Operation::Float { .. } => self.operation(block.pooled(node), id, at),
                operation => self.system(block, node, operation, id, at),
            },
            Node::Trap { code, arg } => self.trap(code, arg),
            Node::ExitIf { taken, target } => self.exit_if(block, taken, target),
            Node::Skip { over, insns } => self.skip(block, over, insns),
            Node::Jump { target } => self.jump(target),
            Node::Next { offset } if self.falls_into(self.start + offset) => {
                if let Some(to) = self.crosses(i64::from(self.start + offset)) {
                    self.cross(to);
                }
            }
            Node::Next { offset } => self.jump_to(i64::from(self.start + offset)),
            _ => {}
        }
    }

    pub(crate) fn fence(&mut self, order: Order) {
        // The host keeps all orders but store to load.
        if order == Order::Both {
            self.asm.mfence();
        }
    }

    pub(crate) fn set(&mut self, class: u8, index: u8, v: Value) {
        if self.values.at(v) == Loc::Guest(class, index) {
            // Computed there, or what it was anyway.
            self.values.used(v);
            return;
        }
        let mut p = self.place();
        p.evict(class, index, &[]);
        p.values.changed(class, index);
        match (p.home(class, index), p.home_f(class, index)) {
            (Some(home), _) => p.fetch(home, v),
            (None, Some(home)) => p.fetch_f(home, v),
            (None, None) => {
                let m = p.guest(class, index);
                match p.values.at(v) {
                    Loc::TempF(r) => p.asm.save_f(m, r),
                    Loc::Guest(c, i) if p.home_f(c, i).is_some() => {
                        let r = p.reg_f(v);
                        p.asm.save_f(m, r);
                    }
                    _ => match p.operand(v) {
                        Rmi::R(r) => {
                            p.asm.save(m, r);
                            p.values.keep(r, class, index);
                        }
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
        let d = p.dying_temp(dying).unwrap_or_else(|| p.temp());
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

    pub(crate) fn exit_if(&mut self, block: &Block, taken: Value, target: Value) {
        let Loc::Page(k) = self.values.at(target) else {
            let cc = self.condition(block, taken);
            let not = self.asm.jcc(cc.not());
            self.place().fetch(RAX, target);
            self.refund(self.rest());
            self.probe();
            let here = self.asm.len();
            self.asm.patch(not, here);
            self.values.used(taken);
            self.values.used(target);
            return;
        };
        match self.values.at(taken) {
            Loc::Const(0) => {}
            Loc::Const(_) => self.jump_to(k),
            _ => {
                let cc = self.condition(block, taken);
                let from = self.asm.jcc(cc);
                self.cold.push(Cold::Jump { from, target: k, rest: self.rest(), page: self.page_here() });
            }
        }
        self.values.used(taken);
        self.values.used(target);
    }

    /// Gives back what was paid for instructions that are branched over.
    fn skip(&mut self, block: &Block, over: Value, insns: u32) {
        match self.values.at(over) {
            Loc::Const(0) => {}
            Loc::Const(_) => self.refund(insns),
            _ => {
                let cc = self.condition(block, over);
                self.values.unpin();
                let t = self.place().temp();
                self.asm.lea(t, crate::reg::BUDGET, insns as i32);
                self.asm.cmov(cc, crate::reg::BUDGET, t);
            }
        }
        self.values.used(over);
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

    pub(crate) fn jump(&mut self, target: Value) {
        match self.values.at(target) {
            Loc::Page(k) => self.jump_to(k),
            _ => {
                let mut p = self.place();
                p.fetch(RAX, target);
                self.likely_targets();
                self.probe();
            }
        }
        self.values.used(target);
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
