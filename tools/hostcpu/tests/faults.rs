//! Exceptions: vector, error code, address, and what the instruction had done.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use common::{DATA_END, NONE, fault, garbage, page_fault, regs, with_oracle};
use hostcpu::*;

const END: u64 = CODE + CODE_BYTES as u64;

#[test]
fn a_fault_changes_nothing() {
    with_oracle(|oracle| {
        let cases: &[(&[u8], u8)] = &[
            (&[0x48, 0xf7, 0xf5], 0),       // div rbp
            (&[0x0f, 0x0b], 6),             // ud2
            (&[0xf0, 0x48, 0x01, 0xc8], 6), // lock add rax, rcx
            (&[0x06], 6),                   // push es
            (&[0x8d, 0xc0], 6),             // lea eax, of a register
            (&[0xf4], 13),                  // hlt
            (&[0xfa], 13),                  // cli
            (&[0x0f, 0x20, 0xc0], 13),      // mov rax, cr0
            (&[0x0f, 0x32], 13),            // rdmsr
            (&[0x8a, 0x45, 0], 12),         // mov al, [rbp]
            (&[0x8a, 0x07], 13),            // mov al, [rdi]
        ];
        for (code, vector) in cases {
            for rip in [CODE, CODE + PAGE as u64 - 1, END - code.len() as u64] {
                let mut before = Regs { rip, rflags: SETTABLE | NONE, ..garbage() };
                before.gpr[RDI] = 0x8000_0000_0000;
                before.gpr[RBP] = if *vector == 0 { 0 } else { 1 << 62 };
                let mut r = before.clone();
                assert_eq!(oracle.run(code, &mut r), Ok(fault(*vector)), "{code:x?}");
                assert_eq!(r, before);
                assert!(oracle.signal().is_some());
            }
        }
    });
}

#[test]
fn traps_are_behind_the_instruction() {
    with_oracle(|oracle| {
        let cases: &[(&[u8], u8)] = &[(&[0xcc], 3), (&[0xcd, 3], 3), (&[0xcd, 4], 4), (&[0xf1], 1)];
        for (code, vector) in cases {
            for rip in [CODE + 77, END - code.len() as u64] {
                let mut r = Regs { rip, ..garbage() };
                assert_eq!(oracle.run(code, &mut r), Ok(fault(*vector)), "{code:x?}");
                // `int1` on AMD's processors under a hypervisor is reported at the instruction itself.
                let at = if *code == [0xf1] && r.rip == rip { rip } else { rip + code.len() as u64 };
                assert_eq!(r, Regs { rip: at, rflags: NONE, ..garbage() }, "{code:x?}");
            }
        }
        // A gate that only the kernel may use: the error code names it (SDM volume 3, "Error Code").
        let mut r = garbage();
        let outcome = Outcome::Fault { vector: 13, error: Some(0x21 << 3 | 2), address: None };
        assert_eq!(oracle.run(&[0xcd, 0x21], &mut r), Ok(outcome));
        assert_eq!(r.rip, CODE);
    });
}

#[test]
fn page_faults_say_why_and_where() {
    with_oracle(|oracle| {
        oracle.data().fill(0x11);
        oracle.remember();
        // mov rcx, [rax]; mov [rax], rcx; add [rax], rcx
        let cases: &[(&[u8], u64, u64, u64)] = &[
            (&[0x48, 0x8b, 0x08], DATA_END, 4, DATA_END),
            (&[0x48, 0x8b, 0x08], DATA_END - 7, 4, DATA_END),
            (&[0x48, 0x8b, 0x08], DATA - 1, 4, DATA - 1),
            (&[0x48, 0x89, 0x08], DATA - 8, 6, DATA - 8),
            (&[0x48, 0x89, 0x08], READ_ONLY, 7, READ_ONLY),
            (&[0x48, 0x89, 0x08], READ_ONLY - 7, 7, READ_ONLY),
            (&[0x48, 0x89, 0x08], DATA_END, 6, DATA_END),
            (&[0x48, 0x01, 0x08], READ_ONLY + 8, 7, READ_ONLY + 8),
        ];
        for (code, address, error, faulting) in cases {
            let before = regs(&[(RAX, *address), (RCX, 9)]);
            let mut r = before.clone();
            assert_eq!(oracle.run(code, &mut r), Ok(page_fault(*error, *faulting)), "{code:x?}");
            assert_eq!(r, Regs { rflags: NONE, ..before });
            assert_eq!(oracle.changed(), None);
        }
    });
}

#[test]
fn what_the_kernel_hides_is_not_made_up() {
    with_oracle(|oracle| {
        // mov rax, [rax]
        let mut r = regs(&[(RAX, 0xffff_8000_0000_1234)]);
        let outcome = Outcome::Fault { vector: 14, error: None, address: Some(0xffff_8000_0000_1234) };
        assert_eq!(oracle.run(&[0x48, 0x8b, 0x00], &mut r), Ok(outcome));
    });
}

#[test]
fn pushes_at_the_edge() {
    with_oracle(|oracle| {
        // push rcx: onto the first bytes, across pages, and one too many
        for (rsp, outcome) in [
            (DATA + 8, Outcome::Done),
            (DATA + 4100, Outcome::Done),
            (READ_ONLY, Outcome::Done),
            (DATA, page_fault(6, DATA - 8)),
            (DATA + 4, page_fault(6, DATA - 4)),
            (READ_ONLY + 1, page_fault(7, READ_ONLY)),
        ] {
            let mut r = regs(&[(RSP, rsp), (RCX, 0x0123_4567_89ab_cdef)]);
            assert_eq!(oracle.run(&[0x51], &mut r), Ok(outcome), "{rsp:x}");
            if outcome == Outcome::Done {
                assert_eq!((r.gpr[RSP], r.rip), (rsp - 8, CODE + 1));
                let at = (rsp - 8 - DATA) as usize;
                assert_eq!(oracle.data()[at..at + 8], 0x0123_4567_89ab_cdef_u64.to_le_bytes());
            } else {
                assert_eq!((r.gpr[RSP], r.rip), (rsp, CODE));
            }
        }
    });
}

#[test]
fn strings_stop_in_the_middle() {
    with_oracle(|oracle| {
        oracle.data()[..64].copy_from_slice(&std::array::from_fn::<u8, 64, _>(|n| n as u8 + 1));
        // rep movsq into the page that can only be read: 3 of very many
        let to = READ_ONLY - 24;
        let count = 1 << 60;
        let mut r = regs(&[(RCX, count), (RSI, DATA), (RDI, to)]);
        assert_eq!(oracle.run(&[0xf3, 0x48, 0xa5], &mut r), Ok(page_fault(7, READ_ONLY)));
        let left = [(RCX, count - 3), (RSI, DATA + 24), (RDI, READ_ONLY)];
        assert_eq!(r, Regs { rflags: NONE, ..regs(&left) });
        let (from, to) = (oracle.data()[..24].to_vec(), oracle.data()[8192 - 24..8192].to_vec());
        assert_eq!(from, to);
        // repe cmpsb backwards out of the data: flags stay, counts are those of what compared equal
        oracle.data().fill(7);
        let mut r = Regs { rflags: 0x400 | 1, ..regs(&[(RCX, 100), (RSI, DATA + 1), (RDI, DATA + 50)]) };
        assert_eq!(oracle.run(&[0xf3, 0xa6], &mut r), Ok(page_fault(4, DATA - 1)));
        assert_eq!((r.gpr[RCX], r.gpr[RSI], r.rip), (98, DATA - 1, CODE));
    });
}

#[test]
fn fetches_fault_at_the_end_of_the_code() {
    with_oracle(|oracle| {
        // mov r8, imm64, cut off
        for cut in 1..10 {
            let before = Regs { rip: END - cut, ..garbage() };
            let mut r = before.clone();
            let code = [0x49, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8];
            assert_eq!(oracle.run(&code, &mut r), Ok(page_fault(0x14, END)));
            assert_eq!(r, Regs { rflags: NONE, ..before });
        }
    });
}

#[test]
fn what_must_not_run_is_refused() {
    with_oracle(|oracle| {
        let cases: &[(&[u8], Refused)] = &[
            (&[], Refused::Length),
            (&[0x66; 17], Refused::Length),
            (&[0x48, 0x01], Refused::Incomplete),
            (&[0x0f, 0x05], Refused::Kernel),              // syscall
            (&[0x0f, 0x34], Refused::Kernel),              // sysenter
            (&[0xcd, 0x80], Refused::Kernel),              // int 0x80
            (&[0x0f, 0x01, 0x00], Refused::Kernel),        // sgdt [rax]
            (&[0x0f, 0x01, 0xc1], Refused::Kernel),        // vmcall
            (&[0x0f, 0x01, 0xd9], Refused::Kernel),        // vmmcall
            (&[0x8e, 0xd8], Refused::Segment),             // mov ds, eax
            (&[0x0f, 0xa1], Refused::Segment),             // pop fs
            (&[0x0f, 0xb2, 0x00], Refused::Segment),       // lss eax, [rax]
            (&[0xf3, 0x0f, 0xae, 0xd0], Refused::Segment), // wrfsbase eax
            (&[0x64, 0x8b, 0x00], Refused::Segment),       // mov eax, fs:[rax]
            (&[0x64, 0xa4], Refused::Segment),             // movsb from fs:[rsi]
            (&[0x64, 0xff, 0x20], Refused::Segment),       // jmp fs:[rax]
            (&[0xcb], Refused::Segment),                   // retf
            (&[0x48, 0xcf], Refused::Segment),             // iretq
            (&[0xff, 0x28], Refused::Segment),             // jmp far [rax]
            (&[0xff, 0x18], Refused::Segment),             // call far [rax]
            (&[0xd9, 0xe8], Refused::State),               // fld1
            (&[0x0f, 0x77], Refused::State),               // emms
            (&[0x0f, 0x58, 0xc1], Refused::State),         // addps xmm0, xmm1
            (&[0x0f, 0xae, 0x10], Refused::State),         // ldmxcsr [rax]
            (&[0xc5, 0xf8, 0x77], Refused::State),         // vzeroupper
            (&[0x0f, 0xae, 0x20], Refused::State),         // xsave [rax]
            (&[0x0f, 0x01, 0xef], Refused::State),         // wrpkru
            (&[0xc7, 0xf8, 0, 0, 0, 0], Refused::State),   // xbegin
            (&[0x66, 0x0f, 0xae, 0xf1], Refused::State),   // tpause ecx
        ];
        for (code, refused) in cases {
            let mut r = garbage();
            assert_eq!(oracle.run(code, &mut r), Err(*refused), "{code:x?}");
            assert_eq!(r, garbage());
        }
        for rip in [0, CODE - 1, END, u64::MAX] {
            let mut r = Regs { rip, ..garbage() };
            assert_eq!(oracle.run(&[0x90], &mut r), Err(Refused::Rip));
        }
    });
}

#[test]
fn faults_of_others_find_their_handler() {
    // A child, because it is to die of it: a fault outside of an instruction while there is an oracle.
    const CHILD: &str = "HOSTCPU_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let _oracle = Oracle::new().expect("an oracle");
        // SAFETY: faults, which is the point: nothing is mapped there.
        unsafe { std::ptr::read_volatile(RESERVED.start as *const u8) };
        unreachable!("nothing is mapped there");
    }
    use std::os::unix::process::ExitStatusExt;
    let name = "faults_of_others_find_their_handler";
    let child = std::process::Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("a child");
    assert_eq!(child.status.signal(), Some(11), "{child:?}");
}
