//! Named ports of the virtio console: streams that programs of the guest open by name.

use crate::choice::Console;
use crate::consoles::apart;
use crate::description::Description;
use crate::disk::parts;
use anyhow::anyhow;
use serde::Deserialize;
use std::path::Path;
use std::str::FromStr;
use thiserror::Error;
use vm_machine::ClockKind;

/// Most bytes of a name.
const MOST_NAME: usize = 64;

/// A named port, and what it is joined to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortChoice {
    /// What the guest knows it by.
    pub name: String,
    /// Where its bytes go.
    pub to: Console,
}

/// A port that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortMistake {
    /// No name, or nothing behind it.
    #[error("{0:?} is no port; write NAME,WHERE, such as org.qemu.guest_agent.0,unix=agent.sock")]
    Form(String),
    /// Joined to nothing that there is.
    #[error(transparent)]
    Where(#[from] crate::choice::ChoiceError),
}

impl FromStr for PortChoice {
    type Err = PortMistake;

    fn from_str(text: &str) -> Result<Self, PortMistake> {
        match parts(text).as_slice() {
            [name, to] if !name.is_empty() => Ok(PortChoice { name: name.clone(), to: to.parse()? }),
            _ => Err(PortMistake::Form(text.to_owned())),
        }
    }
}

impl PortChoice {
    /// The same with a relative path counted from `directory`.
    pub fn relative_to(self, directory: &Path) -> PortChoice {
        PortChoice { to: self.to.relative_to(directory), ..self }
    }

    /// The lines that describe it in TOML; `console` makes text of what it is joined to, `quoted` of other text.
    ///
    /// # Errors
    /// If a path cannot be written.
    pub fn to_toml(
        &self,
        console: impl Fn(&Console) -> anyhow::Result<String>,
        quoted: impl Fn(&str) -> String,
    ) -> anyhow::Result<String> {
        let PortChoice { name, to } = self;
        Ok(format!("\n[[port]]\nname = {}\nto = {}\n", quoted(name), console(to)?))
    }

    fn problem(&self) -> Option<String> {
        let name = &self.name;
        // The guest makes a file of it, as udev does in /dev/virtio-ports.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
            return Some(format!(
                "{name:?} cannot be the name of a port: it has letters, digits, dots, hyphens and underscores, and does not \
                 begin with a dot"
            ));
        }
        let long =
            || format!("the name {name} of a port is too long; choose one of at most {MOST_NAME} characters");
        (name.len() > MOST_NAME).then(long)
    }
}

/// Refuses consoles and ports that the machine cannot have, and one end for two of them; with the keys that are to blame.
///
/// # Errors
/// What to do instead.
pub fn check(machine: &Description) -> Result<(), (&'static [&'static str], anyhow::Error)> {
    let Description { consoles, hvcs, ports, .. } = machine;
    consoles.check(machine.machine).map_err(|error| (&["console"] as &[_], error))?;
    if !machine.has_virtio_console() {
        return Ok(());
    }
    const KEYS: &[&str] = &["hvc", "port", "console"];
    let (board, most) = (machine.machine, vm_machine::MOST_PORTS);
    if board.disks() == 0 {
        let error = anyhow!("the board {board} has no place for a virtio console; use --machine virt");
        return Err((&["hvc", "port", "machine"], error));
    }
    if machine.clock.0 == ClockKind::Virtual {
        let error = anyhow!(
            "what comes to a virtio console comes when the host sends it, which no virtual clock can repeat; use \
             --console, or --clock real"
        );
        return Err((&["hvc", "port", "clock"], error));
    }
    if hvcs.len().max(1) + ports.len() > most {
        let error = anyhow!(
            "a virtio console has room for {most} consoles and ports, the first of which is a console's, not for {} and {}",
            hvcs.len(),
            ports.len()
        );
        return Err((KEYS, error));
    }
    apart(consoles.iter().chain(hvcs).chain(ports.iter().map(|port| &port.to)))
        .map_err(|error| (KEYS, error))?;
    match problem(ports) {
        Some(problem) => Err((&["port"], anyhow!(problem))),
        None => Ok(()),
    }
}

/// What is wrong with these ports, if anything.
fn problem(ports: &[PortChoice]) -> Option<String> {
    ports.iter().enumerate().find_map(|(at, port)| {
        let twice = ports.iter().take(at).any(|other| other.name == port.name);
        let text = || format!("two ports have the name {}; choose another for one of them", port.name);
        port.problem().or_else(|| twice.then(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_name_and_where_it_goes() {
        let expected = PortChoice { name: "a.0".into(), to: Console::Unix("/x,y".into()) };
        assert_eq!("a.0,unix=/x,,y".parse(), Ok(expected));
        assert_eq!("a,pty".parse::<PortChoice>().unwrap().to, Console::Pty);
        for wrong in ["", "a", ",pty", "a,pty,ro"] {
            assert_eq!(wrong.parse::<PortChoice>(), Err(PortMistake::Form(wrong.into())), "{wrong}");
        }
        assert!(matches!("a,file".parse::<PortChoice>(), Err(PortMistake::Where(_))));
    }

    #[test]
    fn names_are_told_apart_and_make_files() {
        let problem = |names: &[&str]| {
            let port = |name: &&str| PortChoice { name: (*name).to_owned(), to: Console::None };
            problem(&names.iter().map(port).collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(problem(&["org.qemu.guest_agent.0", "a_b-c"]), "");
        assert!(problem(&["a", "b", "a"]).contains("two ports have the name a"));
        for odd in ["", ".", "..", ".a", "a/b", "a b", "\u{e9}", "a\n"] {
            assert!(problem(&[odd]).contains("cannot be the name"), "{odd:?}");
        }
        assert!(problem(&[&"a".repeat(65)]).contains("at most 64") && problem(&[&"a".repeat(64)]).is_empty());
    }
}
