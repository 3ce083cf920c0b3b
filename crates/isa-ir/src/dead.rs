//! Dead code: nodes that only give a value which nobody uses.

use crate::node::Pool;
use crate::{Block, Node, Passes, Value};

impl Passes {
    /// Marks what `node` needs, if it is needed itself. Loads always are, as they may fault.
    #[inline]
    pub(crate) fn mark_operands(&mut self, pool: &[Value], node: &Node, at: usize) {
        if !node.pure() {
            self.mark(at);
        } else if !self.live.get(at).is_some_and(|live| *live) {
            return;
        }
        if matches!(node, Node::Lanes { .. } | Node::Call { .. }) {
            pool.get(node.pool()).unwrap_or_default().iter().for_each(|v| self.mark(v.index()));
        } else {
            node.operands(|v| self.mark(v.index()));
        }
    }

    #[inline]
    fn mark(&mut self, at: usize) {
        if let Some(live) = self.live.get_mut(at) {
            *live = true;
        }
    }

    /// Removes the nodes that are not marked, and moves the others together.
    pub(crate) fn close_gaps(&mut self, block: &mut Block) {
        let Block { nodes, pool, .. } = block;
        self.map.clear();
        self.pool.clear();
        let (mut from, mut to) = (0, 0);
        nodes.retain_mut(|node| {
            let keep = self.live.get(from).is_some_and(|live| *live);
            self.map.push(Value(to));
            if keep {
                Passes::replace(&self.map, pool, node);
                if matches!(node, Node::Lanes { .. } | Node::Call { .. }) {
                    let at = Pool(self.pool.len() as u32);
                    self.pool.extend_from_slice(pool.get(node.pool()).unwrap_or_default());
                    if let Node::Lanes { operands: place, .. } | Node::Call { args: place, .. } = node {
                        *place = at;
                    }
                }
                to += 1;
            }
            from += 1;
            keep
        });
        std::mem::swap(pool, &mut self.pool);
    }
}
