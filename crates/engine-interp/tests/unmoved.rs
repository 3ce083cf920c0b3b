//! Fences of whole address spaces: code that is still where it was need not be found again, and nothing else is kept.

mod fixture;

use engine_core::{Hosted, Vcpu};
use fixture::*;

const CODE: u64 = 0x5000;
const DATA: u64 = 0x6000;
const ONE: u64 = RAM + 0xb_0000;
const TWO: u64 = RAM + 0xb_1000;
const THREE: u64 = RAM + 0xb_2000;
const FOUR: u64 = RAM + 0xb_3000;
/// Where [`Fixture::translate`] has its tables, and others like them.
const MIDDLE: u64 = RAM + 0xa_1000;
const LEAVES: u64 = RAM + 0xa_2000;
const OTHER: u64 = RAM + 0xa_3000;
/// Instructions that make a look at the page tables worth while.
const LONG: u64 = 1000;

fn pte(at: u64, bits: u64) -> u64 {
    at >> 12 << 10 | bits
}

/// A page of code that sets x10 and loads x11 from another page, run for a while.
struct Guest {
    f: Fixture,
    code: u64,
    data: u64,
}

impl Guest {
    fn new() -> Guest {
        let mut f = Fixture::running(&[]);
        let (code, data) = (f.translate(CODE, ONE), f.translate(DATA, THREE));
        for (at, n) in [(ONE, 1), (TWO, 2)] {
            f.code(at, &[addi(10, 0, n), load(3, 11, 6), LOOP]);
        }
        f.put(THREE, 333);
        f.put(FOUR, 444);
        f.put(code - LEAVES + OTHER, pte(TWO, 0xcf));
        f.put(data - LEAVES + OTHER, pte(THREE, 0xcf));
        f.set(|hart| (hart.pc, hart.x[6]) = (CODE, DATA));
        f.run(LONG);
        assert_eq!(f.hart().x[10..12], [1, 333]);
        Guest { f, code, data }
    }

    fn context(&self) -> u64 {
        self.f.cpu.cpu().code.number()
    }

    /// Fences, and says whether the context of code is the same one.
    fn keeps(&mut self, asid: Option<u16>) -> bool {
        let before = self.context();
        self.f.cpu.flush_translations(None, asid);
        self.context() == before
    }

    /// Runs the page of code again; gives what it finds.
    fn again(&mut self) -> (u64, u64) {
        self.f.cpu.answer(&mut |hart| (hart.pc, hart.x[10], hart.x[11]) = (CODE, 0, 0));
        self.f.run(3);
        (self.f.hart().x[10], self.f.hart().x[11])
    }
}

#[test]
fn code_that_is_where_it_was_is_kept_and_data_is_not() {
    let mut guest = Guest::new();
    guest.f.put(guest.data, pte(FOUR, 0xcf));
    assert!(guest.keeps(None));
    assert_eq!(guest.again(), (1, 444));
    guest.f.run(LONG);
    guest.f.put(guest.data, pte(THREE, 0xcf));
    assert!(guest.keeps(Some(0)));
    assert_eq!(guest.again(), (1, 333));
}

#[test]
fn code_that_has_moved_is_found_where_it_is() {
    let mut guest = Guest::new();
    guest.f.put(guest.code, pte(TWO, 0xcf));
    assert!(!guest.keeps(None));
    assert_eq!(guest.again(), (2, 333));
    // By another table.
    let mut guest = Guest::new();
    guest.f.put(MIDDLE, pte(OTHER, 1));
    assert!(!guest.keeps(None));
    assert_eq!(guest.again(), (2, 333));
    // By another table in which it is the same: what is not the same must be seen.
    let mut guest = Guest::new();
    guest.f.put(guest.code - LEAVES + OTHER, pte(ONE, 0xcf));
    guest.f.put(guest.data - LEAVES + OTHER, pte(FOUR, 0xcf));
    guest.f.put(LEAVES + 8 * 7, pte(ONE, 0xcf));
    guest.f.put(OTHER + 8 * 7, pte(TWO, 0xcf));
    guest.f.put(MIDDLE, pte(OTHER, 1));
    assert!(guest.keeps(None));
    assert_eq!(guest.again(), (1, 444));
    // Code that was not run before.
    guest.f.cpu.answer(&mut |hart| hart.pc = 0x7000);
    guest.f.run(1);
    assert_eq!(guest.f.hart().x[10], 2);
}

/// No longer valid, not to be executed, for another privilege mode, not accessed.
#[test]
fn code_that_may_not_be_fetched_any_more_is_not() {
    for bits in [0xce, 0xc7, 0xdf, 0x8f] {
        let mut guest = Guest::new();
        guest.f.put(guest.code, pte(ONE, bits));
        assert!(!guest.keeps(None), "{bits:#x}");
        assert_eq!(guest.again(), (0, 0), "{bits:#x}");
        assert_eq!(guest.f.trap(), (12, CODE, CODE), "{bits:#x}");
        assert_eq!(guest.f.get(guest.code), pte(ONE, bits), "a look changes nothing");
    }
    // Where the walk sets the A bit, it does so when the code is run.
    let mut guest = Guest::new();
    guest.f.set(|hart| hart.csr.menvcfg |= 1 << 61);
    guest.f.run(LONG);
    guest.f.put(guest.code, pte(ONE, 0x8f));
    assert!(!guest.keeps(None));
    assert_eq!(guest.f.get(guest.code), pte(ONE, 0x8f));
    assert_eq!(guest.again(), (1, 333));
    assert_eq!(guest.f.get(guest.code), pte(ONE, 0xcf));
}

/// It would take longer than to find the code again.
#[test]
fn fences_one_after_the_other_are_not_looked_behind() {
    let mut guest = Guest::new();
    assert!(guest.keeps(None));
    assert!(!guest.keeps(None));
    assert_eq!(guest.again(), (1, 333));
}

#[test]
fn what_another_address_space_has_is_forgotten() {
    let mut guest = Guest::new();
    let (satp, before) = (guest.f.hart().csr.satp, guest.context());
    // The same tables under another ASID, and none of it is run.
    guest.f.cpu.answer(&mut |hart| hart.csr.satp |= 1 << 44);
    guest.f.cpu.flush_translations(None, None);
    guest.f.put(guest.code, pte(TWO, 0xcf));
    guest.f.cpu.answer(&mut |hart| hart.csr.satp = satp);
    assert_ne!(guest.context(), before);
    assert_eq!(guest.again(), (2, 333));
}

/// PMP that lets only a part of a page be executed: what was found there is not known page by page.
#[test]
fn code_in_a_page_of_mixed_rights_is_forgotten() {
    let mut guest = Guest::new();
    guest.f.set(|hart| {
        // Top of range below the end of the page, executable; nothing behind it but what entry 2 allows.
        hart.csr.pmp.set_addr(0, (ONE + 0x100) >> 2);
        hart.csr.pmp.set_addr(1, (ONE + 0x1000) >> 2);
        hart.csr.pmp.set_addr(2, u64::MAX >> 10);
        hart.csr.pmp.set_cfg_register(0, 0x1f_08_0f);
        hart.pc = CODE;
    });
    guest.f.run(LONG);
    assert_eq!(guest.f.hart().x[10..12], [1, 333]);
    guest.f.put(guest.code, pte(TWO, 0xcf));
    assert!(!guest.keeps(None));
    assert_eq!(guest.again(), (2, 333));
}
