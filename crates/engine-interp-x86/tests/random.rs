//! Random code in all modes: it neither panics nor hangs, and a run in slices equals a run at a stretch.

mod fixture;

use engine_core::{Exit, Vcpu};
use fixture::*;
use isa_x86::{Segment, State, seg};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }
}

/// What random bytes hit too rarely: flags with TF, stores into code, strings, tables, levels.
const SNIPPETS: &[&[u8]] = &[
    &[0xfb],                                                       // sti
    &[0xfa],                                                       // cli
    &[0x68, 0x02, 0x03, 0x00, 0x00, 0x9d],                         // push 302; popf
    &[0x68, 0x02, 0x00, 0x00, 0x00, 0x9d],                         // push 2; popf
    &[0x68, 0x02, 0x02, 0x04, 0x00, 0x9d],                         // push AC
    &[0xf3, 0xaa],                                                 // rep stosb
    &[0xf3, 0xa4],                                                 // rep movsb
    &[0xf3, 0x48, 0xa5],                                           // rep movsq
    &[0xf3, 0xa6],                                                 // repe cmpsb
    &[0x48, 0x8d, 0x3d, 0x02, 0x00, 0x00, 0x00, 0xaa],             // lea rdi, [rip+2]; stosb
    &[0xc6, 0x05, 0x00, 0x00, 0x00, 0x00, 0x90],                   // mov byte [rip], 90
    &[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8],                         // mov cr3
    &[0x0f, 0x20, 0xe0, 0x0f, 0xba, 0xf8, 0x07, 0x0f, 0x22, 0xe0], // cr4 ^= PGE
    &[0x0f, 0x20, 0xe0, 0x0f, 0xba, 0xf8, 0x15, 0x0f, 0x22, 0xe0], // cr4 ^= SMAP
    &[0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xf8, 0x12, 0x0f, 0x22, 0xc0], // cr0 ^= AM
    &[0x0f, 0x01, 0x3d, 0x00, 0x00, 0x00, 0x00],                   // invlpg [rip]
    &[0x0f, 0x01, 0x3f],                                           // invlpg [rdi]
    &[0xcd, 0x80],                                                 // int 80
    &[0xcc],                                                       // int3
    &[0xf1],                                                       // int1
    &[0x0f, 0x05],                                                 // syscall
    &[0x0f, 0x01, 0xf8],                                           // swapgs
    &[0x8e, 0xd0],                                                 // mov ss, ax
    &[0x8e, 0xd8],                                                 // mov ds, ax
    &[0x0f, 0xa2],                                                 // cpuid
    &[0x0f, 0x30],                                                 // wrmsr
    &[0x0f, 0x31],                                                 // rdtsc
    &[0xf0, 0x48, 0x0f, 0xb1, 0x0f],                               // lock cmpxchg [rdi], rcx
    &[0xf0, 0x48, 0x0f, 0xc7, 0x0f],                               // lock cmpxchg16b [rdi]
    &[0xe6, 0x80],                                                 // out
    &[0xf3, 0x6e],                                                 // rep outsb
    &[0xf3, 0x6c],                                                 // rep insb
    &[0x0f, 0x23, 0xf8],                                           // mov dr7, rax
    &[0x48, 0xcf],                                                 // iretq
    &[0x48, 0x0f, 0x07],                                           // sysretq
    &[0xf4],                                                       // hlt
    &[0xeb, 0xfe],                                                 // jmp to itself
    &[0xeb, 0xf0],                                                 // jmp back
    &[0xc9],                                                       // leave
    &[0xff, 0x2f],                                                 // jmp far [rdi]
    &[0x48, 0xcb],                                                 // retf
    &[0x0f, 0x01, 0x17],                                           // lgdt [rdi]
    &[0x0f, 0x00, 0xd8],                                           // ltr ax
    &[0x48, 0x0f, 0xae, 0x07],                                     // fxsave64 [rdi]
];

const ADDRESSES: &[u64] = &[
    0,
    3,
    0x81,
    0x1000,
    CODE,
    CODE + 0xffe,
    CODE + 0x1000,
    STACK,
    STACK + 4,
    HOLE - 3,
    READ_ONLY,
    SUPERVISOR,
    NO_EXECUTE - 2,
    USER_STACK,
    GDT,
    IDT + 16 * 14,
    TSS,
    PML4,
    PT + 16 * 8,
    0x20_0000,
    0x23,
    0x7fff_ffff_fffd,
    0x8000_0000_0000,
    0xffff_fffd,
    u64::MAX - 3,
];

fn code(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < 0x300 {
        match random.below(4) {
            0 => bytes.extend(random.next().to_le_bytes().iter().take(1 + random.below(8))),
            1 => bytes.extend([0x48, 0xff, 0xc0 | random.below(8) as u8]), // inc
            _ => bytes.extend(SNIPPETS[random.below(SNIPPETS.len())]),
        }
    }
    bytes
}

fn start(random: &mut Random) -> Machine {
    let mut m = long_machine();
    let at = CODE + if random.below(2) == 0 { 0 } else { 0xf80 };
    m.put(at, &code(random));
    for vector in 0..256u64 {
        // add rsp, 8 where there is an error code; inc qword [rsp]; iretq
        let skip: &[u8] = if isa_x86::event::has_error_code(vector as u8) {
            &[0x48, 0x83, 0xc4, 0x08, 0x48, 0xff, 0x04, 0x24, 0x48, 0xcf]
        } else {
            &[0x48, 0xff, 0x04, 0x24, 0x48, 0xcf]
        };
        m.put(HANDLERS + 16 * vector, skip);
    }
    let mode = random.below(6);
    let gpr: Vec<u64> = (0..16)
        .map(|_| match random.below(3) {
            0 => random.next() >> random.below(64),
            _ => ADDRESSES[random.below(ADDRESSES.len())],
        })
        .collect();
    m.cpu.with_state(&mut |s| {
        s.gpr.copy_from_slice(&gpr);
        s.gpr[4] = STACK - 0x100;
        s.rip = at;
        let flat = |selector, kind, dpl, long| Segment {
            limit: u32::MAX,
            kind,
            dpl,
            long,
            big: !long,
            granular: true,
            base: 0,
            ..Segment::real(selector)
        };
        s.msrs.star = 0x18 << 48 | u64::from(KERNEL_CODE) << 32;
        s.msrs.lstar = CODE + 0x40;
        match mode {
            0 => {
                s.segments[usize::from(seg::CS)] = flat(USER_CODE, 0xb, 3, true);
                s.segments[usize::from(seg::SS)] = flat(USER_DATA, 3, 3, false);
                s.set_rflags(0x3202);
            }
            1 => s.segments[usize::from(seg::CS)] = flat(CODE32, 0xb, 0, false),
            2 => {
                // 32-bit without paging; the table's gates are of the wrong size there
                let reset = State::reset();
                (s.cr0, s.cr4, s.msrs.efer) = (0x11, 0, 0);
                s.segments[usize::from(seg::CS)] = flat(CODE32, 0xb, 0, false);
                s.idtr = reset.idtr;
            }
            3 => {
                let fresh = State::reset();
                *s = State { gpr: s.gpr, ..fresh };
                s.segments = [Segment::real((CODE >> 4) as u16); 6];
                s.rip = at - CODE;
            }
            _ => {}
        }
    });
    m
}

fn run(mut m: Machine, budget: u64, mut slice: impl FnMut() -> u64) -> (u64, State, Vec<u8>) {
    while m.cpu.retired() < budget {
        let left = budget - m.cpu.retired();
        match m.cpu.run(slice().min(left)) {
            Exit::Budget => {}
            _ => break,
        }
    }
    let mut memory = vec![0; 0x24_0000];
    m.ram.copy_out(0, &mut memory).unwrap();
    (m.cpu.retired(), m.cpu.state().clone(), memory)
}

#[test]
fn a_run_in_slices_equals_a_run_at_a_stretch() {
    let count: u64 = std::env::var("HOSTEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let first: u64 = std::env::var("HOSTEL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut retired = 0;
    for seed in first..first + count {
        let begin = || start(&mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let whole = run(begin(), 2000, || u64::MAX);
        let mut random = Random(seed | 1 << 40);
        let sliced = run(begin(), 2000, || 1 + random.below(7) as u64);
        assert_eq!(whole.0, sliced.0, "seed {seed}: retired");
        assert_eq!(whole.1.rflags(), sliced.1.rflags(), "seed {seed}");
        let mut state = sliced.1;
        state.status = whole.1.status;
        assert_eq!(whole.1, state, "seed {seed}");
        assert!(whole.2 == sliced.2, "seed {seed}: memory");
        retired += whole.0;
    }
    assert!(retired > 100 * count, "the programs die too soon: {retired}");
}
