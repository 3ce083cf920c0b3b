//! Blocks: the list of nodes, its operand pool and its bounds.

use crate::isa::Holds;
use crate::{Isa, Node, Type, Value};

/// How large a block may become, whatever the guest's code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes.
    pub nodes: u32,
    /// Operands in the pool.
    pub pool: u32,
    /// Bytes of all vector values together.
    pub vector_bytes: u32,
}

impl Default for Limits {
    /// 4096 nodes (64 KiB), 4096 operands, 64 KiB of vectors.
    fn default() -> Self {
        Limits { nodes: 4096, pool: 4096, vector_bytes: 1 << 16 }
    }
}

/// A block: nodes in the order of execution.
#[derive(Clone, Debug)]
pub struct Block {
    pub(crate) isa: &'static Isa,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pool: Vec<Value>,
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes && self.pool == other.pool
    }
}

impl Block {
    pub(crate) fn new(isa: &'static Isa) -> Block {
        Block { isa, nodes: Vec::new(), pool: Vec::new() }
    }

    /// The instruction set it is of.
    pub fn isa(&self) -> &'static Isa {
        self.isa
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The arguments of a call or the operands of a lane-by-lane operation, else nothing.
    pub fn pooled(&self, node: &Node) -> &[Value] {
        self.pool.get(node.pool()).unwrap_or(&[])
    }

    /// The type of a node's value.
    pub fn type_of(&self, node: &Node) -> Type {
        match *node {
            Node::Const(_)
            | Node::Pc(_)
            | Node::Bin { .. }
            | Node::Un { .. }
            | Node::Select { .. }
            | Node::Flag { .. }
            | Node::Load { .. }
            | Node::Amo { .. }
            | Node::LoadReserved { .. }
            | Node::StoreConditional { .. }
            | Node::Call { .. } => Type::I64,
            Node::Get { class, .. } => match self.isa.class(class).map(|c| c.holds) {
                Some(Holds::I64) => Type::I64,
                Some(Holds::Flags) => Type::Flags,
                _ => Type::Nothing,
            },
            Node::Flags { .. } => Type::Flags,
            Node::GetVector { bytes, .. } | Node::Range { bytes, .. } => Type::Vector(bytes),
            Node::Lanes { shape, .. } => shape.bytes().map_or(Type::Nothing, Type::Vector),
            _ => Type::Nothing,
        }
    }
}
