//! Conformance lines: what the manual says single instructions do, on the test machine.
//!
//! `bytes | assembly | inputs => outputs`; `#` starts a comment. The machine starts in M-mode at
//! 0x80000000 with everything zero and FS dirty. Inputs and outputs are `name=value`:
//!
//! - integer and floating-point registers by ABI name; CSRs by name; `pc`; `mode` (U, S, M); `fs` (the
//!   field of `mstatus`);
//! - `mem1[address]`, `mem2[…]`, `mem4[…]`, `mem8[…]`: little-endian memory, 0x80000000 to 0x80002000;
//! - `lr4`, `lr8`: the reserved address; `lr=none`;
//! - only as outputs: `trap` and `tval`, `fence`, `changed` (what the environment is told), `waits`.
//!
//! A value is a number, or a floating-point number with the suffix `h`, `s` or `d`, boxed. **All** of
//! the machine that no output names must stay as it was, but for `pc`, which goes on unless named.

use isa_core::Width;
use isa_float::{F16, F32, Flags, RiscV, Round};
use isa_riscv::csr::{self, CsrAction};
use isa_riscv::csr_fields::mstatus;
use isa_riscv::disasm::{F_NAMES, X_NAMES, disassemble, length, row_of};
use isa_riscv::random::rows;
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Features, Mode, csr_number};
use std::collections::BTreeSet;
use std::path::Path;

const BASE: u64 = 0x8000_0000;
const SIZE: usize = 0x2000;

/// A number as the lines write it.
fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Ok(v) = text.parse::<i128>() {
        return (-(1 << 63)..1 << 64).contains(&v).then_some(v as u64);
    }
    let (digits, format) = text.split_at_checked(text.len() - 1)?;
    let v: f64 = digits.parse().ok()?;
    let exactly = |v: u64, convert: fn(u64, Round, &mut Flags) -> u64| {
        let mut flags = Flags::NONE;
        (convert(v, Round::NearestEven, &mut flags), flags)
    };
    match format {
        "d" if v.is_nan() => Some(0x7ff8 << 48),
        "d" => Some(v.to_bits()),
        "s" => {
            Some(exactly(v.to_bits(), isa_float::convert::<isa_float::F64, F32, RiscV>).0 | u64::MAX << 32)
        }
        "h" => {
            Some(exactly(v.to_bits(), isa_float::convert::<isa_float::F64, F16, RiscV>).0 | u64::MAX << 16)
        }
        _ => None,
    }
}

/// The width that the digit at the end of `name` says.
fn width(digit: &str) -> Option<Width> {
    [(1, Width::B1), (2, Width::B2), (4, Width::B4), (8, Width::B8)]
        .into_iter()
        .find(|(n, _)| digit == n.to_string())
        .map(|(_, width)| width)
}

/// Gives a part of the machine's state a value.
fn set(m: &mut TestMachine, name: &str, value: &str) -> Option<()> {
    if let Some(r) = X_NAMES.iter().position(|n| *n == name) {
        m.hart.x[r] = number(value)?;
    } else if let Some(r) = F_NAMES.iter().position(|n| *n == name) {
        m.hart.f[r] = number(value)?;
    } else if name == "pc" {
        m.hart.pc = number(value)?;
    } else if name == "mode" {
        m.hart.mode = *[Mode::U, Mode::S, Mode::M].iter().find(|mode| format!("{mode:?}") == value)?;
    } else if name == "fs" {
        m.hart.csr.mstatus =
            m.hart.csr.mstatus & !mstatus::FS | number(value)? << mstatus::FS.trailing_zeros();
    } else if let Some(place) = name.strip_prefix("mem") {
        let (digit, address) = place.strip_suffix(']')?.split_once('[')?;
        m.write(number(address)?, width(digit)?, number(value)?)?;
    } else if let Some(digit) = name.strip_prefix("lr") {
        m.reservation = if value == "none" { None } else { Some((number(value)?, width(digit)?)) };
    } else {
        let mode = std::mem::replace(&mut m.hart.mode, Mode::M);
        let written = csr::access(m, csr_number(name)?, CsrAction::Write(number(value)?));
        m.hart.mode = mode;
        written.ok()?;
    }
    Some(())
}

/// What differs between two machines, in words.
fn difference(got: &TestMachine, want: &TestMachine) -> String {
    let mut parts = Vec::new();
    for (names, got, want) in [(X_NAMES, got.hart.x, want.hart.x), (F_NAMES, got.hart.f, want.hart.f)] {
        let wrong = (0..32).filter(|&r| got[r] != want[r]);
        parts.extend(wrong.map(|r| format!("{}={:#x}, not {:#x}", names[r], got[r], want[r])));
    }
    if got.hart.pc != want.hart.pc {
        parts.push(format!("pc={:#x}, not {:#x}", got.hart.pc, want.hart.pc));
    }
    for at in (0..got.memory.len()).filter(|&i| got.memory[i] != want.memory[i]) {
        let address = BASE + at as u64;
        parts.push(format!("mem1[{address:#x}]={:#x}, not {:#x}", got.memory[at], want.memory[at]));
    }
    if got.hart.csr != want.hart.csr || got.hart.mode != want.hart.mode {
        parts.push(format!(
            "{:?} {:?}\nnot {:?} {:?}",
            got.hart.mode, got.hart.csr, want.hart.mode, want.hart.csr
        ));
    }
    if (got.reservation, &got.fences, got.waiting) != (want.reservation, &want.fences, want.waiting) {
        let of = |m: &TestMachine| {
            format!("reserved {:?}, fences {:?}, waits {}", m.reservation, m.fences, m.waiting)
        };
        parts.push(format!("{}, not {}", of(got), of(want)));
    }
    parts.join("; ")
}

/// Runs one line.
fn run(line: &str) -> Result<(), String> {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [bytes, assembly, effects] = columns[..] else { return Err("not three columns".into()) };
    let word = number(bytes).ok_or("bytes are no number")? as u32;
    let printed = disassemble(word, BASE);
    if printed != assembly {
        return Err(format!("disassembles to '{printed}'"));
    }
    let (inputs, outputs) = effects.split_once("=>").ok_or("no '=>'")?;
    let mut m = TestMachine::new(&Features::FULL, BASE, SIZE);
    m.hart.csr.set_fp_dirty();
    m.write(BASE, if length(word) == 2 { Width::B2 } else { Width::B4 }, u64::from(word)).ok_or("no room")?;
    for (name, value) in inputs.split_whitespace().map(|i| i.split_once('=').unwrap_or((i, ""))) {
        set(&mut m, name, value).ok_or(format!("cannot set {name} to {value}"))?;
    }
    m.changes.clear();
    let (mut want, mut trap, mut tval) = (m.clone(), None, None);
    let (mut fences, mut changed) = (Vec::new(), Vec::new());
    want.hart.pc = BASE + u64::from(length(word));
    for (name, value) in outputs.split_whitespace().map(|i| i.split_once('=').unwrap_or((i, ""))) {
        match name {
            "trap" => trap = Some(value),
            "tval" => tval = number(value),
            "fence" => fences.push(value),
            "changed" => changed.push(value),
            "waits" => want.waiting = true,
            _ => set(&mut want, name, value).ok_or(format!("cannot set {name} to {value}"))?,
        }
    }
    let result = m.step();
    match (result, trap) {
        (Ok(()), None) => {}
        (Err(got), Some(cause)) => {
            if format!("{:?}", got.cause) != cause || Some(got.tval) != tval {
                return Err(format!("trap {:?} with {:#x}", got.cause, got.tval));
            }
            want.hart.pc = BASE;
        }
        (got, _) => return Err(format!("gave {got:?}")),
    }
    if fences != m.fences.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>() {
        return Err(format!("fences {:?}", m.fences));
    }
    let said: Vec<String> = m.changes.iter().map(|c| format!("{c:?}").replace(' ', "")).collect();
    if let Some(missing) = changed.iter().find(|c| !said.contains(&c.to_string())) {
        return Err(format!("said {said:?}, not {missing}"));
    }
    want.fences.clone_from(&m.fences);
    let wrong = difference(&m, &want);
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Every line of every file, as (file, number, line).
fn lines() -> Vec<(String, usize, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("tests/conformance") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        let lines = text.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
        all.extend(lines.map(|(n, l)| (name.clone(), n + 1, l.to_string())));
    }
    all.sort();
    all
}

#[test]
fn every_line_holds() {
    let lines = lines();
    let failures: Vec<String> = lines
        .iter()
        .filter_map(|(file, number, line)| {
            run(line).err().map(|why| format!("{file}:{number}: {line}\n    {why}"))
        })
        .collect();
    println!("{} lines", lines.len());
    assert!(
        failures.is_empty(),
        "{} of {} lines fail:\n{}",
        failures.len(),
        lines.len(),
        failures.join("\n")
    );
}

#[test]
fn every_row_has_a_line() {
    let words = lines().into_iter().filter_map(|(_, _, line)| number(line.split(' ').next()?));
    let covered: BTreeSet<&str> = words.filter_map(|w| row_of(w as u32).map(|row| row.name)).collect();
    let missing: Vec<&str> = rows().map(|row| row.name).filter(|name| !covered.contains(name)).collect();
    assert!(missing.is_empty(), "no conformance line for {}", missing.join(", "));
}
