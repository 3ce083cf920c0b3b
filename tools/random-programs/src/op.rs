//! What a program consists of.

use crate::draft::Profile;
use crate::registers::Registers;
use crate::spaces::Spaces;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `jal`.
    Direct,
    /// `jalr` by a register.
    Indirect,
    /// A jump, with a return address other than behind it.
    Elsewhere,
}

/// A piece of a program.
#[derive(Clone, Debug)]
pub enum Op {
    /// Straight-line code that may lie anywhere.
    Code(Vec<u8>),
    /// A counted loop.
    Loop {
        /// Which counter: loops within have higher ones.
        level: usize,
        /// How many passes.
        count: u64,
        /// What is done.
        body: Vec<Op>,
    },
    /// A conditional branch.
    If {
        /// The branch that skips `then`.
        branch: &'static str,
        /// Its operands.
        operands: (i64, i64),
        /// What is skipped.
        then: Vec<Op>,
        /// What is done instead.
        other: Vec<Op>,
    },
    /// A jump through a table of four.
    Table {
        /// Its low bits choose.
        index: i64,
        /// What is done.
        cases: Vec<Vec<Op>>,
    },
    /// A call of another function, which calls itself `depth` times at most.
    Call {
        /// The function.
        to: usize,
        /// In which way.
        how: How,
        /// How deep.
        depth: u64,
    },
    /// A call of the function that it is in, if it may.
    Again,
    /// An instruction that is patched, and one that it may skip.
    Slot {
        /// By this name.
        number: usize,
        /// Both, at first.
        words: [u32; 2],
    },
    /// Patches an instruction.
    Patch {
        /// Which.
        number: usize,
        /// With what.
        word: u32,
        /// In two stores.
        halves: bool,
    },
    /// A jump to what follows, at an address with other high bits: the handler puts that right, or it is a service.
    Go {
        /// The high bits.
        high: u64,
    },
    /// A conditional branch into the middle of an instruction, which it otherwise falls into.
    Middle {
        /// Operands of `bltu`.
        operands: (i64, i64),
        /// The instruction, whose high half is one, too.
        outer: u32,
    },
    /// Code that accesses data which lies beside it, at the first address register.
    Beside {
        /// The code.
        code: Vec<u8>,
        /// The data.
        data: Vec<u8>,
    },
    /// Code that starts so many bytes before the end of a page.
    PageEnd {
        /// How many.
        back: u64,
        /// The code.
        code: Vec<u8>,
    },
    /// `mret` or `sret` to what follows.
    Return {
        /// `sret`.
        supervisor: bool,
        /// To user mode, which has no code there.
        user: bool,
    },
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// What it does.
    pub body: Vec<Op>,
    /// The function that it ends in instead of returning.
    pub tail: Option<usize>,
    /// Unused bytes before it.
    pub gap: u64,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its seed and number.
    pub name: (u64, u64),
    /// Who it is for.
    pub profile: Profile,
    /// Its place: the physical address of its slot.
    pub slot: u64,
    /// Who uses which register.
    pub registers: Registers,
    /// Loop passes and calls that it may do.
    pub fuel: u64,
    /// Address spaces and contexts.
    pub spaces: Spaces,
    /// Functions; number 0 is where it starts and ends.
    pub functions: Vec<Function>,
    /// What registers start with.
    pub x: [u64; 32],
    /// What floating-point registers start with.
    pub f: [u64; 32],
    /// What CSRs start with.
    pub csrs: Vec<(&'static str, u64)>,
    /// Contents of the data.
    pub data: Vec<u8>,
    /// Where the handler's random numbers start.
    pub chance: u64,
}

impl Op {
    /// The lists of pieces within.
    pub fn bodies(&self) -> Vec<&Vec<Op>> {
        match self {
            Op::Loop { body, .. } => vec![body],
            Op::If { then, other, .. } => vec![then, other],
            Op::Table { cases, .. } => cases.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> Vec<&mut Vec<Op>> {
        match self {
            Op::Loop { body, .. } => vec![body],
            Op::If { then, other, .. } => vec![then, other],
            Op::Table { cases, .. } => cases.iter_mut().collect(),
            _ => Vec::new(),
        }
    }

    /// No fewer bytes than its code has.
    pub fn most_bytes(&self) -> u64 {
        let inside: u64 = self.bodies().into_iter().flatten().map(Op::most_bytes).sum();
        inside
            + match self {
                Op::Code(code) => code.len() as u64,
                Op::PageEnd { code, .. } => 4200 + code.len() as u64,
                Op::Beside { code, data } => (code.len() + data.len()) as u64 + 32,
                _ => 80,
            }
    }
}
