//! What a row of the tables looks like at run time: for the disassembler, the generators, coverage.

/// Attribute bits of a row.
pub mod flag {
    /// Ends a translation block.
    pub const ENDS: u8 = 1;
    /// Traps in user mode.
    pub const PRIVILEGED: u8 = 2;
    /// Depends on or changes privileged state (Popek and Goldberg).
    pub const SENSITIVE: u8 = 4;
    /// May load from memory.
    pub const LOAD: u8 = 8;
    /// May store to memory.
    pub const STORE: u8 = 16;
    /// Illegal while `mstatus.FS` is Off.
    pub const FP: u8 = 32;
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integer register.
    X,
    /// Floating-point register.
    F,
    /// Small unsigned number.
    U8,
    /// Signed immediate.
    I32,
    /// Offset from the instruction's address.
    Rel,
    /// Rounding mode.
    Rm,
    /// CSR number.
    Csr,
    /// Acquire and release bits.
    Order,
}

/// An operand's place in the instruction word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name in the tables.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// (lowest bit, length), most significant part first.
    pub parts: &'static [(u8, u8)],
    /// Whether the top bit is a sign.
    pub signed: bool,
    /// How far the assembled bits are shifted left.
    pub shift: u8,
    /// What is added then.
    pub plus: u8,
}

impl Field {
    /// Its value in `word`.
    pub fn get(&self, word: u32) -> i64 {
        let (mut v, mut bits) = (0i64, 0u32);
        for &(lsb, len) in self.parts {
            v = v << len | i64::from(word >> lsb) & ((1 << len) - 1);
            bits += u32::from(len);
        }
        if self.signed {
            v = v << (64 - bits) >> (64 - bits);
        }
        (v << self.shift) + i64::from(self.plus)
    }

    /// The bits of the word that give it `value`, if any do.
    pub fn put(&self, value: i64) -> Option<u32> {
        let bits: u32 = self.parts.iter().map(|&(_, len)| u32::from(len)).sum();
        let (raw, mut left) = ((value - i64::from(self.plus)) >> self.shift, bits);
        let word = self.parts.iter().fold(0, |word, &(lsb, len)| {
            left -= u32::from(len);
            word | ((raw >> left & ((1 << len) - 1)) as u32) << lsb
        });
        (self.get(word) == value).then_some(word)
    }

    /// All bits of the word it occupies.
    pub fn mask(&self) -> u32 {
        self.parts.iter().fold(0, |m, &(lsb, len)| m | (((1u64 << len) - 1) as u32) << lsb)
    }
}

/// One row of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Mnemonic.
    pub name: &'static str,
    /// Extension, with its citation in [`crate::EXTENSIONS`].
    pub extension: &'static str,
    /// Formula.
    pub doc: &'static str,
    /// Bits: 32 or 16.
    pub length: u8,
    /// Fixed bits.
    pub mask: u32,
    /// Their values.
    pub bits: u32,
    /// Assembly template.
    pub asm: &'static str,
    /// Operands.
    pub fields: &'static [&'static Field],
    /// Values that fields must not have.
    pub not: &'static [(&'static Field, i64)],
    /// The wider row that this one is carved out of.
    pub within: Option<&'static str>,
    /// Bits of [`flag`].
    pub flags: u8,
    /// The full form of a compressed row.
    pub expands_to: Option<&'static str>,
}

impl Row {
    /// Whether `word` is an instance of this row (or of one carved out of it).
    pub fn matches(&self, word: u32) -> bool {
        word & self.mask == self.bits && self.not.iter().all(|(field, not)| field.get(word) != *not)
    }
}
