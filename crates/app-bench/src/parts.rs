//! What a guest says of itself: `begin NAME` and `end NAME CHECKSUM UNITS NANOSECONDS`.

use crate::session::Session;
use anyhow::{Context, Result, bail};
use std::time::Duration;

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
        _ => Line::Other,
    }
}

/// Listens to a guest until it ends, and gives the parts that it did.
///
/// # Errors
/// If it does not end as it should, or ends a part that it has not begun.
pub fn of(mut session: Session) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut begun = None;
    while let Some(heard) = session.hears("\n")? {
        match parse(&heard.text) {
            Line::Begin(name) => begun = Some((name, heard.at)),
            Line::End { name, checksum, units, nanoseconds } => {
                let (from, at) = begun.take().with_context(|| format!("{name} ended before it began"))?;
                if from != name {
                    bail!("{name} ended where {from} had begun");
                }
                let (took, by_guest) = (heard.at - at, Duration::from_nanos(nanoseconds));
                parts.push(Part { name, took, by_guest, checksum, units });
            }
            Line::Other if heard.text.starts_with("unexpected trap") => bail!("{}", heard.text.trim()),
            Line::Other => {}
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

    fn said(script: &str) -> Result<Vec<Part>> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        of(Session::start(command, Duration::from_secs(5)).unwrap())
    }

    #[test]
    fn parts_are_timed_by_when_their_lines_come() {
        let parts =
            said("echo boot; echo begin a; sleep 0.05; echo end a f 2 7; echo begin b; echo end b 0 1 1");
        let parts = parts.unwrap();
        assert_eq!(parts.iter().map(|part| &*part.name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(parts[0].took >= Duration::from_millis(50) && parts[1].took < parts[0].took);
        assert_eq!((parts[0].checksum, parts[0].units, parts[0].by_guest.as_nanos()), (15, 2, 7));
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        let why = |script| said(script).unwrap_err().to_string();
        assert_eq!(why("echo end a 0 1 1"), "a ended before it began");
        assert_eq!(why("echo begin a; echo end b 0 1 1"), "b ended where a had begun");
        assert_eq!(why("echo begin a"), "a did not end");
        assert!(why("echo unexpected trap: cause 2 at 7").contains("cause 2"));
        assert!(why("exit 1").contains("exit status"));
    }
}
