//! What a guest may do to hang or confuse the processor.

mod fixture;

use engine_core::{Exit, Vcpu};
use fixture::*;
use iced_x86::code_asm::*;
use isa_x86::{Segment, State, TableRegister, cr0, rflags, seg};
use std::sync::mpsc;
use std::time::Duration;

/// What `run` gives, if it comes back at all.
fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || done.send(run()));
    result.recv_timeout(Duration::from_secs(20)).expect("the run comes back")
}

/// Alignment faults at CPL 3 whose handler runs there too, on the same misaligned stack: every delivery raises the next
/// one.
#[test]
fn an_alignment_fault_that_faults_for_ever_uses_the_budget_up() {
    let (exit, retired, rip) = in_time(|| {
        let mut state = State::reset();
        let segment = |selector, kind| Segment {
            limit: u32::MAX,
            kind,
            dpl: 3,
            big: true,
            granular: true,
            base: 0,
            ..Segment::real(selector)
        };
        state.cr0 = cr0::PE | cr0::ET | cr0::AM;
        state.segments = [segment(0x23, 3); 6];
        state.segments[usize::from(seg::CS)] = segment(0x1b, 0xb);
        state.gdtr = TableRegister { base: GDT, limit: 0x4f };
        state.idtr = TableRegister { base: IDT, limit: 0x7ff };
        state.set_rflags(rflags::AC | rflags::FIXED);
        state.rip = CODE;
        state.gpr[4] = STACK + 2;
        let mut m = machine(state);
        let entries = [0, 0, 0, flat(0xb, 3, 0xc), flat(3, 3, 0xc)];
        (0..).zip(entries).for_each(|(n, entry)| m.put_word(GDT + 8 * n, entry));
        m.put_word(IDT + 8 * 17, HANDLERS & 0xffff | 0x1b << 16 | 0xee << 40);
        m.put(CODE, &assemble(32, CODE, |a| a.push(eax).unwrap()));
        (m.cpu.run(1000), m.cpu.retired(), m.cpu.state().rip)
    });
    assert_eq!((exit, retired, rip), (Exit::Budget, 1000, CODE));
}

#[test]
fn a_saved_rip_that_no_jump_can_reach_faults() {
    let mut state = State::reset();
    state.segments[usize::from(seg::CS)].base = 0;
    state.rip = u64::MAX; // the ROM's last byte, of an instruction that goes on
    let mut m = machine(state);
    m.put(SIZE - 1, &[0x66]);
    m.put(4 * 13, &[0x00, 0x90, 0x00, 0x00]);
    m.put(0x9000, &[0xf4]);
    m.run();
    assert_eq!(m.cpu.state().rip, 0x9001);
}

#[test]
fn a_page_table_that_maps_itself_is_walked_and_marked() {
    let entry = in_time(|| {
        let mut m = long_machine();
        // Entry 256 of the top level is the top level.
        m.put_word(PML4 + 256 * 8, PML4 | 3);
        let own = 0xffff_8000_0000_0000u64 | 256 << 30 | 256 << 21 | 256 << 12;
        m.code(|a| {
            a.mov(rbx, own).unwrap();
            a.mov(rax, qword_ptr(rbx + 256 * 8)).unwrap();
            a.mov(qword_ptr(rbx + 8), 0).unwrap();
            a.mov(rax, qword_ptr(rbx + 256 * 8)).unwrap();
            a.hlt().unwrap();
        });
        m.run();
        m.gpr(0)
    });
    assert_eq!(entry, PML4 | 0x63);
}

/// Blocks that cross into another page are found again, not decoded again, after every flush.
#[test]
fn a_store_beside_code_that_crosses_pages_stays_cheap() {
    let elapsed = in_time(|| {
        let mut m = long_machine();
        let at = 0x1_1000 - 2;
        m.put(
            at,
            &assemble(64, at, |a| {
                let mut top = a.create_label();
                a.set_label(&mut top).unwrap();
                a.add(rbx, 0x7654_3210).unwrap(); // crosses
                a.mov(rax, cr3).unwrap();
                a.mov(cr3, rax).unwrap();
                a.dec(ecx).unwrap();
                a.jnz(top).unwrap();
                let mut stores = a.create_label();
                a.mov(edx, 10).unwrap();
                a.set_label(&mut stores).unwrap();
                a.mov(edi, 0x1_0000).unwrap();
                a.mov(ecx, 3000).unwrap();
                a.rep().stosb().unwrap();
                a.dec(edx).unwrap();
                a.jnz(stores).unwrap();
                a.hlt().unwrap();
            }),
        );
        m.cpu.with_state(&mut |s| {
            s.rip = at;
            s.gpr[1] = 200_000;
        });
        let start = std::time::Instant::now();
        assert!(matches!(m.cpu.run(10_000_000), Exit::Idle { .. }));
        start.elapsed()
    });
    println!("{elapsed:?}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}
