//! What named operations ask of the hart's surroundings.

use crate::context::LINES;
use crate::cpu::Cpu;
use isa_riscv::{Change, Env, Hart, Trap};

impl Env for Cpu {
    #[inline(always)]
    fn hart(&mut self) -> &mut Hart {
        &mut self.hart
    }

    #[inline(always)]
    fn hart_ref(&self) -> &Hart {
        &self.hart
    }

    fn insn_pc(&self) -> u64 {
        self.pc_now()
    }

    fn time(&mut self) -> u64 {
        let ticks = self.time.ticks(self.retired_now());
        // A guest that has seen its timer fire may enable the interrupt next and must get it at once.
        if !self.timer_fired && self.hart.csr.next_timer().is_some_and(|at| ticks >= at) {
            self.timer_fired = true;
            self.note_interrupts();
        }
        ticks
    }

    fn retired(&mut self) -> u64 {
        self.retired_now()
    }

    fn lines(&mut self) -> u64 {
        self.pending.load() & LINES
    }

    fn changed(&mut self, what: Change) {
        match what {
            Change::Translation | Change::Legality => self.enter_context(),
            Change::Interrupts => self.note_interrupts(),
            Change::Timer => {
                self.look_around();
            }
            Change::Pmp => self.forget_translations(),
            Change::FenceVma { va, asid } => self.fence_vma(va, asid),
            Change::FenceI => self.fence_code(),
        }
    }

    fn wait_for_interrupt(&mut self) {
        self.waiting = true;
        self.look_around();
    }

    fn pause(&mut self) {
        self.time.pause();
    }

    fn jump_to(&mut self, pc: u64) {
        self.next_pc = pc;
    }

    fn zero_block(&mut self, va: u64) -> Result<(), Trap> {
        self.zero(va)
    }

    fn manage_block(&mut self, va: u64) -> Result<(), Trap> {
        self.manage(va)
    }
}
