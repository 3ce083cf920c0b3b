//! What the IR has to know of an instruction set: register classes and what named operations touch.

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// 64 bits.
    I64,
    /// Status flags, computed when asked for ([`isa_core::LazyFlags`]).
    Flags,
    /// This many bytes, without a view of their elements.
    Vector(u16),
    /// Nothing: the node is done for its effect.
    Nothing,
}

/// What the registers of a class hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// 64 bits.
    I64,
    /// Status flags.
    Flags,
    /// A vector of this many bytes; groups of neighbouring registers are read and written as one.
    Vector(u16),
}

/// A class of guest registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Name in the text form: letters only.
    pub name: &'static str,
    /// How many there are.
    pub count: u8,
    /// What each holds.
    pub holds: Holds,
}

/// An instruction set, as far as the IR must know it.
#[derive(Debug)]
pub struct Isa {
    /// Its register classes, at most eight. A register that always reads as 0 is in none of them.
    pub classes: &'static [Class],
    /// The effects of the operation with this number, if there is one.
    pub effects: fn(u32) -> Option<Effects>,
    /// Its name in the text form, without spaces, commas and brackets.
    pub operation_name: fn(u32) -> String,
}

impl Isa {
    /// The class with this number.
    pub fn class(&self, class: u8) -> Option<&'static Class> {
        self.classes.get(usize::from(class))
    }
}

/// Parts of the guest's state, 15 bits: classes of registers, memory, control, and five whose meaning
/// is the instruction set's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parts(u16);

impl Parts {
    /// None.
    pub const NONE: Parts = Parts(0);
    /// Guest memory.
    pub const MEMORY: Parts = Parts(1 << 8);
    /// What is executed next.
    pub const CONTROL: Parts = Parts(1 << 9);

    /// The registers of a class, of which there are eight.
    pub const fn class(class: u8) -> Parts {
        Parts(1 << (class & 7))
    }

    /// A part that the instruction set defines: 0 to 4.
    pub const fn own(n: u8) -> Parts {
        Parts(1 << (10 + n % 5))
    }

    /// These and `other`.
    #[must_use]
    pub const fn and(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }

    /// Whether some of `other` are among these.
    pub const fn touches(self, other: Parts) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a named operation depends on and changes besides its arguments and result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effects(u32);

impl Effects {
    /// `traps`: whether it may stop the block, having changed nothing.
    pub const fn new(reads: Parts, writes: Parts, traps: bool) -> Effects {
        Effects(reads.0 as u32 | (writes.0 as u32) << 16 | (traps as u32) << 15)
    }

    /// What it depends on.
    pub const fn reads(self) -> Parts {
        Parts(self.0 as u16 & 0x7fff)
    }

    /// What it may change.
    pub const fn writes(self) -> Parts {
        Parts((self.0 >> 16) as u16)
    }

    /// Whether it may stop the block.
    pub const fn traps(self) -> bool {
        self.0 & 1 << 15 != 0
    }
}
