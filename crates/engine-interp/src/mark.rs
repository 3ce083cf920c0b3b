//! Where a run stands between two instructions, to compare with another's or to come back to.

use crate::cpu::{Cpu, Reservation};
use crate::trap::Traps;
use engine_core::TimeSource;
use isa_riscv::Hart;

/// Everything that the instructions to come depend on, but for memory, time and interrupt lines.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Architectural state.
    pub hart: Hart,
    /// Instructions retired.
    pub retired: u64,
    /// What `lr` has reserved; its place is an offset in the arena.
    pub reservation: Reservation,
    /// In `wfi`.
    pub waiting: bool,
    /// Traps since an instruction was retired.
    traps: Traps,
}

impl Cpu {
    /// Where the arena is in the host's memory.
    fn arena(&self) -> u64 {
        self.ram.map().address().as_ptr() as u64
    }

    /// Where the run stands.
    pub(crate) fn mark(&self) -> Mark {
        let held = self.reservation;
        let value = if held.bytes == 4 { held.value & 0xffff_ffff } else { held.value };
        let reservation = match held.bytes {
            0 => Reservation::default(),
            bytes => Reservation { place: held.place.wrapping_sub(self.arena()), value, bytes },
        };
        Mark {
            hart: self.hart.clone(),
            retired: self.retired,
            reservation,
            waiting: self.waiting,
            traps: self.traps,
        }
    }

    /// Goes to where a run stood.
    pub(crate) fn rewind(&mut self, mark: &Mark, time: TimeSource) {
        self.hart.clone_from(&mark.hart);
        self.retired = mark.retired;
        self.reservation = mark.reservation;
        if self.reservation.bytes != 0 {
            self.reservation.place = mark.reservation.place.wrapping_add(self.arena());
        }
        self.waiting = mark.waiting;
        self.traps = mark.traps;
        self.time = time;
        self.timer_fired = false;
        self.position = 0;
        self.stop_at = 0;
        self.fence_code();
        self.forget_translations();
    }
}
