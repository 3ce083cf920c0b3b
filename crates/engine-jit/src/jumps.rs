//! The jump table: where indirect jumps, and direct ones to other pages, find the host's code for a program counter.
//!
//! An entry may be in its place or, if that was wanted for something else since, in one of the three next to it. It holds in
//! one context only, so that whatever changes where code is needs no search here.

use engine_interp::{Cpu, JUMPS, Jump};
use std::io;
use support_hostmap::MemoryMap;

/// The table.
pub(crate) struct Jumps {
    map: MemoryMap,
    turn: usize,
}

/// Entries among which one may be.
const NEAR: usize = 4;

impl Jumps {
    /// An empty table.
    ///
    /// # Errors
    /// What the host says to the mapping.
    pub fn new() -> io::Result<Jumps> {
        Ok(Jumps { map: MemoryMap::new(JUMPS * size_of::<Jump>())?, turn: 0 })
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

    /// The four entries among which the program counter's is, and which of them is its place.
    fn places(&mut self, pc: u64, context: u64) -> (&mut [Jump], usize) {
        let slot = Jump::slot(pc, context);
        let (from, place) = (slot / NEAR * NEAR, slot % NEAR);
        (self.table().get_mut(from..from + NEAR).unwrap_or_default(), place)
    }

    /// The host's code for the program counter, if it is known.
    pub fn get(&mut self, cpu: &Cpu) -> Option<u64> {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        let (places, _) = self.places(pc, context);
        places.iter().find(|j| j.pc == pc && j.context == context).map(|j| j.host)
    }

    /// Takes note of the host's code for the program counter, which was not known.
    pub fn insert(&mut self, cpu: &mut Cpu, host: u64) {
        let (pc, context) = (cpu.hart.pc, cpu.code.number());
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let (places, place) = self.places(pc, context);
        let empty = places.iter().position(|j| j.context == 0);
        // What is in the place goes to an empty one, else each of the others has its turn to be given up.
        let other = empty.unwrap_or(place ^ (1 + turn % (NEAR - 1)));
        if empty != Some(place)
            && let Some(&before) = places.get(place)
            && let Some(other) = places.get_mut(other)
        {
            *other = before;
        }
        if let Some(entry) = places.get_mut(place) {
            *entry = Jump { pc, context, host };
        }
    }

    /// Forgets where the program counter leads.
    pub fn forget(&mut self, cpu: &Cpu) {
        let pc = cpu.hart.pc;
        let (places, _) = self.places(pc, cpu.code.number());
        places.iter_mut().filter(|j| j.pc == pc).for_each(|j| *j = Jump::default());
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.table().fill(Jump::default());
    }
}
