//! Code that goes on in the next page, which depends on the address space: by an instruction that straddles both, by falling
//! into it, by a jump. The next page is another one at another virtual address, in another address space, after a fence, or
//! not there at all.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_jit::Options;
use fabric_ram::PAGE;
use isa_riscv::Hart;
use pair::asm::*;
use pair::sv39::*;
use pair::*;

/// Virtual addresses: of what calls; of the page of the function, with what follows; and of the same page once more.
const START: u64 = 0x4000_0000;
const CALLER: u64 = START + PAGE;
const FIRST: u64 = START + 8 * PAGE;
const SECOND: u64 = START + 16 * PAGE;
/// Of data, and of the page table with the entries for all these.
const DATA_VA: u64 = START + 20 * PAGE;
const TABLE: u64 = START + 22 * PAGE;
/// Where they are. There are two next pages, and neither is the physical page behind the function's.
const CALLER_PAGE: u64 = RAM + PAGE;
const PAGE_OF_FUNCTION: u64 = RAM + 2 * PAGE;
const NEXT: [u64; 2] = [RAM + 5 * PAGE, RAM + 7 * PAGE];
const TABLES: [u64; 2] = [RAM + 40 * PAGE, RAM + 44 * PAGE];
/// A register that leads to nothing, and one with the address of the second function.
const BAD: u32 = 25;
const S5: u32 = 21;

/// A way into the next page: where the function begins in its page, its parts there, and how the next page begins in either
/// of two forms.
struct Way {
    name: &'static str,
    entry: u64,
    parts: Vec<(u64, Vec<u16>)>,
    next: [Vec<u16>; 2],
}

fn code(words: &[u32]) -> Vec<u16> {
    words.iter().flat_map(|word| halves(*word)).collect()
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    // An instruction in two halves, of which the second one differs; called there, fallen into, or jumped to.
    let straddling = [
        ("an immediate", addi(A1, 0, 1), addi(A1, 0, 2)),
        ("a load", load(3, A1, S1, 0), load(3, A1, S1, 8)),
        ("a load that faults", load(3, A1, S1, 0), load(3, A1, BAD, 0)),
        ("a store", store(3, T1, S1, 0x40), store(3, T1, S1, 0x80)),
        ("a branch", branch(0, 0, 0, -0x1e), branch(0, 0, S1, -0x1e)),
        ("two branches", branch(0, 0, 0, -0x1e), branch(0, 0, 0, -0x3e)),
        ("a jump", jal(A2, -0x1e), jal(A2, -0x3e)),
        ("an indirect jump", jalr(A2, S3, 0), jalr(A2, S3, -0x20)),
        ("no instruction", add(A1, S1, S1), add(A1, S1, S1) | 0x7f << 25),
    ];
    let end = |n: i32| code(&[addi(A1, A1, n), RET]);
    for (name, one, other) in straddling {
        for entry in [0xffe, 0xffa, 0xf00] {
            let parts = vec![
                (0xf00, code(&[addi(A5, A5, 1), jal(0, 0xfa)])),
                (0xffa, code(&[addi(A5, A5, 7)])),
                (0xffe, vec![halves(one)[0]]),
            ];
            let next = [(one, 3), (other, 5)].map(|(word, n)| [vec![halves(word)[1]], end(n)].concat());
            ways.push(Way { name, entry, parts, next });
        }
    }
    let whole = [
        ("falling", 0xffc, addi(A1, 0, 1)),
        ("a branch that falls", 0xffc, branch(1, 0, 0, -0x1c)),
        ("a branch to the next instruction", 0xffc, branch(0, 0, 0, 4)),
        ("a jump to the next instruction", 0xffc, jal(0, 4)),
        ("a far jump", 0xf04, jal(0, 0xfc)),
        ("a far branch", 0xf04, branch(0, 0, 0, 0xfc)),
        ("a far call", 0xf04, jal(A2, 0xfc)),
    ];
    for (name, at, word) in whole {
        for entry in [at, at - 4] {
            let parts = vec![(at - 4, code(&[addi(A5, A5, 7), word]))];
            ways.push(Way { name, entry, parts, next: [end(3), end(5)] });
        }
    }
    ways
}

/// The function's pages as this way wants them, and address spaces with all. In the first one the function's page is there
/// twice, and each time another page follows; in the second one it is the other way round.
fn build(pair: &mut Pair, way: &Way) -> [Space; 2] {
    let put = |pair: &mut Pair, at: u64, code: &[u16]| {
        let bytes: Vec<u8> = code.iter().flat_map(|half| half.to_le_bytes()).collect();
        pair.put(at, &bytes);
    };
    put(pair, PAGE_OF_FUNCTION, &[0; PAGE as usize / 2]);
    for (at, a) in [(0xfc0, A3), (0xfe0, A4)] {
        put(pair, PAGE_OF_FUNCTION + at, &code(&[addi(a, a, 1), RET]));
    }
    way.parts.iter().for_each(|(at, code)| put(pair, PAGE_OF_FUNCTION + at, code));
    NEXT.iter().zip(&way.next).for_each(|(at, code)| put(pair, *at, code));
    // What nobody should look at.
    put(pair, PAGE_OF_FUNCTION + PAGE, &way.next[0]);
    pair.put(DATA, &[0x5a; 64]);
    pair.put(DATA + 8, &[0x11; 8]);
    pair.code(HANDLER, &handler(&[]));
    [(TABLES[0], 1, NEXT), (TABLES[1], 2, [NEXT[1], NEXT[0]])].map(|(tables, asid, next)| {
        let space = Space::new(pair, tables, asid, START);
        space.map(pair, CALLER, CALLER_PAGE, CODE);
        for (va, next) in [FIRST, SECOND].into_iter().zip(next) {
            space.map(pair, va, PAGE_OF_FUNCTION, CODE);
            space.map(pair, va + PAGE, next, CODE);
        }
        space.map(pair, DATA_VA, DATA, DATA_PAGE);
        space.map(pair, TABLE, tables + 2 * PAGE, DATA_PAGE);
        space
    })
}

/// A loop in the caller's page that calls the function after `before`.
fn caller(before: &[u32], calls: &[u32]) -> Vec<u32> {
    let mut code = before.to_vec();
    for call in calls {
        code.extend([*call, add(T2, T2, A1), rori(T2, T2, 3), add(T2, T2, A2)]);
    }
    code.push(jal(0, -4 * code.len() as i32));
    code
}

fn hart(space: &Space, way: &Way) -> Hart {
    let mut hart = space.hart(CALLER);
    let x = &mut hart.x;
    (x[S0 as usize], x[S5 as usize]) = (FIRST + way.entry, SECOND + way.entry);
    (x[S1 as usize], x[S3 as usize], x[BAD as usize]) = (DATA_VA, FIRST + 0xfe0, 0x1000);
    x[28] = CALLER;
    hart
}

fn run(pair: &mut Pair, hart: &Hart, what: &str) {
    pair.set(hart);
    for step in [1, 2, 3, 7, 50, 300] {
        assert_eq!(pair.run(step), Ok(Exit::Budget), "{what}, after {step}");
    }
}

/// Runs a test with translators of several kinds.
fn with_each(test: impl Fn(&mut Pair, &Way)) {
    for options in [eager(), second(), Options { cache: 0, ..eager() }, Options { threshold: 2, ..eager() }] {
        let Some(mut pair) = Pair::new(options) else { return };
        ways().iter().for_each(|way| test(&mut pair, way));
        pair.assert_translated();
    }
}

/// A call to the function at an address, from number `n` of the caller's instructions.
fn direct(way: &Way, to: u64, n: u64) -> u32 {
    jal(RA, (to + way.entry) as i32 - (CALLER + 4 * n) as i32)
}

#[test]
fn a_page_at_two_addresses_with_different_next_ones() {
    with_each(|pair, way| {
        let [space, _] = build(pair, way);
        for calls in [[jalr(RA, S0, 0), jalr(RA, S5, 0)], [direct(way, FIRST, 0), direct(way, SECOND, 4)]] {
            pair.code(CALLER_PAGE, &caller(&[], &calls));
            run(pair, &hart(&space, way), way.name);
        }
    });
}

#[test]
fn two_address_spaces_with_different_next_pages() {
    with_each(|pair, way| {
        let spaces = build(pair, way);
        // t0 is satp, t1 what changes there.
        let mut before = vec![csrw(0x180, T0), xor(T0, T0, T1)];
        for fence in [None, Some(sfence_vma(0, 0))] {
            before.extend(fence);
            for call in [jalr(RA, S0, 0), direct(way, FIRST, before.len() as u64)] {
                pair.code(CALLER_PAGE, &caller(&before, &[call]));
                let mut hart = hart(&spaces[0], way);
                (hart.x[T0 as usize], hart.x[T1 as usize]) =
                    (spaces[0].satp(), spaces[0].satp() ^ spaces[1].satp());
                run(pair, &hart, way.name);
            }
        }
    });
}

/// The first halfwords of the next page are rewritten in turns, with a fence; the same code goes on elsewhere too.
#[test]
fn the_next_page_is_rewritten() {
    with_each(|pair, way| {
        let [space, _] = build(pair, way);
        space.map(pair, DATA_VA + PAGE, NEXT[0], DATA_PAGE);
        let at = way.next[0].iter().zip(&way.next[1]).position(|(one, other)| one != other).unwrap();
        let [now, then] = [&way.next[0], &way.next[1]].map(|next| u64::from(next[at]));
        let before = [store(1, T0, A0, 0), xor(T0, T0, T1), FENCE_I];
        for calls in [[jalr(RA, S0, 0), jalr(RA, S5, 0)], [direct(way, FIRST, 3), direct(way, SECOND, 7)]] {
            pair.code(CALLER_PAGE, &caller(&before, &calls));
            let mut hart = hart(&space, way);
            hart.x[A0 as usize] = DATA_VA + PAGE + 2 * at as u64;
            (hart.x[T0 as usize], hart.x[T1 as usize]) = (now, now ^ then);
            run(pair, &hart, way.name);
        }
    });
}

/// Behind the last page of the address space comes the first one.
#[test]
fn the_next_page_is_at_address_0() {
    const TOP: u64 = 0u64.wrapping_sub(1 << 21);
    with_each(|pair, way| {
        build(pair, way);
        let space = Space::new(pair, RAM + 48 * PAGE, 3, TOP);
        for (at, to) in [(space.tables, space.tables + PAGE), (space.tables + PAGE, space.tables + 2 * PAGE)]
        {
            pair.put(at, &entry(to, V).to_le_bytes());
        }
        space.map(pair, 0u64.wrapping_sub(PAGE), PAGE_OF_FUNCTION, CODE);
        space.map(pair, TOP + PAGE, CALLER_PAGE, CODE);
        space.map(pair, TOP + 2 * PAGE, DATA, DATA_PAGE);
        for next in NEXT {
            space.map(pair, 0, next, CODE);
            pair.code(CALLER_PAGE, &caller(&[], &[jalr(RA, S0, 0)]));
            let (mut hart, there) = (hart(&space, way), space.hart(TOP + PAGE));
            (hart.pc, hart.x[28], hart.x[S1 as usize]) = (there.pc, there.pc, TOP + 2 * PAGE);
            (hart.x[S0 as usize], hart.x[S3 as usize]) =
                (way.entry.wrapping_sub(PAGE), 0xfe0u64.wrapping_sub(PAGE));
            run(pair, &hart, way.name);
        }
    });
}

/// What the page behind the function's may become.
fn entries() -> [u64; 8] {
    let [one, other] = NEXT.map(|page| entry(page, CODE));
    [one, other, one, entry(NEXT[0], CODE & !X), other, 0, other, entry(NEXT[1], CODE | U)]
}

/// A loop that takes one entry after the other from memory, puts it into the page table, and fences.
fn remapper(fence: u32) -> Vec<u32> {
    const NUMBER: u32 = 22;
    const ENTRIES: u32 = 23;
    const AT: u32 = 24;
    vec![
        addi(NUMBER, NUMBER, 8),
        andi(T0, NUMBER, 0x38),
        add(T0, T0, ENTRIES),
        load(3, T0, T0, 0),
        store(3, T0, AT, 0),
        fence,
    ]
}

#[test]
fn the_next_page_is_mapped_anew() {
    const VA: u32 = 26;
    const ASID: u32 = 27;
    with_each(|pair, way| {
        let [space, _] = build(pair, way);
        let values: Vec<u8> = entries().into_iter().flat_map(u64::to_le_bytes).collect();
        pair.put(DATA + 0x400, &values);
        for fence in [sfence_vma(VA, 0), sfence_vma(VA, ASID), sfence_vma(0, ASID), sfence_vma(0, 0)] {
            let before = remapper(fence);
            for call in [jalr(RA, S0, 0), direct(way, FIRST, 6)] {
                pair.code(CALLER_PAGE, &caller(&before, &[call]));
                space.map(pair, FIRST + PAGE, NEXT[0], CODE);
                let mut hart = hart(&space, way);
                (hart.x[23], hart.x[24]) = (DATA_VA + 0x400, TABLE + (space.at(FIRST + PAGE) & 0xfff));
                (hart.x[VA as usize], hart.x[ASID as usize]) = (FIRST + PAGE, space.asid);
                run(pair, &hart, way.name);
            }
        }
    });
}

/// The fault of a second half has the address of that half, and the program counter of the first one; what was executed before
/// is translated.
#[test]
fn the_second_half_faults() {
    const BEHIND: u64 = FIRST + PAGE;
    for bad in [0, entry(NEXT[0], CODE & !X), entry(NEXT[0], CODE | U), entry(NEXT[0], CODE & !A)] {
        for way in ways().iter().filter(|way| way.parts.iter().any(|(at, _)| *at == 0xffe)) {
            let Some(mut pair) = Pair::eager() else { return };
            let [space, _] = build(&mut pair, way);
            // Where the last trap was.
            pair.code(HANDLER, &handler(&[csrr(S4, 0x341)]));
            let mut before = remapper(sfence_vma(26, 0));
            // Only once in eight times there is nothing to fetch: then the loop ends.
            let values: [u64; 8] =
                std::array::from_fn(|n| if n == 0 { bad } else { entry(NEXT[n % 2], CODE) });
            let bytes: Vec<u8> = values.into_iter().flat_map(u64::to_le_bytes).collect();
            pair.put(DATA + 0x400, &bytes);
            before.push(addi(29, 29, 1));
            pair.code(CALLER_PAGE, &caller(&before, &[jalr(RA, S0, 0)]));
            // The loop behind the last trap.
            pair.code(CALLER_PAGE + 0x800, &[jal(0, 0)]);
            let mut hart = hart(&space, way);
            (hart.x[23], hart.x[24]) = (DATA_VA + 0x400, TABLE + (space.at(BEHIND) & 0xfff));
            (hart.x[26], hart.x[28]) = (BEHIND, CALLER + 0x800);
            run(&mut pair, &hart, way.name);
            let end = pair.jit.cpu.state();
            assert_eq!(
                (end.csr.mcause, end.csr.mtval, end.x[S4 as usize], end.x[29]),
                (12, BEHIND, BEHIND - 2, 8),
                "{}",
                way.name
            );
            pair.assert_translated();
        }
    }
}
