//! `adc` in both forms, and against arithmetic of the test's own.

use crate::Random;
use crate::x86::{Adc, BASE, ISA, IrX86, Lifted, Mem, PageFault, Reg, RegMem, X86, adc};
use isa_core::{Flag, LazyFlags, Width};
use isa_ir::{Block, Builder, Evaluator, Limits, Outcome, Passes, parse, verify};

const WIDTHS: [Width; 4] = [Width::B1, Width::B2, Width::B4, Width::B8];
const SIZE: u64 = 256;

fn value(random: &mut Random) -> u64 {
    let edge = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, u64::MAX, 1 << 63];
    match random.below(4) {
        0 => edge[random.below(11) as usize],
        1 => edge[random.below(11) as usize].wrapping_neg(),
        _ => random.word(),
    }
}

fn state(random: &mut Random) -> X86 {
    let mut r = [0; 16];
    r.fill_with(|| value(random));
    X86 {
        r,
        flags: LazyFlags::from_bits(random.word() & 0x8d5),
        memory: (0..SIZE).map(|_| value(random) as u8).collect(),
        read_only: SIZE as usize - 32,
    }
}

fn reg(random: &mut Random, width: Width) -> Reg {
    let high = width == Width::B1 && random.below(4) == 0;
    Reg { r: random.below(if high { 4 } else { 16 }) as u8, high }
}

/// A random `adc`; a memory operand's registers are set so that it is mostly in memory.
fn insn(random: &mut Random, x86: &mut X86) -> Adc {
    let width = WIDTHS[random.below(4) as usize];
    let from = reg(random, width);
    if random.below(2) == 0 {
        return Adc { width, to: RegMem::Reg(reg(random, width)), from, lock: false };
    }
    let index = (random.below(2) == 0).then(|| (5, random.below(4) as u8));
    let mem = Mem { base: 4, index, displacement: random.word() as i16 as i32 };
    let offset = match index {
        Some((_, scale)) => {
            x86.r[5] = random.word();
            x86.r[5] << scale
        }
        None => 0,
    };
    let va = BASE + random.below(SIZE + 4);
    x86.r[4] = va.wrapping_sub(offset).wrapping_sub(mem.displacement as i64 as u64);
    Adc { width, to: RegMem::Mem(mem), from, lock: random.below(3) == 0 }
}

fn blocks(code: &[Adc]) -> [Block; 2] {
    let limits = Limits::default();
    let mut builder = Builder::new(&ISA, limits);
    for &insn in code {
        builder.insn(4).expect("room");
        let done: Lifted = adc(&mut builder, insn);
        done.expect("adc neither jumps nor traps");
    }
    let lifted = builder.finish().expect("room");
    let mut passed = lifted.clone();
    Passes::default().run(&mut passed);
    for block in [&lifted, &passed] {
        assert_eq!(verify(block, &limits), Ok(()), "{block}");
        assert_eq!(parse(&block.to_string(), &ISA, &limits).as_ref(), Ok(block));
    }
    [lifted, passed]
}

/// The six flags of `a + b + carry`, by arithmetic on wider integers (SDM volume 1, "Status Flags").
fn expected_flags(bits: u32, a: u64, b: u64, carry: u64) -> u64 {
    let signed = |v: u64| i128::from((v << (64 - bits)) as i64 >> (64 - bits));
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let sum = (wide & ((1 << bits) - 1)) as u64;
    let wide_signed = signed(a) + signed(b) + i128::from(carry);
    let set = |flag: Flag, on: bool| u64::from(on) << flag as u32;
    set(Flag::Carry, wide >> bits != 0)
        | set(Flag::Parity, (0..8).filter(|i| sum >> i & 1 != 0).count() % 2 == 0)
        | set(Flag::Adjust, a % 16 + b % 16 + carry > 15)
        | set(Flag::Zero, sum == 0)
        | set(Flag::Sign, wide_signed.rem_euclid(1 << bits) >= 1 << (bits - 1))
        | set(Flag::Overflow, !(-(1 << (bits - 1))..1 << (bits - 1)).contains(&wide_signed))
}

/// `adc` by the manual's words, without a machine: what it leaves of `before`, or its fault.
fn reference(before: &X86, insn: Adc) -> Result<X86, PageFault> {
    let mut after = before.clone();
    let bits = 8 * insn.width.bytes() as u32;
    let (bytes, mask) = (insn.width.bytes() as usize, insn.width.mask());
    let read = |reg: Reg| before.r[usize::from(reg.r)] >> if reg.high { 8 } else { 0 } & mask;
    let (b, carry) = (read(insn.from), u64::from(before.flags.flag(Flag::Carry)));
    let sum = |a: u64| (u128::from(a) + u128::from(b) + u128::from(carry)) as u64 & mask;
    let a = match insn.to {
        RegMem::Reg(to) => {
            let (a, r) = (read(to), &mut after.r[usize::from(to.r)]);
            let mut whole = r.to_le_bytes();
            match bytes {
                4 => whole = sum(a).to_le_bytes(),
                _ => {
                    let at = usize::from(to.high);
                    whole[at..at + bytes].copy_from_slice(&sum(a).to_le_bytes()[..bytes]);
                }
            }
            *r = u64::from_le_bytes(whole);
            a
        }
        RegMem::Mem(mem) => {
            let index = mem.index.map_or(0, |(r, scale)| before.r[usize::from(r)] << scale);
            let va = before.r[usize::from(mem.base)].wrapping_add(index);
            let va = va.wrapping_add(i64::from(mem.displacement) as u64);
            let at = va.wrapping_sub(BASE) as usize;
            let end = at.saturating_add(bytes);
            if end > before.memory.len() {
                return Err(PageFault(va, insn.lock));
            } else if end > before.read_only {
                return Err(PageFault(va, true));
            }
            let old = before.memory[at..end].iter().rev().fold(0, |v, &b| v << 8 | u64::from(b));
            after.memory[at..end].copy_from_slice(&sum(old).to_le_bytes()[..bytes]);
            old
        }
    };
    after.flags = LazyFlags::from_bits(expected_flags(bits, a, b, carry));
    Ok(after)
}

/// The state with its flags computed.
fn computed(mut x86: X86) -> X86 {
    x86.flags = LazyFlags::from_bits(x86.flags.bits());
    x86
}

#[test]
fn adc_is_one_meaning_in_both_forms_and_what_the_manual_says() {
    let mut random = Random(1);
    let (mut ran, mut faults) = (0, 0);
    for _ in 0..50_000 {
        let mut before = state(&mut random);
        let insn = insn(&mut random, &mut before);
        let mut plain = before.clone();
        let result = adc(&mut plain, insn);
        let expected = reference(&before, insn);
        assert_eq!(result, expected.as_ref().map(|_| ()).map_err(|f| *f), "{insn:?}");
        match expected {
            Ok(expected) => {
                ran += 1;
                assert_eq!(computed(plain.clone()), computed(expected), "{insn:?} on {before:x?}");
            }
            Err(_) => {
                faults += 1;
                assert_eq!(plain, before, "{insn:?}: rule 9");
            }
        }
        for block in blocks(&[insn]) {
            let mut ir = IrX86 { x86: before.clone(), flag_writes: 0, pc: 0 };
            let outcome = Evaluator::default().eval(&block, 0x1000, &mut ir);
            assert_eq!(outcome, result.map(|()| Outcome::Next(0x1004)), "{block}");
            // The lazy form itself is the same, not only the flags it stands for.
            assert_eq!(ir.x86, plain, "{block}");
        }
    }
    println!("{ran} ran, {faults} faulted");
    assert!(ran > 40_000 && faults > 2_000);
}

/// The carrying operations of the standard library, which compile to the host's own.
#[test]
fn carry_and_overflow_are_those_of_the_host() {
    macro_rules! check {
        ($Unsigned:ty, $Signed:ty, $width:expr, $random:expr) => {
            for _ in 0..20_000 {
                let (a, b) = (value($random) as $Unsigned, value($random) as $Unsigned);
                let carry = $random.below(2) as $Unsigned;
                let mut x86 = X86 {
                    r: [0; 16],
                    flags: LazyFlags::from_bits(carry.into()),
                    memory: Vec::new(),
                    read_only: 0,
                };
                (x86.r[0], x86.r[1]) = (a.into(), b.into());
                let [to, from] = [0, 1].map(|r| Reg { r, high: false });
                adc(&mut x86, Adc { width: $width, to: RegMem::Reg(to), from, lock: false })
                    .expect("no fault");
                let (sum, first) = a.overflowing_add(b);
                let (sum, second) = sum.overflowing_add(carry);
                let (signed, third) = (a as $Signed).overflowing_add(b as $Signed);
                let (_, fourth) = signed.overflowing_add(carry as $Signed);
                assert_eq!(x86.r[0] as $Unsigned, sum);
                assert_eq!(x86.flags.flag(Flag::Carry), first | second);
                // Adding 1 to what wrapped downwards can wrap back.
                assert_eq!(x86.flags.flag(Flag::Overflow), third ^ fourth);
                assert_eq!(x86.flags.flag(Flag::Zero), sum == 0);
                assert_eq!(x86.flags.flag(Flag::Sign), (sum as $Signed) < 0);
            }
        };
    }
    let random = &mut Random(2);
    check!(u8, i8, Width::B1, random);
    check!(u16, i16, Width::B2, random);
    check!(u32, i32, Width::B4, random);
    check!(u64, i64, Width::B8, random);
}

/// Big numbers are added in a row of `adc`. Only the last one's flags are written, and of those in
/// between only the carry is computed.
#[test]
fn a_chain_writes_flags_once() {
    let chain: Vec<Adc> = (0..4)
        .map(|i| Adc {
            width: Width::B8,
            to: RegMem::Reg(Reg { r: i, high: false }),
            from: Reg { r: 8 + i, high: false },
            lock: false,
        })
        .collect();
    let mut random = Random(3);
    for _ in 0..1000 {
        let mut before = state(&mut random);
        before.flags = LazyFlags::from_bits(0);
        let mut plain = before.clone();
        chain.iter().for_each(|&insn| adc(&mut plain, insn).expect("no fault"));
        // 256-bit addition, limb by limb in 128 bits.
        let mut carry = 0;
        for i in 0..4 {
            let sum = u128::from(before.r[i]) + u128::from(before.r[8 + i]) + carry;
            assert_eq!(plain.r[i], sum as u64);
            carry = sum >> 64;
        }
        for (block, writes) in blocks(&chain).iter().zip([4, 1]) {
            let mut ir = IrX86 { x86: before.clone(), flag_writes: 0, pc: 0 };
            Evaluator::default().eval(block, 0, &mut ir).expect("no fault");
            assert_eq!((ir.x86, ir.flag_writes), (plain.clone(), writes), "{block}");
        }
    }
}

/// A fault in the middle finds the flags of the instruction before it.
#[test]
fn a_fault_finds_the_flags_written() {
    let to = RegMem::Reg(Reg { r: 0, high: false });
    let from = Reg { r: 1, high: false };
    let first = Adc { width: Width::B4, to, from, lock: false };
    let mem = Mem { base: 2, index: None, displacement: 0 };
    let second = Adc { to: RegMem::Mem(mem), ..first };
    let mut before = state(&mut Random(4));
    before.r[2] = BASE + before.read_only as u64;
    let mut plain = before.clone();
    adc(&mut plain, first).expect("no fault");
    let fault = adc(&mut plain, second);
    assert_eq!(fault, Err(PageFault(before.r[2], true)));
    for block in blocks(&[first, second, first]) {
        let mut ir = IrX86 { x86: before.clone(), flag_writes: 0, pc: 0 };
        let outcome = Evaluator::default().eval(&block, 0x1000, &mut ir);
        assert_eq!(outcome.map(|_| ()), fault);
        assert_eq!((ir.x86, ir.pc), (plain.clone(), 0x1004), "{block}");
    }
}

#[test]
fn the_ir_of_adc() {
    let to = RegMem::Reg(Reg { r: 3, high: true });
    let code = [Adc { width: Width::B1, to, from: Reg { r: 9, high: false }, lock: false }];
    let [_, passed] = blocks(&code);
    let expected = "\
insn 0 4
%1 = get r9
%2 = const 0xff
%3 = and %1, %2
%4 = get flags0
%5 = flag carry %4
%6 = add %3, %5
%7 = get r3
%8 = const 0x8
%9 = shr_u %7, %8
%10 = const 0xff
%11 = and %9, %10
%12 = add %11, %6
%13 = const 0xff
%14 = and %12, %13
%15 = const 0xffffffffffff00ff
%16 = and %7, %15
%17 = const 0x8
%18 = shl %14, %17
%19 = or %16, %18
set r3, %19
%21 = flags add b1 %3, %11, %5
";
    // The operands of flags are those of the instruction, destination first.
    let expected = expected.replace("%3, %11, %5", "%11, %3, %5") + "set flags0, %21\nnext 4\n";
    assert_eq!(passed.to_string(), expected);
}
