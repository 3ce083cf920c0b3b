//! The page-table walk (SDM volume 3, chapter "Paging"): 32-bit, PAE, 4-level and 5-level.

use crate::{Access, Fault, State, cr0, cr4, efer, rflags};
use isa_core::Width;

/// Memory as a walk sees it: physical addresses of entries of 4 or 8 bytes.
pub trait PageMemory {
    /// Reads an entry. Where there is no memory, all ones, as on a bus that nobody drives.
    fn read(&mut self, pa: u64, width: Width) -> u64;
    /// Replaces `old` by `new` if the entry still holds `old`; whether it did. Where there is no writable memory it is
    /// as if it had been replaced.
    fn compare_exchange(&mut self, pa: u64, width: Width, old: u64, new: u64) -> bool;
}

/// Bits of a paging-structure entry.
pub mod entry {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const P: u64 = 1 << 0;
    pub const RW: u64 = 1 << 1;
    pub const US: u64 = 1 << 2;
    pub const A: u64 = 1 << 5;
    pub const D: u64 = 1 << 6;
    pub const PS: u64 = 1 << 7;
    pub const G: u64 = 1 << 8;
    pub const XD: u64 = 1 << 63;
}

/// Bits of a page fault's error code (SDM volume 3, "Page-Fault Exceptions").
pub mod pf {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const P: u32 = 1 << 0;
    pub const WR: u32 = 1 << 1;
    pub const US: u32 = 1 << 2;
    pub const RSVD: u32 = 1 << 3;
    pub const ID: u32 = 1 << 4;
}

/// Physical address bits that the processor has (CPUID leaf 0x8000_0008).
pub const PHYSICAL_BITS: u32 = 46;

/// Everything in the processor's state that a walk depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// CR0
    pub cr0: u64,
    /// CR3
    pub cr3: u64,
    /// CR4
    pub cr4: u64,
    /// IA32_EFER
    pub efer: u64,
    /// RFLAGS.AC
    pub ac: bool,
}

impl Paging {
    /// As the state has it.
    pub fn of(state: &State) -> Paging {
        Paging {
            cr0: state.cr0,
            cr3: state.cr3,
            cr4: state.cr4,
            efer: state.msrs.efer,
            ac: state.system_flags & rflags::AC != 0,
        }
    }

    /// Whether linear addresses are translated at all.
    pub const fn enabled(&self) -> bool {
        self.cr0 & cr0::PG != 0
    }
}

/// A translated address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Physical address.
    pub pa: u64,
    /// log2 of the page size; 64 without paging.
    pub page_bits: u32,
    /// Physical addresses of the entries visited, top level first.
    pub visited: [u64; 5],
    /// How many of them there are.
    pub levels: usize,
}

/// The form of a paging mode's structures.
#[derive(Clone, Copy)]
struct Form {
    levels: u32,
    width: Width,
    /// log2 of a table's number of entries.
    index_bits: u32,
}

impl Form {
    fn of(paging: &Paging) -> Form {
        let long = paging.efer & efer::LMA != 0;
        match (long, paging.cr4 & cr4::PAE != 0) {
            (true, _) if paging.cr4 & cr4::LA57 != 0 => Form { levels: 5, width: Width::B8, index_bits: 9 },
            (true, _) => Form { levels: 4, width: Width::B8, index_bits: 9 },
            (false, true) => Form { levels: 3, width: Width::B8, index_bits: 9 },
            (false, false) => Form { levels: 2, width: Width::B4, index_bits: 10 },
        }
    }

    /// Lowest bit of the linear address that selects an entry of level `level` (1: page table).
    fn shift(self, level: u32) -> u32 {
        12 + self.index_bits * (level - 1)
    }

    /// Whether an entry of `level` with PS maps a page, and whether PS is reserved there if it does not.
    fn large(self, paging: &Paging, level: u32) -> bool {
        match (self.levels, level) {
            (2, 2) => paging.cr4 & cr4::PSE != 0,
            (_, 2) | (4 | 5, 3) => true,
            _ => false,
        }
    }

    /// Reserved bits of a present entry of `level`, which maps a page or (`!leaf`) a table.
    fn reserved(self, paging: &Paging, level: u32, leaf: bool, value: u64) -> u64 {
        if self.width == Width::B4 {
            // PSE-36 with 40 address bits: bit 21 is reserved (SDM, table "Format of a 32-Bit Page-Directory Entry").
            return if leaf && level == 2 { 1 << 21 } else { 0 };
        }
        let mut reserved = ((1 << 52) - 1) & !((1u64 << PHYSICAL_BITS) - 1);
        if self.levels == 3 {
            reserved |= if level == 3 { 0xfff0_0000_0000_01e6 } else { 0x7ff0_0000_0000_0000 };
        }
        if paging.efer & efer::NXE == 0 {
            reserved |= entry::XD;
        }
        if leaf && level > 1 {
            reserved |= ((1 << self.shift(level)) - 1) & !0x1fff;
        }
        if !leaf && level >= 4 && value & entry::PS != 0 {
            reserved |= entry::PS;
        }
        reserved
    }
}

/// What the entries of a walk allow together.
struct Rights {
    writable: bool,
    user: bool,
    executable: bool,
}

impl Rights {
    /// Whether `access` is refused (SDM volume 3, "Access Rights").
    fn refuse(&self, paging: &Paging, access: Access) -> bool {
        let on = |bit| paging.cr4 & bit != 0;
        if access.fetch && !self.executable {
            return true;
        }
        if access.user {
            return !self.user || access.write && !self.writable;
        }
        if access.fetch {
            return self.user && on(cr4::SMEP);
        }
        let smap = self.user && on(cr4::SMAP) && (access.implicit || !paging.ac);
        smap || access.write && !self.writable && paging.cr0 & cr0::WP != 0
    }
}

fn fault(paging: &Paging, la: u64, access: Access, cause: u32) -> Fault {
    let when = |condition, bit| if condition { bit } else { 0 };
    let execute_disable = paging.cr4 & cr4::PAE != 0 && paging.efer & efer::NXE != 0;
    let fetch = access.fetch && (execute_disable || paging.cr4 & cr4::SMEP != 0);
    let error = cause | when(access.write, pf::WR) | when(access.user, pf::US) | when(fetch, pf::ID);
    Fault::page(error, la)
}

/// Translates linear address `la` (canonical) for `access`; sets A and D bits on the way.
///
/// An entry of another processor's making that changes under the walk makes it start again. The PDPTEs of PAE paging are
/// read like any others, not kept in registers from the last load of CR3.
///
/// # Errors
/// #PF
pub fn walk<M: PageMemory>(memory: &mut M, paging: &Paging, la: u64, access: Access) -> Result<Found, Fault> {
    if !paging.enabled() {
        return Ok(Found { pa: la, page_bits: 64, visited: [0; 5], levels: 0 });
    }
    loop {
        if let Some(found) = attempt(memory, paging, la, access)? {
            return Ok(found);
        }
    }
}

/// One walk; `None` if an entry has changed meanwhile.
fn attempt<M: PageMemory>(
    memory: &mut M,
    paging: &Paging,
    la: u64,
    access: Access,
) -> Result<Option<Found>, Fault> {
    let form = Form::of(paging);
    let top_mask = if form.levels == 3 { !0x1f } else { !0xfff };
    let mut table = paging.cr3 & top_mask & ((1 << PHYSICAL_BITS) - 1);
    if form.levels < 4 {
        table &= 0xffff_ffff;
    }
    let mut rights = Rights { writable: true, user: true, executable: true };
    let mut entries = [(0u64, 0u64); 5];
    let mut level = form.levels;
    let (value, visited) = loop {
        let shift = form.shift(level);
        let index_mask = if form.levels == 3 && level == 3 { 3 } else { (1 << form.index_bits) - 1 };
        let pa = table + (la >> shift & index_mask) * form.width.bytes();
        let value = memory.read(pa, form.width);
        let step = (form.levels - level) as usize;
        if let Some(slot) = entries.get_mut(step) {
            *slot = (pa, value);
        }
        if value & entry::P == 0 {
            return Err(fault(paging, la, access, 0));
        }
        let leaf = level == 1 || value & entry::PS != 0 && form.large(paging, level);
        if value & form.reserved(paging, level, leaf, value) != 0 {
            return Err(fault(paging, la, access, pf::P | pf::RSVD));
        }
        // PDPTEs of PAE paging have no rights.
        if form.levels != 3 || level != 3 {
            rights.writable &= value & entry::RW != 0;
            rights.user &= value & entry::US != 0;
        }
        rights.executable &= form.width == Width::B4 || value & entry::XD == 0;
        if leaf {
            break (value, step + 1);
        }
        table = value & 0x000f_ffff_ffff_f000 & if form.width == Width::B4 { 0xffff_ffff } else { u64::MAX };
        level -= 1;
    };
    if rights.refuse(paging, access) {
        return Err(fault(paging, la, access, pf::P));
    }
    if !mark(memory, form, entries.get(..visited).unwrap_or_default(), access.write) {
        return Ok(None);
    }
    let page_bits = form.shift(level);
    let inside = (1u64 << page_bits) - 1;
    let base = match (form.width, page_bits) {
        (Width::B4, 22) => value & 0xffc0_0000 | (value >> 13 & 0xff) << 32,
        _ => value & 0x000f_ffff_ffff_f000 & !inside,
    };
    let visited_at = entries.map(|(pa, _)| pa);
    Ok(Some(Found { pa: base | la & inside, page_bits, visited: visited_at, levels: visited }))
}

/// Sets A in all entries and D in the last if `write`; false if one of them has changed since it was read.
fn mark<M: PageMemory>(memory: &mut M, form: Form, entries: &[(u64, u64)], write: bool) -> bool {
    for (n, &(pa, value)) in entries.iter().enumerate() {
        let last = n + 1 == entries.len();
        if form.levels == 3 && n == 0 {
            continue; // a PDPTE has no accessed bit
        }
        let dirty = if last && write { entry::D } else { 0 };
        let new = value | entry::A | dirty;
        if new != value && !memory.compare_exchange(pa, form.width, value, new) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector;
    use std::collections::HashMap;

    /// Entries by address; everything else is 0.
    struct Entries(HashMap<u64, u64>);

    impl PageMemory for Entries {
        fn read(&mut self, pa: u64, _: Width) -> u64 {
            self.0.get(&pa).copied().unwrap_or(0)
        }
        fn compare_exchange(&mut self, pa: u64, _: Width, old: u64, new: u64) -> bool {
            let slot = self.0.entry(pa).or_default();
            let equal = *slot == old;
            if equal {
                *slot = new;
            }
            equal
        }
    }

    const READ: Access = Access { write: false, fetch: false, user: true, implicit: false };

    fn long(more: u64) -> Paging {
        Paging {
            cr0: cr0::PG | cr0::PE | cr0::WP,
            cr3: 0x1000,
            cr4: cr4::PAE | cr4::PGE | more,
            efer: efer::LMA | efer::LME | efer::NXE,
            ac: false,
        }
    }

    #[test]
    fn five_levels_use_57_bits() {
        let la = 0x00ab_cdef_1234_5678u64;
        let index = |shift: u32| 8 * (la >> shift & 0x1ff);
        let mut entries = Entries(HashMap::from([
            (0x1000 + index(48), 0x2007),
            (0x2000 + index(39), 0x3007),
            (0x3000 + index(30), 0x4007),
            (0x4000 + index(21), 0x5007),
            (0x5000 + index(12), 0x7_8000 | 7 | entry::G),
        ]));
        let found = walk(&mut entries, &long(cr4::LA57), la, Access { write: true, ..READ }).unwrap();
        assert_eq!((found.pa, found.page_bits, found.levels), (0x7_8678, 12, 5));
        assert_eq!(found.visited[4], 0x5000 + index(12));
        assert_eq!(entries.0[&found.visited[4]] & 0x60, entry::A | entry::D);
        assert_eq!(entries.0[&found.visited[0]] & 0x60, entry::A);
    }

    #[test]
    fn a_gigabyte_page_and_its_reserved_bits() {
        let mut entries = Entries(HashMap::from([(0x1000, 0x2007), (0x2008, 0x4000_0087)]));
        let found = walk(&mut entries, &long(0), 0x5234_5678, READ).unwrap();
        assert_eq!((found.pa, found.page_bits, found.levels), (0x5234_5678, 30, 2));
        entries.0.insert(0x2008, 0x4020_0087);
        let fault = walk(&mut entries, &long(0), 0x5234_5678, READ).unwrap_err();
        assert_eq!((fault.vector, fault.error), (vector::PF, Some(pf::P | pf::RSVD | pf::US)));
    }

    #[test]
    fn an_entry_that_changes_meanwhile_is_read_again() {
        /// Another processor marks the entry accessed first.
        struct Racing(Entries, u32);
        impl PageMemory for Racing {
            fn read(&mut self, pa: u64, width: Width) -> u64 {
                self.0.read(pa, width)
            }
            fn compare_exchange(&mut self, pa: u64, width: Width, old: u64, new: u64) -> bool {
                self.1 += 1;
                if self.1 == 1 {
                    self.0.0.insert(pa, old | entry::A);
                }
                self.0.compare_exchange(pa, width, old, new)
            }
        }
        let tables = HashMap::from([(0x1000, 0x2007), (0x2000, 0x4000_0087)]);
        let mut racing = Racing(Entries(tables), 0);
        let found = walk(&mut racing, &long(0), 0x1234, READ).unwrap();
        assert_eq!((found.pa, racing.1), (0x4000_1234, 2));
        assert_eq!(racing.0.0[&0x1000], 0x2027);
    }
}
