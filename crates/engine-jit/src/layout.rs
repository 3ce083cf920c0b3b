//! Where things are in the processor's state, as emitted code sees it.

use engine_emit::Layout;
use engine_interp::{Cpu, FP, JUMP_TURN, JUMPS, Jump, NEAR, NEAR_BANKS, Native, PAGES, Reservation};
use engine_mmu::{Context, Entry, Table};
use isa_riscv::csr_fields::mstatus;
use isa_riscv::{Csrs, Hart};
use std::mem::offset_of;

/// How far `rbp` points into [`Cpu`]: at x16, so that all integer registers are within a byte's distance.
pub(crate) const RBP: i32 = (offset_of!(Cpu, hart) + offset_of!(Hart, x)) as i32 + 128;

/// A distance from `rbp`.
const fn at(offset: usize) -> i32 {
    offset as i32 - RBP
}

/// The distance of what is `offset` bytes into the hart.
pub(crate) const fn hart_at(offset: usize) -> i32 {
    at(offset_of!(Cpu, hart) + offset)
}

pub(crate) const fn layout() -> Layout {
    let native = offset_of!(Cpu, native);
    let hart = offset_of!(Cpu, hart);
    Layout {
        x: at(hart + offset_of!(Hart, x)),
        f: at(hart + offset_of!(Hart, f)),
        pc: at(hart + offset_of!(Hart, pc)),
        page_va: at(native + offset_of!(Native, page_va)),
        budget: at(native + offset_of!(Native, budget)),
        reason: at(native + offset_of!(Native, reason)),
        args: at(native + offset_of!(Native, args)),
        reservation: at(offset_of!(Cpu, reservation)),
        floats: at(offset_of!(Cpu, code_floats)),
        floats_bit: FP as i32,
        dirty: at(native + offset_of!(Native, dirty)),
        status: at(hart + offset_of!(Hart, csr) + offset_of!(Csrs, mstatus)),
        status_dirty: mstatus::FS as i32,
        spill: at(native + offset_of!(Native, spill)),
        groups: at(native + offset_of!(Native, groups)),
        near: at(native + offset_of!(Native, near)),
        near_misses: at(native + offset_of!(Native, near_misses)),
        near_owners: at(native + offset_of!(Native, near_owners)),
        read_version: at(offset_of!(Cpu, read) + Table::<PAGES>::VERSION),
        write_version: at(offset_of!(Cpu, write) + Table::<PAGES>::VERSION),
        data_number: at(offset_of!(Cpu, data) + Context::OFFSETS.0),
        mxcsr: at(native + offset_of!(Native, mxcsr)),
        host_mxcsr: at(native + offset_of!(Native, host_mxcsr)),
        linear_limit: at(native + offset_of!(Native, linear_limit)),
        linear_host: at(native + offset_of!(Native, linear_host)),
        read: at(offset_of!(Cpu, read)),
        write: at(offset_of!(Cpu, write)),
        entry_tag: Entry::OFFSETS.0 as i32,
        entry_addend: Entry::OFFSETS.1 as i32,
        entry_mask: 16 * (PAGES as i32 - 1),
        data_tag: at(offset_of!(Cpu, data) + Context::OFFSETS.1),
        code_number: at(offset_of!(Cpu, code) + Context::OFFSETS.0),
        jumps: at(native + offset_of!(Native, jumps)),
        jump_mask: 2 * (JUMPS as i32 - 1),
        jump_turn: JUMP_TURN as u8,
        one_hart: false,
    }
}

const _: () = assert!(
    offset_of!(Reservation, place) == 0
        && offset_of!(Reservation, value) == 8
        && offset_of!(Reservation, bytes) == 16
);
const _: () = assert!(NEAR_BANKS == engine_emit::NEAR_BANKS && NEAR == NEAR_BANKS * engine_emit::NEAR_PAGES);
const _: () = assert!(size_of::<Entry>() == 16 && size_of::<Jump>() == 32);
const _: () =
    assert!(offset_of!(Jump, pc) == 0 && offset_of!(Jump, context) == 8 && offset_of!(Jump, host) == 16);
