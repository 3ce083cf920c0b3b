//! What Popek and Goldberg ask of every instruction ("Formal Requirements for Virtualizable Third Generation
//! Architectures", 1974): whether it is privileged, whether it is sensitive, and whether it is sensitive without
//! trapping, which is what makes an instruction set hard to virtualize by trap and emulate.

/// How an instruction behaves in user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traps {
    /// It always traps: the instruction is privileged.
    Always,
    /// It traps where the supervisor has said so, by the control named here.
    When(&'static str),
    /// It never traps, whatever the supervisor says.
    Never,
}

/// A sensitive instruction: it reads or changes what belongs to the machine rather than to the program, or does
/// something else in user mode than in supervisor mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sensitivity {
    /// How it behaves in user mode.
    pub traps: Traps,
    /// What makes it sensitive.
    pub why: &'static str,
}

impl Sensitivity {
    /// Whether a program in user mode can get the machine's answer where a monitor would have to give its own:
    /// sensitive, and no way to make it trap.
    pub fn violates(&self) -> bool {
        self.traps == Traps::Never
    }
}
