//! Loops whose accesses each remember the page that they met last: pages are mapped anew, lose rights, turn out to hold code, and
//! the address space changes, between two runs of a loop and between two rounds of it.

mod pair;

use engine_core::Vcpu;
use engine_jit::Options;
use fabric_ram::PAGE;
use pair::asm::*;
use pair::sv39::*;
use pair::*;

const START: u64 = 0x4000_0000;
const DATA_VA: u64 = START + 0x20 * PAGE;
/// Virtual pages of data, a power of two, and physical ones.
const PAGES: u64 = 4;
const TABLES: [u64; 2] = [RAM + 40 * PAGE, RAM + 44 * PAGE];
/// Physical address of the loops.
const CODE_AT: u64 = RAM + PAGE;

/// An access off x8 or x9, which point to a word of eight bytes: alone or as one of a group, at whatever side of a page's end.
fn access(random: &mut Random) -> u32 {
    let (base, log) = (random.one_of(&[S0, S1]), random.below(4) as u32);
    let k = (random.below(48) as i32 - 24) >> log << log;
    let value = random.one_of(&[T0, T1, A0, A1, 22, 23]);
    if random.below(2) == 0 { load(log, value, base, k) } else { store(log, value, base, k) }
}

/// An endless loop around one of some rounds, in which pointers go through the pages of data with steps of their own. Outside,
/// the address space is exchanged if x27 says so, and translations are forgotten now and then.
fn program(random: &mut Random) -> Vec<u32> {
    let outside: Vec<u32> = match random.below(4) {
        0 => vec![csrr(31, 0x180), xor(31, 31, 27), csrw(0x180, 31)],
        1 => vec![sfence_vma(S0, 0)],
        2 => vec![FENCE_I],
        _ => Vec::new(),
    };
    let mut code = outside;
    code.push(addi(A2, 0, 1 + random.below(60) as i32));
    let inside = code.len();
    for (pointer, distance) in [(S0, T2), (S1, 29)] {
        let step = 8 * (random.below(300) as i32 - 100);
        code.extend([
            addi(distance, distance, step / 8 * 8),
            and(distance, distance, S4),
            add(pointer, distance, 21),
        ]);
    }
    let accesses = 1 + random.below(8);
    code.extend((0..accesses).map(|_| access(random)));
    code.push(addi(A2, A2, -1));
    let back = 4 * (inside as i32 - code.len() as i32);
    code.push(branch(1, A2, 0, back));
    code.push(jal(0, -4 * code.len() as i32));
    code
}

/// `slli rd, rs1, by`
fn sll(rd: u32, rs1: u32, by: u32) -> u32 {
    by << 20 | rs1 << 15 | 1 << 12 | rd << 7 | 0x13
}

/// `sub rd, rs1, rs2`
fn sub(rd: u32, rs1: u32, rs2: u32) -> u32 {
    1 << 30 | rs2 << 20 | rs1 << 15 | rd << 7 | 0x33
}

/// `and rd, rs1, rs2`
fn and(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | 7 << 12 | rd << 7 | 0x33
}

/// Maps one page of data in a space, with all rights or without one of them.
fn map(pair: &mut Pair, random: &mut Random, space: &Space, n: u64) -> u64 {
    let va = DATA_VA + n * PAGE;
    let without = random.one_of(&[0, 0, 0, 0, V, W, D, A]);
    space.map(pair, va, DATA + PAGE * random.below(3), DATA_PAGE ^ without);
    va
}

fn check(options: Options, first: u64, rounds: u64) {
    let Some(mut pair) = Pair::new(options) else { return };
    let mut random = Random::new(first);
    let data = random.data();
    pair.code(HANDLER, &handler(&[]));
    for round in 0..rounds {
        pair.put(DATA, &data);
        let code = program(&mut random);
        pair.code(CODE_AT, &code);
        let spaces = [(TABLES[0], 1), (TABLES[1], 2)].map(|(tables, asid)| {
            let space = Space::new(&mut pair, tables, asid, START);
            space.map(&mut pair, START, CODE_AT, CODE);
            for n in 0..PAGES {
                map(&mut pair, &mut random, &space, n);
            }
            space
        });
        let mut hart = spaces[0].hart(START);
        for r in [T0, T1, A0, A1, 22, 23, T2, 29] {
            hart.x[r as usize] = random.next();
        }
        (hart.x[20], hart.x[21]) = (PAGES * PAGE - 8, DATA_VA);
        hart.x[27] = spaces[0].satp() ^ spaces[1].satp();
        pair.set(&hart);
        for slice in 0..20 {
            let n = 1 + random.below(2000);
            let result = pair.run(n);
            let code = listing(&code);
            assert!(result.is_ok(), "round {round}, slice {slice}: {}{code}", result.unwrap_err());
            let space = random.one_of(&spaces);
            let n = random.below(PAGES);
            let va = map(&mut pair, &mut random, &space, n);
            let asid = random.one_of(&[None, Some(space.asid as u16)]);
            let address = random.one_of(&[None, Some(va), Some(va)]);
            pair.jit.cpu.flush_translations(address, asid);
            pair.interp.cpu.flush_translations(address, asid);
        }
    }
    let counts = pair.jit.cpu.counts();
    assert!(counts.regions > rounds / 2, "{counts:?}");
    pair.assert_translated();
}

#[test]
fn loops_over_pages_that_change() {
    check(second(), seed(71), count(150));
}

#[test]
fn loops_that_become_regions_when_they_are_hot() {
    check(eager(), seed(72), count(150));
}

#[test]
fn loops_with_room_for_few_blocks() {
    check(Options { cache: 0, ..second() }, seed(73), count(100));
}

#[test]
fn loops_on_one_of_two_harts() {
    check(Options { harts: 2, ..second() }, seed(74), count(100));
}

/// A loop stores to a page again and again; then code there runs, so that the page is watched; then the loop stores to it once
/// more, which `fence.i` must not miss.
#[test]
fn a_page_that_turns_out_to_hold_code() {
    const FUNCTION: u64 = RAM + 20 * PAGE;
    let Some(mut pair) = Pair::new(eager()) else { return };
    pair.code(HANDLER, &handler(&[]));
    let space = Space::new(&mut pair, TABLES[0], 1, START);
    space.map(&mut pair, START, CODE_AT, CODE);
    // The function's page at two addresses: to run and to write.
    space.map(&mut pair, START + PAGE, FUNCTION, CODE);
    space.map(&mut pair, DATA_VA, FUNCTION, DATA_PAGE);
    // Another function, which is called until the loop's region is there to stay.
    space.map(&mut pair, START + 2 * PAGE, FUNCTION + PAGE, CODE);
    pair.code(FUNCTION + PAGE, &[RET]);
    // What makes stores seen by fetches is elsewhere: a region with that in it has no near pages.
    space.map(&mut pair, START + 3 * PAGE, FUNCTION + 2 * PAGE, CODE);
    pair.code(FUNCTION + 2 * PAGE, &[FENCE_I, jalr(0, S1, 0)]);
    // x10 gets what the function says; the loop replaces its first instruction by x22, which changes from round to round.
    pair.code(FUNCTION, &[addi(A0, A0, 1), RET]);
    let inner = [store(2, 22, S0, 0), addi(A2, A2, -1), branch(1, A2, 0, -8)];
    // Bit 8 of the count of rounds says which function.
    let choose = [addi(25, 25, 1), andi(T0, 25, 256), sll(T0, T0, 4), sub(S1, 26, T0)];
    let outer = [addi(A2, 0, 40), jalr(RA, 27, 0), add(22, 22, 24)];
    let mut code = outer[..1].to_vec();
    code.extend(inner);
    code.extend(choose);
    code.extend(&outer[1..]);
    code.push(jal(0, -4 * code.len() as i32));
    pair.code(CODE_AT, &code);
    let mut hart = space.hart(START);
    (hart.x[8], hart.x[26], hart.x[27]) = (DATA_VA, START + 2 * PAGE, START + 3 * PAGE);
    // The immediate is in bits 31:20.
    (hart.x[22], hart.x[24]) = (u64::from(addi(A0, A0, 1)), 1 << 20);
    pair.set(&hart);
    for slice in 0..600 {
        let result = pair.run(37 + slice);
        assert!(result.is_ok(), "slice {slice}: {}", result.unwrap_err());
    }
    pair.assert_translated();
    assert!(pair.jit.cpu.counts().regions > 0);
}

/// A loop in S-mode loads from a page of U-mode, which SUM allows until `csrc` takes that away: no translation is forgotten, and
/// the address space stays.
#[test]
fn a_right_that_a_loop_gives_up() {
    const SUM: u64 = 1 << 18;
    for options in [eager(), second()] {
        let Some(mut pair) = Pair::new(options) else { return };
        pair.code(HANDLER, &handler(&[]));
        let space = Space::new(&mut pair, TABLES[0], 1, START);
        space.map(&mut pair, START, CODE_AT, CODE);
        space.map(&mut pair, DATA_VA, DATA, DATA_PAGE | U);
        // csrc sstatus, x22, which is SUM in round 2048 and is 0 before.
        let clear = 0x100 << 20 | 22 << 15 | 3 << 12 | 0x73;
        let code = [
            load(3, T0, S0, 0),
            add(A0, A0, T0),
            addi(A2, A2, 1),
            and(22, A2, 23),
            sll(22, 22, 7),
            clear,
            branch(1, A2, 0, -24),
        ];
        pair.code(CODE_AT, &code);
        let mut hart = space.hart(START);
        hart.csr.mstatus |= SUM;
        (hart.x[8], hart.x[23]) = (DATA_VA, 2048);
        pair.set(&hart);
        for slice in 0..200 {
            let result = pair.run(100 + slice);
            assert!(result.is_ok(), "slice {slice}: {}", result.unwrap_err());
        }
        assert_eq!(pair.jit.cpu.state().csr.mstatus & SUM, 0);
        pair.assert_translated();
    }
}
