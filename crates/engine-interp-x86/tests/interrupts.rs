//! Interrupts, devices, and how the run loop counts.

mod fixture;

use engine_core::{Exit, Vcpu};
use fixture::*;
use iced_x86::code_asm::*;

const RAX: usize = 0;
const RCX: usize = 1;
const RBX: usize = 3;

#[test]
fn an_interrupt_wakes_from_hlt_and_iretq_goes_on() {
    let mut m = long_machine();
    m.code(|a| {
        a.sti().unwrap();
        a.hlt().unwrap();
        a.mov(ebx, 7).unwrap();
        a.cli().unwrap();
        a.hlt().unwrap();
    });
    m.put(
        HANDLERS + 16 * 0x40,
        &assemble(64, HANDLERS + 16 * 0x40, |a| {
            a.inc(ecx).unwrap();
            a.iretq().unwrap();
        }),
    );
    let idle = m.cpu.run(1000);
    assert!(matches!(idle, Exit::Idle { wake, .. } if wake & 1 != 0), "{idle:?}");
    assert_eq!(m.cpu.run(1000), idle);
    m.local.post(0x40);
    m.run();
    assert_eq!((m.gpr(RCX), m.gpr(RBX), m.gpr(4)), (1, 7, STACK));
}

#[test]
fn sti_holds_interrupts_off_for_one_instruction() {
    let mut m = long_machine();
    m.code(|a| {
        a.sti().unwrap();
        a.mov(ebx, 1).unwrap();
        a.mov(ebx, 2).unwrap();
    });
    m.local.post(0x40);
    assert_eq!(m.vector(), 0x40);
    assert_eq!((m.gpr(RBX), m.stack(1)[0]), (1, CODE + 6));

    // In slices of one instruction it is the same.
    let mut m = long_machine();
    m.code(|a| {
        a.sti().unwrap();
        a.mov(ebx, 1).unwrap();
        a.mov(ebx, 2).unwrap();
    });
    m.local.post(0x40);
    while m.cpu.run(1) == Exit::Budget {}
    assert_eq!((m.gpr(RBX), m.stack(1)[0]), (1, CODE + 6));
}

#[test]
fn nmis_are_blocked_until_iret() {
    use fabric_wire::local::Event;
    let mut m = long_machine();
    m.code(|a| {
        a.mov(ebx, 1).unwrap();
        a.hlt().unwrap();
    });
    m.put(
        HANDLERS + 16 * 2,
        &assemble(64, HANDLERS + 16 * 2, |a| {
            a.inc(ecx).unwrap();
            a.mov(edx, ecx).unwrap();
            a.iretq().unwrap();
        }),
    );
    m.local.post_event(Event::Nmi);
    m.local.post_event(Event::Nmi);
    m.run();
    assert_eq!((m.gpr(RCX), m.gpr(RBX)), (2, 1));
    assert_eq!(m.gpr(4), STACK);
}

#[test]
fn a_single_step_traps_behind_each_instruction() {
    let mut m = long_machine();
    m.code(|a| {
        a.push(0x102).unwrap();
        a.popfq().unwrap();
        a.mov(eax, 1).unwrap();
        a.mov(eax, 2).unwrap();
    });
    assert_eq!(m.vector(), 1);
    assert_eq!(m.gpr(RAX), 1);
    assert_eq!(m.stack(3), [CODE + 5 + 1 + 5, KERNEL_CODE.into(), 0x102]);
    assert_eq!(m.cpu.state().dr6 & 0xf00f, 0x4000);
}

#[test]
fn devices_and_the_apic_page_are_reached() {
    let mut m = long_machine();
    m.put_word(PDPT + 3 * 8, 0x30_0000 | 7);
    for n in 0..512u64 {
        m.put_word(0x30_0000 + 8 * n, 0xc000_0087 + (n << 21));
    }
    m.code(|a| {
        a.mov(ebx, 0xfee0_0020u32).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
        a.mov(dword_ptr(rbx + 0x60), 5).unwrap();
        a.mov(ebx, DEVICE as u32).unwrap();
        a.mov(ecx, dword_ptr(rbx + 8)).unwrap();
        a.mov(word_ptr(rbx + 4), 6).unwrap();
        a.mov(ebx, 0xc100_0000u32).unwrap();
        a.mov(byte_ptr(rbx), 1).unwrap();
        a.mov(edx, dword_ptr(rbx)).unwrap();
        a.mov(eax, eax).unwrap();
        a.in_(al, 0x60).unwrap();
        a.out(0xe9, al).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!((m.gpr(RCX), m.gpr(2)), (0x804, 0xffff_ffff));
    assert_eq!(m.gpr(RAX) as u32, 0xa91c_4001, "AL is what the port says");
    assert_eq!(*m.local.writes.lock().unwrap(), [(0x80, 4, 5)]);
    assert_eq!(*m.device.0.lock().unwrap(), [(4, 2, 6)]);
    assert_eq!(*m.ports.0.lock().unwrap(), [(0xe9, 1, 1)]);
}

#[test]
fn a_device_that_raises_an_interrupt_is_heard_at_once() {
    let mut m = long_machine();
    m.put_word(PDPT + 3 * 8, 0x30_0000 | 7);
    m.put_word(0x30_0000 + 8 * 0x1f7, 0xfee0_0000 | 0x87);
    m.code(|a| {
        a.mov(ebx, 0xfee0_0300u32).unwrap();
        a.sti().unwrap();
        a.nop().unwrap();
        a.mov(dword_ptr(rbx), 0x50).unwrap();
        a.inc(eax).unwrap();
    });
    assert_eq!(m.vector(), 0x50);
    assert_eq!((m.gpr(RAX), m.stack(1)[0]), (0, CODE + 5 + 1 + 1 + 6));
}

#[test]
fn init_and_start_up_ipis_begin_in_real_mode() {
    use fabric_wire::local::Event;
    let mut m = long_machine();
    *m.local.base.lock().unwrap() = 0xfee0_0800; // not the bootstrap processor
    m.local.post_event(Event::Init);
    assert!(matches!(m.cpu.run(100), Exit::Idle { wake, .. } if wake & 8 != 0));
    m.put(
        0x9_a000,
        &assemble(16, 0, |a| {
            a.mov(ax, cs).unwrap();
            a.hlt().unwrap();
        }),
    );
    m.local.post_event(Event::Sipi(0x9a));
    m.run();
    assert_eq!(m.gpr(RAX) as u16, 0x9a00);
    assert!(!m.cpu.state().protected());
}

#[test]
fn string_instructions_count_by_chunks_and_are_the_same_in_slices() {
    let run = |step: u64| {
        let mut m = long_machine();
        m.code(|a| {
            a.mov(edi, 0x20_0000).unwrap();
            a.mov(ecx, 10_000).unwrap();
            a.mov(al, 0x5a).unwrap();
            a.rep().stosb().unwrap();
            a.hlt().unwrap();
        });
        while m.cpu.run(step) == Exit::Budget {}
        let mut bytes = vec![0; 10_001];
        m.ram.copy_out(0x20_0000, &mut bytes).unwrap();
        assert!(bytes[..10_000].iter().all(|&b| b == 0x5a) && bytes[10_000] == 0);
        (m.cpu.retired(), m.gpr(RCX), m.gpr(7))
    };
    assert_eq!(run(1000), (3 + 3 + 1, 0, 0x20_0000 + 10_000));
    assert_eq!(run(1), run(1000));
}

#[test]
fn an_endless_fault_uses_the_budget_up() {
    let mut m = long_machine();
    m.code(|a| a.ud2().unwrap());
    // The handler is the fault itself; each frame goes where the last one went.
    let [low, high] = gate(CODE, KERNEL_CODE, 0xe, 0, 1);
    m.put_word(IDT + 16 * 6, low);
    m.put_word(IDT + 16 * 6 + 8, high);
    assert_eq!(m.cpu.run(5000), Exit::Budget);
    assert_eq!(m.cpu.retired(), 5000);
}

#[test]
fn moves_that_overlap_repeat_what_they_store() {
    // Forwards by 3 bytes: the pattern repeats; backwards, and into another page: a plain copy.
    let mut m = long_machine();
    let text: Vec<u8> = (0..200).collect();
    m.put(0x9_0f80, &text);
    m.put(0x9_4f80, &text);
    m.code(|a| {
        a.mov(esi, 0x9_0f80).unwrap();
        a.mov(edi, 0x9_0f83).unwrap();
        a.mov(ecx, 180).unwrap();
        a.rep().movsb().unwrap();
        a.mov(esi, 0x9_4f83).unwrap();
        a.mov(edi, 0x9_4f80).unwrap();
        a.mov(ecx, 180).unwrap();
        a.rep().movsb().unwrap();
        a.mov(edi, 0x9_8ffd).unwrap();
        a.mov(ecx, 100).unwrap();
        a.mov(eax, 0x0403_0201).unwrap();
        a.rep().stosd().unwrap();
        a.hlt().unwrap();
    });
    m.run();
    let bytes = |at: u64, n: usize| {
        let mut bytes = vec![0; n];
        m.ram.copy_out(at, &mut bytes).unwrap();
        bytes
    };
    assert!(bytes(0x9_0f80, 183).iter().enumerate().all(|(n, &b)| usize::from(b) == n % 3));
    assert!(bytes(0x9_4f80, 180).iter().enumerate().all(|(n, &b)| usize::from(b) == n + 3));
    assert!(bytes(0x9_8ffd, 400).iter().enumerate().all(|(n, &b)| usize::from(b) == n % 4 + 1));
    assert_eq!((m.gpr(6), m.gpr(7), m.gpr(RCX)), (0x9_4f83 + 180, 0x9_8ffd + 400, 0));
    assert_eq!(bytes(0x9_8ffd + 400, 1), [0]);
}

#[test]
fn a_spurious_wake_leaves_it_halted() {
    let mut m = long_machine();
    m.code(|a| {
        a.sti().unwrap();
        a.hlt().unwrap();
        a.mov(ebx, 7).unwrap();
    });
    assert!(matches!(m.cpu.run(100), Exit::Idle { .. }));
    // The line is up, but there is no vector.
    m.cpu.pending().raise(1);
    assert!(matches!(m.cpu.run(100), Exit::Idle { .. }));
    assert_eq!((m.gpr(RBX), m.cpu.state().rip), (0, CODE + 2));
}

#[test]
fn a_software_interrupt_clears_tf_and_has_no_trap_behind_it() {
    let mut m = long_machine();
    m.code(|a| {
        a.push(0x102).unwrap();
        a.popfq().unwrap();
        a.int(0x80).unwrap();
    });
    assert_eq!(m.vector(), 0x80);
    assert_eq!(m.stack(3), [CODE + 5 + 1 + 2, KERNEL_CODE.into(), 0x102]);
}

#[test]
fn a_debug_exception_lets_its_handler_at_the_debug_registers() {
    let mut m = long_machine();
    m.code(|a| {
        a.push(0x102).unwrap();
        a.popfq().unwrap();
        a.nop().unwrap();
    });
    m.cpu.with_state(&mut |s| s.dr7 |= 1 << 13);
    m.put(
        HANDLERS + 16,
        &assemble(64, HANDLERS + 16, |a| {
            a.mov(rax, dr6).unwrap();
            a.hlt().unwrap();
        }),
    );
    m.run();
    assert_eq!(m.gpr(RAX) & 0xf00f, 0x4000);
    assert_eq!((m.gpr(4), m.cpu.state().dr7 & 1 << 13), (STACK - 40, 0));
}
