//! The passes: one sweep forward, one backward, and one that closes the gaps.

use crate::{Block, Isa, Node, Value};

/// Makes blocks smaller: registers are read and written once , what is known is
/// computed , what nobody uses is removed. Holds the storage for it, so
/// that running allocates nothing once it has grown.
///
/// The passes look at one node at a time, so they share sweeps: a translator has about a hundred
/// nanoseconds for an instruction.
#[derive(Debug, Default)]
pub struct Passes {
    /// For each node, the value that stands for its own.
    pub(crate) map: Vec<Value>,
    /// For each node, whether its value is needed.
    pub(crate) live: Vec<bool>,
    /// For each register, the value it is known to hold, or [`UNKNOWN`].
    pub(crate) known: Vec<Value>,
    /// For each register, whether it is written again before anybody looks.
    pub(crate) overwritten: Vec<bool>,
    /// For each class, where its registers begin in these tables.
    pub(crate) bases: [u16; 9],
    /// The pool that the live nodes need.
    pub(crate) pool: Vec<Value>,
}

/// No value.
pub(crate) const UNKNOWN: Value = Value(u32::MAX);

/// What a pass makes of a node.
pub(crate) enum Change {
    /// The node as it is.
    None,
    /// Another node.
    Node(Node),
    /// Nothing: this earlier value is the node's.
    Value(Value),
}

impl Passes {
    /// Runs all passes on a verified block; it stays one.
    pub fn run(&mut self, block: &mut Block) {
        self.begin(block.isa, block.nodes.len());
        self.forward(block);
        self.backward(block);
        self.close_gaps(block);
    }

    fn begin(&mut self, isa: &Isa, nodes: usize) {
        let mut total = 0;
        for (base, class) in self.bases.iter_mut().zip(isa.classes) {
            *base = total;
            total += u16::from(class.count);
        }
        for base in self.bases.iter_mut().skip(isa.classes.len()) {
            *base = total;
        }
        self.map.clear();
        self.live.clear();
        self.live.resize(nodes, false);
        self.known.clear();
        self.known.resize(usize::from(total), UNKNOWN);
        self.overwritten.clear();
        self.overwritten.resize(usize::from(total), false);
    }

    fn forward(&mut self, block: &mut Block) {
        for at in 0..block.nodes.len() {
            let (before, rest) = block.nodes.split_at_mut(at);
            let Some(node) = rest.first_mut() else { break };
            Passes::replace(&self.map, &mut block.pool, node);
            let change = match node {
                Node::Get { .. } | Node::Set { .. } | Node::Call { .. } => {
                    self.known_register(before, node, at)
                }
                _ => crate::fold::folded(before, node),
            };
            let mut value = Value(at as u32);
            match change {
                Change::None => {}
                Change::Node(new) => *node = new,
                Change::Value(v) => {
                    *node = Node::Nop;
                    value = v;
                }
            }
            self.map.push(value);
        }
    }

    fn backward(&mut self, block: &mut Block) {
        let Block { nodes, pool, .. } = block;
        for (at, node) in nodes.iter_mut().enumerate().rev() {
            if self.overwritten_register(node) {
                *node = Node::Nop;
            } else {
                self.mark_operands(pool, node, at);
            }
        }
    }

    /// Replaces the operands of `node` by what stands for them.
    #[inline]
    pub(crate) fn replace(map: &[Value], pool: &mut [Value], node: &mut Node) {
        let stand_in = |v: &mut Value| *v = map.get(v.index()).copied().unwrap_or(*v);
        if matches!(node, Node::Lanes { .. } | Node::Call { .. }) {
            pool.get_mut(node.pool()).unwrap_or_default().iter_mut().for_each(stand_in);
        } else {
            node.operands_mut(stand_in);
        }
    }
}
