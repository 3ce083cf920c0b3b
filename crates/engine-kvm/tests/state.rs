//! The processor's state there and back, at rest and in the middle of things.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod fixture;

use engine_core::{Exit, Vcpu};
use engine_kvm::Irqchip;
use fabric_wire::PendingWord;
use fixture::{CODE, Machine, guest, long, long_machine, protected, real, there};
use isa_x86::{Event, Shadow, State, TableRegister, cr4, efer, rflags, seg};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A canonical address.
    fn address(&mut self) -> u64 {
        (self.next() as i64 >> 17) as u64
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

/// Everything that may be anything without making the state one that no processor is in.
fn scramble(mut s: State, long_mode: bool, r: &mut Random) -> State {
    s.gpr = std::array::from_fn(|_| r.next());
    s.rip = if long_mode { r.address() } else { r.next() & 0xffff };
    let free = rflags::STATUS | rflags::IF | rflags::DF | rflags::IOPL | rflags::AC | rflags::ID;
    s.set_rflags(r.next() & free | rflags::FIXED);
    (s.cr2, s.dr) = (r.next(), std::array::from_fn(|_| r.address()));
    s.dr7 = 0x400 | r.next() & 0x3ff;
    s.dr6 = 0xffff_0ff0 | r.next() & 0xf;
    s.gdtr = TableRegister { base: r.address(), limit: r.next() as u16 };
    s.idtr = TableRegister { base: r.address(), limit: r.next() as u16 };
    if long_mode {
        for n in [seg::FS, seg::GS] {
            s.segment_mut(n).base = r.address();
        }
        s.msrs.efer |= r.next() & (efer::SCE | efer::NXE);
        s.cr4 |= r.next() & (cr4::PGE | cr4::OSFXSR | cr4::DE | cr4::TSD);
    }
    let m = &mut s.msrs;
    m.star = r.next() & 0xffff_ffff_0000_0000;
    for address in
        [&mut m.lstar, &mut m.cstar, &mut m.kernel_gs_base, &mut m.sysenter_esp, &mut m.sysenter_eip]
    {
        *address = r.address();
    }
    (m.fmask, m.sysenter_cs, m.tsc_aux) = (r.next() & 0xffff_ffff, r.next() & 0xffff, r.next() & 0xffff_ffff);
    m.pat = 0x0007_0406_0007_0406u64.rotate_left(8 * (r.next() % 8) as u32);
    m.tsc_offset = r.next() >> 8;
    m.mtrr_def_type = 0xc06;
    m.mtrr_variable[0] = r.next() & 0xf_ffff_f000 | 6;
    m.mtrr_variable[1] = 0xf_f000_0800;
    m.mtrr_fixed = [0x0606_0606_0606_0606; 11];
    let f = &mut s.fpu;
    (f.control, f.status, f.tags) =
        (0x40 | r.next() as u16 & 0xf3f, r.next() as u16 & 0x7f00, r.next() as u8);
    (f.opcode, f.instruction, f.data) = (r.next() as u16 & 0x7ff, r.address(), r.address());
    (f.st, f.xmm) = (std::array::from_fn(|_| r.wide() >> 48), std::array::from_fn(|_| r.wide()));
    f.mxcsr = r.next() as u32 & 0xffbf;
    s.nmi_blocked = r.next() & 1 != 0;
    // KVM has no place for `mov ss` and `sti` at once, and takes no shadow of `sti` without IF.
    s.shadow = if s.system_flags & rflags::IF != 0 && r.next() & 1 != 0 { Shadow::Sti } else { Shadow::None };
    s.event = match r.next() % 4 {
        0 => Some(Event::Exception { vector: 14, error: Some(r.next() as u32 & 7) }),
        1 => Some(Event::Exception { vector: 6, error: None }),
        2 if s.shadow == Shadow::None && s.system_flags & rflags::IF != 0 => {
            Some(Event::Interrupt { vector: 32 + (r.next() % 200) as u8 })
        }
        _ => None,
    };
    s
}

#[test]
fn what_is_put_is_taken() {
    for irqchip in [Irqchip::User, Irqchip::Kernel] {
        if !there(irqchip) {
            continue;
        }
        let mut r = Random(0x1234_5678_9abc_def1);
        let mut m = Machine::new(irqchip, real(), &[]);
        for round in 0..60 {
            let wanted = match round % 3 {
                0 => scramble(real(), false, &mut r),
                1 => scramble(protected(), false, &mut r),
                _ => scramble(long(), true, &mut r),
            };
            m.cpu.with_state(&mut |state| *state = wanted.clone());
            // A run that is kicked at once changes nothing, and makes `park` ask the kernel.
            m.pending.raise(PendingWord::KICK);
            assert_eq!(m.cpu.run(1), Exit::Kick);
            m.pending.lower(PendingWord::KICK);
            m.cpu.park();
            let mut found = m.cpu.state().clone();
            canonical(&wanted, &mut found);
            assert_eq!(difference(&found, &wanted), "", "round {round}: found, wanted");
            assert_eq!(found, wanted);
        }
    }
}

/// The lines in which two states differ.
fn difference(a: &State, b: &State) -> String {
    let (a, b) = (format!("{a:#x?}"), format!("{b:#x?}"));
    let unlike = a.lines().zip(b.lines()).enumerate().filter(|(_, (a, b))| a != b);
    unlike.map(|(n, (a, b))| format!("{n}: {} / {}\n", a.trim(), b.trim())).collect()
}

/// What KVM may make of some fields, undone: the time-stamp counter, which runs on while it is moved, and which a KVM that
/// runs user mode without help of the processor cannot set at all.
fn canonical(wanted: &State, found: &mut State) {
    let (is, was) = (&mut found.msrs.tsc_offset, wanted.msrs.tsc_offset);
    if *is != was {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| eprintln!("skipped: this host's KVM does not set the time-stamp counter"));
        *is = was;
    }
}

guest!(
    string_out,
    "64",
    "mov edx, 0x50",
    "mov esi, 0x20000",
    "mov ecx, 100",
    "rep outsb",
    "mov r15, rcx",
    "out 0xf4, al",
    "2: jmp 2b"
);
guest!(
    one_in,
    "64",
    "in al, 0x21",
    "mov ebx, eax",
    "in eax, 0x31",
    "mov ecx, eax",
    "out 0xf4, al",
    "2: jmp 2b"
);

/// Runs `code`, moving it to a new machine after every access to a port.
fn in_pieces(code: &[u8]) -> (Vec<fixture::Access>, State, u32) {
    let data: Vec<u8> = (1..=100).collect();
    let contents = [(CODE, code), (0x20000, &data[..])];
    let mut m = long_machine(Irqchip::User, &contents);
    let (mut seen, mut moves) = (Vec::new(), 0);
    loop {
        // Every access kicks.
        m.ports.kick_always();
        assert_eq!(m.run(), Exit::Kick);
        m.cpu.park();
        seen.append(&mut m.ports.seen.lock().unwrap());
        let state = m.cpu.state().clone();
        if seen.last().is_some_and(|access| access.0 == fixture::END) {
            seen.pop();
            return (seen, state, moves);
        }
        m = Machine::new(Irqchip::User, state, &contents);
        m.long_tables();
        moves += 1;
    }
}

#[test]
fn a_string_of_outputs_can_be_cut_anywhere() {
    if !there(Irqchip::User) {
        return;
    }
    let (seen, state, moves) = in_pieces(string_out::bytes());
    assert_eq!(seen, (1..=100).map(|n| (0x50, 1, Some(n))).collect::<Vec<_>>());
    assert_eq!((state.gpr[15], state.gpr[6]), (0, 0x20000 + 100));
    assert!(moves > 10, "{moves}");
}

#[test]
fn a_read_that_is_under_way_is_finished() {
    if !there(Irqchip::User) {
        return;
    }
    let (seen, state, moves) = in_pieces(one_in::bytes());
    assert_eq!(seen, [(0x21, 1, None), (0x31, 4, None)]);
    assert_eq!((state.gpr[3] & 0xff, state.gpr[1], moves), (0x21, 0x3433_3231, 2));
}
