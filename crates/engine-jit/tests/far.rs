//! Direct jumps to other pages, in rings over two and more of them, while what they lead to changes: code, the privilege mode,
//! the state of floating point, the address at which all of it runs.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_jit::Options;
use fabric_ram::PAGE;
use isa_riscv::{Features, Hart, Mode};
use pair::asm::*;
use pair::sv39::*;
use pair::*;

const START: u64 = 0x4000_0000;
const TABLES: u64 = RAM + 40 * PAGE;
const MSTATUS: u32 = 0x300;
const SSTATUS: u32 = 0x100;

/// How the pages of a ring go on to the next one.
const WAYS: [&str; 5] =
    ["by a jump", "by falling", "by a taken branch", "by a branch at the end", "by a jump at the end"];

/// Where the last instructions of a ring's page begin.
fn last(way: &str) -> u64 {
    if way.ends_with("end") || way == "by falling" { 0xffc } else { 0x100 }
}

/// The last one, if it is to go `distance` bytes on.
fn way_on(way: &str, distance: i32) -> u32 {
    match way {
        "by falling" => addi(A2, A2, 1),
        "by a taken branch" | "by a branch at the end" => branch(7, A1, 0, distance),
        _ => jal(0, distance),
    }
}

/// A ring over pages of RAM from the second one on: each page's number is added to a1, at its beginning.
fn ring(pair: &mut Pair, pages: u64, way: &str) {
    for n in 0..pages {
        let (at, on) = (RAM + PAGE * (1 + n), last(way));
        pair.code(at, &[addi(A1, A1, n as i32 + 1), jal(0, on as i32 - 8)]);
        pair.code(at + on - 4, &[addi(A3, A3, 1)]);
        let back = n + 1 == pages;
        let word = if back { jal(0, -((PAGE * n + on) as i32)) } else { way_on(way, (PAGE - on) as i32) };
        pair.code(at + on, &[word]);
    }
}

fn all() -> [Options; 5] {
    let few = Options { cache: 0, ..eager() };
    [eager(), second(), few, Options { threshold: 2, ..eager() }, Options { harts: 2, ..eager() }]
}

fn bare(pc: u64) -> Hart {
    let mut hart = Hart::new(0, &Features::FULL);
    (hart.pc, hart.csr.mtvec) = (pc, HANDLER);
    hart.csr.pmp.set_addr(0, u64::MAX);
    hart.csr.pmp.set_cfg_register(0, 0x1f);
    hart
}

/// With physical addresses, and with virtual ones.
fn harts(pair: &mut Pair) -> [Hart; 2] {
    let space = Space::new(pair, TABLES, 1, START);
    for n in 0..32 {
        space.map(pair, START + n * PAGE, page(n), CODE);
    }
    [bare(RAM + PAGE), space.hart(START + PAGE)]
}

#[test]
fn rings_over_pages() {
    for options in all() {
        for way in WAYS {
            for pages in [2, 3, 5] {
                let Some(mut pair) = Pair::new(options) else { return };
                ring(&mut pair, pages, way);
                let mut rounds = 0;
                for hart in harts(&mut pair) {
                    pair.set(&hart);
                    for step in [1, 2, 5, 100, 1000, 3000] {
                        assert_eq!(pair.run(step), Ok(Exit::Budget), "{way}, {pages} pages, after {step}");
                    }
                    rounds += pair.jit.cpu.state().x[A1 as usize] / (pages * (pages + 1) / 2);
                }
                // Four instructions a page and round.
                assert!(rounds >= 2 * 4108 / 4 / pages - 2, "{way}, {pages} pages: {rounds}");
                pair.assert_translated();
            }
        }
    }
}

/// The same physical ring runs at two virtual addresses in turn, of which the second one has other code in its last page.
#[test]
fn a_ring_at_two_addresses() {
    for options in all() {
        for way in WAYS {
            let Some(mut pair) = Pair::new(options) else { return };
            ring(&mut pair, 3, way);
            // Its last page goes to what calls: to s0, once that is exchanged with s1.
            for (n, to) in [(3, A4), (4, A5)] {
                pair.code(page(n), &[addi(to, to, 1), xor(S0, S0, S1), xor(S1, S0, S1), xor(S0, S0, S1)]);
                pair.code(page(n) + 16, &[jalr(0, S0, 0)]);
            }
            let space = Space::new(&mut pair, TABLES, 1, START);
            for n in 0..2 {
                let at = START + 16 * PAGE * n;
                space.map(&mut pair, at + PAGE, page(1), CODE);
                space.map(&mut pair, at + 2 * PAGE, page(2), CODE);
                space.map(&mut pair, at + 3 * PAGE, page(3 + n), CODE);
            }
            let mut hart = space.hart(START + PAGE);
            (hart.x[8], hart.x[9]) = (START + PAGE, START + 17 * PAGE);
            pair.set(&hart);
            for step in [1, 2, 5, 100, 1000, 3000] {
                assert_eq!(pair.run(step), Ok(Exit::Budget), "{way}, after {step}");
            }
            let x = &pair.jit.cpu.state().x;
            let [here, there] = [x[A4 as usize], x[A5 as usize]];
            assert!(here > 100 && here.abs_diff(there) <= 1, "{way}: {here} and {there}");
            pair.assert_translated();
        }
    }
}

/// The first instruction of the second page of a ring is exchanged for another one in each round, with a fence.
#[test]
fn the_code_that_is_jumped_to_changes() {
    for options in all() {
        for way in WAYS {
            let Some(mut pair) = Pair::new(options) else { return };
            ring(&mut pair, 3, way);
            // In the first page: t0 is the word to store, t1 what changes there.
            pair.code(page(1), &[store(2, T0, S2, 0), xor(T0, T0, T1), FENCE_I]);
            pair.code(page(1) + 12, &[jal(0, last(way) as i32 - 16)]);
            let space = Space::new(&mut pair, TABLES, 1, START);
            for n in 0..8 {
                space.map(&mut pair, START + n * PAGE, page(n), CODE | W);
            }
            for (mut hart, base) in [(bare(page(1)), RAM), (space.hart(START + PAGE), START)] {
                let [now, then] = [addi(A4, A4, 1), addi(A5, A5, 1)];
                (hart.x[T0 as usize], hart.x[T1 as usize]) = (now.into(), (now ^ then).into());
                hart.x[S2 as usize] = base + 2 * PAGE;
                pair.set(&hart);
                for step in [1, 2, 5, 100, 1000, 3000] {
                    assert_eq!(pair.run(step), Ok(Exit::Budget), "{way}, after {step}");
                }
                let x = &pair.jit.cpu.state().x;
                let [one, other] = [x[A4 as usize], x[A5 as usize]];
                assert!(one > 100 && one.abs_diff(other) <= 1, "{way}: {one} and {other}");
            }
            pair.assert_translated();
        }
    }
}

/// What traps returns to another mode, or to another state of floating point, in which it does not trap or does so elsewhere.
#[test]
fn the_mode_changes() {
    const PRIVILEGES: u64 = 3 << 11;
    const FS: u64 = 3 << 13;
    let fadd = 0x02b5_7553;
    // csrrs a4, mscratch, x0; fadd.d fa0, fa0, fa1
    let privileged = csrr(A4, 0x340);
    for options in all() {
        for way in WAYS {
            for changes in [0, PRIVILEGES, FS, PRIVILEGES | FS, 1 << 11, 1 << 11 | FS] {
                let Some(mut pair) = Pair::new(options) else { return };
                ring(&mut pair, 3, way);
                let begin = [privileged, fadd, csrr(A4, 0x140)];
                for n in [2, 3] {
                    let mut code = begin.to_vec();
                    code.extend([addi(A1, A1, 1), jal(0, last(way) as i32 - 20)]);
                    pair.code(page(n), &code);
                }
                pair.code(page(1), &[ECALL, addi(A1, A1, 1), jal(0, last(way) as i32 - 12)]);
                pair.code(HANDLER, &handler(&[csrr(31, MSTATUS), xor(31, 31, 26), csrw(MSTATUS, 31)]));
                let mut hart = bare(page(1));
                hart.csr.mstatus |= FS;
                hart.x[26] = changes;
                if changes & PRIVILEGES == 1 << 11 {
                    hart.mode = Mode::S;
                }
                (hart.f[10], hart.f[11]) = (1.0f64.to_bits(), 3.0f64.to_bits());
                (hart.csr.mscratch, hart.csr.sscratch) = (11, 12);
                pair.set(&hart);
                for step in [1, 2, 5, 100, 1000, 3000] {
                    assert_eq!(pair.run(step), Ok(Exit::Budget), "{way}, {changes:#x}, after {step}");
                }
                pair.assert_translated();
            }
        }
    }
}

/// The state of floating point is switched by the program itself, without a trap: where it is off each page has one.
#[test]
fn floating_point_is_switched_on_and_off() {
    let fadd = 0x02b5_7553;
    for options in all() {
        for way in WAYS {
            let Some(mut pair) = Pair::new(options) else { return };
            ring(&mut pair, 2, way);
            pair.code(HANDLER, &handler(&[addi(29, 29, 1)]));
            pair.code(page(1), &[csrw(SSTATUS, T0), xor(T0, T0, T1), fadd, jal(0, last(way) as i32 - 16)]);
            pair.code(page(2), &[fadd, addi(A1, A1, 1), jal(0, last(way) as i32 - 12)]);
            for mut hart in harts(&mut pair) {
                (hart.f[10], hart.f[11]) = (1.0f64.to_bits(), 3.0f64.to_bits());
                // Off, and by turns initial and off.
                (hart.x[T0 as usize], hart.x[T1 as usize]) = (0, 1 << 13);
                pair.set(&hart);
                for step in [1, 2, 5, 100, 1000, 3000] {
                    assert_eq!(pair.run(step), Ok(Exit::Budget), "{way}, after {step}");
                }
                let x = &pair.jit.cpu.state().x;
                let [traps, rounds] = [x[29], x[A1 as usize]];
                assert!(rounds > 50 && traps.abs_diff(rounds) <= 2, "{way}: {traps} in {rounds}");
            }
            pair.assert_translated();
        }
    }
}

/// The cache is emptied when what is jumped to is translated: the jump went with the rest, and what is now where it was stays as
/// it is.
#[test]
fn a_cache_is_emptied_by_a_jump_to_another_page() {
    const TARGET: u64 = RAM + 0x1100;
    const FILLING: u64 = RAM + 0x2000;
    let run = |filling: u64| {
        let mut pair = Pair::new(Options { cache: 0, ..eager() })?;
        // To the filling, which comes back with a0 = a1; then to the other page.
        let distance = (TARGET - page(0) - 0x800) as i32;
        pair.code(RAM + 0x800, &[branch(0, A0, A1, distance), jalr(0, S2, 0)]);
        let mut code = vec![jal(0, 4); filling as usize];
        code.extend([addi(A0, A0, 1), jalr(0, S3, 0)]);
        pair.code(FILLING, &code);
        // Misaligned stores, all of which are done the slow way: by code that takes room where the jump was.
        let mut code: Vec<u32> = (0..16).flat_map(|n| [addi(A2, A2, n), store(3, A2, S1, 8 * n)]).collect();
        code.push(jal(0, -4 * code.len() as i32));
        pair.code(TARGET, &code);
        let mut hart = bare(RAM + 0x800);
        (hart.x[A1 as usize], hart.x[S1 as usize]) = (1, DATA + 4);
        (hart.x[S2 as usize], hart.x[S3 as usize]) = (FILLING, RAM + 0x800);
        pair.set(&hart);
        let mut emptied_after = |n: u64| {
            assert_eq!(pair.run(n), Ok(Exit::Budget), "{filling}");
            pair.jit.cpu.counts().emptied
        };
        Some([emptied_after(filling + 4), emptied_after(1000)])
    };
    // The most that do not empty it: by halves.
    let mut filling = 0;
    for step in (0..12).rev().map(|n| 1 << n) {
        let Some([before, _]) = run(filling + step) else { return };
        filling += if before == 0 { step } else { 0 };
    }
    assert_eq!(run(filling), Some([0, 1]), "{filling}");
}

/// A page that a jump leads to, after which the budget is used up, is not fetched from yet: its A bit stays as it is. So does that of
/// the page in which the instruction goes on that a jump leads to.
#[test]
fn a_page_is_not_fetched_from_too_early() {
    for to in [2 * PAGE, 2 * PAGE - 2] {
        let Some(mut pair) = Pair::eager() else { return };
        let space = Space::new(&mut pair, TABLES, 1, START);
        for n in 0..3 {
            let accessed = if n == 2 { 0 } else { A };
            space.map(&mut pair, START + n * PAGE, page(4 + n), CODE & !A | accessed);
        }
        pair.code(page(4), &[addi(A0, A0, 1), jal(0, PAGE as i32 - 4)]);
        pair.code(page(5), &[jal(0, (to - PAGE) as i32)]);
        pair.put(page(4) + to, &addi(A0, A0, 3).to_le_bytes());
        let mut hart = space.hart(START);
        hart.csr.menvcfg |= 1 << 61;
        pair.set(&hart);
        for n in [2, 1, 1, 1] {
            let result = pair.run(n);
            assert!(result.is_ok(), "{to:#x}: {}", result.unwrap_err());
        }
    }
}

/// The code of each page of a ring is changed, with a fence, while all of it is one region: what is in the other pages counts as much
/// as what is in the one where the region is entered.
#[test]
fn a_page_of_a_region_changes() {
    for options in [eager(), second()] {
        for way in WAYS {
            for pages in [2, 3] {
                let Some(mut pair) = Pair::new(options) else { return };
                ring(&mut pair, pages, way);
                pair.set(&bare(page(1)));
                for change in 0..3 * pages {
                    for slice in 0..40 {
                        let result = pair.run(90 + slice);
                        assert!(result.is_ok(), "{way}, change {change} of {pages}: {}", result.unwrap_err());
                    }
                    pair.code(page(1 + change % pages), &[addi(A1, A1, 20 + change as i32)]);
                    pair.jit.cpu.flush_code();
                    pair.interp.cpu.flush_code();
                }
                assert!(pair.jit.cpu.counts().regions > pages, "{way}");
                pair.assert_translated();
            }
        }
    }
}

/// A loop branches at the end of its page over the first instruction of the next one, which is another page in another address space.
#[test]
fn a_branch_over_the_beginning_of_the_next_page() {
    for options in [eager(), second()] {
        let Some(mut pair) = Pair::new(options) else { return };
        let code = [addi(A2, A2, 1), andi(T1, A2, 1), branch(1, T1, 0, 8)];
        pair.code(page(1) + PAGE - 12, &code);
        for (next, step) in [(2, 3), (3, 5)] {
            pair.code(page(next), &[addi(A1, A1, step), jal(0, -16)]);
        }
        let spaces = [1, 2].map(|asid| {
            let space = Space::new(&mut pair, TABLES + 16 * PAGE * (asid - 1), asid, START);
            space.map(&mut pair, START, page(1), CODE);
            space.map(&mut pair, START + PAGE, page(1 + asid), CODE);
            space
        });
        for round in 0..8 {
            let hart = spaces[round % 2].hart(START + PAGE - 12);
            pair.set(&hart);
            for slice in 0..40 {
                let result = pair.run(90 + slice);
                assert!(result.is_ok(), "round {round}: {}", result.unwrap_err());
            }
        }
        assert!(pair.jit.cpu.counts().regions > 0);
        pair.assert_translated();
    }
}
