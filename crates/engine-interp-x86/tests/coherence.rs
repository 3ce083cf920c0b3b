//! Code that somebody else has changed, and code in odd places.

mod fixture;

use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp_x86::{Config, Interp};
use fixture::*;
use iced_x86::code_asm::*;
use std::sync::Arc;

/// A page that held code gets other contents by DMA and is mapped elsewhere, as a page cache does. `mov cr3`, `invlpg` and
/// `iret` serialize; nobody executes `cpuid` for it.
#[test]
fn a_page_filled_anew_by_dma_is_executed_anew_where_it_is_mapped_anew() {
    const PAGE: u64 = 0x9_0000;
    let mut m = long_machine();
    let function = |value: u32| {
        assemble(64, PAGE, |a| {
            a.mov(eax, value).unwrap();
            a.ret().unwrap();
        })
    };
    m.code(|a| {
        a.mov(ebx, PAGE as u32).unwrap();
        a.call(rbx).unwrap();
        a.hlt().unwrap();
        a.add(ebx, 0x1000).unwrap();
        a.call(rbx).unwrap();
        a.hlt().unwrap();
        a.mov(rcx, cr3).unwrap();
        a.mov(cr3, rcx).unwrap();
        a.call(rbx).unwrap();
        a.hlt().unwrap();
        a.invlpg(qword_ptr(rbx)).unwrap();
        a.call(rbx).unwrap();
        a.hlt().unwrap();
    });
    m.put_word(PT + 0x91 * 8, PAGE | 7);
    for value in 1..5 {
        m.put(PAGE, &function(value));
        m.cpu.with_state(&mut |s| s.activity = isa_x86::Activity::Running);
        m.run();
        assert_eq!(m.gpr(0), value.into());
    }
}

/// The frame of an interrupt lands on the first instructions of its handler, which have run before.
#[test]
fn a_frame_pushed_over_code_is_executed() {
    let mut m = long_machine();
    // The last that is pushed is RIP, at the handler.
    let handler = CODE + 0x808;
    let [low, high] = gate(handler, KERNEL_CODE, 0xe, 0, 1);
    m.put_word(IDT + 16 * 0x40, low);
    m.put_word(IDT + 16 * 0x40 + 8, high);
    m.put_word(TSS + 0x24, handler + 40);
    m.put(handler, &[0x48, 0xff, 0xc3, 0xff, 0xe2]); // inc rbx; jmp rdx
    m.code(|a| {
        let mut on = a.create_label();
        let mut top = a.create_label();
        a.lea(rdx, qword_ptr(on)).unwrap();
        a.mov(ecx, handler as u32).unwrap();
        a.jmp(rcx).unwrap();
        a.set_label(&mut on).unwrap();
        a.sti().unwrap();
        a.set_label(&mut top).unwrap();
        a.jmp(top).unwrap();
    });
    // Once by itself, so that it is decoded.
    assert_eq!(m.cpu.run(50), Exit::Budget);
    assert_eq!(m.gpr(3), 1);
    let at = m.cpu.state().rip;
    m.local.post(0x40);
    m.cpu.run(1);
    assert_eq!((m.word(handler), m.cpu.state().rip), (at, handler));
    m.cpu.run(1);
    assert_eq!(m.gpr(3), 1, "what was there before the frame has run");
}

/// A ROM that does not end at a page's end: its last page is not all of one kind.
#[test]
fn code_in_a_page_that_is_only_partly_rom() {
    let ram = Arc::new(fabric_ram::GuestRam::new(SIZE).unwrap());
    let mut memory = fabric_bus::BusBuilder::new(Arc::clone(&ram));
    memory.ram("ram", 0, SIZE - 0x1_0000, 0, true).unwrap();
    memory.ram("rom", 0xffff_0000, 0x1_0000, SIZE - 0x1_0000, false).unwrap();
    let device: Arc<dyn fabric_bus::Target> = Arc::new(Echo::default());
    memory.overlay("device", 0x7e00, 0x100, device).unwrap();
    let proto = machine(isa_x86::State::reset());
    let mut state = isa_x86::State::reset();
    state.segments = [isa_x86::Segment::real(0); 6];
    state.rip = 0x7c00;
    ram.copy_in(
        0x7c00,
        &assemble(16, 0x7c00, |a| {
            a.mov(eax, 0x1234_5678).unwrap();
            a.add(eax, 1).unwrap();
            a.hlt().unwrap();
        }),
    )
    .unwrap();
    let mut cpu = Interp::new(Config {
        state,
        memory: Arc::new(memory.build()),
        ports: Arc::new(
            fabric_bus::BusBuilder::new(Arc::new(fabric_ram::GuestRam::new(4096).unwrap())).build(),
        ),
        local: Arc::clone(&proto.local) as Arc<dyn fabric_wire::LocalController>,
        time: TimeSource::new(Arc::clone(&proto.timers), 1_000_000_000),
        pending: Arc::new(fabric_wire::PendingWord::new()),
    });
    let exit = cpu.run(100);
    assert!(matches!(exit, Exit::Idle { .. }), "{exit:?}");
    assert_eq!(cpu.state().gpr[0], 0x1234_5679);
}
