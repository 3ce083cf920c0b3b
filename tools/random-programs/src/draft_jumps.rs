//! Pieces that jump: branches, tables, calls, patched instructions, jumps to odd places.

use crate::assembler::{Assembler, word};
use crate::draft::Draft;
use crate::layout::SERVICE;
use crate::op::{How, Op};
use crate::plain::{plain, plain16, plain32};
use crate::registers::LEVELS;

/// The branches of the base set.
const BRANCHES: [&str; 6] = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];

impl Draft<'_> {
    /// A conditional branch.
    pub(crate) fn a_branch(&mut self, level: usize) -> Option<Op> {
        let level = (level + 1).min(LEVELS);
        let then = self.body(level);
        let other = if self.random.one_in(2) { self.body(level) } else { Vec::new() };
        let compressed: Vec<i64> = (8..16).filter(|r| self.program.registers.free.contains(r)).collect();
        let short = then.iter().map(Op::most_bytes).sum::<u64>() < 200;
        if short && !compressed.is_empty() && self.random.one_in(2) {
            let branch = self.random.pick(&["c.beqz", "c.bnez"]);
            let operands = (self.random.pick(&compressed), 0);
            return Some(Op::If { branch, operands, then, other });
        }
        let branch = self.random.pick(&BRANCHES);
        let a = self.program.registers.any(self.random);
        let b = if self.random.one_in(3) { 0 } else { self.program.registers.any(self.random) };
        Some(Op::If { branch, operands: (a, b), then, other })
    }

    /// A jump through a table.
    pub(crate) fn a_table(&mut self, level: usize) -> Option<Op> {
        let level = (level + 1).min(LEVELS);
        let cases = (0..4).map(|_| self.body(level)).collect();
        Some(Op::Table { index: self.program.registers.any(self.random), cases })
    }

    /// A call of a later function.
    pub(crate) fn a_call(&mut self) -> Option<Op> {
        let later = (self.function + 1..self.count).len() as u64;
        if later == 0 {
            return None;
        }
        let to = self.function + 1 + self.random.below(later) as usize;
        let how = self.random.pick(&[How::Direct, How::Direct, How::Indirect, How::Elsewhere]);
        Some(Op::Call { to, how, depth: self.random.below(6) })
    }

    /// An instruction to be patched.
    pub(crate) fn slot(&mut self) -> Op {
        self.slots += 1;
        let words = [self.patch_word(), plain32(self.random, &self.program.registers)];
        Op::Slot { number: self.slots - 1, words }
    }

    /// An instruction for such a place: it may skip the next one.
    fn patch_word(&mut self) -> u32 {
        let registers = &self.program.registers;
        match self.random.below(6) {
            0 => word("jal", &[("rd", 0), ("imm_j", 8)]),
            1 => {
                let (a, b) = (registers.any(self.random), registers.any(self.random));
                word(self.random.pick(&BRANCHES), &[("rs1", a), ("rs2", b), ("imm_b", 8)])
            }
            2 => plain16(self.random, registers) | plain16(self.random, registers) << 16,
            _ => plain32(self.random, registers),
        }
    }

    /// A patch of an instruction that there is.
    pub(crate) fn patch(&mut self) -> Option<Op> {
        if self.slots == 0 {
            return None;
        }
        let number = self.random.below(self.slots as u64) as usize;
        Some(Op::Patch { number, word: self.patch_word(), halves: self.random.one_in(4) })
    }

    /// A switch to a context.
    pub(crate) fn switch(&mut self) -> Op {
        let count = self.program.spaces.contexts.len() as u64;
        Op::Go { high: SERVICE + (1 + self.random.below(count)) * crate::layout::WINDOW }
    }

    /// A switch, or a jump to an address that is none.
    pub(crate) fn go(&mut self) -> Op {
        if !self.random.one_in(3) {
            return self.switch();
        }
        if self.random.one_in(3) {
            return Op::Go {
                high: self.random.pick(&[0x30_5555_0000, 0xdead_0000_1111_0000, 0x5555_5555_0000]),
            };
        }
        // Where another context has its code.
        let contexts = &self.program.spaces.contexts;
        Op::Go { high: contexts[self.random.below(contexts.len() as u64) as usize].code }
    }

    /// A branch into the middle of an instruction.
    pub(crate) fn middle(&mut self) -> Op {
        let registers = &self.program.registers;
        let half = plain16(self.random, registers);
        let name = self.random.pick(&["lui", "auipc"]);
        let rd = registers.free(self.random);
        let outer = word(name, &[("rd", rd)]) | half << 16 | (self.random.below(16) as u32) << 12;
        let operands = (registers.any(self.random), registers.any(self.random));
        Op::Middle { operands, outer }
    }

    /// Code at the end of a page and behind it.
    pub(crate) fn page_end(&mut self) -> Option<Op> {
        if self.page_ends == 0 {
            return None;
        }
        self.page_ends -= 1;
        let mut code = Assembler::new(0);
        for _ in 0..2 + self.random.below(4) {
            code.raw(plain(self.random, &self.program.registers));
        }
        Some(Op::PageEnd { back: 2 + 2 * self.random.below(7), code: code.finish() })
    }

    /// `mret` or `sret`.
    pub(crate) fn a_return(&mut self) -> Op {
        Op::Return { supervisor: self.random.one_in(2), user: self.random.one_in(8) }
    }
}
