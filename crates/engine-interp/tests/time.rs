//! Time, timers and counts: what happens at which instruction.

mod fixture;

use engine_core::{Exit, Vcpu};
use fabric_clock::Clock;
use fixture::*;
use isa_riscv::{Features, Mode};
use std::sync::atomic::Ordering;

const STCE: u64 = 1 << 63;
const TIME: u32 = 0xc01;

#[test]
fn a_timer_that_never_comes_does_not_end_the_wait() {
    for stimecmp in [u64::MAX, u64::MAX - 1, 1 << 60] {
        let mut f = Fixture::running(&[WFI]);
        f.set(|hart| {
            hart.csr.menvcfg |= STCE;
            hart.csr.mie = 1 << 5;
            hart.csr.stimecmp = stimecmp;
        });
        let exit = f.cpu.run(10);
        assert!(matches!(exit, Exit::Idle { until: None, .. }), "{exit:?}");
    }
}

#[test]
fn a_timer_ahead_ends_the_wait_at_its_tick() {
    let mut f = Fixture::running(&[WFI]);
    f.set(|hart| {
        hart.csr.menvcfg |= STCE;
        hart.csr.mie = 1 << 5;
        hart.csr.stimecmp = 7;
    });
    let exit = f.cpu.run(10);
    assert!(matches!(exit, Exit::Idle { until: Some(700), .. }), "{exit:?}");
}

/// Ten million ticks a second, one instruction a nanosecond: tick 3 begins at instruction 300.
#[test]
fn the_timer_interrupt_comes_at_its_instruction() {
    let mut f = Fixture::running(&[NOP; 1000]);
    f.open_pmp();
    f.set(|hart| {
        hart.mode = Mode::S;
        hart.csr.menvcfg |= STCE;
        hart.csr.mie = 1 << 5;
        hart.csr.stimecmp = 3;
    });
    f.run(1000);
    assert_eq!((f.hart().csr.mcause, f.hart().csr.mepc), (1 << 63 | 5, RAM + 4 * 300));
}

/// "These conditions must be evaluated immediately following an explicit write to a CSR on which these
/// interrupt trap conditions expressly depend": a guest that has seen its timer fire and enables the
/// interrupt executes nothing more.
#[test]
fn enabling_a_timer_interrupt_that_was_seen_takes_it_at_once() {
    let mut f = Fixture::new(&Features::FULL, Clock::real());
    f.code(RAM, &[csrr(10, TIME), bltu_back(10, 11, 4), csrsi(0x100, 2), NOP, NOP]);
    f.open_pmp();
    f.set(|hart| {
        hart.mode = Mode::S;
        hart.csr.menvcfg |= STCE;
        hart.csr.mcounteren = 2;
        hart.csr.mideleg = 1 << 5;
        hart.csr.mie = 1 << 5;
        hart.csr.stvec = HANDLER;
        hart.csr.stimecmp = 3_000;
        hart.x[11] = 3_000;
    });
    while f.hart().csr.scause == 0 {
        f.run(1_000_000);
    }
    assert_eq!(f.hart().csr.sepc, RAM + 12);
}

/// `time` is a view of `mtime` ("Zicntr"), which can be written; `stimecmp` compares with it.
#[test]
fn a_shifted_time_moves_the_timer_with_it() {
    let mut f = Fixture::running(&[csrr(10, TIME), WFI]);
    f.offset.store(1000u64.wrapping_neg(), Ordering::Release);
    f.set(|hart| {
        hart.csr.menvcfg |= STCE;
        hart.csr.mie = 1 << 5;
        hart.csr.stimecmp = u64::MAX - 1;
    });
    let exit = f.cpu.run(10);
    assert_eq!(f.hart().x[10], u64::MAX - 999);
    assert!(matches!(exit, Exit::Idle { until: Some(99_800), .. }), "{exit:?}");
}

/// "ECALL and EBREAK ... do not retire" ("Environment Call and Breakpoint").
#[test]
fn traps_do_not_retire_and_a_budget_is_exact() {
    let mut f = Fixture::running(&[NOP, NOP, ECALL, NOP]);
    for step in 1..=2 {
        f.run(1);
        assert_eq!(f.hart().pc, RAM + 4 * step);
    }
    // The trap, and the one instruction behind it: the handler's jump to itself.
    f.run(1);
    assert_eq!((f.trap(), f.hart().pc), ((11, RAM + 8, 0), HANDLER));
    assert_eq!((f.cpu.retired(), f.hart().csr.minstret(f.cpu.retired())), (3, 3));
}

/// "the value written is what the following instruction reads" ("Hardware Performance Monitor").
#[test]
fn a_written_minstret_is_what_the_next_instruction_reads() {
    let mut f = Fixture::running(&[csrw(0xb02, 5), csrr(10, 0xb02), NOP, csrr(11, 0xb02)]);
    f.set(|hart| hart.x[5] = u64::MAX);
    f.run(4);
    assert_eq!((f.hart().x[10], f.hart().x[11]), (u64::MAX, 1));
}
