//! The hard scalar rows with inputs chosen from the manual: rounding modes and sticky flags,
//! reservations, atomic operations, CSR accesses with side effects. Each runs in both forms, which must
//! agree with the stated outcome.

use crate::random::{BASE, DATA, SIZE};
use crate::target::{IrMachine, blocks};
use isa_core::Width;
use isa_riscv::csr_fields::mstatus;
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Change, Features, csr_number};

const A0: usize = 10;
const A1: usize = 11;
const A2: usize = 12;

fn machine() -> TestMachine {
    let mut m = TestMachine::new(&Features::FULL, BASE, SIZE as usize);
    m.hart.csr.mstatus |= 1 << mstatus::FS.trailing_zeros();
    m
}

/// Runs `words` from `m` in the three forms; gives the state that they agree on.
fn run(m: &TestMachine, words: &[u32]) -> TestMachine {
    let mut plain = m.clone();
    for (i, &word) in (0u64..).zip(words) {
        plain.write(BASE + 4 * i, Width::B4, word.into()).expect("memory");
    }
    let start = plain.clone();
    for _ in words {
        plain.step().expect("no trap");
    }
    plain.begin();
    for block in &blocks(words, true) {
        let mut ir = IrMachine::new(start.clone());
        ir.run(block).expect("no trap");
        ir.m.begin();
        assert!(ir.m == plain, "{block}");
    }
    plain
}

/// 1 + 2^-53 lies half way between 1 and the next number. IEEE 754 section 4.3 says what each mode makes of
/// it; all raise inexact, which accrues.
#[test]
fn fadd_d_rounds_as_asked_and_accrues() {
    let (one, next) = (1f64.to_bits(), 1f64.to_bits() + 1);
    let minus = |bits: u64| bits | 1 << 63;
    // rm, 1 + 2^-53, -1 - 2^-53
    let modes = [(0, one, one), (1, one, one), (2, one, next), (3, next, one), (4, next, next)];
    for (rm, positive, negative) in modes {
        for dynamic in [false, true] {
            let mut m = machine();
            m.hart.csr.fflags = 0x10;
            m.hart.csr.frm = if dynamic { rm } else { 4 - rm };
            m.hart.f[A1] = one;
            m.hart.f[A2] = 2f64.powi(-53).to_bits();
            // fadd.d fa0, fa1, fa2, rm
            let word = 0x02c5_8553 | if dynamic { 7 } else { u32::from(rm) } << 12;
            let after = run(&m, &[word]);
            assert_eq!(after.hart.f[A0], positive, "rm {rm}");
            assert_eq!(after.hart.csr.fflags, 0x11);
            assert_eq!(after.hart.csr.mstatus & mstatus::FS, mstatus::FS, "dirty");
            (m.hart.f[A1], m.hart.f[A2]) = (minus(m.hart.f[A1]), minus(m.hart.f[A2]));
            assert_eq!(run(&m, &[word]).hart.f[A0], minus(negative), "rm {rm}");
        }
    }
}

/// Two additions in one block: the flags of both are there, and FS is made dirty once.
#[test]
fn flags_accrue_through_a_block() {
    let mut m = machine();
    (m.hart.f[A1], m.hart.f[A2]) = (f64::MAX.to_bits(), f64::MAX.to_bits());
    // fadd.d fa0, fa1, fa2, rne: overflow and inexact; fsub.d fa1, fa0, fa0, rne: inf - inf, invalid
    let words = [0x02c5_8553, 0x0aa5_05d3];
    let after = run(&m, &words);
    assert_eq!(after.hart.csr.fflags, 0x15);
    assert_eq!(after.hart.f[A1], 0x7ff8 << 48);
    let [lifted, passed] = blocks(&words, true).map(|b| b.to_string().matches("set fs0").count());
    assert_eq!((lifted, passed), (2, 1));
}

/// "Zalrsc": an `sc` succeeds behind its `lr`, and none succeeds twice.
#[test]
fn lr_and_sc_in_one_block() {
    let mut m = machine();
    m.hart.x[A1] = DATA;
    m.write(DATA, Width::B8, 0xffff_ffff_8000_0000).expect("memory");
    m.hart.x[A2] = 7;
    // lr.w a0, (a1); sc.w a3, a2, (a1); sc.w a4, a2, (a1)
    let mut after = run(&m, &[0x1005_a52f, 0x18c5_a6af, 0x18c5_a72f]);
    assert_eq!(after.hart.x[A0], 0xffff_ffff_8000_0000);
    assert_eq!((after.hart.x[13], after.hart.x[14], after.reservation), (0, 1, None));
    assert_eq!(after.read(DATA, Width::B8), Some(0xffff_ffff_0000_0007));
}

/// "Zaamo": word operations leave the upper half of memory alone and sign-extend; rd may be rs2.
#[test]
fn amoadd_w_onto_its_operand() {
    let mut m = machine();
    (m.hart.x[A1], m.hart.x[A2]) = (DATA, 1);
    m.write(DATA, Width::B8, 0x1234_5678_7fff_ffff).expect("memory");
    // amoadd.w.aqrl a2, a2, (a1)
    let mut after = run(&m, &[0x06c5_a62f]);
    assert_eq!(after.hart.x[A2], 0x7fff_ffff);
    assert_eq!(after.read(DATA, Width::B8), Some(0x1234_5678_8000_0000));
}

/// A CSR access with side effects: `satp` tells the engine that translation has changed, and `mstatus`
/// shows the FS that an earlier instruction of the block has made dirty.
#[test]
fn csr_accesses_have_their_side_effects() {
    let mut m = machine();
    m.hart.x[A1] = 8 << 60 | 0x1234;
    let satp = csr_number("satp").expect("satp");
    // csrrw a0, satp, a1
    let after = run(&m, &[0x0005_9573 | u32::from(satp) << 20]);
    assert_eq!(after.hart.csr.satp, 8 << 60 | 0x1234);
    assert_eq!(after.changes, [Change::Translation]);
    // fmv.d.x fa0, a1; csrrs a0, mstatus, zero
    let after = run(&m, &[0xf205_8553, 0x3000_2573]);
    assert_eq!(after.hart.x[A0] & (1 << 63 | mstatus::FS), 1 << 63 | mstatus::FS, "SD and FS");
}
