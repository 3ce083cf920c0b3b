//! The rows that are compared: those with a meaning that user-level 64-bit code can have and the host has.

use iced_x86::{Code, CpuidFeature, OpCodeOperandKind as Kind};
use isa_x86::Meaning;

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The decoder's.
    pub code: Code,
}

impl Row {
    /// Its name.
    pub fn name(&self) -> String {
        format!("{:?}", self.code)
    }
}

/// All of them, whatever the host has.
pub fn of_user_code() -> impl Iterator<Item = Row> {
    let meant = |code: &Code| Meaning::of(*code).is_some_and(Meaning::is_user_level);
    Code::values().filter(meant).filter(|code| in_user_code(*code)).map(|code| Row { code })
}

/// Those that the host has, and the names of the others, with what it lacks.
pub fn all() -> (Vec<Row>, Vec<(String, String)>) {
    let (mut rows, mut lacking) = (Vec::new(), Vec::new());
    for row in of_user_code() {
        match row.code.cpuid_features().iter().find(|&&f| !host_has(f)) {
            None => rows.push(row),
            Some(feature) => lacking.push((row.name(), format!("{feature:?}"))),
        }
    }
    (rows, lacking)
}

/// Whether 64-bit code can have the row, on Intel's processors, and it needs nothing but general registers.
fn in_user_code(code: Code) -> bool {
    let op = code.op_code();
    let system = |kind: &Kind| {
        matches!(
            kind,
            Kind::seg_reg
                | Kind::seg_rSI
                | Kind::es
                | Kind::cs
                | Kind::ss
                | Kind::ds
                | Kind::fs
                | Kind::gs
                | Kind::cr_reg
                | Kind::dr_reg
                | Kind::tr_reg
        ) && *kind != Kind::seg_rSI
    };
    let far =
        code.is_jmp_far() || code.is_jmp_far_indirect() || code.is_call_far() || code.is_call_far_indirect();
    // Its opcode is one of the reserved NOPs, and so decoded.
    let nop = matches!(code, Code::Nop_rm16 | Code::Nop_rm32 | Code::Nop_rm64);
    !nop && op.mode64() && op.intel_decoder64() && op.cpl3() && !far && !op.op_kinds().iter().any(system)
}

#[cfg(target_arch = "x86_64")]
fn host_has(feature: CpuidFeature) -> bool {
    use std::arch::is_x86_feature_detected as has;
    let seven = std::arch::x86_64::__cpuid_count(7, 0);
    match feature {
        CpuidFeature::ADX => has!("adx"),
        CpuidFeature::BMI1 => has!("bmi1"),
        CpuidFeature::BMI2 => has!("bmi2"),
        CpuidFeature::LZCNT => has!("lzcnt"),
        CpuidFeature::POPCNT => has!("popcnt"),
        CpuidFeature::MOVBE => has!("movbe"),
        CpuidFeature::SSE4_2 => has!("sse4.2"),
        CpuidFeature::CMPXCHG16B => has!("cmpxchg16b"),
        CpuidFeature::MOVDIRI => seven.ecx >> 27 & 1 != 0,
        CpuidFeature::CLFLUSHOPT => seven.ebx >> 23 & 1 != 0,
        CpuidFeature::CLWB => seven.ebx >> 24 & 1 != 0,
        _ => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn host_has(_: CpuidFeature) -> bool {
    false
}
