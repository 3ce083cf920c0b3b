//! Random programs that go round: blocks of a page that jump to one another for many thousand instructions, in slices, so that
//! blocks are linked and regions are made of them.

mod pair;

use engine_jit::{Counts, Options, Tiers};
use isa_riscv::Features;
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};
use pair::*;

/// Rows that go on to the next instruction.
fn plain() -> Vec<&'static Row> {
    const OF: [&str; 11] = ["I", "M", "F", "D", "Zba", "Zbb", "Zbs", "Zicond", "A", "Zaamo", "Zbc"];
    let rows = rows().filter(|row| OF.contains(&row.extension) && row.length == 32);
    rows.filter(|row| row.flags & flag::ENDS == 0).collect()
}

/// A conditional branch (Unprivileged ISA, "Conditional Branches") over `distance` bytes.
fn branch(random: &mut Random, distance: i32) -> u32 {
    let d = distance as u32;
    let (rs1, rs2) = (random.below(32) as u32, random.below(32) as u32);
    let condition = random.one_of(&[0u32, 1, 4, 5, 6, 7]);
    (d >> 12 & 1) << 31
        | (d >> 5 & 63) << 25
        | rs2 << 20
        | rs1 << 15
        | condition << 12
        | (d >> 1 & 15) << 8
        | (d >> 11 & 1) << 7
        | 0x63
}

/// `jal rd` over `distance` bytes.
fn jal(rd: u32, distance: i32) -> u32 {
    let d = distance as u32;
    (d >> 20 & 1) << 31
        | (d >> 1 & 0x3ff) << 21
        | (d >> 11 & 1) << 20
        | (d >> 12 & 0xff) << 12
        | rd << 7
        | 0x6f
}

/// Instructions that begin a block's successors.
fn program(random: &mut Random, rows: &[&Row]) -> Vec<u32> {
    let blocks: Vec<usize> = (0..2 + random.below(8)).map(|_| 1 + random.below(7) as usize).collect();
    let starts: Vec<i32> =
        blocks.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + 4 * (*n as i32 + 2)))).collect();
    let mut words = Vec::new();
    for &n in &blocks {
        for _ in 0..n {
            let row = random.one_of(rows);
            let mut word = random.insn(row);
            // x8 and x9 hold addresses of data, and x1 of code, and stay so: what a store to code does without a fence is
            // not defined.
            if row.flags & (flag::LOAD | flag::STORE) != 0 {
                word = word & !(31 << 15) | (8 + random.below(2) as u32) << 15;
            }
            if matches!(word >> 7 & 31, 1 | 8 | 9) {
                word ^= 16 << 7;
            }
            words.push(word);
        }
        let at = |words: &[u32]| 4 * words.len() as i32;
        let to = random.one_of(&starts);
        words.push(branch(random, to - at(&words)));
        let to = random.one_of(&starts);
        words.push(match random.below(8) {
            0 => jal(1, to - at(&words)),
            // ret
            1 => 0x8067,
            _ => jal(0, to - at(&words)),
        });
    }
    words
}

fn check(options: Options, first: u64, programs: u64) -> Option<Counts> {
    let mut pair = Pair::new(options)?;
    let mut random = Random::new(first);
    let rows = plain();
    let data = random.data();
    // csrr x31, mepc; addi x31, x31, 4; csrw mepc, x31; mret: whatever traps is passed over.
    pair.code(HANDLER, &[0x3410_2ff3, 0x004f_8f93, 0x341f_9073, 0x3020_0073]);
    for number in 0..programs {
        pair.put(DATA, &data);
        let at = random.place() & !3;
        let words = program(&mut random, &rows);
        pair.code(at, &words);
        let mut hart = random.hart(&Features::FULL, at);
        // A return goes to some block, or to the trap handler.
        (hart.x[1], hart.x[8], hart.x[9]) = (at, DATA + 2048, DATA + 4096);
        pair.set(&hart);
        for _ in 0..12 {
            let n = 1 + random.below(600);
            let result = pair.run(n);
            assert!(
                result.is_ok(),
                "program {number}, at {at:#x}: {}{}\n{hart:x?}",
                result.unwrap_err(),
                listing(&words)
            );
        }
    }
    pair.assert_translated();
    Some(pair.jit.cpu.counts())
}

#[test]
fn blocks_that_go_round() {
    let programs = count(1_500);
    let Some(counts) = check(eager(), seed(31), programs) else { return };
    assert!(counts.regions > programs / 10, "{counts:?}");
}

#[test]
fn blocks_that_go_round_in_the_first_tier() {
    let Some(counts) = check(Options { tiers: Tiers::First, ..eager() }, seed(31), count(500)) else {
        return;
    };
    assert_eq!(counts.regions, 0, "{counts:?}");
}

/// Most traces are left early, and most regions have no loop.
#[test]
fn blocks_that_go_round_in_the_second_tier() {
    let programs = count(1_000);
    let options = second();
    let Some(counts) = check(options, seed(34), programs) else { return };
    assert!(counts.regions > 4 * programs, "{counts:?}");
}

#[test]
fn regions_with_room_for_few() {
    let programs = count(300);
    let options = Options { cache: 0, ..second() };
    let Some(counts) = check(options, seed(35), programs) else { return };
    assert!(counts.emptied > programs / 10 && counts.regions > 4 * programs, "{counts:?}");
}

/// A loop over all of a page, each block of which is linked to the next one: a block's regions are few, however often it runs.
#[test]
fn a_block_has_few_regions() {
    const BLOCKS: i32 = 512;
    let Some(mut pair) = Pair::new(second()) else { return };
    let code: Vec<u32> =
        (0..BLOCKS).flat_map(|n| [0x0010_8093, jal(0, if n == BLOCKS - 1 { -4092 } else { 4 })]).collect();
    pair.code(RAM, &code);
    for _ in 0..100 {
        pair.run(5000).unwrap();
    }
    let counts = pair.jit.cpu.counts();
    assert!((512..=4 * 512).contains(&counts.regions), "{counts:?}");
    assert!(counts.translated > 490_000, "{counts:?}");
}

/// Atomic accesses have locks there, which most do without on a machine of one hart.
#[test]
fn on_one_of_two_harts() {
    check(Options { harts: 2, ..eager() }, seed(36), count(500));
}

#[test]
fn code_that_is_interpreted_first() {
    check(Options { threshold: 5, ..eager() }, seed(32), count(500));
}

#[test]
fn with_room_for_few_blocks() {
    let programs = count(500);
    let options = Options { cache: 0, ..eager() };
    let Some(counts) = check(options, seed(33), programs) else { return };
    assert!(counts.emptied > programs / 50, "{counts:?}");
}
