//! Decoding: operand and address sizes that the rows do not show, distances, prefixes, what is refused.

use isa_core::Width::{B1, B2, B4, B8};
use isa_x86::Mode::{Bits16, Bits32, Bits64};
use isa_x86::{Insn, Meaning, Mem, Mode, Operand, Reg, Undecoded, decode, seg};

fn insn(mode: Mode, bytes: &[u8]) -> (Meaning, Insn) {
    let (meaning, insn) = decode(bytes, mode).unwrap_or_else(|why| panic!("{bytes:02x?}: {why:?}"));
    assert_eq!(usize::from(insn.length), bytes.len(), "{bytes:02x?}");
    (meaning, insn)
}

/// Instruction, mode: meaning, operand size, address size.
#[test]
fn sizes() {
    let table: &[(&[u8], Mode, Meaning, isa_core::Width, isa_core::Width)] = &[
        (&[0x6a, 0xff], Bits64, Meaning::Push, B8, B8),
        (&[0x66, 0x6a, 0xff], Bits64, Meaning::Push, B2, B8),
        (&[0x68, 0, 0, 0, 0x80], Bits32, Meaning::Push, B4, B4),
        (&[0x6a, 0xff], Bits16, Meaning::Push, B2, B2),
        (&[0x50], Bits64, Meaning::Push, B8, B8),
        (&[0xff, 0x30], Bits64, Meaning::Push, B8, B8),
        (&[0xc3], Bits64, Meaning::Ret, B8, B8),
        (&[0x66, 0xc3], Bits64, Meaning::Ret, B8, B8),
        (&[0x66, 0xc3], Bits32, Meaning::Ret, B2, B4),
        (&[0xc9], Bits64, Meaning::Leave, B8, B8),
        (&[0x66, 0xc9], Bits64, Meaning::Leave, B2, B8),
        (&[0xc8, 0x10, 0, 1], Bits64, Meaning::Enter, B8, B8),
        (&[0x66, 0xc8, 0x10, 0, 1], Bits64, Meaning::Enter, B2, B8),
        (&[0xe9, 0, 0, 0, 0], Bits64, Meaning::Jmp, B8, B8),
        (&[0x66, 0xe9, 0, 0, 0, 0], Bits64, Meaning::Jmp, B8, B8),
        (&[0x66, 0xe9, 0, 0], Bits32, Meaning::Jmp, B2, B4),
        (&[0x74, 0], Bits64, Meaning::Je, B8, B8),
        (&[0x74, 0], Bits16, Meaning::Je, B2, B2),
        (&[0xff, 0xd0], Bits64, Meaning::Call, B8, B8),
        (&[0xe8, 0, 0, 0, 0], Bits64, Meaning::Call, B8, B8),
        (&[0xe3, 0], Bits64, Meaning::Jrcxz, B8, B8),
        (&[0x67, 0xe3, 0], Bits64, Meaning::Jecxz, B8, B4),
        (&[0xe2, 0], Bits64, Meaning::Loop, B8, B8),
        (&[0x67, 0xe2, 0], Bits64, Meaning::Loop, B8, B4),
        (&[0xe1, 0], Bits32, Meaning::Loope, B4, B4),
        (&[0x67, 0xe1, 0], Bits32, Meaning::Loope, B4, B2),
        (&[0xa4], Bits64, Meaning::Movsb, B1, B8),
        (&[0x67, 0x48, 0xa5], Bits64, Meaning::Movsq, B8, B4),
        (&[0x66, 0xab], Bits32, Meaning::Stosw, B2, B4),
        (&[0x67, 0xaa], Bits32, Meaning::Stosb, B1, B2),
        (&[0x67, 0xac], Bits16, Meaning::Lodsb, B1, B4),
        (&[0xd7], Bits64, Meaning::Xlatb, B1, B8),
        (&[0x60], Bits32, Meaning::Pushad, B4, B4),
        (&[0x60], Bits16, Meaning::Pusha, B2, B2),
        (&[0x48, 0x98], Bits64, Meaning::Cdqe, B8, B8),
        (&[0x0f, 0xc7, 0x08], Bits64, Meaning::Cmpxchg8b, B8, B8),
        (&[0xf3, 0x48, 0x0f, 0xb8, 0xc1], Bits64, Meaning::Popcnt, B8, B8),
    ];
    for &(bytes, mode, meaning, width, address) in table {
        let (found, insn) = insn(mode, bytes);
        assert_eq!((found, insn.width, insn.address), (meaning, width, address), "{bytes:02x?} {mode:?}");
    }
}

#[test]
fn sources_may_be_narrower() {
    for (bytes, source) in [
        (&[0x0f, 0xb6, 0xc4][..], B1),
        (&[0x0f, 0xb7, 0x00], B2),
        (&[0x48, 0x63, 0xc1], B4),
        (&[0xf2, 0x48, 0x0f, 0x38, 0xf0, 0x00], B1),
        (&[0xd3, 0xe0], B1),
        (&[0x01, 0xc8], B4),
        (&[0x83, 0xc0, 0xff], B4),
    ] {
        assert_eq!(insn(Bits64, bytes).1.source, source, "{bytes:02x?}");
    }
    assert_eq!(insn(Bits64, &[0x83, 0xc0, 0xff]).1.imm, u64::MAX);
    let ah = Operand::Reg(Reg { n: 0, high: true });
    assert_eq!(insn(Bits64, &[0x0f, 0xb6, 0xc4]).1.operands[1], ah);
}

#[test]
fn addresses() {
    let (_, i) = insn(Bits64, &[0x65, 0x8b, 0x44, 0x8b, 0xf8]);
    let mem = Mem { segment: seg::GS, base: 3, index: 1, scale: 2, address: B8, displacement: -8 };
    assert_eq!(i.mem, mem);
    let (_, i) = insn(Bits64, &[0x8b, 0x05, 0xfc, 0xff, 0xff, 0xff]);
    assert_eq!((i.mem.base, i.mem.displacement), (Mem::RIP, -4));
    let (_, i) = insn(Bits64, &[0x67, 0x8b, 0x04, 0x25, 0, 0, 0, 0x80]);
    assert_eq!((i.mem.base, i.mem.index, i.mem.address), (Mem::NONE, Mem::NONE, B4));
    let (_, i) = insn(Bits64, &[0x8b, 0x04, 0x25, 0, 0, 0, 0x80]);
    assert_eq!((i.mem.address, i.mem.displacement), (B8, -0x8000_0000));
    let (_, i) = insn(Bits64, &[0x8b, 0x45, 0]);
    assert_eq!((i.mem.segment, i.mem.base), (seg::SS, 5));
    let (_, i) = insn(Bits16, &[0x8b, 0x42, 0xff]);
    assert_eq!((i.mem.segment, i.mem.base, i.mem.index, i.mem.displacement), (seg::SS, 5, 6, -1));
    let (_, i) = insn(Bits64, &[0xeb, 0xfe]);
    assert_eq!(i.imm, (-2i64) as u64);
}

#[test]
fn what_the_processor_lacks_is_refused_or_does_nothing() {
    let refused: &[&[u8]] = &[
        &[0xf0, 0x01, 0xc0],       // lock add eax, eax
        &[0xf0, 0x03, 0x00],       // lock add eax, [rax]
        &[0xf0, 0x8b, 0x00],       // lock mov
        &[0xf0, 0x39, 0x00],       // lock cmp
        &[0xf2, 0x0f, 0x10, 0xc0], // movsd xmm0, xmm0
        &[0x66, 0x0f, 0xd4, 0xc0], // paddq
        &[0x06, 0],                // push es
        &[0xd4, 10],               // aam
    ];
    for bytes in refused {
        assert_eq!(decode(bytes, Bits64).map(|(m, _)| m), Err(Undecoded::Invalid), "{bytes:02x?}");
    }
    for bytes in [
        &[0xf3, 0x0f, 0x1e, 0xfa][..],   // endbr64
        &[0xf3, 0x48, 0x0f, 0x1e, 0xc8], // rdsspq
        &[0x0f, 0x18, 0x00],             // prefetchnta
        &[0x0f, 0x0d, 0x08],             // prefetchw
        &[0x66, 0x0f, 0x1a, 0xc0],       // bndmov
        &[0x0f, 0x1c, 0x00],             // cldemote
    ] {
        assert_eq!(insn(Bits64, bytes).0, Meaning::Reservednop, "{bytes:02x?}");
    }
    assert_eq!(decode(&[0x48], Bits64).map(|(m, _)| m), Err(Undecoded::Short));
    assert_eq!(decode(&[0x66; 15], Bits64).map(|(m, _)| m), Err(Undecoded::TooLong));
}
