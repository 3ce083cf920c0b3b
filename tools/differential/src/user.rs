//! The user-level comparison: programs of random cases, run by both sides, record by record.

use crate::coverage::Coverage;
use crate::explained;
use crate::random::Random;
use crate::user_case::{Case, Cases, Piece, first_word};
use crate::user_hostel::{Meddler, Outcome, run};
use crate::user_image::{
    EDGE_BYTES, FCSR, FLOATS, Image, RECORD, SCRATCH, SIGNAL, SIGNAL_ADDRESS, SIGNAL_PC, record_at,
};
use anyhow::{Context, Result, bail};
use differential_core::{Peer, word_at};
use differential_riscv::{CPU, USER};
use isa_riscv::disasm::{F_NAMES, X_NAMES, disassemble, row_of};
use isa_riscv::rows::{Kind, Row};
use std::fmt::Write;
use std::time::Duration;

/// Cases of one program: more than fit are made and dropped.
pub const BATCH: usize = 10_000;
/// The longest that QEMU may run on a program that takes a second.
const LIMIT: Duration = Duration::from_secs(120);

/// A program with the cases that it is made of.
pub struct Batch {
    /// The cases that fit.
    pub cases: Vec<Case>,
    /// The program.
    pub image: Image,
}

impl Batch {
    /// Batch `number` of `seed`: at most `limit` cases of `rows`.
    pub fn new(seed: u64, number: u64, rows: &[&'static Row], limit: usize) -> Batch {
        let mut random = Random::new(seed, number);
        let mut cases = Cases::new(rows.to_vec());
        let reserved = 1 + (number % 31) as u8;
        let mut list: Vec<Case> =
            (0..limit.min(BATCH)).map(|i| cases.next(&mut random, record_at(i), reserved)).collect();
        let image = Image::new(&list, 0, reserved);
        list.truncate(image.pieces.len());
        Batch { cases: list, image }
    }
}

/// One case in which the sides differ.
pub struct Difference {
    /// Index in the batch.
    pub case: usize,
    /// Hostel's record and QEMU's.
    pub ours: Vec<u8>,
    /// QEMU's.
    pub theirs: Vec<u8>,
}

/// Runs `image` on both sides.
///
/// # Errors
/// If a side does not get to the end.
pub fn run_both(image: &Image) -> Result<(Outcome, Outcome)> {
    let file = tempfile::Builder::new().prefix("differential-").suffix(".elf").tempfile()?;
    std::fs::write(file.path(), image.executable())?;
    let path = file.into_temp_path();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&path, mode)?;
    let qemu = Peer::start(USER, &["-cpu", CPU], Some(&path))?;
    let ours = run(image, None);
    let output = qemu.finish(LIMIT)?;
    if !output.success() || output.bytes.len() != image.output_bytes() + EDGE_BYTES as usize {
        bail!("qemu-riscv64: {}; {} bytes of output", output.end, output.bytes.len());
    }
    let (records, edge) = output.bytes.split_at(image.output_bytes());
    Ok((ours?, Outcome { records: records.to_vec(), edge: edge.to_vec() }))
}

/// The cases whose records differ.
pub fn differences(ours: &Outcome, theirs: &Outcome) -> Vec<Difference> {
    let record = RECORD as usize;
    let pairs = ours.records.chunks(record).zip(theirs.records.chunks(record)).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(case, (a, b))| Difference { case, ours: a.to_vec(), theirs: b.to_vec() })
        .collect()
}

/// Where a case ended early: the signal and the address.
fn end_of(record: &[u8]) -> Option<(u64, u64)> {
    let signal = word_at(record, SIGNAL);
    (signal != 0).then(|| (signal, word_at(record, SIGNAL_PC)))
}

/// Counts what the cases executed, as Hostel's records tell.
pub fn count(batch: &Batch, ours: &Outcome, coverage: &mut Coverage) {
    for ((case, at), record) in
        batch.cases.iter().zip(&batch.image.pieces).zip(ours.records.chunks(RECORD as usize))
    {
        let end = end_of(record);
        if let Some((signal, _)) = end {
            coverage.trap("user (signal)", signal);
        }
        // A jump to where no code is ends behind the case's code.
        let behind = at.last().copied().unwrap_or(0) + 0x4000;
        let stop = end.map(|(_, pc)| pc).filter(|pc| (at[0]..behind).contains(pc)).unwrap_or(u64::MAX);
        for (piece, start) in case.pieces.iter().zip(at) {
            for &subject in &piece.subjects {
                if start + subject as u64 <= stop {
                    coverage.instruction(first_word(&piece.bytes[subject..]));
                }
            }
        }
    }
}

/// What is looked at in a difference: which instruction, and how the records differ.
pub struct Seen<'a> {
    /// The case.
    pub case: &'a Case,
    /// Addresses of its pieces.
    pub pieces: &'a [u64],
    /// Hostel's record.
    pub ours: &'a [u8],
    /// QEMU's.
    pub theirs: &'a [u8],
}

impl Seen<'_> {
    /// Offsets of the record's words that differ.
    pub fn offsets(&self) -> Vec<u64> {
        (0..RECORD).step_by(8).filter(|&at| word_at(self.ours, at) != word_at(self.theirs, at)).collect()
    }

    /// A word of Hostel's record and of QEMU's.
    pub fn words(&self, at: u64) -> (u64, u64) {
        (word_at(self.ours, at), word_at(self.theirs, at))
    }

    /// The names of the rows that the case has instances of.
    pub fn rows(&self) -> impl Iterator<Item = &'static str> {
        let words =
            self.case.pieces.iter().flat_map(|p| p.subjects.iter().map(|&at| first_word(&p.bytes[at..])));
        words.filter_map(|word| row_of(word).map(|row| row.name))
    }

    /// The instruction at which Hostel's run of the case was ended by a signal, if it was.
    pub fn instruction_at(&self, pc: u64) -> Option<u32> {
        let at = self.pieces.iter().rposition(|&start| start <= pc)?;
        let piece = self.case.pieces.get(at)?;
        let bytes = piece.bytes.get((pc - self.pieces[at]) as usize..)?;
        (!bytes.is_empty()).then(|| first_word(bytes))
    }
}

/// Runs one case on its own, in the place that it had.
fn alone(case: &Case, index: usize, reserved: u8) -> Result<Option<(Image, Difference)>> {
    let image = Image::new(std::slice::from_ref(case), index, reserved);
    let (ours, theirs) = run_both(&image)?;
    let difference = differences(&ours, &theirs).pop();
    Ok(difference.filter(|d| !explained_away(case, &image.pieces[0], d)).map(|d| (image, d)))
}

/// Whether the list of explained differences has this one.
fn explained_away(case: &Case, pieces: &[u64], d: &Difference) -> bool {
    explained::user(&Seen { case, pieces, ours: &d.ours, theirs: &d.theirs }).is_some()
}

/// Empties pieces while the case still differs; then the report of what is left.
///
/// # Errors
/// If a run goes wrong.
pub fn shrink_and_report(batch: &Batch, difference: &Difference) -> Result<String> {
    let (index, reserved) = (difference.case, batch.image.reserved);
    let mut case = batch.cases[index].clone();
    let Some(mut found) = alone(&case, index, reserved)? else {
        let image = &batch.image;
        return Ok(format!(
            "case {index} differs only after the cases before it:\n{}",
            report(&case, &image.pieces[index], difference)
        ));
    };
    for i in (0..case.pieces.len()).rev() {
        let kept = std::mem::take(&mut case.pieces[i]);
        match alone(&case, index, reserved)? {
            Some(smaller) => found = smaller,
            None => case.pieces[i] = kept,
        }
    }
    let (image, difference) = found;
    Ok(format!("case {index}, shrunk:\n{}", report(&case, &image.pieces[0], &difference)))
}

/// The registers that the instructions of a case name.
fn named(case: &Case) -> Vec<(Kind, usize)> {
    let mut all = Vec::new();
    for piece in &case.pieces {
        for &subject in &piece.subjects {
            let word = first_word(&piece.bytes[subject..]);
            let fields = row_of(word).map_or(&[][..], |row| row.fields);
            for field in fields.iter().filter(|f| matches!(f.kind, Kind::X | Kind::F)) {
                let register = (field.kind, field.get(word) as usize);
                if !all.contains(&register) {
                    all.push(register);
                }
            }
        }
    }
    all
}

/// A case and the two records, readable.
fn report(case: &Case, pieces: &[u64], difference: &Difference) -> String {
    let mut text = String::new();
    for (Piece { bytes, .. }, start) in case.pieces.iter().zip(pieces) {
        let mut at = 0;
        while at < bytes.len() && at < 24 {
            let word = first_word(&bytes[at..]);
            let pc = start + at as u64;
            let _ = writeln!(text, "    {pc:#010x}  {word:08x}  {}", disassemble(word, pc));
            at += isa_riscv::disasm::length(word) as usize;
        }
    }
    let _ = writeln!(text, "  inputs: fcsr {:#x}, record at {:#x}", case.fcsr, record_at(difference.case));
    for (kind, number) in named(case) {
        let _ = match kind {
            Kind::F => writeln!(text, "    {:<4} {:#018x}", F_NAMES[number], case.f[number]),
            _ => writeln!(text, "    {:<4} {:x?}", X_NAMES[number], case.x[number]),
        };
    }
    let _ = writeln!(text, "  {:<16} {:>18} {:>18}", "differs", "Hostel", "QEMU");
    let seen = Seen { case, pieces, ours: &difference.ours, theirs: &difference.theirs };
    for at in seen.offsets() {
        let name = match at {
            0..FLOATS => X_NAMES[at as usize / 8].to_string(),
            FLOATS..FCSR => F_NAMES[(at - FLOATS) as usize / 8].to_string(),
            FCSR => "fcsr".into(),
            SIGNAL => "signal".into(),
            SIGNAL_ADDRESS => "si_addr".into(),
            SIGNAL_PC => "signal's pc".into(),
            SCRATCH.. => format!("memory+{:#x}", at - SCRATCH),
            _ => format!("record+{at}"),
        };
        let (ours, theirs) = seen.words(at);
        let _ = writeln!(text, "  {name:<16} {ours:#018x} {theirs:#018x}");
    }
    text
}

/// What a comparison found.
#[derive(Default)]
pub struct Findings {
    /// Cases compared.
    pub cases: u64,
    /// Reports of differences that nothing explains.
    pub unexplained: Vec<String>,
    /// How many there were, reported or not.
    pub differing: u64,
    /// How often each entry of the list of explained differences was met.
    pub explained: std::collections::BTreeMap<&'static str, u64>,
}

/// Reports of differences that are worked out per batch; the rest is counted.
const REPORTED: usize = 4;

/// Compares one batch.
///
/// # Errors
/// If a side does not get to the end.
pub fn compare(batch: &Batch, coverage: &mut Coverage, findings: &mut Findings) -> Result<()> {
    let (ours, theirs) = run_both(&batch.image)?;
    count(batch, &ours, coverage);
    findings.cases += batch.cases.len() as u64;
    let mut reported = 0;
    let mut first = true;
    for difference in differences(&ours, &theirs) {
        let case = &batch.cases[difference.case];
        let pieces = &batch.image.pieces[difference.case];
        let seen = Seen { case, pieces, ours: &difference.ours, theirs: &difference.theirs };
        if let Some(entry) = explained::user(&seen) {
            *findings.explained.entry(entry.name).or_default() += 1;
            continue;
        }
        findings.differing += 1;
        if reported < REPORTED {
            reported += 1;
            findings.unexplained.push(shrink_and_report(batch, &difference).context("while shrinking")?);
        }
        first = false;
    }
    if first && ours.edge != theirs.edge {
        findings.differing += 1;
        findings.unexplained.push("the edge page differs, but no case's record does".into());
    }
    Ok(())
}

/// How many cases of `batch` run until a meddled-with Hostel differs from Hostel as it is and from
/// QEMU; `None` if it never does.
///
/// # Errors
/// If QEMU does not get to the end.
pub fn caught(batch: &Batch, theirs: &Outcome, meddler: Meddler<'_>) -> Option<u64> {
    // A meddled-with program that goes astray is caught as well, at its last case.
    let Ok(ours) = run(&batch.image, Some(meddler)) else { return Some(batch.cases.len() as u64) };
    differences(&ours, theirs).into_iter().find_map(|d| {
        let case = &batch.cases[d.case];
        (!explained_away(case, &batch.image.pieces[d.case], &d)).then_some(d.case as u64 + 1)
    })
}
