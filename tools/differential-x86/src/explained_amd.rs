//! What AMD's processors do otherwise than Intel's, whose manual our meanings follow (AMD64 Architecture Programmer's Manual,
//! volumes 1 and 3; what it leaves open was seen on such processors). None of it explains anything on another host.

use crate::case::{Case, is_string};
use crate::compare::Sides;
use crate::undefined;
use hostcpu::Outcome;
use iced_x86::{Code, Mnemonic};
use isa_core::Width;
use isa_x86::{Meaning, Operand, rflags};
use std::sync::LazyLock;

/// Name and reason of each.
pub const ALL: &[(&str, &str)] = &[
    ("amd-pause", "`f3 90` with REX.B is `xchg r8, rax` on AMD's processors and `pause` on Intel's"),
    ("amd-cmps", "of two operands of `cmps` that fault, AMD's processors name the one at RSI"),
    (
        "amd-rep-flags",
        "`rep cmps` and `rep scas` that fault in the middle leave the last flags on AMD's processors",
    ),
    ("amd-loop", "`loope` and `loopne` obey the prefixes F2 and F3 on AMD's processors"),
    ("amd-prefetch", "`0f 0d` with a register is no instruction on AMD's processors"),
    (
        "amd-double-shift",
        "`shld` and `shrd` of 16 bits by more than 16, which leave anything, leave something else",
    ),
    ("amd-movsxd", "`movsxd` to 16 bits reads four bytes of memory on AMD's processors and two on Intel's"),
    ("amd-call", "a `call` whose target is not canonical has pushed nothing on AMD's processors"),
];

/// Whether this host's processor is AMD's.
static AMD: LazyLock<bool> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().any(|line| line.starts_with("vendor_id") && line.ends_with("AuthenticAMD"))
});

/// The prefixes of an instruction, REX included.
fn prefixes(code: &[u8]) -> impl Iterator<Item = u8> {
    const LEGACY: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    code.iter().copied().take_while(|byte| LEGACY.contains(byte) || byte >> 4 == 4)
}

fn near_branch(code: Code) -> bool {
    code.is_jcc_short_or_near()
        || code.is_jmp_short_or_near()
        || code.is_jmp_near_indirect()
        || code.is_call_near()
        || code.is_call_near_indirect()
        || code.is_loop()
        || code.is_loopcc()
        || code.is_jcx_short()
        || code.mnemonic() == Mnemonic::Ret
}

/// Whether this host's processor would take the instruction for another one, perhaps of another length: AMD's obey the
/// operand-size prefix of near branches in 64-bit mode, Intel's do not. What then follows in the code was not made to be run.
pub fn taken_otherwise(code: Code, bytes: &[u8]) -> bool {
    *AMD && near_branch(code) && prefixes(bytes).any(|byte| byte == 0x66)
}

/// Which entry explains the difference, if one does.
pub fn explain(case: &Case, sides: &Sides) -> Option<&'static str> {
    if !*AMD {
        return None;
    }
    let (meaning, insn) = &case.encoded.insn;
    let has = |prefix: u8| prefixes(case.code()).any(|byte| byte == prefix);
    let faults = |vector: u8| matches!(sides.host, Outcome::Fault { vector: host, .. } if host == vector);
    let only_flags = || {
        let flags = (sides.regs.rflags ^ sides.host_regs.rflags) & !rflags::STATUS == 0;
        flags && sides.regs.gpr == sides.host_regs.gpr && sides.regs.rip == sides.host_regs.rip
    };
    if *meaning == Meaning::Pause && prefixes(case.code()).any(|byte| byte & 0xf1 == 0x41) {
        return Some("amd-pause");
    }
    if is_string(*meaning)
        && sides.ours.is_err()
        && sides.memory.is_none()
        && (faults(14) || faults(13) || faults(12))
    {
        if sides.outcomes_agree() && only_flags() {
            return Some("amd-rep-flags");
        }
        if is_cmps(insn.code) {
            return Some("amd-cmps");
        }
    }
    if insn.code == Code::Movsxd_r16_rm16 && insn.operands.contains(&Operand::Mem) && faults(14) {
        return Some("amd-movsxd");
    }
    let same_registers = sides.outcomes_agree() && sides.regs == sides.host_regs;
    if insn.code.mnemonic() == Mnemonic::Call && faults(13) && same_registers {
        return Some("amd-call");
    }
    if insn.code.is_loopcc() && (has(0xf2) || has(0xf3)) {
        return Some("amd-loop");
    }
    if matches!(
        insn.code,
        Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D | Code::Reservednop_rm64_r64_0F0D
    ) && faults(6)
    {
        return Some("amd-prefetch");
    }
    let double = matches!(*meaning, Meaning::Shld | Meaning::Shrd);
    (double && insn.width == Width::B2 && undefined::count(insn, &sides.before.gpr) > 16)
        .then_some("amd-double-shift")
}

fn is_cmps(code: Code) -> bool {
    matches!(code.mnemonic(), Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq)
}
