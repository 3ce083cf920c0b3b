//! What a case leaves: a record, compared field by field, and differences that are accepted.

use crate::layout::{DONE, KERNEL_DATA};
use crate::rom::{Case, Rom};
use iced_x86::{Decoder, DecoderOptions};
use std::fmt::Write;

/// Bytes of a record that go out.
pub const SIZE: usize = 0x290;
/// Where the copies of the descriptors begin and end.
const DESCRIPTORS: std::ops::Range<usize> = 0x180..0x280;

fn word(record: &[u8], at: usize) -> u64 {
    differential_core::word_at(record, at as u64)
}

fn change(record: &mut [u8], at: usize, f: impl FnOnce(u64) -> u64) {
    let value = f(word(record, at));
    record[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Whether they are equal, but for what QEMU does unlike the manual or the processor, and what the manual leaves
/// undefined.
pub fn agree(case: &Case, ours: &[u8], theirs: &[u8]) -> bool {
    let (mut ours, mut theirs) = (ours.to_vec(), theirs.to_vec());
    faults(case, &mut ours, &mut theirs);
    transfers(case, &ours, &mut theirs);
    // LAR: bits 19:16 are undefined.
    if has(case, &[0x0f, 0x02]) {
        let undefined = word(&ours, 80 + 24) & 0xf_0000;
        change(&mut theirs, 80 + 24, |v| v | undefined);
    }
    ours == theirs
}

fn has(case: &Case, bytes: &[u8]) -> bool {
    case.code.windows(bytes.len()).any(|window| window == bytes)
}

fn faults(case: &Case, ours: &mut [u8], theirs: &mut [u8]) {
    if word(ours, 0) != 14 {
        return;
    }
    // A page fault for a reserved bit has P set ("Page-Fault Exceptions"); QEMU leaves it out.
    if word(ours, 16) & 8 != 0 {
        change(theirs, 16, |error| error | 1);
    }
    // A read-modify-write instruction faults as a write on the processor; in QEMU its load comes first.
    if has(case, &[0x01, 0x1c, 0x25]) || has(case, &[0xf0, 0x48, 0x0f, 0xc1]) {
        change(theirs, 16, |error| error | 2);
        // Nor has the load set A then.
        change(theirs, 0x280, |entry| entry | 0x20);
        change(ours, 0x280, |entry| entry | 0x20);
    }
}

fn transfers(case: &Case, ours: &[u8], theirs: &mut [u8]) {
    // An IST without a change of level leaves SS alone ("INT n", operation); QEMU makes it null.
    if word(ours, 272) >> 32 & 0xffff == u64::from(KERNEL_DATA) {
        change(theirs, 272, |selectors| selectors | u64::from(KERNEL_DATA) << 32);
    }
    // SYSCALL leaves the status flags that the mask does not name; QEMU loses them.
    if has(case, &[0x0f, 0x05]) {
        for at in [8, 32] {
            change(theirs, at, |flags| flags | word(ours, at) & 0x8d5);
        }
    }
    // Far transfers mark descriptors accessed ("Code- and Data-Segment Descriptor Types"); QEMU does not. Other loads of
    // segment registers do in both.
    if ["far", "gate", "iret"].contains(&case.kind) {
        for at in DESCRIPTORS.step_by(8).filter(|&at| word(ours, at) >> 44 & 1 != 0) {
            change(theirs, at, |descriptor| descriptor | word(ours, at) & 1 << 40);
        }
    }
    // A jump through a call gate to code that is not present is #NP ("JMP", operation); in QEMU it is #GP. A return to a
    // stack segment that is not present is #SS ("IRET", "RET", operation); in QEMU it is #NP.
    let jumps = has(case, &[0xff, 0x2c, 0x24]) || has(case, &[0xff, 0x6c, 0x24]);
    let returns = ["far", "iret"].contains(&case.kind) && !jumps;
    let vector = word(ours, 0);
    if (jumps && (vector, word(theirs, 0)) == (11, 13)) || (returns && (vector, word(theirs, 0)) == (12, 11))
    {
        change(theirs, 0, |_| vector);
        // The driver has compared the vector.
        change(theirs, 8, |flags| flags & !0x8d5 | word(ours, 8) & 0x8d5);
    }
    // A call through a gate to conforming code keeps CPL, which is in CS's RPL ("CALL", operation); QEMU takes the DPL.
    let (cs, qemu_cs) = (word(ours, 24), word(theirs, 24));
    let at = DESCRIPTORS.start + (cs & 0xf8) as usize;
    let conforming = cs < 0x100 && cs & 4 == 0 && word(ours, at) >> 40 & 0x1c == 0x1c;
    if case.kind == "far" && conforming && cs & !3 == qemu_cs & !3 {
        change(theirs, 24, |_| cs);
    }
    // A return to a stack of 16 bits loads SP alone, as Linux's espfix64 knows; QEMU loads all of RSP.
    if case.kind == "iret" && word(ours, 40) == word(theirs, 40) & 0xffff {
        change(theirs, 40, |rsp| rsp & 0xffff);
    }
    // RF, where `int n` follows the `iret` that loaded it, is not kept here.
    if word(ours, 0) == u64::from(DONE) && case.code.windows(2).any(|w| w[1] == 0xcf) {
        change(theirs, 32, |flags| flags & !(1 << 16));
    }
}

/// What differs in case `n` of `rom`, in words.
pub fn report(rom: &Rom, n: usize, ours: &[u8], theirs: &[u8]) -> String {
    let Case { kind, code } = &rom.cases[n];
    let at = crate::layout::CASES + crate::layout::CASE_SIZE * n as u64;
    let mut text = format!("seed {} case {n}: {kind}\n", rom.seed);
    for insn in Decoder::with_ip(64, code, at, DecoderOptions::NONE) {
        let bytes = &code[(insn.ip() - at) as usize..][..insn.len()];
        let _ = writeln!(text, "    {:x} {:?} {bytes:x?}", insn.ip(), insn.code());
    }
    for at in (0..SIZE).step_by(8) {
        let (a, b) = (word(ours, at), word(theirs, at));
        if a != b {
            let _ = writeln!(text, "  {:12} {a:#018x}, QEMU {b:#018x}", field(at));
        }
    }
    let stack: Vec<u64> = (0..6).map(|i| word(ours, 16 + 8 * i)).collect();
    let _ = writeln!(text, "  vector {:#x}, stack {stack:x?}", word(ours, 0));
    let _ = writeln!(text, "  descriptors from {:#x}: {:x?}", crate::layout::RANDOM, rom.descriptors);
    let _ = writeln!(text, "  gates {:x?}", rom.gates);
    text
}

fn field(at: usize) -> String {
    match at {
        0 => "vector".into(),
        8 => "rflags".into(),
        16..80 => format!("[rsp+{}]", at - 16),
        80..208 => format!("gpr {}", (at - 80) / 8),
        208 => "cr0".into(),
        216 => "cr2".into(),
        224 => "cr4".into(),
        232 => "dr6".into(),
        240 => "efer".into(),
        248..272 => "base".into(),
        272..288 => "selectors".into(),
        0x180..0x280 => format!("gdt {:#x}", at - 0x180),
        0x280 => "pte".into(),
        _ => format!("+{at:#x}"),
    }
}
