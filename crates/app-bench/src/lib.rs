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
use std::io::IsTerminal;
use std::path::PathBuf;

/// What a run gives back.
#[derive(Debug)]
pub struct Outcome {
    /// The tables, for standard output.
    pub text: String,
    /// Whether everybody computed the same.
    pub agreed: bool,
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
}

/// Measures what `options` ask for. `note` is told what is left out, one line each, and of progress if standard error is a
/// terminal. `hostel` is the
/// program that is measured.
///
/// # Errors
/// If something that was asked for is not there, a guest does not end as it should, or a file cannot be written.
pub fn run(
    options: &BenchOptions,
    fetch: host_image::Options,
    hostel: PathBuf,
    note: fn(&str),
) -> anyhow::Result<Outcome> {
    if options.list {
        return Ok(Outcome { text: catalog::list(), agreed: true });
    }
    let choice = Choice::of(options)?;
    let contestants = contestant::all(options, hostel, note)?;
    let store = host_image::Store::open(None)?;
    let compiler = compile::Compiler::find(&store.directory().join("bench"), note)?;
    let rounds = if options.check { 1 } else { options.rounds.into() };
    let bench = Bench { contestants, compiler, store, rounds, check: options.check, fetch, note };
    let mut rows: Vec<Row> = Vec::new();
    for form in [Form::Bare, Form::Sv39] {
        rows.extend(programs::bare_metal(&bench, form, &choice)?);
    }
    rows.extend(linux::measure(&bench, &choice)?);
    if choice.has(Form::Machine) && !options.check {
        rows.extend(machine::measure(&bench)?);
    }
    let names: Vec<String> = bench.contestants.iter().map(|c| c.name.clone()).collect();
    if let Some(path) = &options.json {
        let text = json::text(&rows, bench.rounds);
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.plot {
        let text = plot::svg(&rows);
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = if bench.check { table::checked(&rows) } else { table::text(&rows, &names, bench.rounds) };
    Ok(Outcome { text, agreed: rows.iter().all(Row::agreed) })
}
