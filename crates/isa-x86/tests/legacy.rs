//! What no 64-bit host shows: 16- and 32-bit code, segments, and the instructions that 64-bit mode lacks. Decimal
//! adjustment is compared with the manual's pseudocode, step by step.

use isa_x86::testkit::TestMachine;
use isa_x86::{Fault, Mode, Mode::Bits16, Mode::Bits32, decode, rflags, seg, vector};

const BASE: u64 = 0x1_0000;
const BYTES: usize = 0x3000;
const WRITABLE: u64 = 0x2000;
const EAX: usize = 0;
const ECX: usize = 1;
const EDX: usize = 2;
const EBX: usize = 3;
const ESP: usize = 4;
const EBP: usize = 5;
const ESI: usize = 6;
const EDI: usize = 7;

fn machine(mode: Mode) -> TestMachine {
    let mut m = TestMachine::new(mode, BASE, BYTES, WRITABLE);
    m.state.rip = 0x100;
    m
}

/// Runs one instruction.
fn run(m: &mut TestMachine, bytes: &[u8]) -> Result<(), Fault> {
    let (meaning, insn) = decode(bytes, m.state.mode()).unwrap_or_else(|why| panic!("{bytes:02x?}: {why:?}"));
    m.run(meaning, &insn)
}

fn word(m: &TestMachine, at: u64) -> u32 {
    let at = (at - BASE) as usize;
    u32::from_le_bytes(m.data[at..at + 4].try_into().unwrap())
}

/// The manual's pseudocode for DAA (SDM volume 2); what its first step leaves in CF, the second overwrites.
fn daa(old_al: u8, old_cf: bool, old_af: bool) -> (u8, bool, bool) {
    let (mut al, af) = (old_al, old_al & 15 > 9 || old_af);
    if af {
        al = al.wrapping_add(6);
    }
    let cf = old_al > 0x99 || old_cf;
    if cf {
        al = al.wrapping_add(0x60);
    }
    (al, cf, af)
}

/// The manual's pseudocode for DAS.
fn das(old_al: u8, old_cf: bool, old_af: bool) -> (u8, bool, bool) {
    let (mut al, mut cf, af) = (old_al, false, old_al & 15 > 9 || old_af);
    if af {
        let (difference, borrow) = al.overflowing_sub(6);
        (al, cf) = (difference, old_cf || borrow);
    }
    if old_al > 0x99 || old_cf {
        (al, cf) = (al.wrapping_sub(0x60), true);
    }
    (al, cf, af)
}

fn each_decimal(mut check: impl FnMut(u8, bool, bool)) {
    for al in 0..=255 {
        for (cf, af) in [(false, false), (false, true), (true, false), (true, true)] {
            check(al, cf, af);
        }
    }
}

fn flags(cf: bool, af: bool) -> u64 {
    (u64::from(cf) * rflags::CF) | (u64::from(af) * rflags::AF)
}

#[test]
fn packed_decimals() {
    for (opcode, expected) in [(0x27, daa as fn(u8, bool, bool) -> (u8, bool, bool)), (0x2f, das)] {
        each_decimal(|al, cf, af| {
            let mut m = machine(Bits32);
            m.state.gpr[EAX] = 0x1234_5600 | u64::from(al);
            m.state.set_rflags(flags(cf, af));
            run(&mut m, &[opcode]).unwrap();
            let (result, cf, af) = expected(al, cf, af);
            let bits = m.state.rflags();
            assert_eq!(m.state.gpr[EAX], 0x1234_5600 | u64::from(result), "{opcode:x} {al:x}");
            assert_eq!((bits & rflags::CF != 0, bits & rflags::AF != 0), (cf, af), "{opcode:x} {al:x}");
            assert_eq!(bits & rflags::ZF != 0, result == 0);
            assert_eq!(bits & rflags::SF != 0, result > 127);
            assert_eq!(bits & rflags::PF != 0, result.count_ones() % 2 == 0);
        });
    }
}

#[test]
fn unpacked_decimals() {
    for (opcode, step) in [(0x37, 0x106u16), (0x3f, 0x106u16.wrapping_neg())] {
        each_decimal(|al, cf, af| {
            let mut m = machine(Bits32);
            let ax = 0x0500 | u16::from(al);
            m.state.gpr[EAX] = 0xabcd_0000 | u64::from(ax);
            m.state.set_rflags(flags(cf, af));
            run(&mut m, &[opcode]).unwrap();
            let adjusts = al & 15 > 9 || af;
            let result = if adjusts { ax.wrapping_add(step) } else { ax } & 0xff0f;
            assert_eq!(m.state.gpr[EAX], 0xabcd_0000 | u64::from(result), "{opcode:x} {al:x} {af}");
            assert_eq!(m.state.rflags() & (rflags::CF | rflags::AF), flags(adjusts, adjusts));
        });
    }
}

#[test]
fn digits_of_any_base() {
    let mut m = machine(Bits32);
    m.state.gpr[EAX] = 0xffff_ff5d;
    run(&mut m, &[0xd4, 10]).unwrap();
    assert_eq!(m.state.gpr[EAX], 0xffff_0903);
    run(&mut m, &[0xd5, 10]).unwrap();
    assert_eq!(m.state.gpr[EAX], 0xffff_005d);
    assert_eq!(run(&mut m, &[0xd4, 0]), Err(Fault::plain(vector::DE)));
    m.state.set_rflags(rflags::CF);
    run(&mut m, &[0xd6]).unwrap();
    assert_eq!(m.state.gpr[EAX], 0xffff_00ff);
}

#[test]
fn pusha_and_popa() {
    for (mode, prefix, width) in [(Bits32, None, 4), (Bits32, Some(0x66), 2), (Bits16, None, 2)] {
        let mut m = machine(mode);
        let mask = if width == 4 { 0xffff_ffff } else { 0xffff };
        if mode == Bits16 {
            m.state.segment_mut(seg::SS).base = BASE;
        }
        for (n, r) in (0u64..8).zip(&mut m.state.gpr) {
            *r = 0x1111_1111 * (n + 1);
        }
        let top = if mode == Bits16 { 0x800 } else { BASE + 0x800 };
        m.state.gpr[ESP] = top;
        let before = m.state.gpr;
        let code = |opcode| prefix.into_iter().chain([opcode]).collect::<Vec<u8>>();
        run(&mut m, &code(0x60)).unwrap();
        assert_eq!(m.state.gpr[ESP], top - 8 * width);
        for n in 0..8u64 {
            let at = BASE + 0x800 - width * (n + 1);
            assert_eq!(u64::from(word(&m, at)) & mask, before[n as usize] & mask, "{mode:?} {n}");
        }
        m.state.gpr[..4].fill(0);
        m.state.gpr[5..8].fill(0);
        run(&mut m, &code(0x61)).unwrap();
        for (n, before) in before.iter().enumerate().take(8) {
            assert_eq!(m.state.gpr[n] & mask, before & mask, "{mode:?} {n}");
        }
        assert_eq!(m.state.gpr[ESP], top);
    }
}

#[test]
fn pusha_changes_nothing_if_the_last_word_does_not_fit() {
    let mut m = machine(Bits32);
    m.data.fill(0xaa);
    m.state.gpr[ESP] = BASE + 12;
    assert_eq!(run(&mut m, &[0x60]), Err(Fault::page(6, BASE - 20)));
    assert_eq!(m.state.gpr[ESP], BASE + 12);
    assert!(m.data.iter().all(|&b| b == 0xaa));
}

/// In 32-bit code on a 16-bit stack, SP wraps and the upper half of ESP stays.
#[test]
fn a_16_bit_stack_wraps() {
    let mut m = machine(Bits32);
    let ss = m.state.segment_mut(seg::SS);
    (ss.big, ss.base, ss.limit) = (false, BASE.wrapping_sub(0xf000), 0xffff);
    m.state.gpr[ESP] = 0xabcd_0000;
    m.state.gpr[EAX] = 0x1122_3344;
    run(&mut m, &[0x50]).unwrap();
    assert_eq!(m.state.gpr[ESP], 0xabcd_fffc);
    assert_eq!(word(&m, BASE + 0xffc), 0x1122_3344);
    run(&mut m, &[0x5b]).unwrap();
    assert_eq!((m.state.gpr[ESP], m.state.gpr[EBX]), (0xabcd_0000, 0x1122_3344));
    // A word of four bytes at 0xfffe does not fit in the segment.
    m.state.gpr[ESP] = 2;
    assert_eq!(run(&mut m, &[0x50]), Err(Fault::coded(vector::SS, 0)));
}

#[test]
fn pop_to_memory_uses_the_new_stack_pointer() {
    let mut m = machine(Bits32);
    m.state.gpr[ESP] = BASE + 0x100;
    m.data[0x100..0x104].copy_from_slice(&0xdead_beefu32.to_le_bytes());
    run(&mut m, &[0x8f, 0x44, 0x24, 0x08]).unwrap();
    assert_eq!(word(&m, BASE + 0x10c), 0xdead_beef);
    assert_eq!(m.state.gpr[ESP], BASE + 0x104);
}

#[test]
fn jumps_are_truncated_and_checked() {
    let mut m = machine(Bits32);
    m.state.rip = 0x1_0000;
    run(&mut m, &[0x66, 0xe9, 0x10, 0x00]).unwrap();
    assert_eq!(m.state.rip, 0x14);
    m.state.segment_mut(seg::CS).limit = 0xfff;
    m.state.rip = 0xff0;
    assert_eq!(run(&mut m, &[0xeb, 0x20]), Err(Fault::gp(0)));
    assert_eq!(m.state.rip, 0xff0);
    // Not taken, so not checked.
    m.state.set_rflags(0);
    run(&mut m, &[0x74, 0x20]).unwrap();
    assert_eq!(m.state.rip, 0xff2);
    let mut m = machine(Bits16);
    m.state.rip = 0xfffe;
    run(&mut m, &[0xeb, 0x10]).unwrap();
    assert_eq!(m.state.rip, 0x10);
}

#[test]
fn loops_count_what_the_address_size_says() {
    let mut m = machine(Bits32);
    m.state.gpr[ECX] = 0x5_0001;
    run(&mut m, &[0x67, 0xe2, 0x10]).unwrap();
    assert_eq!((m.state.rip, m.state.gpr[ECX]), (0x103, 0x5_0000));
    run(&mut m, &[0x67, 0xe3, 0x10]).unwrap();
    assert_eq!(m.state.rip, 0x116);
    run(&mut m, &[0xe2, 0x10]).unwrap();
    assert_eq!((m.state.rip, m.state.gpr[ECX]), (0x128, 0x4_ffff));
}

#[test]
fn bounds() {
    let mut m = machine(Bits32);
    m.data[..8].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff, 5, 0, 0, 0]);
    m.state.gpr[EBX] = BASE;
    for (index, inside) in [(-3i32, false), (-2, true), (5, true), (6, false)] {
        m.state.gpr[EAX] = u64::from(index as u32);
        let expected = if inside { Ok(()) } else { Err(Fault::plain(vector::BR)) };
        assert_eq!(run(&mut m, &[0x62, 0x03]), expected, "{index}");
    }
}

#[test]
fn sixteen_bit_addresses_wrap_in_their_segment() {
    let mut m = machine(Bits16);
    m.state.segment_mut(seg::DS).base = BASE;
    m.data[0x12] = 0x77;
    (m.state.gpr[EBX], m.state.gpr[ESI]) = (0xfff0, 0x22);
    run(&mut m, &[0x8a, 0x00]).unwrap();
    assert_eq!(m.state.gpr[EAX], 0x77);
    // A word at 0xffff is beyond the limit.
    m.state.gpr[ESI] = 0xf;
    assert_eq!(run(&mut m, &[0x8b, 0x00]), Err(Fault::gp(0)));
}

#[test]
fn strings_of_16_bit_addresses() {
    let mut m = machine(Bits16);
    for n in [seg::DS, seg::ES] {
        m.state.segment_mut(n).base = BASE;
    }
    m.data[..4].copy_from_slice(b"abcd");
    m.state.gpr[ESI] = 0xaaaa_0000;
    m.state.gpr[EDI] = 0xbbbb_0100;
    m.state.gpr[ECX] = 0xcccc_0004;
    m.slice = 3;
    run(&mut m, &[0xf3, 0xa4]).unwrap();
    assert_eq!(&m.data[0x100..0x104], b"abcd");
    assert_eq!(m.state.gpr[ESI], 0xaaaa_0004);
    assert_eq!(m.state.gpr[EDI], 0xbbbb_0104);
    assert_eq!(m.state.gpr[ECX], 0xcccc_0000);
}

/// Elements before the one that faults are done; the flags are as before.
#[test]
fn strings_stop_where_they_fault() {
    let mut m = machine(Bits32);
    m.data.fill(0);
    m.state.gpr[EDI] = BASE + BYTES as u64 - 2;
    m.state.gpr[ECX] = 5;
    m.state.set_rflags(rflags::CF | rflags::OF);
    let end = BASE + BYTES as u64;
    assert_eq!(run(&mut m, &[0xf3, 0xae]), Err(Fault::page(4, end)));
    assert_eq!((m.state.gpr[EDI], m.state.gpr[ECX], m.state.rip), (end, 3, 0x100));
    assert_eq!(m.state.rflags() & rflags::STATUS, rflags::CF | rflags::OF);
}

#[test]
fn enter_copies_the_display() {
    let mut m = machine(Bits32);
    (m.state.gpr[ESP], m.state.gpr[EBP]) = (BASE + 0x800, BASE + 0x900);
    m.data[0x8fc..0x900].copy_from_slice(&0x1111u32.to_le_bytes());
    m.data[0x8f8..0x8fc].copy_from_slice(&0x2222u32.to_le_bytes());
    run(&mut m, &[0xc8, 0x10, 0x00, 3]).unwrap();
    let frame = BASE + 0x7fc;
    let words: Vec<u32> = (0..4).map(|n| word(&m, frame - 4 * n)).collect();
    assert_eq!(words, [(BASE + 0x900) as u32, 0x1111, 0x2222, frame as u32]);
    assert_eq!((m.state.gpr[EBP], m.state.gpr[ESP]), (frame, frame - 12 - 16));
    run(&mut m, &[0xc9]).unwrap();
    assert_eq!((m.state.gpr[EBP], m.state.gpr[ESP]), (BASE + 0x900, BASE + 0x800));
}

#[test]
fn calls_return() {
    let mut m = machine(Bits32);
    m.state.gpr[ESP] = BASE + 0x800;
    run(&mut m, &[0xe8, 0x00, 0x01, 0, 0]).unwrap();
    assert_eq!((m.state.rip, word(&m, BASE + 0x7fc)), (0x205, 0x105));
    run(&mut m, &[0xc2, 0x08, 0x00]).unwrap();
    assert_eq!((m.state.rip, m.state.gpr[ESP]), (0x105, BASE + 0x808));
}

/// Locked and unlocked, what changes memory is refused as a write where memory can only be read, and changes nothing.
#[test]
fn updates_of_read_only_memory_are_writes() {
    let cases: &[&[u8]] = &[
        &[0x01, 0x0b],
        &[0xf0, 0x01, 0x0b],
        &[0xf0, 0xf7, 0x1b],
        &[0xff, 0x03],
        &[0xd3, 0x23],
        &[0x87, 0x0b],
        &[0x0f, 0xb1, 0x0b],
        &[0xf0, 0x0f, 0xb1, 0x0b],
        &[0x0f, 0xc7, 0x0b],
        &[0x0f, 0xba, 0x2b, 1],
        &[0x0f, 0xa4, 0x0b, 3],
    ];
    for code in cases {
        let mut m = machine(Bits32);
        m.state.gpr[EBX] = BASE + WRITABLE;
        (m.state.gpr[ECX], m.state.gpr[EDX]) = (3, 5);
        m.state.set_rflags(rflags::STATUS);
        let before = m.state.clone();
        assert_eq!(run(&mut m, code), Err(Fault::page(7, BASE + WRITABLE)), "{code:02x?}");
        assert_eq!(m.state.rflags(), before.rflags(), "{code:02x?}");
        assert_eq!(m.state.gpr, before.gpr, "{code:02x?}");
    }
}

/// `lock neg` and the other locked forms give what the plain ones give.
#[test]
fn locked_forms_are_the_plain_ones() {
    let cases: &[&[u8]] = &[
        &[0x01, 0x0b],
        &[0x11, 0x0b],
        &[0x29, 0x0b],
        &[0x19, 0x0b],
        &[0x21, 0x0b],
        &[0x09, 0x0b],
        &[0x31, 0x0b],
        &[0xf7, 0x13],
        &[0xf7, 0x1b],
        &[0xff, 0x03],
        &[0xff, 0x0b],
        &[0x0f, 0xc1, 0x0b],
        &[0x0f, 0xab, 0x0b],
        &[0x0f, 0xb3, 0x0b],
        &[0x0f, 0xbb, 0x0b],
        &[0x0f, 0xb1, 0x0b],
        &[0x0f, 0xc7, 0x0b],
    ];
    for code in cases {
        for (old, by) in [(0u32, 0u64), (1, 0xffff_ffff), (0x8000_0000, 0x8000_0000), (0x7fff_ffff, 17)] {
            let mut plain = machine(Bits32);
            plain.state.gpr[EBX] = BASE;
            plain.state.gpr[ECX] = by;
            plain.state.gpr[EAX] = u64::from(old);
            plain.state.set_rflags(rflags::CF | rflags::PF);
            plain.data[..4].copy_from_slice(&old.to_le_bytes());
            let mut locked = TestMachine::new(Bits32, BASE, BYTES, WRITABLE);
            (locked.state, locked.data) = (plain.state.clone(), plain.data.clone());
            // A bit's number may lead out of memory.
            let outcome = run(&mut plain, code);
            assert_eq!(outcome, run(&mut locked, &[&[0xf0], *code].concat()), "{code:02x?}");
            assert_eq!(plain.data, locked.data, "{code:02x?}");
            assert_eq!(plain.state.gpr, locked.state.gpr, "{code:02x?}");
            assert_eq!(plain.state.rflags(), locked.state.rflags(), "{code:02x?}");
        }
    }
}
