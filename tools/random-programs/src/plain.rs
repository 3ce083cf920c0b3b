//! Random instructions that only compute: any row, registers as the program has them.

use crate::random::Random;
use crate::registers::Registers;
use isa_riscv::ROWS;
use isa_riscv::disasm::row_of;
use isa_riscv::random::random_insn;
use isa_riscv::rows::{Field, Kind, Row, flag};
use std::sync::LazyLock;

/// Rows by what can be done with them.
pub struct Rows {
    /// Integer instructions that only compute.
    pub integer: Vec<&'static Row>,
    /// Floating-point instructions that only compute.
    pub float: Vec<&'static Row>,
    /// Compressed ones of both.
    pub compressed: Vec<&'static Row>,
    /// Loads and stores of integer registers.
    pub memory: Vec<&'static Row>,
    /// Loads and stores of floating-point registers.
    pub float_memory: Vec<&'static Row>,
    /// Read and write.
    pub amo: Vec<&'static Row>,
    /// Cache blocks.
    pub blocks: Vec<&'static Row>,
}

/// The rows.
pub static BY_USE: LazyLock<Rows> = LazyLock::new(|| {
    let mut rows = Rows {
        integer: Vec::new(),
        float: Vec::new(),
        compressed: Vec::new(),
        memory: Vec::new(),
        float_memory: Vec::new(),
        amo: Vec::new(),
        blocks: Vec::new(),
    };
    for row in ROWS {
        let list = match row {
            Row { name, .. } if name.starts_with("cbo.") || name.starts_with("prefetch") => &mut rows.blocks,
            Row { name, .. } if name.starts_with("amo") => &mut rows.amo,
            Row { name, .. } if name.starts_with("lr.") || name.starts_with("sc.") => continue,
            Row { asm, .. } if asm.contains('(') && !is_jump(row) => {
                if row.flags & flag::FP != 0 || row.fields.iter().any(|f| f.kind == Kind::F) {
                    &mut rows.float_memory
                } else {
                    &mut rows.memory
                }
            }
            // Control flow, system instructions; the stack pointer.
            Row { flags, .. } if flags & (flag::ENDS | flag::PRIVILEGED | flag::SENSITIVE) != 0 => continue,
            Row { name, .. } if is_jump(row) || matches!(*name, "c.addi16sp" | "fence.i") => continue,
            Row { length: 16, .. } => &mut rows.compressed,
            Row { flags, .. } if flags & flag::FP != 0 => &mut rows.float,
            _ => &mut rows.integer,
        };
        list.push(row);
    }
    rows
});

fn is_jump(row: &Row) -> bool {
    let name = row.expands_to.unwrap_or(row.name);
    row.fields.iter().any(|f| f.kind == Kind::Rel) || matches!(name, "jalr" | "jal" | "ecall" | "ebreak")
}

/// The integer register that a row which computes writes.
fn destination(row: &Row) -> Option<&'static Field> {
    let named = |name: &str| row.fields.iter().find(|f| f.name == name).copied();
    // A base is none, and comes last.
    let pair = if row.asm.contains('(') { None } else { named("c_rs1p") };
    named("rd").or(named("c_rd")).or(named("c_rdp")).or(pair)
}

/// Whether `word`, an instance of `row`, writes nothing that it must not.
fn harmless(row: &Row, word: u32, registers: &Registers) -> bool {
    let rd = destination(row).map_or(0, |f| f.get(word));
    rd == 0 || registers.free.contains(&rd)
}

/// A random instance of `row` with `fixed` fields that writes only what it may.
pub fn instance(
    random: &mut Random,
    registers: &Registers,
    row: &'static Row,
    fixed: &[(&str, i64)],
) -> Option<u32> {
    for _ in 0..24 {
        let start = random_insn(row, &mut || random.bits());
        let target = destination(row);
        let mut word = start;
        for field in row.fields {
            let value = match fixed.iter().find(|(name, _)| *name == field.name) {
                Some((_, value)) => Some(*value),
                None if target.is_some_and(|t| t.name == field.name) => Some(registers.free(random)),
                None => operand(random, registers, field),
            };
            if let Some(value) = value {
                word = word & !field.mask() | field.put(value).unwrap_or(start & field.mask());
            }
        }
        let kept = fixed.iter().all(|(n, v)| row.fields.iter().any(|f| f.name == *n && f.get(word) == *v));
        if kept && harmless(row, word, registers) && row_of(word).is_some_and(|r| r.name == row.name) {
            return Some(word);
        }
    }
    None
}

/// A value for a field; `None` to leave it as it is.
fn operand(random: &mut Random, registers: &Registers, field: &Field) -> Option<i64> {
    match field.kind {
        Kind::X => Some(registers.any(random)),
        Kind::F if random.one_in(2) => Some(random.below(6) as i64 + 8),
        Kind::Rm if random.one_in(40) => Some(5 + random.below(2) as i64),
        Kind::Rm => Some(random.pick(&[0, 1, 2, 3, 4, 7, 7, 7])),
        _ => None,
    }
}

/// A random instruction that only computes, of 16 or 32 bits.
pub fn plain(random: &mut Random, registers: &Registers) -> u32 {
    loop {
        let list = match random.below(8) {
            0 | 1 => &BY_USE.float,
            2 | 3 => &BY_USE.compressed,
            _ => &BY_USE.integer,
        };
        let row = random.pick(list);
        if let Some(word) = instance(random, registers, row, &[]) {
            return word;
        }
    }
}

/// One of 32 bits.
pub fn plain32(random: &mut Random, registers: &Registers) -> u32 {
    loop {
        let word = plain(random, registers);
        if word & 3 == 3 {
            return word;
        }
    }
}

/// One of 16 bits.
pub fn plain16(random: &mut Random, registers: &Registers) -> u32 {
    loop {
        let row = random.pick(&BY_USE.compressed);
        if let Some(word) = instance(random, registers, row, &[]) {
            return word & 0xffff;
        }
    }
}
