//! What a loop costs: printed, with a bound that only a broken build misses.

mod fixture;

use engine_core::{Exit, Vcpu};
use fixture::*;
use iced_x86::code_asm::*;

#[test]
fn a_simple_loop_is_fast_enough() {
    let mut m = long_machine();
    m.code(|a| {
        let mut top = a.create_label();
        a.mov(rbx, 0x10_0000u64).unwrap();
        a.set_label(&mut top).unwrap();
        a.mov(rax, qword_ptr(rbx + 8)).unwrap();
        a.add(rax, rcx).unwrap();
        a.mov(qword_ptr(rbx + 8), rax).unwrap();
        a.inc(rcx).unwrap();
        a.cmp(rcx, 0x7fff_ffff).unwrap();
        a.jne(top).unwrap();
        a.hlt().unwrap();
    });
    let count = if cfg!(debug_assertions) { 2_000_000 } else { 200_000_000 };
    let start = std::time::Instant::now();
    assert_eq!(m.cpu.run(count), Exit::Budget);
    let rate = count as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.0} million instructions a second");
    assert!(rate > 1.0, "{rate} million instructions a second");
}

#[test]
fn strings_move_pages_in_milliseconds() {
    let mut m = long_machine();
    m.code(|a| {
        a.mov(esi, 0x20_0000).unwrap();
        a.mov(edi, 0x60_0000).unwrap();
        a.mov(ecx, 0x40_0000 / 8).unwrap();
        a.rep().movsq().unwrap();
        a.mov(edi, 0x60_0000).unwrap();
        a.mov(ecx, 0x40_0000).unwrap();
        a.rep().stosb().unwrap();
        a.hlt().unwrap();
    });
    let start = std::time::Instant::now();
    m.run();
    println!("4 MiB by movsq and 4 MiB by stosb: {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 10);
}
