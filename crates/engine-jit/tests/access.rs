//! Loads, stores and atomics of every width: aligned and not, across pages, of devices, of pages with translated code, of
//! nothing; with physical addresses and through page tables whose pages differ in what is allowed.

mod pair;

use fabric_ram::PAGE;
use isa_riscv::csr_fields::mstatus;
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};
use isa_riscv::{Features, Hart, Mode};
use pair::*;

/// Where the page tables are.
const TABLES: u64 = RAM + 56 * PAGE;
/// Where pages with different rights are mapped.
const MAPPED: u64 = 0x4000_0000;
/// How many of them.
const PAGES: u64 = 16;
const PTE_V: u64 = 1;
const PTE_R: u64 = 2;
const PTE_W: u64 = 4;
const PTE_X: u64 = 8;
const PTE_U: u64 = 16;
const PTE_A: u64 = 64;
const PTE_D: u64 = 128;

fn accesses() -> Vec<&'static Row> {
    let all = rows().filter(|row| row.flags & (flag::LOAD | flag::STORE) != 0 && row.length == 32);
    all.filter(|row| row.flags & flag::ENDS == 0).collect()
}

/// An access of `row` whose address register is x8 or x9, with a small distance, and x10 to x13 for what moves.
fn access(random: &mut Random, row: &Row) -> u32 {
    let mut word = random.insn(row);
    let base = 8 + random.below(2) as u32;
    word = word & !(31 << 15) | base << 15;
    if row.mask >> 7 & 31 == 0 {
        let is_store = row.flags & flag::STORE != 0 && row.flags & flag::LOAD == 0;
        let low = if is_store { random.below(32) as u32 } else { 10 + random.below(4) as u32 };
        word = word & !(31 << 7) | low << 7;
    }
    // Distances of loads have bits 31:20, of stores 31:25.
    if row.mask >> 25 == 0 {
        word = word << 7 >> 7 | if random.below(2) == 0 { 0 } else { 0x7f << 25 };
    }
    word
}

fn run(pair: &mut Pair, hart: &Hart, words: &[u32]) {
    pair.set(hart);
    let result = pair.run(words.len() as u64);
    assert!(result.is_ok(), "{}{}\n{hart:x?}", result.unwrap_err(), listing(words));
}

fn words(random: &mut Random, rows: &[&Row]) -> Vec<u32> {
    let n = 1 + random.below(6);
    (0..n)
        .map(|_| {
            let row = random.one_of(rows);
            access(random, row)
        })
        .collect()
}

#[test]
fn physical_addresses() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(21));
    let data = random.data();
    pair.put(DATA, &data);
    let rows = accesses();
    for _ in 0..count(20_000) {
        let at = random.place();
        let words = words(&mut random, &rows);
        pair.case(at, &words);
        let mut hart = random.hart(&Features::FULL, at);
        for r in [8, 9] {
            hart.x[r] = match random.below(8) {
                // Pages with translated code, but not the code that runs: what a store there does is not defined without
                // a fence.
                0 => Some(random.place() & !7).filter(|to| to.abs_diff(at) > 128).unwrap_or(DATA),
                1 => at ^ 0x800,
                2 => RAM + random.below(16),
                3 => RAM - random.below(16),
                4 => RAM + SIZE - random.below(24),
                _ => random.address(),
            };
        }
        run(&mut pair, &hart, &words);
    }
    pair.assert_translated();
}

/// S- and U-mode, SUM, MXR, MPRV; pages that may be read, written, executed or nothing, that are dirty or not, accessed or
/// not; those of code are the user's or not as the mode wants it.
#[test]
fn through_page_tables() {
    let Some(mut pair) = Pair::eager() else { return };
    let mut random = Random::new(seed(22));
    let data = random.data();
    pair.put(DATA, &data);
    let rows = accesses();
    for round in 0..count(300) {
        let user = random.below(3) == 0;
        tables(&mut pair, &mut random, user);
        for _ in 0..40 {
            let at = random.place();
            let words = words(&mut random, &rows);
            pair.case(at, &words);
            let mut hart = random.hart(&Features::FULL, at);
            hart.mode = if user { Mode::U } else { Mode::S };
            hart.csr.satp = 8 << 60 | (round % 3) << 44 | TABLES >> 12;
            hart.csr.pmp.set_addr(0, u64::MAX);
            hart.csr.pmp.set_cfg_register(0, 0x1f);
            for bit in [mstatus::SUM, mstatus::MXR] {
                hart.csr.mstatus |= bit * random.below(2);
            }
            if random.below(8) == 0 {
                // M-mode that loads and stores as the mode below it.
                hart.mode = Mode::M;
                hart.csr.mstatus |= mstatus::MPRV | u64::from(!user) << 11;
            }
            for r in [8, 9] {
                let page = MAPPED + PAGE * random.below(PAGES);
                hart.x[r] = match random.below(4) {
                    0 => page + PAGE - random.below(16),
                    1 => random.address(),
                    _ => page + random.below(PAGE / 8) * 8,
                };
            }
            run(&mut pair, &hart, &words);
        }
    }
    pair.assert_translated();
}

/// Page tables (Privileged Architecture, "Sv39"): RAM is where it is, in one large page; and small pages with rights of their
/// own that show data, code and the device.
fn tables(pair: &mut Pair, random: &mut Random, user: bool) {
    let (middle, low) = (TABLES + PAGE, TABLES + 2 * PAGE);
    let mine = if user { PTE_U } else { 0 };
    let mut put = |at: u64, pte: u64| pair.put(at, &pte.to_le_bytes());
    put(TABLES + 8 * (MAPPED >> 30), middle >> 12 << 10 | PTE_V);
    put(TABLES + 8 * (RAM >> 30), RAM >> 12 << 10 | PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D | mine);
    put(middle, low >> 12 << 10 | PTE_V);
    for page in 0..PAGES {
        let to = match random.below(8) {
            0 => DEVICE,
            1 => RAM + PAGE * (1 + random.below(30)),
            _ => DATA + PAGE * random.below(3),
        };
        let mut rights = PTE_V | PTE_A | PTE_D | PTE_R | PTE_W;
        if random.below(3) == 0 {
            rights = random.next() & 0xdf;
        }
        rights ^= if random.below(8) == 0 { PTE_U ^ mine } else { mine };
        put(low + 8 * page, to >> 12 << 10 | rights);
    }
}
