//! What a table holds.

/// What a field is: how it is stored, and how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integer register number.
    X,
    /// Floating-point register number.
    F,
    /// Small unsigned number.
    U8,
    /// Signed immediate.
    I32,
    /// Signed offset from the instruction's address; printed as the target.
    Rel,
    /// Rounding mode.
    Rm,
    /// CSR number.
    Csr,
    /// Acquire and release bits.
    Order,
}

impl Kind {
    /// Every kind with its word in the language.
    pub const ALL: [(&'static str, Kind); 8] = [
        ("x", Kind::X),
        ("f", Kind::F),
        ("u8", Kind::U8),
        ("i32", Kind::I32),
        ("rel", Kind::Rel),
        ("rm", Kind::Rm),
        ("csr", Kind::Csr),
        ("order", Kind::Order),
    ];

    /// The Rust type that holds it.
    pub fn rust_type(self) -> &'static str {
        match self {
            Kind::X | Kind::F | Kind::U8 | Kind::Rm | Kind::Order => "u8",
            Kind::I32 | Kind::Rel => "i32",
            Kind::Csr => "u16",
        }
    }
}

/// Some bits of the instruction word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Lowest bit.
    pub lsb: u32,
    /// How many bits.
    pub len: u32,
}

/// A named operand: where its bits are and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, also of the Rust field.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its bits, most significant part first.
    pub parts: Vec<Part>,
    /// Whether the top bit is a sign.
    pub signed: bool,
    /// How far the assembled bits are shifted left.
    pub shift: u32,
    /// What is added then.
    pub plus: u32,
}

impl Field {
    /// Number of bits in the instruction word.
    pub fn bits(&self) -> u32 {
        self.parts.iter().map(|p| p.len).sum()
    }

    /// The bits it claims.
    pub fn mask(&self) -> u32 {
        self.parts.iter().fold(0, |m, p| m | (((1u64 << p.len) - 1) as u32) << p.lsb)
    }

    /// The raw bits (before sign, shift and addend) put in their places.
    pub fn place(&self, raw: u32) -> u32 {
        let mut left = self.bits();
        self.parts.iter().fold(0, |w, p| {
            left -= p.len;
            w | (raw >> left & ((1u64 << p.len) - 1) as u32) << p.lsb
        })
    }

    /// The raw bits that give `value`, if any do.
    pub fn raw_of(&self, value: i64) -> Option<u32> {
        let scaled = value - i64::from(self.plus);
        if scaled & ((1 << self.shift) - 1) != 0 {
            return None;
        }
        let raw = scaled >> self.shift;
        let span = 1i64 << self.bits();
        let fits = if self.signed { -span / 2 <= raw && raw < span / 2 } else { 0 <= raw && raw < span };
        fits.then_some((raw & (span - 1)) as u32)
    }
}

/// `field != value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// Field name.
    pub field: String,
    /// The value it must not have.
    pub not: i64,
}

/// A compressed row's full form: the base row, and for each of its fields a field of this row or a
/// constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// Base row.
    pub row: String,
    /// Base field and what it gets.
    pub args: Vec<(String, Result<String, i64>)>,
}

/// Attribute flags, each with what it says.
pub const FLAGS: &[(&str, &str)] = &[
    ("ends", "ends a translation block: jumps, traps, or may change the context of what follows"),
    ("privileged", "traps in user mode"),
    ("sensitive", "its effect depends on or changes privileged state (Popek and Goldberg)"),
    ("load", "may load from memory"),
    ("store", "may store to memory"),
    ("fp", "illegal while the floating-point state is off"),
];

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Mnemonic.
    pub name: String,
    /// Extension it belongs to.
    pub extension: String,
    /// Formula.
    pub doc: String,
    /// 32 or 16.
    pub length: u32,
    /// Fixed bits.
    pub mask: u32,
    /// Their values.
    pub bits: u32,
    /// Assembly template.
    pub asm: String,
    /// Fields in the order of the template, then the hidden ones.
    pub fields: Vec<String>,
    /// Values fields must not have.
    pub constraints: Vec<Constraint>,
    /// The wider row this one is carved out of.
    pub within: Option<String>,
    /// Flags, from [`FLAGS`].
    pub flags: Vec<String>,
    /// The base row of a compressed row.
    pub expansion: Option<Expansion>,
    /// Where it stands: file and line.
    pub at: (String, usize),
}

/// All fields and rows of an instruction set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Fields by definition order.
    pub fields: Vec<Field>,
    /// Extensions with their citations.
    pub extensions: Vec<(String, String)>,
    /// Rows in table order.
    pub rows: Vec<Row>,
}

impl Table {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The row of that name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.name == name)
    }
}
