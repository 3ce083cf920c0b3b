//! `hostel isa`: the instructions of a guest's processor as Popek and Goldberg sort them.

use crate::choice::one_of;
use crate::command::IsaOptions;
use crate::{choice::ChoiceError, say, status};
use isa_core::{Sensitivity, Traps};
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// RISC-V.
    Riscv64,
    /// x86.
    X86,
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InstructionSet::Riscv64 => "riscv64",
            InstructionSet::X86 => "x86-64",
        })
    }
}

impl FromStr for InstructionSet {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        one_of("instruction set", text, &InstructionSet::ALL)
    }
}

impl InstructionSet {
    /// Both.
    pub const ALL: [InstructionSet; 2] = [InstructionSet::Riscv64, InstructionSet::X86];

    /// Every instruction, and what makes it sensitive if it is.
    fn instructions(self) -> Vec<(String, Option<Sensitivity>)> {
        match self {
            InstructionSet::Riscv64 => {
                // A compressed row has no meaning of its own.
                let rows = isa_riscv::ROWS.iter().filter(|row| row.expands_to.is_none());
                rows.map(|row| (row.name.to_owned(), isa_riscv::sensitivity(row))).collect()
            }
            InstructionSet::X86 => {
                let all = isa_x86::Meaning::ALL.iter();
                all.map(|&m| (format!("{m:?}").to_lowercase(), isa_x86::sensitivity(m))).collect()
            }
        }
    }
}

/// Prints the table that was asked for.
///
/// # Errors
/// If standard output takes nothing.
pub fn isa(options: &IsaOptions) -> anyhow::Result<u8> {
    let both = [InstructionSet::Riscv64, InstructionSet::X86];
    let sets = options.set.as_ref().map_or(&both[..], std::slice::from_ref);
    let tables: Vec<String> = sets.iter().map(|&set| table(set, options.all)).collect();
    say::answer(&tables.join("\n"))?;
    Ok(status::SUCCESS)
}

/// How an instruction behaves in user mode, in a word.
fn behaviour(sensitivity: Option<&Sensitivity>) -> &'static str {
    match sensitivity.map(|s| s.traps) {
        None => "innocuous",
        Some(Traps::Always) => "privileged",
        Some(Traps::When(_)) => "by control",
        Some(Traps::Never) => "VIOLATION",
    }
}

fn table(set: InstructionSet, all: bool) -> String {
    let instructions = set.instructions();
    let count = |word: &str| instructions.iter().filter(|(_, s)| behaviour(s.as_ref()) == word).count();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{set}: {} instructions; sensitive {}: privileged {}, trapping by a control {}, violations {}",
        instructions.len(),
        instructions.len() - count("innocuous"),
        count("privileged"),
        count("by control"),
        count("VIOLATION"),
    );
    for (name, sensitivity) in &instructions {
        let word = behaviour(sensitivity.as_ref());
        let Some(sensitivity) = sensitivity else {
            if all {
                let _ = writeln!(text, "{name:16} {word}");
            }
            continue;
        };
        let _ = write!(text, "{name:16} {word:11} {}", sensitivity.why);
        if let Traps::When(control) = sensitivity.traps {
            let _ = write!(text, " [{control}]");
        }
        text.push('\n');
    }
    text
}
