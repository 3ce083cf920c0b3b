//! Running other programs: cargo, this program again, and a fuzz target; their output is shown as it
//! comes and kept, to be read afterwards.

use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How a program ended.
pub struct Finished {
    /// Whether it ended with status 0.
    pub ok: bool,
    /// What it wrote, first all of its standard output, then all of its standard error; no colours.
    pub output: String,
    /// How long it took.
    pub time: Duration,
}

impl Finished {
    /// The last line that has anything in it.
    pub fn last_line(&self) -> &str {
        self.output.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default()
    }
}

/// The cargo that runs us.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::tree::root());
    // Piped output would lose its colours on a terminal.
    if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    // The outer cargo told us about our own package; the inner one must not hear of it.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// This program, with other arguments.
///
/// # Errors
/// If the system does not say where it is.
pub fn xtask(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("where is xtask?")?);
    command.args(arguments).current_dir(crate::tree::root());
    Ok(command)
}

/// Where cargo puts what it builds.
pub fn target_folder() -> PathBuf {
    let root = crate::tree::root();
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Whether `program` is in the search path.
pub fn present(program: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program.as_ref()).is_file())
}

/// Runs `command` to its end; what it writes is shown too if `show`.
///
/// # Errors
/// If it cannot be started.
pub fn run(command: &mut Command, show: bool) -> Result<Finished> {
    let start = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let errors = scope.spawn(|| copy(err, show.then(io::stderr)));
        let output = copy(out, show.then(io::stdout));
        (output, errors.join().unwrap_or_default())
    });
    let status = child.wait().with_context(|| format!("lost sight of `{name}`"))?;
    let output = without_colours(&format!("{stdout}{stderr}"));
    Ok(Finished { ok: status.success(), output, time: start.elapsed() })
}

fn copy(from: Option<impl Read>, mut to: Option<impl Write>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let part = &buffer[..n];
        kept.extend_from_slice(part);
        if let Some(to) = &mut to {
            // A reader that went away does not stop the work.
            let _ = to.write_all(part).and_then(|()| to.flush());
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// `text` without escape sequences of the form `ESC [ … letter` (ECMA-48 §5.4).
fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go() {
        assert_eq!(without_colours("\u{1b}[1;32mok\u{1b}[0m."), "ok.");
        assert_eq!(without_colours("\u{1b}"), "");
    }

    #[test]
    fn output_and_status_are_kept() {
        let done = run(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]), false).unwrap();
        assert_eq!((done.ok, done.output.as_str(), done.last_line()), (false, "one\ntwo\n", "two"));
        assert!(run(&mut Command::new("no-such-program"), false).is_err());
        assert!(present("sh") && !present("no-such-program"));
    }
}
