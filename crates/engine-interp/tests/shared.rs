//! Kernels in the upper half of the addresses: what was found of their code holds in all address spaces that have it there, and
//! in no other one.

mod fixture;

use engine_core::{Hosted, Vcpu};
use engine_mmu::SHARED;
use fixture::*;

const UPPER: u64 = 0xffff_ffff_c000_0000;
const CODE: u64 = UPPER + 0x5000;
const ONE: u64 = RAM + 0xb_0000;
const TWO: u64 = RAM + 0xb_1000;
/// Where the tables of the address spaces are.
const TABLES: [u64; 2] = [RAM + 0xa_0000, RAM + 0xa_4000];
/// Instructions that make a look at the page tables worth while.
const LONG: u64 = 1000;
/// What entries of pages say: valid, to be read, written and executed, accessed and dirty.
const ALL: u64 = 0xcf;

fn pte(at: u64, bits: u64) -> u64 {
    at >> 12 << 10 | bits
}

fn satp(space: usize) -> u64 {
    8 << 60 | (space as u64 + 1) << 44 | TABLES[space] >> 12
}

/// Two address spaces with the same page of code, which sets x10, and one hart.
struct Guest {
    f: Fixture,
}

impl Guest {
    fn new() -> Guest {
        let mut f = Fixture::running(&[]);
        for at in TABLES {
            let [root, middle, leaf] = [at, at + 0x1000, at + 0x2000];
            f.put(root + 8 * (UPPER >> 30 & 511), pte(middle, 1));
            f.put(root + 8, pte(middle, 1));
            f.put(middle + 8 * (UPPER >> 21 & 511), pte(leaf, 1));
        }
        for (at, n) in [(ONE, 1), (TWO, 2)] {
            f.code(at, &[addi(10, 0, n), LOOP]);
        }
        f.open_pmp();
        let mut guest = Guest { f };
        (0..2).for_each(|space| guest.map(space, CODE, ONE, ALL));
        guest.f.set(|hart| (hart.mode, hart.csr.satp) = (isa_riscv::Mode::S, satp(0)));
        guest
    }

    /// Maps a page, without a fence.
    fn map(&mut self, space: usize, va: u64, to: u64, bits: u64) {
        self.f.put(TABLES[space] + 0x2000 + 8 * (va >> 12 & 511), pte(to, bits));
    }

    /// Runs a page of code in a space for a while; gives what it sets, and the number of the context and whether it is shared.
    fn run(&mut self, space: usize, va: u64) -> (u64, u64, bool) {
        self.f.cpu.answer(&mut |hart| (hart.pc, hart.x[10], hart.csr.satp) = (va, 0, satp(space)));
        self.f.run(LONG);
        let cpu = self.f.cpu.cpu();
        let shared = cpu.contexts.matching(|key| key.space == SHARED).any(|context| context == cpu.code);
        assert_eq!(shared, cpu.code_shared);
        (self.f.hart().x[10], cpu.code.number(), shared)
    }

    fn fence(&mut self, va: Option<u64>, space: Option<usize>) {
        self.f.cpu.flush_translations(va, space.map(|space| space as u16 + 1));
    }
}

#[test]
fn address_spaces_that_are_alike_share_what_is_known() {
    let mut guest = Guest::new();
    let (x10, number, shared) = guest.run(0, CODE);
    assert_eq!((x10, shared), (1, true));
    assert_eq!(guest.run(1, CODE), (1, number, true));
    // Fences of data change nothing.
    guest.fence(None, None);
    assert_eq!(guest.run(0, CODE), (1, number, true));
    guest.fence(None, Some(1));
    guest.fence(Some(UPPER + 0x9000), None);
    assert_eq!(guest.run(1, CODE), (1, number, true));
    // Nor does a page that is found later, if it is where it was in both.
    (0..2).for_each(|space| guest.map(space, CODE + 0x1000, TWO, ALL));
    assert_eq!(guest.run(0, CODE + 0x1000), (2, number, true));
    assert_eq!(guest.run(1, CODE + 0x1000), (2, number, true));
}

#[test]
fn an_address_space_that_is_not_alike_stays_apart() {
    let mut guest = Guest::new();
    guest.map(1, CODE, TWO, ALL);
    let (x10, number, _) = guest.run(0, CODE);
    assert_eq!(x10, 1);
    let (x10, other, shared) = guest.run(1, CODE);
    assert_eq!((x10, shared), (2, false));
    assert_ne!(other, number);
    assert_eq!(guest.run(0, CODE), (1, number, true));
    // Once it is alike, a fence lets it take part.
    guest.map(1, CODE, ONE, ALL);
    guest.fence(None, Some(1));
    assert_eq!(guest.run(1, CODE), (1, number, true));
}

#[test]
fn what_is_found_later_is_looked_for_in_the_others() {
    let mut guest = Guest::new();
    guest.run(0, CODE);
    let (_, number, _) = guest.run(1, CODE);
    guest.map(0, CODE + 0x1000, ONE, ALL);
    guest.map(1, CODE + 0x1000, TWO, ALL);
    assert_eq!(guest.run(0, CODE + 0x1000), (1, number, true));
    let (x10, other, shared) = guest.run(1, CODE + 0x1000);
    assert_eq!((x10, shared), (2, false));
    assert_ne!(other, number);
}

/// Of all addresses or of one, of all address spaces or of one: what has changed by then must be seen, wherever it was found.
#[test]
fn fences_are_obeyed() {
    for (va, all) in [(None, true), (None, false), (Some(CODE), true), (Some(CODE), false)] {
        for changed in 0..2 {
            for first in 0..2 {
                let mut guest = Guest::new();
                guest.run(first, CODE);
                guest.run(1 - first, CODE);
                guest.map(changed, CODE, TWO, ALL);
                guest.fence(va, (!all).then_some(changed));
                let name = format!("{va:x?} {all} {changed} {first}");
                assert_eq!(guest.run(changed, CODE).0, 2, "{name}");
                assert_eq!(guest.run(1 - changed, CODE).0, 1, "{name}");
                assert_eq!(guest.run(changed, CODE).0, 2, "{name}");
            }
        }
    }
}

/// Not valid, not to be executed, for user mode, not accessed.
#[test]
fn what_another_space_may_not_execute_it_does_not() {
    for bits in [0xce, 0xc7, 0xdf, 0x8f] {
        let mut guest = Guest::new();
        guest.map(1, CODE, ONE, bits);
        assert_eq!(guest.run(0, CODE).0, 1);
        assert_eq!(guest.run(1, CODE).0, 0, "{bits:#x}");
        assert_eq!(guest.f.trap(), (12, CODE, CODE), "{bits:#x}");
    }
}

#[test]
fn large_pages_are_not_taken_for_small_ones() {
    let mut guest = Guest::new();
    let (x10, number, _) = guest.run(0, CODE);
    assert_eq!(x10, 1);
    // All 2 MiB in one page, which has other code there (it must be aligned: what is there is the first page of RAM).
    let middle = |space: usize| TABLES[space] + 0x1000 + 8 * (UPPER >> 21 & 511);
    guest.f.code(RAM + 0x5000, &[addi(10, 0, 5), LOOP]);
    guest.f.put(middle(1), pte(RAM, ALL));
    let (x10, other, shared) = guest.run(1, CODE);
    assert_eq!((x10, shared), (5, false));
    assert_ne!(other, number);
    guest.f.put(middle(0), pte(RAM, ALL));
    guest.fence(None, None);
    let (x10, number, _) = guest.run(0, CODE);
    assert_eq!(x10, 5);
    assert_eq!(guest.run(1, CODE), (5, number, true));
    // And small ones again, of which a fence concerns one.
    guest.f.put(middle(1), pte(TABLES[1] + 0x2000, 1));
    guest.fence(Some(CODE), Some(1));
    assert_eq!(guest.run(1, CODE).0, 1);
    assert_eq!(guest.run(0, CODE).0, 5);
}

#[test]
fn the_lower_half_is_not_shared() {
    let mut guest = Guest::new();
    const LOWER: u64 = 1 << 30 | 0x5000;
    let at = |space: usize| TABLES[space] + 0x1000;
    (0..2).for_each(|space| guest.f.put(at(space), pte(TABLES[space] + 0x2000, 1)));
    guest.run(0, CODE);
    let (x10, _, shared) = guest.run(0, LOWER);
    assert_eq!((x10, shared), (1, false));
    // Fences do not bring it back.
    guest.fence(None, None);
    assert_eq!(guest.run(0, LOWER), (1, guest.f.cpu.cpu().code.number(), false));
    assert!(guest.run(1, CODE).2);
    // What was found on the way out is known to be there.
    let mut guest = Guest::new();
    (0..2).for_each(|space| guest.f.put(at(space), pte(TABLES[space] + 0x2000, 1)));
    assert_eq!(guest.run(0, LOWER).0, 1);
    guest.map(0, LOWER, TWO, ALL);
    guest.fence(Some(LOWER), None);
    assert_eq!(guest.run(0, LOWER).0, 2);
}
