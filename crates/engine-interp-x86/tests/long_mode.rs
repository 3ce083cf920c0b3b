//! 64-bit mode: paging, events, levels, system calls.

mod fixture;

use engine_core::{Exit, Vcpu};
use fixture::*;
use iced_x86::code_asm::*;

const RAX: usize = 0;
const RCX: usize = 1;
const RBX: usize = 3;

#[test]
fn a_loop_sums() {
    let mut m = long_machine();
    m.code(|a| {
        let mut top = a.create_label();
        a.mov(ecx, 1000).unwrap();
        a.xor(eax, eax).unwrap();
        a.set_label(&mut top).unwrap();
        a.add(rax, rcx).unwrap();
        a.dec(rcx).unwrap();
        a.jnz(top).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!(m.gpr(RAX), 500_500);
    assert_eq!(m.cpu.retired(), 2 + 3000 + 1);
}

#[test]
fn budgets_are_exact() {
    let mut m = long_machine();
    m.code(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top).unwrap();
        a.inc(rax).unwrap();
        a.jmp(top).unwrap();
    });
    assert_eq!(m.cpu.run(1001), Exit::Budget);
    assert_eq!((m.cpu.retired(), m.gpr(RAX)), (1001, 501));
    assert_eq!(m.cpu.run(1), Exit::Budget);
    assert_eq!((m.cpu.retired(), m.gpr(RAX)), (1002, 501));
}
