//! Real-address and protected mode, and the way into long mode.

mod fixture;

use engine_core::{Exit, Vcpu};
use fixture::*;
use iced_x86::code_asm::*;
use isa_x86::State;

/// A machine in real-address mode at 0:7C00.
fn real() -> Machine {
    let mut state = State::reset();
    state.segments = [isa_x86::Segment::real(0); 6];
    state.rip = 0x7c00;
    state.gpr[4] = 0x7000;
    machine(state)
}

fn put16(m: &Machine, at: u64, build: impl FnOnce(&mut CodeAssembler)) {
    m.put(at, &assemble(16, at, build));
}

/// An 8-byte gate.
fn gate32(offset: u64, selector: u16, kind: u64, dpl: u64) -> u64 {
    offset & 0xffff | u64::from(selector) << 16 | (kind | dpl << 5 | 1 << 7) << 40 | (offset >> 16) << 48
}

#[test]
fn after_reset_it_fetches_below_four_gigabytes() {
    let mut m = machine(State::reset());
    // jmp far F000:0100, at FFFF:0; then the ROM's own first page.
    m.put(SIZE - 16, &[0xea, 0x00, 0x01, 0x00, 0x10]);
    put16(&m, 0x1_0100, |a| {
        a.mov(ax, cs).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!(m.gpr(0), 0x1000);
    assert_eq!(m.gpr(2), 0x506e3);
}

#[test]
fn real_mode_interrupts_go_by_the_vector_table() {
    let mut m = real();
    m.put(4 * 0x21, &[0x00, 0x90, 0x00, 0x00]); // 0000:9000
    m.put(4 * 6, &[0x10, 0x90, 0x00, 0x00]);
    put16(&m, 0x7c00, |a| {
        a.mov(ax, 0x1234).unwrap();
        a.sti().unwrap();
        a.int(0x21).unwrap();
        a.mov(bx, 1).unwrap();
        a.ud2().unwrap();
    });
    put16(&m, 0x9000, |a| {
        a.pushf().unwrap();
        a.pop(cx).unwrap();
        a.iret().unwrap();
    });
    put16(&m, 0x9010, |a| a.hlt().unwrap());
    m.run();
    let s = m.cpu.state();
    assert_eq!((s.rip, s.gpr[3], s.gpr[1] & 0x200), (0x9011, 1, 0));
    assert_eq!(s.gpr[4], 0x7000 - 6, "no error code");
    let ud2 = 0x7c00 + 3 + 1 + 2 + 3;
    assert_eq!(m.word(0x7000 - 6) & 0xffff_ffff_ffff, ud2 | 0x202 << 32);
}

#[test]
fn real_mode_addresses_wrap_at_64_kibibytes_of_a_segment() {
    // A word at offset FFFF exceeds the limit: #GP, and for the stack #SS.
    let mut m = real();
    m.put(4 * 13, &[0x10, 0x90, 0x00, 0x00]);
    m.put(0x9010, &[0xf4]);
    put16(&m, 0x7c00, |a| {
        a.mov(bx, 0xffff).unwrap();
        a.mov(ax, word_ptr(bx)).unwrap();
    });
    m.run();
    assert_eq!(m.cpu.state().rip, 0x9011);

    // FFFF:0010 is the first megabyte's end plus 0: A20 is on.
    let mut m = real();
    m.put(0x10_0000, &[0x77]);
    put16(&m, 0x7c00, |a| {
        a.mov(ax, 0xffff).unwrap();
        a.mov(ds, ax).unwrap();
        a.mov(al, byte_ptr(0x10)).unwrap();
        a.hlt().unwrap();
    });
    m.run();
    assert_eq!(m.gpr(0), 0xff77);
}

/// From real mode to protected mode to long mode, as a boot loader goes.
#[test]
fn real_to_protected_to_long_mode() {
    let mut m = real();
    let entries = [0, flat(0xb, 0, 0xa), flat(3, 0, 0xc), flat(0xb, 0, 0xc)];
    (0..).zip(entries).for_each(|(n, entry)| m.put_word(GDT + 8 * n, entry));
    m.put(0x500, &[0x1f, 0, 0x00, 0x50, 0, 0]); // GDTR
    m.put_word(PML4, PDPT | 3);
    m.put_word(PDPT, PD | 3);
    m.put_word(PD, 0x83);
    put16(&m, 0x7c00, |a| {
        a.cli().unwrap();
        a.lgdt(word_ptr(0x500)).unwrap();
        a.mov(eax, cr0).unwrap();
        a.or(al, 1).unwrap();
        a.mov(cr0, eax).unwrap();
        a.db(&[0x66, 0xea, 0x00, 0x80, 0, 0, 0x18, 0]).unwrap(); // jmp far 18:8000
    });
    m.put(
        0x8000,
        &assemble(32, 0x8000, |a| {
            a.mov(ax, 0x10).unwrap();
            a.mov(ds, ax).unwrap();
            a.mov(ss, ax).unwrap();
            a.mov(eax, 0x20).unwrap();
            a.mov(cr4, eax).unwrap();
            a.mov(eax, PML4 as u32).unwrap();
            a.mov(cr3, eax).unwrap();
            a.mov(ecx, 0xc000_0080u32).unwrap();
            a.rdmsr().unwrap();
            a.or(eax, 0x100).unwrap();
            a.wrmsr().unwrap();
            a.mov(eax, cr0).unwrap();
            a.or(eax, 0x8000_0000u32 as i32).unwrap();
            a.mov(cr0, eax).unwrap();
            a.db(&[0xea, 0x00, 0x90, 0, 0, 0x08, 0]).unwrap(); // jmp far 8:9000
        }),
    );
    m.put(
        0x9000,
        &assemble(64, 0x9000, |a| {
            a.mov(rbx, 0x1122_3344_5566_7788u64).unwrap();
            a.mov(ecx, 0xc000_0080u32).unwrap();
            a.rdmsr().unwrap();
            a.hlt().unwrap();
        }),
    );
    m.run();
    assert_eq!((m.gpr(3), m.gpr(0)), (0x1122_3344_5566_7788, 0x500));
    assert!(m.cpu.state().long_mode());
}

/// A machine in 32-bit protected mode at [`CODE`], without paging: flat segments, an LDT-less GDT, a 32-bit TSS.
fn protected() -> Machine {
    let mut state = State::reset();
    let seg = |selector, kind| isa_x86::Segment {
        limit: u32::MAX,
        kind,
        big: true,
        granular: true,
        base: 0,
        ..isa_x86::Segment::real(selector)
    };
    state.cr0 = isa_x86::cr0::PE | isa_x86::cr0::ET;
    state.segments = [seg(0x10, 3); 6];
    state.segments[1] = seg(0x08, 0xb);
    state.gdtr = isa_x86::TableRegister { base: GDT, limit: 0x5f };
    state.idtr = isa_x86::TableRegister { base: IDT, limit: 0x7ff };
    state.tr =
        isa_x86::Segment { kind: 0xb, s: false, base: TSS, limit: 0x67, ..isa_x86::Segment::real(0x38) };
    state.rip = CODE;
    state.gpr[4] = STACK;
    let m = machine(state);
    let entries = [
        0,
        flat(0xb, 0, 0xc),
        flat(3, 0, 0xc),
        flat(0xb, 3, 0xc),
        flat(3, 3, 0xc),
        // 28: data of 16 bytes at 9_0000; 30: expand-down above FFF; 38: the TSS; 40: a call gate; 48: not present
        0x0000_f309_0000_000f,
        0x0040_f700_0000_0fff,
        0x67 | TSS << 16 | 0x8b << 40,
        (CODE + 0x800) & 0xffff | 0x08 << 16 | (0xec << 40) | 2 << 32 | ((CODE + 0x800) >> 16) << 48,
        flat(3, 0, 0xc) & !(1 << 47),
        // 50: conforming code
        flat(0xf, 0, 0xc),
        0,
    ];
    (0..).zip(entries).for_each(|(n, entry)| m.put_word(GDT + 8 * n, entry));
    for n in 0..256 {
        m.put_word(IDT + 8 * n, gate32(HANDLERS + 16 * n, 0x08, 0xe, 3));
        m.put(HANDLERS + 16 * n, &[0xf4]);
    }
    m.put(TSS + 4, &[(INNER_STACK & 0xff) as u8, (INNER_STACK >> 8) as u8, 0, 0, 0x10, 0, 0, 0]);
    m
}

fn put32(m: &Machine, at: u64, build: impl FnOnce(&mut CodeAssembler)) {
    m.put(at, &assemble(32, at, build));
}

/// Doublewords on the stack.
fn stack32(m: &Machine, n: u64) -> Vec<u32> {
    (0..n).map(|i| m.half(m.gpr(4) + 4 * i)).collect()
}

#[test]
fn limits_types_and_null_selectors() {
    type Build = fn(&mut CodeAssembler);
    // Vector, error code.
    let cases: [(Build, u64, u32); 10] = [
        (
            |a| {
                a.mov(eax, 0x28).unwrap();
                a.mov(es, ax).unwrap();
                a.mov(al, byte_ptr(15).es()).unwrap();
                a.mov(ax, word_ptr(15).es()).unwrap();
            },
            13,
            0,
        ),
        (
            |a| {
                a.mov(eax, 0x30).unwrap();
                a.mov(es, ax).unwrap();
                a.mov(al, byte_ptr(0x1000).es()).unwrap();
                a.mov(al, byte_ptr(0xfff).es()).unwrap();
            },
            13,
            0,
        ),
        (
            |a| {
                a.xor(eax, eax).unwrap();
                a.mov(es, ax).unwrap();
                a.mov(al, byte_ptr(0).es()).unwrap();
            },
            13,
            0,
        ),
        (
            |a| {
                a.mov(eax, 0x48).unwrap();
                a.mov(es, ax).unwrap();
            },
            11,
            0x48,
        ),
        (
            |a| {
                a.mov(eax, 0x48).unwrap();
                a.mov(ss, ax).unwrap();
            },
            12,
            0x48,
        ),
        (
            |a| {
                a.mov(eax, 0x60).unwrap();
                a.mov(es, ax).unwrap();
            },
            13,
            0x60,
        ),
        (
            |a| {
                a.xor(eax, eax).unwrap();
                a.mov(ss, ax).unwrap();
            },
            13,
            0,
        ),
        (
            |a| {
                a.mov(eax, 0x08).unwrap();
                a.mov(ss, ax).unwrap();
            },
            13,
            8,
        ),
        // Writing to code.
        (|a| a.mov(byte_ptr(0x9_0000).cs(), al).unwrap(), 13, 0),
        // The LDT is null.
        (
            |a| {
                a.mov(eax, 0x0c).unwrap();
                a.mov(es, ax).unwrap();
            },
            13,
            0x0c,
        ),
    ];
    for (n, (build, vector, error)) in cases.into_iter().enumerate() {
        let mut m = protected();
        put32(&m, CODE, build);
        assert_eq!(m.vector(), vector, "case {n}");
        assert_eq!(stack32(&m, 1), [error], "case {n}");
    }
}

#[test]
fn a_call_gate_goes_inwards_with_parameters_and_back() {
    let mut m = protected();
    put32(&m, CODE, |a| {
        a.push(0x23).unwrap();
        a.push(USER_STACK as i32).unwrap();
        a.push(0x202).unwrap();
        a.push(0x1b).unwrap();
        a.push(CODE as i32 + 0x400).unwrap();
        a.iretd().unwrap();
    });
    put32(&m, CODE + 0x400, |a| {
        a.mov(ax, ds).unwrap();
        a.mov(esi, eax).unwrap();
        a.push(0x11).unwrap();
        a.push(0x22).unwrap();
        a.db(&[0x9a, 0, 0, 0, 0, 0x43, 0]).unwrap(); // call far 43:0
        a.mov(edi, esp).unwrap();
        a.int(0x30).unwrap();
    });
    put32(&m, CODE + 0x800, |a| {
        a.mov(eax, dword_ptr(esp + 8)).unwrap();
        a.mov(ebx, dword_ptr(esp + 12)).unwrap();
        a.mov(ecx, dword_ptr(esp + 16)).unwrap();
        a.mov(edx, dword_ptr(esp + 20)).unwrap();
        a.retf_1(8).unwrap();
    });
    assert_eq!(m.vector(), 0x30);
    let s = m.cpu.state();
    assert_eq!((s.gpr[0], s.gpr[3]), (0x22, 0x11));
    assert_eq!((s.gpr[1], s.gpr[2]), (USER_STACK - 8, 0x23));
    assert_eq!((s.gpr[7], s.gpr[6]), (USER_STACK, 0), "parameters are dropped, DS was taken away");
    let frame = stack32(&m, 5);
    assert_eq!(frame[1..], [0x1b, 0x202, USER_STACK as u32, 0x23]);
}

#[test]
fn thirty_two_bit_paging_with_large_pages() {
    let mut m = protected();
    let (directory, table) = (0x20_0000u64, 0x20_1000u64);
    m.put(directory, &((table | 7) as u32).to_le_bytes());
    m.put(directory + 4, &0x87u32.to_le_bytes()); // 4 MiB at 4 MiB, to 0
    for n in 0..1024u32 {
        m.put(table + 4 * u64::from(n), &(n << 12 | 7).to_le_bytes());
    }
    m.put(table + 4 * 0x90, &[0; 4]);
    m.put_word(0x1234 + 0x10_0000, 0xabcd);
    put32(&m, CODE, |a| {
        a.mov(eax, 0x10).unwrap();
        a.mov(cr4, eax).unwrap();
        a.mov(eax, directory as u32).unwrap();
        a.mov(cr3, eax).unwrap();
        a.mov(eax, cr0).unwrap();
        a.or(eax, 0x8000_0000u32 as i32).unwrap();
        a.mov(cr0, eax).unwrap();
        a.mov(ebx, dword_ptr(0x50_1234)).unwrap();
        a.mov(dword_ptr(0x50_1238), ebx).unwrap();
        a.mov(byte_ptr(0x9_0010), al).unwrap();
    });
    assert_eq!(m.vector(), 14);
    let s = m.cpu.state();
    assert_eq!((s.gpr[3], s.cr2), (0xabcd, 0x9_0010));
    assert_eq!(stack32(&m, 1), [2]);
    assert_eq!(m.half(0x10_1238), 0xabcd);
    assert_eq!(m.half(directory + 4) & 0x60, 0x60);
    assert_eq!(m.half(directory) & 0x60, 0x20);
}

#[test]
fn pae_paging_has_three_levels_and_execute_disable() {
    let mut m = protected();
    let pdpt = 0x20_0000u64;
    m.put_word(pdpt, 0x20_1001);
    m.put_word(0x20_1000, 0x87);
    m.put_word(0x20_1008, 0x20_0000 | 0x87 | 1 << 63);
    put32(&m, CODE, |a| {
        a.mov(eax, 0x20).unwrap();
        a.mov(cr4, eax).unwrap();
        a.mov(ecx, 0xc000_0080u32).unwrap();
        a.mov(eax, 0x800).unwrap();
        a.xor(edx, edx).unwrap();
        a.wrmsr().unwrap();
        a.mov(eax, pdpt as u32).unwrap();
        a.mov(cr3, eax).unwrap();
        a.mov(eax, cr0).unwrap();
        a.or(eax, 0x8000_0000u32 as i32).unwrap();
        a.mov(cr0, eax).unwrap();
        a.mov(dword_ptr(0x30_0000), eax).unwrap();
        a.jmp(0x30_0000).unwrap();
    });
    assert_eq!(m.vector(), 14);
    assert_eq!(m.cpu.state().cr2, 0x30_0000);
    assert_eq!(stack32(&m, 2), [0x11, 0x30_0000]);
    assert_eq!(m.word(0x20_1008) & 0x60, 0x60);
    assert_eq!(m.word(pdpt), 0x20_1001, "a PDPTE has no accessed bit");
}

#[test]
fn ports_need_permission() {
    let user = |m: &mut Machine, bytes: &[u8]| {
        put32(m, CODE, |a| {
            a.push(0x23).unwrap();
            a.push(USER_STACK as i32).unwrap();
            a.push(0x202).unwrap();
            a.push(0x1b).unwrap();
            a.push(CODE as i32 + 0x400).unwrap();
            a.iretd().unwrap();
        });
        m.put(CODE + 0x400, bytes);
    };
    // in al, 60h; int 30h
    let code = [0xe4, 0x60, 0xcd, 0x30];
    let mut m = protected();
    m.cpu.with_state(&mut |s| s.tr.limit = 0x100);
    m.put(TSS + 0x66, &[0x68, 0]);
    user(&mut m, &code);
    assert_eq!(m.vector(), 0x30);
    let mut m = protected();
    m.cpu.with_state(&mut |s| s.tr.limit = 0x100);
    m.put(TSS + 0x66, &[0x68, 0]);
    m.put(TSS + 0x68 + 12, &[1]);
    user(&mut m, &code);
    assert_eq!((m.vector(), stack32(&m, 1)[0]), (13, 0));
    // The map would begin behind the limit.
    let mut m = protected();
    m.put(TSS + 0x66, &[0x68, 0]);
    user(&mut m, &code);
    assert_eq!((m.vector(), stack32(&m, 1)[0]), (13, 0));
}

#[test]
fn a_bad_gdt_is_reported_as_the_processor_would() {
    // The descriptor table is not where it is said to be: #GP, then #GP again, #DF, and shutdown.
    let mut m = protected();
    put32(&m, CODE, |a| {
        a.mov(dword_ptr(0x9_0000), 0).unwrap();
        a.mov(dword_ptr(0x9_0004), 0).unwrap();
        a.lgdt(fword_ptr(0x9_0000)).unwrap();
        a.mov(eax, 0x10).unwrap();
        a.mov(ds, ax).unwrap();
    });
    let Exit::Shutdown(Some(fault)) = m.cpu.run(1000) else { panic!("{:?}", m.cpu.state()) };
    assert_eq!((fault.cause, fault.value), (13, 0x10));
}

#[test]
fn code_beyond_the_limit_of_cs_is_not_fetched() {
    let mut m = protected();
    // Limit in the middle of the second instruction.
    m.cpu.with_state(&mut |s| s.segments[1].limit = CODE as u32 + 2);
    m.put(CODE, &[0x40, 0x66, 0xb8, 1, 0]); // inc eax; mov ax, 1
    // The handlers lie below the limit.
    assert_eq!((m.vector(), stack32(&m, 2)), (13, vec![0, CODE as u32 + 1]));
    assert_eq!(m.gpr(0), 1);
}
