//! The speeds as bars, in an SVG file: how many times faster or slower than a reference.

use crate::contestant::{Contestant, What};
use crate::options::Form;
use crate::results::{Row, Unit};
use std::fmt::Write as _;

const LABELS: f64 = 170.0;
const BARS: f64 = 560.0;
const LINE: f64 = 20.0;
const COLOURS: [&str; 3] = ["#2a6f97", "#e07a1f", "#5a8f3c"];

/// One bar: what, whose, and the ratio.
struct Bar {
    label: String,
    series: usize,
    ratio: f64,
}

/// A chart of one form.
struct Chart {
    title: String,
    bars: Vec<Bar>,
}

/// Next to whom `who` is drawn: QEMU if it was measured, else the first other Hostel, else the host's processor.
fn reference<'a>(who: &Contestant, all: &'a [Contestant]) -> Option<&'a Contestant> {
    let rank = |other: &Contestant| match other.what {
        What::Qemu => 0,
        What::Hostel { .. } => 1,
        What::Native => 2,
        What::QemuUser => 3,
    };
    all.iter().filter(|other| who.compares_with(other)).min_by_key(|other| rank(other))
}

/// The file's text: a chart for each form. Only what takes time has a speed.
pub fn svg(rows: &[Row], contestants: &[Contestant]) -> String {
    let ours = contestants.iter().filter(|contestant| contestant.ours());
    let series: Vec<(&Contestant, &Contestant)> =
        ours.filter_map(|who| Some((who, reference(who, contestants)?))).collect();
    let mut references: Vec<&str> = series.iter().map(|(_, other)| &*other.name).collect();
    references.dedup();
    let mut charts = Vec::new();
    for form in [Form::Bare, Form::Sv39, Form::Linux, Form::Machine] {
        let timed = |row: &&Row| !matches!(row.unit, Unit::Times | Unit::Mebibytes);
        let mut bars = Vec::new();
        for row in rows.iter().filter(|row| row.form == form).filter(timed) {
            for (series, (who, other)) in series.iter().enumerate() {
                let ratio = row.ratio(&who.name, &other.name);
                bars.extend(ratio.map(|ratio| Bar { label: row.name.clone(), series, ratio }));
            }
        }
        if !bars.is_empty() {
            let title = format!("{}: times the speed of {}", form.about(), references.join(", "));
            charts.push(Chart { title, bars });
        }
    }
    let names: Vec<&str> = series.iter().map(|(who, _)| &*who.name).collect();
    draw(&charts, &names)
}

fn draw(charts: &[Chart], series: &[&str]) -> String {
    let ratios = || charts.iter().flat_map(|chart| &chart.bars).map(|bar| bar.ratio.log2());
    // Whole powers of two, with 1 among them.
    let low = ratios().fold(0.0, f64::min).floor();
    let high = ratios().fold(1.0, f64::max).ceil();
    let x = |log: f64| LABELS + (log - low) / (high - low) * BARS;
    let lines: usize = charts.iter().map(|chart| chart.bars.len() + 3).sum::<usize>() + 1;
    let (width, height) = (LABELS + BARS + 80.0, lines as f64 * LINE + 10.0);
    let mut svg = format!(
        "<svg xmlns=\"{SVG}\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = LINE;
    for (n, name) in series.iter().enumerate() {
        let at = LABELS + 150.0 * n as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{at}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
            y - 11.0,
            colour(n)
        );
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\">{}</text>", at + 18.0, escaped(name));
    }
    for chart in charts {
        y += LINE * 1.5;
        let _ =
            writeln!(svg, "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{}</text>", escaped(&chart.title));
        y += LINE;
        grid(&mut svg, (low, high), x, (y, y + chart.bars.len() as f64 * LINE));
        for bar in &chart.bars {
            y += LINE;
            let (from, to) = (x(0.0).min(x(bar.ratio.log2())), x(0.0).max(x(bar.ratio.log2())));
            let _ = writeln!(svg, "<text x=\"10\" y=\"{y}\">{}</text>", escaped(&bar.label));
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{}\"/>",
                y - 12.0,
                (to - from).max(1.0),
                colour(bar.series)
            );
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{y}\">{:.2}</text>", to + 4.0, bar.ratio);
        }
        y += LINE * 0.5;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The name of SVG's elements (W3C, "Scalable Vector Graphics 1.1", 5.1.1); it is a name and not an address to visit.
const SVG: &str = "http://www.w3.org/2000/svg";

fn colour(series: usize) -> &'static str {
    COLOURS.get(series % COLOURS.len()).copied().unwrap_or("black")
}

/// Vertical lines at powers of two, with their values above.
fn grid(svg: &mut String, (low, high): (f64, f64), x: impl Fn(f64) -> f64, (top, bottom): (f64, f64)) {
    let mut log = low;
    while log <= high {
        let (at, bold) = (x(log), if log == 0.0 { "#444" } else { "#ddd" });
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{top:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"{bold}\"/>",
            bottom + 4.0
        );
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\" font-size=\"10\">{}</text>",
            top - 2.0,
            log.exp2()
        );
        log += 1.0;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Group;

    fn contestants(with: &[(&str, What)]) -> Vec<Contestant> {
        let hostel = What::Hostel { program: "h".into(), engine: None, ours: true };
        let all = [("native", What::Native), ("hostel", hostel)];
        let all = all.iter().chain(with);
        all.map(|(name, what)| Contestant { name: (*name).into(), what: what.clone() }).collect()
    }

    fn svg(rows: &[Row]) -> String {
        super::svg(rows, &contestants(&[("qemu", What::Qemu)]))
    }

    #[test]
    fn the_reference_is_whom_it_was_measured_against() {
        let before = ("before", What::Hostel { program: "b".into(), engine: None, ours: false });
        let name = |with: &[(&str, What)]| {
            let all = contestants(with);
            reference(&all[1], &all).unwrap().name.clone()
        };
        assert_eq!(name(&[]), "native");
        assert_eq!(name(std::slice::from_ref(&before)), "before");
        assert_eq!(name(&[before, ("qemu", What::Qemu)]), "qemu");
    }

    #[test]
    fn memory_has_no_speed() {
        let mut memory = row("memory", 4.0, 8.0);
        memory.unit = Unit::Mebibytes;
        assert!(!svg(&[memory]).contains("height=\"14\""));
    }

    fn row(name: &str, hostel: f64, qemu: f64) -> Row {
        let mut row = Row::new(Form::Bare, name, Unit::Seconds, Group::Kernel);
        row.add("hostel", hostel);
        row.add("qemu", qemu);
        row
    }

    /// The elements in order, after a check that they are properly nested, with quoted attributes and no bare `&`.
    fn elements(svg: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        let mut rest = svg;
        while let Some((text, after)) = rest.split_once('<') {
            assert!(!text.contains('>'), "a stray > in {text:?}");
            for (at, _) in text.match_indices('&') {
                assert!(
                    ["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|e| text[at..].starts_with(e)),
                    "{text}"
                );
            }
            let (tag, after) = after.split_once('>').unwrap();
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
                continue;
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.split([' ', '/']).next().unwrap().to_owned();
            if !tag.ends_with('/') {
                open.push(name.clone());
            }
            all.push(name);
        }
        assert_eq!((open.len(), rest.trim()), (0, ""));
        all
    }

    #[test]
    fn it_is_well_formed_with_a_bar_for_each_row() {
        let svg = svg(&[row("fib", 1.0, 4.0), row("a<b&\"c\"", 3.0, 1.0)]);
        let elements = elements(&svg);
        assert_eq!(elements[0], "svg");
        // The background, the key, two bars.
        assert_eq!(elements.iter().filter(|name| *name == "rect").count(), 4);
        assert!(svg.contains(">4.00<") && svg.contains(">0.33<") && svg.contains("a&lt;b&amp;"), "{svg}");
    }

    #[test]
    fn bars_start_at_one_and_grow_with_the_logarithm() {
        let width = |svg: &str| -> Vec<f64> {
            let bars = svg.lines().filter(|line| line.contains("height=\"14\""));
            bars.map(|line| {
                line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
            })
            .collect()
        };
        let svg = svg(&[row("two", 1.0, 2.0), row("four", 1.0, 4.0), row("half", 2.0, 1.0)]);
        let widths = width(&svg);
        assert!(
            (widths[1] - 2.0 * widths[0]).abs() < 0.2 && (widths[2] - widths[0]).abs() < 0.2,
            "{widths:?}"
        );
    }

    #[test]
    fn without_anything_to_compare_it_is_still_a_picture() {
        elements(&svg(&[]));
    }
}
