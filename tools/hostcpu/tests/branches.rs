//! Branches: where they go, near and far, and what they leave on the stack.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use common::{DATA_END, NONE, fault, page_fault, regs, with_oracle};
use hostcpu::*;

const ZF: u64 = 0x40;
const END: u64 = CODE + CODE_BYTES as u64;

#[test]
fn jumps_go_where_they_say() {
    with_oracle(|oracle| {
        let middle = CODE + 1000;
        // jmp rel8 by every distance: itself, its own bytes, just before and behind, and a jump of ours
        for distance in i8::MIN..=i8::MAX {
            let mut r = Regs { rip: middle, ..regs(&[]) };
            assert_eq!(oracle.run(&[0xeb, distance as u8], &mut r), Ok(Outcome::Done));
            let target = (middle + 2).wrapping_add_signed(distance.into());
            assert_eq!(r, Regs { rip: target, rflags: NONE, ..regs(&[]) });
        }
        // jmp rax
        for target in [
            CODE,
            middle,
            middle + 1,
            middle + 2,
            middle + 3,
            middle + 8,
            END - 6,
            END - 5,
            END - 1,
            END,
            DATA,
            READ_ONLY,
            DATA_END,
            EXITS,
            0,
            0xffff_ffff,
            0x7fff_ffff_efff,
            0x7fff_ffff_ffff,
            0xffff_8000_0000_0000,
            u64::MAX,
        ] {
            let mut r = Regs { rip: middle, ..regs(&[(RAX, target)]) };
            assert_eq!(oracle.run(&[0xff, 0xe0], &mut r), Ok(Outcome::Done), "{target:x}");
            assert_eq!(r, Regs { rip: target, rflags: NONE, ..regs(&[(RAX, target)]) });
        }
    });
}

#[test]
fn conditions_are_looked_at() {
    with_oracle(|oracle| {
        for distance in [-100_i8, -7, -3, -2, 0, 1, 5, 6, 100] {
            for rip in [CODE + 500, END - 2, END - 9] {
                for (rflags, taken) in [(ZF, true), (0, false)] {
                    let mut r = Regs { rip, rflags, ..regs(&[]) };
                    assert_eq!(oracle.run(&[0x74, distance as u8], &mut r), Ok(Outcome::Done));
                    let by = if taken { i64::from(distance) } else { 0 };
                    let left = (rip + 2).wrapping_add_signed(by);
                    assert_eq!(r, Regs { rip: left, rflags: rflags | NONE, ..regs(&[]) });
                }
            }
        }
        // loop: the counter decides, and is counted
        for (count, taken) in [(1, false), (2, true), (0, true)] {
            let mut r = regs(&[(RCX, count)]);
            assert_eq!(oracle.run(&[0xe2, 0x40], &mut r), Ok(Outcome::Done));
            assert_eq!(r.rip, if taken { CODE + 0x42 } else { CODE + 2 });
            assert_eq!(r.gpr[RCX], count.wrapping_sub(1));
        }
    });
}

#[test]
fn calls_and_returns() {
    with_oracle(|oracle| {
        // call rel32
        let mut r = regs(&[(RSP, DATA + 16)]);
        assert_eq!(oracle.run(&[0xe8, 0, 1, 0, 0], &mut r), Ok(Outcome::Done));
        assert_eq!(r, Regs { rip: CODE + 0x105, rflags: NONE, ..regs(&[(RSP, DATA + 8)]) });
        assert_eq!(oracle.data()[8..16], (CODE + 5).to_le_bytes());
        // ret 0x10, to where nothing is mapped, and to itself
        for target in [DATA_END + 0x1234, CODE, CODE + 1, CODE + 700] {
            oracle.data()[4092..4100].copy_from_slice(&target.to_le_bytes());
            let mut r = regs(&[(RSP, DATA + 4092)]);
            assert_eq!(oracle.run(&[0xc2, 0x10, 0], &mut r), Ok(Outcome::Done));
            let left = Regs { rip: target, rflags: NONE, ..regs(&[(RSP, DATA + 4092 + 24)]) };
            assert_eq!(r, left);
        }
        // jmp [rbx + rcx * 8 - 8], call [rip + n]
        oracle.data()[16..24].copy_from_slice(&(CODE + 300).to_le_bytes());
        let mut r = regs(&[(RBX, DATA), (RCX, 3)]);
        assert_eq!(oracle.run(&[0xff, 0x64, 0xcb, 0xf8], &mut r), Ok(Outcome::Done));
        assert_eq!(r.rip, CODE + 300);
        let mut code = vec![0xff, 0x15];
        code.extend((DATA + 16).wrapping_sub(CODE + 6).to_le_bytes().iter().take(4));
        let mut r = regs(&[(RSP, DATA + 8)]);
        assert_eq!(oracle.run(&code, &mut r), Ok(Outcome::Done));
        assert_eq!((r.rip, r.gpr[RSP]), (CODE + 300, DATA));
        assert_eq!(oracle.data()[..8], (CODE + 6).to_le_bytes());
    });
}

#[test]
fn branches_that_fault_go_nowhere() {
    with_oracle(|oracle| {
        let mut same = |code: &[u8], before: Regs, outcome: Outcome| {
            let mut r = before.clone();
            assert_eq!(oracle.run(code, &mut r), Ok(outcome), "{code:x?}");
            assert_eq!(r, Regs { rflags: NONE, ..before });
        };
        // call rax, ret, jmp [rax]
        same(&[0xff, 0xd0], regs(&[(RAX, CODE + 9), (RSP, DATA)]), page_fault(6, DATA - 8));
        same(&[0xff, 0xd0], regs(&[(RAX, CODE + 9), (RSP, READ_ONLY + 8)]), page_fault(7, READ_ONLY));
        same(&[0xc3], regs(&[(RSP, DATA_END - 4)]), page_fault(4, DATA_END));
        same(&[0xff, 0x20], regs(&[(RAX, DATA - 3)]), page_fault(4, DATA - 3));
        same(&[0xff, 0x20], regs(&[(RAX, 1 << 63)]), fault(13));
        // ret with a stack that is not canonical
        same(&[0xc3], regs(&[(RSP, 1 << 63)]), fault(12));
    });
}
