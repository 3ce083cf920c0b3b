//! Looks at page tables: whether code is still where it was found, or is there in another address space.

use crate::cpu::Cpu;
use crate::translate::{Leaves, Tables};
use engine_mmu::{Mapping, Pages, Regions};
use fabric_bus::Page;
use isa_riscv::{AccessFault, AccessKind, PteMemory, Translation, WalkContext, walk, walk_leaf};

/// Page-table memory that a look must not change.
struct Unchanged<'a>(Tables<'a>);

impl PteMemory for Unchanged<'_> {
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault> {
        self.0.read_pte(pa)
    }

    fn compare_exchange_pte(&mut self, _: u64, _: u64, _: u64) -> Result<bool, AccessFault> {
        Err(AccessFault)
    }
}

/// One look after another. The table in which the last walk ended is where the next one of the same region does.
struct Looks<'a> {
    cpu: &'a Cpu,
    context: &'a WalkContext,
    last: Option<(u64, (u64, u32))>,
}

impl Looks<'_> {
    /// What a fetch from `va` would find, and where that is in the arena if it is memory; `None` if it would fault or change
    /// something.
    fn fetch(&mut self, va: u64) -> Option<(Translation, u64)> {
        let region = Regions::number(va);
        let kind = AccessKind::Fetch;
        let found = match self.last {
            Some((at, (table, level))) if at == region => {
                walk_leaf(&mut Leaves { cpu: self.cpu }, self.context, va, kind, table, level).ok()?
            }
            _ => {
                let mut tables = Unchanged(Tables { cpu: self.cpu });
                let found = walk(&mut tables, self.context, va, kind).ok()?;
                self.last = self.cpu.last_table(&found, self.context).map(|table| (region, table));
                found
            }
        };
        match self.cpu.bus.page(found.pa) {
            Page::Ram { offset, .. } => Some((found, offset | va & engine_mmu::PAGE_MASK)),
            Page::Mixed | Page::Nothing => None,
        }
    }
}

impl Cpu {
    fn looks<'a>(&'a self, context: &'a WalkContext) -> Looks<'a> {
        Looks { cpu: self, context, last: None }
    }

    /// Whether walks by the page tables as they are now would find all this code where it was found before, and change
    /// nothing in memory.
    pub(crate) fn is_still_there(&self, context: &WalkContext, pages: &Pages) -> bool {
        let mut looks = self.looks(context);
        pages.iter().all(|(&va, &offset)| {
            let found = looks.fetch(va);
            found.is_some_and(|(found, at)| {
                (found.page_bits <= 12 || self.contexts.maybe_large(va)) && at == offset
            })
        })
    }

    /// Whether they would find these mappings.
    pub(crate) fn all_there(&self, mappings: &[Mapping]) -> bool {
        let context = WalkContext::of(&self.hart, AccessKind::Fetch);
        let mut looks = self.looks(&context);
        mappings.iter().all(|mapping| {
            looks
                .fetch(mapping.va)
                .is_some_and(|(found, at)| (found.page_bits, at) == (mapping.bits, mapping.offset))
        })
    }
}
