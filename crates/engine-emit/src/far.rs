//! Direct jumps to other pages, out of a unit or inside a region.
//!
//! Where another page is depends on the address at which the code runs and on the context. A jump remembers, in two words
//! that follow its block, for which program counter and context it was last linked; it goes on directly while both are
//! the same, else by way of the jump tables.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Cold, Emitter, Link, Whither};
use crate::layout::Leave;
use crate::reg::{RAX, RCX, RDX};

/// The comparison with the two words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    /// Mentions of them.
    words: [Patch; 2],
    /// Jumps that are taken if they are others.
    others: [Patch; 2],
}

/// What is emitted behind a block for such a jump out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Far {
    guard: Guard,
    /// The jump that is taken if the words are as they should be.
    link: Patch,
    target: i64,
}

impl Emitter {
    /// Jumps to a distance from the start of the page that is in another one.
    pub(crate) fn far(&mut self, target: i64) {
        let guard = self.guard(target);
        let link = self.asm.jmp();
        self.cold.push(Cold::Far(Far { guard, link, target }));
    }

    /// Falls through if what is at this distance from the start of the first page is the region's code for it.
    pub(crate) fn cross(&mut self, target: u32) {
        let within = self.guard(i64::from(target));
        self.cold.push(Cold::Within { within, target });
    }

    /// Compares the program counter at a distance from the start of the page, which then is in rax, and the context, in rdx, with
    /// two words.
    fn guard(&mut self, target: i64) -> Guard {
        self.asm.load(RAX, self.layout.page_va);
        match i32::try_from(target) {
            Ok(target) => self.asm.lea(RAX, RAX, target),
            Err(_) => {
                self.asm.mov_imm(RCX, target as u64);
                self.asm.lea_sum(RAX, RAX, RCX);
            }
        }
        self.asm.load(RDX, self.layout.code_number);
        let pc = self.asm.cmp_code(RAX);
        let other = self.asm.jcc(Cc::Ne);
        let context = self.asm.cmp_code(RDX);
        let elsewhere = self.asm.jcc(Cc::Ne);
        Guard { words: [pc, context], others: [other, elsewhere] }
    }

    /// What such a jump does unless it is linked for this program counter, which is in rax, and context, which is in rdx.
    pub(crate) fn far_away(&mut self, Far { guard, link, target }: Far) {
        let words = self.words_of(guard);
        let here = self.asm.len();
        self.asm.patch(link, here);
        let at = self.asm.distance(link.0);
        let reason = self.link(Link { at, to: Whither::Far { target, words: self.asm.distance(words) } });
        // No context has the number 0: it has not been linked yet.
        let context = self.asm.load_code(RCX);
        self.asm.patch(context, words + 8);
        self.asm.test(RCX);
        let unlinked = self.asm.jcc(Cc::E);
        self.asm.save_imm(self.layout.reason, reason as i32);
        let [other, stale] = self.look_in_table();
        let here = self.asm.len();
        self.asm.patch(unlinked, here);
        self.asm.save(self.layout.pc, RAX);
        self.leave(reason);
        let find = self.ways().find_far;
        self.outside(other, find);
        self.outside(stale, find);
    }

    /// What a jump inside a region does that is not known to stay there: it leaves, to find that out.
    pub(crate) fn not_within(&mut self, guard: Guard, target: u32) {
        let words = self.words_of(guard);
        self.depart();
        self.asm.save(self.layout.pc, RAX);
        let at = self.asm.distance(words);
        let reason = self.link(Link { at, to: Whither::Within { target, words: at } });
        self.leave(reason);
    }

    /// Takes note of a link; gives the reason to leave by it.
    pub(crate) fn link(&mut self, link: Link) -> u32 {
        let reason = Leave::Link as u32 + self.first_link + self.links.len() as u32;
        self.links.push(link);
        reason
    }

    /// Makes room for the words of a comparison, and has what it jumps to follow.
    fn words_of(&mut self, guard: Guard) -> usize {
        let words = self.asm.words(2);
        for (n, word) in (0..).zip(guard.words) {
            self.asm.patch(word, words + 8 * n);
        }
        let here = self.asm.len();
        guard.others.into_iter().for_each(|from| self.asm.patch(from, here));
        words
    }

    /// Goes to the code for the program counter in rax, if the jump table has it in its place; gives the jumps that are taken
    /// if not.
    pub(crate) fn look_in_table(&mut self) -> [Patch; 2] {
        let l = self.layout;
        self.asm.load(RDX, l.code_number);
        self.asm.rorx32(RCX, RAX, l.jump_turn);
        self.asm.alu(Alu::Xor, RCX, Rmi::R(RAX));
        self.asm.lea_twice(RCX, RCX, RDX);
        self.asm.and32(RCX, l.jump_mask);
        self.asm.shl32(RCX, 4);
        self.asm.alu(Alu::Add, RCX, Rmi::M(l.jumps));
        self.asm.cmp_at(RAX, RCX, 0);
        let other = self.asm.jcc(Cc::Ne);
        self.asm.cmp_at(RDX, RCX, 8);
        let stale = self.asm.jcc(Cc::Ne);
        self.asm.jmp_at(RCX, 16);
        [other, stale]
    }
}
