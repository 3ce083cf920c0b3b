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

/// Comparisons, each followed by what reads more than one flag.
#[test]
fn conditions_of_two_flags_are_fast_enough() {
    let mut m = long_machine();
    m.code(|a| {
        let mut top = a.create_label();
        let mut next = [a.create_label(), a.create_label(), a.create_label()];
        a.set_label(&mut top).unwrap();
        a.inc(rcx).unwrap();
        a.cmp(rcx, rdx).unwrap();
        a.jl(next[0]).unwrap();
        a.set_label(&mut next[0]).unwrap();
        a.cmp(rdx, rcx).unwrap();
        a.jbe(next[1]).unwrap();
        a.set_label(&mut next[1]).unwrap();
        a.cmp(rcx, 7).unwrap();
        a.jle(next[2]).unwrap();
        a.set_label(&mut next[2]).unwrap();
        a.cmp(rcx, rdx).unwrap();
        a.setg(al).unwrap();
        a.cmova(rsi, rdi).unwrap();
        a.jmp(top).unwrap();
    });
    let count = if cfg!(debug_assertions) { 2_000_000 } else { 200_000_000 };
    let start = std::time::Instant::now();
    assert_eq!(m.cpu.run(count), Exit::Budget);
    let rate = count as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.0} million instructions a second with conditions of two flags");
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

/// Nanoseconds that one round of `body` takes, at CPL 0.
fn cost(prepare: impl FnOnce(&mut Machine), body: impl FnOnce(&mut CodeAssembler)) -> f64 {
    let mut m = long_machine();
    prepare(&mut m);
    let rounds = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    m.code(|a| {
        let mut top = a.create_label();
        a.mov(r15, u64::from(rounds as u32)).unwrap();
        a.mov(rbx, cr3).unwrap();
        a.mov(edx, 0x9_0000).unwrap();
        a.mov(r14, rsp).unwrap();
        a.set_label(&mut top).unwrap();
        body(a);
        a.dec(r15).unwrap();
        a.jnz(top).unwrap();
        a.hlt().unwrap();
    });
    let start = std::time::Instant::now();
    let exit = m.cpu.run(100_000_000);
    let rate = start.elapsed().as_nanos() as f64 / f64::from(rounds);
    assert!(matches!(exit, Exit::Idle { .. }), "{exit:?}");
    assert_eq!((m.gpr(15), m.gpr(14)), (0, STACK));
    rate
}

type Row = (&'static str, f64);

/// What changes flags, levels and segments.
fn transfers() -> Vec<Row> {
    let smap = |m: &mut Machine| {
        for page in 0..0x40 {
            let entry = m.word(PT + 8 * page);
            m.put_word(PT + 8 * page, entry & !4);
        }
        m.cpu.with_state(&mut |s| s.cr4 |= isa_x86::cr4::SMAP | isa_x86::cr4::FSGSBASE);
    };
    let handler = |m: &mut Machine| m.put(HANDLERS + 16 * 0x40, &[0x48, 0xcf]);
    let skipping = |m: &mut Machine| {
        // add qword [rsp], 2; iretq
        m.put(HANDLERS + 16 * 6, &[0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf]);
    };
    let calls = |m: &mut Machine| {
        m.cpu.with_state(&mut |s| {
            s.msrs.star = 0x18 << 48 | u64::from(KERNEL_CODE) << 32;
            s.msrs.lstar = HANDLERS + 16 * 0x41;
        });
        m.put(HANDLERS + 16 * 0x41, &assemble(64, HANDLERS + 16 * 0x41, |a| a.jmp(rcx).unwrap()));
    };
    let none = |_: &mut Machine| {};
    vec![
        ("nop", cost(none, |a| a.nop().unwrap())),
        (
            "stac, clac",
            cost(smap, |a| {
                a.stac().unwrap();
                a.mov(al, byte_ptr(rdx)).unwrap();
                a.clac().unwrap();
            }),
        ),
        (
            "sti, cli",
            cost(none, |a| {
                a.sti().unwrap();
                a.cli().unwrap();
            }),
        ),
        (
            "sti, nop, cli",
            cost(none, |a| {
                a.sti().unwrap();
                a.nop().unwrap();
                a.cli().unwrap();
            }),
        ),
        (
            "pushfq, popfq",
            cost(none, |a| {
                a.pushfq().unwrap();
                a.popfq().unwrap();
            }),
        ),
        ("swapgs", cost(none, |a| a.swapgs().unwrap())),
        ("wrfsbase", cost(smap, |a| a.wrfsbase(rdx).unwrap())),
        ("int, iretq", cost(handler, |a| a.int(0x40).unwrap())),
        ("ud2, iretq", cost(skipping, |a| a.ud2().unwrap())),
        ("syscall", cost(calls, |a| a.syscall().unwrap())),
        (
            "mov ds",
            cost(none, |a| {
                a.mov(eax, u32::from(KERNEL_DATA)).unwrap();
                a.mov(ds, ax).unwrap();
            }),
        ),
    ]
}

/// What changes translations, or asks others.
fn translations() -> Vec<Row> {
    let none = |_: &mut Machine| {};
    vec![
        ("mov cr3", cost(none, |a| a.mov(cr3, rbx).unwrap())),
        (
            "invlpg of data",
            cost(none, |a| {
                a.invlpg(qword_ptr(rdx)).unwrap();
                a.mov(al, byte_ptr(rdx)).unwrap();
            }),
        ),
        (
            "invlpg of the code's page",
            cost(none, |a| {
                a.mov(ecx, CODE as u32).unwrap();
                a.invlpg(qword_ptr(rcx)).unwrap();
            }),
        ),
        (
            "cpuid",
            cost(none, |a| {
                a.mov(rsi, rbx).unwrap();
                a.cpuid().unwrap();
                a.mov(rbx, rsi).unwrap();
            }),
        ),
        (
            "rdmsr of the APIC",
            cost(none, |a| {
                a.mov(ecx, 0x802).unwrap();
                a.rdmsr().unwrap();
            }),
        ),
        ("out", cost(none, |a| a.out(0x80, al).unwrap())),
    ]
}

#[test]
fn system_instructions_cost_microseconds_at_most() {
    for (name, nanoseconds) in transfers().into_iter().chain(translations()) {
        println!("{nanoseconds:6.0} ns  {name}");
        assert!(nanoseconds < 50_000.0, "{name}: {nanoseconds} ns");
    }
}
