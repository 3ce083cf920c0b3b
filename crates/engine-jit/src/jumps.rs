//! The jump tables: where indirect jumps, and direct ones to other pages, find the host's code for a program counter.
//!
//! The first table is looked at in place. What it must give up for something else goes into the second, which is looked at by
//! shared code. An entry holds in one context only, so that whatever changes where code is needs no search here.

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
        let first = cpu.native.jumps.get(Jump::slot(pc, context));
        let second = self.second.get(Jump::second_slot(pc, context));
        [first, second].into_iter().flatten().find(|j| j.pc == pc && j.context == context).map(|j| j.host)
    }

    /// Takes note of the host's code for the program counter, which no table has.
    pub fn insert(&mut self, cpu: &mut Cpu, host: u64) {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        cpu.code_pages.insert(pc);
        // It may go on in the next page.
        cpu.code_pages.insert(pc.wrapping_add(2));
        let Some(entry) = cpu.native.jumps.get_mut(Jump::slot(pc, context)) else { return };
        let before = std::mem::replace(entry, Jump { pc, context, host });
        if let Some(entry) = self.second.get_mut(Jump::second_slot(before.pc, before.context)) {
            *entry = before;
        }
    }

    /// Forgets where the program counter leads.
    pub fn forget(&mut self, cpu: &mut Cpu) {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        let first = cpu.native.jumps.get_mut(Jump::slot(pc, context));
        let second = self.second.get_mut(Jump::second_slot(pc, context));
        [first, second].into_iter().flatten().filter(|j| j.pc == pc).for_each(|j| *j = Jump::default());
    }

    /// Forgets all.
    pub fn clear(&mut self, cpu: &mut Cpu) {
        cpu.native.jumps.fill(Jump::default());
        self.second.fill(Jump::default());
    }
}
