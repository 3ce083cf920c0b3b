//! Wrong meanings planted on purpose: a comparison that does not notice them proves nothing.
//!
//! A mutant meddles with the hart after an instruction, as if the meaning had been written wrong; a
//! second run of the same programs must then differ from QEMU. Each stands for a kind of mistake.

use crate::system;
use crate::user;
use anyhow::Result;
use isa_riscv::disasm::row_of;
use isa_riscv::rows::Row;
use isa_riscv::{Hart, Mode, ROWS};

/// Changes the state behind an instruction of the row named; true if it did.
type Change = fn(&Hart, &mut Hart, u32) -> bool;

/// One planted mistake.
struct Mutant {
    /// What is wrong.
    about: &'static str,
    /// The row whose meaning is wrong; `*` for whatever traps.
    row: &'static str,
    /// How.
    change: Change,
}

/// The most programs that a mutant may survive.
const PROGRAMS: u64 = 8;

/// The value of a field of the instruction.
fn field(word: u32, name: &str) -> usize {
    let row = row_of(word);
    row.and_then(|row| row.fields.iter().find(|f| f.name == name)).map_or(0, |f| f.get(word) as usize)
}

/// Writes `value` to the instruction's rd; true if that is a change.
fn set_rd(after: &mut Hart, word: u32, value: u64) -> bool {
    let rd = field(word, "rd");
    let differs = rd != 0 && after.x[rd] != value;
    if differs {
        after.x[rd] = value;
    }
    differs
}

/// Takes a flag away that the instruction raised.
fn drop_flag(before: &Hart, after: &mut Hart, flag: u8) -> bool {
    let raised = after.csr.fflags & !before.csr.fflags & flag != 0;
    after.csr.fflags &= !(flag & !before.csr.fflags);
    raised
}

/// Mistakes in what user programs see.
#[rustfmt::skip]
const USER: &[Mutant] = &[
    Mutant { about: "sub adds", row: "sub", change: |before, after, word| {
        let sum = before.x[field(word, "rs1")].wrapping_add(before.x[field(word, "rs2")]);
        set_rd(after, word, sum)
    } },
    Mutant { about: "addw does not sign-extend", row: "addw", change: |_, after, word| {
        let value = after.x[field(word, "rd")] as u32;
        set_rd(after, word, u64::from(value))
    } },
    Mutant { about: "sraiw shifts in zeros", row: "sraiw", change: |before, after, word| {
        let value = before.x[field(word, "rs1")] as u32 >> field(word, "shamt5");
        set_rd(after, word, value as i32 as u64)
    } },
    Mutant { about: "slt compares unsigned", row: "slt", change: |before, after, word| {
        let less = before.x[field(word, "rs1")] < before.x[field(word, "rs2")];
        set_rd(after, word, u64::from(less))
    } },
    Mutant { about: "mulhsu is mulhu", row: "mulhsu", change: |before, after, word| {
        let product = u128::from(before.x[field(word, "rs1")]) * u128::from(before.x[field(word, "rs2")]);
        set_rd(after, word, (product >> 64) as u64)
    } },
    Mutant { about: "div by zero gives 0", row: "div", change: |before, after, word| {
        before.x[field(word, "rs2")] == 0 && set_rd(after, word, 0)
    } },
    Mutant { about: "lb is lbu", row: "lb", change: |_, after, word| {
        let value = after.x[field(word, "rd")] & 0xff;
        set_rd(after, word, value)
    } },
    Mutant { about: "fadd.d loses inexact", row: "fadd.d", change: |before, after, _| drop_flag(before, after, 1) },
    Mutant { about: "fmul.s loses underflow", row: "fmul.s", change: |before, after, _| drop_flag(before, after, 2) },
    Mutant { about: "fdiv.h loses division by zero", row: "fdiv.h", change: |before, after, _| drop_flag(before, after, 8) },
    Mutant { about: "fmin.d loses invalid", row: "fmin.d", change: |before, after, _| drop_flag(before, after, 16) },
    Mutant { about: "fadd.s does not box", row: "fadd.s", change: |_, after, word| {
        after.f[field(word, "rd")] &= 0xffff_ffff;
        true
    } },
    Mutant { about: "fsqrt.d rounds the last bit wrong", row: "fsqrt.d", change: |before, after, word| {
        let inexact = after.csr.fflags & !before.csr.fflags & 1 != 0;
        after.f[field(word, "rd")] ^= u64::from(inexact);
        inexact
    } },
    Mutant { about: "clz counts from the wrong end", row: "clz", change: |before, after, word| {
        let value = before.x[field(word, "rs1")].trailing_zeros();
        set_rd(after, word, u64::from(value))
    } },
    Mutant { about: "sc.d says that it failed", row: "sc.d", change: |_, after, word| set_rd(after, word, 1) },
];

/// Mistakes in the privileged architecture. A row `*` meddles with trap entries.
#[rustfmt::skip]
const SYSTEM: &[Mutant] = &[
    Mutant { about: "a trap to M-mode keeps MIE", row: "*", change: |before, after, _| {
        let kept = trapped(before, after) && after.mode == Mode::M && before.csr.mstatus >> 3 & 1 != 0;
        after.csr.mstatus |= if kept { 8 } else { 0 };
        kept
    } },
    Mutant { about: "a trap to S-mode leaves stval alone", row: "*", change: |before, after, _| {
        let meddled = trapped(before, after) && after.mode == Mode::S && after.csr.stval != before.csr.stval;
        if meddled {
            after.csr.stval = before.csr.stval;
        }
        meddled
    } },
    Mutant { about: "a trap saves no privilege in MPP", row: "*", change: |before, after, _| {
        let meddled = trapped(before, after) && after.mode == Mode::M && before.mode != Mode::M;
        after.csr.mstatus |= if meddled { 3 << 11 } else { 0 };
        meddled
    } },
    Mutant { about: "sret keeps SPP", row: "sret", change: |before, after, _| {
        let kept = !trapped(before, after) && before.csr.mstatus >> 8 & 1 != 0;
        after.csr.mstatus |= if kept { 1 << 8 } else { 0 };
        kept
    } },
    Mutant { about: "mret keeps MPRV", row: "mret", change: |before, after, _| {
        let kept = !trapped(before, after) && before.csr.mstatus & !after.csr.mstatus >> 17 & 1 != 0;
        after.csr.mstatus |= if kept { 1 << 17 } else { 0 };
        kept
    } },
    Mutant { about: "csrrs writes nothing", row: "csrrs", change: |before, after, _| {
        let meddled = !trapped(before, after) && before.csr != after.csr;
        if meddled {
            after.csr.clone_from(&before.csr);
        }
        meddled
    } },
    Mutant { about: "csrrci reads the new value", row: "csrrci", change: |before, after, word| {
        let rd = field(word, "rd");
        let meddled = !trapped(before, after) && rd != 0 && field(word, "zimm") as u64 & after.x[rd] != 0;
        if meddled {
            after.x[rd] &= !(field(word, "zimm") as u64);
        }
        meddled
    } },
];

/// Whether the instruction between the two states was a trap: nothing else writes all of xcause,
/// xepc and the program counter so.
fn trapped(before: &Hart, after: &Hart) -> bool {
    let at = |epc: u64, vector: u64| epc == before.pc && after.pc & !0x7f == vector & !0x7f;
    match after.mode {
        Mode::M => at(after.csr.mepc, after.csr.mtvec) && after.pc != before.pc.wrapping_add(4),
        Mode::S => at(after.csr.sepc, after.csr.stvec) && after.pc != before.pc.wrapping_add(4),
        Mode::U => false,
    }
}

impl Mutant {
    /// The rows whose programs are run.
    fn rows(&self) -> Vec<&'static Row> {
        ROWS.iter().filter(|row| row.name == self.row).collect()
    }

    /// Meddles behind an instruction of its row.
    fn meddle(&self, before: &Hart, after: &mut Hart, word: u32) -> bool {
        let its_own = self.row == "*" || row_of(word).is_some_and(|row| row.name == self.row);
        its_own && (self.change)(before, after, word)
    }
}

/// Plants every mistake; true if each was caught.
///
/// # Errors
/// If a side cannot be run.
pub fn run(seed: u64, user_level: bool, system_level: bool) -> Result<bool> {
    let mut survivors = 0;
    let mut tell = |mutant: &Mutant, caught: Option<u64>| match caught {
        Some(cases) => println!("caught after {cases:>6} cases: {}", mutant.about),
        None => {
            survivors += 1;
            println!("NOT CAUGHT: {}", mutant.about);
        }
    };
    for mutant in USER.iter().filter(|_| user_level) {
        tell(mutant, user_cases(mutant, seed)?);
    }
    for mutant in SYSTEM.iter().filter(|_| system_level) {
        tell(mutant, system_cases(mutant, seed)?);
    }
    println!("mutants: {survivors} not caught, seed {seed}");
    Ok(survivors == 0)
}

/// How many user-level cases a mutant survives.
fn user_cases(mutant: &Mutant, seed: u64) -> Result<Option<u64>> {
    let rows = mutant.rows();
    let mut before = 0;
    for number in 0..PROGRAMS {
        let batch = user::Batch::new(seed, number, &rows, 500);
        let (_, theirs) = user::run_both(&batch.image)?;
        let meddler = &mut |a: &Hart, b: &mut Hart, word: u32| mutant.meddle(a, b, word);
        if let Some(cases) = user::caught(&batch, &theirs, meddler) {
            return Ok(Some(before + cases));
        }
        before += batch.cases.len() as u64;
    }
    Ok(None)
}

/// How many bare-metal cases a mutant survives.
fn system_cases(mutant: &Mutant, seed: u64) -> Result<Option<u64>> {
    let mut before = 0;
    for number in 0..PROGRAMS {
        let batch = system::Batch::new(seed, number, crate::system_runtime::CASES);
        let (_, theirs) = batch.run_both()?;
        let meddler = &mut |a: &Hart, b: &mut Hart, word: u32, _: &_| mutant.meddle(a, b, word);
        if let Some(cases) = system::caught(&batch, &theirs, meddler)? {
            return Ok(Some(before + cases));
        }
        before += batch.cases.len() as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_of_rows_that_exist() {
        for mutant in USER.iter().chain(SYSTEM) {
            assert!(mutant.row == "*" || mutant.rows().len() == 1, "{}", mutant.about);
        }
    }
}
