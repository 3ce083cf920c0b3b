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

/// SS, RFLAGS and CS of an interrupted kernel.
fn kernel_frame(rip: u64, flags: u64, stack: u64) -> Vec<u64> {
    vec![rip, KERNEL_CODE.into(), flags, stack, KERNEL_DATA.into()]
}

const FLAGS: u64 = 2;
const RF: u64 = 1 << 16;

#[test]
fn page_faults_have_their_error_codes() {
    // What is done, the error code, and the address.
    type Build = fn(&mut CodeAssembler);
    let cases: [(Build, u64, u64); 6] = [
        (|a| a.mov(al, byte_ptr(HOLE + 5)).unwrap(), 0, HOLE + 5),
        (|a| a.mov(byte_ptr(HOLE + 5), al).unwrap(), 2, HOLE + 5),
        (|a| a.mov(byte_ptr(READ_ONLY), al).unwrap(), 3, READ_ONLY),
        (|a| a.add(byte_ptr(READ_ONLY), 1u32).unwrap(), 3, READ_ONLY),
        (|a| a.jmp(NO_EXECUTE).unwrap(), 0x11, NO_EXECUTE),
        // Across a page: the part that faults.
        (|a| a.mov(qword_ptr(HOLE - 4), rax).unwrap(), 2, HOLE),
    ];
    for (n, (build, error, address)) in cases.into_iter().enumerate() {
        let mut m = long_machine();
        m.code(build);
        let before = m.word(HOLE - 8);
        assert_eq!(m.vector(), 14, "case {n}");
        assert_eq!(m.cpu.state().cr2, address, "case {n}");
        let stack = m.stack(6);
        let rip = if n == 4 { NO_EXECUTE } else { CODE };
        assert_eq!(stack[0], error, "case {n}");
        assert_eq!(stack[1..], kernel_frame(rip, FLAGS | RF, STACK), "case {n}");
        assert_eq!(m.word(HOLE - 8), before, "case {n}");
    }
}

#[test]
fn user_faults_have_the_user_bit_and_switch_stacks() {
    let mut m = long_machine();
    m.code(|a| {
        a.push(u32::from(USER_DATA) as i32).unwrap();
        a.push(USER_STACK as i32).unwrap();
        a.push(0x202).unwrap();
        a.push(u32::from(USER_CODE) as i32).unwrap();
        a.push(CODE as i32 + 0x100).unwrap();
        a.iretq().unwrap();
    });
    m.put(CODE + 0x100, &assemble(64, CODE + 0x100, |a| a.mov(al, byte_ptr(SUPERVISOR)).unwrap()));
    assert_eq!(m.vector(), 14);
    assert_eq!(m.cpu.state().cr2, SUPERVISOR);
    assert_eq!(m.stack(6), [5, CODE + 0x100, USER_CODE.into(), 0x202 | RF, USER_STACK, USER_DATA.into()]);
    assert_eq!(m.gpr(4), INNER_STACK - 48);
    let state = m.cpu.state();
    assert_eq!((state.segment(isa_x86::seg::SS).selector, state.cpl()), (0, 0));
    assert_eq!(state.system_flags & 0x200, 0, "an interrupt gate clears IF");
}

#[test]
fn smep_and_smap_keep_the_kernel_from_user_pages() {
    use isa_x86::cr4;
    let smap = |build: fn(&mut CodeAssembler)| {
        let mut m = long_machine();
        // Code, stack and tables must be the supervisor's then.
        for page in 0..0x40 {
            let entry = m.word(PT + 8 * page);
            m.put_word(PT + 8 * page, entry & !4);
        }
        m.cpu.with_state(&mut |s| s.cr4 |= cr4::SMEP | cr4::SMAP);
        m.code(build);
        m
    };
    let mut m = smap(|a| a.mov(al, byte_ptr(0x9_0000)).unwrap());
    assert_eq!((m.vector(), m.stack(1)[0]), (14, 1));
    let mut m = smap(|a| {
        a.stac().unwrap();
        a.mov(al, byte_ptr(0x9_0000)).unwrap();
        a.clac().unwrap();
        a.mov(byte_ptr(0x9_0000), al).unwrap();
    });
    assert_eq!((m.vector(), m.stack(1)[0]), (14, 3));
    let mut m = smap(|a| a.jmp(0x9_0000).unwrap());
    assert_eq!((m.vector(), m.stack(1)[0]), (14, 0x11));
}

#[test]
fn walks_set_accessed_and_dirty() {
    let mut m = long_machine();
    let (read, written) = (0x9_0000u64, 0x9_1000u64);
    m.code(|a| {
        a.mov(al, byte_ptr(read)).unwrap();
        a.mov(byte_ptr(written), al).unwrap();
        a.mov(al, byte_ptr(0x40_0000u64)).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    let entry = |at: u64| m.word(at) & 0x60;
    assert_eq!(entry(PT + (read >> 12) * 8), 0x20);
    assert_eq!(entry(PT + (written >> 12) * 8), 0x60);
    assert_eq!(entry(PT + (0x9_2000 >> 12) * 8), 0);
    assert_eq!(entry(PD + 2 * 8), 0x20);
    assert_eq!(entry(PD + 3 * 8), 0);
    assert_eq!(entry(PML4), 0x20);
}

#[test]
fn reserved_bits_fault() {
    let mut m = long_machine();
    m.put_word(PT + 0x90 * 8, 0x9_0007 | 1 << 51);
    m.code(|a| a.mov(al, byte_ptr(0x9_0000)).unwrap());
    assert_eq!((m.vector(), m.stack(1)[0]), (14, 9));
}

#[test]
fn a_stale_translation_lives_until_invlpg() {
    let mut m = long_machine();
    let entry = PT + 0x90 * 8;
    m.put_word(0x9_0000, 1);
    m.put_word(0x9_1000, 2);
    m.code(|a| {
        a.mov(rax, qword_ptr(0x9_0000u64)).unwrap();
        a.mov(rcx, 0x9_1007u64).unwrap();
        a.mov(qword_ptr(entry), rcx).unwrap();
        a.invlpg(byte_ptr(0x9_0000u64)).unwrap();
        a.mov(rbx, qword_ptr(0x9_0000u64)).unwrap();
        a.mov(rcx, 0x9_0007u64).unwrap();
        a.mov(qword_ptr(entry), rcx).unwrap();
        a.mov(rcx, cr3).unwrap();
        a.mov(cr3, rcx).unwrap();
        a.mov(rdx, qword_ptr(0x9_0000u64)).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!((m.gpr(RAX), m.gpr(RBX), m.gpr(2)), (1, 2, 1));
}

/// CR3 may be 0, which is no other address space than any other: what is remembered of a large page goes with an
/// `invlpg` anywhere in it.
#[test]
fn page_tables_at_address_0_are_page_tables() {
    let mut m = long_machine();
    m.put_word(0, PDPT | 7);
    m.cpu.with_state(&mut |s| s.cr3 = 0);
    m.put_word(0x40_0000, 4);
    m.put_word(0x60_0000, 6);
    m.code(|a| {
        a.mov(esi, 0x40_0000).unwrap();
        a.mov(rdi, qword_ptr(rsi)).unwrap();
        a.cpuid().unwrap(); // ends contexts of code, and leaves others
        a.mov(ebx, PD as u32 + 16).unwrap();
        a.mov(dword_ptr(rbx), 0x60_0087).unwrap();
        a.invlpg(byte_ptr(rsi + 0x5000)).unwrap();
        a.mov(rsi, qword_ptr(rsi)).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!((m.gpr(7), m.gpr(6)), (4, 6));
}

#[test]
fn exceptions_push_what_they_should() {
    type Build = fn(&mut CodeAssembler);
    // Vector, error code, and whether the saved address is that of the instruction.
    let cases: [(Build, u64, Option<u64>); 8] = [
        (|a| a.ud2().unwrap(), 6, None),
        (|a| a.div(ecx).unwrap(), 0, None),
        (
            |a| {
                a.mov(rbx, 0x8000_0000_0000_0000u64).unwrap();
                a.mov(al, byte_ptr(rbx)).unwrap();
            },
            13,
            Some(0),
        ),
        (
            |a| {
                a.mov(rsp, 0x8000_0000_0000_0000u64).unwrap();
                a.push(rax).unwrap();
            },
            12,
            Some(0),
        ),
        (|a| a.mov(ds, word_ptr(0x9_0000u64)).unwrap(), 13, Some(0x1000)),
        (|a| a.wrmsr().unwrap(), 13, Some(0)),
        (
            |a| {
                a.mov(rbx, 0x8000_0000_0000_0000u64).unwrap();
                a.jmp(rbx).unwrap();
            },
            13,
            Some(0),
        ),
        (|a| a.lldt(word_ptr(0x9_0002u64)).unwrap(), 13, Some(0x10)),
    ];
    for (n, (build, vector, error)) in cases.into_iter().enumerate() {
        let mut m = long_machine();
        if n == 3 {
            // Its own stack is of no use.
            let [low, high] = gate(HANDLERS + 16 * 12, KERNEL_CODE, 0xe, 0, 1);
            m.put_word(IDT + 16 * 12, low);
            m.put_word(IDT + 16 * 12 + 8, high);
        }
        m.put_word(0x9_0000, 0x0010_1000);
        m.cpu.with_state(&mut |s| s.gpr[RCX] = 0);
        m.cpu.with_state(&mut |s| {
            if n == 5 {
                s.gpr[RCX] = 0xdead
            }
        });
        m.code(build);
        assert_eq!(m.vector(), vector, "case {n}");
        if n == 3 {
            assert_eq!(m.gpr(4), IST1 - 48);
        }
        let stack = m.stack(2);
        if let Some(error) = error {
            assert_eq!(stack[0], error, "case {n}");
        }
        let saved = stack[usize::from(error.is_some())];
        let at = if matches!(n, 2 | 3 | 6) { CODE + 10 } else { CODE };
        assert_eq!(saved, at, "case {n}");
    }
}

#[test]
fn a_fault_in_a_faults_delivery_is_double_and_another_triple() {
    // The handler of #PF is not present: #NP while #PF is delivered.
    let mut m = long_machine();
    m.put_word(IDT + 16 * 14, 0);
    m.code(|a| a.mov(al, byte_ptr(HOLE)).unwrap());
    assert_eq!(m.vector(), 8);
    assert_eq!(m.stack(2), [0, CODE]);
    assert_eq!(m.cpu.state().cr2, HOLE);

    let mut m = long_machine();
    m.put_word(IDT + 16 * 14, 0);
    m.put_word(IDT + 16 * 8, 0);
    m.code(|a| a.mov(al, byte_ptr(HOLE)).unwrap());
    let shutdown = Exit::Shutdown(Some(engine_core::Fault { pc: CODE, cause: 14, value: HOLE }));
    assert_eq!(m.cpu.run(1000), shutdown);
    assert_eq!(m.cpu.run(1000), Exit::Shutdown(None));

    // #UD is benign: what comes of its delivery is delivered in its place.
    let mut m = long_machine();
    let [low, high] = gate(HANDLERS, KERNEL_CODE, 0xe, 0, 0);
    m.put_word(IDT + 16 * 6, low & !(1 << 47));
    m.put_word(IDT + 16 * 6 + 8, high);
    m.code(|a| a.ud2().unwrap());
    assert_eq!((m.vector(), m.stack(1)[0]), (11, 6 * 8 + 3));
}

#[test]
fn a_software_interrupt_needs_the_gates_level() {
    let mut m = long_machine();
    user(&mut m, |a| a.int(0x80).unwrap());
    assert_eq!((m.vector(), m.stack(1)[0]), (13, 0x80 * 8 + 2));

    let mut m = long_machine();
    let [low, high] = gate(HANDLERS + 16 * 0x80, KERNEL_CODE, 0xf, 3, 0);
    m.put_word(IDT + 16 * 0x80, low);
    m.put_word(IDT + 16 * 0x80 + 8, high);
    user(&mut m, |a| a.int(0x80).unwrap());
    assert_eq!(m.vector(), 0x80);
    assert_eq!(m.stack(5), [CODE + 2, USER_CODE.into(), 0x202, USER_STACK, USER_DATA.into()]);
    assert_ne!(m.cpu.state().system_flags & 0x200, 0, "a trap gate leaves IF");
}

/// Starts at [`CODE`] in user mode.
fn user(m: &mut Machine, build: impl FnOnce(&mut CodeAssembler)) {
    m.code(build);
    m.cpu.with_state(&mut |s| {
        let flat = |selector, kind, long| isa_x86::Segment {
            limit: u32::MAX,
            kind,
            dpl: 3,
            long,
            big: !long,
            granular: true,
            base: 0,
            ..isa_x86::Segment::real(selector)
        };
        s.segments[1] = flat(USER_CODE, 0xb, true);
        s.segments[2] = flat(USER_DATA, 3, false);
        s.gpr[4] = USER_STACK;
        s.set_rflags(0x202);
    });
}

#[test]
fn syscall_and_sysret() {
    let mut m = long_machine();
    user(&mut m, |a| {
        a.syscall().unwrap();
        a.mov(rbx, rsp).unwrap();
        a.hlt().unwrap();
    });
    let entry = CODE + 0x800;
    m.put(
        entry,
        &assemble(64, entry, |a| {
            a.pushfq().unwrap();
            a.pop(rax).unwrap();
            a.mov(dx, cs).unwrap();
            a.mov(si, ss).unwrap();
            a.mov(rdi, rcx).unwrap();
            a.mov(r8, r11).unwrap();
            a.sysretq().unwrap();
        }),
    );
    m.cpu.with_state(&mut |s| {
        s.msrs.star = 0x18 << 48 | u64::from(KERNEL_CODE) << 32;
        s.msrs.lstar = entry;
        s.msrs.fmask = 0x200;
    });
    // The user's `hlt` is #GP(0).
    assert_eq!(m.vector(), 13);
    let s = m.cpu.state();
    assert_eq!(s.gpr[RAX] & 0x200, 0);
    assert_eq!((s.gpr[2], s.gpr[6]), (KERNEL_CODE.into(), KERNEL_DATA.into()));
    assert_eq!((s.gpr[7], s.gpr[8]), (CODE + 2, 0x202));
    assert_eq!(s.gpr[RBX], USER_STACK);
    assert_eq!(m.stack(6), [0, CODE + 5, USER_CODE.into(), 0x202 | RF, USER_STACK, USER_DATA.into()]);
}

#[test]
fn compatibility_mode_and_back() {
    let mut m = long_machine();
    let there = CODE + 0x400;
    m.code(|a| {
        a.push(u32::from(CODE32) as i32).unwrap();
        a.push(there as i32).unwrap();
        a.db(&[0x48, 0xcb]).unwrap(); // retfq
    });
    let back = CODE + 0x800;
    m.put(
        there,
        &assemble(32, there, |a| {
            a.mov(eax, 0x1234_5678).unwrap();
            a.push(eax).unwrap();
            a.push(u32::from(KERNEL_CODE) as i32).unwrap();
            a.push(back as i32).unwrap();
            a.retf().unwrap();
        }),
    );
    m.put(
        back,
        &assemble(64, back, |a| {
            a.mov(ecx, dword_ptr(rsp)).unwrap();
            a.hlt().unwrap();
        }),
    );
    m.run();
    assert_eq!((m.gpr(RAX), m.gpr(RCX)), (0x1234_5678, 0x1234_5678));
    assert_eq!(m.gpr(4), STACK - 4);
}

#[test]
fn an_instruction_of_fifteen_bytes_crosses_into_an_absent_page() {
    let at = HOLE - 14;
    // 14 prefixes of the operand size and a nop.
    let long: Vec<u8> = [vec![0x66; 14], vec![0x90]].concat();
    let mut m = long_machine();
    m.put(at, &long[..14]);
    m.code(|a| a.jmp(at).unwrap());
    assert_eq!(m.vector(), 14);
    assert_eq!(m.cpu.state().cr2, HOLE);
    assert_eq!(m.stack(2), [0x10, at], "a fetch, with NXE set");

    // With the page there it is executed; with one byte more it is too long.
    for (prefixes, vector) in [(14, 6), (15, 13)] {
        let mut m = long_machine();
        m.put_word(PT + (HOLE >> 12) * 8, HOLE | 7);
        m.put(at, &[0x66; 16][..prefixes]);
        m.put(at + prefixes as u64, &[0x90, 0x0f, 0x0b]);
        m.code(|a| a.jmp(at).unwrap());
        assert_eq!(m.vector(), vector);
        let saved = if vector == 6 { m.stack(1)[0] } else { m.stack(2)[1] };
        assert_eq!(saved, if vector == 6 { at + 15 } else { at });
    }
}

#[test]
fn code_that_changes_itself_runs_changed_at_once() {
    // A store into the very next instruction of the block.
    let mut m = long_machine();
    m.code(|a| {
        let mut top = a.create_label();
        let mut patched = a.create_label();
        let mut out = a.create_label();
        a.mov(ecx, 3).unwrap();
        a.set_label(&mut top).unwrap();
        a.lea(rbx, qword_ptr(patched)).unwrap();
        a.add(byte_ptr(rbx + 1), 1).unwrap();
        a.set_label(&mut patched).unwrap();
        a.add(al, 0x10).unwrap(); // 04 ib
        a.dec(ecx).unwrap();
        a.jz(out).unwrap();
        a.jmp(top).unwrap();
        a.set_label(&mut out).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!(m.gpr(RAX), 0x11 + 0x12 + 0x13);
}

#[test]
fn code_changed_through_another_mapping_is_seen() {
    let mut m = long_machine();
    m.put_word(PT + 0x90 * 8, CODE | 7);
    m.code(|a| {
        let mut top = a.create_label();
        let mut patched = a.create_label();
        let mut out = a.create_label();
        a.mov(ecx, 2).unwrap();
        a.set_label(&mut top).unwrap();
        a.lea(rbx, qword_ptr(patched)).unwrap();
        a.and(ebx, 0xfff).unwrap();
        a.add(byte_ptr(rbx + 0x9_0001), 1).unwrap();
        a.set_label(&mut patched).unwrap();
        a.add(al, 0x10).unwrap();
        a.dec(ecx).unwrap();
        a.jz(out).unwrap();
        a.jmp(top).unwrap();
        a.set_label(&mut out).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!(m.gpr(RAX), 0x11 + 0x12);
}

#[test]
fn other_writers_are_seen_after_a_serializing_instruction() {
    let mut m = long_machine();
    m.code(|a| {
        a.mov(eax, 1).unwrap();
        a.hlt().unwrap();
        a.cpuid().unwrap();
        a.jmp(CODE).unwrap();
    });
    m.run();
    assert_eq!(m.gpr(RAX), 1);
    m.put(CODE + 1, &[2]);
    m.cpu.with_state(&mut |s| s.activity = isa_x86::Activity::Running);
    m.run();
    assert_eq!(m.gpr(RAX), 2);
}
