//! What a guest says of itself: `begin NAME` and `end NAME CHECKSUM UNITS NANOSECONDS`.

use crate::session::Session;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// A part that a guest has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// By the host's clock, from the line at the beginning to that at the end.
    pub took: Duration,
    /// By the guest's own clock.
    pub by_guest: Duration,
    /// Of what was computed.
    pub checksum: u64,
    /// Operations, or rounds of a kernel.
    pub units: u64,
}

/// A line of a guest's.
#[derive(Debug, PartialEq)]
enum Line {
    Begin(String),
    End {
        name: String,
        checksum: u64,
        units: u64,
        nanoseconds: u64,
    },
    /// What process 1 says of a program that ended otherwise than with status 0, by itself or by a signal.
    Failed {
        name: String,
        status: String,
    },
    /// Of a kernel, say.
    Other,
}

fn parse(line: &str) -> Line {
    let words: Vec<&str> = line.split_whitespace().collect();
    let end = |name: &str, checksum, units: &str, nanoseconds: &str| {
        Some(Line::End {
            name: name.to_owned(),
            checksum: u64::from_str_radix(checksum, 16).ok()?,
            units: units.parse().ok()?,
            nanoseconds: nanoseconds.parse().ok()?,
        })
    };
    match *words {
        ["begin", name] => Line::Begin(name.to_owned()),
        ["end", name, checksum, units, nanoseconds] => {
            end(name, checksum, units, nanoseconds).unwrap_or(Line::Other)
        }
        ["failed", name, status] => Line::Failed { name: name.to_owned(), status: status.to_owned() },
        _ => Line::Other,
    }
}

/// Listens to a guest until it ends, and gives the parts that it did.
///
/// # Errors
/// If it does not end as it should, a part does not, or the parts are not those that are `wanted`.
pub fn of(session: Session, wanted: &[String]) -> Result<Vec<Part>> {
    let mut other = String::new();
    let parts = heard(session, &mut other).and_then(|parts| {
        let done = || parts.iter().map(|part| &part.name);
        match wanted.iter().find(|name| !done().any(|done| done == *name)) {
            Some(name) => bail!("{name} was not done"),
            None if !done().eq(wanted) => {
                bail!("done was {:?}, and not {wanted:?}", done().collect::<Vec<_>>())
            }
            None => Ok(parts),
        }
    });
    match other.trim() {
        "" => parts,
        other => parts.with_context(|| format!("the guest says {other:?}")),
    }
}

/// The parts. `other` becomes the last line that is of none: who fails says why there.
fn heard(mut session: Session, other: &mut String) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut begun: Option<(String, Instant)> = None;
    while let Some(heard) = session.hears("\n")? {
        match parse(&heard.text) {
            Line::Begin(name) => {
                if let Some((from, _)) = begun {
                    bail!("{name} began where {from} had not ended");
                }
                begun = Some((name, heard.at));
            }
            Line::End { name, checksum, units, nanoseconds } => {
                let (from, at) = begun.take().with_context(|| format!("{name} ended before it began"))?;
                if from != name {
                    bail!("{name} ended where {from} had begun");
                }
                let (took, by_guest) = (heard.at - at, Duration::from_nanos(nanoseconds));
                parts.push(Part { name, took, by_guest, checksum, units });
            }
            Line::Failed { name, status } => bail!("{name} ended with status {status}"),
            Line::Other if heard.text.starts_with("unexpected trap") => bail!("{}", heard.text.trim()),
            Line::Other => *other = heard.text,
        }
    }
    session.ends()?;
    if let Some((name, _)) = begun {
        bail!("{name} did not end");
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn lines() {
        assert_eq!(parse("begin fib\r"), Line::Begin("fib".into()));
        let end = Line::End { name: "fib".into(), checksum: 0xab, units: 3, nanoseconds: 17 };
        assert_eq!(parse("end fib 00000000000000ab 3 17"), end);
        for other in ["", "begin", "begin a b", "end fib xyz 3 17", "end fib ab 3", "[    0.1] begin fib x"] {
            assert_eq!(parse(other), Line::Other, "{other}");
        }
    }

    fn said(script: &str, wanted: &[&str]) -> Result<Vec<Part>> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        of(Session::start(&command, Duration::from_secs(5)).unwrap(), &wanted)
    }

    #[test]
    fn parts_are_timed_by_when_their_lines_come() {
        let parts = said(
            "echo boot; echo begin a; sleep 0.05; echo end a f 2 7; echo begin b; echo end b 0 1 1",
            &["a", "b"],
        );
        let parts = parts.unwrap();
        assert_eq!(parts.iter().map(|part| &*part.name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(parts[0].took >= Duration::from_millis(50) && parts[1].took < parts[0].took);
        assert_eq!((parts[0].checksum, parts[0].units, parts[0].by_guest.as_nanos()), (15, 2, 7));
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        let why = |script: &str| said(script, &["a"]).unwrap_err().to_string();
        assert_eq!(why("echo end a 0 1 1"), "a ended before it began");
        assert_eq!(why("echo begin a; echo end b 0 1 1"), "b ended where a had begun");
        assert_eq!(why("echo begin a"), "a did not end");
        assert_eq!(why("echo begin a; echo begin a; echo end a 0 1 1"), "a began where a had not ended");
        assert_eq!(why("echo begin b; echo end b 0 1 1"), "a was not done");
        let twice = "echo begin a; echo end a 0 1 1;";
        assert_eq!(why(&format!("{twice}{twice}")), r#"done was ["a", "a"], and not ["a"]"#);
        assert_eq!(why("echo Segmentation fault"), r#"the guest says "Segmentation fault""#);
        assert_eq!(
            why("echo begin a; echo end a 0 1 1; echo failed a 139; sleep 9"),
            "a ended with status 139"
        );
        assert!(why("echo unexpected trap: cause 2 at 7").contains("cause 2"));
        assert!(why("exit 1").contains("exit status"));
    }
}
