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
    pair.put(at, &bytes(words));
    let hart = random.hart(&Features::FULL, at);
    pair.set(&hart);
    pair.run(instructions).map(drop).map_err(|why| format!("{why}\nat {at:#x}{}\n{hart:x?}", listing(words)))
}

#[test]
fn every_row_in_random_states() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(1));
    let data = random.data();
    pair.put(DATA, &data);
    for row in rows().filter(|row| runs(row)) {
        for _ in 0..count(60) {
            let word = random.insn(row);
            // Behind it: c.nop, as often as a block is long, so that something is translated either way.
            let words = [word, 1, 1, 1];
            let result = check(&mut pair, &mut random, &words, 1);
            assert!(result.is_ok(), "{}: {}", row.name, result.unwrap_err());
        }
    }
}

/// Budgets stop in the middle of blocks, too.
#[test]
fn blocks_of_rows_in_random_states() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(2));
    let data = random.data();
    pair.put(DATA, &data);
    let rows: Vec<&Row> = rows().filter(|row| runs(row)).collect();
    for _ in 0..count(20_000) {
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
}
