//! What is said to the user: answers on standard output, errors as one line on standard error.

use crate::command::Command;
use crate::status;
use anyhow::{Context, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use host_char::terminal;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// Writes an answer. A reader who has gone away (`hostel … | head`) is no error.
///
/// # Errors
/// If standard output takes nothing, say because the disk is full.
pub fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Says something in passing, on standard error.
pub fn note(text: &str) {
    let raw = terminal::is_raw() && io::stderr().is_terminal();
    let end = if raw { "\r\n" } else { "\n" };
    // In one piece: others may write to the same terminal or pipe.
    let _ = io::stderr().lock().write_all(format!("hostel: {}{end}", one_line(text)).as_bytes());
}

/// Says something that takes several lines, on standard error.
pub fn report(text: &str) {
    let raw = terminal::is_raw() && io::stderr().is_terminal();
    let end = if raw { "\r\n" } else { "\n" };
    let shown = |line: &str| line.replace(char::is_control, "?");
    let lines = text.lines().map(shown).collect::<Vec<_>>();
    let _ = io::stderr().lock().write_all(format!("hostel: {}{end}", lines.join(end)).as_bytes());
}

/// Says what went wrong.
pub fn error(error: &anyhow::Error) {
    note(&chain(error));
}

/// An error and its causes. Many errors quote their cause already, which is then not said again.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            let _ = write!(line, ": {cause}");
        }
    }
    line
}

/// Prints the help of the verb that these words lead to.
///
/// # Errors
/// If there is no such verb, and as [`answer`].
pub fn help(verb: &[&str]) -> anyhow::Result<u8> {
    let mut root = Command::command();
    root.build();
    let found = verb.iter().try_fold(&mut root, |command, word| command.find_subcommand_mut(word));
    let Some(help) = found.map(clap::Command::render_help) else {
        bail!("there is no verb {:?}; see `hostel --help`", verb.join(" "));
    };
    answer(&if io::stdout().is_terminal() { help.ansi().to_string() } else { help.to_string() })?;
    Ok(status::SUCCESS)
}

/// What to do about a command line that could not be parsed: show the help that it asked for, or say what is wrong.
///
/// # Errors
/// As [`answer`].
pub fn usage(error: &clap::Error) -> anyhow::Result<u8> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = error.render();
        answer(&if io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() })?;
        return Ok(status::SUCCESS);
    }
    note(&usage_line(error));
    Ok(status::HOSTEL)
}

/// A parser's complaint in one line. Its own form has several: the complaint, tips, the usage, a pointer to the help.
fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut line = String::new();
    for paragraph in text.split("\n\n") {
        let paragraph = paragraph.trim();
        // The second tip is of no use where no argument starts with a dash.
        let noise = ["Usage:", "For more information", "tip: to pass"];
        if noise.iter().any(|start| paragraph.starts_with(start)) {
            continue;
        }
        for part in paragraph.lines() {
            let part = part.trim().trim_start_matches("error: ");
            if !line.is_empty() {
                line.push_str(if line.ends_with(':') { " " } else { "; " });
            }
            line.push_str(part);
        }
    }
    let _ = write!(line, "; see `{} --help`", verb());
    line
}

/// The verb that was typed, with the program's name before it.
fn verb() -> String {
    let root = Command::command();
    let (mut command, mut words) = (&root, vec![root.get_name().to_owned()]);
    for word in std::env::args().skip(1) {
        match command.find_subcommand(&word) {
            Some(found) => command = found,
            None => break,
        }
        words.push(word);
    }
    words.join(" ")
}

/// `text` without line ends and other control characters, which files and their names may contain.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str("; ");
        }
        for char in part.chars() {
            if char.is_control() {
                line.extend(char.escape_default());
            } else {
                line.push(char);
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_said_twice() {
        let error = std::io::Error::other("disk on fire");
        let error = anyhow::Error::from(error).context("cannot read k: disk on fire").context("no machine");
        assert_eq!(chain(&error), "no machine: cannot read k: disk on fire");
    }

    #[test]
    fn what_a_file_is_called_cannot_move_the_cursor() {
        assert_eq!(one_line("a\x1b[2J\nb\r\n\n  c\u{9b}"), "a\\u{1b}[2J; b; c\\u{9b}");
    }
}
