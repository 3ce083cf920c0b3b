//! What the guest's serial lines are joined to, one choice for each, first to last.

use crate::choice::{Console, Machine};
use anyhow::bail;
use serde::Deserialize;
use std::path::Path;

/// Choices in the order of the machine's serial lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consoles(Vec<Console>);

impl Default for Consoles {
    /// The first line on standard input and output.
    fn default() -> Self {
        Consoles(vec![Console::default()])
    }
}

impl Consoles {
    /// None of the user's: nothing is on the first line.
    pub fn none() -> Consoles {
        Consoles(vec![Console::None])
    }

    /// Whether one is on standard input and output.
    pub fn on_stdio(&self) -> bool {
        self.0.contains(&Console::Stdio)
    }

    /// What was given on a command line, if anything was.
    pub fn given(choices: &[Console]) -> Option<Consoles> {
        (!choices.is_empty()).then(|| Consoles(choices.to_vec()))
    }

    /// The choices.
    pub fn iter(&self) -> impl Iterator<Item = &Console> {
        self.0.iter()
    }

    /// The same with relative paths counted from `directory`.
    pub fn relative_to(self, directory: &Path) -> Consoles {
        Consoles(self.0.into_iter().map(|console| console.relative_to(directory)).collect())
    }

    /// How many choices there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The same with nothing at the lines of `machine` that are left.
    pub fn filled(mut self, machine: Machine) -> Consoles {
        let lines = self.0.len().max(machine.serial_lines());
        self.0.resize(lines, Console::None);
        self
    }

    /// Refuses more choices than `machine` has lines, and one end for two lines.
    ///
    /// # Errors
    /// What to do instead.
    pub fn check(&self, machine: Machine) -> anyhow::Result<()> {
        let lines = machine.most_serial_lines();
        if self.0.len() > lines {
            let lines = match lines {
                1 => "one serial line".to_owned(),
                _ if lines > machine.serial_lines() => format!("at most {lines} serial lines"),
                _ => format!("{lines} serial lines"),
            };
            bail!(
                "the machine {machine} has {lines}, and {} consoles are given; leave out the rest",
                self.0.len()
            );
        }
        apart(self.0.iter())
    }
}

/// Refuses one end for two lines or ports.
///
/// # Errors
/// What to do instead.
pub fn apart<'a>(all: impl Iterator<Item = &'a Console>) -> anyhow::Result<()> {
    let mut seen: Vec<&Console> = Vec::new();
    for console in all.filter(|console| matches!(console, Console::Stdio | Console::Unix(_))) {
        if seen.contains(&console) {
            bail!("two lines cannot both be joined to {console}; choose another for one of them");
        }
        seen.push(console);
    }
    Ok(())
}

/// Consoles as a TOML value: one by itself, several as an array; `one` writes each.
///
/// # Errors
/// What `one` says.
pub fn to_toml<'a>(
    all: impl Iterator<Item = &'a Console>,
    one: impl Fn(&Console) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let all: Vec<String> = all.map(one).collect::<anyhow::Result<_>>()?;
    Ok(match all.as_slice() {
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    })
}

impl<'de> Deserialize<'de> for Consoles {
    /// A string for the first line, or an array with one for each.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> serde::de::Visitor<'de> for OneOrMore {
            type Value = Consoles;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a console, or an array of them: \"stdio\", \"none\", \"pty\" or \"unix=PATH\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Consoles, E> {
                Ok(Consoles(vec![text.parse().map_err(E::custom)?]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Consoles, A::Error> {
                let mut consoles = Vec::new();
                while let Some(console) = list.next_element()? {
                    consoles.push(console);
                }
                if consoles.is_empty() {
                    return Err(serde::de::Error::custom("the list of consoles is empty; leave it out"));
                }
                Ok(Consoles(consoles))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        console: Consoles,
    }

    fn read(text: &str) -> Result<Consoles, String> {
        toml::from_str::<File>(text).map(|file| file.console).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_file_has_one_or_a_list() {
        assert_eq!(read("console = \"pty\""), Ok(Consoles(vec![Console::Pty])));
        assert_eq!(
            read("console = [\"none\", \"unix=a\"]"),
            Ok(Consoles(vec![Console::None, Console::Unix("a".into())]))
        );
        assert!(read("console = []").unwrap_err().contains("empty"));
        assert!(read("console = [\"tty\"]").unwrap_err().contains("no console \"tty\""));
        assert!(read("console = 3").unwrap_err().contains("a console, or an array of them"));
    }

    #[test]
    fn there_are_as_many_as_the_machine_has_lines() {
        let two = Consoles(vec![Console::Pty, Console::Pty]);
        assert!(two.check(Machine::SifiveU).is_ok());
        assert_eq!(
            two.check(Machine::Spike).unwrap_err().to_string(),
            "the machine spike has one serial line, and 2 consoles are given; leave out the rest"
        );
        assert!(Consoles(vec![Console::Pty; 4]).check(Machine::Virt).is_ok());
        assert_eq!(
            Consoles(vec![Console::Pty; 5]).check(Machine::Virt).unwrap_err().to_string(),
            "the machine virt has at most 4 serial lines, and 5 consoles are given; leave out the rest"
        );
        let filled = Consoles::default().filled(Machine::SifiveU);
        assert_eq!(filled, Consoles(vec![Console::Stdio, Console::None]));
        assert_eq!(Consoles::default().filled(Machine::Virt), Consoles::default());
    }

    #[test]
    fn one_end_cannot_serve_two_lines() {
        let twice = |console: Console| Consoles(vec![console.clone(), console]).check(Machine::SifiveU);
        assert!(twice(Console::Stdio).unwrap_err().to_string().contains("both be joined to stdio"));
        assert!(twice(Console::Unix("s".into())).unwrap_err().to_string().contains("unix=s"));
        assert!(twice(Console::None).is_ok() && twice(Console::Pty).is_ok());
    }
}
