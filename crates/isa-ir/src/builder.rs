//! The builder: a machine whose values are nodes.

use crate::node::Pool;
use crate::{Block, Effects, Isa, Limits, Node, Value};
use isa_core::lanes::MAX_VECTOR_BYTES;
use isa_core::{AmoOp, Bin, Flag, FlagKind, Machine, Order, Shape, Un, Width};

/// Why nothing more can be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The block has come near its limits: finish it and begin another.
    Full,
    /// The block has been left for good, by a jump or a trap.
    Ended,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stop::Full => "the block is full; finish it and begin another",
            Stop::Ended => "the block has ended with a jump or trap; begin another",
        })
    }
}

impl std::error::Error for Stop {}

/// Room that an instruction finds when it begins. None needs nearly that much.
const ROOM: u32 = 64;

/// The comparison that is 1 where `node`, a comparison, is 0.
fn inverse(node: &Node) -> Option<Node> {
    let Node::Bin { op, a, b } = *node else { return None };
    let op = match op {
        Bin::Eq => Bin::Ne,
        Bin::Ne => Bin::Eq,
        Bin::LtS => Bin::GeS,
        Bin::GeS => Bin::LtS,
        Bin::LtU => Bin::GeU,
        Bin::GeU => Bin::LtU,
        _ => return None,
    };
    Some(Node::Bin { op, a, b })
}

/// A jump that happens when the instruction is done.
#[derive(Clone, Copy, Debug)]
enum Pending {
    None,
    If(Value, Value),
    Always(Value),
}

/// Where control goes behind the instruction begun last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// To the instruction behind it.
    On,
    /// There too, unless the condition holds.
    If(Value, Value),
    /// To this program counter.
    To(Value),
    /// Nowhere: it traps.
    Nowhere,
}

/// Builds a block, instruction by instruction.
///
/// For each instruction: [`Builder::insn`], then its meaning with the builder as machine. A builder is
/// made once and used for many blocks.
#[derive(Debug)]
pub struct Builder {
    block: Block,
    limits: Limits,
    vector_bytes: u32,
    offset: u32,
    next: u32,
    pending: Pending,
    /// What says whether instructions are branched over, while they are appended.
    over: Option<Value>,
    ended: bool,
    overflow: bool,
}

impl Builder {
    /// A builder of blocks of `isa`.
    pub fn new(isa: &'static Isa, limits: Limits) -> Builder {
        let block = Block::new(isa);
        Builder {
            block,
            limits,
            vector_bytes: 0,
            offset: 0,
            next: 0,
            pending: Pending::None,
            over: None,
            ended: false,
            overflow: false,
        }
    }

    /// Begins the instruction of `length` bytes behind the previous one.
    ///
    /// # Errors
    /// [`Stop::Full`] if it might not fit; [`Stop::Ended`] if control never gets here.
    pub fn insn(&mut self, length: u8) -> Result<(), Stop> {
        self.flush();
        if self.ended {
            return Err(Stop::Ended);
        }
        let (nodes, pool) = (self.block.nodes.len() as u32, self.block.pool.len() as u32);
        if nodes + ROOM > self.limits.nodes || pool + ROOM > self.limits.pool {
            return Err(Stop::Full);
        }
        self.offset = self.next;
        self.next = self.next.saturating_add(u32::from(length));
        self.push(Node::Insn { offset: self.offset, length });
        Ok(())
    }

    /// What the instruction begun last has become so far.
    pub fn last_insn(&self) -> &[Node] {
        let from = self.block.nodes.iter().rposition(|node| matches!(node, Node::Insn { .. })).unwrap_or(0);
        self.block.nodes.get(from..).unwrap_or_default()
    }

    /// The nodes so far.
    pub fn nodes(&self) -> &[Node] {
        &self.block.nodes
    }

    /// Begins a block at `offset`, from where offsets count, so that it can go on elsewhere.
    pub fn begin_at(&mut self, offset: u32) {
        (self.offset, self.next) = (offset, offset);
    }

    /// Where control goes behind the instruction begun last.
    pub fn going(&self) -> Going {
        match self.pending {
            _ if self.ended => Going::Nowhere,
            Pending::None => Going::On,
            Pending::If(taken, target) => Going::If(taken, target),
            Pending::Always(target) => Going::To(target),
        }
    }

    /// Goes on with the instruction at `offset`, to where the caller knows that control goes: behind the last instruction, a
    /// branch that is not taken, or a jump.
    pub fn follow(&mut self, offset: u32) {
        if matches!(self.pending, Pending::Always(_)) {
            self.pending = Pending::None;
        }
        self.flush();
        self.next = offset;
    }

    /// Goes on with the instruction at `offset`, to which the last one branches; leaves if it does not.
    pub fn follow_branch(&mut self, offset: u32) {
        if let Pending::If(taken, _) = self.pending {
            let not = match self.block.nodes.get(taken.index()).and_then(inverse) {
                Some(node) => self.push(node),
                None => {
                    let zero = self.imm(0);
                    self.bin(Bin::Eq, taken, zero)
                }
            };
            let target = self.push(Node::Pc(i64::from(self.next)));
            self.pending = Pending::If(not, target);
        }
        self.follow(offset);
    }

    /// Goes on behind a branch, whether it is taken or not: it goes over the next `insns` instructions, which are to be appended
    /// now and only compute and write registers of 64 bits. False if it is not a branch by a comparison; then nothing is done.
    pub fn skip(&mut self, insns: u32) -> bool {
        let Pending::If(over, _) = self.pending else { return false };
        if self.block.nodes.get(over.index()).and_then(inverse).is_none() {
            return false;
        }
        self.pending = Pending::None;
        self.push(Node::Skip { over, insns });
        self.over = Some(over);
        true
    }

    /// The instructions that were branched over end here.
    pub fn skipped(&mut self) {
        self.over = None;
    }

    /// Goes on with the instruction at `offset`, where the last one jumps if all is as usual; leaves if it jumps elsewhere.
    pub fn follow_guess(&mut self, offset: u32) {
        if let Pending::Always(target) = self.pending {
            let usual = self.push(Node::Pc(i64::from(offset)));
            let other = self.bin(Bin::Ne, target, usual);
            self.pending = Pending::If(other, target);
        }
        self.follow(offset);
    }

    /// Gives the jump that the last instruction asked for the target that it is known to have.
    pub fn retarget(&mut self, offset: i64) {
        if let Pending::Always(_) = self.pending {
            self.pending = Pending::Always(self.push(Node::Pc(offset)));
        }
    }

    /// Whether an instruction of so many nodes fits: to be asked before one that may have more than [`Builder::insn`] makes
    /// sure of.
    pub fn has_room(&self, nodes: u32) -> bool {
        (self.block.nodes.len() as u32).saturating_add(nodes) <= self.limits.nodes
    }

    /// Bytes of the instructions begun so far.
    pub fn length(&self) -> u32 {
        self.next
    }

    /// Ends the block, behind the last instruction if nothing else ended it, and gets ready for the
    /// next one.
    ///
    /// # Errors
    /// [`Stop::Full`] if it exceeds its limits, which takes an instruction of very many nodes.
    pub fn finish(&mut self) -> Result<Block, Stop> {
        self.flush();
        self.push(Node::Next { offset: self.next });
        let overflow = self.overflow;
        let fresh = Block::new(self.block.isa);
        let block = std::mem::replace(&mut self.block, fresh);
        self.reset();
        if overflow { Err(Stop::Full) } else { Ok(block) }
    }

    /// Takes a block that is no longer needed, for its storage. The block under construction, if any,
    /// is dropped.
    pub fn recycle(&mut self, block: Block) {
        self.block = Block { isa: self.block.isa, ..block };
        self.block.nodes.clear();
        self.block.pool.clear();
        self.reset();
    }

    fn reset(&mut self) {
        (self.vector_bytes, self.offset, self.next) = (0, 0, 0);
        (self.pending, self.over) = (Pending::None, None);
        (self.ended, self.overflow) = (false, false);
    }

    /// Appends the jump that the instruction has asked for.
    fn flush(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::None) {
            Pending::None => {}
            Pending::If(taken, target) => {
                self.push(Node::ExitIf { taken, target });
            }
            Pending::Always(target) => {
                self.push(Node::Jump { target });
            }
        }
    }

    #[inline]
    fn push(&mut self, node: Node) -> Value {
        let at = self.block.nodes.len() as u32;
        if self.ended {
            return Value(0);
        }
        if at >= self.limits.nodes {
            self.overflow = true;
            return Value(0);
        }
        self.ended = node.ends();
        self.block.nodes.push(node);
        Value(at)
    }

    /// Puts operands into the pool.
    fn pooled(&mut self, operands: &[Value]) -> Pool {
        let at = self.block.pool.len();
        if at + operands.len() > self.limits.pool as usize {
            self.overflow = true;
        } else if !self.ended {
            self.block.pool.extend_from_slice(operands);
        }
        Pool(at as u32)
    }

    /// Counts the bytes of a vector value.
    fn vector(&mut self, bytes: u16) {
        self.vector_bytes = self.vector_bytes.saturating_add(u32::from(bytes));
        self.overflow |= bytes > MAX_VECTOR_BYTES || self.vector_bytes > self.limits.vector_bytes;
    }

    /// A guest register of 64 bits or of flags.
    #[inline]
    pub fn get(&mut self, class: u8, index: u8) -> Value {
        self.push(Node::Get { class, index })
    }

    /// Writes a guest register of 64 bits or of flags.
    #[inline]
    pub fn set(&mut self, class: u8, index: u8, v: Value) {
        let v = match self.over {
            Some(over) => {
                let old = self.get(class, index);
                self.push(Node::Select { c: over, a: old, b: v })
            }
            None => v,
        };
        self.push(Node::Set { class, index, v });
    }

    /// A group of vector registers, of `bytes` bytes.
    pub fn get_vector(&mut self, class: u8, index: u8, bytes: u16) -> Value {
        self.vector(bytes);
        self.push(Node::GetVector { class, index, bytes })
    }

    /// Writes a group of vector registers.
    pub fn set_vector(&mut self, class: u8, index: u8, v: Value) {
        self.push(Node::SetVector { class, index, v });
    }

    /// The flags that an operation leaves.
    pub fn flags(&mut self, kind: FlagKind, width: Width, [a, b, c]: [Value; 3]) -> Value {
        self.push(Node::Flags { kind, width, a, b, c })
    }

    /// One of the flags, 0 or 1.
    pub fn flag(&mut self, flag: Flag, flags: Value) -> Value {
        self.push(Node::Flag { flag, flags })
    }

    /// `op(a, b)` lane by lane. With a mask and old lanes, only where the mask has a 1.
    pub fn lanes(&mut self, op: Bin, shape: Shape, [a, b]: [Value; 2], masked: Option<[Value; 2]>) -> Value {
        self.vector(shape.bytes().unwrap_or(u16::MAX));
        let operands = match masked {
            Some([mask, old]) => self.pooled(&[a, b, mask, old]),
            None => self.pooled(&[a, b]),
        };
        self.push(Node::Lanes { op, shape, operands, masked: masked.is_some() })
    }

    /// A mask of `bytes` bytes whose bits `start..end` are 1.
    pub fn range(&mut self, bytes: u16, start: Value, end: Value) -> Value {
        self.vector(bytes);
        self.push(Node::Range { bytes, start, end })
    }

    /// Calls operation `id`, of these effects, with up to four arguments.
    pub fn operation(&mut self, id: u32, effects: Effects, args: &[Value]) -> Value {
        let args = args.get(..4).unwrap_or(args);
        let pool = self.pooled(args);
        self.push(Node::Call { id, effects, args: pool, count: args.len() as u8 })
    }

    /// Ends the block: the current instruction always traps. Gives what its meaning stops with.
    pub fn trap(&mut self, code: u32, arg: Value) -> Stop {
        self.pending = Pending::None;
        self.push(Node::Trap { code, arg });
        Stop::Ended
    }
}

impl Machine for Builder {
    type V = Value;
    type Stop = Stop;

    #[inline]
    fn imm(&mut self, k: u64) -> Value {
        self.push(Node::Const(k))
    }
    #[inline]
    fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        self.push(Node::Bin { op, a, b })
    }
    #[inline]
    fn un(&mut self, op: Un, a: Value) -> Value {
        self.push(Node::Un { op, a })
    }
    #[inline]
    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.push(Node::Select { c, a, b })
    }
    #[inline]
    fn pc(&mut self) -> Value {
        self.push(Node::Pc(i64::from(self.offset)))
    }
    #[inline]
    fn next_pc(&mut self) -> Value {
        self.push(Node::Pc(i64::from(self.next)))
    }
    #[inline]
    fn jump(&mut self, target: Value) -> Result<(), Stop> {
        self.flush();
        self.pending = Pending::Always(target);
        Ok(())
    }
    #[inline]
    fn jump_if(&mut self, taken: Value, target: Value) -> Result<(), Stop> {
        self.flush();
        self.pending = Pending::If(taken, target);
        Ok(())
    }
    #[inline]
    fn load(&mut self, va: Value, width: Width, order: Order) -> Result<Value, Stop> {
        Ok(self.push(Node::Load { width, order, va }))
    }
    #[inline]
    fn store(&mut self, va: Value, width: Width, v: Value, order: Order) -> Result<(), Stop> {
        self.push(Node::Store { width, order, va, v });
        Ok(())
    }
    #[inline]
    fn amo(&mut self, op: AmoOp, va: Value, width: Width, v: Value, order: Order) -> Result<Value, Stop> {
        Ok(self.push(Node::Amo { op, width, order, va, v }))
    }
    #[inline]
    fn load_reserved(&mut self, va: Value, width: Width, order: Order) -> Result<Value, Stop> {
        Ok(self.push(Node::LoadReserved { width, order, va }))
    }
    #[inline]
    fn store_conditional(&mut self, va: Value, width: Width, v: Value, order: Order) -> Result<Value, Stop> {
        Ok(self.push(Node::StoreConditional { width, order, va, v }))
    }
    #[inline]
    fn fence(&mut self, order: Order) {
        self.push(Node::Fence(order));
    }
}
