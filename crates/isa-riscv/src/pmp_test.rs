//! Physical memory protection against the manual's section of that name.

use crate::AccessKind::{Fetch, Load, Store};
use crate::{Mode, PageVerdict, Pmp, PmpStretch};

const OFF: u64 = 0;
const TOR: u64 = 1 << 3;
const NA4: u64 = 2 << 3;
const NAPOT: u64 = 3 << 3;
const RWX: u64 = 7;
const L: u64 = 0x80;

fn pmp(entries: &[(u64, u64)]) -> Pmp {
    let mut pmp = Pmp::new(16);
    let mut cfg = 0;
    for (i, &(byte, addr)) in entries.iter().enumerate() {
        pmp.set_addr(i as u8, addr);
        cfg |= byte << (8 * i);
    }
    pmp.set_cfg_register(0, cfg);
    pmp
}

fn ok(pmp: &Pmp, pa: u64, size: u64) -> bool {
    pmp.check(pa, size, Load, Mode::S)
}

/// "If no PMP entry matches": M-mode succeeds; others fail if any entry is implemented.
#[test]
fn no_match() {
    for entries in [0, 16] {
        let pmp = Pmp::new(entries);
        assert!(pmp.check(0, 8, Store, Mode::M));
        assert_eq!(pmp.check(0, 8, Load, Mode::S), entries == 0);
        assert_eq!(pmp.check(0, 8, Load, Mode::U), entries == 0);
    }
}

/// Table "NAPOT range encoding": trailing ones give the size; NA4 is four bytes.
#[test]
fn address_matching() {
    for (byte, addr, first, size) in [
        (NA4, 0x1000 >> 2, 0x1000, 4),
        (NAPOT, 0x1000 >> 2, 0x1000, 8),
        (NAPOT, 0x1000 >> 2 | 1, 0x1000, 16),
        (NAPOT, 0x1000 >> 2 | 3, 0x1000, 32),
        (NAPOT, 0x8000_0000 >> 2 | 0x1fff, 0x8000_0000, 0x10000),
        (TOR, 0x1000 >> 2, 0, 0x1000),
    ] {
        let pmp = pmp(&[(byte | RWX, addr)]);
        assert!(ok(&pmp, first, 4) && ok(&pmp, first + size - 4, 4));
        assert!(!ok(&pmp, first + size, 4));
        assert!(first == 0 || !ok(&pmp, first - 4, 4));
    }
    let all = pmp(&[(NAPOT | RWX, !0)]);
    assert_eq!(all.addr(0), (1 << 54) - 1);
    assert!(ok(&all, 0, 8) && ok(&all, (1 << 56) - 8, 8));
    // TOR matches from the entry before; if that is not below, nothing.
    let tor = pmp(&[(OFF, 0x400), (TOR | RWX, 0x800), (TOR | RWX, 0x800)]);
    assert!(!ok(&tor, 0xffc, 4) && ok(&tor, 0x1000, 8) && ok(&tor, 0x1ffc, 4));
    assert!(!ok(&tor, 0x2000, 4));
}

/// "The lowest-numbered entry that matches any byte determines"; it must match all bytes. The
/// manual's example: 0xC to 0xF against an 8-byte access at 0x8.
#[test]
fn priority_and_partial_match() {
    let pmp = pmp(&[(NA4 | RWX, 0xc >> 2), (NAPOT | RWX, !0)]);
    assert!(!ok(&pmp, 8, 8) && ok(&pmp, 8, 4) && ok(&pmp, 0xc, 4) && ok(&pmp, 0x10, 8));
    assert!(!pmp.check(8, 8, Load, Mode::M)); // irrespective of L
    let deny = self::pmp(&[(NAPOT, 0x1000 >> 2 | 0x1ff), (NAPOT | RWX, !0)]);
    assert!(!ok(&deny, 0x1ff8, 8) && ok(&deny, 0x2000, 8));
}

/// R, W, X for S and U always, for M only if locked.
#[test]
fn permissions() {
    for bits in [0, 1, 3, 4, 5, 7] {
        for lock in [0, L] {
            let pmp = pmp(&[(NAPOT | bits | lock, !0)]);
            for (kind, bit) in [(Load, 1), (Store, 2), (Fetch, 4)] {
                assert_eq!(pmp.check(0, 4, kind, Mode::U), bits & bit != 0);
                assert_eq!(pmp.check(0, 4, kind, Mode::S), bits & bit != 0);
                assert_eq!(pmp.check(0, 4, kind, Mode::M), bits & bit != 0 || lock == 0);
            }
        }
    }
}

/// "Locking and Privilege Mode": L keeps cfg and addr, even with A off, and under TOR also the
/// address before. W without R is reserved and bits 6:5 are 0.
#[test]
fn locking_and_warl() {
    let mut locked = pmp(&[(NAPOT | RWX, 5), (TOR | L, 6), (L, 7), (0, 8)]);
    assert!(!locked.set_addr(0, 1) && !locked.set_addr(1, 1) && !locked.set_addr(2, 1));
    assert!(locked.set_addr(3, 1));
    assert!(locked.set_cfg_register(0, 0));
    assert_eq!(locked.cfg_register(0), (L << 16) | ((TOR | L) << 8));
    let mut free = Pmp::new(16);
    free.set_cfg_register(2, !0);
    assert_eq!(free.cfg_register(2), 0x9f9f_9f9f_9f9f_9f9f);
    free.set_cfg_register(0, 0x7e_62_06_02);
    assert_eq!(free.cfg_register(0), 0x1c_00_04_00);
    // Entries that are not there read 0.
    free.set_cfg_register(4, !0);
    free.set_addr(16, !0);
    assert_eq!((free.cfg_register(4), free.addr(16)), (0, 0));
}

#[test]
fn page_verdicts() {
    let pmp = pmp(&[(NA4 | RWX, 0x1000 >> 2), (NAPOT | 1, 0x2000 >> 2 | 0x1ff), (TOR | RWX, 0x4000 >> 2)]);
    let verdict = |page, kind, mode| pmp.page_verdict(page, kind, mode);
    assert_eq!(verdict(0x1000, Load, Mode::S), PageVerdict::Mixed);
    assert_eq!(verdict(0x2000, Load, Mode::S), PageVerdict::All);
    assert_eq!(verdict(0x2000, Store, Mode::S), PageVerdict::None);
    assert_eq!(verdict(0x2000, Store, Mode::M), PageVerdict::All);
    assert_eq!(verdict(0x3000, Store, Mode::S), PageVerdict::All);
    assert_eq!(verdict(0x4000, Load, Mode::U), PageVerdict::None);
    assert_eq!(verdict(0x4000, Load, Mode::M), PageVerdict::All);
}

/// A verdict about a page is what every access inside it gets.
#[test]
fn verdict_agrees_with_check() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed >> 33
    };
    for _ in 0..2000 {
        let entries: [(u64, u64); 4] = core::array::from_fn(|_| (random() & 0x9f, random() & 0x1fff));
        let pmp = pmp(&entries);
        let (page, mode) = ((random() % 9) << 12, [Mode::U, Mode::S, Mode::M][random() as usize % 3]);
        for kind in [Fetch, Load, Store] {
            let verdict = pmp.page_verdict(page, kind, mode);
            let mut words = (0..1024).map(|i| pmp.check(page + 4 * i, 4, kind, mode));
            match verdict {
                PageVerdict::All => assert!(words.all(|ok| ok)),
                PageVerdict::None => assert!(words.all(|ok| !ok)),
                PageVerdict::Mixed => {}
            }
            let at = page + 4 * (random() % 1024);
            let stretch = pmp.stretch(at);
            assert_eq!(stretch.allows(kind, mode), pmp.check(at, 4, kind, mode));
            if stretch.holds_page(at) {
                assert!(
                    (0..1024).all(|i| pmp.check(page + 4 * i, 4, kind, mode) == stretch.allows(kind, mode))
                );
                assert_ne!(verdict, PageVerdict::Mixed);
            }
        }
    }
}

#[test]
fn a_stretch_ends_where_another_entry_begins() {
    // The firmware's megabyte for nobody else, everything else for everybody.
    let pmp = pmp(&[(NAPOT, 0x8000_0000 >> 2 | 0x1ffff), (NAPOT | RWX, u64::MAX >> 10)]);
    let above = pmp.stretch(0x8765_4321);
    assert!(
        above.holds_page(0x8010_0000) && above.holds_page(0xff_ffff_ffff) && !above.holds_page(0x800f_ffff)
    );
    assert!(above.allows(Store, Mode::S));
    let inside = pmp.stretch(0x8000_0000);
    assert!(
        inside.holds_page(0x800f_ffff) && !inside.holds_page(0x8010_0000) && !inside.holds_page(0x7fff_ffff)
    );
    assert!(!inside.allows(Load, Mode::S) && inside.allows(Load, Mode::M));
    assert!(!PmpStretch::NONE.holds_page(0) && !PmpStretch::NONE.holds_page(u64::MAX));
    // Without entries everybody may do everything, with some that are off only M-mode.
    assert!(Pmp::new(0).stretch(0).allows(Store, Mode::U) && Pmp::new(0).stretch(0).holds_page(u64::MAX));
    assert!(!Pmp::new(16).stretch(0).allows(Load, Mode::S) && Pmp::new(16).stretch(0).allows(Load, Mode::M));
}
