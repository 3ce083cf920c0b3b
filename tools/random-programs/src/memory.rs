//! Random loads, stores, atomics and cache-block operations.

use crate::assembler::{Assembler, access, word};
use crate::draft::Draft;
use crate::plain::{BY_USE, instance, plain};
use crate::random::Random;
use crate::spaces::Context;
use isa_riscv::rows::{Row, flag};

/// Whether a row stores beyond what a function has on the stack if its operands are just any.
fn stores_by_sp(row: &Row) -> bool {
    matches!(row.name, "c.swsp" | "c.sdsp" | "c.fsdsp")
}

/// Addresses where nothing is, in any mode.
const NOWHERE: [u64; 6] = [
    0x1234_5678_9abc_def8,
    0x8000_0000_0000_0000,
    0xffff_ff80_0000_0ff8,
    0x2f_ffff_ffff,
    0xc000_0000,
    0x100_0000_0000_0000,
];

impl Draft<'_> {
    /// Loads and stores, one or a few off the same address.
    pub(crate) fn access(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        match self.random.below(10) {
            // By the base register itself.
            0 | 1 => {
                let base = self.program.registers.base;
                for _ in 0..1 + self.random.below(3) {
                    self.one_access(&mut code, base, false);
                }
            }
            2 => self.by_stack_pointer(&mut code),
            _ => {
                let at = self.address(&mut code);
                for left in (0..1 + self.random.below(4)).rev() {
                    // The last one may overwrite its base.
                    let spoil = left == 0 && self.random.one_in(8);
                    self.one_access(&mut code, at, spoil);
                    if left > 0 && self.random.one_in(4) {
                        code.raw(self.computes_elsewhere(at));
                    }
                }
            }
        }
        code.finish()
    }

    /// An instruction that only computes and leaves `kept` alone.
    pub(crate) fn computes_elsewhere(&mut self, kept: i64) -> u32 {
        let mut registers = self.program.registers.clone();
        registers.free.retain(|r| *r != kept);
        plain(self.random, &registers)
    }

    /// Puts an address in the data, seldom elsewhere, into an address register.
    fn address(&mut self, code: &mut Assembler) -> i64 {
        let at = self.random.pick(&self.program.registers.address);
        if self.random.one_in(24) {
            let nowhere = self.random.pick(&NOWHERE);
            code.li(at, nowhere + self.random.below(8));
            return at;
        }
        if self.random.one_in(24) {
            // Where another context has its data.
            let context: Context = self.random.pick(&self.program.spaces.contexts);
            code.li(at, context.data + crate::layout::BASE + self.random.below(0x7000));
            return at;
        }
        let from = self.program.registers.any(self.random);
        if self.random.one_in(3) {
            code.opi("andi", at, from, self.random.below(2048) as i64);
        } else {
            code.op("slli", &[("rd", at), ("rs1", from), ("shamt", 49)]);
            code.op("srli", &[("rd", at), ("rs1", at), ("shamt", 49)]);
        }
        if self.random.one_in(2) {
            code.opi("andi", at, at, -8);
        }
        if self.random.one_in(6) {
            // Close to the end of a page.
            code.op("srli", &[("rd", at), ("rs1", at), ("shamt", 12)]);
            code.op("slli", &[("rd", at), ("rs1", at), ("shamt", 12)]);
            let back = 1 + self.random.below(8) as i64;
            code.opi("addi", at, at, if self.random.one_in(4) { 0 } else { -back });
        }
        code.op("add", &[("rd", at), ("rs1", at), ("rs2", self.program.registers.base)]);
        at
    }

    /// One access by `base`, which it overwrites only if it may.
    pub(crate) fn one_access(&mut self, code: &mut Assembler, base: i64, spoil: bool) {
        for _ in 0..8 {
            let list = if self.random.one_in(4) { &BY_USE.float_memory } else { &BY_USE.memory };
            let row = self.random.pick(list);
            let Some((Some(field), offset)) = access(row) else { continue };
            if field.put(base).is_none() {
                continue;
            }
            let mut fixed = vec![(field.name, base)];
            if let Some(offset) = offset.filter(|_| self.random.one_in(3)) {
                fixed.push((offset.name, 0));
            }
            if let Some(word) = self.instance_without(row, &fixed, if spoil { 0 } else { base }) {
                code.raw(word);
                return;
            }
        }
    }

    /// An instance that does not write `kept`.
    fn instance_without(&mut self, row: &'static Row, fixed: &[(&str, i64)], kept: i64) -> Option<u32> {
        let mut registers = self.program.registers.clone();
        registers.free.retain(|r| *r != kept);
        instance(self.random, &registers, row, fixed)
    }

    fn by_stack_pointer(&mut self, code: &mut Assembler) {
        let all: Vec<&'static Row> = BY_USE
            .memory
            .iter()
            .chain(&BY_USE.float_memory)
            .copied()
            .filter(|r| r.asm.contains("(sp)"))
            .collect();
        for _ in 0..1 + self.random.below(3) {
            let row = self.random.pick(&all);
            let Some((_, Some(offset))) = access(row) else { continue };
            let limit = if stores_by_sp(row) { crate::layout::SCRATCH } else { 256 };
            let at = self.random.below(limit) & !7;
            if let Some(word) =
                instance(self.random, &self.program.registers, row, &[(offset.name, at as i64)])
            {
                code.raw(word);
            }
        }
    }

    /// An atomic instruction, or a pair of `lr` and `sc`.
    pub(crate) fn atomic(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let at = self.program.registers.address[0];
        if self.program.profile.free() && !self.random.one_in(3) {
            let at = self.address(&mut code);
            if !self.random.one_in(12) {
                code.opi("andi", at, at, -8);
            }
            self.atomic_at(&mut code, at, false);
        } else {
            // The stack: mapped and writable everywhere.
            code.opi("addi", at, 2, 8 * self.random.below(crate::layout::SCRATCH / 8) as i64);
            self.atomic_at(&mut code, at, true);
        }
        code.finish()
    }

    /// At `at`, which is an address on the stack or of data.
    fn atomic_at(&mut self, code: &mut Assembler, at: i64, stack: bool) {
        let base = [("rs1", at)];
        if self.random.one_in(2) {
            let row = self.random.pick(&BY_USE.amo);
            if let Some(word) = self.instance_without(row, &base, at) {
                code.raw(word);
            }
            return;
        }
        let pairs = [("lr.w", "sc.w"), ("lr.d", "sc.d")];
        let (lr, mut sc) = self.random.pick(&pairs);
        if self.program.profile.free() && self.random.one_in(12) {
            sc = self.random.pick(&["sc.w", "sc.d"]);
        }
        let put = |draft: &mut Self, code: &mut Assembler, name: &str| {
            let row = crate::assembler::row(name);
            let mut registers = draft.program.registers.clone();
            registers.free.retain(|r| *r != at);
            if let Some(word) = instance(draft.random, &registers, row, &base) {
                code.raw(word);
            }
        };
        let lone = self.program.profile.free() && self.random.one_in(12);
        if !lone {
            put(self, code, lr);
        }
        for _ in 0..self.random.below(3) {
            let word = self.computes_elsewhere(at);
            // A trap between the two ends the reservation elsewhere.
            let float = isa_riscv::disasm::row_of(word).is_none_or(|row| row.flags & flag::FP != 0);
            if self.program.profile.free() || !float {
                code.raw(word);
            }
        }
        if self.program.profile.free() && self.random.one_in(8) {
            if stack {
                // Just there: what the function has saved is next to it.
                code.sd(self.program.registers.any(self.random), 0, at);
            } else {
                self.one_access(code, at, true);
            }
            return;
        }
        put(self, code, sc);
    }

    /// A cache-block operation.
    pub(crate) fn block(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let at = if self.program.profile.free() {
            self.address(&mut code)
        } else {
            let at = self.program.registers.address[1];
            // Below what a function has on the stack, where nothing is kept.
            code.opi("addi", at, 2, -1024 + self.random.below(512) as i64);
            at
        };
        let row = self.random.pick(&BY_USE.blocks);
        if let Some(word) = instance(self.random, &self.program.registers, row, &[("rs1", at)]) {
            code.raw(word);
        }
        code.finish()
    }

    /// Code that accesses data beside it, at the first address register.
    pub(crate) fn beside(&mut self) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = (0..8 + self.random.below(5) * 8).map(|_| self.random.bits() as u8).collect();
        let mut code = Assembler::new(0);
        let at = self.program.registers.address[0];
        for _ in 0..1 + self.random.below(3) {
            let row = loop {
                let row = self.random.pick(&BY_USE.memory);
                // Its offset can be anything that lies in the data.
                if row.length == 32 && row.flags & (flag::LOAD | flag::STORE) != 0 {
                    break row;
                }
            };
            let Some((Some(field), Some(offset))) = access(row) else { continue };
            let to = self.random.below(data.len() as u64 - 7) as i64;
            let mut registers = self.program.registers.clone();
            registers.free.retain(|r| *r != at);
            let fixed = [(field.name, at), (offset.name, to)];
            if let Some(word) = instance(self.random, &registers, row, &fixed) {
                code.raw(word);
            }
        }
        if code.bytes.is_empty() {
            code.raw(word("ld", &[("rd", at), ("rs1", at)]));
        }
        (code.finish(), data)
    }
}

/// A random page of those whose tables change, as an offset in the data.
pub fn random_page(random: &mut Random) -> u64 {
    (1 + random.below(crate::layout::RANDOM_PAGES - 2)) * 4096
}
