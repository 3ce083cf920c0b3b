//! The command line of what is made of the command line's own declaration: `hostel completions`, `hostel man`.

use crate::complete;
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use clap_complete::env::Shells;
use std::path::PathBuf;

/// Options of `hostel completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel completions fish | source     a line for ~/.config/fish/config.fish
  source <(hostel completions bash)    a line for ~/.bashrc
  source <(hostel completions zsh)     a line for ~/.zshrc, behind compinit

The shell asks the program itself what can follow, so guests and images are those that there are.
Have it print this anew when a shell starts, instead of keeping it: it belongs to this version.")]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_parser = PossibleValuesParser::new(Shells::builtins().names()))]
    pub shell: String,
}

/// Options of `hostel man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel man run | man -l -                   the page of `hostel run`
  hostel man --out ~/.local/share/man/man1    all of them, where `man hostel-run` finds them")]
pub struct ManOptions {
    /// The verb, and a verb of its own [default: the page of hostel itself]
    #[arg(conflicts_with = "out", add = clap_complete::ArgValueCandidates::new(complete::verbs))]
    pub verb: Vec<String>,
    /// Write the pages of all verbs into this folder, as hostel.1, hostel-run.1 and so on
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}
