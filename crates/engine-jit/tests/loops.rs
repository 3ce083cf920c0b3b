//! Random programs that go round: blocks of a page that jump to one another for many thousand instructions, in slices, so that
//! blocks are linked and regions are made of them.

mod pair;

use engine_jit::{Counts, Options, Tiers};
use isa_riscv::Features;
use pair::asm::jal;
use pair::programs::{plain, program};
use pair::*;

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
