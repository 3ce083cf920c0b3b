//! Translation and protection: what is remembered, and what must not be.

mod fixture;

use engine_core::{Hosted, Vcpu};
use fixture::*;
use isa_riscv::Mode;

/// `fence.i` makes every block compare itself with memory, also when the numbers of contexts start
/// again with it.
#[test]
fn no_block_outlives_a_fence_i_however_many_there_are() {
    for fences in 4088..4100 {
        let mut f = Fixture::running(&[]);
        for round in 1..4 {
            f.code(RAM, &[addi(10, 0, round)]);
            (0..fences).for_each(|_| f.cpu.flush_code());
            f.cpu.answer(&mut |hart| hart.pc = RAM);
            f.run(1);
            assert_eq!(f.hart().x[10], round as u64, "{fences} fences");
        }
    }
}

/// `sfence.vma` with an address drops the translation of that page, whenever it was made.
#[test]
fn no_translation_outlives_its_fence_however_many_contexts_there_were() {
    let (virt, one, two) = (0x5000, RAM + 0xb_0000, RAM + 0xb_1000);
    // ld a0; change the PTE; sfence.vma; ld a1, all after a fence.i
    let program = [FENCE_I, load(3, 10, 5), store(3, 6, 7), sfence_vma(5, 0), load(3, 11, 5)];
    for fences in 4080..4100 {
        let mut f = Fixture::running(&program);
        let pte = f.translate(virt, one);
        f.put(one, 111);
        f.put(two, 222);
        f.set(|hart| {
            hart.x[5] = virt;
            hart.x[6] = two >> 12 << 10 | 0xcf;
            hart.x[7] = pte;
        });
        (0..fences).for_each(|_| f.cpu.flush_code());
        f.run(5);
        assert_eq!((f.hart().x[10], f.hart().x[11]), (111, 222), "{fences} fences");
    }
}

/// PMP has a grain of four bytes: what follows an allowed instruction in its page may be forbidden
/// ("Physical Memory Protection"), and M-mode having run it changes nothing.
#[test]
fn pmp_stops_a_fetch_in_the_middle_of_a_page() {
    let mut f = Fixture::running(&[NOP; 8]);
    f.run(8);
    f.set(|hart| {
        hart.pc = RAM;
        hart.mode = Mode::S;
        // Top of range: the first eight bytes, executable.
        hart.csr.pmp.set_addr(0, (RAM + 8) >> 2);
        hart.csr.pmp.set_cfg_register(0, 0x0c);
    });
    f.run(3);
    assert_eq!(f.trap(), (1, RAM + 8, RAM + 8));
    assert_eq!(f.hart().csr.minstret(f.cpu.retired()), 8 + 3);
}

/// `mtval` is the address of the part of the instruction that could not be fetched ("mtval").
#[test]
fn pmp_stops_the_second_half_of_an_instruction() {
    let mut f = Fixture::running(&[]);
    // c.nop, then a nop of four bytes at 2.
    f.code(RAM, &[0x0013_0001, 0]);
    f.set(|hart| {
        hart.mode = Mode::S;
        hart.csr.pmp.set_addr(0, (RAM + 4) >> 2);
        hart.csr.pmp.set_cfg_register(0, 0x0c);
    });
    f.run(2);
    assert_eq!(f.trap(), (1, RAM + 2, RAM + 4));
}

/// The same for loads and stores: all bytes are checked, nothing is stored, and `mtval` names the part
/// that faulted.
#[test]
fn a_misaligned_access_is_checked_to_its_last_byte() {
    let data = RAM + 0xb_0000;
    for (insn, cause) in [(load(3, 10, 5), 5), (store(3, 6, 5), 7)] {
        let mut f = Fixture::running(&[insn]);
        f.set(|hart| {
            hart.mode = Mode::S;
            hart.x[5] = data - 4;
            hart.x[6] = u64::MAX;
            hart.csr.pmp.set_addr(0, data >> 2);
            hart.csr.pmp.set_cfg_register(0, 0x0f);
        });
        f.run(1);
        assert_eq!(f.trap(), (cause, RAM, data));
        f.set(|hart| {
            (hart.mode, hart.pc, hart.x[5]) = (Mode::S, RAM, data - 1);
            hart.csr.pmp.set_addr(0, (data + 4) >> 2);
        });
        f.run(1);
        assert_eq!(f.trap(), (cause, RAM, data), "the part in the second page");
        assert_eq!((f.get(data - 8), f.get(data)), (0, 0));
    }
}

#[test]
fn a_page_fault_of_the_second_page_names_it_and_stores_nothing() {
    let mut f = Fixture::running(&[store(3, 6, 5)]);
    f.translate(0x5000, RAM + 0xb_0000);
    f.set(|hart| {
        hart.x[5] = 0x5ffd;
        hart.x[6] = u64::MAX;
    });
    f.run(1);
    assert_eq!(f.trap(), (15, RAM, 0x6000));
    assert_eq!(f.get(RAM + 0xb_0ff8), 0);
}

#[test]
fn memory_around_a_device_in_its_page_is_memory() {
    let mut f = Fixture::running(&[amoadd_d(10, 5, 6), load(3, 11, 7), amoadd_d(12, 8, 6)]);
    f.put(MIXED, 40);
    f.put(MIXED + 8, 0x0807_0605_0403_0201);
    f.set(|hart| {
        (hart.x[5], hart.x[6], hart.x[7], hart.x[8]) = (MIXED, 2, MIXED + 9, MIXED + 0x800);
    });
    f.run(3);
    assert_eq!((f.hart().x[10], f.get(MIXED)), (40, 42));
    assert_eq!(f.hart().x[11], 0x08_0706_0504_0302);
    // An AMO on a device is a store/AMO access fault.
    assert_eq!(f.trap(), (7, RAM + 8, MIXED + 0x800));
}

/// Two pages of one region of 2 MiB: the walk for the second takes its last step only.
struct Neighbours {
    f: Fixture,
    /// Where their PTEs are.
    ptes: [u64; 2],
}

const FIRST: u64 = 0x5000;
const SECOND: u64 = 0x6000;
const ONE: u64 = RAM + 0xb_0000;
const TWO: u64 = RAM + 0xb_1000;
/// Where [`Fixture::translate`] has its tables.
const MIDDLE: u64 = RAM + 0xa_1000;
const LEAVES: u64 = RAM + 0xa_2000;
/// Another table of the lowest level, where both pages are [`TWO`].
const OTHER: u64 = RAM + 0xa_3000;

fn pointer(table: u64) -> u64 {
    table >> 12 << 10 | 1
}
fn page(at: u64, bits: u64) -> u64 {
    at >> 12 << 10 | bits
}

impl Neighbours {
    /// Both are [`ONE`]; x5 and x6 have their addresses. Memory at [`ONE`] is 111, at [`TWO`] 222.
    fn running(program: &[u32]) -> Neighbours {
        let mut f = Fixture::running(program);
        let ptes = [f.translate(FIRST, ONE), f.translate(SECOND, ONE)];
        for at in ptes {
            f.put(at - LEAVES + OTHER, page(TWO, 0xcf));
        }
        f.put(ONE, 111);
        f.put(TWO, 222);
        f.set(|hart| (hart.x[5], hart.x[6]) = (FIRST, SECOND));
        Neighbours { f, ptes }
    }
}

/// Only pointers may be remembered: a PTE is looked at when its page is first touched.
#[test]
fn a_known_region_tells_nothing_of_its_pages() {
    let mut n = Neighbours::running(&[load(3, 10, 5), load(3, 11, 6), load(3, 12, 6)]);
    n.f.run(1);
    n.f.put(n.ptes[1], page(TWO, 0xcf));
    n.f.run(1);
    assert_eq!((n.f.hart().x[10], n.f.hart().x[11]), (111, 222));
    // Whatever is wrong with a PTE is wrong in a known region too.
    for (bits, fault) in [
        (0, true),
        (0xce, true),
        (0xc5, true),
        (0x8f, true),
        (0xdf, true),
        (0xc9, true),
        (0xcb, false),
        (0x4f, false),
    ] {
        let mut n = Neighbours::running(&[load(3, 10, 5), load(3, 11, 6)]);
        n.f.run(1);
        n.f.put(n.ptes[1], page(TWO, bits));
        n.f.run(1);
        let seen = if fault { (13, RAM + 4, SECOND) } else { (0, 0, 0) };
        assert_eq!(n.f.trap(), seen, "{bits:#x}");
    }
}

#[test]
fn a_store_into_a_known_region_needs_a_dirty_pte_or_makes_it_so() {
    for hardware in [false, true] {
        let mut n = Neighbours::running(&[load(3, 10, 5), store(3, 5, 6), store(3, 5, 6)]);
        n.f.put(n.ptes[1], page(TWO, 0x0f));
        if hardware {
            n.f.set(|hart| hart.csr.menvcfg |= 1 << 61);
        }
        n.f.run(2);
        let seen = if hardware { (0, 0, 0) } else { (15, RAM + 4, SECOND) };
        assert_eq!(n.f.trap(), seen);
        assert_eq!(n.f.get(n.ptes[1]), page(TWO, if hardware { 0xcf } else { 0x0f }));
    }
}

/// Every fence drops what is known of a region, though one with an address need not ("sfence.vma": it orders what is made
/// of leaf entries only).
#[test]
fn no_region_outlives_a_fence() {
    for fence in [sfence_vma(0, 0), sfence_vma(6, 0), sfence_vma(5, 0)] {
        let mut n = Neighbours::running(&[load(3, 10, 5), fence, load(3, 11, 6)]);
        n.f.run(1);
        n.f.put(MIDDLE, pointer(OTHER));
        n.f.run(2);
        assert_eq!((n.f.hart().x[10], n.f.hart().x[11]), (111, 222), "{fence:#x}");
    }
    // Whatever the number of contexts there were meanwhile: tags are used again.
    for fences in (505..520).chain(1..3) {
        let mut n = Neighbours::running(&[load(3, 10, 5), load(3, 11, 6)]);
        n.f.run(1);
        n.f.put(MIDDLE, pointer(OTHER));
        (0..fences).for_each(|_| n.f.cpu.flush_translations(None, None));
        n.f.run(1);
        assert_eq!((n.f.hart().x[10], n.f.hart().x[11]), (111, 222), "{fences} fences");
    }
}

#[test]
fn an_address_space_has_its_own_regions() {
    let mut n = Neighbours::running(&[
        load(3, 10, 5),
        csrw(0x180, 7),
        load(3, 11, 6),
        csrw(0x180, 8),
        load(3, 12, 6),
    ]);
    let (root, middle) = (RAM + 0xa_4000, RAM + 0xa_5000);
    n.f.put(root, pointer(middle));
    n.f.put(root + 8 * 2, page(RAM, 0xcf));
    n.f.put(middle, pointer(OTHER));
    n.f.set(|hart| {
        hart.x[7] = 8 << 60 | 1 << 44 | root >> 12;
        hart.x[8] = hart.csr.satp;
    });
    n.f.run(5);
    assert_eq!(n.f.hart().x[10..13], [111, 222, 111]);
}

/// A page of 2 MiB, then a table in its place.
#[test]
fn a_large_page_may_be_split() {
    let mut n = Neighbours::running(&[load(3, 10, 5), load(3, 11, 6), sfence_vma(0, 0), load(3, 12, 5)]);
    // RAM is not a large page's multiple of 2 MiB only by chance: FIRST is at RAM + FIRST.
    n.f.put(MIDDLE, page(RAM, 0xcf));
    n.f.put(RAM + FIRST, 333);
    n.f.run(1);
    n.f.put(MIDDLE, pointer(OTHER));
    n.f.run(3);
    assert_eq!(n.f.hart().x[10..13], [333, 222, 222]);
}

/// PMP entries that change take with them what is known of tables and of pages.
#[test]
fn no_verdict_outlives_a_change_of_pmp() {
    const LOCKED_OUT: u64 = 0x1f_18;
    // The first entry forbids a page, the second allows everything.
    for (forbidden, cause) in [(LEAVES, 5), (TWO, 5), (ONE, 5), (RAM + 0xc_0000, 0)] {
        for changed_by_csr in [false, true] {
            // M-mode whose loads are S-mode's (MPRV, MPP).
            let mut n =
                Neighbours::running(&[load(3, 10, 5), csrw(0x3b0, 7), csrw(0x3a0, 8), load(3, 11, 6)]);
            n.f.put(n.ptes[1], page(TWO, 0xcf));
            if forbidden == ONE {
                n.f.put(n.ptes[1], page(ONE, 0xcf));
            }
            n.f.set(|hart| {
                hart.mode = Mode::M;
                hart.csr.mstatus |= 1 << 17 | 1 << 11;
                hart.csr.pmp.set_addr(1, u64::MAX >> 10);
                (hart.x[7], hart.x[8]) = (forbidden >> 2 | 0x1ff, LOCKED_OUT);
            });
            n.f.run(1);
            if changed_by_csr {
                n.f.run(3);
            } else {
                n.f.set(|hart| {
                    hart.csr.pmp.set_addr(0, forbidden >> 2 | 0x1ff);
                    hart.csr.pmp.set_cfg_register(0, LOCKED_OUT);
                    hart.pc += 8;
                });
                n.f.run(1);
            }
            assert_eq!(n.f.hart().x[10], 111);
            assert_eq!(n.f.trap().0, cause, "{forbidden:#x} {changed_by_csr}");
        }
    }
}
