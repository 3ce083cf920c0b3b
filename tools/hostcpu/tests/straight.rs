//! Instructions that go on behind themselves: what they leave, to the last flag, and where they stand.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use common::{NONE, garbage, regs, with_oracle};
use hostcpu::*;

const CF: u64 = 1;
const PF: u64 = 4;
const AF: u64 = 0x10;
const ZF: u64 = 0x40;
const SF: u64 = 0x80;
const DF: u64 = 0x400;
const OF: u64 = 0x800;

#[test]
fn arithmetic_and_its_flags() {
    with_oracle(|oracle| {
        // add rax, rcx
        let mut r = regs(&[(RAX, u64::MAX), (RCX, 1)]);
        assert_eq!(oracle.run(&[0x48, 0x01, 0xc8], &mut r), Ok(Outcome::Done));
        let flags = NONE | CF | PF | AF | ZF;
        assert_eq!(r, Regs { rip: CODE + 3, rflags: flags, ..regs(&[(RCX, 1)]) });
        // adc al, cl: with the carry that comes in, and without
        for (carry, sum) in [(CF, 0x80), (0, 0x7f)] {
            let mut r = regs(&[(RAX, 0x7f)]);
            r.rflags = carry;
            assert_eq!(oracle.run(&[0x10, 0xc8], &mut r), Ok(Outcome::Done));
            assert_eq!(r.gpr[RAX], sum);
            assert_eq!(r.rflags, if carry == 0 { NONE } else { NONE | AF | SF | OF });
        }
        // shl eax, 1
        let mut r = regs(&[(RAX, 0xffff_ffff_c000_0000)]);
        assert_eq!(oracle.run(&[0xd1, 0xe0], &mut r), Ok(Outcome::Done));
        assert_eq!(r.gpr[RAX], 0x8000_0000);
        assert_eq!(r.rflags & !AF, NONE | CF | PF | SF);
        // sar rax, cl: by 64 is by nothing, and leaves the flags
        let mut r = regs(&[(RAX, 5), (RCX, 64)]);
        r.rflags = CF | OF;
        assert_eq!(oracle.run(&[0x48, 0xd3, 0xf8], &mut r), Ok(Outcome::Done));
        assert_eq!((r.gpr[RAX], r.rflags), (5, NONE | CF | OF));
    });
}

#[test]
fn every_register_goes_in_and_comes_out() {
    with_oracle(|oracle| {
        let mut r = garbage();
        assert_eq!(oracle.run(&[0x90], &mut r), Ok(Outcome::Done));
        assert_eq!(r, Regs { rip: CODE + 1, rflags: NONE, ..garbage() });
        // not r64, each in its turn
        for n in 0..16 {
            let mut r = garbage();
            let code = [0x48 | (n >> 3) as u8, 0xf7, 0xd0 | (n & 7) as u8];
            assert_eq!(oracle.run(&code, &mut r), Ok(Outcome::Done));
            let mut expected = Regs { rip: CODE + 3, rflags: NONE, ..garbage() };
            expected.gpr[n] = !expected.gpr[n];
            assert_eq!(r, expected);
        }
    });
}

#[test]
fn every_flag_goes_in_and_comes_out() {
    with_oracle(|oracle| {
        for bit in (0..64).map(|n| 1 << n) {
            let mut r = Regs { rflags: bit, ..garbage() };
            assert_eq!(oracle.run(&[0x90], &mut r), Ok(Outcome::Done));
            assert_eq!(r.rflags, NONE | bit & SETTABLE, "{bit:x}");
        }
        // What the processor itself sees of them: pushfq.
        let mut r = Regs { rflags: u64::MAX, ..regs(&[(RSP, DATA + 8)]) };
        assert_eq!(oracle.run(&[0x9c], &mut r), Ok(Outcome::Done));
        assert_eq!(oracle.data()[..8], (SETTABLE | NONE).to_le_bytes());
    });
}

#[test]
fn the_direction_flag_is_in_effect() {
    with_oracle(|oracle| {
        oracle.data()[..16].copy_from_slice(b"0123456789abcdef");
        // rep movsb
        let mut r = regs(&[(RCX, 3), (RSI, DATA + 9), (RDI, DATA + 10)]);
        r.rflags = DF;
        assert_eq!(oracle.run(&[0xf3, 0xa4], &mut r), Ok(Outcome::Done));
        let left = [(RCX, 0), (RSI, DATA + 6), (RDI, DATA + 7)];
        assert_eq!(r, Regs { rip: CODE + 2, rflags: NONE | DF, ..regs(&left) });
        assert_eq!(&oracle.data()[..16], b"01234567789bcdef");
    });
}

#[test]
fn flags_that_the_host_cannot_live_with() {
    with_oracle(|oracle| {
        // popfq with all bits set: the trap flag traces the jump behind it, AC checks what comes then.
        oracle.data()[..8].fill(0xff);
        let settable = SETTABLE | 0x4_0100;
        for rip in [CODE, CODE + 1, CODE + 7, CODE + CODE_BYTES as u64 - 1] {
            let mut r = Regs { rip, ..regs(&[(RSP, DATA)]) };
            assert_eq!(oracle.run(&[0x9d], &mut r), Ok(Outcome::Done));
            let left = Regs { rip: rip + 1, rflags: settable | NONE, ..regs(&[(RSP, DATA + 8)]) };
            assert_eq!(r, left);
        }
        // AC alone, so that no signal clears it.
        oracle.data()[..8].copy_from_slice(&(0x4_0400_u64).to_le_bytes());
        let mut r = regs(&[(RSP, DATA)]);
        assert_eq!(oracle.run(&[0x9d], &mut r), Ok(Outcome::Done));
        assert_eq!(r.rflags, NONE | 0x4_0400);
        let flags: u64;
        // SAFETY: reads the flags.
        unsafe { std::arch::asm!("pushfq", "pop {}", out(reg) flags) };
        assert_eq!(flags & 0x4_4500, 0, "TF, DF, NT and AC are clear for the host");
    });
}

#[test]
fn long_instructions() {
    with_oracle(|oracle| {
        // lock add qword ptr fs-less [rbx + rcx * 8 + disp32], imm32 with prefixes up to 15 bytes
        let mut code = vec![0x2e; 2];
        code.extend([0xf0, 0x48, 0x81, 0x84, 0xcb]);
        code.extend(0x10_i32.to_le_bytes());
        code.extend(0x1234_5678_i32.to_le_bytes());
        assert_eq!(code.len(), 15);
        let mut r = regs(&[(RBX, DATA), (RCX, 2)]);
        assert_eq!(oracle.run(&code, &mut r), Ok(Outcome::Done));
        assert_eq!(r.rip, CODE + 15);
        assert_eq!(oracle.data()[32..40], 0x1234_5678_u64.to_le_bytes());
        // One byte more is a fault, and not the decoder's word.
        let mut r = regs(&[]);
        code.insert(0, 0x2e);
        assert_eq!(oracle.run(&code, &mut r), Ok(common::fault(13)));
        assert_eq!(r.rip, CODE);
    });
}

#[test]
fn instructions_stand_anywhere() {
    with_oracle(|oracle| {
        // mov r8, imm64, across two pages of the code and up to its last byte
        let code = [0x49, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8];
        let end = CODE + CODE_BYTES as u64;
        let places = (CODE + PAGE as u64 - 40..CODE + PAGE as u64 + 10).chain(end - 40..=end - 10);
        for rip in places {
            let mut r = Regs { rip, ..garbage() };
            assert_eq!(oracle.run(&code, &mut r), Ok(Outcome::Done));
            let mut left = Regs { rip: rip + 10, rflags: NONE, ..garbage() };
            left.gpr[8] = 0x0807_0605_0403_0201;
            assert_eq!(r, left);
        }
    });
}

#[test]
fn addresses_of_both_widths_and_relative_ones() {
    with_oracle(|oracle| {
        oracle.data()[8192..8200].copy_from_slice(&77_u64.to_le_bytes());
        // mov rax, [rip + n]: the page that can only be read
        let mut code = vec![0x48, 0x8b, 0x05];
        code.extend((READ_ONLY.wrapping_sub(CODE + 7) as u32).to_le_bytes());
        let mut r = regs(&[]);
        assert_eq!(oracle.run(&code, &mut r), Ok(Outcome::Done));
        assert_eq!(r.gpr[RAX], 77);
        // lea eax, [ecx]: 32 bits of it
        let mut r = regs(&[(RCX, DATA | 5)]);
        assert_eq!(oracle.run(&[0x67, 0x48, 0x8d, 0x01], &mut r), Ok(Outcome::Done));
        assert_eq!(r.gpr[RAX], DATA & 0xffff_ffff | 5);
    });
}

#[test]
fn data_are_remembered_and_restored() {
    with_oracle(|oracle| {
        oracle.data().fill(0x5a);
        oracle.remember();
        assert_eq!(oracle.changed(), None);
        // mov [rax], ecx
        let mut r = regs(&[(RAX, DATA + 4094), (RCX, 0x0102_5a04)]);
        assert_eq!(oracle.run(&[0x89, 0x08], &mut r), Ok(Outcome::Done));
        assert_eq!(oracle.changed(), Some(4094..4098));
        oracle.restore();
        assert_eq!(oracle.changed(), None);
        assert!(oracle.data().iter().all(|byte| *byte == 0x5a));
    });
}

#[test]
fn loaded_instructions_survive_each_other() {
    with_oracle(|oracle| {
        // inc eax, dec eax, overlapping; each twice, the first one again
        let inc = oracle.load(&[0xff, 0xc0], CODE).unwrap();
        let dec = oracle.load(&[0xff, 0xc8], CODE + 1).unwrap();
        for (loaded, left) in [(inc, 6), (dec, 4), (inc, 6), (inc, 6), (dec, 4)] {
            let mut r = regs(&[(RAX, 5)]);
            assert_eq!(oracle.go(&loaded, &mut r), Outcome::Done);
            assert_eq!(r.gpr[RAX], left);
        }
    });
}

#[test]
fn a_second_oracle_is_refused() {
    with_oracle(|_| {
        let error = Oracle::new().err().expect("no second one");
        assert!(matches!(error, Unavailable::Second), "{error}");
    });
    // and one after the other is fine
    with_oracle(|_| ());
}
