//! Floating-point rows with special operands, in every rounding mode, static and dynamic: values and flags are the
//! interpreter's, which are those of `isa-float`.

mod pair;

use isa_riscv::Features;
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};
use pair::*;

fn field(row: &Row, name: &str) -> bool {
    row.fields.iter().any(|field| field.name == name)
}

/// `word` with the rounding mode `rm`.
fn rounded(row: &Row, word: u32, rm: u32) -> u32 {
    if field(row, "rm") { word & !(7 << 12) | rm << 12 } else { word }
}

#[test]
fn special_operands_in_every_rounding_mode() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(11));
    let rows: Vec<&Row> = rows().filter(|row| row.flags & flag::FP != 0 && row.length == 32).collect();
    assert!(rows.iter().filter(|row| field(row, "rm")).count() > 40);
    for row in rows {
        for frm in 0..8u8 {
            for rm in 0..if field(row, "rm") { 8 } else { 1 } {
                for _ in 0..count(6) {
                    // The same operation three times, of other registers: with what the first ones leave, too.
                    let words: [u32; 3] = std::array::from_fn(|_| rounded(row, random.insn(row), rm));
                    let at = random.place();
                    pair.case(at, &words);
                    let mut hart = random.hart(&Features::FULL, at);
                    hart.csr.frm = frm;
                    hart.csr.set_fp_dirty();
                    pair.set(&hart);
                    let result = pair.run(3);
                    let text = || format!("{} rm {rm} frm {frm}{}\n{hart:x?}", row.name, listing(&words));
                    assert!(result.is_ok(), "{}\n{}", result.unwrap_err(), text());
                }
            }
        }
    }
    pair.assert_translated();
}

/// Results that meet: what one operation of a block gives is another one's operand, boxed or not, in both formats.
#[test]
fn chains_of_operations() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(12));
    let rows: Vec<&Row> = rows().filter(|row| row.flags & flag::FP != 0 && row.length == 32).collect();
    for _ in 0..count(8_000) {
        let frm = random.one_of(&[0, 0, 0, 1, 2, 3, 4]);
        let words: Vec<u32> = (0..4 + random.below(30))
            .map(|_| {
                let row = random.one_of(&rows);
                let word = random.insn(row);
                let rm = random.one_of(&[7, 7, 7, 7, 0, 1, 2, 3, 4]);
                // Registers 8 to 11 only, where a field is one.
                let few = [7, 15, 20, 27].into_iter().fold(word, |word, shift| {
                    let free = row.mask >> shift & 31 == 0 && (shift != 27 || field(row, "rs3"));
                    if free { word & !(31 << shift) | (8 | word >> shift & 3) << shift } else { word }
                });
                rounded(row, few, rm)
            })
            .collect();
        let at = random.place();
        pair.case(at, &words);
        let mut hart = random.hart(&Features::FULL, at);
        hart.csr.frm = frm;
        pair.set(&hart);
        let result = pair.run(words.len() as u64);
        assert!(result.is_ok(), "{} frm {frm}{}\n{hart:x?}", result.unwrap_err(), listing(&words));
    }
    pair.assert_translated();
}
