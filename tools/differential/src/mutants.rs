//! Wrong meanings planted on purpose: a comparison that does not notice them proves nothing.
//!
//! A mutant meddles with the hart after an instruction, as if the meaning had been written wrong; a
//! second run of the same programs must then differ from QEMU. Each stands for a kind of mistake.

use crate::mutants_system::SYSTEM;
use crate::system;
use crate::system_run::Left;
use crate::system_runtime::CASES;
use crate::user;
use anyhow::{Result, ensure};
use fabric_bus::Bus;
use isa_riscv::disasm::row_of;
use isa_riscv::rows::Row;
use isa_riscv::{Hart, ROWS};

/// Changes the state behind an instruction; true if it did. The last argument is memory, where a
/// bare-metal image runs.
pub type Change = fn(&Hart, &mut Hart, u32, Option<&Bus>) -> bool;

/// One planted mistake.
pub struct Mutant {
    /// What is wrong.
    pub about: &'static str,
    /// The rows whose meaning is wrong; none for whatever traps.
    pub rows: &'static [&'static str],
    /// Rows that its programs have besides.
    pub with: &'static [&'static str],
    /// How.
    pub change: Change,
}

/// The most programs that a mutant may survive.
const PROGRAMS: u64 = 8;

/// The value of a field of the instruction.
pub fn field(word: u32, name: &str) -> usize {
    let row = row_of(word);
    row.and_then(|row| row.fields.iter().find(|f| f.name == name)).map_or(0, |f| f.get(word) as usize)
}

/// Writes `value` to the instruction's rd; true if that is a change.
pub fn set_rd(after: &mut Hart, word: u32, value: u64) -> bool {
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
    Mutant { about: "sub adds", rows: &["sub"], with: &[], change: |before, after, word, _| {
        let sum = before.x[field(word, "rs1")].wrapping_add(before.x[field(word, "rs2")]);
        set_rd(after, word, sum)
    } },
    Mutant { about: "addw does not sign-extend", rows: &["addw"], with: &[], change: |_, after, word, _| {
        let value = after.x[field(word, "rd")] as u32;
        set_rd(after, word, u64::from(value))
    } },
    Mutant { about: "sraiw shifts in zeros", rows: &["sraiw"], with: &[], change: |before, after, word, _| {
        let value = before.x[field(word, "rs1")] as u32 >> field(word, "shamt5");
        set_rd(after, word, value as i32 as u64)
    } },
    Mutant { about: "slt compares unsigned", rows: &["slt"], with: &[], change: |before, after, word, _| {
        let less = before.x[field(word, "rs1")] < before.x[field(word, "rs2")];
        set_rd(after, word, u64::from(less))
    } },
    Mutant { about: "mulhsu is mulhu", rows: &["mulhsu"], with: &[], change: |before, after, word, _| {
        let product = u128::from(before.x[field(word, "rs1")]) * u128::from(before.x[field(word, "rs2")]);
        set_rd(after, word, (product >> 64) as u64)
    } },
    Mutant { about: "div by zero gives 0", rows: &["div"], with: &[], change: |before, after, word, _| {
        before.x[field(word, "rs2")] == 0 && set_rd(after, word, 0)
    } },
    Mutant { about: "lb is lbu", rows: &["lb"], with: &[], change: |_, after, word, _| {
        let value = after.x[field(word, "rd")] & 0xff;
        set_rd(after, word, value)
    } },
    Mutant { about: "fadd.d loses inexact", rows: &["fadd.d"], with: &[], change: |before, after, _, _| drop_flag(before, after, 1) },
    Mutant { about: "fmul.s loses underflow", rows: &["fmul.s"], with: &[], change: |before, after, _, _| drop_flag(before, after, 2) },
    Mutant { about: "fdiv.h loses division by zero", rows: &["fdiv.h"], with: &[], change: |before, after, _, _| drop_flag(before, after, 8) },
    Mutant { about: "fmin.d loses invalid", rows: &["fmin.d"], with: &[], change: |before, after, _, _| drop_flag(before, after, 16) },
    Mutant { about: "fadd.s does not box", rows: &["fadd.s"], with: &[], change: |_, after, word, _| {
        after.f[field(word, "rd")] &= 0xffff_ffff;
        true
    } },
    Mutant { about: "fsqrt.d rounds the last bit wrong", rows: &["fsqrt.d"], with: &[], change: |before, after, word, _| {
        let inexact = after.csr.fflags & !before.csr.fflags & 1 != 0;
        after.f[field(word, "rd")] ^= u64::from(inexact);
        inexact
    } },
    Mutant { about: "clz counts from the wrong end", rows: &["clz"], with: &[], change: |before, after, word, _| {
        let value = before.x[field(word, "rs1")].trailing_zeros();
        set_rd(after, word, u64::from(value))
    } },
    Mutant { about: "amomax.w does not sign-extend", rows: &["amomax.w"], with: &[], change: |_, after, word, _| {
        let value = after.x[field(word, "rd")] as u32;
        set_rd(after, word, u64::from(value))
    } },
    Mutant { about: "fcvt.w.d gives 0 for a NaN", rows: &["fcvt.w.d"], with: &[], change: |before, after, word, _| {
        f64::from_bits(before.f[field(word, "fs1")]).is_nan() && set_rd(after, word, 0)
    } },
    Mutant { about: "sc.d says that it failed", rows: &["sc.d"], with: &["lr.d"], change: |_, after, word, _| set_rd(after, word, 1) },
];

impl Mutant {
    /// The rows whose programs are run.
    fn rows(&self) -> Vec<&'static Row> {
        let wanted = |row: &&Row| self.rows.contains(&row.name) || self.with.contains(&row.name);
        ROWS.iter().filter(wanted).collect()
    }

    /// Meddles behind an instruction of its rows.
    fn meddle(&self, before: &Hart, after: &mut Hart, word: u32, bus: Option<&Bus>) -> bool {
        let its_own = self.rows.is_empty() || row_of(word).is_some_and(|row| self.rows.contains(&row.name));
        its_own && (self.change)(before, after, word, bus)
    }
}

/// Plants every mistake; true if each was caught.
///
/// # Errors
/// If a side cannot be run, or something differs without a mistake.
pub fn run(seed: u64, user_level: bool, system_level: bool) -> Result<bool> {
    let (mut planted, mut survivors) = (0, 0);
    let mut tell = |mutant: &Mutant, caught: Option<u64>| {
        planted += 1;
        match caught {
            Some(cases) => println!("caught after {cases:>6} cases: {}", mutant.about),
            None => {
                survivors += 1;
                println!("NOT CAUGHT: {}", mutant.about);
            }
        }
    };
    for mutant in USER.iter().filter(|_| user_level) {
        tell(mutant, user_cases(mutant, seed)?);
    }
    let mut images = Vec::new();
    for mutant in SYSTEM.iter().filter(|_| system_level) {
        tell(mutant, system_cases(mutant, seed, &mut images)?);
    }
    println!(
        "mutants: {planted} planted, {survivors} not caught, none in the same cases without a mistake, seed {seed}"
    );
    Ok(survivors == 0)
}

/// How many user-level cases a mutant survives.
fn user_cases(mutant: &Mutant, seed: u64) -> Result<Option<u64>> {
    let rows = mutant.rows();
    let mut before = 0;
    for number in 0..PROGRAMS {
        let batch = user::Batch::new(seed, number, &rows, 500);
        let (_, theirs) = user::run_both(&batch.image)?;
        let wrong = user::caught(&batch, &theirs, &mut |_, _, _| false);
        ensure!(wrong.is_none(), "user level differs without a mistake (those of `{}`)", mutant.about);
        let meddler = &mut |a: &Hart, b: &mut Hart, word: u32| mutant.meddle(a, b, word, None);
        if let Some(cases) = user::caught(&batch, &theirs, meddler) {
            return Ok(Some(before + cases));
        }
        before += batch.cases.len() as u64;
    }
    Ok(None)
}

/// How many bare-metal cases a mutant survives. All run the same images, which QEMU runs once.
fn system_cases(mutant: &Mutant, seed: u64, images: &mut Vec<(system::Batch, Left)>) -> Result<Option<u64>> {
    let mut before = 0;
    for number in 0..PROGRAMS {
        if images.len() as u64 == number {
            let batch = system::Batch::new(seed, number, CASES);
            let (_, theirs) = batch.run_both()?;
            let wrong = system::caught(&batch, &theirs, &mut |_, _, _, _| false)?;
            ensure!(wrong.is_none(), "bare-metal image {number} differs without a mistake");
            images.push((batch, theirs));
        }
        let (batch, theirs) = &images[number as usize];
        let meddler = &mut |a: &Hart, b: &mut Hart, word: u32, bus: &_| mutant.meddle(a, b, word, Some(bus));
        if let Some(cases) = system::caught(batch, theirs, meddler)? {
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
            assert_eq!(mutant.rows().len(), mutant.rows.len() + mutant.with.len(), "{}", mutant.about);
        }
    }
}
