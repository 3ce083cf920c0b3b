//! Nodes: the operations of the IR, 16 bytes each.

use crate::Effects;
use isa_core::{AmoOp, Bin, Flag, FlagKind, Order, Shape, Un, Width};

/// The result of a node: its place in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(pub(crate) u32);

impl Value {
    /// The result of the node at this place.
    pub const fn from_index(at: usize) -> Value {
        Value(at as u32)
    }

    /// Place of the node in the block.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a node with more than three operands keeps them: from this place of the block's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool(pub(crate) u32);

/// One operation. The last of a block, and only the last, is `Jump`, `Next` or `Trap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Nothing: what a pass has removed.
    Nop,
    /// Here begins the instruction at entry + `offset`; traps from here on are its own.
    Insn {
        /// Bytes from the block's entry.
        offset: u32,
        /// Bytes of the instruction.
        length: u8,
    },
    /// A constant.
    Const(u64),
    /// The address this many bytes from the block's entry.
    Pc(i64),
    /// `op(a, b)`
    Bin {
        /// What to compute.
        op: Bin,
        /// First operand.
        a: Value,
        /// Second operand.
        b: Value,
    },
    /// `op(a)`
    Un {
        /// What to compute.
        op: Un,
        /// The operand.
        a: Value,
    },
    /// `a` if `c` is not 0, else `b`.
    Select {
        /// The condition.
        c: Value,
        /// If it is not 0.
        a: Value,
        /// If it is 0.
        b: Value,
    },
    /// A guest register of 64 bits or of flags.
    Get {
        /// Register class.
        class: u8,
        /// Register.
        index: u8,
    },
    /// Writes one.
    Set {
        /// Register class.
        class: u8,
        /// Register.
        index: u8,
        /// The value.
        v: Value,
    },
    /// A group of vector registers as one value.
    GetVector {
        /// Register class.
        class: u8,
        /// The first register.
        index: u8,
        /// Bytes of the group.
        bytes: u16,
    },
    /// Writes one.
    SetVector {
        /// Register class.
        class: u8,
        /// The first register.
        index: u8,
        /// The value.
        v: Value,
    },
    /// Flags of an operation, not computed yet.
    Flags {
        /// What leaves them.
        kind: FlagKind,
        /// Its width.
        width: Width,
        /// First operand, zero-extended.
        a: Value,
        /// Second operand, zero-extended.
        b: Value,
        /// Carry or borrow in, 0 or 1.
        c: Value,
    },
    /// One of them, 0 or 1.
    Flag {
        /// Which.
        flag: Flag,
        /// Of these.
        flags: Value,
    },
    /// Lane by lane: `op(a, b)`; if masked, only where the mask has a 1, else the lane of `old`. In the
    /// pool: `a`, `b`; mask, `old`.
    Lanes {
        /// What to compute: addition, subtraction, multiplication, logic.
        op: Bin,
        /// Elements and lanes.
        shape: Shape,
        /// The operands.
        operands: Pool,
        /// Whether there are a mask and old lanes.
        masked: bool,
    },
    /// A mask: bits `start` up to, not including, `end` are 1.
    Range {
        /// Bytes of the mask.
        bytes: u16,
        /// The first bit that is 1.
        start: Value,
        /// The first bit behind.
        end: Value,
    },
    /// Loads, zero-extended.
    Load {
        /// Bytes.
        width: Width,
        /// Ordering.
        order: Order,
        /// Virtual address.
        va: Value,
    },
    /// Stores the low bytes.
    Store {
        /// Bytes.
        width: Width,
        /// Ordering.
        order: Order,
        /// Virtual address.
        va: Value,
        /// What to store.
        v: Value,
    },
    /// Replaces a word by `op` of it and `v`; gives the old one, sign-extended.
    Amo {
        /// What to compute.
        op: AmoOp,
        /// Bytes.
        width: Width,
        /// Ordering.
        order: Order,
        /// Virtual address.
        va: Value,
        /// Operand.
        v: Value,
    },
    /// Loads, sign-extended, and reserves.
    LoadReserved {
        /// Bytes.
        width: Width,
        /// Ordering.
        order: Order,
        /// Virtual address.
        va: Value,
    },
    /// Stores if the reservation holds; 0 if stored.
    StoreConditional {
        /// Bytes.
        width: Width,
        /// Ordering.
        order: Order,
        /// Virtual address.
        va: Value,
        /// What to store.
        v: Value,
    },
    /// Orders accesses.
    Fence(Order),
    /// Calls a named operation.
    Call {
        /// Its number.
        id: u32,
        /// What it touches.
        effects: Effects,
        /// Its arguments.
        args: Pool,
        /// How many, at most four.
        count: u8,
    },
    /// Leaves for `target` if `taken` is not 0.
    ExitIf {
        /// Whether to leave.
        taken: Value,
        /// Where to.
        target: Value,
    },
    /// If `over` is not 0, the next `insns` instructions are not done: what they would change keeps what it has, and they do not
    /// count.
    Skip {
        /// Whether they are branched over.
        over: Value,
        /// How many.
        insns: u32,
    },
    /// Leaves for `target`.
    Jump {
        /// Where to.
        target: Value,
    },
    /// Leaves for entry + `offset`, or for where an operation said.
    Next {
        /// Bytes from the block's entry.
        offset: u32,
    },
    /// The current instruction traps, always.
    Trap {
        /// Which trap; the instruction set's number.
        code: u32,
        /// What it reports.
        arg: Value,
    },
}

impl Node {
    /// Whether it ends a block.
    pub const fn ends(&self) -> bool {
        matches!(self, Node::Jump { .. } | Node::Next { .. } | Node::Trap { .. })
    }

    /// Whether it does nothing but give a value.
    pub const fn pure(&self) -> bool {
        matches!(
            self,
            Node::Nop
                | Node::Const(_)
                | Node::Pc(_)
                | Node::Bin { .. }
                | Node::Un { .. }
                | Node::Select { .. }
                | Node::Get { .. }
                | Node::GetVector { .. }
                | Node::Flags { .. }
                | Node::Flag { .. }
                | Node::Lanes { .. }
                | Node::Range { .. }
        )
    }

    /// Whether the block may be left here, so that all registers must be as the guest expects.
    pub const fn may_leave(&self) -> bool {
        match self {
            Node::Load { .. }
            | Node::Store { .. }
            | Node::Amo { .. }
            | Node::LoadReserved { .. }
            | Node::StoreConditional { .. }
            | Node::ExitIf { .. }
            | Node::Jump { .. }
            | Node::Next { .. }
            | Node::Trap { .. } => true,
            Node::Call { effects, .. } => effects.traps(),
            _ => false,
        }
    }

    /// The part of the pool it uses.
    pub(crate) fn pool(&self) -> std::ops::Range<usize> {
        match *self {
            Node::Lanes { operands, masked, .. } => {
                operands.0 as usize..operands.0 as usize + if masked { 4 } else { 2 }
            }
            Node::Call { args, count, .. } => args.0 as usize..args.0 as usize + usize::from(count),
            _ => 0..0,
        }
    }

    /// Calls `f` on each operand that is not in the pool.
    #[inline]
    pub fn operands(&self, mut f: impl FnMut(Value)) {
        let mut copy = *self;
        copy.operands_mut(|v| f(*v));
    }

    /// The same, to change them.
    #[inline]
    pub(crate) fn operands_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Node::Bin { a, b, .. } => {
                f(a);
                f(b);
            }
            Node::Select { c, a, b } | Node::Flags { a, b, c, .. } => {
                f(c);
                f(a);
                f(b);
            }
            Node::Store { va, v, .. } | Node::Amo { va, v, .. } | Node::StoreConditional { va, v, .. } => {
                f(va);
                f(v);
            }
            Node::ExitIf { taken: a, target: b } | Node::Range { start: a, end: b, .. } => {
                f(a);
                f(b);
            }
            Node::Un { a: v, .. }
            | Node::Set { v, .. }
            | Node::SetVector { v, .. }
            | Node::Flag { flags: v, .. }
            | Node::Load { va: v, .. }
            | Node::LoadReserved { va: v, .. }
            | Node::Skip { over: v, .. }
            | Node::Jump { target: v }
            | Node::Trap { arg: v, .. } => f(v),
            Node::Nop
            | Node::Insn { .. }
            | Node::Const(_)
            | Node::Pc(_)
            | Node::Get { .. }
            | Node::GetVector { .. }
            | Node::Lanes { .. }
            | Node::Fence(_)
            | Node::Call { .. }
            | Node::Next { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_sixteen_bytes() {
        assert_eq!(size_of::<Node>(), 16);
    }
}
