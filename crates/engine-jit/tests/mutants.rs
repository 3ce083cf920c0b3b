//! Mistakes that are planted in emitted code: each must be noticed by the comparison with the interpreter.
//!
//! The emitter has no part in this: after it has made a block, one kind of instruction is exchanged for another one of the
//! same length, wherever it stands. Only such are exchanged as work on the guest's values: a wrong address of the host would
//! end the test, and not by a failed comparison.

mod pair;

use engine_jit::Options;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use isa_riscv::Features;
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};
use pair::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// A mistake: its name, the instructions that it concerns, and what is done to their bytes, of which the opcode is at the
/// place given.
struct Mutant(&'static str, fn(&Instruction) -> bool, fn(&mut [u8], usize));

fn is(insn: &Instruction, any: &[Mnemonic]) -> bool {
    any.contains(&insn.mnemonic())
}

/// Between two different registers.
fn registers(insn: &Instruction) -> bool {
    let kinds = [insn.op0_kind(), insn.op1_kind()];
    kinds == [OpKind::Register; 2] && insn.op0_register() != insn.op1_register()
}

const MUTANTS: [Mutant; 22] = {
    use Mnemonic as M;
    [
        Mutant(
            "signed branches are taken the other way",
            |i| is(i, &[M::Jl, M::Jge]) && i.len() == 6,
            |b, o| b[o] ^= 1,
        ),
        Mutant("less is not less", |i| is(i, &[M::Setl, M::Setb]), |b, o| b[o] ^= 1),
        Mutant("equal is not equal", |i| is(i, &[M::Sete, M::Setne]), |b, o| b[o] ^= 1),
        Mutant("shifts by a constant lose the sign", |i| is(i, &[M::Sar]), |b, o| b[o + 1] ^= 2 << 3),
        Mutant("shifts by a register lose the sign", |i| is(i, &[M::Sarx]), |b, o| b[o - 1] |= 3),
        Mutant("left is right", |i| is(i, &[M::Shlx]), |b, o| b[o - 1] |= 3),
        Mutant("minus is plus", |i| is(i, &[M::Sub]) && registers(i), |b, o| b[o] ^= 0x28),
        Mutant("exclusive or is or", |i| is(i, &[M::Xor]) && registers(i), |b, o| b[o] ^= 0x38),
        Mutant("narrow loads lose the sign", |i| is(i, &[M::Movsx]), |b, o| b[o] ^= 8),
        Mutant("words are not extended", |i| is(i, &[M::Movsxd]), |b, o| b[o] = 0x8b),
        Mutant("unsigned products are signed", |i| is(i, &[M::Mul]), |b, o| b[o + 1] ^= 1 << 3),
        Mutant("minus is not", |i| is(i, &[M::Neg]), |b, o| b[o + 1] ^= 1 << 3),
        Mutant("a choice goes the other way", |i| is(i, &[M::Cmove, M::Cmovne]), |b, o| b[o] ^= 1),
        Mutant("leading is trailing", |i| is(i, &[M::Lzcnt]), |b, o| b[o] ^= 1),
        Mutant("sums are differences", |i| is(i, &[M::Vaddsd, M::Vaddss]), |b, o| b[o] = 0x5c),
        Mutant("products are sums", |i| is(i, &[M::Vmulsd]), |b, o| b[o] = 0x58),
        Mutant("the smaller is the larger", |i| is(i, &[M::Vminsd, M::Vminss]), |b, o| b[o] = 0x5f),
        Mutant("fused sums are differences", |i| is(i, &[M::Vfmadd213sd, M::Vfmadd213ss]), |b, o| b[o] += 2),
        Mutant("truncation rounds", |i| is(i, &[M::Vcvttsd2si, M::Vcvttss2si]), |b, o| b[o] = 0x2d),
        Mutant("less of a quiet NaN is valid", |i| is(i, &[M::Vcomisd, M::Vcomiss]), |b, o| b[o] = 0x2e),
        Mutant("a NaN keeps its payload", |i| is(i, &[M::Jp]) && i.len() == 6, |b, o| b[o] ^= 1),
        Mutant("a root is a sum", |i| is(i, &[M::Vsqrtsd, M::Vsqrtss]), |b, o| b[o] = 0x58),
    ]
};

/// How often the mistake was planted.
static PLANTED: AtomicU64 = AtomicU64::new(0);

/// Where the opcode of an instruction is.
fn opcode(bytes: &[u8]) -> usize {
    let mut at = bytes.iter().take_while(|b| matches!(b, 0x66 | 0xf2 | 0xf3)).count();
    match bytes[at] {
        0xc4 => return at + 3,
        0xc5 => return at + 2,
        0x40..=0x4f => at += 1,
        _ => {}
    }
    match bytes[at..] {
        [0x0f, 0x38 | 0x3a, ..] => at + 2,
        [0x0f, ..] => at + 1,
        _ => at,
    }
}

fn plant<const N: usize>(code: &mut [u8]) {
    let Mutant(_, concerns, change) = &MUTANTS[N];
    let mut found = Vec::new();
    for insn in &mut Decoder::with_ip(64, code, 0, DecoderOptions::NONE) {
        if concerns(&insn) {
            found.push(insn.ip() as usize..insn.next_ip() as usize);
        }
    }
    PLANTED.fetch_add(found.len() as u64, Ordering::Relaxed);
    for range in found {
        let bytes = &mut code[range];
        let at = opcode(bytes);
        change(bytes, at);
    }
}

/// Whether something was noticed in at most `most` cases.
fn noticed(meddle: Option<fn(&mut [u8])>, most: u64, options: Options) -> Option<bool> {
    let mut pair = Pair::new(Options { meddle, ..options })?;
    let mut random = Random::new(seed(41));
    let data = random.data();
    pair.put(DATA, &data);
    let rows: Vec<&Row> = rows().filter(|r| r.length == 32 && r.name != "wfi").collect();
    let plain: Vec<&Row> = rows.iter().copied().filter(|row| row.flags & flag::ENDS == 0).collect();
    for _ in 0..most {
        let n = 2 + random.below(8);
        let mut words: Vec<u32> = (1..n)
            .map(|_| {
                let row = random.one_of(&plain);
                random.insn(row)
            })
            .collect();
        let last = random.one_of(&rows);
        words.push(random.insn(last));
        let at = random.place();
        pair.case(at, &words);
        let mut hart = random.hart(&Features::FULL, at);
        hart.csr.set_fp_dirty();
        pair.set(&hart);
        if pair.run(n).is_err() {
            return Some(true);
        }
    }
    Some(false)
}

#[test]
fn planted_mistakes_are_noticed() {
    [eager(), second()].into_iter().for_each(check);
}

fn check(options: Options) {
    let most = count(6000);
    const PLANTS: [fn(&mut [u8]); MUTANTS.len()] = [
        plant::<0>,
        plant::<1>,
        plant::<2>,
        plant::<3>,
        plant::<4>,
        plant::<5>,
        plant::<6>,
        plant::<7>,
        plant::<8>,
        plant::<9>,
        plant::<10>,
        plant::<11>,
        plant::<12>,
        plant::<13>,
        plant::<14>,
        plant::<15>,
        plant::<16>,
        plant::<17>,
        plant::<18>,
        plant::<19>,
        plant::<20>,
        plant::<21>,
    ];
    // Nothing is noticed where nothing is planted.
    match noticed(None, 500, options) {
        None => return,
        Some(noticed) => assert!(!noticed),
    }
    let mut missed = Vec::new();
    for (plant, Mutant(name, ..)) in PLANTS.into_iter().zip(&MUTANTS) {
        PLANTED.store(0, Ordering::Relaxed);
        let noticed = noticed(Some(plant), most, options) == Some(true);
        let planted = PLANTED.load(Ordering::Relaxed);
        println!("{name}: planted {planted} times, {}", if noticed { "noticed" } else { "MISSED" });
        if !noticed {
            missed.push(format!("{name}, planted {planted} times"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
