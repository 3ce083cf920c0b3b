//! Pages full of random code, each of which goes on in the next one in the middle of an instruction, in address spaces where
//! they come in any order and more than once; pages of code and data are mapped anew, code is rewritten, traps change the
//! address space, the privilege mode or the state of floating point.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_jit::{Options, Tiers};
use fabric_ram::PAGE;
use isa_riscv::rows::Row;
use isa_riscv::{Features, Hart};
use pair::asm::*;
use pair::programs::{any_branch, any_plain, plain};
use pair::sv39::*;
use pair::*;

/// Where the pages begin: where processes are, or where kernels are, whose address spaces share what is known of code.
const STARTS: [u64; 2] = [0x4000_0000, 0xffff_ffc0_4000_0000];
/// Virtual pages of code, and physical ones, the first of which is page 1 of RAM.
const PLACES: u64 = 10;
const PAGES: u64 = 6;
/// How far from there the data is.
const DATA_VA: u64 = 0x20 * PAGE;
const TABLES: [u64; 2] = [RAM + 40 * PAGE, RAM + 44 * PAGE];

/// An instruction for the place at this distance from the start of the page. Jumps go to where instructions begin, two bytes
/// into a word, and mostly to around the end of a page. Registers that must keep what they hold are no destinations.
fn instruction(random: &mut Random, rows: &[&Row], at: i32) -> u32 {
    let target = |random: &mut Random, least: i32, pages: u64| {
        let end = 0x1000 * (random.below(pages) as i32 + least);
        let to = match random.below(4) {
            0 => end + 4 * random.below(1024) as i32 - 2,
            _ => end + 4 * random.below(24) as i32 - 2 - 4 * 12,
        };
        to - at
    };
    match random.below(12) {
        0 | 1 => {
            let distance = target(random, 0, 2).clamp(-0x1000, 0xffc);
            any_branch(random, distance)
        }
        2 => jal(0, target(random, -1, 4)),
        3 => jal(RA, target(random, -1, 4)),
        4 if random.below(2) == 0 => RET,
        5 if random.below(3) == 0 => {
            random.one_of(&[ECALL, 0x0b, FENCE_I, sfence_vma(0, 0), sfence_vma(S0, 0)])
        }
        _ => {
            let row = random.one_of(rows);
            let word = any_plain(random, row);
            let kept = matches!(word >> 7 & 31, 26..=28);
            if kept { word ^ 8 << 7 } else { word }
        }
    }
}

/// An instruction whose halves are of different pages, any first with any second one. What the halves make of it may be a
/// jump out of all pages; but an address of data is taken from x8 or x9.
fn straddling(random: &mut Random, rows: &[&Row]) -> u32 {
    let back = -4 * (1 + random.below(60) as i32);
    let word = match random.below(6) {
        0 => any_branch(random, back),
        1 => jal(RA, back),
        _ => {
            let row = random.one_of(rows);
            any_plain(random, row)
        }
    };
    let kept = matches!(word >> 7 & 31, 26..=28) && word & 0x7f != 0x63;
    // Bits 1 to 4 of rs1.
    let word = word & !(15 << 16) | 4 << 16;
    if kept { word ^ 8 << 7 } else { word }
}

fn page_of_code(random: &mut Random, rows: &[&Row]) -> Vec<u8> {
    let mut code = halves(straddling(random, rows))[1].to_le_bytes().to_vec();
    while code.len() < PAGE as usize - 2 {
        code.extend(instruction(random, rows, code.len() as i32).to_le_bytes());
    }
    code.extend(halves(straddling(random, rows))[0].to_le_bytes());
    code
}

/// Maps one page of code in a space; gives its address. The first two are always there.
fn map(pair: &mut Pair, random: &mut Random, space: &Space, place: u64, user: bool) -> u64 {
    let va = space.start + place * PAGE;
    let mut rights = CODE | if user { U } else { 0 };
    if place > 1 {
        rights ^= random.one_of(&[0, 0, 0, 0, 0, A, A, V, X, U]);
    }
    let to = page(1 + random.below(PAGES));
    space.map(pair, va, to, rights);
    va
}

/// Maps one page of data in a space; gives its address.
fn map_data(pair: &mut Pair, random: &mut Random, space: &Space, user: bool) -> u64 {
    let va = space.start + DATA_VA + PAGE * random.below(3);
    let rights = DATA_PAGE | if user { U } else { 0 };
    let changed = random.one_of(&[0, 0, 0, V, W, D]);
    space.map(pair, va, DATA + PAGE * random.below(3), rights ^ changed);
    va
}

/// Changes something in both machines as if the guest had done it.
fn change(pair: &mut Pair, random: &mut Random, rows: &[&Row], spaces: &[(Space, bool)]) {
    if random.below(2) == 0 {
        let (space, user) = random.one_of(spaces);
        let place = random.below(PLACES + 4);
        let va = if place < PLACES {
            map(pair, random, &space, place, user)
        } else {
            map_data(pair, random, &space, user)
        };
        let asid = random.one_of(&[None, Some(space.asid as u16)]);
        let address = random.one_of(&[None, Some(va), Some(va)]);
        pair.jit.cpu.flush_translations(address, asid);
        pair.interp.cpu.flush_translations(address, asid);
        return;
    }
    let page = page(1 + random.below(PAGES));
    match random.below(3) {
        0 => pair.put(page, &halves(straddling(random, rows))[1].to_le_bytes()),
        1 => pair.put(page + PAGE - 2, &halves(straddling(random, rows))[0].to_le_bytes()),
        _ => {
            let at = random.one_of(&[2, 6, 10, 0xff6, 0xffa]);
            let word = instruction(random, rows, at);
            pair.code(page + at as u64, &[word]);
        }
    }
    pair.jit.cpu.flush_code();
    pair.interp.cpu.flush_code();
}

/// A hart in the first space. Traps exchange the spaces, or what x26 has of mstatus, if they are not masked.
fn hart(random: &mut Random, spaces: &[(Space, bool); 2]) -> Hart {
    const FS: u64 = 3 << 13;
    const SUM: u64 = 1 << 18;
    let [(space, user), (other, other_user)] = *spaces;
    let pc = space.start + random.one_of(&[0x802, 0xff2, 0xffe]);
    let data = space.start + DATA_VA;
    let mut hart = random.hart(&Features::FULL, pc);
    let paged = space.hart(pc);
    (hart.mode, hart.csr.satp, hart.csr.pmp) = (paged.mode, paged.csr.satp, paged.csr.pmp.clone());
    // ADUE: fetches set the A bits of pages, which must not come early.
    hart.csr.menvcfg |= 1 << 61;
    if user {
        hart.mode = isa_riscv::Mode::U;
    }
    hart.csr.mstatus |= SUM;
    (hart.x[1], hart.x[8], hart.x[9]) = (pc, data + 2048, data + PAGE - random.below(64));
    let exchange = random.below(3) != 0;
    hart.x[27] = if exchange { space.satp() ^ other.satp() } else { 0 };
    // MPP goes with what the pages are.
    let privilege = if exchange && user != other_user { 1 << 11 } else { 0 };
    hart.x[26] = privilege | random.one_of(&[0, 0, FS]);
    hart.x[28] = space.start + 0x802;
    hart
}

/// `run` runs both for some instructions and compares them.
fn check_by(run: fn(&mut Pair, u64) -> Result<Exit, String>, options: Options, first: u64, rounds: u64) {
    let Some(mut pair) = Pair::new(options) else { return };
    let mut random = Random::new(first);
    let rows = plain();
    let data = random.data();
    let toggle = |csr: u32, by: u32| [csrr(31, csr), xor(31, 31, by), csrw(csr, 31)];
    pair.code(HANDLER, &handler(&[toggle(0x300, 26), toggle(0x180, 27)].concat()));
    for round in 0..rounds {
        pair.put(DATA, &data);
        for n in 0..PAGES {
            let code = page_of_code(&mut random, &rows);
            pair.put(page(1 + n), &code);
        }
        let start = random.one_of(&STARTS);
        let spaces = [(TABLES[0], 1), (TABLES[1], 2)].map(|(tables, asid)| {
            let user = random.below(2) == 0;
            let space = Space::new(&mut pair, tables, asid, start);
            for place in 0..PLACES {
                map(&mut pair, &mut random, &space, place, user);
            }
            for n in 0..3 {
                let rights = DATA_PAGE | if user { U } else { 0 };
                space.map(&mut pair, start + DATA_VA + n * PAGE, DATA + n * PAGE, rights);
            }
            (space, user)
        });
        let hart = hart(&mut random, &spaces);
        pair.set(&hart);
        for slice in 0..40 {
            let n = 1 + random.below(300);
            let result = run(&mut pair, n);
            assert!(result.is_ok(), "round {round}, slice {slice}: {}\n{hart:x?}", result.unwrap_err());
            change(&mut pair, &mut random, &rows, &spaces);
        }
    }
    pair.assert_translated();
}

fn check(options: Options, first: u64, rounds: u64) {
    check_by(Pair::run, options, first, rounds);
}

#[test]
fn pages_in_any_order_and_an_interpreter_that_remembers_nothing() {
    check_by(Pair::run_forgetful, eager(), seed(66), count(30));
}

#[test]
fn pages_in_any_order() {
    check(eager(), seed(61), count(120));
}

#[test]
fn pages_in_any_order_in_the_first_tier() {
    check(Options { tiers: Tiers::First, ..eager() }, seed(62), count(60));
}

#[test]
fn pages_in_any_order_in_the_second_tier() {
    check(second(), seed(63), count(60));
}

#[test]
fn pages_in_any_order_with_room_for_few_blocks() {
    check(Options { cache: 0, ..eager() }, seed(64), count(60));
}

#[test]
fn pages_in_any_order_on_one_of_two_harts() {
    check(Options { harts: 2, threshold: 2, ..eager() }, seed(65), count(60));
}
