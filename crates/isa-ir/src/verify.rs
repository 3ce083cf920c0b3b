//! The verifier: whether a block is well formed.

use crate::isa::Holds;
use crate::{Block, Limits, Node, Type, Value};
use isa_core::lanes::{MAX_VECTOR_BYTES, lane_wise};

/// What is wrong with a block, and at which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It exceeds its limits.
    TooLarge,
    /// It does not begin with an instruction.
    NoInsn,
    /// It does not end with `jump`, `next` or `trap`.
    NoEnd,
    /// A node behind the end.
    BehindEnd(u32),
    /// An operand that no earlier node gives.
    NotDefined(u32),
    /// An operand of the wrong type.
    WrongType(u32),
    /// A register that the instruction set does not have, or not of this kind.
    NoRegister(u32),
    /// A shape that a vector value cannot have, or an operation that is not lane by lane.
    BadShape(u32),
    /// An operation that the instruction set does not have, with other effects, or too many arguments.
    BadCall(u32),
    /// Operands outside the pool, or shared with another node.
    BadPool(u32),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, node) = match *self {
            Fault::TooLarge => return f.write_str("the block exceeds its limits"),
            Fault::NoInsn => return f.write_str("the block does not begin with insn"),
            Fault::NoEnd => return f.write_str("the block does not end with jump, next or trap"),
            Fault::BehindEnd(n) => ("is behind the end of the block", n),
            Fault::NotDefined(n) => ("uses a value that no earlier node gives", n),
            Fault::WrongType(n) => ("has an operand of the wrong type", n),
            Fault::NoRegister(n) => ("names a register that there is not", n),
            Fault::BadShape(n) => ("has an impossible vector shape or operation", n),
            Fault::BadCall(n) => ("calls an operation that there is not, or with other effects", n),
            Fault::BadPool(n) => ("has its operands in the wrong place of the pool", n),
        };
        write!(f, "node {node} {what}")
    }
}

impl std::error::Error for Fault {}

/// Checks `block`: bounds, definitions before uses, types, registers, effects, one end.
///
/// # Errors
/// The first fault.
pub fn verify(block: &Block, limits: &Limits) -> Result<(), Fault> {
    let nodes = block.nodes();
    if nodes.len() as u64 > u64::from(limits.nodes) || block.pool.len() as u64 > u64::from(limits.pool) {
        return Err(Fault::TooLarge);
    }
    if !matches!(nodes.first(), Some(Node::Insn { .. })) {
        return Err(Fault::NoInsn);
    }
    let (mut pool_end, mut vector_bytes) = (0, 0u64);
    for (at, node) in (0u32..).zip(nodes) {
        let checker = Checker { block, at };
        checker.node(node)?;
        let pool = node.pool();
        if !pool.is_empty() {
            if pool.start < pool_end || block.pool.get(pool.clone()).is_none() {
                return Err(Fault::BadPool(at));
            }
            pool_end = pool.end;
        }
        if node.ends() && at as usize + 1 != nodes.len() {
            return Err(Fault::BehindEnd(at + 1));
        }
        if let Type::Vector(bytes) = block.type_of(node) {
            vector_bytes += u64::from(bytes);
        }
    }
    match nodes.last() {
        _ if vector_bytes > u64::from(limits.vector_bytes) => Err(Fault::TooLarge),
        Some(node) if node.ends() => Ok(()),
        _ => Err(Fault::NoEnd),
    }
}

struct Checker<'a> {
    block: &'a Block,
    at: u32,
}

impl Checker<'_> {
    /// The type of an operand.
    fn type_of(&self, v: Value) -> Result<Type, Fault> {
        match self.block.nodes().get(v.index()) {
            Some(node) if v.0 < self.at => Ok(self.block.type_of(node)),
            _ => Err(Fault::NotDefined(self.at)),
        }
    }

    fn want(&self, v: Value, wanted: Type) -> Result<(), Fault> {
        if self.type_of(v)? == wanted { Ok(()) } else { Err(Fault::WrongType(self.at)) }
    }

    fn node(&self, node: &Node) -> Result<(), Fault> {
        match *node {
            Node::Get { class, index } => self.register(class, index).map(|_| ()),
            Node::Set { class, index, v } => self.want(v, self.register(class, index)?),
            Node::GetVector { class, index, bytes } => self.group(class, index, bytes),
            Node::SetVector { class, index, v } => match self.type_of(v)? {
                Type::Vector(bytes) => self.group(class, index, bytes),
                _ => Err(Fault::WrongType(self.at)),
            },
            Node::Flag { flags, .. } => self.want(flags, Type::Flags),
            Node::Range { bytes, start, end } => {
                if !(1..=MAX_VECTOR_BYTES).contains(&bytes) {
                    return Err(Fault::BadShape(self.at));
                }
                self.want(start, Type::I64)?;
                self.want(end, Type::I64)
            }
            Node::Lanes { op, shape, .. } => {
                let bytes = shape.bytes().filter(|_| lane_wise(op)).ok_or(Fault::BadShape(self.at))?;
                let lanes = |v| self.want(v, Type::Vector(bytes));
                let mask = match *self.block.pooled(node) {
                    [a, b] => return lanes(a).and_then(|()| lanes(b)),
                    [a, b, mask, old] => {
                        [a, b, old].into_iter().try_for_each(lanes)?;
                        mask
                    }
                    _ => return Err(Fault::BadPool(self.at)),
                };
                match self.type_of(mask)? {
                    Type::Vector(mask) if u32::from(mask) * 8 >= u32::from(shape.lanes) => Ok(()),
                    _ => Err(Fault::WrongType(self.at)),
                }
            }
            Node::Call { id, effects, count, .. } => {
                if count > 4 || (self.block.isa().effects)(id) != Some(effects) {
                    return Err(Fault::BadCall(self.at));
                }
                let args = self.block.pooled(node);
                args.iter().try_for_each(|&v| self.want(v, Type::I64))
            }
            mut other => {
                let mut result = Ok(());
                other.operands_mut(|v| result = result.and_then(|()| self.want(*v, Type::I64)));
                result
            }
        }
    }

    /// The type of a register of 64 bits or of flags.
    fn register(&self, class: u8, index: u8) -> Result<Type, Fault> {
        match self.block.isa().class(class).filter(|c| index < c.count).map(|c| c.holds) {
            Some(Holds::I64) => Ok(Type::I64),
            Some(Holds::Flags) => Ok(Type::Flags),
            _ => Err(Fault::NoRegister(self.at)),
        }
    }

    /// Whether there is a group of vector registers with these bytes.
    fn group(&self, class: u8, index: u8, bytes: u16) -> Result<(), Fault> {
        match self.block.isa().class(class).map(|c| (c.holds, c.count)) {
            Some((Holds::Vector(each), count))
                if (1..=MAX_VECTOR_BYTES).contains(&bytes)
                    && u32::from(index) * u32::from(each) + u32::from(bytes)
                        <= u32::from(count) * u32::from(each) =>
            {
                Ok(())
            }
            _ => Err(Fault::NoRegister(self.at)),
        }
    }
}
