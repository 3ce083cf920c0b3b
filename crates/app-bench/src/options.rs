//! The options of `hostel bench`.

use clap::{Args, ValueEnum};
use std::fmt;
use std::path::PathBuf;

/// What a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Form {
    /// Bare metal in M-mode, no paging
    Bare,
    /// Bare metal in S-mode, Sv39 with 4 KiB pages
    Sv39,
    /// Programs inside a Linux guest, and Python
    Linux,
    /// Start, memory and boot of whole machines
    Machine,
}

impl Form {
    /// What the table calls it.
    pub fn about(self) -> &'static str {
        match self {
            Form::Bare => "bare metal, M-mode",
            Form::Sv39 => "bare metal, S-mode, Sv39 with 4 KiB pages",
            Form::Linux => "inside a Linux guest",
            Form::Machine => "whole machines",
        }
    }
}

/// As typed.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

const EXAMPLES: &str = "\
Examples:
  hostel bench                                       everything, Hostel and the host's own processor
  hostel bench --against qemu                        next to QEMU as well
  hostel bench --against qemu --form bare --kernel fib --kernel call
  hostel bench --against ./hostel-before --rounds 9  another Hostel, say the one before a change
  hostel bench --against qemu --plot speed.svg --json speed.json
  hostel bench --list                                what there is to measure
  hostel bench --check --against qemu                whether all compute the same, in seconds

Rounds are interleaved: each program runs once on everybody before it runs again. The tables show
medians, and after ± half the distance from the fastest to the slowest round.

Exit status:
  0; 1 if two did not compute the same; 125 if something is missing or a guest failed";

/// Options of `hostel bench`
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchOptions {
    /// Measure this too: qemu, or the path of another hostel; may be given again
    #[arg(long, value_name = "PEER")]
    pub against: Vec<String>,
    /// Measure only this kernel or operation; may be given again [default: all of --list]
    #[arg(long, value_name = "NAME")]
    pub kernel: Vec<String>,
    /// Measure only this form: bare, sv39, linux or machine; may be given again [default: all]
    #[arg(long, value_name = "FORM", hide_possible_values = true)]
    pub form: Vec<Form>,
    /// Rounds, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// The engine of `hostel run` to measure; given again, another one next to it
    #[arg(long, value_name = "NAME")]
    pub engine: Vec<String>,
    /// Write the speeds as bars into this SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write every sample into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Do as little work as possible, once: compare what is computed and not the speed
    #[arg(long, conflicts_with_all = ["rounds", "plot", "json"])]
    pub check: bool,
    /// Say what there is to measure and do nothing
    #[arg(long)]
    pub list: bool,
}

impl BenchOptions {
    /// Whether any guest image is needed for what was asked for.
    pub fn needs_images(&self) -> bool {
        let bare = |form: &Form| matches!(form, Form::Bare | Form::Sv39);
        !self.list && (self.form.is_empty() || !self.form.iter().all(bare))
    }
}
