//! The jump tables: where indirect jumps, and direct ones to other pages, find the host's code for a program counter.
//!
//! The first table is looked at in place. What it must give up for something else goes into the neighbouring entry, and what is
//! there into the second table: shared code looks at both. An entry holds in one context only, so that whatever changes where code is needs no search here.

use engine_interp::{Cpu, Jump, MORE_JUMPS};

/// The second table; the first is in the processor's state.
pub(crate) struct Jumps {
    second: Box<[Jump]>,
}

impl Default for Jumps {
    fn default() -> Self {
        Jumps { second: vec![Jump::default(); MORE_JUMPS].into_boxed_slice() }
    }
}

impl Jumps {
    /// Address of the second table.
    pub fn address(&self) -> u64 {
        self.second.as_ptr() as u64
    }

    /// The host's code for the program counter, if a table has it.
    pub fn get(&self, cpu: &Cpu) -> Option<u64> {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        let slot = Jump::slot(pc, context);
        let first = [slot, slot ^ 1].map(|slot| cpu.native.jumps.get(slot));
        let second = self.second.get(Jump::second_slot(pc, context));
        [first[0], first[1], second].into_iter().flatten().find(|j| j.pc == pc && j.context == context).map(|j| j.host)
    }

    /// Takes note of the host's code for the program counter, which no table has.
    pub fn insert(&mut self, cpu: &mut Cpu, host: u64) {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        cpu.code_pages.insert(pc);
        // It may go on in the next page.
        cpu.code_pages.insert(pc.wrapping_add(2));
        let slot = Jump::slot(pc, context);
        let mut before = Jump { pc, context, host };
        for slot in [slot, slot ^ 1] {
            let Some(entry) = cpu.native.jumps.get_mut(slot) else { return };
            before = std::mem::replace(entry, before);
        }
        if let Some(entry) = self.second.get_mut(Jump::second_slot(before.pc, before.context)) {
            *entry = before;
        }
    }

    /// Forgets where the program counter leads.
    pub fn forget(&mut self, cpu: &mut Cpu) {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        let slot = Jump::slot(pc, context);
        let pair = cpu.native.jumps.get_mut(slot & !1..=slot | 1).unwrap_or_default();
        let second = self.second.get_mut(Jump::second_slot(pc, context));
        pair.iter_mut().chain(second).filter(|j| j.pc == pc).for_each(|j| *j = Jump::default());
    }

    /// Forgets all.
    pub fn clear(&mut self, cpu: &mut Cpu) {
        cpu.native.jumps.fill(Jump::default());
        self.second.fill(Jump::default());
    }
}
