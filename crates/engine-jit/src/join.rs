//! Branches over a few instructions that only compute. Where both ways have been gone, the host would often guess wrong: such a
//! branch becomes a choice between what registers have and what they would get.

use crate::cache::{Member, Place, page_of};
use crate::jit::Translator;
use crate::region::member;
use engine_interp::{Cpu, FP};
use isa_ir::Node;
use isa_riscv::lift::{X, lift};

/// Bytes of instructions that a branch may go over.
const OVER: i64 = 8;

/// Whether a node does no more than compute and write integer registers.
fn computes(node: &Node) -> bool {
    matches!(
        *node,
        Node::Insn { .. }
            | Node::Nop
            | Node::Const(_)
            | Node::Pc(_)
            | Node::Bin { .. }
            | Node::Un { .. }
            | Node::Select { .. }
            | Node::Get { class: X, .. }
            | Node::Set { class: X, .. }
    )
}

impl Translator {
    /// If the branch that ends at `end` goes over a few instructions to `target`, both in bytes from where the region's offsets count,
    /// and both are blocks of the region: appends them as what is branched over. Gives the block at `target`, and how many they
    /// are.
    pub fn join(
        &mut self,
        cpu: &Cpu,
        place: Place,
        end: u32,
        target: Option<i64>,
        members: &[Member],
    ) -> Option<(Member, usize)> {
        let over = target? - i64::from(end);
        if !(1..=OVER).contains(&over) {
            return None;
        }
        let behind = member(members, Some(i64::from(end)))?;
        let to = member(members, target)?;
        let block = self.cache.blocks.get(behind.number as usize)?;
        // What is branched over becomes part of the trace, which lies in one page.
        if page_of(block.place.arena) != page_of(place.arena) {
            return None;
        }
        let code = block.code.get(..over as usize / 2)?.to_vec();
        // Changed without a fence so far: the region must be of what was there.
        let same = (0..).zip(&code).all(|(n, &h)| cpu.ram.load::<u16>(block.place.halfword(n)) == Some(h));
        let floats = place.modes & FP != 0;
        let words = words(&code).filter(|_| same)?;
        for &word in &words {
            let ends = lift(&mut self.trial, word, &cpu.legal, floats);
            let computes = ends == Ok(false) && self.trial.last_insn().iter().all(computes);
            let block = self.trial.finish().ok()?;
            self.trial.recycle(block);
            if !computes {
                return None;
            }
        }
        if !self.builder.skip(words.len() as u32) {
            return None;
        }
        for &word in &words {
            let _ = lift(&mut self.builder, word, &cpu.legal, floats);
        }
        self.builder.skipped();
        self.joined += 1;
        self.places.look(self.builder.nodes());
        Some((to, words.len()))
    }
}

/// The instructions that these halfwords are, if they are whole ones.
pub(crate) fn words(code: &[u16]) -> Option<Vec<u32>> {
    let mut words = Vec::new();
    let mut halves = code.iter();
    while let Some(&low) = halves.next() {
        let high = if low & 3 == 3 { *halves.next()? } else { 0 };
        words.push(u32::from(high) << 16 | u32::from(low));
    }
    Some(words)
}
