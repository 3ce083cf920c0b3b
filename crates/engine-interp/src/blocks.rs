//! The block cache: decoded code, found by virtual address and context, else by physical address.

use crate::handlers::Handler;
use engine_mmu::{AddressMap, Context};
use isa_riscv::Insn;

/// One decoded instruction in a block.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    /// Runs this op and the rest of the block.
    pub run: Handler,
    pub insn: Insn,
    /// Index in the block << 16 | offset from its start in bytes.
    pub position: u32,
    /// Length in bytes.
    pub bytes: u32,
}

/// Where a block lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Index of the first op.
    pub start: u32,
    /// Number of ops; at least one.
    pub len: u32,
    /// Bytes of guest code.
    pub bytes: u32,
    /// Index of its first halfword in the copy of the code.
    pub code: u32,
}

/// A block as memory had it when it was decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub span: Span,
    /// The number of the last `fence.i` after which it was found equal to memory.
    pub checked: u64,
}

/// Where a block is in guest memory, and the modes that decoding depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Offset in the RAM arena.
    pub arena: u64,
    /// Whether floating-point instructions are legal.
    pub fp: bool,
}

/// Entries of the table by virtual address; a power of two.
const QUICK: usize = 1 << 14;
/// Ops the arena holds before it is emptied: 24 MiB of decoded code.
const ARENA: usize = 1 << 20;

#[derive(Clone, Copy)]
struct Quick {
    pc: u64,
    /// Number of the code context; 0 for an empty entry.
    context: u64,
    /// The number of the last `fence.i` for which it holds.
    fence: u64,
    span: Span,
}

/// All decoded code of one CPU.
pub(crate) struct Blocks {
    pub ops: Vec<Op>,
    /// Every block's code, halfword by halfword, to compare with memory and to name illegal bits.
    pub code: Vec<u16>,
    all: Vec<Block>,
    by_address: AddressMap<Place, u32>,
    quick: Box<[Quick]>,
}

impl Default for Blocks {
    fn default() -> Self {
        let empty = Quick { pc: 0, context: 0, fence: 0, span: Span { start: 0, len: 0, bytes: 0, code: 0 } };
        Blocks {
            ops: Vec::new(),
            code: Vec::new(),
            all: Vec::new(),
            by_address: AddressMap::default(),
            quick: vec![empty; QUICK].into_boxed_slice(),
        }
    }
}

#[inline(always)]
fn slot(pc: u64) -> usize {
    (pc >> 1 ^ pc >> 15) as usize & (QUICK - 1)
}

impl Blocks {
    /// The block at virtual address `pc` in `context`, if it is at hand.
    #[inline(always)]
    pub fn find(&self, context: Context, pc: u64, fence: u64) -> Option<Span> {
        let entry = self.quick.get(slot(pc))?;
        let holds = entry.pc == pc && entry.context == context.number() && entry.fence == fence;
        holds.then_some(entry.span)
    }

    /// Makes `span` be found at `pc` in `context` until another `fence.i`.
    pub fn remember(&mut self, context: Context, pc: u64, fence: u64, span: Span) {
        if let Some(entry) = self.quick.get_mut(slot(pc)) {
            *entry = Quick { pc, context: context.number(), fence, span };
        }
    }

    /// The block at a physical place.
    pub fn at(&self, place: Place) -> Option<Block> {
        self.all.get(*self.by_address.get(&place)? as usize).copied()
    }

    /// Takes note that the block at `place` was equal to memory at `fence`.
    pub fn checked(&mut self, place: Place, fence: u64) {
        if let Some(block) = self.by_address.get(&place).and_then(|&i| self.all.get_mut(i as usize)) {
            block.checked = fence;
        }
    }

    /// The copy of a block's code.
    pub fn code_of(&self, span: Span) -> &[u16] {
        let start = span.code as usize;
        self.code.get(start..start + span.bytes as usize / 2).unwrap_or_default()
    }

    /// Empties the cache if there is no room for a block of the greatest length.
    pub fn make_room(&mut self) {
        if self.ops.len() + crate::build::LONGEST > ARENA {
            self.ops.clear();
            self.code.clear();
            self.all.clear();
            self.by_address.clear();
            for entry in &mut self.quick {
                entry.context = 0;
            }
        }
    }

    /// Makes `block` be found at `place` from now on.
    pub fn add(&mut self, place: Place, block: Block) {
        self.by_address.insert(place, self.all.len() as u32);
        self.all.push(block);
    }
}
