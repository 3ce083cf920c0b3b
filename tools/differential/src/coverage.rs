//! What has been executed: instructions by row and kind of operand, traps, CSRs.

use isa_riscv::disasm::row_of;
use isa_riscv::rows::{Kind, Row};
use isa_riscv::{ROWS, csr_table};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::user_draft::range;

/// How often an instance of every row must run in a long comparison.
pub const ENOUGH: u64 = 10_000;

/// The traps that bare-metal images must reach: whence and to which mode, cause.
pub fn system_traps() -> Vec<(&'static str, u64)> {
    const I: u64 = 1 << 63;
    let lists: [(&'static str, &[u64], &[u64]); 5] = [
        ("U to M", &[8, 12], &[3, 7, 11]),
        ("S to M", &[9, 12], &[3, 7, 11]),
        // Nobody else's fetches can be made in M-mode.
        ("M to M", &[11], &[3, 7, 11]),
        ("U to S", &[8, 12], &[]),
        ("S to S", &[9, 12], &[]),
    ];
    // Cause 0 comes from the images whose hart has no C.
    let common = [0, 1, 2, 3, 4, 5, 6, 7, 13, 15, I | 1, I | 5, I | 9];
    let of = |(whence, causes, interrupts): (&'static str, &[u64], &[u64])| {
        let own = causes.iter().copied().chain(interrupts.iter().map(|i| I | i));
        own.chain(common).map(|cause| (whence, cause)).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

/// Counts.
#[derive(Default)]
pub struct Coverage {
    rows: BTreeMap<&'static str, u64>,
    classes: BTreeMap<(&'static str, String), u64>,
    /// Traps: where (`user`, or the mode it came from), cause.
    traps: BTreeMap<(&'static str, u64), u64>,
    /// CSR numbers that were accessed.
    csrs: BTreeMap<u16, u64>,
    words: BTreeMap<u32, u64>,
}

/// The classes of operands that some instance of `row` can have. A class counts when that operand had
/// such a value.
fn classes_of(row: &Row) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for field in row.fields {
        // Values that the row's constraints leave out are no classes of it.
        let taken = |value: i64| row.not.iter().any(|(f, v)| f.name == field.name && *v == value);
        let fits = |value: i64| !taken(value) && field.put(value).is_some();
        let mut class = |value: i64, name: &str| {
            if fits(value) {
                all.insert(format!("{}={name}", field.name));
            }
        };
        let (low, high) = range(field);
        match field.kind {
            Kind::X => class(0, "x0"),
            Kind::I32 => {
                class(low, "min");
                class(high, "max");
                class(0, "0");
                class(-1 << field.shift, "-1");
            }
            Kind::U8 => {
                class(low, "min");
                class(high, "max");
            }
            Kind::Rm | Kind::Order => (low..=high).for_each(|v| class(v, &v.to_string())),
            Kind::F | Kind::Csr => {}
            Kind::Rel => {
                all.insert(format!("{}<0", field.name));
                all.insert(format!("{}>0", field.name));
            }
        }
    }
    for (a, b) in pairs(row) {
        all.insert(format!("{a}={b}"));
    }
    all
}

/// Pairs of register operands of one kind that can be equal.
fn pairs(row: &Row) -> Vec<(&'static str, &'static str)> {
    let mut pairs = Vec::new();
    for (i, a) in row.fields.iter().enumerate() {
        for b in &row.fields[i + 1..] {
            if a.kind == b.kind && matches!(a.kind, Kind::X | Kind::F) {
                pairs.push((a.name, b.name));
            }
        }
    }
    pairs
}

/// The classes that `word` is in.
fn classes_in(row: &Row, word: u32) -> Vec<String> {
    let mut found = Vec::new();
    for field in row.fields {
        let value = field.get(word);
        let (low, high) = range(field);
        let mut class = |hit: bool, name: &str| {
            if hit {
                found.push(format!("{}={name}", field.name));
            }
        };
        match field.kind {
            Kind::X => class(value == 0, "x0"),
            Kind::I32 => {
                class(value == low, "min");
                class(value == high, "max");
                class(value == 0, "0");
                class(value == -1 << field.shift, "-1");
            }
            Kind::U8 => {
                class(value == low, "min");
                class(value == high, "max");
            }
            Kind::Rm | Kind::Order => class(true, &value.to_string()),
            Kind::F | Kind::Csr => {}
            Kind::Rel => found.push(format!("{}{}0", field.name, if value < 0 { '<' } else { '>' })),
        }
    }
    let get = |name: &str| row.fields.iter().find(|f| f.name == name).map(|f| f.get(word));
    for (a, b) in pairs(row) {
        if get(a) == get(b) {
            found.push(format!("{a}={b}"));
        }
    }
    found
}

impl Coverage {
    /// Counts an instruction that was executed (or trapped).
    pub fn instruction(&mut self, word: u32) {
        *self.words.entry(word).or_default() += 1;
        if self.words.len() > 1 << 20 {
            self.settle();
        }
    }

    /// Works out what the instructions noted are.
    fn settle(&mut self) {
        for (word, count) in std::mem::take(&mut self.words) {
            let Some(row) = row_of(word) else { continue };
            *self.rows.entry(row.name).or_default() += count;
            for class in classes_in(row, word) {
                *self.classes.entry((row.name, class)).or_default() += count;
            }
            if let Some(field) = row.fields.iter().find(|f| f.kind == Kind::Csr) {
                self.csr(field.get(word) as u16, count);
            }
        }
    }

    /// Counts accesses to a CSR.
    pub fn csr(&mut self, number: u16, count: u64) {
        *self.csrs.entry(number).or_default() += count;
    }

    /// Counts a trap.
    pub fn trap(&mut self, whence: &'static str, cause: u64) {
        *self.traps.entry((whence, cause)).or_default() += 1;
    }

    /// The table, and what was never reached or too seldom: rows among `expected` fewer than `least`
    /// times, and their classes of operands never.
    pub fn report(&mut self, expected: &[&'static Row], least: u64, system: bool) -> (String, Vec<String>) {
        self.settle();
        let (mut text, mut lacking) = (String::new(), Vec::new());
        let _ = writeln!(text, "{:<16} {:>12}  operands seen", "row", "executed");
        for row in ROWS.iter().filter(|row| expected.iter().any(|e| e.name == row.name)) {
            let count = self.rows.get(row.name).copied().unwrap_or(0);
            if count < least.max(1) {
                lacking.push(format!("{}: executed {count} times, wanted {}", row.name, least.max(1)));
            }
            let classes = classes_of(row);
            let missing: Vec<&String> =
                classes.iter().filter(|c| !self.classes.contains_key(&(row.name, (*c).clone()))).collect();
            let seen = classes.len() - missing.len();
            let _ = writeln!(text, "{:<16} {count:>12}  {seen} of {}", row.name, classes.len());
            lacking.extend(missing.iter().map(|c| format!("{}: never with {c}", row.name)));
        }
        let _ = writeln!(text, "\n{:<16} {:>12}  traps", "from", "cause");
        for ((whence, cause), count) in &self.traps {
            let name =
                if cause >> 63 != 0 { format!("interrupt {}", cause << 1 >> 1) } else { cause.to_string() };
            let _ = writeln!(text, "{whence:<16} {name:>12}  {count}");
        }
        if system {
            self.report_csrs(&mut text, &mut lacking);
        }
        (text, lacking)
    }

    fn report_csrs(&self, text: &mut String, lacking: &mut Vec<String>) {
        let known: Vec<&csr_table::Row> = csr_table::TABLE.iter().collect();
        let touched = known.iter().filter(|row| self.csrs.contains_key(&row.number)).count();
        let other = self.csrs.keys().filter(|n| csr_table::find(**n).is_none()).count();
        let _ = writeln!(
            text,
            "\nCSRs accessed: {touched} of {}, and {other} numbers that are none",
            known.len()
        );
        for row in known.iter().filter(|row| !self.csrs.contains_key(&row.number)) {
            lacking.push(format!("CSR {} was never accessed", row.name));
        }
    }

    /// Traps that were never seen, of those that must be.
    pub fn missing_traps(&self, wanted: &[(&'static str, u64)]) -> Vec<String> {
        let missing = wanted.iter().filter(|key| !self.traps.contains_key(key));
        missing.map(|(whence, cause)| format!("no trap {cause:#x} from {whence}")).collect()
    }
}
