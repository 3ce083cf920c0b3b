//! Translating a block: guest code to IR to host code.

use crate::cache::{Place, Translation};
use crate::jit::Translator;
use crate::operations::{emitter_modes, goes_on, operation};
use engine_interp::{Cpu, FP};
use engine_mmu::PAGE_MASK;
use isa_ir::{Block, Going, Node};
use isa_riscv::lift::{X, lift};
use std::borrow::Cow;

/// The most instructions in a block.
pub(crate) const LONGEST: usize = 64;

/// Whether a block ends with a call (it writes a link register, which is to say x1 or x5, after which it jumps), and
/// whether with a jump to somewhere else than where its code says.
fn ending(block: &Block) -> (bool, bool) {
    let nodes = block.nodes();
    let Some(Node::Jump { target }) = nodes.last() else { return (false, false) };
    let links = nodes.iter().rev().take(8).any(|n| matches!(n, Node::Set { class: X, index: 1 | 5, v } if matches!(nodes.get(v.index()), Some(Node::Pc(_)))));
    (links, !matches!(nodes.get(target.index()), Some(Node::Pc(_))))
}

/// The code of a block or region as it goes into the cache.
pub(crate) fn meddled(bytes: &[u8], meddle: Option<fn(&mut [u8])>) -> Cow<'_, [u8]> {
    let mut bytes = Cow::Borrowed(bytes);
    if let Some(meddle) = meddle {
        meddle(bytes.to_mut());
    }
    bytes
}

impl Translator {
    /// Translates the block at `place`. `None` if it begins with what must be interpreted.
    pub fn translate(&mut self, cpu: &mut Cpu, place: Place) -> Option<u32> {
        if self.cache.full() {
            self.empty();
        }
        place.pages().for_each(|page| self.watch(cpu, page));
        self.places.clear();
        let guest = self.lift(cpu, place);
        let block = self.builder.finish().ok()?;
        let (room, first) = (self.cache.next(), self.cache.sites.len() as u32);
        let modes = emitter_modes(cpu, place.modes);
        let start = (place.arena & PAGE_MASK) as u32;
        let code = self.emitter.emit(&block, start, room, first, modes, operation);
        let (call, returns) = ending(&block);
        self.builder.recycle(block);
        let Some(code) = code else {
            let first = guest.len().min(2);
            let code = guest.get(..first)?.to_vec();
            if code.is_empty() {
                return None;
            }
            return Some(self.cache.remember(Translation::interpreted(place, code)));
        };
        let guest = guest.get(..code.bytes as usize / 2).map(<[u16]>::to_vec).unwrap_or(guest);
        let (usual, seldom) = self.emitter.parts();
        let parts = [usual, seldom].map(|part| meddled(part, self.options.meddle));
        if let Some(map) = self.options.perf_map {
            map.name_parts(room, &parts, format_args!("guest_{:#x}", cpu.hart.pc));
        }
        let parts = parts.each_ref().map(|part| &**part);
        let number = self.cache.add(place, guest, code, parts, self.emitter.links())?;
        if let Some(block) = self.cache.blocks.get_mut(number as usize) {
            (block.call, block.returns) = (call, returns);
        }
        self.force(cpu, number);
        Some(number)
    }

    /// Lifts instructions up to the end of the block or page into the builder; gives their code.
    pub fn lift(&mut self, cpu: &Cpu, place: Place) -> Vec<u16> {
        let mut guest = Vec::with_capacity(2 * LONGEST);
        let modes = emitter_modes(cpu, place.modes);
        let left = PAGE_MASK + 1 - (place.arena & PAGE_MASK);
        let mut at = 0;
        for _ in 0..self.longest {
            if at >= left {
                break;
            }
            let Some(low) = cpu.ram.load::<u16>(place.arena + at) else { break };
            let mut word = u32::from(low);
            let mut length = 2;
            if low & 3 == 3 {
                // One that goes on in the next page depends on two translations, so it is a block of its own.
                let high = if at + 2 < left { Some(place.arena + at + 2) } else { place.second() };
                let Some(high) = high.and_then(|at| cpu.ram.load::<u16>(at)) else { break };
                word |= u32::from(high) << 16;
                length = 4;
            }
            let Ok(ends) = lift(&mut self.builder, word, &cpu.legal, place.modes & FP != 0) else { break };
            guest.push(low);
            if length == 4 {
                guest.push((word >> 16) as u16);
            }
            at += length;
            let inline =
                |node: &Node| matches!(*node, Node::Call { id, .. } if goes_on(operation(id, modes)));
            if ends && !self.builder.last_insn().iter().any(inline) {
                break;
            }
        }
        self.places.look(self.builder.nodes());
        if let Going::To(target) = self.builder.going()
            && let Some(target) = self.places.at(target)
        {
            self.builder.retarget(target);
            self.places.look(self.builder.nodes());
        }
        guest
    }

    /// Watches a page, so that its blocks hold until something is written there.
    fn watch(&mut self, cpu: &mut Cpu, page: u64) {
        let watch = cpu.ram.watch();
        if self.cache.pages.contains_key(&page) && watch.version(page) != Some(0) {
            return;
        }
        watch.add(page);
        let (version, epoch) = (watch.version(page), watch.epoch());
        cpu.write.forget_offset(page);
        let entry = self.cache.pages.entry(page).or_default();
        (entry.version, entry.epoch, entry.settled) = (version, epoch, self.options.harts == 1);
        self.unsettled |= !entry.settled || entry.version.is_none();
    }

    /// Empties the cache.
    pub fn empty(&mut self) {
        self.cache.clear();
        self.jumps.clear();
    }
}
