//! The evaluator: runs a block on whatever has the guest's registers, memory and operations.

use crate::{Block, Node, Type, Value};
use isa_core::{AmoOp, Bin, LazyFlags, Order, Shape, Width, lanes};
use std::ops::Range;

/// The guest's registers, memory and operations. An instruction set without flags or vectors leaves
/// out their methods: no verified block of it calls them.
pub trait Target {
    /// Why a block stopped early: a trap.
    type Stop;

    /// The instruction at `pc` begins; those before it are done.
    fn begin(&mut self, pc: u64, length: u8);
    /// The next `insns` instructions will begin, but are branched over: they do not count.
    fn skip(&mut self, _insns: u32) {}
    /// A register of 64 bits.
    fn get(&mut self, class: u8, index: u8) -> u64;
    /// Writes a register of 64 bits.
    fn set(&mut self, class: u8, index: u8, v: u64);
    /// A register of flags.
    fn get_flags(&mut self, _class: u8, _index: u8) -> LazyFlags {
        LazyFlags::from_bits(0)
    }
    /// Writes a register of flags.
    fn set_flags(&mut self, _class: u8, _index: u8, _flags: LazyFlags) {}
    /// Reads a group of vector registers into `out`.
    fn get_vector(&mut self, _class: u8, _index: u8, _out: &mut [u8]) {}
    /// Writes a group of vector registers.
    fn set_vector(&mut self, _class: u8, _index: u8, _v: &[u8]) {}
    /// [`isa_core::Machine::load`]
    ///
    /// # Errors
    /// The access's fault.
    fn load(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Self::Stop>;
    /// [`isa_core::Machine::store`]
    ///
    /// # Errors
    /// The access's fault.
    fn store(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<(), Self::Stop>;
    /// [`isa_core::Machine::amo`]
    ///
    /// # Errors
    /// The access's fault.
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Self::Stop>;
    /// [`isa_core::Machine::load_reserved`]
    ///
    /// # Errors
    /// The access's fault.
    fn load_reserved(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Self::Stop>;
    /// [`isa_core::Machine::store_conditional`]
    ///
    /// # Errors
    /// The access's fault.
    fn store_conditional(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Self::Stop>;
    /// [`isa_core::Machine::fence`]
    fn fence(&mut self, order: Order);
    /// Runs a named operation; arguments that it does not have are 0.
    ///
    /// # Errors
    /// The trap that it takes.
    fn call(&mut self, id: u32, args: [u64; 4]) -> Result<u64, Self::Stop>;
    /// `op(a, b)`: the seam for a test that plants a wrong operation.
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        op.apply(a, b)
    }
}

/// How a block was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// For this address.
    Jump(u64),
    /// For this address, unless an operation has said another.
    Next(u64),
    /// With a trap that the block holds.
    Trap {
        /// The instruction set's number for it.
        code: u32,
        /// What it reports.
        arg: u64,
    },
}

/// Runs blocks. Holds their values, so that running allocates nothing once it has grown.
#[derive(Debug, Default)]
pub struct Evaluator {
    /// 64 bits, or the place of flags, or the place and length of a vector.
    values: Vec<u64>,
    flags: Vec<LazyFlags>,
    bytes: Vec<u8>,
}

impl Evaluator {
    /// Runs `block`, entered at `pc`. A block that does not verify may give nonsense, but no more.
    ///
    /// # Errors
    /// What an access or operation stopped with; the instruction is the last one begun.
    pub fn eval<T: Target>(&mut self, block: &Block, pc: u64, target: &mut T) -> Result<Outcome, T::Stop> {
        self.values.clear();
        self.flags.clear();
        self.bytes.clear();
        for node in block.nodes() {
            let v = match *node {
                Node::ExitIf { taken, target } if self.get(taken) != 0 => {
                    return Ok(Outcome::Jump(self.get(target)));
                }
                Node::Jump { target } => return Ok(Outcome::Jump(self.get(target))),
                Node::Next { offset } => return Ok(Outcome::Next(pc.wrapping_add(u64::from(offset)))),
                Node::Trap { code, arg } => return Ok(Outcome::Trap { code, arg: self.get(arg) }),
                Node::Insn { offset, length } => {
                    target.begin(pc.wrapping_add(u64::from(offset)), length);
                    0
                }
                Node::Pc(offset) => pc.wrapping_add(offset as u64),
                Node::Call { id, .. } => {
                    let mut args = [0; 4];
                    for (arg, &v) in args.iter_mut().zip(block.pooled(node)) {
                        *arg = self.get(v);
                    }
                    target.call(id, args)?
                }
                _ if node.may_leave() => self.access(node, target)?,
                _ => self.compute(block, node, target),
            };
            self.values.push(v);
        }
        // Only a block that does not verify gets here.
        Ok(Outcome::Next(pc))
    }

    #[inline]
    fn get(&self, v: Value) -> u64 {
        self.values.get(v.index()).copied().unwrap_or(0)
    }

    /// Nodes that touch memory.
    fn access<T: Target>(&mut self, node: &Node, target: &mut T) -> Result<u64, T::Stop> {
        match *node {
            Node::Load { width, order, va } => target.load(self.get(va), width, order),
            Node::Store { width, order, va, v } => {
                target.store(self.get(va), width, self.get(v), order)?;
                Ok(0)
            }
            Node::Amo { op, width, order, va, v } => target.amo(op, self.get(va), width, self.get(v), order),
            Node::LoadReserved { width, order, va } => target.load_reserved(self.get(va), width, order),
            Node::StoreConditional { width, order, va, v } => {
                target.store_conditional(self.get(va), width, self.get(v), order)
            }
            _ => Ok(0),
        }
    }

    /// Nodes that cannot stop.
    fn compute<T: Target>(&mut self, block: &Block, node: &Node, target: &mut T) -> u64 {
        match *node {
            Node::Const(k) => k,
            Node::Bin { op, a, b } => target.bin(op, self.get(a), self.get(b)),
            Node::Un { op, a } => op.apply(self.get(a)),
            Node::Select { c, a, b } => self.get(if self.get(c) != 0 { a } else { b }),
            Node::Get { class, index } if block.type_of(node) == Type::Flags => {
                let flags = target.get_flags(class, index);
                self.keep_flags(flags)
            }
            Node::Get { class, index } => target.get(class, index),
            Node::Set { class, index, v } => {
                match block.nodes().get(v.index()).map(|n| block.type_of(n)) {
                    Some(Type::Flags) => target.set_flags(class, index, self.flags(v)),
                    _ => target.set(class, index, self.get(v)),
                }
                0
            }
            Node::Flags { kind, width, a, b, c } => {
                let (a, b, c) = (self.get(a), self.get(b), self.get(c));
                self.keep_flags(LazyFlags { kind, width, a, b, c })
            }
            Node::Flag { flag, flags } => u64::from(self.flags(flags).flag(flag)),
            Node::GetVector { class, index, bytes } => {
                self.vector(bytes, |_, out| target.get_vector(class, index, out))
            }
            Node::SetVector { class, index, v } => {
                target.set_vector(class, index, self.bytes.get(self.place(v)).unwrap_or(&[]));
                0
            }
            Node::Range { bytes, start, end } => {
                let (start, end) = (self.get(start), self.get(end));
                self.vector(bytes, |_, out| lanes::range(start, end, out))
            }
            Node::Lanes { op, shape, .. } => self.lanes(block.pooled(node), op, shape, target),
            Node::Fence(order) => {
                target.fence(order);
                0
            }
            Node::Skip { over, insns } => {
                if self.get(over) != 0 {
                    target.skip(insns);
                }
                0
            }
            _ => 0,
        }
    }

    fn keep_flags(&mut self, flags: LazyFlags) -> u64 {
        self.flags.push(flags);
        self.flags.len() as u64 - 1
    }

    fn flags(&self, v: Value) -> LazyFlags {
        self.flags.get(self.get(v) as usize).copied().unwrap_or(LazyFlags::from_bits(0))
    }

    /// A new vector value, filled by `fill`, which also sees the others.
    fn vector(&mut self, bytes: u16, fill: impl FnOnce(&[u8], &mut [u8])) -> u64 {
        let at = self.bytes.len();
        self.bytes.resize(at + usize::from(bytes), 0);
        let (others, new) = self.bytes.split_at_mut(at);
        fill(others, new);
        (at as u64) << 16 | u64::from(bytes)
    }

    /// Where a vector value is.
    fn place(&self, v: Value) -> Range<usize> {
        let place = self.get(v);
        let at = (place >> 16) as usize;
        at..at.saturating_add(place as usize & 0xffff)
    }

    fn lanes<T: Target>(&mut self, operands: &[Value], op: Bin, shape: Shape, target: &mut T) -> u64 {
        let &[a, b, ref masked @ ..] = operands else { return 0 };
        let (a, b) = (self.place(a), self.place(b));
        let masked = match *masked {
            [mask, old] => Some((self.place(mask), self.place(old))),
            _ => None,
        };
        self.vector(shape.bytes().unwrap_or(0), |others, out| {
            let get = |place: Range<usize>| others.get(place).unwrap_or_default();
            let mask = masked.map(|(mask, old)| {
                out.iter_mut().zip(get(old)).for_each(|(to, from)| *to = *from);
                get(mask)
            });
            lanes::compute(|a, b| target.bin(op, a, b), shape.element, get(a), get(b), mask, out);
        })
    }
}
