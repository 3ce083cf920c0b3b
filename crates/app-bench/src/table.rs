//! The tables on standard output.

use crate::contestant::{Contestant, What};
use crate::options::Form;
use crate::results::{Group, Row, Unit};
use crate::stats;
use std::fmt::Write as _;

/// A comparison that the table makes: `(who, other)`.
type Pair<'a> = (&'a Contestant, &'a Contestant);

/// All tables, with the contestants in their order.
pub fn text(rows: &[Row], contestants: &[Contestant], rounds: usize) -> String {
    let mut text = String::new();
    let _ =
        writeln!(text, "Medians of {rounds} interleaved {}.", if rounds == 1 { "round" } else { "rounds" });
    for form in [Form::Bare, Form::Sv39, Form::Linux, Form::Machine] {
        let of_form: Vec<&Row> = rows.iter().filter(|row| row.form == form).collect();
        if !of_form.is_empty() {
            let _ = writeln!(text, "\n{}", form.about());
            table(&mut text, &of_form, contestants);
        }
    }
    text + &disagreements(rows)
}

/// What `--check` says: what was computed, and by how many.
pub fn checked(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let sum = row.samples.iter().find_map(|samples| samples.checksums.first());
        let (Some(sum), true) = (sum, row.agreed()) else { continue };
        let who: Vec<&str> = row.samples.iter().map(|samples| samples.who.as_str()).collect();
        let _ = writeln!(text, "{:8} {:14} {sum:016x} on {}", row.form, row.name, who.join(", "));
    }
    text + &disagreements(rows)
}

fn disagreements(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.agreed()) {
        let _ = writeln!(text, "\nNOT THE SAME: {} {}", row.form, row.name);
        for samples in &row.samples {
            let sums: Vec<String> = samples.checksums.iter().map(|sum| format!("{sum:016x}")).collect();
            let _ = writeln!(text, "  {:12} {}", samples.who, sums.join(" "));
        }
    }
    text
}

fn table(text: &mut String, rows: &[&Row], contestants: &[Contestant]) {
    let there = |contestant: &&Contestant| rows.iter().any(|row| row.of(&contestant.name).is_some());
    let there: Vec<&Contestant> = contestants.iter().filter(there).collect();
    let pairs = pairs(&there);
    let _ = write!(text, "{:14}{:6}", "", "");
    for contestant in &there {
        let _ = write!(text, "{:>17}", contestant.name);
    }
    let headings: Vec<String> = pairs.iter().map(|pair| heading(*pair, &there)).collect();
    let width = 2 + headings.iter().map(|heading| heading.chars().count()).max().unwrap_or(0).max(14);
    for heading in &headings {
        let _ = write!(text, "{heading:>width$}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:14}{:>5} ", row.name, row.unit.symbol());
        for contestant in &there {
            let _ = write!(text, "{:>17}", cell(row, &contestant.name));
        }
        for pair in &pairs {
            let ratio = ratio(row, *pair).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = write!(text, "{ratio:>width$}");
        }
        text.push('\n');
    }
    for (title, wanted) in MEANS {
        let of_group: Vec<&&Row> = rows.iter().filter(|row| wanted.contains(&row.group)).collect();
        if of_group.len() > 1 && !pairs.is_empty() {
            let _ = write!(
                text,
                "{:indent$}",
                format!("geomean of {} {title}", of_group.len()),
                indent = 20 + 17 * there.len()
            );
            for pair in &pairs {
                let ratios: Vec<f64> = of_group.iter().filter_map(|row| ratio(row, *pair)).collect();
                let mean = stats::geomean(&ratios).filter(|_| ratios.len() == of_group.len());
                let mean = mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}"));
                let _ = write!(text, "{mean:>width$}");
            }
            text.push('\n');
        }
    }
}

/// The geometric means, and what counts towards each.
const MEANS: [(&str, &[Group]); 3] = [
    ("kernels", &[Group::Kernel, Group::Float]),
    ("of them in floating point", &[Group::Float]),
    ("Python parts", &[Group::Python]),
];

/// What is compared: each measured Hostel with everybody else, and with another Hostel on the same engine.
fn pairs<'a>(there: &[&'a Contestant]) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for &who in there.iter().filter(|contestant| contestant.ours()) {
        pairs.extend(there.iter().rev().filter(|other| who.compares_with(other)).map(|&other| (who, other)));
    }
    pairs
}

fn heading((who, other): Pair<'_>, there: &[&Contestant]) -> String {
    let many = there.iter().filter(|contestant| contestant.ours()).count() > 1;
    let who = if many { who.name.trim_start_matches("hostel-") } else { "" };
    let between = if other.what == What::Native { "times" } else { "vs" };
    format!("{who} {between} {}", other.name).trim_start().to_owned()
}

/// How many times faster `who` is than `other`; against the host's own processor, how many times slower.
fn ratio(row: &Row, (who, other): Pair<'_>) -> Option<f64> {
    let ratio = row.ratio(&who.name, &other.name)?;
    Some(if other.what == What::Native { 1.0 / ratio } else { ratio })
}

fn cell(row: &Row, name: &str) -> String {
    let Some(samples) = row.of(name) else { return "-".to_owned() };
    let Some(median) = stats::median(&samples.values) else { return "-".to_owned() };
    // An operation that costs nothing next to the noise; the samples are in the JSON file.
    let median = median.max(0.0);
    let digits = match row.unit {
        Unit::Seconds => 3,
        Unit::Nanoseconds | Unit::Times => 2,
        Unit::Milliseconds | Unit::Mebibytes => 1,
    };
    match stats::spread(&samples.values) {
        Some(spread) if samples.values.len() > 1 => {
            format!("{median:.digits$} ±{:>2.0}%", spread * 100.0)
        }
        _ => format!("{median:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, unit: Unit, group: Group, samples: &[(&str, &[f64])]) -> Row {
        let mut row = Row::new(Form::Bare, name, unit, group);
        for (who, values) in samples {
            values.iter().for_each(|&value| {
                row.add(who, value).checksums.push(5);
            });
        }
        row
    }

    /// Contestants of these names; the engine of a Hostel is behind the dash.
    fn contestants(names: &[&str]) -> Vec<Contestant> {
        let what = |name: &str| match name {
            "native" => What::Native,
            "qemu" => What::Qemu,
            _ => What::Hostel {
                program: name.into(),
                engine: name.split_once('-').map(|(_, engine)| engine.to_owned()),
                ours: name.starts_with("hostel"),
            },
        };
        names.iter().map(|&name| Contestant { name: name.to_owned(), what: what(name) }).collect()
    }

    #[test]
    fn a_table_has_medians_spreads_ratios_and_means() {
        let rows = [
            row(
                "fib",
                Unit::Seconds,
                Group::Kernel,
                &[("native", &[0.1]), ("hostel", &[1.0, 1.1, 0.9]), ("qemu", &[4.0])],
            ),
            row(
                "mandel",
                Unit::Seconds,
                Group::Float,
                &[("native", &[0.1]), ("hostel", &[2.0]), ("qemu", &[2.0])],
            ),
            row("call", Unit::Nanoseconds, Group::Alone, &[("hostel", &[-0.3]), ("qemu", &[20.0])]),
        ];
        let text = text(&rows, &contestants(&["native", "hostel", "qemu"]), 3);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[3], ["native", "hostel", "qemu", "vs", "qemu", "times", "native"]);
        assert_eq!(lines[4], ["fib", "s", "0.100", "1.000", "±10%", "4.000", "4.00", "10.00"]);
        assert_eq!(lines[6], ["call", "ns", "-", "0.00", "20.00", "-", "-"]);
        assert_eq!(lines[7], ["geomean", "of", "2", "kernels", "2.00", "14.14"]);
        assert_eq!(lines.len(), 8, "a mean of one is none: {text}");
    }

    #[test]
    fn columns_stand_below_their_headings() {
        let rows =
            [row("fib", Unit::Seconds, Group::Kernel, &[("hostel", &[1.0, 1.5]), ("qemu", &[4.0, 4.0])])];
        let text = text(&rows, &contestants(&["hostel", "qemu"]), 2);
        let widths: Vec<usize> = text.lines().skip(3).map(|line| line.chars().count()).collect();
        assert_eq!(widths, [70, 70]);
        let rows =
            [row("fib", Unit::Seconds, Group::Kernel, &[("hostel-a-long-one", &[1.0]), ("native", &[4.0])])];
        let text = super::text(&rows, &contestants(&["native", "hostel-a-long-one", "hostel-b"]), 1);
        let widths: Vec<usize> = text.lines().skip(3).map(|line| line.chars().count()).collect();
        assert_eq!(widths[0], widths[1], "{text}");
    }

    #[test]
    fn two_engines_are_told_apart_and_others_are_compared_with_both() {
        let headings = |names: &[&str]| {
            let all = contestants(names);
            let there: Vec<&Contestant> = all.iter().collect();
            pairs(&there).into_iter().map(|pair| heading(pair, &there)).collect::<Vec<_>>()
        };
        assert_eq!(
            headings(&["native", "hostel-a", "hostel-b", "qemu", "before-b"]),
            ["a vs qemu", "a times native", "b vs before-b", "b vs qemu", "b times native"]
        );
        assert_eq!(headings(&["hostel", "before"]), ["vs before"]);
    }

    #[test]
    fn what_was_not_the_same_is_said() {
        let mut odd = row("fib", Unit::Seconds, Group::Kernel, &[("hostel", &[1.0]), ("qemu", &[4.0])]);
        odd.samples[1].checksums[0] = 6;
        let text = super::text(std::slice::from_ref(&odd), &contestants(&["hostel", "qemu"]), 1);
        assert!(text.contains("NOT THE SAME: bare fib") && text.contains("0000000000000006"), "{text}");
        let fine = row("core", Unit::Seconds, Group::Kernel, &[("hostel", &[1.0]), ("qemu", &[4.0])]);
        let text = checked(&[fine, odd]);
        let line = "bare     core           0000000000000005 on hostel, qemu\n";
        assert!(text.starts_with(line) && text.contains("NOT THE SAME: bare fib"), "{text}");
    }
}
