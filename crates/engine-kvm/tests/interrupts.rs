//! Interrupts: from a controller of ours and from the kernel's, NMIs, INIT and start-up; CR8 and the APIC's base.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod fixture;

use engine_core::{Exit, Vcpu};
use engine_kvm::Irqchip;
use fabric_wire::local::{Event, apic_base, line};
use fabric_wire::{LocalController, PendingWord, Sink};
use fixture::{CODE, Machine, guest, long_machine, real, there};
use isa_x86::{Activity, rflags};

// Counts in R15; R14 is what it was when interrupts were allowed.
guest!(handler, "64", "inc r15", "mov r13, [rsp]", "iretq");
guest!(nmi_handler, "64", "inc r12", "iretq");
// Waits until there has been one, as a KVM that emulates looks for it only now and then.
guest!(
    held_off,
    "64",
    "cli",
    "out 0x10, al",
    "mov r14, r15",
    "sti",
    "nop",
    "1: test r15, r15",
    "jz 1b",
    "mov r11, r15",
    "out 0xf4, al",
    "2: jmp 2b"
);
guest!(halts, "64", "sti", "hlt", "mov r14, r15", "cli", "hlt", "mov r11, r15", "out 0xf4, al", "2: jmp 2b");

fn with_handlers(irqchip: Irqchip, code: &[u8]) -> Machine {
    let contents = [(CODE, code), (0x9000, handler::bytes()), (0x9100, nmi_handler::bytes())];
    let mut m = long_machine(irqchip, &contents);
    m.gate(0x40, 0x9000);
    m.gate(2, 0x9100);
    m.cpu.with_state(&mut |state| state.gpr[8..].fill(0));
    m
}

#[test]
fn an_interrupt_waits_for_the_guest_to_take_it() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = with_handlers(Irqchip::User, held_off::bytes());
    m.local.post(0x40);
    let (_, state) = m.finish();
    assert_eq!((state.gpr[14], state.gpr[11], state.gpr[15]), (0, 1, 1));
    // Not before the instruction behind `sti` has been.
    let sti = held_off::bytes().iter().position(|&byte| byte == 0xfb).unwrap() as u64;
    assert!(state.gpr[13] >= CODE + sti + 2);
}

#[test]
fn a_halted_processor_idles_and_wakes() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = with_handlers(Irqchip::User, halts::bytes());
    let Exit::Idle { until: None, wake } = m.run() else { panic!("does not idle") };
    assert_eq!(wake & PendingWord::LINES, 1 << line::INTR | line::EVENTS);
    // Moved while it sleeps.
    m.cpu.park();
    assert_eq!(m.cpu.state().activity, Activity::Halted);
    m.cpu.with_state(&mut |_| ());
    assert!(matches!(m.run(), Exit::Idle { .. }));
    // What is gone before it is looked for wakes nobody.
    m.pending.raise(1 << line::INTR);
    assert!(matches!(m.run(), Exit::Idle { .. }));
    m.local.post(0x40);
    // The second `hlt` is with interrupts off.
    let Exit::Idle { wake, .. } = m.run() else { panic!("does not idle") };
    assert_eq!(wake & PendingWord::LINES, line::EVENTS);
    m.local.post(0x40);
    assert!(matches!(m.run(), Exit::Idle { .. }));
    m.local.post_event(Event::Nmi);
    let (_, state) = m.finish();
    assert_eq!((state.gpr[14], state.gpr[11], state.gpr[15], state.gpr[12]), (1, 1, 1, 1));
    assert_eq!(m.local.vectors.lock().unwrap().len(), 1, "not taken");
}

guest!(nops, "64", "out 0x11, al", "nop", "out 0xf4, al", "2: jmp 2b");

#[test]
fn an_nmi_that_was_not_delivered_goes_back() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = with_handlers(Irqchip::User, nops::bytes());
    // Blocked, so that KVM must keep it.
    m.cpu.with_state(&mut |state| state.nmi_blocked = true);
    m.local.post_event(Event::Nmi);
    let (_, state) = m.finish();
    assert_eq!((state.gpr[12], state.nmi_blocked), (0, true));
    assert_eq!(*m.local.events.lock().unwrap(), [Event::Nmi]);
    m.cpu.with_state(&mut |state| (state.nmi_blocked, state.rip) = (false, CODE));
    assert_eq!(m.finish().1.gpr[12], 1, "once");
}

guest!(sleeper, "64", "sti", "1: hlt", "jmp 1b");

#[test]
fn init_and_start_up() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = with_handlers(Irqchip::User, sleeper::bytes());
    assert!(matches!(m.run(), Exit::Idle { .. }));
    // Not the bootstrap processor.
    *m.local.base.lock().unwrap() &= !apic_base::BSP;
    m.local.post_event(Event::Sipi(9));
    assert!(matches!(m.run(), Exit::Idle { .. }), "only after INIT");
    m.local.post_event(Event::Init);
    let Exit::Idle { wake, .. } = m.run() else { panic!("runs without having been started") };
    assert_eq!(wake & line::EVENTS, 1 << line::INIT | 1 << line::SIPI);
    m.local.post_event(Event::Nmi);
    assert!(matches!(m.run(), Exit::Idle { .. }), "NMIs start nobody");
    m.cpu.park();
    assert_eq!((m.cpu.state().activity, m.cpu.state().cr0 & 1), (Activity::WaitForSipi, 0));
    m.local.events.lock().unwrap().clear();
    m.pending.lower(line::EVENTS);
    guest!(started, "16", "mov ax, cs", "out 0x10, ax", "out 0xf4, al", "2: jmp 2b");
    m.bus.ram().copy_in(0x9000, started::bytes()).unwrap();
    m.local.post_event(Event::Sipi(9));
    assert_eq!(m.finish().0, [(0x10, 2, Some(0x900))]);
}

guest!(
    priorities,
    "64",
    "mov rax, cr8",
    "mov r14, rax",
    "mov eax, 9",
    "mov cr8, rax",
    "out 0x10, al",
    "mov rax, cr8",
    "mov r15, rax",
    "mov ecx, 0x1b",
    "rdmsr",
    "mov r13d, eax",
    "mov eax, 0xfed00900",
    "wrmsr",
    "mov ebx, 0xfed00000",
    "mov r12d, [rbx + 0x20]",
    "mov dword ptr [rbx + 0x80], 0x50",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn cr8_and_the_apics_base_are_the_controllers() {
    if !there(Irqchip::User) {
        return;
    }
    // The tables do not map its page.
    let mut m = with_handlers(Irqchip::User, priorities::bytes());
    m.set_word(0x2000 + 8 * 3, 0x1c007);
    m.set_word(0x1c000 + 8 * 0x1f6, 0xfec0_0087);
    m.local.set_cr8(5);
    let (_, state) = m.finish();
    assert_eq!((state.gpr[14], state.gpr[15]), (5, 9));
    assert_eq!(m.local.cr8(), 9);
    assert_eq!(state.gpr[13] & 0xffff_ffff, 0xfee0_0900);
    assert_eq!(m.local.apic_base(), 0xfed0_0900);
    assert_eq!(state.gpr[12] & 0xffff_ffff, 0xa91c_4020, "answered where it has gone");
    assert_eq!(*m.local.writes.lock().unwrap(), [(0x80, 4, 0x50)]);
}

// 8259s: vectors from 0x40 on, input 0 alone; then sleeps.
guest!(
    kernel_pic,
    "64",
    "mov al, 0x11",
    "out 0x20, al",
    "mov al, 0x40",
    "out 0x21, al",
    "mov al, 4",
    "out 0x21, al",
    "mov al, 1",
    "out 0x21, al",
    "mov al, 0xfe",
    "out 0x21, al",
    "out 0x10, al",
    "sti",
    "1: hlt",
    "test r15, r15",
    "jz 1b",
    "cli",
    "mov al, 0x20",
    "out 0x20, al",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn the_kernels_controllers_wake_a_sleeper() {
    if !there(Irqchip::Kernel) {
        return;
    }
    let mut m = with_handlers(Irqchip::Kernel, kernel_pic::bytes());
    let vm = std::sync::Arc::clone(&m.vm);
    let wire = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        vm.set(0, true);
        vm.set(0, false);
    });
    let (seen, state) = m.finish();
    wire.join().unwrap();
    assert_eq!((seen.len(), state.gpr[15]), (1, 1));
    let [master, _] = m.vm.pics().unwrap();
    assert_eq!((master.base, master.imr, master.isr, master.irr), (0x40, 0xfe, 0, 0));
    assert_eq!(state.system_flags & rflags::IF, 0);
}

#[test]
fn an_event_descriptor_interrupts() {
    if !there(Irqchip::Kernel) {
        return;
    }
    let mut m = with_handlers(Irqchip::Kernel, kernel_pic::bytes());
    if !m.vm.offer().irqfd {
        eprintln!("skipped: this host's KVM has no irqfd");
        return;
    }
    let event = std::fs::File::from(m.vm.irqfd(0).unwrap());
    let signal = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::io::Write::write_all(&mut &event, &1u64.to_ne_bytes()).unwrap();
        event
    });
    let (_, state) = m.finish();
    assert_eq!(state.gpr[15], 1);
    drop(signal.join().unwrap());
    let user = Machine::new(Irqchip::User, real(), &[]);
    assert!(user.vm.irqfd(0).is_err(), "without a controller");
    assert!(user.vm.pics().is_err() && user.vm.ioapic().is_err());
}

#[test]
fn the_kernels_chips_are_as_they_were_set() {
    if !there(Irqchip::Kernel) {
        return;
    }
    let m = Machine::new(Irqchip::Kernel, real(), &[]);
    let pic = |n: u8| engine_kvm::Pic {
        lines: 0x41 * n,
        irr: 0x02 * n,
        imr: 0x5a,
        isr: 0x10 * n,
        highest: 3 + n,
        base: 0x60 + 8 * n,
        read_isr: n == 1,
        poll: n == 2,
        special_mask: n == 1,
        expect: n,
        auto_eoi: n == 2,
        rotate: n == 1,
        nested: n == 2,
        ic4: n == 1,
        level: 0x08 * n,
    };
    let pics = [pic(1), pic(2)];
    m.vm.set_pics(&pics).unwrap();
    let mut found = m.vm.pics().unwrap();
    // The slave's request has been pulsed into the master, and the master's into the processor.
    found[0].irr &= !4;
    assert_eq!(found, pics);
    let mut ioapic = engine_kvm::Ioapic { select: 0x12, id: 5, ..Default::default() };
    // All masked, so that nothing is sent: edges, levels, a level that waits for its end.
    ioapic.entries =
        std::array::from_fn(|pin| (0x0100_0000_0001_0030 + pin as u64) | ((pin as u64 & 1) << 15));
    ioapic.entries[5] |= 1 << 14;
    ioapic.irr = 1 << 5 | 1 << 7;
    m.vm.set_ioapic(&ioapic).unwrap();
    assert_eq!(m.vm.ioapic().unwrap(), ioapic);
    let mut cpu = m.cpu;
    let lapic = cpu.lapic().unwrap();
    assert_eq!((lapic.registers[2], lapic.apic_base), (0, 0xfee0_0900));
    let mut other = lapic.clone();
    (other.registers[8], other.registers[0xf], other.registers[0x21]) = (0x20, 0x1ff, 1 << 5);
    cpu.set_lapic(&other).unwrap();
    let found = cpu.lapic().unwrap().registers;
    assert_eq!((found[8], found[0xf], found[0x21]), (0x20, 0x1ff, 1 << 5));
}
