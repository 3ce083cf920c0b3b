//! `vadd.vv` in both forms, and against a loop over elements.

use crate::Random;
use crate::vector::{Hart, ISA, Illegal, Lifter, Plain, VLENB, VaddVv, VectorKey, vadd_vv};
use isa_core::Width;
use isa_ir::{Block, Builder, Evaluator, Limits, Outcome, Passes, Stop, parse, verify};

fn key(random: &mut Random) -> VectorKey {
    let element = [Width::B1, Width::B2, Width::B4, Width::B8][random.below(4) as usize];
    // A fractional LMUL must leave room for one element (SEW <= LMUL * ELEN, ELEN = 64).
    let least = (element as u16).ilog2() as i8 - 3;
    let lmul = least + random.below((4 - least) as u64) as i8;
    let mut key = VectorKey { element, lmul, vl: 0 };
    key.vl = match random.below(4) {
        0 => key.most(),
        1 => 0,
        _ => random.below(u64::from(key.most()) + 1) as u16,
    };
    key
}

fn insn(random: &mut Random, key: VectorKey) -> VaddVv {
    let mut r = || {
        let r = random.below(32) as u8;
        if random.below(16) == 0 { r } else { r & !(key.registers() - 1) }
    };
    let (vd, vs2, vs1) = (r(), r(), r());
    VaddVv { vd, vs2, vs1, vm: random.below(2) == 0 }
}

fn hart(random: &mut Random, key: VectorKey) -> Hart {
    let v = (0..32 * VLENB).map(|_| random.word() as u8).collect();
    let vstart = if random.below(2) == 0 { 0 } else { random.below(u64::from(key.most()) + 2) };
    Hart { v, vstart }
}

/// The manual's words, element by element.
fn reference(before: &Hart, key: VectorKey, i: VaddVv) -> Result<Hart, Illegal> {
    let group = 1 << key.lmul.max(0);
    if [i.vd, i.vs1, i.vs2].iter().any(|r| r % group != 0) || !i.vm && i.vd == 0 {
        return Err(Illegal);
    }
    let size = key.element as usize;
    let place = |r: u8, element: usize| {
        let at = usize::from(r) * usize::from(VLENB) + element * size;
        at..at + size
    };
    let mut after = before.clone();
    for element in before.vstart as usize..usize::from(key.vl) {
        if !i.vm && before.v[element / 8] >> (element % 8) & 1 == 0 {
            continue;
        }
        // A sum of bytes with carry: no lanes in sight.
        let mut carry = 0;
        for ((d, a), b) in place(i.vd, element).zip(place(i.vs2, element)).zip(place(i.vs1, element)) {
            let sum = u16::from(before.v[a]) + u16::from(before.v[b]) + carry;
            after.v[d] = sum as u8;
            carry = sum >> 8;
        }
    }
    after.vstart = 0;
    Ok(after)
}

fn blocks(key: VectorKey, code: &[VaddVv]) -> [Block; 2] {
    let limits = Limits::default();
    let mut lifter = Lifter { builder: Builder::new(&ISA, limits), key };
    for &insn in code {
        lifter.builder.insn(4).expect("room");
        match vadd_vv(&mut lifter, insn) {
            Ok(()) => {}
            Err(Stop::Ended) => break,
            Err(Stop::Full) => panic!("an instruction is not that long"),
        }
    }
    let lifted = lifter.builder.finish().expect("room");
    let mut passed = lifted.clone();
    Passes::default().run(&mut passed);
    for block in [&lifted, &passed] {
        assert_eq!(verify(block, &limits), Ok(()), "{block}");
        assert_eq!(parse(&block.to_string(), &ISA, &limits).as_ref(), Ok(block));
    }
    [lifted, passed]
}

#[test]
fn vadd_vv_is_one_meaning_in_both_forms_and_what_the_manual_says() {
    let mut random = Random(5);
    let (mut ran, mut illegal) = (0, 0);
    for _ in 0..10_000 {
        let key = key(&mut random);
        let (before, insn) = (hart(&mut random, key), insn(&mut random, key));
        let mut plain = Plain { hart: before.clone(), key };
        let result = vadd_vv(&mut plain, insn);
        let expected = reference(&before, key, insn);
        assert_eq!(result.map(|()| plain.hart.clone()), expected, "{key:?} {insn:?}");
        for block in blocks(key, &[insn]) {
            let mut ir = before.clone();
            let outcome = Evaluator::default().eval(&block, 0x1000, &mut ir);
            match &expected {
                Ok(after) => {
                    ran += 1;
                    assert_eq!(outcome, Ok(Outcome::Next(0x1004)));
                    assert_eq!(&ir, after, "{key:?}\n{block}");
                }
                Err(Illegal) => {
                    illegal += 1;
                    assert_eq!(outcome, Ok(Outcome::Trap { code: 2, arg: 0 }));
                    assert_eq!(ir, before);
                }
            }
        }
    }
    println!("{ran} ran, {illegal} were illegal");
    assert!(ran > 13_000 && illegal > 700);
}

/// A restart: the first `vstart` elements were done before a trap, the rest afterwards; together they
/// are the instruction done at once. The destination is no source, or the restart would add twice.
#[test]
fn a_restart_at_any_element_completes_the_instruction() {
    let mut random = Random(6);
    for lmul in [0, 2] {
        let mut key = VectorKey { element: Width::B2, lmul, vl: 0 };
        key.vl = key.most() - 1;
        let insn = VaddVv { vd: 8, vs2: 16, vs1: 24, vm: false };
        let mut before = hart(&mut random, key);
        before.vstart = 0;
        let whole = reference(&before, key, insn).expect("legal");
        for stop in 0..=key.vl {
            let done = VectorKey { vl: stop, ..key };
            let mut part = reference(&before, done, insn).expect("legal");
            part.vstart = stop.into();
            for block in blocks(key, &[insn]) {
                let mut ir = part.clone();
                Evaluator::default().eval(&block, 0, &mut ir).expect("no trap");
                assert_eq!(ir, whole, "stopped at {stop}");
            }
        }
    }
}

#[test]
fn two_in_a_block() {
    let mut random = Random(7);
    for _ in 0..2000 {
        let key = key(&mut random);
        let code = [insn(&mut random, key), insn(&mut random, key)];
        let before = hart(&mut random, key);
        let expected = reference(&before, key, code[0]).and_then(|h| reference(&h, key, code[1]));
        let [lifted, passed] = blocks(key, &code);
        let Ok(expected) = expected else { continue };
        for block in [lifted, passed] {
            let mut ir = before.clone();
            Evaluator::default().eval(&block, 0, &mut ir).expect("no trap");
            assert_eq!(ir, expected, "{block}");
        }
    }
}

#[test]
fn the_ir_of_vadd_vv() {
    let key = VectorKey { element: Width::B4, lmul: 1, vl: 7 };
    let [_, passed] = blocks(key, &[VaddVv { vd: 2, vs2: 4, vs1: 6, vm: false }]);
    let expected = "\
insn 0 4
%1 = get_vector v4, 32
%2 = get_vector v6, 32
%3 = get_vector v2, 32
%4 = get vstart0
%5 = const 0x7
%6 = range 16 %4, %5
%7 = get_vector v0, 16
%8 = lanes and b8x2 %6, %7
%9 = lanes add b4x8 %1, %2, %8, %3
set_vector v2, %9
%11 = const 0x0
set vstart0, %11
next 4
";
    assert_eq!(passed.to_string(), expected);
}
