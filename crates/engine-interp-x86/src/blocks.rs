//! The block cache: decoded code, found by linear address and context, else by physical address.

use crate::handlers::Handler;
use engine_mmu::{AddressMap, Context};
use isa_x86::{Insn, Mode};

/// One decoded instruction in a block.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    /// Runs this op and the rest of the block.
    pub run: Handler,
    /// Index in the block << 32 | offset of its end << 16 | offset from the start of the block, in bytes.
    pub position: u64,
    pub insn: Insn,
}

impl Op {
    /// Offset of its end from the start of the block.
    pub fn end(&self) -> u64 {
        self.position >> 16 & 0xffff
    }
}

/// Where a block lies in the arena of ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Index of the first op.
    pub start: u32,
    /// Number of ops; 0 if the block is no more.
    pub len: u32,
    /// Bytes of guest code.
    pub bytes: u32,
    /// Index of its first byte in the copy of the code.
    pub code: u32,
}

/// Where a block is in guest memory, and what decoding depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Offset in the RAM arena.
    pub arena: u64,
    pub mode: Mode,
}

/// A block as memory had it when it was decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub span: Span,
    pub place: Place,
    /// Bytes of it in the page of `place`, and where the rest is, if there is one.
    pub first: u32,
    pub second: Option<u64>,
}

impl Block {
    /// Whether any of its bytes are among the `bytes` at `offset` of the arena.
    fn touches(&self, offset: u64, bytes: u64) -> bool {
        let overlap = |start: u64, len: u32| start < offset + bytes && offset < start + u64::from(len);
        overlap(self.place.arena, self.first)
            || self.second.is_some_and(|start| overlap(start, self.span.bytes - self.first))
    }
}

/// Entries of the table by linear address; a power of two.
const QUICK: usize = 1 << 14;
/// Ops the arena holds before it is emptied: some 80 MiB of decoded code.
const ARENA: usize = 1 << 20;

#[derive(Clone, Copy)]
struct Quick {
    la: u64,
    /// Number of the code context; 0 for an empty entry.
    context: u64,
    block: u32,
}

/// All decoded code of one CPU.
pub(crate) struct Blocks {
    pub ops: Vec<Op>,
    /// Every block's code, to compare with memory.
    pub code: Vec<u8>,
    all: Vec<Block>,
    by_address: AddressMap<Place, u32>,
    /// Those whose last instruction goes on in another page, by that page's place too.
    crossing: AddressMap<(Place, u64), u32>,
    /// The blocks in each page of the arena.
    by_page: AddressMap<u64, Vec<u32>>,
    quick: Box<[Quick]>,
}

impl Default for Blocks {
    fn default() -> Self {
        Blocks {
            ops: Vec::new(),
            code: Vec::new(),
            all: Vec::new(),
            by_address: AddressMap::default(),
            crossing: AddressMap::default(),
            by_page: AddressMap::default(),
            quick: vec![Quick { la: 0, context: 0, block: 0 }; QUICK].into_boxed_slice(),
        }
    }
}

#[inline(always)]
fn slot(la: u64) -> usize {
    (la ^ la >> 14) as usize & (QUICK - 1)
}

impl Blocks {
    /// The block at linear address `la` in `context`, if it is at hand.
    #[inline(always)]
    pub fn find(&self, context: Context, la: u64) -> Option<Span> {
        let entry = self.quick.get(slot(la))?;
        if entry.la != la || entry.context != context.number() {
            return None;
        }
        let span = self.all.get(entry.block as usize)?.span;
        (span.len != 0).then_some(span)
    }

    /// Makes block number `block` be found at `la` in `context`.
    pub fn remember(&mut self, context: Context, la: u64, block: u32) {
        if let Some(entry) = self.quick.get_mut(slot(la)) {
            *entry = Quick { la, context: context.number(), block };
        }
    }

    /// The block at a physical place (of its rest too, if it has one in another page), and its number: if memory is `same`
    /// as its code. If not, somebody else has changed the memory, and the block is ended.
    pub fn at(
        &mut self,
        place: Place,
        second: Option<u64>,
        same: impl Fn(&[u8]) -> bool,
    ) -> Option<(u32, Block)> {
        let number = *match second {
            None => self.by_address.get(&place)?,
            Some(second) => self.crossing.get(&(place, second))?,
        };
        let block = *self.all.get(number as usize)?;
        if same(self.code_of(block.span)) {
            return Some((number, block));
        }
        self.end(number);
        None
    }

    /// The copy of a block's code.
    fn code_of(&self, span: Span) -> &[u8] {
        let start = span.code as usize;
        self.code.get(start..start + span.bytes as usize).unwrap_or_default()
    }

    /// Empties the cache if there is no room for a block of the greatest length.
    pub fn make_room(&mut self) {
        if self.ops.len() + crate::build::LONGEST > ARENA {
            self.ops.clear();
            self.code.clear();
            self.all.clear();
            self.by_address.clear();
            self.crossing.clear();
            self.by_page.clear();
            for entry in &mut self.quick {
                entry.context = 0;
            }
        }
    }

    /// Adds a block; gives its number. It is found by its place from now on.
    pub fn add(&mut self, block: Block) -> u32 {
        let number = self.all.len() as u32;
        self.by_page.entry(block.place.arena >> 12).or_default().push(number);
        match block.second {
            None => {
                self.by_address.insert(block.place, number);
            }
            Some(second) => {
                self.by_page.entry(second >> 12).or_default().push(number);
                self.crossing.insert((block.place, second), number);
            }
        }
        self.all.push(block);
        number
    }

    /// Ends the block with this number.
    fn end(&mut self, number: u32) {
        let Some(block) = self.all.get_mut(number as usize) else { return };
        block.span.len = 0;
        match block.second {
            None if self.by_address.get(&block.place) == Some(&number) => {
                self.by_address.remove(&block.place);
            }
            Some(second) if self.crossing.get(&(block.place, second)) == Some(&number) => {
                self.crossing.remove(&(block.place, second));
            }
            _ => {}
        }
    }

    /// Ends the blocks that have bytes among the `bytes` at `offset` of the arena, inside a page. Whether that leaves the
    /// page without blocks.
    pub fn store(&mut self, offset: u64, bytes: u64) -> bool {
        let Some(mut numbers) = self.by_page.remove(&(offset >> 12)) else { return true };
        numbers.retain(|&number| {
            let Some(block) = self.all.get(number as usize) else { return false };
            if block.span.len != 0 && block.touches(offset, bytes) {
                self.end(number);
                return false;
            }
            block.span.len != 0
        });
        let empty = numbers.is_empty();
        if !empty {
            self.by_page.insert(offset >> 12, numbers);
        }
        empty
    }
}
