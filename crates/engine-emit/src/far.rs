//! Direct jumps to other pages.
//!
//! Where another page is depends on the address at which the code runs and on the context. A jump remembers, in two words
//! that follow its block, for which program counter and context it was last linked; it goes on directly while both are
//! the same, else by way of the jump tables.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Cold, Emitter, Link, Whither};
use crate::layout::Leave;
use crate::reg::{RAX, RCX, RDX};

/// What is emitted behind a block for such a jump.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Far {
    /// Mentions of the two words.
    words: [Patch; 2],
    /// Jumps that are taken if they are others.
    others: [Patch; 2],
    /// The jump that is taken if they are these.
    link: Patch,
}

impl Emitter {
    /// Jumps to a distance from the start of the page that is in another one.
    pub(crate) fn far(&mut self, target: i64) {
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
        let link = self.asm.jmp();
        self.cold.push(Cold::Far(Far { words: [pc, context], others: [other, elsewhere], link }));
    }

    /// What such a jump does unless it is linked for this program counter, which is in rax, and context, which is in rdx.
    pub(crate) fn far_away(&mut self, far: Far) {
        let words = self.asm.words(2);
        for (n, word) in (0..).zip(far.words) {
            self.asm.patch(word, words + 8 * n);
        }
        let here = self.asm.len();
        far.others.into_iter().chain([far.link]).for_each(|from| self.asm.patch(from, here));
        let reason = Leave::Link as u32 + self.first_link + self.links.len() as u32;
        self.links.push(Link {
            at: self.asm.distance(far.link.0),
            to: Whither::Far { words: self.asm.distance(words) },
        });
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
