//! The second tier: regions around code that takes much time.
//!
//! Where the budget of a turn runs out is a sample of where the time goes, at no cost for the code. Code that is met so a few
//! times becomes the first block of a region: the blocks of its page that it reaches, over jumps that have been taken, and
//! that lead back to it. The region is entered in place of its first block.
//!
//! With [`Tiers::Second`] each block becomes the first one of a region, as soon as it is there and again when more is known of what it
//! goes on to.

use crate::cache::{Place, page_of};
use crate::jit::Translator;
use crate::join::words;
use crate::operations::{emitter_modes, operation};
use crate::translate::{LONGEST, meddled};
use engine_emit::{NEAR_PAGES, Traces};
use engine_interp::Cpu;
use engine_mmu::PAGE_MASK;
use isa_ir::Block;

/// The tiers of translation that a translator has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiers {
    /// Blocks, and regions of them where much time is spent.
    #[default]
    Both,
    /// Blocks only.
    First,
    /// Regions only: each block is translated once more as one, with what it goes on to as that becomes known.
    Second,
}

/// Samples of a block, after which a region is made.
const HOT: u8 = 2;
/// Of the budgets that run out, one of so many is a sample: it costs as much as hundreds of instructions.
const SAMPLED: u32 = 4;
/// Misses of a near page between two samples, which are some hundred thousand instructions of a region apart, from which on it is
/// not used any more.
const MISSES: u64 = 256;
/// Bounds of a region.
const BLOCKS: usize = 48;
/// Instructions of a region, beyond which its traces are of one block each.
const INSNS: usize = 400;
/// Blocks of a region that does not go round.
const AHEAD: usize = 8;
/// Regions made for a block with [`Tiers::Second`].
const TIMES: u8 = 4;

impl Translator {
    /// Takes note that the time is spent at the program counter.
    pub fn sample(&mut self, cpu: &mut Cpu) {
        self.turns = self.turns.wrapping_add(1);
        if self.options.tiers == Tiers::Both && !self.turns.is_multiple_of(SAMPLED) {
            return;
        }
        let Some(number) = self.known(cpu) else { return };
        let Some(block) = self.cache.blocks.get_mut(number as usize) else { return };
        block.samples = block.samples.saturating_add(1);
        match self.options.tiers {
            Tiers::Both if block.samples == HOT => self.make_region(cpu, number, 0),
            _ => self.force(cpu, number),
        }
        self.spare(cpu, number);
    }

    /// Makes the regions that block `number` is in anew if some of their near pages are missed often.
    fn spare(&mut self, cpu: &mut Cpu, number: u32) {
        let Some(block) = self.cache.blocks.get(number as usize) else { return };
        for first in block.regions.clone() {
            let Some(block) = self.cache.blocks.get(first as usize) else { continue };
            let Some(bank) = block.bank else { continue };
            let Some(misses) = cpu.native.near_misses.chunks_mut(NEAR_PAGES).nth(bank) else { continue };
            let missed = (0..).zip(misses.iter()).filter(|(_, misses)| **misses >= MISSES);
            let spared = missed.fold(block.spared, |spared, (page, _)| spared | 1 << page);
            misses.fill(0);
            if spared != block.spared {
                self.make_region(cpu, first, spared);
            }
        }
    }

    /// Makes a region of block `number` if nothing is to run otherwise.
    pub fn force(&mut self, cpu: &Cpu, number: u32) {
        let (made, spared) =
            self.cache.blocks.get(number as usize).map_or((TIMES, 0), |block| (block.made, block.spared));
        if self.options.tiers == Tiers::Second && made < TIMES {
            self.make_region(cpu, number, spared);
        }
    }

    /// The block at this distance from the start of the page, if there is one.
    pub fn neighbour(&self, of: Place, target: u32) -> Option<u32> {
        if u64::from(target) > PAGE_MASK {
            return None;
        }
        let place = Place { arena: page_of(of.arena) + u64::from(target), second: None, ..of };
        let number = *self.cache.by_place.get(&place)?;
        self.cache.blocks.get(number as usize)?.indirect.map(|_| number)
    }

    /// Blocks that `number` goes on to: over direct jumps, and for a call, where it comes back to and what it would call now.
    fn successors(&self, cpu: &Cpu, number: u32) -> Vec<u32> {
        let Some(block) = self.cache.blocks.get(number as usize) else { return Vec::new() };
        let behind = block.call.then(|| end(block.place, block.code.len()));
        let near = block.targets.iter().copied().chain(behind).filter_map(|t| self.neighbour(block.place, t));
        near.chain(self.called(cpu, number)).collect()
    }

    /// The block that the call by a register at the end of `number` would call if the register were what it is now, which is
    /// somewhere in the same page.
    pub fn called(&self, cpu: &Cpu, number: u32) -> Option<u32> {
        let block = self.cache.blocks.get(number as usize).filter(|block| block.call && block.returns)?;
        let word = *words(&block.code)?.last()?;
        let (register, k) = match (word & 3, word & 0x7f) {
            // c.jalr: rs1 in bits 11:7. jalr: rs1 in bits 19:15, the immediate in bits 31:20.
            (2, _) => (word >> 7 & 31, 0),
            (3, 0x67) => (word >> 15 & 31, i64::from(word as i32 >> 20)),
            _ => return None,
        };
        let target = cpu.hart.x.get(register as usize)?.wrapping_add_signed(k) & !1;
        let same = target & !PAGE_MASK == cpu.hart.pc & !PAGE_MASK;
        self.neighbour(block.place, (target & PAGE_MASK) as u32).filter(|_| same)
    }

    /// The blocks of a region that begins with `first`.
    fn members(&self, cpu: &Cpu, first: u32) -> Vec<u32> {
        let mut members = vec![first];
        let mut edges: Vec<(u32, u32)> = Vec::new();
        let mut at = 0;
        while let Some(&number) = members.get(at) {
            at += 1;
            for next in self.successors(cpu, number) {
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
        if looped {
            members.retain(|n| back.contains(n));
        } else {
            members.truncate(if self.options.tiers == Tiers::Second { AHEAD } else { 0 });
        }
        members
    }

    fn make_region(&mut self, cpu: &Cpu, first: u32, spared: u16) {
        if self.longest != LONGEST || !self.cache.holds(first) || self.cache.full() {
            return;
        }
        let members = self.members(cpu, first);
        let Some(block) = self.cache.blocks.get(first as usize) else { return };
        let in_one_page = block.place.second.is_none();
        if members.is_empty()
            || members == block.region && spared == block.spared
            || block.indirect.is_none()
            || !in_one_page
        {
            return;
        }
        let (modes, start) = (block.place.modes, block.place.arena & PAGE_MASK);
        let returns = self.returns(&members);
        let Some(traces) = self.traces(cpu, first, &members, &returns) else { return };
        let (room, first_link) = (self.cache.next(), self.cache.sites.len() as u32);
        let modes = emitter_modes(cpu, modes);
        let returns: Vec<u32> = returns.iter().filter_map(|&n| self.start(n)).collect();
        let traces = Traces { blocks: &traces, returns: &returns, spared };
        let bank = self.emitter.emit_region(traces, room, first_link, modes, operation);
        let (usual, seldom) = self.emitter.parts();
        let parts = [usual, seldom].map(|part| meddled(part, self.options.meddle));
        if let Some(map) = self.options.perf_map {
            map.name_parts(room, &parts, format_args!("guest_loop_{:#x}", cpu.hart.pc & !PAGE_MASK | start));
        }
        self.cache.add_region(&members, parts.each_ref().map(|part| &**part), self.emitter.links(), bank);
        if let Some(block) = self.cache.blocks.get_mut(first as usize) {
            block.spared = spared;
        }
        self.regions += 1;
    }

    /// Where a block begins, in bytes from the start of its page.
    fn start(&self, number: u32) -> Option<u32> {
        self.cache.blocks.get(number as usize).map(|b| (b.place.arena & PAGE_MASK) as u32)
    }

    /// The members that calls of members come back to.
    fn returns(&self, members: &[u32]) -> Vec<u32> {
        let back = |&n: &u32| {
            let block = self.cache.blocks.get(n as usize).filter(|b| b.call)?;
            self.neighbour(block.place, end(block.place, block.code.len()))
        };
        let mut returns: Vec<u32> = members.iter().filter_map(back).filter(|n| members.contains(n)).collect();
        // Blocks may share their ends.
        returns.sort_unstable();
        returns.dedup();
        returns
    }

    /// The traces of a region, the first one first, so that each exit to a member is to the beginning of one. `None` if the
    /// code is not what it was.
    fn traces(&mut self, cpu: &Cpu, first: u32, members: &[u32], returns: &[u32]) -> Option<Vec<Block>> {
        let (mut traces, mut done, mut heads) = (Vec::new(), Vec::new(), vec![first]);
        let mut insns = 0;
        while let Some(head) = heads.pop() {
            if done.contains(&head) {
                continue;
            }
            done.push(head);
            let trace = self.trace(cpu, head, members, insns > INSNS)?;
            insns += trace.insns;
            traces.push(trace.ir);
            if trace.returns {
                heads.extend(returns);
            }
            heads.extend(trace.exits);
        }
        Some(traces)
    }
}

/// Where a block's code ends, in bytes from the start of its page.
pub(crate) fn end(place: Place, halfwords: usize) -> u32 {
    (place.arena & PAGE_MASK) as u32 + 2 * halfwords as u32
}
