//! The jump table: where indirect jumps, and direct ones to other pages, find the host's code for a program counter.
//!
//! An entry may be in its place or, if that was wanted for something else since, in the neighbouring one. It holds in one
//! context only, so that whatever changes where code is needs no search here.

use engine_interp::{Cpu, JUMPS, Jump};
use std::io;
use support_hostmap::MemoryMap;

/// The table.
pub(crate) struct Jumps {
    map: MemoryMap,
}

impl Jumps {
    /// An empty table.
    ///
    /// # Errors
    /// What the host says to the mapping.
    pub fn new() -> io::Result<Jumps> {
        Ok(Jumps { map: MemoryMap::new(JUMPS * size_of::<Jump>())? })
    }

    /// Where emitted code finds it.
    pub fn address(&self) -> u64 {
        self.map.address().as_ptr() as u64
    }

    fn table(&mut self) -> &mut [Jump] {
        // SAFETY: the mapping has room for so many entries, at an address that is a multiple of a page's size, and zeroes are
        // empty entries. Emitted code reads it, but not while this code runs.
        unsafe { std::slice::from_raw_parts_mut(self.map.address().as_ptr().cast::<Jump>(), JUMPS) }
    }

    /// The place of the program counter and its neighbour.
    fn places(&mut self, pc: u64, context: u64) -> Option<[&mut Jump; 2]> {
        let slot = Jump::slot(pc, context);
        let pair = self.table().get_mut(slot & !1..=slot | 1)?;
        let (even, odd) = pair.split_first_mut()?;
        let odd = odd.first_mut()?;
        Some(if slot & 1 == 0 { [even, odd] } else { [odd, even] })
    }

    /// The host's code for the program counter, if it is known.
    pub fn get(&mut self, cpu: &Cpu) -> Option<u64> {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        self.places(pc, context)?.into_iter().find(|j| j.pc == pc && j.context == context).map(|j| j.host)
    }

    /// Takes note of the host's code for the program counter, which was not known.
    pub fn insert(&mut self, cpu: &mut Cpu, host: u64) {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        cpu.code_pages.insert(pc);
        // It may go on in the next page.
        cpu.code_pages.insert(pc.wrapping_add(2));
        if let Some([place, neighbour]) = self.places(pc, context) {
            *neighbour = std::mem::replace(place, Jump { pc, context, host });
        }
    }

    /// Forgets where the program counter leads.
    pub fn forget(&mut self, cpu: &Cpu) {
        let pc = cpu.hart.pc;
        for place in self.places(pc, cpu.code.number()).into_iter().flatten() {
            if place.pc == pc {
                *place = Jump::default();
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.table().fill(Jump::default());
    }
}
