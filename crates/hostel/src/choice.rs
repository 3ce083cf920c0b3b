//! The values that options take, each with one spelling for the command line and for TOML files.

use crate::text::from_text;
use host_image::Architecture;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;
use vm_board::size::{Argument, GIB, KIB, MIB};
use vm_machine::ClockKind;

/// A value that an option does not take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChoiceError {
    /// Not one of a list.
    #[error("there is no {what} {given:?}; known {what}s: {known}")]
    NotOne {
        /// What is chosen.
        what: &'static str,
        /// What was given.
        given: String,
        /// What there is.
        known: String,
    },
    /// Not a number of bytes.
    #[error("{0:?} is no amount of memory; write bytes or a number with K, M, G or T, such as 512M")]
    Memory(String),
    /// Not a number of harts.
    #[error("{0:?} is no number of CPUs; write a whole number such as 4")]
    Cpus(String),
    /// Not an eagerness of the translator.
    #[error(
        "{0:?} is no number of times that code is interpreted before it is translated; write a number up to 255"
    )]
    Threshold(String),
    /// No tier of the translator.
    #[error("there is no tier {0:?} of translation; write 1 or 2, or no tier for both")]
    Tier(String),
    /// Not a firmware.
    #[error("the firmware's name is empty; give builtin, none or a file")]
    NoBios,
    /// Not a console.
    #[error("there is no console {0:?}; consoles are stdio, none, pty and unix=PATH")]
    Console(String),
}

/// Finds `given` among `known`.
pub fn one_of<T: Copy + fmt::Display>(
    what: &'static str,
    given: &str,
    known: &[T],
) -> Result<T, ChoiceError> {
    let names = known.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = known.iter().zip(&names).find(|(_, name)| *name == given);
    found.map(|(value, _)| *value).ok_or_else(|| ChoiceError::NotOne {
        what,
        given: given.to_owned(),
        known: names.join(", "),
    })
}

/// Which board the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// As QEMU's virt.
    #[default]
    Virt,
    /// As the Spike simulator.
    Spike,
    /// SiFive's HiFive Unleashed.
    SifiveU,
    /// The least of a PC, x86-64.
    Microvm,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Machine::Virt => "virt",
            Machine::Spike => "spike",
            Machine::SifiveU => "sifive_u",
            Machine::Microvm => "microvm",
        })
    }
}

impl FromStr for Machine {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        one_of("machine", text, &Machine::ALL)
    }
}

impl Machine {
    /// Every board.
    pub const ALL: [Machine; 4] = [Machine::Virt, Machine::Spike, Machine::SifiveU, Machine::Microvm];

    /// How many serial lines there always are.
    pub fn serial_lines(self) -> usize {
        match self {
            Machine::Virt | Machine::Spike | Machine::Microvm => 1,
            Machine::SifiveU => 2,
        }
    }

    /// How many there can be: on `virt`, further ones are PCI cards.
    pub fn most_serial_lines(self) -> usize {
        match self {
            Machine::Virt => 1 + vm_board::virt::MAX_SERIAL_CARDS as usize,
            Machine::Spike | Machine::Microvm | Machine::SifiveU => self.serial_lines(),
        }
    }

    /// How many banks of flash memory there are.
    pub fn flash_banks(self) -> usize {
        match self {
            Machine::Virt => 2,
            Machine::Spike | Machine::SifiveU | Machine::Microvm => 0,
        }
    }

    /// What Linux calls the first serial line.
    pub fn linux_console(self) -> &'static str {
        match self {
            Machine::Virt | Machine::Spike | Machine::Microvm => "ttyS0",
            Machine::SifiveU => "ttySIF0",
        }
    }

    /// Whether its processors are x86-64.
    pub fn x86(self) -> bool {
        self == Machine::Microvm
    }

    /// What its processors are.
    pub fn architecture(self) -> Architecture {
        if self.x86() { Architecture::Amd64 } else { Architecture::Riscv64 }
    }

    /// The board where the user does not say: one that the guest is for.
    pub fn default_for(guest: Option<&str>) -> Machine {
        let image = host_image::IMAGES.iter().find(|image| Some(image.name) == guest);
        match image.map(|image| image.architecture) {
            Some(Architecture::Amd64) => Machine::Microvm,
            Some(Architecture::Riscv64) | None => Machine::default(),
        }
    }

    /// What runs first where the user does not say: an SBI for harts; a kernel for a PC starts by itself.
    pub fn default_bios(self) -> Bios {
        if self.x86() { Bios::None } else { Bios::Builtin }
    }

    /// How many harts there are where the user does not say. A board of which there is a real one has as many as
    /// that, unless guest time is to follow the only one.
    pub fn default_cpus(self, clock: Clock) -> Cpus {
        match (self, clock.0) {
            (Machine::SifiveU, ClockKind::Real) => Cpus(vm_board::sifive_u::MAX_CPUS),
            _ => Cpus::default(),
        }
    }
}

/// Where guest time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock(pub ClockKind);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ClockKind::Real => "real",
            ClockKind::Virtual => "virtual",
        })
    }
}

impl FromStr for Clock {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        one_of("clock", text, &Clock::ALL)
    }
}

impl Clock {
    /// Both.
    pub const ALL: [Clock; 2] = [Clock(ClockKind::Real), Clock(ClockKind::Virtual)];
}

/// An amount of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

impl Default for Memory {
    /// 2 GiB; the host gives a page when the guest first touches it.
    fn default() -> Self {
        Memory(2 * GIB)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Argument(self.0).fmt(f)
    }
}

impl FromStr for Memory {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let wrong = || ChoiceError::Memory(text.to_owned());
        let digits = text.trim_end_matches(|char: char| !char.is_ascii_digit());
        let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
            "" => 1,
            "K" | "KIB" => KIB,
            "M" | "MIB" => MIB,
            "G" | "GIB" => GIB,
            "T" | "TIB" => GIB * KIB,
            _ => return Err(wrong()),
        };
        // `parse` would take a plus sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Memory).ok_or_else(wrong)
    }
}

/// What runs first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bios {
    /// Hostel's own SBI.
    #[default]
    Builtin,
    /// Nothing.
    None,
    /// A firmware.
    File(PathBuf),
}

impl TryFrom<OsString> for Bios {
    type Error = ChoiceError;
    fn try_from(text: OsString) -> Result<Self, ChoiceError> {
        match text.to_str() {
            Some("") => Err(ChoiceError::NoBios),
            Some("builtin") => Ok(Bios::Builtin),
            Some("none") => Ok(Bios::None),
            _ => Ok(Bios::File(text.into())),
        }
    }
}

impl FromStr for Bios {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        OsString::from(text).try_into()
    }
}

impl Bios {
    /// The same with a relative path counted from `directory`.
    pub fn relative_to(self, directory: &Path) -> Bios {
        match self {
            Bios::File(path) => Bios::File(directory.join(path)),
            other => other,
        }
    }
}

/// What the guest's serial line is joined to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// Standard input and output.
    #[default]
    Stdio,
    /// Nothing.
    None,
    /// A new pseudo-terminal.
    Pty,
    /// A socket at this path.
    Unix(PathBuf),
}

impl FromStr for Console {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        match text {
            "stdio" => Ok(Console::Stdio),
            "none" => Ok(Console::None),
            "pty" => Ok(Console::Pty),
            _ => match text.strip_prefix("unix=") {
                Some(path) if !path.is_empty() => Ok(Console::Unix(path.into())),
                _ => Err(ChoiceError::Console(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Console::Stdio => f.write_str("stdio"),
            Console::None => f.write_str("none"),
            Console::Pty => f.write_str("pty"),
            Console::Unix(path) => write!(f, "unix={}", path.display()),
        }
    }
}

impl Console {
    /// The same with a relative path counted from `directory`.
    pub fn relative_to(self, directory: &Path) -> Console {
        match self {
            Console::Unix(path) => Console::Unix(directory.join(path)),
            other => other,
        }
    }

    /// The same as text, with a path as `path` writes it.
    ///
    /// # Errors
    /// What `path` says.
    pub fn to_toml(&self, path: impl Fn(&Path) -> anyhow::Result<String>) -> anyhow::Result<String> {
        match self {
            Console::Unix(socket) => Ok(format!("unix={}", path(socket)?)),
            other => Ok(other.to_string()),
        }
    }
}

from_text! {
    Machine: "the name of a machine, such as \"virt\"";
    Clock: "\"real\" or \"virtual\"";
    Bios: "\"builtin\", \"none\" or the path of a firmware";
    Console: "\"stdio\", \"none\", \"pty\" or \"unix=PATH\"";
}

/// Number of harts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub u32);

impl Default for Cpus {
    /// One: only one hart can follow a virtual clock, and a small guest gains little by more.
    fn default() -> Self {
        Cpus(1)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cpus {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        // `parse` would take a plus sign.
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number.map(Cpus).ok_or_else(|| ChoiceError::Cpus(text.to_owned()))
    }
}

impl<'de> serde::Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = Cpus;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of CPUs, such as 4")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Cpus, E> {
                u32::try_from(number).map(Cpus).map_err(|_| E::custom(ChoiceError::Cpus(number.to_string())))
            }
        }
        deserializer.deserialize_i64(Number)
    }
}

impl<'de> serde::Deserialize<'de> for Memory {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl serde::de::Visitor<'_> for Amount {
            type Value = Memory;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of memory, such as \"512M\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Memory, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Memory, E> {
                Ok(Memory(bytes))
            }
            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Memory, E> {
                u64::try_from(bytes).map(Memory).map_err(|_| E::custom("memory cannot be less than nothing"))
            }
        }
        deserializer.deserialize_any(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_people_write_it() {
        let bytes = |text: &str| text.parse::<Memory>().map(|memory| memory.0);
        assert_eq!(bytes("2G"), Ok(2 << 30));
        assert_eq!(bytes("512m"), Ok(512 << 20));
        assert_eq!(bytes("3"), Ok(3));
        assert_eq!(bytes("16KiB"), Ok(16 << 10));
        assert_eq!(bytes("1T"), Ok(1 << 40));
        for wrong in ["", "G", "2X", "-1", "+1", "1.5G", "2 G", "2GG", "99999999999999999999", "16777216T"] {
            assert_eq!(bytes(wrong), Err(ChoiceError::Memory(wrong.into())), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_of_harts_is_digits() {
        assert_eq!("12".parse(), Ok(Cpus(12)));
        for wrong in ["", "+3", "-1", " 3", "0x3", "4294967296"] {
            assert_eq!(wrong.parse::<Cpus>(), Err(ChoiceError::Cpus(wrong.into())));
        }
    }

    #[test]
    fn what_memory_prints_it_reads() {
        for bytes in [1, 4096, 4097, 1 << 20, 3 << 29, 1 << 40, u64::MAX] {
            assert_eq!(Memory(bytes).to_string().parse(), Ok(Memory(bytes)));
        }
    }

    #[test]
    fn consoles_have_names_and_the_socket_a_path() {
        assert_eq!("pty".parse(), Ok(Console::Pty));
        assert_eq!("unix=/a b".parse(), Ok(Console::Unix("/a b".into())));
        for wrong in ["", "unix", "unix=", "Stdio", "tcp=1"] {
            assert_eq!(wrong.parse::<Console>(), Err(ChoiceError::Console(wrong.into())));
        }
    }
}
