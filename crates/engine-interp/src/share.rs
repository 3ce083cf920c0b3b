//! Kernels that are mapped alike in all address spaces are found once for all of them: which address spaces use the contexts of
//! [`SHARED`] for the code of S-mode.
//!
//! What such a context promises is what the one of an address space promises: that all was found where it is by the page tables
//! since the last fence that concerns them. When an address space is entered, its tables are looked at for what others have
//! found.

use crate::cpu::Cpu;
use engine_mmu::{Mapping, Standing};
use isa_riscv::Mode;

/// Instructions that take about as long as a look at one mapping: looks may take half of the time at most.
const LOOK: u64 = 16;
/// The most instructions for which looks may make up.
const SAVED: u64 = 1 << 20;

impl Cpu {
    /// Whether the hart's code uses what address spaces have in common; looks at the page tables if that is not known.
    pub(crate) fn shares(&mut self, space: u64) -> bool {
        if self.hart.mode != Mode::S || space >> 60 == 0 {
            return false;
        }
        let shared = self.contexts.shared();
        let Some(unseen) = shared.unseen(space) else { return false };
        if !unseen.is_empty() {
            let now = self.retired_now();
            let (saved, price) = ((now - self.looked_upto).min(SAVED), LOOK * unseen.len() as u64);
            let pays = saved >= price;
            let all_there = pays && self.all_there(unseen);
            let others = shared.others(space);
            self.looked_upto = now - if pays { saved - price } else { saved };

            if !all_there && pays && others {
                self.contexts.shared_mut().refuse(space);
                return false;
            }
            if !all_there {
                self.contexts.share_anew();
            }
        }
        self.contexts.admit(space);
        true
    }

    /// Notes that code of the current context, which is shared, was found by a page of 2^`bits` bytes, of which the `whole`
    /// 4 KiB around `va` may be fetched from. If that cannot be shared, the address space goes on in a context of its own.
    pub(crate) fn rely_shared(&mut self, va: u64, offset: u64, bits: u8, whole: bool) {
        let space = self.hart.csr.satp;
        // The lower half of the addresses is what processes have there.
        if !whole || va >> 63 == 0 {
            self.contexts.shared_mut().exclude(space);
            self.enter_context();
            return;
        }
        let mapping = Mapping { va, offset, bits };
        match self.contexts.shared().standing(mapping) {
            Standing::There => {}
            // Others look at it before they use it.
            Standing::New => self.contexts.shared_mut().rely(mapping, space),
            Standing::Never => {
                self.contexts.share_anew();
                self.contexts.shared_mut().rely(mapping, space);
                self.enter_context();
            }
        }
    }
}
