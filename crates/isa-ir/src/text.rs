//! The text form: one node a line.

use crate::names::{amo_name, bin_name, flag_name, kind_name, order_name, un_name, width_name};
use crate::{Block, Node, Type, Value};
use std::fmt::{Display, Formatter, Result};

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "%{}", self.0)
    }
}

/// A register: the name of its class and its number.
struct Register<'a>(&'a Block, u8, u8);

impl Display for Register<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{}", self.0.isa().class(self.1).map_or("?", |c| c.name), self.2)
    }
}

impl Display for Block {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (at, node) in self.nodes().iter().enumerate() {
            if self.type_of(node) != Type::Nothing {
                write!(f, "%{at} = ")?;
            }
            write_node(f, self, node)?;
            f.write_str("\n")?;
        }
        Ok(())
    }
}

fn write_node(f: &mut Formatter<'_>, block: &Block, node: &Node) -> Result {
    match *node {
        Node::Nop => f.write_str("nop"),
        Node::Insn { offset, length } => write!(f, "insn {offset} {length}"),
        Node::Const(k) => write!(f, "const {k:#x}"),
        Node::Pc(offset) => write!(f, "pc {offset}"),
        Node::Bin { op, a, b } => write!(f, "{} {a}, {b}", bin_name(op)),
        Node::Un { op, a } => write!(f, "{} {a}", un_name(op)),
        Node::Select { c, a, b } => write!(f, "select {c}, {a}, {b}"),
        Node::Get { class, index } => write!(f, "get {}", Register(block, class, index)),
        Node::Set { class, index, v } => write!(f, "set {}, {v}", Register(block, class, index)),
        Node::GetVector { class, index, bytes } => {
            write!(f, "get_vector {}, {bytes}", Register(block, class, index))
        }
        Node::SetVector { class, index, v } => {
            write!(f, "set_vector {}, {v}", Register(block, class, index))
        }
        Node::Flags { kind, width, a, b, c } => {
            write!(f, "flags {} {} {a}, {b}, {c}", kind_name(kind), width_name(width))
        }
        Node::Flag { flag, flags } => write!(f, "flag {} {flags}", flag_name(flag)),
        Node::Lanes { op, shape, .. } => {
            write!(f, "lanes {} {}x{} ", bin_name(op), width_name(shape.element), shape.lanes)?;
            list(f, block.pooled(node))
        }
        Node::Range { bytes, start, end } => write!(f, "range {bytes} {start}, {end}"),
        Node::Call { id, .. } => {
            write!(f, "call {id:#x} {} ", (block.isa().operation_name)(id))?;
            list(f, block.pooled(node))
        }
        Node::ExitIf { taken, target } => write!(f, "exit_if {taken}, {target}"),
        Node::Skip { over, insns } => write!(f, "skip {over}, {insns}"),
        Node::Jump { target } => write!(f, "jump {target}"),
        Node::Next { offset } => write!(f, "next {offset}"),
        Node::Trap { code, arg } => write!(f, "trap {code} {arg}"),
        _ => write_access(f, node),
    }
}

/// Nodes about memory.
fn write_access(f: &mut Formatter<'_>, node: &Node) -> Result {
    let (name, width, order) = match *node {
        Node::Load { width, order, .. } => ("load", width, order),
        Node::Store { width, order, .. } => ("store", width, order),
        Node::Amo { width, order, .. } => ("amo", width, order),
        Node::LoadReserved { width, order, .. } => ("load_reserved", width, order),
        Node::StoreConditional { width, order, .. } => ("store_conditional", width, order),
        Node::Fence(order) => return write!(f, "fence {}", order_name(order)),
        _ => return Ok(()),
    };
    write!(f, "{name} ")?;
    if let Node::Amo { op, .. } = node {
        write!(f, "{} ", amo_name(*op))?;
    }
    write!(f, "{} {} ", width_name(width), order_name(order))?;
    match node {
        Node::Load { va, .. } | Node::LoadReserved { va, .. } => write!(f, "{va}"),
        Node::Store { va, v, .. } | Node::Amo { va, v, .. } | Node::StoreConditional { va, v, .. } => {
            write!(f, "{va}, {v}")
        }
        _ => Ok(()),
    }
}

fn list(f: &mut Formatter<'_>, values: &[Value]) -> Result {
    let mut separator = "";
    for v in values {
        write!(f, "{separator}{v}")?;
        separator = ", ";
    }
    Ok(())
}
