//! Regions: blocks that jump among themselves, with the guest registers that they use most in host registers all the way,
//! across their loops.
//!
//! They may be in several pages near to each other. What offsets count from is the first of those, and so it is in memory while
//! the region runs. That a page is where it was when the region was made is known of the one it is entered in only, so each jump
//! from one page to another makes sure, as one to other code would.
//!
//! Outside, registers live where [`Homes::default`] says. A region keeps those that it uses where they are, and gives the
//! places of the others to registers that have none: two moves for each on the way in and on the way out.

use crate::emit::{Cold, Emitter, PAGE, Room};
use crate::float::Operation;
use crate::reg::{Homes, RAX, RCX, Reg, X_HOMES};
use crate::scan::Modes;
use crate::value::X;
use crate::{Alu, Cc, Rmi};
use isa_core::Bin;
use isa_ir::{Block, Node, Value};

/// A register's home that is another's in a region.
#[derive(Clone, Copy, Debug)]
struct Moved {
    host: Reg,
    outside: u8,
    inside: u8,
}

/// What emission knows of the region that it is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Region {
    /// Where each block begins: distance from the start of the page, and place in the code.
    labels: Vec<(u32, usize)>,
    moved: Vec<Moved>,
    /// Where calls come back to.
    returns: Vec<u32>,
    /// The block that follows the one being emitted.
    next: Option<u32>,
    /// Where its blocks begin, whether they have been emitted or not.
    starts: Vec<u32>,
    /// Where the page that it is entered in begins.
    pub page: u32,
}

impl Region {
    /// Where the block at this distance from the start of the page begins.
    pub fn label(&self, target: u32) -> Option<usize> {
        self.labels.iter().find(|(start, _)| *start == target).map(|(_, label)| *label)
    }
}

/// Likely targets of an indirect jump that are compared with.
const LIKELY: usize = 4;

/// Where a block begins.
fn start(block: &Block) -> Option<u32> {
    match block.nodes().first() {
        Some(Node::Insn { offset, .. }) => Some(*offset),
        _ => None,
    }
}

/// How much more a block counts that goes round by itself.
const ROUND: u32 = 8;

/// Whether a block jumps to its own beginning.
pub(crate) fn goes_round(block: &Block) -> bool {
    let Some(start) = start(block) else { return false };
    let node = |v: Value| block.nodes().get(v.index());
    let back = |v: Value| match node(v) {
        Some(Node::Pc(k)) => *k == i64::from(start),
        Some(&Node::Bin { op: Bin::Add, a, b }) => match (node(a), node(b)) {
            (Some(Node::Pc(a)), Some(Node::Const(b))) => a.wrapping_add(*b as i64) == i64::from(start),
            _ => false,
        },
        _ => false,
    };
    block.nodes().iter().any(|node| match *node {
        Node::ExitIf { target, .. } | Node::Jump { target } => back(target),
        Node::Next { offset } => offset == start,
        _ => false,
    })
}

/// How often blocks mention each integer register.
fn weights(blocks: &[Block]) -> [u32; 32] {
    let mut weights = [0; 32];
    for block in blocks {
        let times = if goes_round(block) { ROUND } else { 1 };
        for node in block.nodes() {
            if let Node::Get { class: X, index } | Node::Set { class: X, index, .. } = *node
                && let Some(weight) = weights.get_mut(usize::from(index))
            {
                *weight += times;
            }
        }
    }
    weights
}

/// The homes of a region, and those that differ from outside.
fn homes(blocks: &[Block]) -> (Homes, Vec<Moved>) {
    let weights = weights(blocks);
    let weight = |guest: u8| weights.get(usize::from(guest)).copied().unwrap_or(0);
    let mut homes = Homes::default();
    let mut homeless: Vec<u8> =
        (1..32).filter(|&g| weight(g) > 0 && X_HOMES.iter().all(|(guest, _)| *guest != g)).collect();
    homeless.sort_by_key(|&g| weight(g));
    let mut given: Vec<(u8, Reg)> = X_HOMES.to_vec();
    given.sort_by_key(|&(g, _)| std::cmp::Reverse(weight(g)));
    let mut moved = Vec::new();
    while let (Some(&inside), Some(&(outside, host))) = (homeless.last(), given.last()) {
        if weight(inside) <= weight(outside) {
            break;
        }
        homeless.pop();
        given.pop();
        if let Some(home) = homes.x.get_mut(usize::from(outside)) {
            *home = None;
        }
        if let Some(home) = homes.x.get_mut(usize::from(inside)) {
            *home = Some(host);
        }
        moved.push(Moved { host, outside, inside });
    }
    (homes, moved)
}

/// What a region is made of.
#[derive(Clone, Copy, Debug)]
pub struct Traces<'a> {
    /// Its traces, each in one page, whose nodes count from the start of the region's first page. The region is entered at the
    /// first one.
    pub blocks: &'a [Block],
    /// Distances from there that calls inside come back to.
    pub returns: &'a [u32],
    /// A bit for each near page that is not to be used.
    pub spared: u16,
}

impl Emitter {
    /// Emits a region, which is entered from where a direct jump to its first block would go. Gives the number of its bank of near
    /// pages, if it has one. Otherwise as [`Emitter::emit`].
    pub fn emit_region(
        &mut self,
        Traces { blocks, returns, spared }: Traces<'_>,
        room: Room,
        first_link: u32,
        modes: Modes,
        operations: fn(u32, Modes) -> Operation,
    ) -> Option<usize> {
        self.begin(room, first_link, modes, operations);
        let (homes, moved) = homes(blocks);
        let outside = std::mem::replace(&mut self.homes, homes);
        let starts: Vec<u32> = blocks.iter().filter_map(start).collect();
        let page = starts.first().map_or(0, |start| start & !(PAGE - 1));
        self.move_page(-i64::from(page));
        self.region = Some(Region {
            labels: Vec::new(),
            moved: moved.clone(),
            returns: returns.to_vec(),
            next: None,
            starts,
            page,
        });
        for Moved { host, outside, inside } in moved {
            self.asm.save(self.layout.x + 8 * i32::from(outside), host);
            self.asm.load(host, self.layout.x + 8 * i32::from(inside));
        }
        self.begin_near(blocks, spared);
        let bank = self.near.map(|bank| bank.number);
        for (n, block) in blocks.iter().enumerate() {
            let label = self.asm.len();
            if let Some(region) = &mut self.region {
                region.labels.extend(start(block).map(|start| (start, label)));
                region.next = blocks.get(n + 1).and_then(start);
            }
            self.look_at(block);
            self.body(block, 0);
        }
        self.cold_code();
        (self.region, self.near) = (None, None);
        self.homes = outside;
        bank
    }

    /// Whether the code for this distance from the start of the page follows.
    pub(crate) fn falls_into(&self, target: u32) -> bool {
        self.region.as_ref().is_some_and(|region| region.next == Some(target))
    }

    /// Where a jump leads to if that is in the region, but in another page than the current instruction.
    pub(crate) fn crosses(&self, target: i64) -> Option<u32> {
        self.crosses_from(self.page_here(), target)
    }

    /// The same for a jump made in the page that begins at `page`.
    pub(crate) fn crosses_from(&self, page: u32, target: i64) -> Option<u32> {
        let target = u32::try_from(target).ok().filter(|target| target & !(PAGE - 1) != page)?;
        self.region.as_ref()?.starts.contains(&target).then_some(target)
    }

    /// Changes what offsets count from, by whole pages. Takes rax.
    pub(crate) fn move_page(&mut self, by: i64) {
        if by != 0 {
            self.asm.load(RAX, self.layout.page_va);
            self.asm.lea(RAX, RAX, by as i32);
            self.asm.save(self.layout.page_va, RAX);
        }
    }

    /// Puts registers where they live outside of the region.
    pub(crate) fn depart(&mut self) {
        let Some(region) = &self.region else { return };
        for &Moved { host, outside, inside } in &region.moved {
            self.asm.save(self.layout.x + 8 * i32::from(inside), host);
            self.asm.load(host, self.layout.x + 8 * i32::from(outside));
        }
    }

    /// Goes on inside where the target in rax is one that a call of the region comes back to.
    pub(crate) fn likely_targets(&mut self) {
        let Some(region) = &self.region else { return };
        let returns: Vec<u32> = region.returns.iter().copied().take(LIKELY).collect();
        if returns.is_empty() {
            return;
        }
        self.asm.mov(RCX, RAX);
        self.asm.alu(Alu::Sub, RCX, Rmi::M(self.layout.page_va));
        for target in returns {
            self.asm.alu(Alu::Cmp, RCX, Rmi::I(target as i32));
            let from = self.asm.jcc(Cc::E);
            let page = self.page_here();
            self.cold.push(Cold::Jump { from, target: i64::from(target), rest: 0, page });
        }
    }
}
