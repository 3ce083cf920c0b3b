//! The second tier: regions around code that takes much time.
//!
//! Where the budget of a turn runs out is a sample of where the time goes, at no cost for the code. Code that is met so a few
//! times becomes the first block of a region: the blocks of its page that it reaches, over jumps that have been taken, and
//! that lead back to it. The region is entered in place of its first block.

use crate::cache::{Place, page_of};
use crate::jit::Translator;
use crate::operations::emitter_modes;
use crate::operations::operation;
use crate::translate::meddled;
use engine_interp::Cpu;
use engine_mmu::PAGE_MASK;
use isa_ir::Block;

/// Samples of a block, after which a region is made.
const HOT: u8 = 2;
/// Bounds of a region.
const BLOCKS: usize = 48;

impl Translator {
    /// Takes note that the time is spent at the program counter.
    pub fn sample(&mut self, cpu: &mut Cpu) {
        let Some(number) = self.known(cpu) else { return };
        let Some(block) = self.cache.blocks.get_mut(number as usize) else { return };
        if block.indirect.is_none() || block.region || block.samples > HOT {
            return;
        }
        block.samples += 1;
        if block.samples == HOT {
            self.make_region(cpu, number);
        }
    }

    /// The block at this distance from the start of the page, if there is one.
    fn neighbour(&self, of: Place, target: u32) -> Option<u32> {
        let place = Place { arena: page_of(of.arena) + u64::from(target), ..of };
        let number = *self.cache.by_place.get(&place)?;
        self.cache.blocks.get(number as usize)?.indirect.map(|_| number)
    }

    /// Blocks that `number` goes on to: over direct jumps, and for a call, where it comes back to.
    fn successors(&self, number: u32) -> Vec<u32> {
        let Some(block) = self.cache.blocks.get(number as usize) else { return Vec::new() };
        let behind = block.call.then(|| end(block.place, block.code.len()));
        block.targets.iter().copied().chain(behind).filter_map(|t| self.neighbour(block.place, t)).collect()
    }

    /// The blocks of a region that begins with `first`.
    fn members(&self, first: u32) -> Vec<u32> {
        let mut members = vec![first];
        let mut edges: Vec<(u32, u32)> = Vec::new();
        let mut at = 0;
        while let Some(&number) = members.get(at) {
            at += 1;
            for next in self.successors(number) {
                edges.push((number, next));
                if !members.contains(&next) && members.len() < BLOCKS {
                    members.push(next);
                }
            }
        }
        let block = |n: u32| self.cache.blocks.get(n as usize);
        let returning: Vec<u32> =
            members.iter().copied().filter(|&n| block(n).is_some_and(|b| b.returns)).collect();
        for &call in &members {
            if let Some(b) = block(call).filter(|b| b.call)
                && let Some(behind) = self.neighbour(b.place, end(b.place, b.code.len()))
            {
                edges.extend(returning.iter().map(|&from| (from, behind)));
            }
        }
        // Only what leads back: the rest is left for good.
        let mut back = vec![first];
        let mut at = 0;
        while let Some(&number) = back.get(at) {
            at += 1;
            for &(from, to) in &edges {
                if to == number && !back.contains(&from) && members.contains(&from) {
                    back.push(from);
                }
            }
        }
        let looped = edges.iter().any(|&(from, to)| to == first && back.contains(&from));
        members.retain(|n| back.contains(n));
        if looped { members } else { Vec::new() }
    }

    fn make_region(&mut self, cpu: &mut Cpu, first: u32) {
        let mut members = self.members(first);
        if members.is_empty() || self.cache.full() {
            return;
        }
        if let Some(rest) = members.get_mut(1..) {
            rest.sort_by_key(|&n| self.cache.blocks.get(n as usize).map(|b| b.place.arena));
        }
        let Some(place) = self.cache.blocks.get(first as usize).map(|b| b.place) else { return };
        let mut blocks: Vec<(Block, u32)> = Vec::new();
        let mut returns = Vec::new();
        for &number in &members {
            let Some(block) = self.cache.blocks.get(number as usize).cloned() else { return };
            let guest = self.lift(cpu, block.place);
            let lifted = self.builder.finish();
            if guest.get(..block.code.len()) != Some(&block.code) {
                // Changed without a fence so far: what is compared then is the block's code, so the region must be of that.
                return;
            }
            let Ok(ir) = lifted else { return };
            blocks.push((ir, (block.place.arena & PAGE_MASK) as u32));
            if block.call {
                returns.push(end(block.place, block.code.len()));
            }
        }
        let (base, first_link) = (self.cache.address(self.cache.next()), self.cache.sites.len() as u32);
        let modes = emitter_modes(cpu, place.modes);
        let Some(_) = self.emitter.emit_region(&blocks, &returns, base, first_link, modes, operation) else {
            return;
        };
        let bytes = meddled(self.emitter.bytes(), self.options.meddle);
        self.cache.add_region(&members, &bytes, self.emitter.links());
        self.regions += 1;
    }
}

/// Where a block's code ends, in bytes from the start of its page.
fn end(place: Place, halfwords: usize) -> u32 {
    (place.arena & PAGE_MASK) as u32 + 2 * halfwords as u32
}
