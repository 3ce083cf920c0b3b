//! The dirty log, and event descriptors that the guest signals without leaving.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod fixture;

use engine_core::Vcpu;
use engine_kvm::{Irqchip, Space};
use fixture::{CODE, DEVICE, guest, long_machine, there};
use std::fs::File;
use std::io::Read;

guest!(
    touches,
    "64",
    "mov eax, [0x30000]",
    "mov [0x31008], eax",
    "mov [0x33ff0], rax",
    "mov eax, [0x35000]",
    "lock inc qword ptr [0x37000]",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn the_log_has_the_pages_that_were_written() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(Irqchip::User, &[(CODE, touches::bytes())]);
    let ram = std::sync::Arc::clone(m.bus.ram());
    let again = |m: &mut fixture::Machine| {
        m.cpu.with_state(&mut |state| state.rip = CODE);
        m.finish();
        m.vm.collect_dirty().unwrap();
        ram.dirty().take().into_iter().filter(|page| *page >= 0x20).collect::<Vec<_>>()
    };
    assert_eq!(again(&mut m), [], "off");
    m.vm.log_dirty(true).unwrap();
    assert_eq!(again(&mut m), [0x31, 0x33, 0x37]);
    assert_eq!(again(&mut m), [0x31, 0x33, 0x37], "and anew after each look");
    m.vm.collect_dirty().unwrap();
    assert_eq!(ram.dirty().take().len(), 0, "nothing has been written since");
    m.vm.log_dirty(false).unwrap();
    assert_eq!(again(&mut m), [], "off again");
}

guest!(
    signals,
    "64",
    "mov ebx, 0x10000000",
    "mov eax, 7",
    "mov [rbx + 0x40], eax",
    "mov [rbx + 0x44], ax",
    "mov eax, 8",
    "mov [rbx + 0x44], ax",
    "mov [rbx + 0x40], al",
    "out 0x70, eax",
    "out 0x70, al",
    "mov eax, 0x1234",
    "out 0x72, ax",
    "mov eax, 0x1235",
    "out 0x72, ax",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn writes_signal_descriptors_without_leaving() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(Irqchip::User, &[(CODE, signals::bytes())]);
    if !m.vm.offer().ioeventfd {
        eprintln!("skipped: this host's KVM has no ioeventfd");
        return;
    }
    let events = [
        m.vm.ioeventfd(Space::Memory, DEVICE + 0x40, 4, None),
        m.vm.ioeventfd(Space::Memory, DEVICE + 0x44, 2, Some(7)),
        m.vm.ioeventfd(Space::Ports, 0x70, 4, None),
        m.vm.ioeventfd(Space::Ports, 0x72, 2, Some(0x1234)),
        m.vm.ioeventfd(Space::Memory, 0x70, 4, None),
    ];
    let events = events.map(|event| File::from(event.unwrap()));
    let (seen, _) = m.finish();
    let signalled = events.map(|mut event| {
        let mut count = [0; 8];
        event.read(&mut count).map_or(0, |_| u64::from_ne_bytes(count))
    });
    assert_eq!(signalled, [1, 1, 1, 1, 0]);
    // Another size or value is an access like any other.
    assert_eq!(seen, [(0x70, 1, Some(8)), (0x72, 2, Some(0x1235))]);
    assert_eq!(*m.device.seen.lock().unwrap(), [(0x44, 2, Some(8)), (0x40, 1, Some(8))]);
}
