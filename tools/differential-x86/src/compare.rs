//! Runs a case on both sides and says how they differ.

use crate::case::Case;
use crate::undefined;
use hostcpu::{DATA, Loaded, Oracle, Outcome, Regs};
use isa_x86::testkit::TestMachine;
use isa_x86::{Fault, Insn, rflags};
use std::fmt::Write;

/// Changes what an instruction has left, as if its meaning were wrong.
pub type Meddler<'a> = &'a dyn Fn(&Regs, &mut TestMachine, &Insn, &mut Result<(), Fault>);

/// Both sides of a case.
pub struct Sides {
    /// What it started with.
    pub before: Regs,
    /// Our registers afterwards.
    pub regs: Regs,
    /// The host's.
    pub host_regs: Regs,
    /// Our outcome.
    pub ours: Result<(), Fault>,
    /// The host's.
    pub host: Outcome,
    /// Flags that the manual leaves undefined.
    pub undefined: u64,
    /// First byte of the data that differs: where, ours, the host's.
    pub memory: Option<(usize, u8, u8)>,
}

impl Sides {
    /// Runs `case`, which the oracle has loaded.
    pub fn run(
        case: &Case,
        loaded: &Loaded,
        oracle: &mut Oracle,
        machine: &mut TestMachine,
        meddler: Option<Meddler<'_>>,
    ) -> Sides {
        if let Some((at, value)) = case.poke {
            let bytes = value.to_le_bytes();
            machine.data[at..at + 16].copy_from_slice(&bytes);
            oracle.data()[at..at + 16].copy_from_slice(&bytes);
        }
        let before = Regs { rflags: case.regs.rflags & hostcpu::SETTABLE | 0x202, ..case.regs.clone() };
        let mut host_regs = before.clone();
        let host = oracle.go(loaded, &mut host_regs);
        (machine.state.gpr, machine.state.rip) = (before.gpr, before.rip);
        machine.state.set_rflags(before.rflags);
        machine.slice = case.slice;
        let (meaning, insn) = &case.encoded.insn;
        let mut ours = if case.refused { Err(Fault::ud()) } else { machine.run(*meaning, insn) };
        if let Some(meddler) = meddler {
            meddler(&before, machine, insn, &mut ours);
        }
        let undefined = match ours {
            Ok(()) => undefined::flags(*meaning, insn, &before.gpr),
            Err(_) => 0,
        };
        let memory = if machine.data == *oracle.data() { None } else { first_difference(machine, oracle) };
        let state = &machine.state;
        let regs = Regs { gpr: state.gpr, rip: state.rip, rflags: state.rflags() };
        Sides { before, regs, host_regs, ours, host, undefined, memory }
    }

    /// Whether they agree in everything that is defined.
    pub fn agree(&self) -> bool {
        let (mine, theirs) = (&self.regs, &self.host_regs);
        mine.gpr == theirs.gpr
            && mine.rip == theirs.rip
            && (mine.rflags ^ theirs.rflags) & !self.undefined == 0
            && self.memory.is_none()
            && self.outcomes_agree()
    }

    /// Undefined flags in which they differ.
    pub fn undefined_differences(&self) -> u64 {
        (self.regs.rflags ^ self.host_regs.rflags) & self.undefined
    }

    /// Whether both completed, or raised the same exception.
    pub fn outcomes_agree(&self) -> bool {
        match (self.ours, self.host) {
            (Ok(()), Outcome::Done) => true,
            (Err(fault), Outcome::Fault { vector, error, address }) => {
                // Not every kernel says 0 for no error code, and it hides some.
                let code = error.is_none_or(|error| error == fault.error.unwrap_or(0).into());
                fault.vector == vector && code && fault.address == address
            }
            _ => false,
        }
    }

    /// What differs, in words.
    pub fn report(&self, case: &Case) -> String {
        let (_, insn) = &case.encoded.insn;
        let bytes: Vec<String> = case.code().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut text = format!("{:?}  {}\n  {insn:?}\n", insn.code, bytes.join(" "));
        let _ = writeln!(text, "  poke {:x?}, slice {}", case.poke, case.slice);
        let _ = writeln!(text, "  {:<8} {:>18} {:>18} {:>18}", "", "before", "Hostel", "host");
        let names = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(' ');
        let all = names.zip(self.before.gpr.iter().zip(&self.regs.gpr).zip(&self.host_regs.gpr));
        let mut line = |name: &str, before: u64, mine: u64, theirs: u64| {
            let mark = if mine == theirs { "" } else { "  <" };
            let _ = writeln!(text, "  {name:<8} {before:#18x} {mine:#18x} {theirs:#18x}{mark}");
        };
        for (name, ((&before, &mine), &theirs)) in all {
            line(name, before, mine, theirs);
        }
        line("rip", self.before.rip, self.regs.rip, self.host_regs.rip);
        let defined = !self.undefined;
        line("rflags", self.before.rflags, self.regs.rflags & defined, self.host_regs.rflags & defined);
        let _ = writeln!(text, "  outcome  {:x?} / {:x?}", self.ours, self.host);
        if let Some((at, mine, theirs)) = self.memory {
            let _ = writeln!(text, "  memory   {:#x}: {mine:#x} / {theirs:#x}", DATA + at as u64);
        }
        text
    }
}

fn first_difference(machine: &TestMachine, oracle: &mut Oracle) -> Option<(usize, u8, u8)> {
    let pairs = machine.data.iter().zip(oracle.data().iter());
    pairs.enumerate().find(|(_, (a, b))| a != b).map(|(at, (a, b))| (at, *a, *b))
}

/// The names of flags.
pub fn flag_names(flags: u64) -> String {
    let all = [
        (rflags::CF, "CF"),
        (rflags::PF, "PF"),
        (rflags::AF, "AF"),
        (rflags::ZF, "ZF"),
        (rflags::SF, "SF"),
        (rflags::OF, "OF"),
    ];
    all.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}
