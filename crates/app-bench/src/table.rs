//! The tables on standard output.

use crate::contestant;
use crate::options::Form;
use crate::results::{Group, Row, Unit};
use crate::stats;
use std::fmt::Write as _;

/// A comparison that the table makes: `(who, other)`.
type Pair<'a> = (&'a str, &'a str);

/// All tables. `names` are the contestants in their order.
pub fn text(rows: &[Row], names: &[String], rounds: usize) -> String {
    let mut text = String::new();
    let _ =
        writeln!(text, "Medians of {rounds} interleaved {}.", if rounds == 1 { "round" } else { "rounds" });
    for form in [Form::Bare, Form::Sv39, Form::Linux, Form::Machine] {
        let of_form: Vec<&Row> = rows.iter().filter(|row| row.form == form).collect();
        if !of_form.is_empty() {
            let _ = writeln!(text, "\n{}", form.about());
            table(&mut text, &of_form, names);
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
        let _ = writeln!(text, "{:8} {:14} {sum:016x} on {}", row.form.name(), row.name, who.join(", "));
    }
    text + &disagreements(rows)
}

fn disagreements(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.agreed()) {
        let _ = writeln!(text, "\nNOT THE SAME: {} {}", row.form.name(), row.name);
        for samples in &row.samples {
            let sums: Vec<String> = samples.checksums.iter().map(|sum| format!("{sum:016x}")).collect();
            let _ = writeln!(text, "  {:12} {}", samples.who, sums.join(" "));
        }
    }
    text
}

fn table(text: &mut String, rows: &[&Row], names: &[String]) {
    let there = |name: &&String| rows.iter().any(|row| row.of(name).is_some());
    let names: Vec<&str> = names.iter().filter(there).map(String::as_str).collect();
    let pairs = pairs(&names);
    let _ = write!(text, "{:14}{:6}", "", "");
    for name in &names {
        let _ = write!(text, "{name:>17}");
    }
    for (who, other) in &pairs {
        let _ = write!(text, "{:>16}", heading(who, other, &names));
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:14}{:>5} ", row.name, row.unit.symbol());
        for name in &names {
            let _ = write!(text, "{:>17}", cell(row, name));
        }
        for pair in &pairs {
            let ratio = ratio(row, *pair).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = write!(text, "{ratio:>16}");
        }
        text.push('\n');
    }
    for (title, wanted) in MEANS {
        let of_group: Vec<&&Row> = rows.iter().filter(|row| wanted.contains(&row.group)).collect();
        if of_group.len() > 1 && !pairs.is_empty() {
            let _ = write!(
                text,
                "{:width$}",
                format!("geomean of {} {title}", of_group.len()),
                width = 20 + 17 * names.len()
            );
            for pair in &pairs {
                let ratios: Vec<f64> = of_group.iter().filter_map(|row| ratio(row, *pair)).collect();
                let mean = stats::geomean(&ratios).filter(|_| ratios.len() == of_group.len());
                let _ =
                    write!(text, "{:>16}", mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}")));
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

/// What is compared: each measured Hostel with everybody else that is no such.
fn pairs<'a>(names: &[&'a str]) -> Vec<Pair<'a>> {
    let ours = |name: &str| contestant::is_ours(name);
    let mut pairs = Vec::new();
    for &who in names.iter().filter(|name| ours(name)) {
        for &other in names.iter().rev().filter(|name| !ours(name)) {
            pairs.push((who, other));
        }
    }
    pairs
}

fn heading(who: &str, other: &str, names: &[&str]) -> String {
    let many = names.iter().filter(|name| contestant::is_ours(name)).count() > 1;
    let who = if many { who.trim_start_matches("hostel-") } else { "" };
    let between = if other == "native" { "times" } else { "vs" };
    format!("{who} {between} {other}").trim_start().to_owned()
}

/// How many times faster `who` is than `other`; against the host's own processor, how many times slower.
fn ratio(row: &Row, (who, other): Pair<'_>) -> Option<f64> {
    let ratio = row.ratio(who, other)?;
    Some(if other == "native" { 1.0 / ratio } else { ratio })
}

fn cell(row: &Row, name: &str) -> String {
    let Some(samples) = row.of(name) else { return "-".to_owned() };
    let Some(median) = stats::median(&samples.values) else { return "-".to_owned() };
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

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
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
            row("call", Unit::Nanoseconds, Group::Alone, &[("hostel", &[0.0]), ("qemu", &[20.0])]),
        ];
        let text = text(&rows, &names(&["native", "hostel", "qemu"]), 3);
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
        let text = text(&rows, &names(&["hostel", "qemu"]), 2);
        let widths: Vec<usize> = text.lines().skip(3).map(|line| line.chars().count()).collect();
        assert_eq!(widths, [70, 70]);
    }

    #[test]
    fn two_engines_are_told_apart_and_others_are_compared_with_both() {
        let pairs = pairs(&["native", "hostel-a", "hostel-b", "qemu"]);
        let expected =
            [("hostel-a", "qemu"), ("hostel-a", "native"), ("hostel-b", "qemu"), ("hostel-b", "native")];
        assert_eq!(pairs, expected);
        assert_eq!(heading("hostel-a", "qemu", &["hostel-a", "hostel-b", "qemu"]), "a vs qemu");
        assert_eq!(heading("hostel", "before", &["hostel", "before"]), "vs before");
    }

    #[test]
    fn what_was_not_the_same_is_said() {
        let mut odd = row("fib", Unit::Seconds, Group::Kernel, &[("hostel", &[1.0]), ("qemu", &[4.0])]);
        odd.samples[1].checksums[0] = 6;
        let text = super::text(std::slice::from_ref(&odd), &names(&["hostel", "qemu"]), 1);
        assert!(text.contains("NOT THE SAME: bare fib") && text.contains("0000000000000006"), "{text}");
        let fine = row("core", Unit::Seconds, Group::Kernel, &[("hostel", &[1.0]), ("qemu", &[4.0])]);
        let text = checked(&[fine, odd]);
        let line = "bare     core           0000000000000005 on hostel, qemu\n";
        assert!(text.starts_with(line) && text.contains("NOT THE SAME: bare fib"), "{text}");
    }
}
