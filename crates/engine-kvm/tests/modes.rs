//! Real, protected and long mode; ports and memory outside RAM; exceptions; user mode; the ends of a guest.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod fixture;

use engine_core::{Exit, Vcpu};
use engine_kvm::Irqchip;
use fixture::{CODE, Machine, ROM, guest, long_machine, protected, real, there};
use isa_x86::Activity;

guest!(
    in_real,
    "16",
    "mov ax, 0x1234",
    "mov ds, ax",
    "mov bx, ds",
    "out 0x10, ax",
    "mov al, 7",
    "out 0xf4, al",
    "2: jmp 2b"
);
guest!(
    in_protected,
    "32",
    "mov eax, 0x12345678",
    "out 0x10, eax",
    "push 0x55aa",
    "pop ebx",
    "lgdt [esp - 64]",
    "mov al, 7",
    "out 0xf4, al",
    "2: jmp 2b"
);
guest!(
    in_long,
    "64",
    "movabs rax, 0x123456789abcdef0",
    "mov [0x12345], rax",
    "mov rbx, [0x12340]",
    "bswap rax",
    "mov al, 7",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn real_mode() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = Machine::new(Irqchip::User, real(), &[(CODE, in_real::bytes())]);
    let (seen, state) = m.finish();
    assert_eq!(seen, [(0x10, 2, Some(0x1234))]);
    assert_eq!((state.gpr[3] & 0xffff, state.segments[3].base), (0x1234, 0x1_2340));
    assert_eq!(state.rip, CODE + in_real::bytes().len() as u64 - 2, "behind the `out`");
}

#[test]
fn protected_mode() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = Machine::new(Irqchip::User, protected(), &[(CODE, in_protected::bytes())]);
    let (seen, state) = m.finish();
    assert_eq!(seen, [(0x10, 4, Some(0x1234_5678))]);
    assert_eq!((state.gpr[3], state.gdtr.limit), (0x55aa, 0));
}

#[test]
fn long_mode() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(Irqchip::User, &[(CODE, in_long::bytes())]);
    let (_, state) = m.finish();
    assert_eq!(state.gpr[3], 0xbc_def0 << 40, "{:#x}", state.gpr[3]);
    assert_eq!(m.word(0x12345 & !7) >> 40, 0xbc_def0);
    assert_ne!(m.word(0x4000 + 8 * 0x12) & 0x60, 0, "accessed and dirty");
}

guest!(
    ports,
    "64",
    "in al, 0x21",
    "mov bl, al",
    "in ax, 0x31",
    "mov cx, ax",
    "in eax, 0x41",
    "mov edx, eax",
    "mov r8d, edx",
    // Strings of each size.
    "mov edx, 0x50",
    "mov esi, 0x20000",
    "mov rdi, 0x0807060504030201",
    "mov [rsi], rdi",
    "mov ecx, 5",
    "rep outsb",
    "mov esi, 0x20000",
    "mov ecx, 3",
    "rep outsw",
    "mov esi, 0x20000",
    "mov ecx, 2",
    "rep outsd",
    "mov edx, 0x60",
    "mov edi, 0x21000",
    "mov ecx, 3",
    "rep insb",
    "mov edi, 0x21010",
    "mov ecx, 3",
    "rep insw",
    "mov edi, 0x21020",
    "mov ecx, 3",
    "rep insd",
    // Backwards, and at an address that a port's access would not be aligned at.
    "std",
    "mov edx, 0x61",
    "mov edi, 0x21040",
    "mov ecx, 2",
    "rep insw",
    "cld",
    // Nothing there.
    "mov edx, 0x1000",
    "mov eax, 0x11111111",
    "in ax, dx",
    "out dx, eax",
    "mov r9d, eax",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn ports_and_strings() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(Irqchip::User, &[(CODE, ports::bytes())]);
    let (seen, state) = m.finish();
    let out = |size, values: &[u64]| values.iter().map(|&v| (0x50, size, Some(v))).collect::<Vec<_>>();
    let mut expected = vec![(0x21, 1, None), (0x31, 2, None), (0x41, 4, None)];
    expected.extend(out(1, &[1, 2, 3, 4, 5]));
    expected.extend(out(2, &[0x201, 0x403, 0x605]));
    expected.extend(out(4, &[0x0403_0201, 0x0807_0605]));
    expected.extend([1u8, 1, 1, 2, 2, 2, 4, 4, 4].map(|size| (0x60, size, None)));
    expected.extend([(0x61, 2, None); 2]);
    assert_eq!(seen, expected);
    assert_eq!((state.gpr[3] & 0xff, state.gpr[8]), (0x21, 0x4443_4241));
    assert_eq!(state.gpr[9], 0x1111_ffff, "nothing answers with ones");
    assert_eq!(m.word(0x21000), 0x60_6060);
    assert_eq!(m.word(0x21010), 0x6160_6160_6160);
    assert_eq!((m.word(0x21020), m.word(0x21028)), (0x6362_6160_6362_6160, 0x6362_6160));
    assert_eq!((m.word(0x21040), m.word(0x2103e & !7)), (0x6261, 0x6261 << 48));
    assert_eq!(state.gpr[7], 0x21040 - 4);
}

guest!(
    mmio,
    "64",
    "mov ebx, 0x10000000",
    "mov rax, 0x1122334455667788",
    "mov [rbx], al",
    "mov [rbx + 2], ax",
    "mov [rbx + 4], eax",
    "mov [rbx + 8], rax",
    "mov r8b, [rbx + 0x11]",
    "mov r9w, [rbx + 0x12]",
    "mov r10d, [rbx + 0x14]",
    "mov r11, [rbx + 0x18]",
    // Not aligned.
    "mov [rbx + 0x21], eax",
    "mov r12d, [rbx + 0x31]",
    "mov r13, [rbx + 0x43]",
    // Nothing there, and the local APIC.
    "mov r14d, [rbx + 0x2000]",
    "mov [rbx + 0x2000], eax",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn memory_that_is_none() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(Irqchip::User, &[(CODE, mmio::bytes())]);
    let (_, state) = m.finish();
    let seen = std::mem::take(&mut *m.device.seen.lock().unwrap());
    let (writes, reads): (Vec<_>, Vec<_>) = seen.into_iter().partition(|access| access.2.is_some());
    let aligned = [(0, 1, 0x88), (2, 2, 0x7788), (4, 4, 0x5566_7788), (8, 8, 0x1122_3344_5566_7788u64)];
    assert_eq!(writes[..4], aligned.map(|(at, size, value)| (at, size, Some(value))));
    // However an access that is not aligned is cut, its bytes are these, in this order.
    let bytes = |accesses: &[fixture::Access]| -> Vec<(u64, u64)> {
        let each = |&(at, size, value): &fixture::Access| {
            (0..u64::from(size))
                .map(move |i| (at + i, value.unwrap_or(0) >> (8 * i) & 0xff))
                .collect::<Vec<_>>()
        };
        accesses.iter().flat_map(each).collect()
    };
    assert_eq!(bytes(&writes[4..]), [(0x21, 0x88), (0x22, 0x77), (0x23, 0x66), (0x24, 0x55)]);
    assert_eq!(reads[..4], [(0x11, 1, None), (0x12, 2, None), (0x14, 4, None), (0x18, 8, None)]);
    assert_eq!((state.gpr[8] & 0xff, state.gpr[9] & 0xffff), (0x11, 0x1312));
    assert_eq!((state.gpr[10], state.gpr[11]), (0x1716_1514, 0x1f1e_1d1c_1b1a_1918));
    assert_eq!((state.gpr[12], state.gpr[13]), (0x3433_3231, 0x4a49_4847_4645_4443));
    assert_eq!(state.gpr[14], 0xffff_ffff);
}

guest!(
    rom,
    "64",
    "mov ebx, 0x400000",
    "mov rax, [rbx]",
    "mov qword ptr [rbx], 5",
    "mov rcx, [rbx]",
    "mov edx, 0x400100",
    "call rdx",
    "out 0xf4, al",
    "2: jmp 2b"
);
guest!(in_rom, "64", "mov r8d, 0x77", "ret");

#[test]
fn read_only_memory() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(
        Irqchip::User,
        &[(CODE, rom::bytes()), (ROM, &[1, 2, 3]), (ROM + 0x100, in_rom::bytes())],
    );
    let (_, state) = m.finish();
    assert_eq!((state.gpr[0], state.gpr[1], state.gpr[8]), (0x03_0201, 0x03_0201, 0x77));
    assert_eq!(m.word(ROM), 0x03_0201);
}

guest!(
    faults,
    "64",
    "mov rbx, [0x40008]",
    "xor eax, eax",
    "mov ds, eax",
    "mov ecx, 0x12345",
    "rdmsr",
    "ud2",
    "out 0xf4, al",
    "2: jmp 2b"
);
// Maps the page.
guest!(
    page_fault,
    "64",
    "push rax",
    "mov rax, cr2",
    "mov r8, rax",
    "mov r9, [rsp + 8]",
    "mov qword ptr [0x4000 + 8 * 0x40], 0x40003",
    "pop rax",
    "add rsp, 8",
    "iretq"
);
guest!(general_protection, "64", "mov r10, [rsp]", "add qword ptr [rsp + 8], 2", "add rsp, 8", "iretq");
guest!(invalid_opcode, "64", "mov r11, [rsp]", "add qword ptr [rsp], 2", "iretq");

#[test]
fn exceptions_through_the_guests_own_table() {
    if !there(Irqchip::User) {
        return;
    }
    let contents = [
        (CODE, faults::bytes()),
        (0x9000, page_fault::bytes()),
        (0x9100, general_protection::bytes()),
        (0x9200, invalid_opcode::bytes()),
    ];
    let mut m = long_machine(Irqchip::User, &contents);
    m.set_word(0x4000 + 8 * 0x40, 0);
    m.set_word(0x40008, 0xfeed);
    [(14, 0x9000), (13, 0x9100), (6, 0x9200)].into_iter().for_each(|(vector, at)| m.gate(vector, at));
    let (_, state) = m.finish();
    assert_eq!((state.gpr[3], state.gpr[8], state.gpr[9], state.cr2), (0xfeed, 0x40008, 0, 0x40008));
    assert_eq!(state.gpr[10], 0, "the error code of #GP");
    let ud2 = faults::bytes().windows(2).position(|two| two == [0x0f, 0x0b]).unwrap() as u64;
    assert_eq!(state.gpr[11], CODE + ud2);
}

// Selectors: user data 0x33, user code 0x3b.
guest!(
    to_user,
    "64",
    "push 0x33",
    "push 0x14000",
    "push 0x202",
    "push 0x3b",
    "push 0xa000",
    "mov ebx, 1000",
    "iretq"
);
guest!(user, "64", "1: add rax, rbx", "dec rbx", "jnz 1b", "push rax", "pop rcx", "hlt");
guest!(
    from_user,
    "64",
    "mov r8, [rsp + 8]",
    "mov r9, [rsp + 16]",
    "mov r10, [rsp + 32]",
    "mov r11, rsp",
    "out 0xf4, al",
    "2: jmp 2b"
);

#[test]
fn user_mode_and_back() {
    if !there(Irqchip::User) {
        return;
    }
    let contents = [(CODE, to_user::bytes()), (0xa000, user::bytes()), (0x9000, from_user::bytes())];
    let mut m = long_machine(Irqchip::User, &contents);
    m.gate(13, 0x9000);
    m.cpu.with_state(&mut |state| state.gpr[0] = 0);
    let (_, state) = m.finish();
    assert_eq!((state.gpr[0], state.gpr[1]), (500_500, 500_500));
    let hlt = 0xa000 + user::bytes().len() as u64 - 1;
    assert_eq!((state.gpr[8], state.gpr[9], state.gpr[10]), (hlt, 0x3b, 0x14000));
    assert_eq!(state.gpr[11], fixture::INNER_STACK - 48);
    assert_eq!(state.cpl(), 0);
}

guest!(broken_table, "64", "lidt [0x30000]", "ud2");

#[test]
fn a_triple_fault_shuts_down() {
    if !there(Irqchip::User) {
        return;
    }
    let mut m = long_machine(Irqchip::User, &[(CODE, broken_table::bytes())]);
    assert_eq!(m.run(), Exit::Shutdown(None));
    m.cpu.park();
    assert_eq!(m.cpu.state().activity, Activity::Shutdown);
    assert_eq!(m.run(), Exit::Shutdown(None), "and stays there");
    // Until it is given another state.
    m.bus.write(CODE, 4, 0xf4e6).unwrap();
    m.cpu.with_state(&mut |state| *state = fixture::long());
    assert_eq!(m.finish().0, []);
}

guest!(emulated, "64", "mov ebx, 0x10000000", "fld qword ptr [rbx]", "out 0xf4, al", "2: jmp 2b");

#[test]
fn what_kvm_cannot_emulate_is_said() {
    if !there(Irqchip::User) {
        return;
    }
    // An x87 load from a device: KVM's emulator has no x87 arithmetic, on no host.
    let mut m = long_machine(Irqchip::User, &[(CODE, emulated::bytes())]);
    let Exit::Broken(why) = m.run() else { panic!("it can") };
    assert!(why.contains("cannot emulate") && why.contains("0x8005") && why.contains("interp"), "{why}");
}
