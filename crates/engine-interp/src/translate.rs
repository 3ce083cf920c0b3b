//! Translation behind the software TLB: the walk, PMP, the bus, and what is remembered of them.
//!
//! A miss is the price of a large working set, so that most of them go the quick way: the table in which the last walk of
//! the region ended is known ([`engine_mmu::Regions`]), and what PMP says about the page (`Cpu::stretch`). The quick way
//! only reads; whatever it does not find in order (a fault, A or D to set, a device, mixed rights) is looked at again by
//! the whole walk, which alone decides.

use crate::cpu::Cpu;
use fabric_bus::Page;
use isa_riscv::{
    AccessFault, AccessKind, Exception, Mode, PageVerdict, PmpStretch, PteMemory, Translation, Trap,
    WalkContext, walk, walk_leaf,
};

/// A translated access.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Guest-physical address.
    pub address: u64,
    /// Offset in the arena, if RAM answers (for stores: writable RAM).
    pub ram: Option<u64>,
    /// Whether the same holds for all of the page: one permission, and nothing but RAM.
    pub whole: bool,
}

/// The access fault of each kind of access.
pub(crate) fn access_fault(kind: AccessKind, va: u64) -> Trap {
    let cause = match kind {
        AccessKind::Fetch => Exception::InsnAccess,
        AccessKind::Load => Exception::LoadAccess,
        AccessKind::Store => Exception::StoreAccess,
    };
    Trap { cause, tval: va }
}

impl Cpu {
    /// Translates and checks an access that does not cross a page; remembers the page if it is RAM
    /// and the answer holds for all of it.
    ///
    /// # Errors
    /// The trap that the access takes.
    #[inline]
    pub fn translate(&mut self, va: u64, size: u64, kind: AccessKind) -> Result<Place, Trap> {
        let context = WalkContext::of(&self.hart, kind);
        match self.translate_quickly(&context, va, kind) {
            Some(place) => Ok(place),
            None => self.translate_fully(&context, va, size, kind),
        }
    }

    /// The quick way, where the upper levels are known and everything is as usual. Changes nothing in memory.
    #[inline]
    fn translate_quickly(&mut self, walk_context: &WalkContext, va: u64, kind: AccessKind) -> Option<Place> {
        let (address, page_bits) = if walk_context.levels() == 0 {
            (va, 64)
        } else {
            let (table, level) = self.regions.find(self.region_context(kind)?, va)?;
            let found = walk_leaf(&mut Leaves { cpu: self }, walk_context, va, kind, table, level).ok()?;
            (found.pa, found.page_bits)
        };
        if !self.stretch.holds_page(address) {
            self.stretch = self.hart.csr.pmp.stretch(address);
        }
        if !self.stretch.holds_page(address) || !self.stretch.allows(kind, walk_context.mode) {
            return None;
        }
        let Page::Ram { offset, writable } = self.bus.page(address) else { return None };
        let write = kind == AccessKind::Store;
        if write && !writable {
            return None;
        }
        let offset = offset | address & engine_mmu::PAGE_MASK;
        self.remember(va, offset, page_bits, kind, true);
        Some(Place { address, ram: Some(offset), whole: true })
    }

    #[inline(never)]
    fn translate_fully(
        &mut self,
        walk_context: &WalkContext,
        va: u64,
        size: u64,
        kind: AccessKind,
    ) -> Result<Place, Trap> {
        let found = walk(&mut Tables { cpu: self }, walk_context, va, kind)
            .map_err(|fault| Trap { cause: fault.exception(kind), tval: va })?;
        self.remember_region(&found, walk_context, va, kind);
        let (address, mode) = (found.pa, walk_context.mode);
        let pmp = &self.hart.csr.pmp;
        if !pmp.check(address, size, kind, mode) {
            return Err(access_fault(kind, va));
        }
        let write = kind == AccessKind::Store;
        let page = match kind {
            AccessKind::Fetch => self.bus.code_page(address),
            AccessKind::Load | AccessKind::Store => self.bus.page(address),
        };
        let (ram, all_ram) = match page {
            Page::Ram { writable: false, .. } if write => (None, true),
            Page::Ram { offset, .. } => (Some(offset | address & engine_mmu::PAGE_MASK), true),
            Page::Mixed => (self.bus.ram_range(address, size, write), false),
            Page::Nothing => (None, true),
        };
        let page = address & !engine_mmu::PAGE_MASK;
        let whole = all_ram && pmp.page_verdict(page, kind, mode) == PageVerdict::All;
        if let Some(offset) = ram {
            self.remember(va, offset, found.page_bits, kind, whole);
        }
        Ok(Place { address, ram, whole })
    }

    #[inline(always)]
    fn context_of(&self, kind: AccessKind) -> engine_mmu::Context {
        if kind == AccessKind::Fetch { self.code } else { self.data }
    }

    /// The context for which it is known in which table walks end: one of several address spaces cannot say.
    #[inline(always)]
    fn region_context(&self, kind: AccessKind) -> Option<engine_mmu::Context> {
        match kind {
            AccessKind::Fetch if self.code_shared => (self.hart.data_mode() == Mode::S).then_some(self.data),
            _ => Some(self.context_of(kind)),
        }
    }

    /// Remembers that the page of `va`, a part of a page of 2^`page_bits` bytes, is in RAM at `offset`; or at least, if
    /// that does not hold for the `whole` of it, that it is about to be written.
    #[inline(always)]
    fn remember(&mut self, va: u64, offset: u64, page_bits: u8, kind: AccessKind, whole: bool) {
        let write = kind == AccessKind::Store;
        if write {
            self.ram.dirty().mark(offset);
        }
        if page_bits > 12 && page_bits < 64 {
            self.contexts.note_large(va, 1 << page_bits);
        }
        if kind == AccessKind::Fetch {
            if self.code_shared {
                self.rely_shared(va, offset, page_bits, whole);
            }
            if !self.code_shared {
                self.contexts.rely(self.code, va, whole.then_some(offset));
            }
        }
        if whole && !(write && self.ram.watch().holds(offset)) {
            let context = self.context_of(kind);
            match kind {
                AccessKind::Fetch => self.fetch.fill(context, va, offset),
                AccessKind::Load => self.read.fill(context, va, offset),
                AccessKind::Store => self.write.fill(context, va, offset),
            }
        }
    }

    /// Remembers in which table the walk of `va` ended, if later walks may read it whatever part of it they want.
    fn remember_region(&mut self, found: &Translation, context: &WalkContext, va: u64, kind: AccessKind) {
        if let Some(of) = self.region_context(kind)
            && let Some((table, level)) = self.last_table(found, context)
        {
            self.regions.fill(of, va, table, level);
        }
    }

    /// The arena offset of the table in which a walk ended, if all of it may be read, and its level.
    pub(crate) fn last_table(&self, found: &Translation, context: &WalkContext) -> Option<(u64, u32)> {
        let &pte = found.pte_addresses().last()?;
        let readable = self.hart.csr.pmp.page_verdict(pte, AccessKind::Load, Mode::S) == PageVerdict::All;
        match self.bus.page(pte) {
            Page::Ram { offset, .. } if readable => {
                Some((offset, context.levels() - found.pte_addresses().len() as u32))
            }
            _ => None,
        }
    }

    /// Forgets all that the tables hold, and all that PMP has said.
    pub(crate) fn forget_translations(&mut self) {
        self.stretch = PmpStretch::NONE;
        self.contexts.share_anew();
        self.contexts.flush(|_| true);
        self.enter_context();
    }
}

/// Page-table memory as a walk of this hart sees it.
pub(crate) struct Tables<'a> {
    pub cpu: &'a Cpu,
}

impl Tables<'_> {
    fn offset(&self, pa: u64, kind: AccessKind) -> Result<u64, AccessFault> {
        if !self.cpu.hart.csr.pmp.check(pa, 8, kind, Mode::S) {
            return Err(AccessFault);
        }
        self.cpu.bus.ram_range(pa, 8, kind == AccessKind::Store).ok_or(AccessFault)
    }
}

impl PteMemory for Tables<'_> {
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault> {
        let offset = self.offset(pa, AccessKind::Load)?;
        self.cpu.ram.load::<u64>(offset).ok_or(AccessFault)
    }

    fn compare_exchange_pte(&mut self, pa: u64, old: u64, new: u64) -> Result<bool, AccessFault> {
        let offset = self.offset(pa, AccessKind::Store)?;
        let done = self.cpu.ram.compare_exchange(offset, old, new).ok_or(AccessFault)?.is_ok();
        self.cpu.ram.written(offset);
        Ok(done)
    }
}

/// The tables in which walks have ended, by offsets in the arena instead of addresses.
pub(crate) struct Leaves<'a> {
    pub cpu: &'a Cpu,
}

impl PteMemory for Leaves<'_> {
    #[inline(always)]
    fn read_pte(&mut self, offset: u64) -> Result<u64, AccessFault> {
        self.cpu.ram.load::<u64>(offset).ok_or(AccessFault)
    }

    /// Whether PMP lets the walk store is for the whole walk to find out.
    #[inline(always)]
    fn compare_exchange_pte(&mut self, _: u64, _: u64, _: u64) -> Result<bool, AccessFault> {
        Err(AccessFault)
    }
}
