//! What `--cpu` means: an instruction set and the widest address translation.
//!
//! A name is `max` or an ISA string (Unprivileged ISA, "ISA Extension Naming Conventions"), in which the address
//! translation is named as the profiles name it: `svbare`, `sv39`, `sv48` or `sv57`.

use crate::choice::Machine;
use crate::text::from_text;
use isa_riscv::{EXTENSIONS, Extensions, Features};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use vm_board::isa::{Isa, IsaError, Mmu};

const MMUS: [(&str, Mmu); 4] =
    [("svbare", Mmu::Bare), ("sv39", Mmu::Sv39), ("sv48", Mmu::Sv48), ("sv57", Mmu::Sv57)];

/// Part of another extension, so not in the list of what a hart implements: the base, and the conversions of Zfh.
const IMPLIED: [&str; 2] = ["i", "zfhmin"];

/// What every hart implements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The widest address translation.
    pub mmu: Mmu,
}

/// Why there is no such CPU.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CpuError {
    /// Neither a known name nor the start of an ISA string.
    #[error("there is no CPU {0:?}; give max or an instruction set such as rv64gc_zba_zbb_sv39")]
    Name(String),
    /// Not an ISA string.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// An extension that Hostel does not implement.
    #[error("no CPU has the extension {given:?}; extensions are {known}")]
    Extension {
        /// What was asked for.
        given: String,
        /// What there is.
        known: String,
    },
    /// An extension without another that it builds on.
    #[error("the extension {0:?} needs {1:?}; add it")]
    Needs(&'static str, &'static str),
    /// Two widths of address translation.
    #[error("{0:?} and {1:?} exclude each other; name the widest address translation only")]
    TwoMmus(String, String),
}

impl Cpu {
    /// What a user gets who asks for no other: all there is, or what the real board has.
    pub fn default_of(machine: Machine) -> Cpu {
        match machine {
            Machine::Virt | Machine::Spike | Machine::Microvm => Cpu::default(),
            Machine::SifiveU => {
                vm_board::sifive_u::u54_isa().map_or_else(|_| Cpu::default(), |(isa, mmu)| Cpu { isa, mmu })
            }
        }
    }
}

impl FromStr for Cpu {
    type Err = CpuError;
    fn from_str(text: &str) -> Result<Self, CpuError> {
        if text == "max" {
            return Ok(Cpu::default());
        }
        if !text.starts_with("rv") {
            return Err(CpuError::Name(text.to_owned()));
        }
        let mut mmu: Option<(&str, Mmu)> = None;
        let mut rest: Vec<&str> = Vec::new();
        for part in text.split('_') {
            match (MMUS.iter().find(|(name, _)| *name == part), mmu) {
                (Some(&(name, _)), Some((first, _))) => {
                    return Err(CpuError::TwoMmus(first.to_owned(), name.to_owned()));
                }
                (Some(&found), None) => mmu = Some(found),
                (None, _) => rest.push(part),
            }
        }
        let isa = Isa::parse(&rest.join("_"))?;
        implemented(&isa)?;
        Ok(Cpu { isa, mmu: mmu.map_or_else(Mmu::default, |(_, mmu)| mmu) })
    }
}

/// Checks that harts have every extension of `isa`, and that each has what it needs.
fn implemented(isa: &Isa) -> Result<(), CpuError> {
    let mut extensions = Extensions::NONE;
    for name in isa.extensions().iter().map(String::as_str) {
        match EXTENSIONS.iter().find(|(_, known)| *known == name) {
            Some((extension, _)) => extensions = extensions.with(*extension),
            None if IMPLIED.contains(&name) => {}
            None => {
                let known: Vec<&str> =
                    IMPLIED.into_iter().chain(EXTENSIONS.iter().map(|(_, name)| *name)).collect();
                return Err(CpuError::Extension { given: name.to_owned(), known: known.join(" ") });
            }
        }
    }
    let name = |wanted| EXTENSIONS.iter().find(|(x, _)| *x == wanted).map_or("?", |(_, name)| *name);
    match (Features { extensions, ..Features::FULL }).missing() {
        Some((extension, need)) => Err(CpuError::Needs(name(extension), name(need))),
        None => Ok(()),
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mmu = MMUS.iter().find(|(_, mmu)| *mmu == self.mmu).map_or("sv57", |(name, _)| *name);
        write!(f, "{}_{mmu}", self.isa)
    }
}

from_text! {
    Cpu: "\"max\" or an instruction set such as \"rv64gc_zba\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_max_or_an_instruction_set() {
        assert_eq!("max".parse(), Ok(Cpu::default()));
        let cpu: Cpu = "rv64gc_zba_sv39".parse().unwrap();
        assert_eq!(cpu.to_string(), "rv64imafdc_zicsr_zifencei_zba_sv39");
        assert_eq!("rv64i".parse::<Cpu>().unwrap().mmu, Mmu::Sv57);
    }

    #[test]
    fn the_real_board_has_its_own() {
        let u54 = Cpu::default_of(Machine::SifiveU);
        assert_eq!(u54.to_string(), "rv64imafdc_zicntr_zicsr_zifencei_zihpm_sv39");
        assert_eq!(u54.to_string().parse(), Ok(u54));
    }

    #[test]
    fn what_a_cpu_prints_it_reads() {
        for text in ["max", "rv64gc", "rv64imac_zicsr_svbare", "rv64gc_sv48"] {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!(cpu.to_string().parse(), Ok(cpu), "{text}");
        }
    }

    #[test]
    fn what_no_hart_has_is_refused() {
        let error = |text: &str| text.parse::<Cpu>().unwrap_err().to_string();
        assert!(error("pentium").contains("no CPU \"pentium\""));
        assert!(error("rv32i").contains("rv64"));
        assert!(error("rv64gc_zvbb").contains("no CPU has the extension \"zvbb\""));
        assert!(error("rv64gc_sv39_sv48").contains("exclude"));
        assert_eq!(error("rv64id_zicsr"), "the extension \"d\" needs \"f\"; add it");
    }
}
