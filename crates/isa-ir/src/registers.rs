//! Guest registers: read once, and written once between the places where the guest could look. Vector
//! registers, whose groups overlap, stay as they are.

use crate::passes::{Change, UNKNOWN};
use crate::{Node, Parts, Passes, Value};

/// Whether two values are the same: one node, or equal constants.
fn same(nodes: &[Node], a: Value, b: Value) -> bool {
    let constant = |v: Value| match nodes.get(v.index()) {
        Some(Node::Const(k)) => Some(*k),
        _ => None,
    };
    a == b || constant(a).is_some_and(|k| constant(b) == Some(k))
}

/// Fills the places of all classes that are among `parts`.
fn fill<T: Copy>(bases: &[u16], parts: Parts, table: &mut [T], with: T) {
    for (class, span) in (0..).zip(bases.windows(2)) {
        if let &[from, to] = span
            && parts.touches(Parts::class(class))
            && let Some(places) = table.get_mut(usize::from(from)..usize::from(to))
        {
            places.fill(with);
        }
    }
}

impl Passes {
    /// The place of a register in the tables.
    #[inline]
    fn place(&self, class: u8, index: u8) -> usize {
        usize::from(self.bases.get(usize::from(class)).copied().unwrap_or(u16::MAX)) + usize::from(index)
    }

    /// Forward: replaces a read by the value that is known; drops a write of what is there anyway.
    #[inline]
    pub(crate) fn known_register(&mut self, before: &[Node], node: &Node, at: usize) -> Change {
        match *node {
            Node::Get { class, index } => {
                let place = self.place(class, index);
                match self.known.get_mut(place) {
                    Some(known) if *known != UNKNOWN => return Change::Value(*known),
                    Some(known) => *known = Value(at as u32),
                    None => {}
                }
            }
            Node::Set { class, index, v } => {
                let place = self.place(class, index);
                if let Some(known) = self.known.get_mut(place) {
                    let there = same(before, *known, v);
                    *known = v;
                    if there {
                        return Change::Node(Node::Nop);
                    }
                }
            }
            Node::Call { effects, .. } => {
                fill(&self.bases, effects.writes(), &mut self.known, UNKNOWN);
            }
            _ => {}
        }
        Change::None
    }

    /// Backward: whether `node` writes a register that is written again before the block may be left.
    #[inline]
    pub(crate) fn overwritten_register(&mut self, node: &Node) -> bool {
        if node.may_leave() {
            self.overwritten.fill(false);
        }
        match *node {
            Node::Get { class, index } => {
                let place = self.place(class, index);
                if let Some(overwritten) = self.overwritten.get_mut(place) {
                    *overwritten = false;
                }
            }
            Node::Set { class, index, .. } => {
                let place = self.place(class, index);
                let overwritten = self.overwritten.get_mut(place);
                return overwritten.is_some_and(|overwritten| std::mem::replace(overwritten, true));
            }
            Node::Call { effects, .. } => {
                fill(&self.bases, effects.reads(), &mut self.overwritten, false);
            }
            _ => {}
        }
        false
    }
}
