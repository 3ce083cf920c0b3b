//! Traces: blocks that follow one another, joined into one with side exits.
//!
//! A trace goes on through direct jumps, through branches that do not go back, into calls and out of them again: where the
//! link register is known the return needs no code, else one comparison. It pays for its instructions once, and what leaves
//! early gets the rest back. It lies in one page.

use crate::cache::{Member, Place};
use crate::jit::Translator;
use crate::region::{Extent, member};
use crate::translate::LONGEST;
use engine_interp::Cpu;
use engine_mmu::PAGE_MASK;
use isa_ir::{Block, Going, Node};

/// A trace, and where it may leave to.
pub(crate) struct Trace {
    pub ir: Block,
    pub insns: usize,
    /// Blocks that it jumps to: the one that should follow it comes last.
    pub exits: Vec<Member>,
    /// It ends with an indirect jump to an unknown place.
    pub returns: bool,
}

/// Instructions in this code.
fn insns(code: &[u16]) -> usize {
    let (mut at, mut insns) = (0, 0);
    while let Some(low) = code.get(at) {
        at += if low & 3 == 3 { 2 } else { 1 };
        insns += 1;
    }
    insns
}

/// A trace as it grows.
struct Growing<'a> {
    extent: &'a Extent,
    /// Blocks in it, each with where the call that it is in comes back to.
    path: Vec<(Member, Option<u32>)>,
    /// Where the calls that it is in come back to.
    calls: Vec<u32>,
    /// The last block ends with a call.
    call: bool,
    exits: Vec<Member>,
    insns: usize,
    returns: bool,
}

impl Translator {
    /// The trace that begins with block `head`, of the blocks of a region, or `None` if the code is not what it was. A short
    /// one has one block only.
    pub fn trace(&mut self, cpu: &Cpu, head: Member, extent: &Extent, short: bool) -> Option<Trace> {
        let mut growing = Growing {
            extent,
            path: Vec::new(),
            calls: Vec::new(),
            call: false,
            exits: Vec::new(),
            insns: 0,
            returns: false,
        };
        self.places.clear();
        self.builder.begin_at(u32::try_from(head.at).ok()?);
        let mut next = Some(head);
        let mut same = true;
        while let Some((now, block)) = next.and_then(|m| Some((m, self.cache.blocks.get(m.number as usize)?)))
        {
            let (place, code, call) = (block.place, block.code.clone(), block.call);
            let guest = self.lift(cpu, place);
            // Changed without a fence so far: what is compared then is the block's code, so the trace must be of that.
            same = guest.get(..code.len()) == Some(&code);
            if !same {
                break;
            }
            growing.insns += insns(&code);
            growing.path.push((now, growing.calls.last().copied()));
            let end = now.at as u32 + 2 * code.len() as u32;
            growing.call = call;
            if call {
                growing.calls.push(end);
            }
            // A block that the emitter cuts short ends its trace.
            next = if guest.len() == code.len() {
                self.go_on(cpu, &mut growing, place, end, short)
            } else {
                None
            };
        }
        let ir = self.builder.finish();
        let Growing { exits, insns, returns, .. } = growing;
        same.then_some(Trace { ir: ir.ok()?, insns, exits, returns })
    }

    /// Makes the builder go on behind a block that ends at `end`; gives the block it goes on with, unless the trace ends.
    fn go_on(
        &mut self,
        cpu: &Cpu,
        growing: &mut Growing,
        place: Place,
        end: u32,
        short: bool,
    ) -> Option<Member> {
        if let Going::If(_, target) = self.builder.going()
            && growing.insns < LONGEST / 2
            && !short
            && let Some((next, insns)) =
                self.join(cpu, place, end, self.places.at(target), &growing.extent.members)
        {
            growing.insns += insns;
            let fits = self.fits(growing, next, short);
            if !fits {
                growing.exits.push(next);
            }
            return fits.then_some(next);
        }
        let extent = growing.extent;
        let member = |to| member(&extent.members, to);
        match self.builder.going() {
            Going::Nowhere => None,
            Going::On => {
                let next = member(Some(i64::from(end)))?;
                // Behind a privileged operation accesses may be allowed that were not, and the other way round: what is
                // known of pages holds for one block.
                let operation = self.builder.last_insn().iter().any(|node| matches!(node, Node::Call { .. }));
                if operation || !self.fits(growing, next, short) {
                    growing.exits.push(next);
                    return None;
                }
                self.builder.follow(end);
                Some(next)
            }
            Going::If(_, target) => {
                let target = self.places.at(target);
                let (taken, follows) = (member(target), member(Some(i64::from(end))));
                growing.exits.extend(taken);
                match (taken, follows) {
                    // One that goes back is usually taken.
                    (_, Some(next)) if target > Some(i64::from(end)) && self.fits(growing, next, short) => {
                        self.builder.follow(end);
                        Some(next)
                    }
                    (Some(next), None) if self.fits(growing, next, short) => {
                        growing.exits.pop();
                        self.builder.follow_branch(u32::try_from(target?).ok()?);
                        Some(next)
                    }
                    _ => {
                        growing.exits.extend(follows);
                        None
                    }
                }
            }
            Going::To(target) => match self.places.at(target) {
                Some(target) => {
                    let next = member(Some(target));
                    if growing.calls.last().copied().map(i64::from) == Some(target) {
                        growing.calls.pop();
                    }
                    let fits = next.is_some_and(|n| self.fits(growing, n, short));
                    if !fits {
                        growing.exits.extend(next);
                        return None;
                    }
                    self.builder.follow(u32::try_from(target).ok()?);
                    next
                }
                None if growing.call => {
                    let (from, _) = *growing.path.last()?;
                    let called = self.called(cpu, extent.base, from).filter(|n| extent.members.contains(n));
                    let next = called.filter(|&n| self.fits(growing, n, short));
                    growing.returns = next.is_none();
                    self.builder.follow_guess(u32::try_from(next?.at).ok()?);
                    self.entered += 1;
                    next
                }
                None => {
                    let back = growing.calls.pop();
                    let next = member(back.map(i64::from)).filter(|&n| self.fits(growing, n, short));
                    growing.returns = next.is_none();
                    self.builder.follow_guess(back.filter(|_| next.is_some())?);
                    next
                }
            },
        }
    }

    /// Whether the trace may go on with this block.
    fn fits(&self, growing: &Growing, next: Member, short: bool) -> bool {
        let Some(block) = self.cache.blocks.get(next.number as usize) else { return false };
        let here = |&(head, _): &(Member, _)| (head.at ^ next.at) as u64 & !PAGE_MASK == 0;
        !short
            && growing.path.first().is_some_and(here)
            && growing.insns + insns(&block.code) <= LONGEST
            && !growing.path.contains(&(next, growing.calls.last().copied()))
    }
}
