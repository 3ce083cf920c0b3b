//! What rows look like as IR. The texts are also what the passes leave of them.

use crate::target::blocks;
use isa_ir::{Limits, parse};
use isa_riscv::lift::ISA;

/// The IR of `word` as lifted and after the passes, against what is expected.
fn check(word: u32, lifted: &str, passed: &str) {
    let trim = |text: &str| {
        text.lines().map(str::trim).filter(|l| !l.is_empty()).fold(String::new(), |t, l| t + l + "\n")
    };
    let got = blocks(&[word], true);
    for (block, expected) in got.iter().zip([lifted, passed]) {
        assert_eq!(block.to_string(), trim(expected));
        assert_eq!(parse(expected, &ISA, &Limits::default()).as_ref(), Ok(block));
    }
}

#[test]
fn addi() {
    // addi a0, a1, -1
    let text = "
        insn 0 4
        %1 = get x11
        %2 = const 0xffffffffffffffff
        %3 = add %1, %2
        set x10, %3
        next 4";
    check(0xfff5_8513, text, text);
}

#[test]
fn addi_that_only_moves() {
    // mv a0, a1, which is addi a0, a1, 0
    check(
        0x0005_8513,
        "insn 0 4
        %1 = get x11
        %2 = const 0x0
        %3 = add %1, %2
        set x10, %3
        next 4",
        "insn 0 4
        %1 = get x11
        set x10, %1
        next 4",
    );
}

#[test]
fn lr_w() {
    // lr.w.aq a0, (a1)
    let text = "
        insn 0 4
        %1 = get x11
        %2 = load_reserved b4 acquire %1
        set x10, %2
        next 4";
    check(0x1405_a52f, text, text);
}

#[test]
fn fadd_d() {
    // fadd.d fa0, fa1, fa2, dyn
    let text = "
        insn 0 4
        %1 = get f11
        %2 = get f12
        %3 = const 0x0
        %4 = const 0x7
        %5 = call 0x20200 fp.add.d %1, %2, %3, %4
        set f10, %5
        %7 = const 0x1
        set fs0, %7
        next 4";
    check(0x02c5_f553, text, text);
}

#[test]
fn beq() {
    // beq a0, zero, -8
    check(
        0xfe05_0ce3,
        "insn 0 4
        %1 = get x10
        %2 = const 0x0
        %3 = eq %1, %2
        %4 = pc 0
        %5 = const 0xfffffffffffffff8
        %6 = add %4, %5
        exit_if %3, %6
        next 4",
        "insn 0 4
        %1 = get x10
        %2 = const 0x0
        %3 = eq %1, %2
        %4 = pc -8
        exit_if %3, %4
        next 4",
    );
}

#[test]
fn csrrs_and_jalr_and_no_instruction() {
    // csrrs a0, fcsr, a1
    let text = "
        insn 0 4
        %1 = get x11
        %2 = const 0x0
        %3 = call 0x12003 csr.set.fcsr %1, %2, %2, %2
        set x10, %3
        next 4";
    check(0x0035_a573, text, text);
    // jalr ra, 0(ra): the link register is written behind the last fault
    let text = "
        insn 0 4
        %1 = get x1
        %2 = const 0xfffffffffffffffe
        %3 = and %1, %2
        %4 = pc 4
        set x1, %4
        jump %3";
    check(0x0000_80e7, text, text);
    // all ones
    let text = "
        insn 0 4
        %1 = const 0xffffffff
        trap 2 %1";
    check(0xffff_ffff, text, text);
}
