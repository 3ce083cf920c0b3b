//! The bare-metal comparison: images of random cases, run by both sides, trap by trap.

use crate::coverage::Coverage;
use crate::explained_system::explain;
use crate::random::Random;
use crate::system_case::{Case, Slot, Try, code_at, csr_text};
use crate::system_run::{Image, Left, Meddler, finish_qemu, run, start_qemu};
use crate::system_runtime::{
    ALIAS, ARENA, CASES, CODES, END, LEFT_CSRS, LEFT_X, LOG, LOG_AT, LOG_RECORD, LOG_WORDS, META, S_VECTOR,
    SLOTS, left_csrs,
};
use crate::user::Findings;
use anyhow::Result;
use differential_core::word_at;
use isa_riscv::disasm::{X_NAMES, disassemble, length, row_of};
use std::fmt::Write;

/// One thing that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A word of a trap's record; or there is no such trap on one side.
    Log {
        /// Which trap.
        trap: usize,
        /// Which word: see [`LOG_WORDS`].
        word: usize,
    },
    /// A register that the case leaves.
    X(usize),
    /// A CSR that it leaves.
    Csr(u16),
    /// A word of its arena.
    Memory(u64),
}

/// A trap as the architecture has it: one that S-mode took is noted by way of a call to M-mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// S-mode took it.
    pub to_s: bool,
    /// `mcause` or `scause`.
    pub cause: u64,
    /// `mepc` or `sepc`.
    pub pc: u64,
    /// `mtval` or `stval`.
    pub value: u64,
    /// `mstatus` in the handler of M-mode.
    pub status: u64,
    /// Which entry of `mtvec` was used.
    pub vector: u64,
}

impl Event {
    fn new(record: &[u64; 8]) -> Event {
        let codes = CODES..CODES + 4096 * CASES as u64;
        let to_s = codes.contains(&record[1]) && (S_VECTOR..END).contains(&(record[1] & 0xfff));
        let at = if to_s { 5 } else { 0 };
        let (status, vector) = (record[3], record[4]);
        Event { to_s, cause: record[at], pc: record[at + 1], value: record[at + 2], status, vector }
    }

    /// Where the trap came from: 0 for U, 1 for S, 3 for M.
    pub fn from(&self) -> u64 {
        if self.to_s { self.status >> 8 & 1 } else { self.status >> 11 & 3 }
    }

    /// The slot that it happened in.
    fn slot(&self) -> Option<usize> {
        let at = self.pc & 0xfff;
        (SLOTS..S_VECTOR).contains(&at).then(|| ((at - SLOTS) / 16) as usize)
    }
}

/// A difference and where it comes from.
pub struct Seen<'a> {
    /// The case.
    pub case: &'a Case,
    /// Its place in the image.
    pub place: usize,
    /// What differs: the item, Hostel's value, QEMU's.
    pub items: Vec<(Item, u64, u64)>,
    /// The first slot that can have to do with it.
    pub slot: Option<usize>,
    /// Traps that Hostel took.
    pub traps: Vec<[u64; 8]>,
    /// Traps that QEMU took.
    pub their_traps: Vec<[u64; 8]>,
}

/// The traps that a case noted.
pub fn traps(left: &[u8]) -> Vec<[u64; 8]> {
    let used = (word_at(left, LOG_AT as u64) % META).saturating_sub(LOG);
    let full = word_at(left, LOG_AT as u64).is_multiple_of(META);
    let count = if full { (META - LOG) / LOG_RECORD } else { used / LOG_RECORD };
    (0..count).map(|i| std::array::from_fn(|w| word_at(left, LOG + i * LOG_RECORD + 8 * w as u64))).collect()
}

/// The slot in which a trap happened.
fn slot_of(trap: &[u64; 8]) -> Option<usize> {
    Event::new(trap).slot()
}

impl<'a> Seen<'a> {
    /// Compares what a case left; `None` if it is the same.
    pub fn new(case: &'a Case, place: usize, ours: &[u8], theirs: &[u8]) -> Option<Seen<'a>> {
        let (our_traps, their_traps) = (traps(ours), traps(theirs));
        let mut items = Vec::new();
        for trap in 0..our_traps.len().max(their_traps.len()) {
            let pair = (our_traps.get(trap).copied(), their_traps.get(trap).copied());
            let (a, b) = (pair.0.unwrap_or_default(), pair.1.unwrap_or_default());
            for word in (0..8).filter(|&w| a[w] != b[w]) {
                items.push((Item::Log { trap, word }, a[word], b[word]));
            }
        }
        let mut compare = |item, at| {
            let (a, b) = (word_at(ours, at), word_at(theirs, at));
            if a != b {
                items.push((item, a, b));
            }
        };
        for i in 1..28 {
            compare(Item::X(i), LEFT_X + 8 * i as u64);
        }
        for (i, (_, number)) in left_csrs().into_iter().enumerate() {
            compare(Item::Csr(number), LEFT_CSRS + 8 * i as u64);
        }
        for at in (0..ARENA).step_by(8) {
            compare(Item::Memory(at), META + at);
        }
        if items.is_empty() {
            return None;
        }
        let mut seen = Seen { case, place, items, slot: None, traps: our_traps, their_traps };
        seen.slot = seen.items.iter().filter_map(|(item, ..)| seen.origin(*item)).min();
        Some(seen)
    }

    /// The first slot that can have to do with an item.
    fn origin(&self, item: Item) -> Option<usize> {
        let slots = &self.case.slots;
        match item {
            Item::Log { trap, .. } => {
                let at = |traps: &[[u64; 8]]| traps.get(trap).and_then(slot_of);
                let before =
                    || (0..trap).rev().find_map(|t| self.traps.get(t).and_then(slot_of)).map(|s| s + 1);
                match (at(&self.traps), at(&self.their_traps)) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b).or_else(before).or(Some(0)),
                }
            }
            Item::X(register) => slots.iter().position(|slot| writes(slot, register)),
            Item::Csr(number) => {
                slots.iter().position(|slot| slot.what == Try::Csr(number)).or(slots.len().checked_sub(1))
            }
            Item::Memory(_) => None,
        }
    }

    /// The first trap in which the sides differ, as each has it; `None` if all are the same.
    pub fn first(&self) -> Option<(Option<Event>, Option<Event>)> {
        let count = self.traps.len().max(self.their_traps.len());
        let at = (0..count).find(|&i| self.traps.get(i) != self.their_traps.get(i))?;
        let event = |traps: &[[u64; 8]]| traps.get(at).map(Event::new);
        Some((event(&self.traps), event(&self.their_traps)))
    }

    /// The instruction that a trap was taken at.
    pub fn word_at(&self, event: &Event) -> Option<u32> {
        let slot = self.case.slots.get(event.slot()?)?;
        let mut at = SLOTS + 16 * event.slot()? as u64;
        for &word in &slot.words {
            if at == event.pc & 0xfff {
                return Some(word);
            }
            at += u64::from(length(word));
        }
        None
    }

    /// The slot's purpose.
    pub fn what(&self) -> Option<Try> {
        self.slot.and_then(|s| self.case.slots.get(s)).map(|slot| slot.what)
    }
}

fn writes(slot: &Slot, register: usize) -> bool {
    slot.words.iter().any(|&word| {
        let rd = row_of(word).and_then(|row| row.fields.iter().find(|f| f.name == "rd"));
        rd.is_some_and(|f| f.get(word) == register as i64)
    })
}

/// An image with the cases that it is made of.
pub struct Batch {
    /// Its cases.
    pub cases: Vec<Case>,
    first: usize,
    /// Whether the hart has C. Without it jumps can be misaligned.
    compressed: bool,
}

impl Batch {
    /// Batch `number` of `seed`, of `count` cases.
    pub fn new(seed: u64, number: u64, count: usize) -> Batch {
        let mut random = Random::new(seed ^ 0x5157, number);
        let count = count.min(CASES);
        let compressed = number % 8 != 7;
        let cases = (0..count).map(|i| Case::new(&mut random, i, i + 1 == CASES, compressed)).collect();
        Batch { cases, first: 0, compressed }
    }

    fn alone(&self, case: Case, index: usize) -> Batch {
        Batch { cases: vec![case], first: index, compressed: self.compressed }
    }

    fn image(&self) -> Image {
        Image::new(&self.cases, self.first, self.compressed)
    }

    /// Runs the batch on both sides.
    ///
    /// # Errors
    /// If a side cannot be run.
    pub fn run_both(&self) -> Result<(Left, Left)> {
        let image = self.image();
        let qemu = start_qemu(&image)?;
        let ours = run(&image, None)?;
        Ok((ours, finish_qemu(qemu, &image)?))
    }
}

/// Counts what the cases did, as Hostel's memory tells.
pub fn count(batch: &Batch, ours: &Left, coverage: &mut Coverage) {
    for (case, left) in batch.cases.iter().zip(&ours.cases) {
        for trap in traps(left) {
            let whence = match trap[3] >> 11 & 3 {
                0 => "U to M",
                1 => "S to M",
                _ => "M to M",
            };
            coverage.trap(whence, trap[0]);
            let event = Event::new(&trap);
            if event.to_s {
                coverage.trap(if event.from() == 0 { "U to S" } else { "S to S" }, event.cause);
            }
        }
        executed(case, left).for_each(|word| coverage.instruction(word));
        case.csrs.iter().filter_map(|(name, _)| isa_riscv::csr_number(name)).for_each(|n| coverage.csr(n, 1));
    }
}

/// The instructions that a case executed: in every slot, those up to its first exception.
fn executed<'a>(case: &'a Case, left: &[u8]) -> impl Iterator<Item = u32> + 'a {
    let events: Vec<Event> = traps(left).iter().map(Event::new).collect();
    let full = events.len() as u64 == (META - LOG) / LOG_RECORD;
    let last = events.iter().filter_map(Event::slot).max().filter(|_| full).unwrap_or(usize::MAX);
    let stop = move |slot: usize| {
        let own = events.iter().filter(|event| event.cause >> 63 == 0 && event.slot() == Some(slot));
        own.map(|event| event.pc & 0xf).min().unwrap_or(0xf)
    };
    case.slots.iter().enumerate().take_while(move |(i, _)| *i <= last).flat_map(move |(i, slot)| {
        let stop = stop(i);
        let mut at = 0;
        slot.words.iter().copied().take_while(move |word| {
            at += u64::from(length(*word));
            at - u64::from(length(*word)) <= stop
        })
    })
}

/// Replaces slots by nothing while the case still differs; then the report of what is left. `None` if
/// it does not differ on its own.
fn shrink_and_report(batch: &Batch, index: usize) -> Result<Option<String>> {
    let mut case = batch.cases[index].clone();
    let place = batch.first + index;
    let differs = |case: &Case| -> Result<Option<String>> {
        let (ours, theirs) = batch.alone(case.clone(), place).run_both()?;
        let seen = Seen::new(case, place, &ours.cases[0], &theirs.cases[0]);
        Ok(seen.filter(|seen| explain(seen).is_none()).map(|seen| report(&seen)))
    };
    let mut smallest = differs(&case)?;
    if smallest.is_some() {
        for i in (0..case.slots.len()).rev() {
            let kept = std::mem::take(&mut case.slots[i].words);
            match differs(&case)? {
                Some(text) => smallest = Some(text),
                None => case.slots[i].words = kept,
            }
        }
    }
    Ok(smallest.map(|text| format!("\n{text}")))
}

/// A case and how the sides differ, readable.
pub fn report(seen: &Seen<'_>) -> String {
    let mut text = String::new();
    let case = seen.case;
    let _ =
        writeln!(text, "  starts at {:#x} with mstatus {:#x}, lines {:?}", case.pc, case.mstatus, case.lines);
    for (csr, value) in case.csrs.iter().filter(|(_, v)| *v != 0) {
        let _ = write!(text, " {csr}={value:#x}");
    }
    text.push('\n');
    for (i, slot) in case.slots.iter().enumerate().filter(|(_, s)| !s.words.is_empty()) {
        let mut pc = code_at(seen.place) + SLOTS + 16 * i as u64;
        for &word in &slot.words {
            let row = row_of(word);
            let named =
                row.and_then(|r| r.fields.iter().find(|f| f.name == "rs1")).map(|f| f.get(word) as usize);
            let value =
                named.and_then(|r| case.x.get(r)).map_or(String::new(), |v| format!("   # rs1 = {v:#x}"));
            let _ = writeln!(text, "    {pc:#x} [{i}] {word:08x}  {}{value}", disassemble(word, pc));
            pc += u64::from(length(word));
        }
    }
    let _ = writeln!(text, "  slot {:?}, {:?}", seen.slot, seen.what());
    let _ = writeln!(text, "  {:<24} {:>18} {:>18}", "differs", "Hostel", "QEMU");
    for (item, ours, theirs) in seen.items.iter().take(24) {
        let name = match item {
            Item::Log { trap, word } => format!("trap {trap}: {}", LOG_WORDS[*word]),
            Item::X(register) => X_NAMES[*register].to_string(),
            Item::Csr(number) => csr_text(*number),
            Item::Memory(at) => format!("arena+{at:#x}"),
        };
        let _ = writeln!(text, "  {name:<24} {ours:#018x} {theirs:#018x}");
    }
    for (who, traps) in [("Hostel", &seen.traps), ("QEMU", &seen.their_traps)] {
        let list: Vec<String> =
            traps.iter().take(12).map(|t| format!("{:x}@{:x}({:x})", t[0], t[1] & !ALIAS, t[2])).collect();
        let _ = writeln!(text, "  {who} traps: {}", list.join(" "));
    }
    text
}

/// Reports of differences that are worked out per batch; the rest is counted.
const REPORTED: usize = 4;

/// Compares one batch.
///
/// # Errors
/// If a side cannot be run.
pub fn compare(batch: &Batch, coverage: &mut Coverage, findings: &mut Findings) -> Result<()> {
    let (ours, theirs) = batch.run_both()?;
    let mut end = batch.cases.len();
    for (who, left) in [("Hostel", &ours), ("QEMU", &theirs)] {
        if let Some((case, why)) = &left.stuck {
            findings.differing += 1;
            let text = format!("{who} does not get past case {case}: {why}\n");
            let seen =
                Seen::new(&batch.cases[*case], batch.first + *case, &ours.cases[*case], &theirs.cases[*case]);
            findings.unexplained.push(text + &seen.map_or(String::new(), |s| report(&s)));
            end = end.min(*case);
        }
    }
    count(batch, &ours, coverage);
    findings.cases += end as u64;
    let mut reported = 0;
    for index in 0..end {
        let case = &batch.cases[index];
        let Some(seen) = Seen::new(case, batch.first + index, &ours.cases[index], &theirs.cases[index])
        else {
            continue;
        };
        if let Some(entry) = explain(&seen) {
            *findings.explained.entry(entry.name).or_default() += 1;
            continue;
        }
        findings.differing += 1;
        if reported < REPORTED {
            reported += 1;
            let smaller = shrink_and_report(batch, index)?;
            let smaller = smaller.unwrap_or_else(|| format!("only after those before it\n{}", report(&seen)));
            findings.unexplained.push(format!("case {index}, shrunk: {smaller}"));
        }
    }
    Ok(())
}

/// How many cases run until a meddled-with Hostel differs from QEMU; `None` if it never does.
///
/// # Errors
/// If Hostel cannot be run.
pub fn caught(batch: &Batch, theirs: &Left, meddler: Meddler<'_>) -> Result<Option<u64>> {
    let ours = run(&batch.image(), Some(meddler))?;
    let stuck = ours.stuck.as_ref().map(|(case, _)| *case as u64 + 1);
    let differs = (0..batch.cases.len()).find(|&i| {
        let seen = Seen::new(&batch.cases[i], batch.first + i, &ours.cases[i], &theirs.cases[i]);
        seen.is_some_and(|seen| explain(&seen).is_none())
    });
    Ok(differs.map(|i| i as u64 + 1).or(stuck))
}
