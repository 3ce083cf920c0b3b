//! Every row by itself, and random blocks of rows: what translated code makes of random states is what the interpreter does.

mod pair;

use isa_riscv::random::rows;
use isa_riscv::rows::Row;
use isa_riscv::{Features, disasm};
use pair::*;

/// What would end a run rather than a case.
fn runs(row: &Row) -> bool {
    row.name != "wfi"
}

fn check(pair: &mut Pair, random: &mut Random, words: &[u32], instructions: u64) -> Result<(), String> {
    let at = random.place();
    pair.case(at, words);
    let hart = random.hart(&Features::FULL, at);
    pair.set(&hart);
    pair.run(instructions).map(drop).map_err(|why| format!("{why}\nat {at:#x}{}\n{hart:x?}", listing(words)))
}

fn every_row(mut pair: Pair, cases: u64) {
    let mut random = Random::new(seed(1));
    let data = random.data();
    pair.put(DATA, &data);
    for row in rows().filter(|row| runs(row)) {
        for _ in 0..count(cases) {
            let word = random.insn(row);
            let result = check(&mut pair, &mut random, &[word], 1);
            assert!(result.is_ok(), "{}: {}", row.name, result.unwrap_err());
        }
    }
    pair.assert_translated();
}

#[test]
fn every_row_in_random_states() {
    Pair::eager().into_iter().for_each(|pair| every_row(pair, 60));
}

#[test]
fn every_row_in_regions() {
    Pair::regions().into_iter().for_each(|pair| every_row(pair, 20));
}

/// What is known of a value without computing it: an extension that is left out must be one that changes nothing.
#[test]
fn extensions_of_extended_values() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(4));
    const EXTENDING: [&str; 18] = [
        "andi", "and", "or", "xor", "lui", "slti", "addiw", "addw", "slliw", "srliw", "sraiw", "srli",
        "srai", "sext.b", "sext.h", "zext.h", "add.uw", "clz",
    ];
    let rows: Vec<&Row> = rows().filter(|row| EXTENDING.contains(&row.name) && row.length == 32).collect();
    assert_eq!(rows.len(), EXTENDING.len());
    for _ in 0..count(6_000) {
        // x10 = f(x10), again and again.
        let words: Vec<u32> = (0..6)
            .map(|_| {
                let row = random.one_of(&rows);
                let word = random.insn(row);
                [7, 15].into_iter().fold(word, |word, shift| {
                    let free = row.mask >> shift & 31 == 0;
                    if free { word & !(31 << shift) | 10 << shift } else { word }
                })
            })
            .collect();
        let result = check(&mut pair, &mut random, &words, 6);
        assert!(result.is_ok(), "{}", result.unwrap_err());
    }
    pair.assert_translated();
}

#[test]
fn a_sign_that_a_small_value_has() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(5));
    // andi a0, a0, 255; sext.b a0, a0; srliw a1, a0, 4: the sign of a value that was small is in its high word, too.
    let words = [0x0ff5_7513, 0x6045_1513, 0x0045_559b];
    for _ in 0..20 {
        let result = check(&mut pair, &mut random, &words, 3);
        assert!(result.is_ok(), "{}", result.unwrap_err());
    }
    pair.assert_translated();
}

/// Budgets stop in the middle of blocks, too.
fn blocks_of_rows(mut pair: Pair, cases: u64) {
    let mut random = Random::new(seed(2));
    let data = random.data();
    pair.put(DATA, &data);
    let rows: Vec<&Row> = rows().filter(|row| runs(row)).collect();
    for _ in 0..count(cases) {
        let length = 2 + random.below(16);
        let words: Vec<u32> = (0..length)
            .map(|_| {
                let row = random.one_of(&rows);
                random.insn(row)
            })
            .collect();
        let instructions = if random.below(4) == 0 { 1 + random.below(length) } else { length };
        let result = check(&mut pair, &mut random, &words, instructions);
        assert!(result.is_ok(), "{}", result.unwrap_err());
    }
    pair.assert_translated();
}

#[test]
fn blocks_of_rows_in_random_states() {
    Pair::eager().into_iter().for_each(|pair| blocks_of_rows(pair, 20_000));
}

#[test]
fn blocks_of_rows_in_regions() {
    Pair::regions().into_iter().for_each(|pair| blocks_of_rows(pair, 10_000));
}

/// Rows without traps and jumps, few registers: values depend on each other, move between registers and find none free.
#[test]
fn long_dependent_blocks() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(3));
    let data = random.data();
    pair.put(DATA, &data);
    const PLAIN: [&str; 12] = ["I", "M", "F", "D", "Zba", "Zbb", "Zbc", "Zbs", "Zicond", "Zfh", "A", "Zaamo"];
    let rows: Vec<&Row> = rows()
        .filter(|row| PLAIN.contains(&row.extension) && row.length == 32)
        .filter(|row| row.flags & isa_riscv::rows::flag::ENDS == 0)
        .collect();
    assert!(rows.len() > 100);
    for _ in 0..count(10_000) {
        let registers = 1 + random.below(4) as u32;
        let base = random.below(28) as u32;
        let length = 17 + random.below(80);
        let words: Vec<u32> = (0..length)
            .map(|_| {
                let row = random.one_of(&rows);
                loop {
                    let mut word = random.insn(row);
                    for shift in [7, 15, 20] {
                        if row.mask >> shift & 31 == 0 && random.below(8) != 0 {
                            let register = base + random.below(registers.into()) as u32;
                            word = word & !(31 << shift) | register << shift;
                        }
                    }
                    if disasm::row_of(word).is_some_and(|found| found.name == row.name) {
                        break word;
                    }
                }
            })
            .collect();
        let result = check(&mut pair, &mut random, &words, length);
        assert!(result.is_ok(), "{}", result.unwrap_err());
    }
    pair.assert_translated();
}
