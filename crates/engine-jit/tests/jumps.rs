//! More targets of jumps than the jump table has room for where they belong, called in turns.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_interp::Jump;
use engine_jit::Options;
use fabric_ram::PAGE;
use isa_riscv::Hart;
use pair::asm::*;
use pair::sv39::*;
use pair::*;

const START: u64 = 0x4000_0000;
const CALLER: u64 = START + PAGE;
const DATA_VA: u64 = START + 2 * PAGE;
/// Where in their pages targets are.
const AT: u64 = 0x240;
const TABLES: u64 = RAM + 37 * PAGE;
/// So many addresses of targets are called in turns.
const TURNS: u64 = 64;

/// The address of target `n`. All bits that count for its place in the table are the same for all.
fn target(n: u64) -> u64 {
    START + 8 * PAGE + AT + (n << 32)
}

/// A space where `targets` functions are, each of which adds its own number to a1 and a power of it to a2.
fn build(pair: &mut Pair, targets: u64) -> Space {
    let space = Space::new(pair, TABLES, 1, START);
    space.map(pair, CALLER, page(1), CODE);
    space.map(pair, DATA_VA, DATA, DATA_PAGE);
    pair.code(HANDLER, &handler(&[]));
    for n in 0..targets {
        pair.code(page(8 + n) + AT, &[addi(A1, A1, n as i32 + 1), addi(A2, A2, 1 << n), RET]);
    }
    space.map(pair, target(0), page(8), CODE);
    for n in 1..targets {
        // Their addresses differ in what the uppermost table decides.
        let lower = Space::new(pair, TABLES + 3 * n * PAGE, 1, target(n));
        lower.map(pair, target(n), page(8 + n), CODE);
        let at = space.tables + 8 * (target(n) >> 30 & 511);
        pair.put(at, &entry(lower.tables + PAGE, V).to_le_bytes());
    }
    space
}

/// Calls what memory says at s0, then what it says behind that, round and round.
fn caller(hart: &mut Hart, call: u32) -> Vec<u32> {
    (hart.x[S0 as usize], hart.x[S1 as usize]) = (0, DATA_VA);
    vec![
        andi(S0, S0, 8 * TURNS as i32 - 1),
        add(T0, S0, S1),
        load(3, T0, T0, 0),
        call,
        addi(S0, S0, 8),
        jal(0, -20),
    ]
}

fn turns(pair: &mut Pair, of: impl FnMut(u64) -> u64) {
    let addresses: Vec<u8> = (0..TURNS).map(of).flat_map(u64::to_le_bytes).collect();
    pair.put(DATA, &addresses);
}

/// Nearly all must run in translated code: what is not found in the table is looked up elsewhere, not translated again.
fn run(pair: &mut Pair, hart: &Hart, what: &str) {
    pair.set(hart);
    let before = (pair.jit.cpu.counts(), pair.jit.cpu.retired());
    for step in [1, 2, 3, 10, 100, 4000, 4000] {
        assert_eq!(pair.run(step), Ok(Exit::Budget), "{what}, after {step}");
    }
    let (after, retired) = (pair.jit.cpu.counts(), pair.jit.cpu.retired() - before.1);
    let translated = after.translated - before.0.translated;
    assert!(translated > retired * 9 / 10, "{what}: only {translated} of {retired}");
}

#[test]
fn targets_with_one_place() {
    for options in [eager(), second(), Options { harts: 2, ..eager() }] {
        for targets in [2, 4, 5, 8] {
            for context in 1..100 {
                let slots = (0..targets).map(|n| Jump::slot(target(n), context));
                assert_eq!(slots.min(), (0..targets).map(|n| Jump::slot(target(n), context)).max());
            }
            let Some(mut pair) = Pair::new(options) else { return };
            let mut random = Random::new(seed(81));
            let space = build(&mut pair, targets);
            for at_random in [false, true] {
                turns(&mut pair, |n| target(if at_random { random.below(targets) } else { n % targets }));
                let mut hart = space.hart(CALLER);
                let code = caller(&mut hart, jalr(RA, T0, 0));
                pair.code(page(1), &code);
                run(&mut pair, &hart, &format!("{targets} targets"));
                let x = &pair.jit.cpu.state().x;
                assert!(x[A1 as usize] > 1000 && x[A2 as usize] > 1000, "{x:x?}");
            }
        }
    }
}

/// Entries that are neighbours and others, with physical addresses.
#[test]
fn targets_in_neighbouring_places() {
    // Places that differ in the bits that neighbours differ in, in two pages 32 pages apart.
    let places =
        |at: u64| [0, 2, 4, 6].map(|bits| (page(3) + (at ^ bits), page(3 + 32) + (at ^ bits ^ 0x20)));
    for options in [eager(), second(), Options { cache: 0, ..eager() }] {
        let Some(mut pair) = Pair::new(options) else { return };
        let mut random = Random::new(seed(82));
        pair.code(HANDLER, &handler(&[]));
        for _ in 0..count(40) {
            let base = 4 * random.below(0x3f0);
            let mut targets = Vec::new();
            for (one, other) in places(base) {
                for context in 1..100 {
                    assert_eq!(Jump::slot(one, context), Jump::slot(other, context));
                }
                targets.extend([one, other]);
            }
            // c.jr ra, at each place; the page is otherwise full of c.addi a1, 1, so that others may lead there.
            for page in [page(3), page(3 + 32)] {
                let halves: Vec<u8> = (0..PAGE / 2)
                    .flat_map(|_| if random.below(3) == 0 { 0x8082u16 } else { 0x0585 }.to_le_bytes())
                    .collect();
                pair.put(page, &halves);
                pair.put(page + PAGE - 2, &0x8082u16.to_le_bytes());
            }
            targets.extend([page(3) + (base ^ 0x10), page(3) + (base ^ 0x30)]);
            turns(&mut pair, |_| random.one_of(&targets));
            let mut hart = Hart::new(0, &isa_riscv::Features::FULL);
            (hart.pc, hart.csr.mtvec) = (page(1), HANDLER);
            let code = caller(&mut hart, jalr(RA, T0, 0));
            hart.x[S1 as usize] = DATA;
            pair.code(page(1), &code);
            run(&mut pair, &hart, "neighbours");
        }
    }
}

/// The same address in many address spaces, all of which are entered in turns.
#[test]
fn one_target_in_many_contexts() {
    const SPACES: u64 = 8;
    for options in [eager(), second()] {
        let Some(mut pair) = Pair::new(options) else { return };
        pair.code(HANDLER, &handler(&[]));
        let spaces: Vec<Space> = (0..SPACES)
            .map(|n| {
                let space = Space::new(&mut pair, RAM + (36 + 3 * n) * PAGE, n, START);
                space.map(&mut pair, CALLER, page(1), CODE);
                space.map(&mut pair, DATA_VA, DATA, DATA_PAGE);
                space.map(&mut pair, target(0), page(8 + n), CODE);
                pair.code(page(8 + n) + AT, &[addi(A1, A1, n as i32 + 1), addi(A2, A2, 1 << n), RET]);
                space
            })
            .collect();
        turns(&mut pair, |n| spaces[(n % SPACES) as usize].satp());
        for direct in [false, true] {
            let mut hart = spaces[0].hart(CALLER);
            let call = if direct { jal(RA, (target(0) - CALLER) as i32 - 16) } else { jalr(RA, S2, 0) };
            let mut code = caller(&mut hart, csrw(0x180, T0));
            code.insert(4, call);
            code.pop();
            code.push(jal(0, -24));
            hart.x[S2 as usize] = target(0);
            pair.code(page(1), &code);
            run(&mut pair, &hart, "many contexts");
            let x = &pair.jit.cpu.state().x;
            assert!(x[A1 as usize] > 1000 && x[A2 as usize] > 1000, "{x:x?}");
        }
    }
}

/// So many contexts that their numbers lead to the same places again: what stands there is of a context that is gone.
#[test]
fn contexts_with_the_same_places() {
    // Each fence takes two numbers at least.
    const ROUNDS: u64 = engine_interp::JUMPS as u64 * 6 / 10;
    assert_eq!(Jump::slot(CALLER, 1), Jump::slot(CALLER, 1 + engine_interp::JUMPS as u64));
    for direct in [false, true] {
        let Some(mut pair) = Pair::eager() else { return };
        let space = build(&mut pair, 2);
        let call = if direct { jal(RA, (target(0) - CALLER) as i32 - 4) } else { jalr(RA, S2, 0) };
        pair.code(page(1), &[sfence_vma(0, 0), call, jal(0, -8)]);
        let mut hart = space.hart(CALLER);
        hart.x[S2 as usize] = target(0);
        pair.set(&hart);
        for (to, sum) in [(8, 1), (9, 3)] {
            space.map(&mut pair, target(0), page(to), CODE);
            assert_eq!(pair.run(6 * ROUNDS), Ok(Exit::Budget));
            assert_eq!(pair.jit.cpu.state().x[A1 as usize], sum * ROUNDS);
        }
        pair.assert_translated();
    }
}
