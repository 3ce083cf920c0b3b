//! Every row's IR against its interpretation: the one meaning in its two forms.
//!
//! `HOSTEL_CASES` gives the cases per row if 1000 are not enough.

mod fault;
mod golden;
mod hard;
mod random;
mod target;

use isa_core::{Bin, Width};
use isa_riscv::ROWS;
use isa_riscv::disasm::{disassemble, length};
use isa_riscv::random::rows;
use isa_riscv::rows::Row;
use isa_riscv::testkit::TestMachine;
use random::{BASE, DATA, Random};
use target::{IrMachine, blocks, ends, with_bits};

fn cases() -> u64 {
    std::env::var("HOSTEL_CASES").ok().map_or(1000, |n| n.parse().expect("HOSTEL_CASES is a number"))
}

/// Writes code where the machine starts.
fn load_code(m: &mut TestMachine, words: &[u32]) {
    let mut at = BASE;
    for &word in words {
        let width = if length(word) == 2 { Width::B2 } else { Width::B4 };
        m.write(at, width, word.into()).expect("memory");
        at += u64::from(length(word));
    }
}

/// Runs `words` in both forms from `m`, the IR before and after the passes. Says how the interpreter
/// ended, or the first difference.
fn compare(m: &TestMachine, words: &[u32], wrong: Option<(Bin, Bin)>) -> Result<bool, String> {
    let mut plain = m.clone();
    let mut result = Ok(());
    let mut at = BASE;
    for &word in words {
        at += u64::from(length(word));
        result = plain.step();
        if result.is_err() || plain.hart.pc != at || plain.target.is_some() {
            break;
        }
    }
    plain.begin();
    for (block, form) in blocks(words, m.hart.csr.fp_on()).iter().zip(["lifted", "after passes"]) {
        let mut ir = IrMachine::new(m.clone());
        ir.wrong = wrong;
        let ended = ir.run(block);
        let ended = with_bits(ended, words, BASE, ir.m.hart.pc);
        ir.m.begin();
        if ended != result || ir.m != plain {
            let code: Vec<String> = words.iter().map(|w| disassemble(*w, 0)).collect();
            let state = if ended == result { "other state" } else { "other result" };
            return Err(format!("{form}: {code:?}: {state}: {ended:x?}, not {result:x?}\n{block}"));
        }
    }
    Ok(result.is_ok())
}

#[test]
fn every_row_means_the_same_in_both_forms() {
    let mut random = Random::new(1);
    let (mut ran, mut trapped) = (0u64, 0u64);
    for row in rows() {
        let (mut row_ran, cases) = (0u64, cases());
        for _ in 0..cases {
            let mut m = random.machine();
            let word = random.insn(row);
            random.reserve(&mut m, row, word);
            load_code(&mut m, &[word]);
            row_ran += u64::from(compare(&m, &[word], None).unwrap_or_else(|text| panic!("{text}")));
        }
        // These always trap.
        let never = ["ecall", "ebreak", "c.ebreak"].contains(&row.name);
        assert!(never == (row_ran == 0), "{} ran {row_ran} of {cases} times", row.name);
        ran += row_ran;
        trapped += cases - row_ran;
    }
    println!("{} rows: {ran} ran, {trapped} trapped", ROWS.len());
}

#[test]
fn blocks_mean_the_same_as_their_instructions() {
    let mut random = Random::new(2);
    let all: Vec<&Row> = rows().collect();
    let (mut ran, mut lifted, mut passed) = (0, 0, 0);
    for _ in 0..20 * cases() {
        let mut m = random.machine();
        // Few registers, so that instructions have to do with one another.
        let few = |word: u32, row: &Row, random: &mut Random| {
            row.fields.iter().filter(|f| ["rd", "rs1", "rs2", "fd", "fs1"].contains(&f.name)).fold(
                word,
                |word, field| {
                    let r = 8 + random.below(4) as i64;
                    field.put(r).map_or(word, |bits| word & !field.mask() | bits)
                },
            )
        };
        let count = 1 + random.below(16);
        let mut words: Vec<u32> = Vec::new();
        for i in 0..=count {
            let (row, word) = loop {
                let row = all[random.below(all.len() as u64) as usize];
                let word = random.insn(row);
                if i == count || !ends(word) {
                    break (row, word);
                }
            };
            let fewer = few(word, row, &mut random);
            let same = isa_riscv::disasm::row_of(fewer).is_some_and(|r| r.name == row.name);
            words.push(if same { fewer } else { word });
        }
        load_code(&mut m, &words);
        // Instructions that would be overwritten need fence.i, which is not this test's business.
        let mut plain = m.clone();
        while plain.retired - m.retired <= count && plain.step().is_ok() {}
        if plain.memory[..(DATA - BASE) as usize] != m.memory[..(DATA - BASE) as usize] {
            continue;
        }
        ran += u64::from(compare(&m, &words, None).unwrap_or_else(|text| panic!("{text}")));
        let [before, after] = blocks(&words, true);
        lifted += before.nodes().len();
        passed += after.nodes().len();
    }
    println!("{ran} blocks ran to their end; {lifted} nodes lifted, {passed} after passes");
    assert!(ran > cases() && passed < lifted * 9 / 10, "{ran} ran, {lifted} nodes became {passed}");
}

#[test]
fn a_planted_error_is_caught() {
    let mut random = Random::new(3);
    let caught: Vec<&str> = rows()
        .filter(|row| {
            (0..50).any(|_| {
                let mut m = random.machine();
                let word = random.insn(row);
                load_code(&mut m, &[word]);
                compare(&m, &[word], Some((Bin::Xor, Bin::Or))).is_err()
            })
        })
        .map(|row| row.name)
        .collect();
    let expected = ["xor", "xori", "xnor", "binv", "binvi", "c.xor", "fsgnjn.d", "fsgnjx.s", "fsgnjx.h"];
    for name in expected {
        assert!(caught.contains(&name), "{name} is not among {caught:?}");
    }
    assert!(!caught.contains(&"add") && !caught.contains(&"or"), "{caught:?}");
}
