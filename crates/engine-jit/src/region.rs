//! The second tier: regions around code that takes much time.
//!
//! Where the budget of a turn runs out is a sample of where the time goes, at no cost for the code. Code that is met so a few
//! times becomes the first block of a region: the blocks of its page and of those around it that it reaches, over jumps that
//! have been taken, and that lead back to it. The region is entered in place of its first block.
//!
//! With [`Tiers::Second`] each block becomes the first one of a region, as soon as it is there and again when more is known of what it
//! goes on to.

use crate::cache::{Member, page_of};
use crate::jit::Translator;
use crate::join::words;
use crate::operations::{emitter_modes, operation};
use crate::translate::{LONGEST, meddled};
use engine_emit::{NEAR_PAGES, REACH, Traces};
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
/// How far from the page of its first block a region's other pages may begin, in bytes: what lies further away is seldom reached
/// by direct jumps, and all offsets must be below [`REACH`].
const AROUND: i64 = REACH as i64 / 2 - 4096;

/// What a region is made of.
pub(crate) struct Extent {
    /// Its blocks, first the one where it is entered.
    pub members: Vec<Member>,
    /// The address from which their places count.
    pub base: u64,
}

/// The block that begins there.
pub(crate) fn member(members: &[Member], at: Option<i64>) -> Option<Member> {
    members.iter().copied().find(|member| Some(member.at) == at)
}

/// The start of the page of a place in a region.
fn page_at(at: i64) -> i64 {
    at & !(PAGE_MASK as i64)
}

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
            Tiers::Both if block.samples == HOT => self.make_region(cpu, number, 0, cpu.hart.pc),
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
                self.make_region(cpu, first, spared, block.page_va);
            }
        }
    }

    /// Makes a region of block `number`, which is in the page of the program counter, if nothing is to run otherwise.
    pub fn force(&mut self, cpu: &Cpu, number: u32) {
        let (made, spared) =
            self.cache.blocks.get(number as usize).map_or((TIMES, 0), |block| (block.made, block.spared));
        if self.options.tiers == Tiers::Second && made < TIMES {
            self.make_region(cpu, number, spared, cpu.hart.pc);
        }
    }

    /// The block that begins at `at`, seen from one of a region whose places count from `base`. In another page it must be
    /// remembered where that is.
    fn neighbour(&self, cpu: &Cpu, base: u64, of: Member, at: i64) -> Option<Member> {
        let from = self.cache.blocks.get(of.number as usize)?.place;
        let page = if page_at(of.at) == page_at(at) {
            page_of(from.arena)
        } else {
            page_of(cpu.fetch.find(cpu.code, base.wrapping_add_signed(at))?)
        };
        let known = *self.cache.by_place.get(&from.elsewhere(page + (at as u64 & PAGE_MASK)))?;
        known.indirect().map(|_| Member { number: known.number, at })
    }

    /// Where the code of a block ends.
    fn end(&self, of: Member) -> i64 {
        let code = self.cache.blocks.get(of.number as usize).map_or(0, |block| block.code.len());
        of.at + 2 * code as i64
    }

    /// Blocks that `of` goes on to: over direct jumps, and for a call, where it comes back to and what it would call now.
    fn successors(&self, cpu: &Cpu, base: u64, of: Member) -> Vec<Member> {
        let Some(block) = self.cache.blocks.get(of.number as usize) else { return Vec::new() };
        let behind = block.call.then(|| self.end(of));
        let targets = block.targets.iter().map(|target| page_at(of.at) + target);
        let near = targets.chain(behind).filter_map(|at| self.neighbour(cpu, base, of, at));
        near.chain(self.called(cpu, base, of)).collect()
    }

    /// The block that the call by a register at the end of `of` would call if the register were what it is now, which is
    /// somewhere in the same page.
    pub fn called(&self, cpu: &Cpu, base: u64, of: Member) -> Option<Member> {
        let block = self.cache.blocks.get(of.number as usize).filter(|block| block.call && block.returns)?;
        let word = *words(&block.code)?.last()?;
        let (register, k) = match (word & 3, word & 0x7f) {
            // c.jalr: rs1 in bits 11:7. jalr: rs1 in bits 19:15, the immediate in bits 31:20.
            (2, _) => (word >> 7 & 31, 0),
            (3, 0x67) => (word >> 15 & 31, i64::from(word as i32 >> 20)),
            _ => return None,
        };
        let target = cpu.hart.x.get(register as usize)?.wrapping_add_signed(k) & !1;
        let at = target.wrapping_sub(base) as i64;
        (page_at(at) == page_at(of.at)).then(|| self.neighbour(cpu, base, of, at))?
    }

    /// The blocks of a region that begins with `first`, in the page at `page_va`: in that page if they lead back there.
    fn members(&self, cpu: &Cpu, first: Member, page_va: u64) -> Vec<Member> {
        let (members, looped) = self.members_around(cpu, first, page_va, 0);
        if looped {
            return members;
        }
        let (mut members, looped) = self.members_around(cpu, first, page_va, AROUND);
        if !looped {
            members.truncate(if self.options.tiers == Tiers::Second { AHEAD } else { 0 });
        }
        members
    }

    /// The blocks that `first` reaches in pages that begin at most so many bytes away, and whether any lead back to it: then
    /// only those.
    fn members_around(&self, cpu: &Cpu, first: Member, page_va: u64, around: i64) -> (Vec<Member>, bool) {
        let mut members = vec![first];
        let mut edges: Vec<(Member, Member)> = Vec::new();
        let mut at = 0;
        while let Some(&now) = members.get(at) {
            at += 1;
            for next in self.successors(cpu, page_va, now) {
                if page_at(next.at).abs() > around {
                    continue;
                }
                edges.push((now, next));
                if !members.contains(&next) && members.len() < BLOCKS {
                    members.push(next);
                }
            }
        }
        let block = |m: Member| self.cache.blocks.get(m.number as usize);
        let returning: Vec<Member> =
            members.iter().copied().filter(|&m| block(m).is_some_and(|b| b.returns)).collect();
        for &call in &members {
            if block(call).is_some_and(|b| b.call)
                && let Some(behind) = self.neighbour(cpu, page_va, call, self.end(call))
            {
                edges.extend(returning.iter().map(|&from| (from, behind)));
            }
        }
        // Only what leads back: the rest is left for good.
        let mut back = vec![first];
        let mut at = 0;
        while let Some(&now) = back.get(at) {
            at += 1;
            for &(from, to) in &edges {
                if to == now && !back.contains(&from) && members.contains(&from) {
                    back.push(from);
                }
            }
        }
        let looped = edges.iter().any(|&(from, to)| to == first && back.contains(&from));
        if looped {
            members.retain(|m| back.contains(m));
        }
        (members, looped)
    }

    /// Makes a region that begins with block `first`, in the page of `va`.
    fn make_region(&mut self, cpu: &Cpu, first: u32, spared: u16, va: u64) {
        if self.longest != LONGEST || !self.cache.holds(first) || self.cache.full() {
            return;
        }
        let Some(block) = self.cache.blocks.get(first as usize) else { return };
        let page_va = va & !PAGE_MASK;
        let start = (block.place.arena & PAGE_MASK) as i64;
        let mut members = self.members(cpu, Member { number: first, at: start }, page_va);
        let in_one_page = block.place.second().is_none();
        // Places count from the first page.
        let before = members.iter().map(|member| page_at(member.at)).min().unwrap_or(0);
        members.iter_mut().for_each(|member| member.at -= before);
        if members.is_empty()
            || members == block.region && spared == block.spared
            || block.indirect.is_none()
            || !in_one_page
        {
            return;
        }
        let modes = block.place.modes;
        let extent = Extent { members, base: page_va.wrapping_add_signed(before) };
        let returns = self.returns(&extent.members);
        let Some(traces) = self.traces(cpu, &extent, &returns) else { return };
        let (room, first_link) = (self.cache.next(), self.cache.sites.len() as u32);
        let modes = emitter_modes(cpu, modes);
        let returns: Vec<u32> = returns.iter().filter_map(|m| u32::try_from(m.at).ok()).collect();
        let traces = Traces { blocks: &traces, returns: &returns, spared };
        let bank = self.emitter.emit_region(traces, room, first_link, modes, operation);
        let (usual, seldom) = self.emitter.parts();
        let parts = [usual, seldom].map(|part| meddled(part, self.options.meddle));
        if let Some(map) = self.options.perf_map {
            map.name_parts(
                room,
                &parts,
                format_args!("guest_loop_{:#x}", page_va.wrapping_add_signed(start)),
            );
        }
        self.cache.add_region(
            &extent.members,
            parts.each_ref().map(|part| &**part),
            self.emitter.links(),
            bank,
        );
        if let Some(block) = self.cache.blocks.get_mut(first as usize) {
            (block.spared, block.page_va) = (spared, page_va);
        }
        self.regions += 1;
    }

    /// The members that calls of members come back to.
    fn returns(&self, members: &[Member]) -> Vec<Member> {
        let back = |&of: &Member| {
            self.cache.blocks.get(of.number as usize).filter(|b| b.call)?;
            member(members, Some(self.end(of)))
        };
        let mut returns: Vec<Member> = members.iter().filter_map(back).collect();
        // Blocks may share their ends.
        returns.sort_unstable_by_key(|m| m.at);
        returns.dedup();
        returns
    }

    /// The traces of a region, the first one first, so that each exit to a member is to the beginning of one. `None` if the
    /// code is not what it was.
    fn traces(&mut self, cpu: &Cpu, extent: &Extent, returns: &[Member]) -> Option<Vec<Block>> {
        let (mut traces, mut done, mut heads) = (Vec::new(), Vec::new(), vec![*extent.members.first()?]);
        let mut insns = 0;
        while let Some(head) = heads.pop() {
            if done.contains(&head) {
                continue;
            }
            done.push(head);
            let trace = self.trace(cpu, head, extent, insns > INSNS)?;
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
