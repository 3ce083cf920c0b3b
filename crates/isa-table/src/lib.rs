//! The table language: `.isa` files in, Rust source out. A build tool, never linked into the product.
//!
//! It knows pictures of bits, fields and assembly templates, and no instruction set. What a row
//! means is not its business: it only writes the line that joins row and meaning.
//!
//! ```text
//! # a comment
//! field rd    : x   = 7+5               LSB+LENGTH, most significant part first
//! field imm_b : rel = s31+1 7+1 25+6 8+4 <<1     s: sign-extended from the top part; <<N: scaled
//! field c_rs1 : x   = 7+3 +8            a constant added
//! extension I "Unprivileged ISA, chapter RV32I"
//! ## rd = rs1 + rs2                     documentation of the next row: a formula
//! add  0000000 ..... ..... 000 ..... 0110011 | {rd}, {rs1}, {rs2} | attributes
//! ```
//!
//! A row has a picture (32 or 16 bits), an assembly template and attributes. The template's
//! `{field}` prints a field, `{,field}` prints it after a comma unless it has its default, and
//! `{.field}` appends it to the mnemonic. Attributes: `where f!=v`, `within ROW`, `hidden f`,
//! `= ROW f=g h=#3` (a compressed row: another spelling of ROW, without a meaning of its own), and
//! the flags of [`FLAGS`].
//!
//! Refused, with file and line: rows that overlap, free bits that no field claims, fields on fixed
//! bits, unknown fields, kinds, flags and rows, rows without documentation, fields defined twice.
#![forbid(unsafe_code)]

mod check;
mod emit;
mod model;
mod parse;

pub use emit::emit;
pub use model::{Constraint, Expansion, FLAGS, Field, Kind, Part, Row, Table};

/// A table that was refused: where and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// File name as given to [`Table::parse`].
    pub file: String,
    /// Line number from 1.
    pub line: usize,
    /// The reason, naming rows and fields.
    pub why: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.why)
    }
}

impl std::error::Error for Refusal {}
