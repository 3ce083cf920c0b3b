//! `hostel bench`: how fast guests run, next to other emulators and to the host's own processor.
//!
//! The programs are in `guests/bench` and come inside this crate as text; Debian's cross compiler builds them into the
//! cache. Everything is started as its own process from the command line that people type, and the host takes the
//! time, from the lines that a guest says at the beginning and the end of each part.
//!
//! This crate knows no machine, engine or device: to it, Hostel is a program with a command line, as QEMU is.
#![forbid(unsafe_code)]

mod catalog;
mod compile;
mod contestant;
mod json;
mod linux;
mod machine;
mod memory;
mod options;
mod parts;
mod plot;
mod programs;
mod results;
mod session;
mod sources;
mod stats;
mod table;

pub use options::{BenchOptions, Form};

use anyhow::Context;
use catalog::Choice;
use contestant::Contestant;
use results::Row;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// What a run gives back.
#[derive(Debug)]
pub struct Outcome {
    /// The tables, for standard output.
    pub text: String,
    /// Whether everybody computed the same.
    pub agreed: bool,
    /// What ended the measurement early; the tables have what was measured before.
    pub failure: Option<anyhow::Error>,
}

/// Everything that a measurement needs.
struct Bench {
    contestants: Vec<Contestant>,
    compiler: compile::Compiler,
    store: host_image::Store,
    rounds: usize,
    check: bool,
    fetch: host_image::Options,
    note: fn(&str),
}

impl Bench {
    /// Says what is measured now, to who sits before it.
    fn progress(&self, what: &str) {
        if std::io::stderr().is_terminal() {
            (self.note)(what);
        }
    }

    /// What was got. What could not be got is an error if it was asked for; else a note says what is left out.
    fn unless<T>(&self, asked: bool, got: anyhow::Result<T>, left_out: &str) -> anyhow::Result<Option<T>> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(why) if asked => Err(why),
            Err(why) => {
                (self.note)(&format!("{left_out}: {why:#}"));
                Ok(None)
            }
        }
    }

    fn measure(&self, choice: &Choice, rows: &mut Vec<Row>) -> anyhow::Result<()> {
        for form in [Form::Bare, Form::Sv39] {
            programs::bare_metal(self, form, choice, rows)?;
        }
        linux::measure(self, choice, rows)?;
        if choice.has(Form::Machine) && !self.check {
            machine::measure(self, choice, rows)?;
        }
        Ok(())
    }
}

/// A file that is written at the end, and made before anything is measured: that it cannot be is known at once.
struct Later<'a>(Option<(&'a Path, File)>);

impl Later<'_> {
    fn create(path: Option<&PathBuf>) -> anyhow::Result<Later<'_>> {
        let create = |path: &'_ PathBuf| File::create(path).with_context(|| cannot_write(path));
        Ok(Later(path.map(|path| Ok::<_, anyhow::Error>((path.as_path(), create(path)?))).transpose()?))
    }

    fn write(self, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let Some((path, mut file)) = self.0 else { return Ok(()) };
        file.write_all(text().as_bytes()).with_context(|| cannot_write(path))
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Measures what `options` ask for. `note` is told what is left out, one line each, and of progress if standard error is a
/// terminal. `hostel` is the program that is measured. If a guest does not end as it should, the outcome has that failure
/// and what was measured before it.
///
/// # Errors
/// If something that was asked for is not there before anything is measured, or a file cannot be written.
pub fn run(
    options: &BenchOptions,
    fetch: host_image::Options,
    hostel: PathBuf,
    note: fn(&str),
) -> anyhow::Result<Outcome> {
    if options.list {
        return Ok(Outcome { text: catalog::list(), agreed: true, failure: None });
    }
    let choice = Choice::of(options)?;
    let contestants = contestant::all(options, hostel, note)?;
    let store = host_image::Store::open(None)?;
    let compiler = compile::Compiler::find(&store.directory().join("bench"), note)?;
    let rounds = if options.check { 1 } else { options.rounds.into() };
    let bench = Bench { contestants, compiler, store, rounds, check: options.check, fetch, note };
    let (json, plot) = (Later::create(options.json.as_ref())?, Later::create(options.plot.as_ref())?);
    let mut rows: Vec<Row> = Vec::new();
    let failure = bench.measure(&choice, &mut rows).err();
    rows.retain(|row| !row.samples.is_empty());
    let why = failure.as_ref().map(|why| format!("{why:#}"));
    json.write(|| json::text(&rows, bench.rounds, why.as_deref()))?;
    plot.write(|| plot::svg(&rows, &bench.contestants))?;
    let text = match bench.check {
        _ if rows.is_empty() => String::new(),
        true => table::checked(&rows),
        false => table::text(&rows, &bench.contestants, bench.rounds),
    };
    Ok(Outcome { text, agreed: rows.iter().all(Row::agreed), failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("a"), folder.path().join("b/c"));
        let later = Later::create(Some(&good)).unwrap();
        assert!(good.exists());
        later.write(|| "text".into()).unwrap();
        assert_eq!(std::fs::read_to_string(&good).unwrap(), "text");
        let why = Later::create(Some(&bad)).err().unwrap().to_string();
        assert!(why.starts_with("cannot write ") && why.ends_with("b/c"), "{why}");
        Later::create(None).unwrap().write(|| unreachable!()).unwrap();
    }
}
