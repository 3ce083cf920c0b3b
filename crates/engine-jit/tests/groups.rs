//! Accesses of all widths off the same registers, whose page is looked up once: registers go over the boundary of two pages,
//! byte by byte, of which each may be memory, a device, not writable, code, nothing.

mod pair;

use engine_jit::Options;
use fabric_ram::PAGE;
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};
use isa_riscv::{Features, Hart};
use pair::asm::*;
use pair::sv39::*;
use pair::*;

const START: u64 = 0x4000_0000;
const TABLES: u64 = RAM + 40 * PAGE;
/// Where pages are mapped that differ in what is allowed, and how many.
const MAPPED: u64 = START + 128 * PAGE;
const PAGES: u64 = 24;
/// Registers that a loop keeps: where two others begin, and how far they are from there.
const ONE: u32 = 20;
const FAR: u32 = 21;
const OTHER: u32 = 22;

/// Loads and stores without more to them, of integers and floating point.
fn accesses() -> Vec<&'static Row> {
    const NAMES: [&str; 15] =
        ["lb", "lbu", "lh", "lhu", "lw", "lwu", "ld", "sb", "sh", "sw", "sd", "flw", "fld", "fsw", "fsd"];
    let rows: Vec<_> = rows().filter(|row| NAMES.contains(&row.name)).collect();
    assert_eq!(rows.len(), NAMES.len());
    rows
}

/// A distance: mostly a multiple of the width, mostly small.
fn distance(random: &mut Random, bytes: i32) -> i32 {
    let unaligned = if random.below(12) == 0 { random.below(8) as i32 } else { 0 };
    let words = match random.below(8) {
        0 => random.below(80) as i32 - 40,
        1 => 0,
        _ => random.below(8) as i32 - 3,
    };
    bytes * words + unaligned
}

/// A loop over accesses off two registers. A register that was loaded itself is no address to store to any more: there might
/// be code.
fn body(random: &mut Random, all: &[&Row]) -> Vec<u32> {
    let mut bases = random.one_of(&[[8, 9], [5, 6], [8, 18], [15, 7], [2, 29]]);
    if random.below(2) == 0 {
        bases.reverse();
    }
    let mut code = vec![addi(FAR, FAR, 1), add(bases[0], ONE, FAR), add(bases[1], OTHER, FAR)];
    let mut lost = [false; 2];
    for _ in 0..2 + random.below(7) {
        let which = (random.below(3) / 2) as usize;
        let row = random.one_of(all);
        let stores = row.flags & flag::STORE != 0;
        if stores && lost[which] {
            continue;
        }
        let log = row.bits >> 12 & 3;
        let imm = distance(random, 1 << log) as u32;
        let word = row.bits | bases[which] << 15;
        let register = random.below(32) as u32;
        code.push(if stores {
            word | (imm >> 5 & 0x7f) << 25 | register << 20 | (imm & 31) << 7
        } else {
            let integer = row.bits & 0x7f == 0x03;
            let base = bases.iter().position(|base| *base == register).filter(|_| integer);
            if let Some(base) = base {
                lost[base] |= true;
            }
            let kept = integer && [ONE, FAR, OTHER].contains(&register);
            word | imm << 20 | if kept { 0 } else { register << 7 }
        });
        if random.below(8) == 0 {
            // Something between them.
            code.push(addi(12, 13, 1));
        }
    }
    code.push(jal(0, -4 * code.len() as i32));
    code
}

/// Pages of all kinds, of which those with code may be `running`'s.
fn map(pair: &mut Pair, random: &mut Random, space: &Space, running: u64) {
    for n in 0..PAGES {
        let data = DATA + PAGE * random.below(3);
        let (to, rights) = match random.below(12) {
            0 => (DEVICE, DATA_PAGE),
            1 => (running, DATA_PAGE),
            2 => (page(1 + random.below(30)), DATA_PAGE),
            3 => (data, 0),
            4 => (data, V | R | A | D),
            5 => (data, V | X | A | D),
            6 => (data, random.one_of(&[DATA_PAGE & !D, DATA_PAGE & !A, DATA_PAGE | U])),
            _ => (data, DATA_PAGE),
        };
        space.map(pair, MAPPED + n * PAGE, to, rights);
    }
}

fn run(pair: &mut Pair, random: &mut Random, hart: &Hart, code: &[u32]) {
    pair.set(hart);
    for _ in 0..3 {
        let n = 200 + random.below(200);
        let result = pair.run(n);
        assert!(result.is_ok(), "{}{}\n{hart:x?}", result.unwrap_err(), listing(code));
    }
}

/// Where a register begins, so that it comes over the boundary.
fn before(random: &mut Random, boundary: u64) -> u64 {
    boundary.wrapping_sub(8 + random.below(40))
}

fn through_tables(options: Options, first: u64, cases: u64) {
    let Some(mut pair) = Pair::new(options) else { return };
    let mut random = Random::new(first);
    let all = accesses();
    let data = random.data();
    pair.put(DATA, &data);
    pair.code(HANDLER, &handler(&[]));
    let space = Space::new(&mut pair, TABLES, 1, START);
    for n in 0..32 {
        space.map(&mut pair, START + n * PAGE, page(n), CODE);
    }
    for _ in 0..cases {
        let running = 1 + random.below(30);
        map(&mut pair, &mut random, &space, page(running));
        // Far from both ends of the page, where stores may go.
        let at = 0x700 + 4 * random.below(64);
        let code = body(&mut random, &all);
        pair.code(page(running) + at, &code);
        let pc = START + PAGE * running + at;
        let mut hart = random.hart(&Features::FULL, pc);
        let there = space.hart(pc);
        (hart.mode, hart.csr.satp, hart.csr.pmp) = (there.mode, there.csr.satp, there.csr.pmp.clone());
        for register in [ONE, OTHER] {
            let boundary = MAPPED + PAGE * random.below(PAGES + 1);
            hart.x[register as usize] = before(&mut random, boundary);
        }
        hart.x[FAR as usize] = 0;
        run(&mut pair, &mut random, &hart, &code);
    }
    pair.assert_translated();
}

fn with_physical_addresses(options: Options, first: u64, cases: u64) {
    let Some(mut pair) = Pair::new(options) else { return };
    let mut random = Random::new(first);
    let all = accesses();
    let data = random.data();
    pair.put(DATA, &data);
    pair.code(HANDLER, &handler(&[]));
    for _ in 0..cases {
        let running = page(1 + random.below(30));
        let at = running + 0x700 + 4 * random.below(64);
        let code = body(&mut random, &all);
        pair.code(at, &code);
        let mut hart = random.hart(&Features::FULL, at);
        for register in [ONE, OTHER] {
            let boundary = match random.below(8) {
                0 => RAM,
                1 => RAM + SIZE,
                2 => DEVICE + PAGE * random.below(2),
                3 => running + PAGE * random.below(2),
                // The end of the address space.
                4 => 0,
                _ => DATA + PAGE * random.below(4),
            };
            hart.x[register as usize] = before(&mut random, boundary);
        }
        hart.x[FAR as usize] = 0;
        run(&mut pair, &mut random, &hart, &code);
    }
    pair.assert_translated();
}

#[test]
fn over_pages_of_tables() {
    through_tables(eager(), seed(71), count(1500));
}

#[test]
fn over_pages_of_tables_in_the_second_tier() {
    through_tables(second(), seed(72), count(800));
}

#[test]
fn over_pages_of_tables_on_one_of_two_harts() {
    through_tables(Options { harts: 2, ..eager() }, seed(73), count(500));
}

#[test]
fn over_physical_pages() {
    with_physical_addresses(eager(), seed(74), count(1500));
}

#[test]
fn over_physical_pages_in_the_second_tier() {
    with_physical_addresses(second(), seed(75), count(800));
}
