//! Instruction words as text, of one opinion with the rows: what the decoder and the disassembler
//! make of any bits.

use isa_riscv::{ROWS, decode16, decode32, disassemble};

/// Any words and halfwords, one after the other; the first eight bytes say where they are.
pub fn riscv(data: &[u8]) {
    let (at, words) = data.split_at(data.len().min(8));
    let mut pc = at.iter().rev().fold(0u64, |a, b| a << 8 | u64::from(*b));
    for chunk in words.chunks_exact(4) {
        let word = chunk.iter().rev().fold(0u32, |w, &b| w << 8 | u32::from(b));
        let (length, bits) = if word & 3 == 3 { (32, word) } else { (16, word & 0xffff) };
        let decoded = if length == 32 { decode32(bits) } else { decode16(bits as u16) };
        let matching = ROWS.iter().filter(|row| row.length == length && row.matches(bits));
        assert_eq!(decoded.is_some(), matching.count() > 0, "{bits:#x}");
        assert!(!disassemble(bits, pc).is_empty());
        pc = pc.wrapping_add(u64::from(length / 8));
    }
}
