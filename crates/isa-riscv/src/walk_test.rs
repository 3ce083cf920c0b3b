//! The page-table walk against "Virtual Address Translation Process", Svnapot, Svpbmt, Svade, Svadu.

use std::collections::HashMap;

use crate::AccessKind::{self, Fetch, Load, Store};
use crate::{AccessFault, Exception, Mode, Pbmt, PteMemory, WalkContext, WalkFault, walk, walk_leaf};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const U: u64 = 16;
const G: u64 = 32;
const A: u64 = 64;
const D: u64 = 128;
const N: u64 = 1 << 63;
const ROOT: u64 = 0x8000_0000;

#[derive(Default)]
struct Tables {
    ptes: HashMap<u64, u64>,
    /// Reads of this PTE fault.
    no_read: Option<u64>,
    no_write: bool,
    /// What another hart stores to the PTE just before it is exchanged.
    race: Option<u64>,
    reads: u32,
}

impl PteMemory for Tables {
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault> {
        self.reads += 1;
        assert_eq!(pa % 8, 0);
        if self.no_read == Some(pa) {
            return Err(AccessFault);
        }
        Ok(self.ptes.get(&pa).copied().unwrap_or(0))
    }

    fn compare_exchange_pte(&mut self, pa: u64, old: u64, new: u64) -> Result<bool, AccessFault> {
        if self.no_write {
            return Err(AccessFault);
        }
        if let Some(other) = self.race.take() {
            self.ptes.insert(pa, other);
        }
        let found = self.ptes.get_mut(&pa).filter(|pte| **pte == old);
        Ok(found.map(|pte| *pte = new).is_some())
    }
}

fn context(levels: u64) -> WalkContext {
    WalkContext {
        satp: (5 + levels) << 60 | 7 << 44 | ROOT >> 12,
        mode: Mode::S,
        sum: false,
        mxr: false,
        adue: false,
        pbmte: true,
        napot: true,
    }
}

/// Tables of `levels` levels that lead `va` to `pte` at `level`.
fn tables(levels: u64, level: u64, va: u64, pte: u64) -> Tables {
    let mut tables = Tables::default();
    let mut table = ROOT;
    for l in (level..levels).rev() {
        let slot = table + (va >> (12 + 9 * l) & 0x1ff) * 8;
        table = ROOT + (levels - l) * 0x1000;
        let entry = if l == level { pte } else { table >> 12 << 10 | V };
        tables.ptes.insert(slot, entry);
    }
    tables
}

fn one(context: &WalkContext, pte: u64, access: AccessKind) -> Result<u64, WalkFault> {
    let va = 0x12_3456_7abc;
    walk(&mut tables(3, 0, va, pte), context, va, access).map(|t| t.pa)
}

const PAGE: u64 = 0x4_4444 << 10;

/// All sizes of Sv39, Sv48, Sv57: the PTEs used, the offset, and the size; a superpage with low PPN
/// bits set is misaligned (step 5).
#[test]
fn every_level() {
    for levels in 3..=5u64 {
        for level in 0..levels {
            let va = 0x0034_5678_9abc_def0 & ((1 << (11 + 9 * levels)) - 1);
            let bits = 12 + 9 * level;
            let base = 0x00ab_cdef_0123_4000 >> bits << bits;
            let pte = base >> 12 << 10 | V | R | A;
            let mut memory = tables(levels, level, va, pte);
            let t = walk(&mut memory, &context(levels), va, Load).unwrap();
            assert_eq!(t.pa, base | va & ((1 << bits) - 1));
            assert_eq!(u64::from(t.page_bits), bits);
            assert_eq!(t.pte_addresses().len() as u64, levels - level);
            assert_eq!(memory.reads as usize, t.pte_addresses().len());
            assert!(t.pte_addresses().iter().all(|pa| memory.ptes.contains_key(pa)));
            assert!(t.readable && !t.writable && !t.executable && !t.global && !t.user);
            for low in 0..9 * level {
                let mut memory = tables(levels, level, va, pte | 1 << (10 + low));
                let result = walk(&mut memory, &context(levels), va, Load);
                assert_eq!(result, Err(WalkFault::Page));
            }
        }
        // A pointer at level 0: i < 0 in step 4.
        let result = walk(&mut tables(levels, 0, 0, PAGE | V), &context(levels), 0, Load);
        assert_eq!(result, Err(WalkFault::Page));
    }
}

/// Bits above the highest VPN bit all equal it ("Sv39", addressing), before any table is read.
#[test]
fn canonical_addresses() {
    for (levels, good, bad) in [(3, !0u64 << 38, 1 << 38), (4, !0 << 47, 1 << 47), (5, !0 << 56, 1 << 56)] {
        let mut memory = tables(levels, 0, good, PAGE | V | R | A);
        assert!(walk(&mut memory, &context(levels), good, Load).is_ok());
        memory.reads = 0;
        for va in [bad, good ^ 1 << 63, 1 << 63] {
            let result = walk(&mut memory, &context(levels), va, Load);
            assert_eq!((result, memory.reads), (Err(WalkFault::Page), 0));
        }
    }
}

/// Bare and M-mode: no translation.
#[test]
fn untranslated() {
    let mut memory = Tables::default();
    let bare = WalkContext { satp: ROOT >> 12, ..context(3) };
    let machine = WalkContext { mode: Mode::M, ..context(3) };
    for context in [bare, machine] {
        let t = walk(&mut memory, &context, !0, Fetch).unwrap();
        assert_eq!((t.pa, t.page_bits, t.visited), (!0, 64, 0));
    }
}

/// Steps 3, 6, 8, 9 for every combination of the low eight bits, mode, SUM, MXR, ADUE and access,
/// each condition as the manual words it.
#[test]
#[allow(clippy::nonminimal_bool, reason = "as the manual words it")]
fn low_bits() {
    for case in 0..1u32 << 13 {
        let flag = |bit: u32| case >> bit & 1 != 0;
        let low = u64::from(case & 0xff);
        let context = WalkContext {
            mode: if flag(8) { Mode::U } else { Mode::S },
            sum: flag(9),
            mxr: flag(10),
            adue: flag(11),
            ..context(3)
        };
        let has = |bit: u64| low & bit != 0;
        for access in [Fetch, Load, Store] {
            let valid = has(V) && !(has(W) && !has(R)) && (has(R) || has(X));
            let user_ok = match context.mode {
                Mode::U => has(U),
                _ => !has(U) || (context.sum && access != Fetch),
            };
            let allowed = match access {
                Fetch => has(X),
                Load => has(R) || (context.mxr && has(X)),
                Store => has(W),
            };
            let fresh = has(A) && (has(D) || access != Store);
            let expected = valid && user_ok && allowed && (fresh || context.adue);
            let va = 0x1000;
            let mut memory = tables(3, 0, va, PAGE | low);
            let result = walk(&mut memory, &context, va, access);
            assert_eq!(result.is_ok(), expected, "{low:#x} {context:?} {access:?}");
            let after = memory.ptes[&(ROOT + 0x2008)];
            let update = if access == Store { A | D } else { A };
            let updated = if expected { low | update } else { low };
            assert_eq!(after, PAGE | updated);
            if let Ok(t) = result {
                // What the TLB may keep: each kind of access that would now change nothing.
                let now = |kind| {
                    let context = WalkContext { adue: false, ..context };
                    walk(&mut tables(3, 0, va, after), &context, va, kind).is_ok()
                };
                let kept = [t.executable, t.readable, t.writable];
                assert_eq!(kept, [Fetch, Load, Store].map(now));
                assert_eq!((t.user, t.global), (has(U), has(G)));
            }
        }
    }
}

/// Bits 60:54 are reserved; PBMT needs PBMTE and is never 3; N needs Svnapot, level 0 and low PPN bits
/// 1000 ("Svnapot", table of encodings).
#[test]
fn high_bits() {
    let all = context(3);
    let leaf = PAGE | V | R | A;
    for bit in 54..=60 {
        assert_eq!(one(&all, leaf | 1 << bit, Load), Err(WalkFault::Page));
    }
    let off = WalkContext { pbmte: false, ..all };
    for (pbmt, kind) in [(1, Some(Pbmt::Nc)), (2, Some(Pbmt::Io)), (3, None)] {
        let va = 0x5000;
        let result = walk(&mut tables(3, 0, va, leaf | pbmt << 61), &all, va, Load);
        assert_eq!(result.ok().map(|t| t.pbmt), kind);
        assert_eq!(one(&off, leaf | pbmt << 61, Load), Err(WalkFault::Page));
    }
    for nibble in 0..16u64 {
        let pte = N | 0x44440 << 10 | nibble << 10 | V | R | A;
        let expected = if nibble == 8 { Ok(0x4444_7abc) } else { Err(WalkFault::Page) };
        assert_eq!(one(&all, pte, Load), expected.map(|pa: u64| pa & 0xffff | 0x4444_0000));
    }
    let none = WalkContext { napot: false, ..all };
    assert_eq!(one(&none, N | 0x44448 << 10 | V | R | A, Load), Err(WalkFault::Page));
    let mut large = tables(3, 1, 0, N | 1 << 13 | V | R | A);
    assert_eq!(walk(&mut large, &all, 0, Load), Err(WalkFault::Page));
    let mut napot = tables(3, 0, 0xf123, N | 0x44448 << 10 | V | R | A);
    assert_eq!(walk(&mut napot, &all, 0xf123, Load).map(|t| t.page_bits), Ok(16));
}

/// In a pointer D, A, U, N, PBMT and 60:54 must be 0; G makes all below global; RSW is free.
#[test]
fn pointers() {
    for bit in 4..64 {
        let mut memory = tables(3, 0, 0, PAGE | V | R | A);
        *memory.ptes.get_mut(&ROOT).unwrap() |= 1 << bit;
        let result = walk(&mut memory, &context(3), 0, Load);
        match bit {
            5 => assert!(result.unwrap().global),
            8 | 9 => assert!(!result.unwrap().global),
            10..=53 => {} // another table
            _ => assert_eq!(result, Err(WalkFault::Page), "{bit}"),
        }
    }
}

/// A table that cannot be read (step 2) or updated (step 9): an access fault of the original kind.
#[test]
fn access_faults() {
    let adue = WalkContext { adue: true, ..context(3) };
    for slot in [ROOT, ROOT + 0x1000, ROOT + 0x2000] {
        let mut memory = tables(3, 0, 0, PAGE | V | R | A);
        memory.no_read = Some(slot);
        assert_eq!(walk(&mut memory, &adue, 0, Load), Err(WalkFault::Access));
    }
    let mut memory = tables(3, 0, 0, PAGE | V | R);
    memory.no_write = true;
    assert_eq!(walk(&mut memory, &adue, 0, Load), Err(WalkFault::Access));
    for (access, page, fault) in [
        (Fetch, Exception::InsnPage, Exception::InsnAccess),
        (Load, Exception::LoadPage, Exception::LoadAccess),
        (Store, Exception::StorePage, Exception::StoreAccess),
    ] {
        assert_eq!(WalkFault::Page.exception(access), page);
        assert_eq!(WalkFault::Access.exception(access), fault);
    }
}

/// Step 9: if the PTE has changed before A and D are set, the walk looks at the new one.
#[test]
fn race_for_the_pte() {
    let adue = WalkContext { adue: true, ..context(3) };
    let moved = 0x5_5555 << 10 | V | R | W;
    for (race, expected) in [(moved, Ok(0x5555_5000)), (0, Err(WalkFault::Page))] {
        let mut memory = tables(3, 0, 0, PAGE | V | R | W);
        memory.race = Some(race);
        let result = walk(&mut memory, &adue, 0, Store);
        assert_eq!(result.map(|t| t.pa), expected);
        let dirty = if race == 0 { 0 } else { A | D };
        assert_eq!(memory.ptes[&(ROOT + 0x2000)], race | dirty);
    }
}

/// Where the last step alone gives an answer, the whole walk gives the same; and it gives one wherever the whole walk
/// ends at that table.
#[test]
fn the_last_step_agrees_with_the_walk() {
    let va = 0x12_3456_7123 & ((1 << 38) - 1);
    for level in 0..3 {
        let aligned = 0x45_4000_0000 >> (12 + 9 * level) << (12 + 9 * level);
        for bits in 0..256u64 {
            for high in [0, N, 1 << 54, 1 << 61, 2 << 61, 3 << 61] {
                for low in [0, 8] {
                    let pte = (aligned >> 12 | low) << 10 | bits | high;
                    let mut memory = tables(3, level, va, pte);
                    for (mode, sum, mxr) in
                        [(Mode::S, false, false), (Mode::S, true, true), (Mode::U, false, false)]
                    {
                        let context = WalkContext { mode, sum, mxr, ..context(3) };
                        for kind in [Fetch, Load, Store] {
                            let table = ROOT + (2 - level) * 0x1000;
                            let last = walk_leaf(&mut memory, &context, va, kind, table, level as u32);
                            let whole = walk(&mut memory, &context, va, kind);
                            let place = |t: crate::Translation| (t.pa, t.page_bits, t.readable, t.writable);
                            assert_eq!(last.map(place).ok(), whole.map(place).ok(), "{pte:#x} {level}");
                        }
                    }
                }
            }
        }
    }
}
