//! Instructions that go on in the next page: of all kinds, in programs that go round, and with either half rewritten.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_jit::{Options, Tiers};
use fabric_ram::PAGE;
use isa_riscv::Features;
use isa_riscv::rows::Row;
use pair::asm::*;
use pair::programs::{any_plain, plain, program};
use pair::*;

/// The same instruction with other operands: either half of it beside the other half of the first one is an instruction of
/// the kind too, and jumps to where that does.
fn sibling(random: &mut Random, rows: &[&Row], word: u32) -> u32 {
    let row = rows.iter().find(|row| row.matches(word));
    match (word & 0x7f, row) {
        // What it compares.
        (0x63, _) => word & !(31 << 20 | 31 << 15) ^ (random.next() as u32 & (31 << 20 | 31 << 15)),
        // No link register.
        (0x6f, _) => word & !(31 << 7) | 5 << 7,
        (_, Some(row)) => any_plain(random, row),
        _ => word,
    }
}

/// Changes the instruction at `at` in both memories, as a fence of both harts finds it.
fn change(pair: &mut Pair, at: u64, word: u32, half: u64) {
    match half {
        2 => pair.code(at, &[word]),
        half => pair.put(at + 2 * half, &halves(word)[half as usize].to_le_bytes()),
    }
    pair.jit.cpu.flush_code();
    pair.interp.cpu.flush_code();
}

/// Programs of which one instruction straddles the end of a page, which one changes with time.
fn check(options: Options, first: u64, programs: u64) {
    let Some(mut pair) = Pair::new(options) else { return };
    let mut random = Random::new(first);
    let rows = plain();
    let data = random.data();
    pair.code(HANDLER, &handler(&[]));
    for number in 0..programs {
        pair.put(DATA, &data);
        let words = program(&mut random, &rows);
        let which = random.below(words.len() as u64);
        let end = RAM + PAGE * (2 + random.below(29));
        let at = end - 2 - 4 * which;
        pair.code(at, &words);
        let mut word = words[which as usize];
        let mut hart = random.hart(&Features::FULL, at);
        hart.csr.mtvec = HANDLER;
        // The second one leads to anything; what it stores to does not hold code.
        let anywhere = Some(random.address()).filter(|to| !(RAM..DATA).contains(to)).unwrap_or(DEVICE);
        (hart.x[1], hart.x[8], hart.x[9]) = (at, DATA + 2048, anywhere);
        hart.x[28] = at;
        pair.set(&hart);
        for _ in 0..12 {
            let n = 1 + random.below(400);
            let result = pair.run(n);
            assert!(
                result.is_ok(),
                "program {number}, {word:08x} at {:#x}: {}{}\n{hart:x?}",
                end - 2,
                result.unwrap_err(),
                listing(&words)
            );
            if random.below(3) == 0 {
                let (half, other) = (random.below(3), sibling(&mut random, &rows, word));
                let other = if random.below(16) == 0 && half == 2 { 0x0b } else { other };
                change(&mut pair, end - 2, other, half);
                let mask = [0xffff, 0xffff_0000, u32::MAX][half as usize];
                word = word & !mask | other & mask;
            }
        }
    }
    pair.assert_translated();
}

#[test]
fn programs_across_pages() {
    check(eager(), seed(51), count(700));
}

#[test]
fn programs_across_pages_in_the_first_tier() {
    check(Options { tiers: Tiers::First, ..eager() }, seed(52), count(400));
}

#[test]
fn programs_across_pages_in_the_second_tier() {
    check(second(), seed(53), count(400));
}

#[test]
fn programs_across_pages_with_room_for_few_blocks() {
    check(Options { cache: 0, ..eager() }, seed(54), count(400));
}

#[test]
fn programs_across_pages_on_one_of_two_harts() {
    check(Options { harts: 2, ..eager() }, seed(55), count(300));
}

#[test]
fn programs_across_pages_that_are_interpreted_first() {
    check(Options { threshold: 3, ..eager() }, seed(56), count(400));
}

/// Where the function is whose instruction at [`END`] straddles: what calls it is in another page.
const PLACE: u64 = RAM + 0x4000;
const END: u64 = PLACE + 0xffe;
/// x8 leads to code, x9 and x24 to data, x25 to nothing.
const BAD: u32 = 25;
const GOOD: u32 = 24;

/// Two instructions each that differ in one half: in the first one, or in the second one.
fn kinds() -> Vec<([u32; 2], u64)> {
    vec![
        ([addi(A1, 0, 1), addi(A1, 0, 2)], 1),
        ([addi(A1, 0, 1), addi(A2, 0, 1)], 0),
        ([add(A1, S1, S1), xor(A1, S1, S1)], 0),
        ([load(3, A1, S1, 0), load(3, A1, S1, 8)], 1),
        ([load(3, A1, S1, 0), load(2, A1, S1, 0)], 0),
        ([load(3, A1, S1, 0), load(3, A1, BAD, 0)], 1),
        ([load(3, A1, GOOD, 0), load(3, A1, BAD, 0)], 0),
        ([store(3, T0, S1, 0x40), store(3, T0, S1, 0x80)], 1),
        ([store(3, T0, S1, 0x40), store(3, T0, S1, 0x48)], 0),
        ([store(2, T0, GOOD, 0), store(2, T0, BAD, 0)], 0),
        ([branch(0, 0, 0, -0x1e), branch(0, 0, 0, -0x3e)], 1),
        ([branch(0, 0, 0, -0x1e), branch(0, 0, 0, -0x16)], 0),
        ([branch(0, 0, 0, -0x1e), branch(1, 0, 0, -0x1e)], 0),
        ([branch(0, 0, 0, -0x1e), branch(0, 0, S1, -0x1e)], 1),
        ([jal(A2, -0x1e), jal(A2, -0x3e)], 1),
        ([jal(A2, -0x1e), jal(A1, -0x1e)], 0),
        ([jalr(A2, S0, 0), jalr(A2, S0, -0x20)], 1),
        ([jalr(A2, S0, 0), jalr(A1, S0, 0)], 0),
        // The second one is none.
        ([add(A1, S1, S1), add(A1, S1, S1) | 0x7f << 25], 1),
        ([addi(A1, 0, 1), addi(A1, 0, 1) ^ 0x18], 0),
        // The second one begins with one of 16 bits: c.nop, behind which c.addi a1, -1 begins the next page.
        ([0x15fd_0013, 0x15fd_0001], 0),
    ]
}

/// The function with this instruction at its end, and the ways to it.
fn function(pair: &mut Pair, word: u32) -> [u64; 5] {
    for (at, a) in [(0xfc0, A3), (0xfe0, A4), (0xfe8, A5)] {
        pair.code(PLACE + at, &[addi(a, a, 1), RET]);
    }
    // In the next page.
    pair.code(END, &[word, addi(A3, A3, 3), RET]);
    // By falling into it, by a jump, by a branch.
    pair.code(END - 4, &[addi(A4, A4, 3)]);
    pair.code(PLACE + 0xf00, &[addi(A4, A4, 3), jal(0, 0xfa)]);
    pair.code(PLACE + 0xf10, &[branch(0, 0, 0, 0xee)]);
    [END, END - 4, PLACE + 0xf00, PLACE + 0xf10, 0]
}

/// A program that again and again changes one half, fences, and calls. What it calls it finds by an indirect jump, or at last
/// by a direct one.
#[test]
fn a_half_that_is_rewritten() {
    let all = [
        eager(),
        second(),
        Options { threshold: 3, ..eager() },
        Options { cache: 0, ..eager() },
        Options { harts: 2, ..eager() },
    ];
    for options in all {
        let Some(mut pair) = Pair::new(options) else { return };
        pair.code(HANDLER, &handler(&[]));
        for ([one, other], half) in kinds() {
            let ways = function(&mut pair, one);
            for way in ways {
                let call = if way == 0 { jal(RA, (END - RAM) as i32 - 12) } else { jalr(RA, S2, 0) };
                let code = [
                    store(1, T0, A0, 0),
                    xor(T0, T0, T1),
                    FENCE_I,
                    call,
                    add(T2, T2, A1),
                    rori(T2, T2, 3),
                    add(T2, T2, A2),
                    jal(0, -28),
                ];
                pair.code(RAM, &code);
                let mut hart = isa_riscv::Hart::new(0, &Features::FULL);
                (hart.pc, hart.csr.mtvec) = (RAM, HANDLER);
                let [now, then] = [one, other].map(|word| u64::from(halves(word)[half as usize]));
                (hart.x[A0 as usize], hart.x[T0 as usize], hart.x[T1 as usize]) =
                    (END + 2 * half, now, now ^ then);
                (hart.x[8], hart.x[9], hart.x[24], hart.x[25]) = (PLACE + 0xfe0, DATA, DATA + 16, 0x1000);
                (hart.x[S2 as usize], hart.x[28]) = (way, RAM + 16);
                pair.put(DATA, &[0x5a; 256]);
                pair.set(&hart);
                for step in [1, 2, 7, 100, 500] {
                    let result = pair.run(step);
                    assert_eq!(result, Ok(Exit::Budget), "{one:08x} {other:08x} {way:#x} after {step}");
                }
            }
        }
        pair.assert_translated();
    }
}
