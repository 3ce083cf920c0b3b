//! What is found out about a block before it is emitted: how much of it can be, who uses what, and where results go.

use crate::float::Operation;
use crate::value::{DIRTY, F, Values, X};
use isa_core::{Bin, Un, Width};
use isa_ir::{Block, Node, Value};

/// Where a value is wanted: a guest register.
pub(crate) type Hint = Option<(u8, u8)>;

/// What is known of a block.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Nodes that are emitted.
    pub nodes: usize,
    /// Instructions among them.
    pub insns: u32,
    /// Whether the block goes on with an instruction that must be interpreted.
    pub step: bool,
    /// Whether it goes on with a trap, which is a block of its own, so that it does not weigh on this one's budget.
    pub apart: bool,
    /// For each node, where its value is wanted.
    pub hints: Vec<Hint>,
    /// For each node, what it is used as.
    pub used: Vec<u8>,
    /// For each load, the extension that it does as well.
    pub extended: Vec<Option<Value>>,
}

/// A value is used as the address of a load or store.
pub(crate) const ADDRESS: u8 = 1;
/// A value is used as a condition.
pub(crate) const CONDITION: u8 = 2;
/// A value is used otherwise.
pub(crate) const OTHER: u8 = 4;

/// What a block's key makes possible.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modes {
    /// The rounding mode, as `frm` has it.
    pub frm: u8,
    /// Floating-point instructions are legal.
    pub floats: bool,
    /// What operations depend on, as whoever says what to do about them has it.
    pub key: u32,
    /// Address of memory that loads may go to without a table.
    pub linear: Option<u64>,
}

/// Whether the emitter knows how to do `node`; `operations` says which operations it may call.
fn supported(node: &Node, modes: Modes, operations: fn(u32, Modes) -> Operation) -> bool {
    match *node {
        Node::Un { op, .. } => op != Un::BitReverse,
        Node::Get { class, .. } => matches!(class, X | F),
        Node::Set { class, .. } => matches!(class, X | F | DIRTY),
        Node::Call { id, .. } => operations(id, modes) != Operation::Interpret,
        Node::Nop
        | Node::Insn { .. }
        | Node::Const(_)
        | Node::Pc(_)
        | Node::Bin { .. }
        | Node::Select { .. }
        | Node::Load { .. }
        | Node::Store { .. }
        | Node::Amo { .. }
        | Node::LoadReserved { .. }
        | Node::StoreConditional { .. }
        | Node::Fence(_)
        | Node::ExitIf { .. }
        | Node::Skip { .. }
        | Node::Jump { .. }
        | Node::Trap { .. }
        | Node::Next { .. } => true,
        _ => false,
    }
}

/// The extension of a load that `op` is.
fn extends(op: Un, width: Width) -> bool {
    matches!((op, width), (Un::Sext8, Width::B1) | (Un::Sext16, Width::B2) | (Un::Sext32, Width::B4))
}

impl Scan {
    pub fn run(
        &mut self,
        block: &Block,
        modes: Modes,
        operations: fn(u32, Modes) -> Operation,
        values: &mut Values,
    ) {
        let nodes = block.nodes();
        self.extent(nodes, modes, operations);
        values.begin(self.nodes);
        self.hints.clear();
        self.hints.resize(self.nodes, None);
        self.used.clear();
        self.used.resize(self.nodes, 0);
        self.extended.clear();
        self.extended.resize(self.nodes, None);
        for (at, node) in nodes.iter().enumerate().take(self.nodes).rev() {
            // Backward, so that what only unused values use is unused too.
            if !node.pure() || values.uses(Value::from_index(at)) > 0 {
                self.operands(block, node, values);
            }
        }
        for (at, node) in nodes.iter().take(self.nodes).enumerate() {
            if let Node::Un { op, a } = *node
                && let Some(Node::Load { width, .. }) = nodes.get(a.index())
                && extends(op, *width)
                && values.uses(a) == 1
                && values.uses(Value::from_index(at)) > 0
                && let Some(extended) = self.extended.get_mut(a.index())
            {
                *extended = Some(Value::from_index(at));
            }
        }
        self.find_hints(nodes);
    }

    /// How far the block can be emitted.
    fn extent(&mut self, nodes: &[Node], modes: Modes, operations: fn(u32, Modes) -> Operation) {
        (self.nodes, self.insns, self.step, self.apart) = (nodes.len(), 0, false, false);
        let mut begin = 0;
        for (at, node) in nodes.iter().enumerate() {
            if matches!(node, Node::Insn { .. }) {
                begin = at;
                self.insns += 1;
            }
            if matches!(node, Node::Trap { .. }) && self.insns > 1 {
                self.nodes = begin;
                self.insns -= 1;
                self.apart = true;
                return;
            }
            if !supported(node, modes, operations) {
                self.nodes = begin;
                self.insns -= 1;
                self.step = true;
                return;
            }
        }
    }

    fn operands(&mut self, block: &Block, node: &Node, values: &mut Values) {
        for v in block.pooled(node) {
            values.count(*v);
            self.uses(*v, OTHER);
        }
        node.operands(|v| values.count(v));
        match *node {
            Node::Load { va, .. } | Node::LoadReserved { va, .. } => self.uses(va, ADDRESS),
            Node::Store { va, v, .. } | Node::Amo { va, v, .. } | Node::StoreConditional { va, v, .. } => {
                self.uses(va, ADDRESS);
                self.uses(v, OTHER);
            }
            Node::ExitIf { taken, target } => {
                self.uses(taken, CONDITION);
                self.uses(target, OTHER);
            }
            Node::Skip { over, .. } => self.uses(over, CONDITION),
            Node::Select { c, a, b } => {
                self.uses(c, CONDITION);
                self.uses(a, OTHER);
                self.uses(b, OTHER);
            }
            _ => node.operands(|v| self.uses(v, OTHER)),
        }
    }

    fn uses(&mut self, v: Value, how: u8) {
        if let Some(used) = self.used.get_mut(v.index()) {
            *used |= how;
        }
    }

    /// Whether all uses of `v` are of one kind.
    pub fn only(&self, v: Value, how: u8) -> bool {
        self.used.get(v.index()) == Some(&how)
    }

    /// Backward: a value that becomes a register's, with nothing between that could see the register, is computed there.
    fn find_hints(&mut self, nodes: &[Node]) {
        let mut wanted = Wanted::default();
        for (at, node) in nodes.iter().take(self.nodes).enumerate().rev() {
            if let Some(&Some((class, index))) = self.hints.get(at) {
                wanted.take(class, index);
                // What it is made of may be made in the same place, if nothing else is looked at for it.
                if let Some(a) = only_operand(nodes, node)
                    && class == X
                    && let Some(hint @ None) = self.hints.get_mut(a.index())
                    && a.index() + 4 > at
                {
                    *hint = Some((class, index));
                    wanted.put(class, index, a);
                }
            }
            match *node {
                Node::Set { class, index, v } if class <= F => {
                    self.forget(wanted.take(class, index));
                    wanted.put(class, index, v);
                    if let Some(hint) = self.hints.get_mut(v.index())
                        && let Some((class, index)) = hint.replace((class, index))
                    {
                        wanted.take(class, index);
                    }
                }
                Node::Get { class, index } if class <= F => self.forget(wanted.take(class, index)),
                _ if node.may_leave() => {
                    while let Some(v) = wanted.any() {
                        self.forget(Some(v));
                    }
                }
                _ => {}
            }
        }
    }

    fn forget(&mut self, v: Option<Value>) {
        if let Some(hint) = v.and_then(|v| self.hints.get_mut(v.index())) {
            *hint = None;
        }
    }
}

/// The values that registers will hold, going backward.
struct Wanted {
    values: [Value; 64],
    /// A bit for each register that has one.
    some: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted { values: [Value::from_index(0); 64], some: 0 }
    }
}

impl Wanted {
    fn slot(class: u8, index: u8) -> usize {
        usize::from(class & 1) << 5 | usize::from(index & 31)
    }

    fn put(&mut self, class: u8, index: u8, v: Value) {
        let slot = Self::slot(class, index);
        self.values[slot] = v;
        self.some |= 1 << slot;
    }

    fn take(&mut self, class: u8, index: u8) -> Option<Value> {
        let slot = Self::slot(class, index);
        let some = self.some & 1 << slot;
        self.some ^= some;
        (some != 0).then(|| self.values[slot])
    }

    /// Takes any of them.
    fn any(&mut self) -> Option<Value> {
        let slot = self.some.trailing_zeros() as usize;
        self.some &= self.some.wrapping_sub(1);
        self.values.get(slot).copied()
    }
}

/// The operand of a node that has one only, but for constants.
fn only_operand(nodes: &[Node], node: &Node) -> Option<Value> {
    match *node {
        Node::Un { a, .. } => Some(a),
        Node::Bin { op: Bin::Shl | Bin::ShrU | Bin::ShrS, a, b }
            if matches!(nodes.get(b.index()), Some(Node::Const(_))) =>
        {
            Some(a)
        }
        _ => None,
    }
}
