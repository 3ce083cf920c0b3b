//! The page-table walk: Sv39, Sv48, Sv57 with Svade, Svadu, Svnapot and Svpbmt (Privileged
//! Architecture, "Virtual Address Translation Process").

use crate::csr_fields::{envcfg, mstatus};
use crate::{AccessKind, Exception, Extension, Hart, Mode};

/// A physical access that nothing answers or that PMP forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessFault;

/// Memory that holds page tables.
pub trait PteMemory {
    /// Reads the 8 bytes at `pa` (a multiple of 8) at once.
    ///
    /// # Errors
    /// No main memory there, or [`crate::Pmp::check`] forbids an S-mode load of them.
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault>;

    /// Replaces `old` at `pa` by `new` atomically; `false` if something else is there. Memory that
    /// only looks (inspection, a debugger) may answer `true` and do nothing.
    ///
    /// # Errors
    /// No main memory there, or [`crate::Pmp::check`] forbids an S-mode store to it.
    fn compare_exchange_pte(&mut self, pa: u64, old: u64, new: u64) -> Result<bool, AccessFault>;
}

/// Why a walk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkFault {
    /// The tables do not allow it.
    Page,
    /// A table could not be read or updated.
    Access,
}

impl WalkFault {
    /// The exception for the access that needed the walk.
    pub const fn exception(self, access: AccessKind) -> Exception {
        match (self, access) {
            (WalkFault::Page, AccessKind::Fetch) => Exception::InsnPage,
            (WalkFault::Page, AccessKind::Load) => Exception::LoadPage,
            (WalkFault::Page, AccessKind::Store) => Exception::StorePage,
            (WalkFault::Access, AccessKind::Fetch) => Exception::InsnAccess,
            (WalkFault::Access, AccessKind::Load) => Exception::LoadAccess,
            (WalkFault::Access, AccessKind::Store) => Exception::StoreAccess,
        }
    }
}

/// All that a walk depends on beside the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalkContext {
    /// `satp`; its mode counts as Bare if it is none of Sv39, Sv48, Sv57.
    pub satp: u64,
    /// The effective privilege mode.
    pub mode: Mode,
    /// `mstatus.SUM`.
    pub sum: bool,
    /// `mstatus.MXR`.
    pub mxr: bool,
    /// The walk sets A and D (Svadu) instead of raising a fault (Svade).
    pub adue: bool,
    /// Svpbmt is on.
    pub pbmte: bool,
    /// Svnapot is there.
    pub napot: bool,
}

impl WalkContext {
    /// The context of `hart`'s accesses of this kind.
    #[inline]
    pub fn of(hart: &Hart, access: AccessKind) -> WalkContext {
        let mode = match access {
            AccessKind::Fetch => hart.mode,
            AccessKind::Load | AccessKind::Store => hart.data_mode(),
        };
        let csr = &hart.csr;
        WalkContext {
            satp: csr.satp,
            mode,
            sum: csr.mstatus & mstatus::SUM != 0,
            mxr: csr.mstatus & mstatus::MXR != 0,
            adue: csr.menvcfg & envcfg::ADUE != 0,
            pbmte: csr.menvcfg & envcfg::PBMTE != 0,
            napot: hart.features.has(Extension::Svnapot),
        }
    }

    /// Levels of the page table; 0 if addresses are physical: Bare, or M-mode.
    #[inline]
    pub fn levels(&self) -> u32 {
        match (self.mode, self.satp >> 60) {
            (Mode::M, _) => 0,
            (_, 8) => 3,
            (_, 9) => 4,
            (_, 10) => 5,
            _ => 0,
        }
    }
}

/// Memory type that a leaf PTE asks for (Svpbmt).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Pbmt {
    /// As the physical memory is.
    Pma = 0,
    /// Non-cacheable memory.
    Nc = 1,
    /// Non-cacheable, strongly ordered I/O.
    Io = 2,
}

/// Where a virtual address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The physical address.
    pub pa: u64,
    /// Binary logarithm of the page size: 12, 16 (Svnapot), 21, 30, 39, 48; 64 without translation.
    pub page_bits: u8,
    /// Loads of the page in this context would succeed.
    pub readable: bool,
    /// Stores would succeed without a change to the PTE: it is dirty.
    pub writable: bool,
    /// Fetches would succeed.
    pub executable: bool,
    /// The PTE's U bit.
    pub user: bool,
    /// The leaf or a PTE above has the G bit: the same in all address spaces.
    pub global: bool,
    /// The memory type.
    pub pbmt: Pbmt,
    /// Physical addresses of the PTEs used, root first; the first `visited` count.
    pub ptes: [u64; 5],
    /// How many PTEs were used.
    pub visited: u8,
}

impl Translation {
    /// Physical addresses of the PTEs used, root first, leaf last.
    pub fn pte_addresses(&self) -> &[u64] {
        self.ptes.get(..usize::from(self.visited)).unwrap_or_default()
    }

    const fn identity(va: u64) -> Translation {
        Translation {
            pa: va,
            page_bits: 64,
            readable: true,
            writable: true,
            executable: true,
            user: false,
            global: true,
            pbmt: Pbmt::Pma,
            ptes: [0; 5],
            visited: 0,
        }
    }
}

const V: u64 = 1 << 0;
const R: u64 = 1 << 1;
const W: u64 = 1 << 2;
const X: u64 = 1 << 3;
const U: u64 = 1 << 4;
const G: u64 = 1 << 5;
const A: u64 = 1 << 6;
const D: u64 = 1 << 7;
const PPN_SHIFT: u32 = 10;
const PPN: u64 = (1 << 44) - 1;
const RESERVED: u64 = 0x7f << 54;
const PBMT: u64 = 3 << 61;
const N: u64 = 1 << 63;

/// Translates `va` for an access in `context`, setting A and D in the tables if the context says so.
///
/// # Errors
/// [`WalkFault`]: the access raises its [`exception`](WalkFault::exception). A and D may have been
/// set only if there was no fault.
#[inline]
pub fn walk<M: PteMemory>(
    memory: &mut M,
    context: &WalkContext,
    va: u64,
    access: AccessKind,
) -> Result<Translation, WalkFault> {
    let levels = context.levels();
    if levels == 0 {
        return Ok(Translation::identity(va));
    }
    // The bits above the highest VPN bit all equal it, else a page fault.
    let unused = 64 - (12 + 9 * levels);
    if ((va << unused) as i64 >> unused) as u64 != va {
        return Err(WalkFault::Page);
    }
    let mut ptes = [0; 5];
    let mut visited = 0u8;
    let mut table = context.satp & PPN;
    let mut global = 0;
    let mut level = levels;
    while level > 0 {
        level -= 1;
        let address = (table << 12) + (va >> (12 + 9 * level) & 0x1ff) * 8;
        if let Some(slot) = ptes.get_mut(usize::from(visited)) {
            *slot = address;
        }
        visited += 1;
        let pte = loop {
            let pte = memory.read_pte(address).map_err(|AccessFault| WalkFault::Access)?;
            if pte & V == 0 {
                return Err(WalkFault::Page);
            }
            if pte & (R | W | X) == 0 {
                break pte;
            }
            if let Some(mut leaf) = leaf(memory, context, pte, address, level, va, access)? {
                leaf.global |= global != 0;
                leaf.ptes = ptes;
                leaf.visited = visited;
                return Ok(leaf);
            }
            // Someone changed the PTE meanwhile: step 9 goes back to step 2.
        };
        // In a pointer, A, D, U, N and PBMT are reserved too ("Sv39", "Svnapot", "Svpbmt").
        if pte & (RESERVED | PBMT | N | A | D | U) != 0 {
            return Err(WalkFault::Page);
        }
        global |= pte & G;
        table = pte >> PPN_SHIFT & PPN;
    }
    Err(WalkFault::Page)
}

/// The last step of a [`walk`]: `table` is the address of the table of `level` (0: of 4 KiB pages) in which the walk of
/// `va` has ended before, as `memory` has it, and the pointers on the way there count as they were then. The translation
/// names no PTE, and is global only if its leaf is.
///
/// # Errors
/// [`WalkFault`]: there is no answer to be had here, and only a whole walk can tell what is the matter.
#[inline(always)]
pub fn walk_leaf<M: PteMemory>(
    memory: &mut M,
    context: &WalkContext,
    va: u64,
    access: AccessKind,
    table: u64,
    level: u32,
) -> Result<Translation, WalkFault> {
    let address = table + (va >> (12 + 9 * level) & 0x1ff) * 8;
    let pte = memory.read_pte(address).map_err(|AccessFault| WalkFault::Access)?;
    if pte & V == 0 || pte & (R | W | X) == 0 {
        return Err(WalkFault::Page);
    }
    leaf(memory, context, pte, address, level, va, access)?.ok_or(WalkFault::Page)
}

/// Steps 3 and 5 to 10 of the process, for a PTE that is no pointer; `None` if the PTE changed before
/// A and D could be set.
#[inline(always)]
fn leaf<M: PteMemory>(
    memory: &mut M,
    context: &WalkContext,
    mut pte: u64,
    address: u64,
    level: u32,
    va: u64,
    access: AccessKind,
) -> Result<Option<Translation>, WalkFault> {
    let page_bits = leaf_size(context, pte, level).ok_or(WalkFault::Page)?;
    if !permitted(context, pte, access) {
        return Err(WalkFault::Page);
    }
    let needed = if access == AccessKind::Store { A | D } else { A };
    if pte & needed != needed {
        if !context.adue {
            return Err(WalkFault::Page);
        }
        let updated = memory
            .compare_exchange_pte(address, pte, pte | needed)
            .map_err(|AccessFault| WalkFault::Access)?;
        if !updated {
            return Ok(None);
        }
        pte |= needed;
    }
    let offset = (1u64 << page_bits) - 1;
    let page = (pte >> PPN_SHIFT & PPN) << 12;
    Ok(Some(Translation {
        pa: page & !offset | va & offset,
        page_bits,
        readable: permitted(context, pte, AccessKind::Load),
        writable: pte & D != 0 && permitted(context, pte, AccessKind::Store),
        executable: permitted(context, pte, AccessKind::Fetch),
        user: pte & U != 0,
        global: pte & G != 0,
        pbmt: match (pte & PBMT) >> 61 {
            1 => Pbmt::Nc,
            2 => Pbmt::Io,
            _ => Pbmt::Pma,
        },
        ptes: [0; 5],
        visited: 0,
    }))
}

/// Binary logarithm of the size of the page that leaf `pte` maps; `None` if its encoding is reserved
/// or it is a misaligned superpage.
#[inline(always)]
fn leaf_size(context: &WalkContext, pte: u64, level: u32) -> Option<u8> {
    if pte & (R | W) == W || pte & RESERVED != 0 {
        return None;
    }
    let ppn = pte >> PPN_SHIFT & PPN;
    if pte & (PBMT | N) != 0 {
        if pte & PBMT != 0 && (!context.pbmte || pte & PBMT == PBMT) {
            return None;
        }
        if pte & N != 0 {
            // Only 64 KiB at level 0 is an encoding ("Svnapot", table of encodings).
            let valid = context.napot && level == 0 && ppn & 0xf == 8;
            return valid.then_some(16);
        }
    }
    let aligned = ppn & ((1 << (9 * level)) - 1) == 0;
    aligned.then_some((12 + 9 * level) as u8)
}

/// Whether the U bit and R, W, X of leaf `pte` allow the access (steps 6 and 8).
#[inline(always)]
fn permitted(context: &WalkContext, pte: u64, access: AccessKind) -> bool {
    let user_page = pte & U != 0;
    let by_mode = match (context.mode, user_page) {
        (Mode::U, user_page) => user_page,
        (_, false) => true,
        // S-mode never executes user code, and touches user data only with SUM.
        (_, true) => context.sum && access != AccessKind::Fetch,
    };
    let by_bits = match access {
        AccessKind::Fetch => pte & X != 0,
        AccessKind::Load => pte & R != 0 || context.mxr && pte & X != 0,
        AccessKind::Store => pte & W != 0,
    };
    by_mode && by_bits
}
