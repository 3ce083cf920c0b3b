//! Faults and traps as instructions raise them (SDM volume 3, "Interrupt and Exception Handling").

/// Numbers of the exceptions.
pub mod vector {
    #![allow(missing_docs, reason = "the names are the manual's mnemonics")]
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
    pub const VE: u8 = 20;
    pub const CP: u8 = 21;
}

/// An exception that an instruction raises. The instruction has changed nothing, except for the elements of a string
/// instruction that are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number.
    pub vector: u8,
    /// The error code, for the exceptions that push one.
    pub error: Option<u32>,
    /// For #PF: the linear address, which goes to CR2.
    pub address: Option<u64>,
}

impl Fault {
    /// An exception without an error code.
    pub const fn plain(vector: u8) -> Fault {
        Fault { vector, error: None, address: None }
    }

    /// An exception with an error code.
    pub const fn coded(vector: u8, error: u32) -> Fault {
        Fault { vector, error: Some(error), address: None }
    }

    /// #UD
    pub const fn ud() -> Fault {
        Fault::plain(vector::UD)
    }

    /// #GP(`error`)
    pub const fn gp(error: u32) -> Fault {
        Fault::coded(vector::GP, error)
    }

    /// #PF at linear address `address`.
    pub const fn page(error: u32, address: u64) -> Fault {
        Fault { vector: vector::PF, error: Some(error), address: Some(address) }
    }
}
