//! The disassembler: rows and their assembly templates, printed as `objdump -M no-aliases` prints them.

use crate::rows::{Field, Kind, Row};
use crate::{ROWS, csr_name};

/// ABI names of the integer registers (RISC-V Calling Conventions, "Integer Register Convention").
pub const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

/// ABI names of the floating-point registers ("Floating-point Register Convention").
pub const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4",
    "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8",
    "ft9", "ft10", "ft11",
];

/// Bytes of the instruction that starts with `word`: 2 or 4 ("Expanded Instruction-Length Encoding";
/// longer ones are reserved).
pub const fn length(word: u32) -> u32 {
    if word & 3 == 3 { 4 } else { 2 }
}

/// The row that `word` is an instance of: of those that match, the one that fixes most bits. Of a
/// 16-bit instruction only the low half counts.
pub fn row_of(word: u32) -> Option<&'static Row> {
    let word = if length(word) == 2 { word & 0xffff } else { word };
    let bits = 8 * length(word);
    let matching = ROWS.iter().filter(|row| u32::from(row.length) == bits && row.matches(word));
    matching.max_by_key(|row| row.mask.count_ones())
}

/// The assembly text of the instruction `word` at address `pc`; `.word` or `.short` if it is none.
pub fn disassemble(word: u32, pc: u64) -> String {
    match row_of(word) {
        Some(row) => print(row, word, pc),
        None if length(word) == 2 => format!(".short {:#06x}", word & 0xffff),
        None => format!(".word {word:#010x}"),
    }
}

/// Fills in the template of `row`.
fn print(row: &Row, word: u32, pc: u64) -> String {
    let (mut mnemonic, mut operands) = (row.name.to_string(), String::new());
    let mut rest = row.asm;
    while let Some((before, after)) = rest.split_once('{') {
        operands.push_str(before);
        let (piece, after) = after.split_once('}').unwrap_or((after, ""));
        rest = after;
        let name = piece.trim_start_matches(['.', ',']);
        let Some(field) = row.fields.iter().find(|f| f.name == name) else { continue };
        let text = operand(field, word, pc);
        match piece.as_bytes().first() {
            Some(b'.') => mnemonic.push_str(&text),
            Some(b',') if text.is_empty() => {}
            Some(b',') => operands.push_str(&format!(", {text}")),
            _ => operands.push_str(&text),
        }
    }
    operands.push_str(rest);
    format!("{mnemonic} {}", operands.trim()).trim().to_string()
}

/// One operand; empty for a default.
fn operand(field: &Field, word: u32, pc: u64) -> String {
    const ROUNDING: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "5", "6", ""];
    const ORDER: [&str; 4] = ["", ".rl", ".aq", ".aqrl"];
    let value = field.get(word);
    let name = |names: &[&str]| names.get(value as usize).unwrap_or(&"?").to_string();
    match field.kind {
        Kind::X => name(&X_NAMES),
        Kind::F => name(&F_NAMES),
        Kind::Rm => name(&ROUNDING),
        Kind::Order => name(&ORDER),
        Kind::U8 if matches!(field.name, "pred" | "succ") => fence_set(value),
        Kind::U8 => format!("{value:#x}"),
        // An upper immediate is written as the 20 bits that it is made of.
        Kind::I32 if field.shift == 12 => format!("{:#x}", value >> 12 & 0xf_ffff),
        Kind::I32 => value.to_string(),
        Kind::Rel => format!("{:#x}", pc.wrapping_add(value as u64)),
        Kind::Csr => csr_name(value as u16).map_or_else(|| format!("{value:#x}"), str::to_string),
    }
}

/// The letters of a fence's predecessor or successor set.
fn fence_set(set: i64) -> String {
    let letters = [(8, 'i'), (4, 'o'), (2, 'r'), (1, 'w')];
    let text: String = letters.iter().filter(|(bit, _)| set & bit != 0).map(|(_, letter)| letter).collect();
    if text.is_empty() { "unknown".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_operand() {
        let check = |word, text| assert_eq!(disassemble(word, 0x8000_0000), text);
        check(0x0062_c2b3, "xor t0, t0, t1");
        check(0xffc5_a503, "lw a0, -4(a1)");
        check(0xfe00_0ee3, "beq zero, zero, 0x7ffffffc");
        check(0xabcd_e537, "lui a0, 0xabcde");
        check(0x02a5_9513, "slli a0, a1, 0x2a");
        check(0x02c5_f553, "fadd.d fa0, fa1, fa2");
        check(0x02c5_9553, "fadd.d fa0, fa1, fa2, rtz");
        check(0x06c5_a52f, "amoadd.w.aqrl a0, a2, (a1)");
        check(0x1005_a52f, "lr.w a0, (a1)");
        check(0x3001_1573, "csrrw a0, mstatus, sp");
        check(0x0330_000f, "fence rw, rw");
        check(0x8330_000f, "fence.tso");
        check(0x0100_000f, "pause");
        check(0x0000_0073, "ecall");
        check(0x4501, "c.li a0, 0");
        check(0x717d, "c.addi16sp sp, -16");
        check(0xdead_4501, "c.li a0, 0");
        check(0xffff_ffff, ".word 0xffffffff");
        check(0x0000, ".short 0x0000");
    }
}
