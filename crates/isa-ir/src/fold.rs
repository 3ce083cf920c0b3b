//! Constant folding, and operations that change nothing.

use crate::passes::Change;
use crate::{Node, Value};
use isa_core::{Bin, LazyFlags};

fn constant(before: &[Node], v: Value) -> Option<u64> {
    match before.get(v.index()) {
        Some(Node::Const(k)) => Some(*k),
        _ => None,
    }
}

/// What `node` comes to: computed, by the definitions that the evaluator uses, or one of its operands.
#[inline]
pub(crate) fn folded(before: &[Node], node: &Node) -> Change {
    match *node {
        Node::Bin { op, a, b } => binary(before, op, a, b),
        Node::Un { op, a } => match constant(before, a) {
            Some(a) => Change::Node(Node::Const(op.apply(a))),
            None => Change::None,
        },
        Node::Select { c, a, b } => match constant(before, c) {
            Some(c) => Change::Value(if c != 0 { a } else { b }),
            None if a == b => Change::Value(a),
            None => Change::None,
        },
        Node::Flag { flag, flags } => {
            let Some(&Node::Flags { kind, width, a, b, c }) = before.get(flags.index()) else {
                return Change::None;
            };
            match [a, b, c].map(|v| constant(before, v)) {
                [Some(a), Some(b), Some(c)] => {
                    Change::Node(Node::Const(LazyFlags { kind, width, a, b, c }.flag(flag).into()))
                }
                _ => Change::None,
            }
        }
        Node::ExitIf { taken, .. } if constant(before, taken) == Some(0) => Change::Node(Node::Nop),
        _ => Change::None,
    }
}

fn binary(before: &[Node], op: Bin, a: Value, b: Value) -> Change {
    let (left, right) = (constant(before, a), constant(before, b));
    if let (Some(left), Some(right)) = (left, right) {
        return Change::Node(Node::Const(op.apply(left, right)));
    }
    if let (Bin::Add, Some(Node::Pc(offset)), Some(k)) = (op, before.get(a.index()), right) {
        return Change::Node(Node::Pc(offset.wrapping_add(k as i64)));
    }
    match (op, left, right) {
        (
            Bin::Add | Bin::Sub | Bin::Or | Bin::Xor | Bin::Shl | Bin::ShrU | Bin::ShrS | Bin::RotR,
            _,
            Some(0),
        )
        | (Bin::And, _, Some(u64::MAX))
        | (Bin::Mul | Bin::DivU | Bin::DivS, _, Some(1)) => Change::Value(a),
        (Bin::Add | Bin::Or | Bin::Xor, Some(0), _)
        | (Bin::And, Some(u64::MAX), _)
        | (Bin::Mul, Some(1), _) => Change::Value(b),
        (Bin::And | Bin::Mul, _, Some(0)) | (Bin::And | Bin::Mul, Some(0), _) => Change::Node(Node::Const(0)),
        (Bin::Sub | Bin::Xor, ..) if a == b => Change::Node(Node::Const(0)),
        _ => Change::None,
    }
}
