//! `hostel man`: manual pages, made of the same declaration as `--help`.

use crate::command::Command;
use crate::command_docs::ManOptions;
use crate::{say, status};
use anyhow::{Context, bail};
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::fs;
use std::path::Path;

/// Prints a page, or writes all of them.
///
/// # Errors
/// If there is no such verb, or nothing can be written.
pub fn man(options: &ManOptions) -> anyhow::Result<u8> {
    let mut root = Command::command();
    root.build();
    if let Some(folder) = &options.out {
        write_all(&root, folder)?;
        return Ok(status::SUCCESS);
    }
    let found = options.verb.iter().try_fold(&root, |command, word| command.find_subcommand(word));
    let Some(command) = found.filter(|command| !command.is_hide_set()) else {
        bail!("there is no verb {:?}; see `hostel --help`", options.verb.join(" "));
    };
    say::answer(&page(command)?)?;
    Ok(status::SUCCESS)
}

/// Writes the page of `command` and those of its verbs into `folder`.
fn write_all(command: &clap::Command, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(Man::new(command.clone()).get_filename());
    fs::write(&file, page(command)?).with_context(|| format!("cannot write {}", file.display()))?;
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    verbs.into_iter().try_for_each(|verb| write_all(verb, folder))
}

/// The page of one verb.
fn page(command: &clap::Command) -> anyhow::Result<String> {
    let man = Man::new(command.clone());
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    // Not by the library, which drops a date that is empty: the version would be in its place.
    let title = format!(".TH {name} 1 \"\" \"Hostel {}\" \"Hostel\"\n", env!("CARGO_PKG_VERSION"));
    let mut page = title.into_bytes();
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::default();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    after_help(&mut rest, &after);
    see_also(&mut rest, command);
    rest.to_writer(&mut page)?;
    Ok(String::from_utf8(page)?)
}

/// A part of what `--help` has at its end.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    /// Its title; none for text between others.
    title: Option<&'a str>,
    lines: Vec<&'a str>,
}

/// The parts of the end of a help text, between which are empty lines: the first line of one is its title if it ends with a
/// colon.
fn parts(text: &str) -> Vec<Part<'_>> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let mut lines: Vec<&str> = block.lines().map(str::trim_end).collect();
            let title = lines.first().and_then(|line| line.strip_suffix(':'));
            if title.is_some() {
                lines.remove(0);
            }
            Part { title, lines }
        })
        .collect()
}

/// What `--help` says of the usage.
fn synopsis(command: &clap::Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(usage.trim_start_matches("Usage:").trim())]);
    roff
}

/// Whether lines are to stay as they are: command lines, and tables.
fn is_laid_out(part: &Part<'_>) -> bool {
    part.title == Some("Examples") || part.lines.iter().any(|line| line.trim_start().contains("  "))
}

/// The sections of the end of a help text.
fn after_help(roff: &mut Roff, text: &str) {
    for part in parts(text) {
        roff.control("SH", [part.title.unwrap_or("Notes").to_uppercase().as_str()]);
        let laid_out = is_laid_out(&part);
        if laid_out {
            roff.control("nf", []);
        }
        for line in &part.lines {
            // The indentation is the section's own.
            let line = line.strip_prefix("  ").filter(|_| part.title.is_some()).unwrap_or(line);
            roff.text([roman(if laid_out { line } else { line.trim_start() })]);
        }
        if laid_out {
            roff.control("fi", []);
        }
    }
}

/// The pages next to this one.
fn see_also(roff: &mut Roff, command: &clap::Command) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut pages: Vec<&str> = verbs.filter_map(clap::Command::get_display_name).collect();
    pages.splice(..0, name.rsplit_once('-').map(|(parent, _)| parent));
    if pages.is_empty() {
        return;
    }
    let mut line: Vec<Inline> = Vec::new();
    for page in pages {
        line.push(roman(if line.is_empty() { "" } else { ", " }));
        line.extend([bold(page), roman("(1)")]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_help_text_has_parts() {
        let text = "Examples:\n  hostel a   does a\n  hostel b\n\nAs well,\nand so on.\n\nExit status:\n  0";
        let part = |title, lines: &[&'static str]| Part { title, lines: lines.to_vec() };
        let wanted = [
            part(Some("Examples"), &["  hostel a   does a", "  hostel b"]),
            part(None, &["As well,", "and so on."]),
            part(Some("Exit status"), &["  0"]),
        ];
        assert_eq!(parts(text), wanted);
        assert_eq!(parts(""), []);
    }

    /// `hostel` and all its verbs.
    fn all(command: &clap::Command) -> Vec<clap::Command> {
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        std::iter::once(command.clone()).chain(verbs.flat_map(all)).collect()
    }

    #[test]
    fn every_page_says_what_help_says() {
        let mut root = Command::command();
        root.build();
        for command in all(&root) {
            let page = page(&command).unwrap();
            // Without what escapes and changes of type leave between letters.
            let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "");
            let help = command.get_after_help().unwrap().to_string();
            for line in help.lines().filter(|line| !line.ends_with(':')) {
                let line = line.trim().replace('\\', "\\\\").replace('\'', "\\*(Aq");
                assert!(plain.contains(&line), "{}: {line}\n{page}", command.get_name());
            }
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let Some(long) = option.get_long() else { continue };
                assert!(plain.contains(&format!("--{long}")), "{long}: {page}");
            }
            let mut titles: Vec<&str> = page.lines().filter(|line| line.starts_with(".SH ")).collect();
            titles.sort_unstable();
            let number = titles.len();
            titles.dedup();
            assert_eq!(titles.len(), number, "{page}");
        }
    }
}
