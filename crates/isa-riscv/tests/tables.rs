//! The rows as a whole: every word that a row can make decodes to that row, and nothing else does.

use isa_riscv::disasm::{length, row_of};
use isa_riscv::random::{random_insn, rows};
use isa_riscv::rows::Row;
use isa_riscv::{EXTENSION_CHAPTERS, Insn, ROWS, decode16, decode32};

/// A generator of pseudo-random numbers (xorshift64*), the same on every run.
fn generator(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn decode(word: u32) -> Option<Insn> {
    if length(word) == 2 { decode16(word as u16) } else { decode32(word) }
}

/// The row whose instruction `decode` gives.
fn decoded_row(word: u32) -> Option<&'static Row> {
    decode(word).map(|insn| &ROWS[insn.index()])
}

/// The row that a word means: a compressed row's full form.
fn base(row: &'static Row) -> &'static str {
    row.expands_to.unwrap_or(row.name)
}

#[test]
fn field_values_make_the_word_that_they_came_from() {
    let mut rng = generator(1);
    for row in rows() {
        for _ in 0..500 {
            let word = random_insn(row, &mut rng);
            let again = row.fields.iter().fold(row.bits, |w, f| w | f.put(f.get(word)).expect(row.name));
            assert_eq!(again, word, "{}", row.name);
            assert_eq!(row_of(word).map(|r| r.name), Some(row.name), "{word:#010x}");
            assert_eq!(decoded_row(word).map(|r| r.name), Some(base(row)), "{word:#010x}");
        }
    }
}

#[test]
fn decoding_32_bits_is_matching_rows() {
    let mut rng = generator(2);
    let opcodes: Vec<u32> = rows().filter(|r| r.length == 32).map(|r| r.bits & 0x7f).collect();
    for i in 0..400_000u32 {
        // Half of the words have an opcode that some row has, or few would be instructions.
        let word = rng() as u32 | 3;
        let word = if i % 2 == 0 { word & !0x7f | opcodes[rng() as usize % opcodes.len()] } else { word };
        assert_eq!(decoded_row(word).map(|r| r.name), row_of(word).map(|r| r.name), "{word:#010x}");
    }
}

#[test]
fn decoding_16_bits_is_matching_rows() {
    for word in (0..=u16::MAX).filter(|w| w & 3 != 3) {
        let by_rows = row_of(word.into()).map(base);
        assert_eq!(decode16(word).map(|i| ROWS[i.index()].name), by_rows, "{word:#06x}");
    }
}

/// Unprivileged ISA, "Zca": "Defined Illegal Instruction", the reserved encodings and the HINTs of
/// "HINT Instructions".
#[test]
fn reserved_compressed_words_do_not_decode_and_hints_do() {
    let reserved = [
        (0x0000, "all zeroes"),
        (0x001c, "c.addi4spn of 0 with another rd"),
        (0x2001, "c.addiw to x0"),
        (0x6101, "c.addi16sp of 0"),
        (0x6501, "c.lui of 0"),
        (0x4002, "c.lwsp to x0"),
        (0x6002, "c.ldsp to x0"),
        (0x8002, "c.jr of x0"),
        (0x8000, "quadrant 0, funct3 100"),
        (0x9c41, "quadrant 1, c.subw's row, funct2 10"),
        (0x9c61, "quadrant 1, c.subw's row, funct2 11"),
    ];
    for (word, what) in reserved {
        assert_eq!(decode16(word), None, "{what}");
    }
    let hints = [
        (0x0005, "c.nop 1"),
        (0x0501, "c.addi a0, 0"),
        (0x4005, "c.li x0, 1"),
        (0x6005, "c.lui x0, 1"),
        (0x802a, "c.mv x0, a0"),
        (0x902a, "c.add x0, a0"),
        (0x0002, "c.slli x0, 0"),
        (0x0502, "c.slli a0, 0"),
        (0x8101, "c.srli a0, 0"),
        (0x8501, "c.srai a0, 0"),
    ];
    for (word, what) in hints {
        assert!(decode16(word).is_some(), "{what}");
    }
}

/// "Floating-Point Control and Status Register": `rm` 5 and 6 are reserved.
#[test]
fn reserved_rounding_modes_do_not_decode() {
    let with_rm = rows().filter(|r| r.fields.iter().any(|f| f.name == "rm"));
    let mut checked = 0;
    for row in with_rm {
        for rm in 0..8 {
            assert_eq!(decode32(row.bits | rm << 12).is_some(), rm != 5 && rm != 6, "{} {rm}", row.name);
        }
        checked += 1;
    }
    assert_eq!(checked, 57);
}

#[test]
fn an_instruction_fits_in_eight_bytes() {
    assert_eq!(size_of::<Insn>(), 8);
}

#[test]
fn every_extension_is_cited() {
    for row in rows() {
        assert!(EXTENSION_CHAPTERS.iter().any(|(name, _)| *name == row.extension), "{}", row.name);
    }
}
