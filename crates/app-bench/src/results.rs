//! What was measured: rows of samples, one a round for each contestant.

use crate::catalog::{Kind, PROGRAMS};
use crate::options::Form;
use crate::parts::Part;
use crate::stats;
use anyhow::Result;

/// What a sample is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds of a whole kernel.
    Seconds,
    /// Nanoseconds of one operation.
    Nanoseconds,
    /// Milliseconds.
    Milliseconds,
    /// Mebibytes.
    Mebibytes,
    /// How many times the throughput of one: more is better.
    Times,
}

impl Unit {
    /// As written behind a number.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Nanoseconds => "ns",
            Unit::Milliseconds => "ms",
            Unit::Mebibytes => "MiB",
            Unit::Times => "times",
        }
    }
}

/// What a row counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The geometric mean of the kernels.
    Kernel,
    /// That, and the one of floating point.
    Float,
    /// The geometric mean of the Python parts.
    Python,
    /// Nothing.
    Alone,
}

/// What one contestant did.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The contestant's name.
    pub who: String,
    /// One for each round.
    pub values: Vec<f64>,
    /// Of what was computed, in each round.
    pub checksums: Vec<u64>,
    /// Seconds by the guest's own clock.
    pub by_guest: Vec<f64>,
    /// Of an operation, nanoseconds for each in the loop without it.
    pub empty: Vec<f64>,
}

/// One thing that was measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where.
    pub form: Form,
    /// What.
    pub name: String,
    /// In what unit.
    pub unit: Unit,
    /// What it counts towards.
    pub group: Group,
    /// Of each contestant that took part.
    pub samples: Vec<Samples>,
}

impl Row {
    /// An empty row.
    pub fn new(form: Form, name: &str, unit: Unit, group: Group) -> Row {
        Row { form, name: name.to_owned(), unit, group, samples: Vec::new() }
    }

    /// Adds a sample.
    pub fn add(&mut self, who: &str, value: f64) -> &mut Samples {
        let at = self.samples.iter().position(|samples| samples.who == who).unwrap_or_else(|| {
            let who = who.to_owned();
            let (values, checksums, by_guest, empty) = Default::default();
            self.samples.push(Samples { who, values, checksums, by_guest, empty });
            self.samples.len() - 1
        });
        let samples = &mut self.samples[at];
        samples.values.push(value);
        samples
    }

    /// Those of one contestant.
    pub fn of(&self, who: &str) -> Option<&Samples> {
        self.samples.iter().find(|samples| samples.who == who)
    }

    /// The median of one contestant.
    pub fn median(&self, who: &str) -> Option<f64> {
        stats::median(&self.of(who)?.values)
    }

    /// How many times as long `other` takes as `who`. `None` if that would be a ratio of noise: an operation is a difference
    /// of two times, and may be smaller than what they vary by.
    pub fn ratio(&self, who: &str, other: &str) -> Option<f64> {
        let clear = |who| {
            let noise = stats::spread(&self.of(who)?.values)?;
            self.median(who).filter(|median| *median > 0.0 && (self.unit != Unit::Nanoseconds || noise < 0.5))
        };
        let (ours, theirs) = (clear(who)?, clear(other)?);
        (self.unit != Unit::Times).then_some(theirs / ours)
    }

    /// Whether all have computed the same, in all rounds.
    pub fn agreed(&self) -> bool {
        let mut all = self.samples.iter().flat_map(|samples| &samples.checksums);
        let first = all.next();
        all.all(|checksum| Some(checksum) == first)
    }
}

/// Turns the parts that guests did into rows.
pub struct Collector {
    form: Form,
    rows: Vec<Row>,
}

impl Collector {
    /// For programs of this form.
    pub fn new(form: Form) -> Collector {
        Collector { form, rows: Vec::new() }
    }

    /// Has `measure` fill a collector, and moves its rows to `rows` whether or not it succeeds.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn fill(
        form: Form,
        rows: &mut Vec<Row>,
        measure: impl FnOnce(&mut Collector) -> Result<()>,
    ) -> Result<()> {
        let mut collector = Collector::new(form);
        let result = measure(&mut collector);
        rows.extend(collector.rows());
        result
    }

    /// Adds what one contestant did in one round. The parts of an operation are two, the first without it.
    pub fn add(&mut self, who: &str, parts: &[Part]) {
        let per_unit = |part: &Part| part.took.as_secs_f64() / part.units.max(1) as f64 * 1e9;
        let seconds = |name: &str| parts.iter().find(|part| part.name == name).map(|p| p.took.as_secs_f64());
        for part in parts.iter().filter(|part| !part.name.ends_with(".empty")) {
            let empty = parts.iter().find(|other| other.name.strip_suffix(".empty") == Some(&part.name));
            let (value, unit) = match empty {
                // Noise makes this negative at times; a median without those would be too great.
                Some(empty) => (per_unit(part) - per_unit(empty), Unit::Nanoseconds),
                None => (part.took.as_secs_f64(), Unit::Seconds),
            };
            let samples = self.row(&part.name, unit).add(who, value);
            samples.checksums.push(part.checksum);
            samples.by_guest.push(part.by_guest.as_secs_f64());
            samples.empty.extend(empty.map(per_unit));
        }
        if let (Some(one), Some(two)) = (seconds("smp.1"), seconds("smp.2"))
            && one > 0.0
            && two > 0.0
        {
            self.row("smp scaling", Unit::Times).add(who, 2.0 * one / two);
        }
    }

    fn row(&mut self, name: &str, unit: Unit) -> &mut Row {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row::new(self.form, name, unit, group(name)));
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    /// The rows, in the order in which they first came.
    pub fn rows(self) -> Vec<Row> {
        self.rows
    }
}

fn group(name: &str) -> Group {
    match PROGRAMS.iter().find(|program| program.name == name).map(|program| program.kind) {
        Some(Kind::Kernel) => Group::Kernel,
        Some(Kind::Float) => Group::Float,
        Some(Kind::Python) => Group::Python,
        _ => Group::Alone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn part(name: &str, milliseconds: u64, units: u64) -> Part {
        let took = Duration::from_millis(milliseconds);
        Part { name: name.into(), took, by_guest: took, checksum: 1, units }
    }

    #[test]
    fn an_operation_is_its_loop_less_the_empty_one() {
        let mut collector = Collector::new(Form::Bare);
        collector.add("h", &[part("call.empty", 100, 1_000_000), part("call", 400, 1_000_000)]);
        collector.add("q", &[part("call.empty", 500, 1_000_000), part("call", 400, 1_000_000)]);
        let rows = collector.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].unit, rows[0].group), (Unit::Nanoseconds, Group::Alone));
        assert!((rows[0].median("h").unwrap() - 300.0).abs() < 1e-6);
        assert!((rows[0].median("q").unwrap() + 100.0).abs() < 1e-6, "noise is kept");
        assert_eq!(rows[0].of("q").unwrap().empty, [500.0]);
        assert_eq!(rows[0].ratio("h", "q"), None, "and no ratio");
        let mut row = Row::new(Form::Bare, "call", Unit::Nanoseconds, Group::Alone);
        for (ours, theirs, steady) in [(0.1, 4.0, 1.0), (0.4, 4.0, 1.1), (0.0, 4.0, 0.9)] {
            row.add("h", ours);
            row.add("q", theirs);
            row.add("s", steady);
        }
        assert_eq!(row.ratio("h", "q"), None, "as much noise as there is to measure");
        assert_eq!(row.ratio("s", "q"), Some(4.0));
    }

    #[test]
    fn kernels_are_seconds_and_ratios_say_how_much_longer_the_other_takes() {
        let mut collector = Collector::new(Form::Sv39);
        for (who, times) in [("h", [100, 120, 110]), ("q", [400, 330, 300])] {
            for time in times {
                collector.add(who, &[part("mandel", time, 1)]);
            }
        }
        let rows = collector.rows();
        assert_eq!((rows[0].unit, rows[0].group), (Unit::Seconds, Group::Float));
        assert!((rows[0].ratio("h", "q").unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(rows[0].ratio("h", "nobody"), None);
    }

    #[test]
    fn what_was_measured_before_a_failure_is_kept() {
        let mut rows = vec![Row::new(Form::Bare, "fib", Unit::Seconds, Group::Kernel)];
        let result = Collector::fill(Form::Bare, &mut rows, |collector| {
            collector.add("h", &[part("core", 10, 1)]);
            Err(anyhow::anyhow!("later"))
        });
        assert_eq!((rows.len(), &*rows[1].name), (2, "core"));
        assert_eq!(result.unwrap_err().to_string(), "later");
    }

    #[test]
    fn two_harts_are_compared_with_one() {
        let mut collector = Collector::new(Form::Bare);
        collector.add("h", &[part("smp.1", 100, 1), part("smp.2", 125, 2)]);
        let rows = collector.rows();
        assert_eq!((&*rows[2].name, rows[2].unit), ("smp scaling", Unit::Times));
        assert!((rows[2].median("h").unwrap() - 1.6).abs() < 1e-9);
        assert_eq!(rows[2].ratio("h", "h"), None);
    }

    #[test]
    fn one_who_computes_something_else_is_noticed() {
        let mut row = Row::new(Form::Bare, "fib", Unit::Seconds, Group::Kernel);
        assert!(row.agreed());
        row.add("h", 1.0).checksums.push(7);
        row.add("q", 1.0).checksums.push(7);
        assert!(row.agreed());
        row.add("q", 1.0).checksums.push(8);
        assert!(!row.agreed());
    }
}
