//! The part of PE/COFF that tells whether a file is whole: the COFF header and the section table.
//!
//! Source: Microsoft "PE Format", sections "COFF File Header" and "Section Table". A Linux `Image` with the EFI stub
//! is such a file too.

use crate::bytes::{le16, le32};
use thiserror::Error;

/// `Machine` of 64-bit RISC-V ("PE Format", "Machine Types").
pub const MACHINE_RISCV64: u16 = 0x5064;
/// `Machine` of x86-64.
pub const MACHINE_AMD64: u16 = 0x8664;
/// `Machine` of 64-bit Arm.
pub const MACHINE_ARM64: u16 = 0xaa64;

/// Where in the file the offset of the PE signature is stored ("Signature (Image Only)").
const SIGNATURE_POINTER: usize = 0x3c;
const SECTION_HEADER_LEN: usize = 40;

/// Why a PE file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeError {
    /// No `MZ`, or no `PE` signature where the `MZ` header points.
    #[error("this is not a PE file")]
    NotPe,
    /// A header or a section's contents would lie past the end of the file.
    #[error(
        "this file is truncated: its {what} would end at byte {needed}, but the file has {actual} bytes; fetch it again"
    )]
    Truncated {
        /// Section name, or the header that is missing.
        what: String,
        /// Length in bytes that the file would need.
        needed: u64,
        /// Length in bytes that it has.
        actual: u64,
    },
}

/// One row of the section table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name, up to eight bytes, without the padding.
    pub name: String,
    /// Bytes in the file.
    pub raw_size: u32,
    /// Offset of those bytes in the file.
    pub raw_offset: u32,
}

/// A PE file whose sections all lie inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pe {
    /// `Machine` field, for instance [`MACHINE_RISCV64`].
    pub machine: u16,
    /// The section table.
    pub sections: Vec<Section>,
}

impl Pe {
    /// Reads the headers and checks that every section's bytes are in the file.
    pub fn parse(data: &[u8]) -> Result<Self, PeError> {
        let signature = le32(data, SIGNATURE_POINTER).filter(|_| data.starts_with(b"MZ"));
        let Some(signature) = signature.and_then(|at| usize::try_from(at).ok()) else {
            return Err(PeError::NotPe);
        };
        let actual = data.len() as u64;
        let truncated =
            |what: &str, needed: u64| PeError::Truncated { what: what.to_owned(), needed, actual };
        // The signature's four bytes and the COFF header's twenty; the latter's fields are counted from its start.
        let coff = signature.saturating_add(4);
        match data.get(signature..coff) {
            Some(b"PE\0\0") => {}
            // A pointer past the end is a cut file only where the rest says that it is one: leave that to callers.
            _ => return Err(PeError::NotPe),
        }
        let (Some(machine), Some(count), Some(optional)) =
            (le16(data, coff), le16(data, coff.saturating_add(2)), le16(data, coff.saturating_add(16)))
        else {
            return Err(truncated("COFF header", coff as u64 + 20));
        };
        let table = coff.saturating_add(20).saturating_add(usize::from(optional));
        let table_end = table.saturating_add(usize::from(count) * SECTION_HEADER_LEN);
        let Some(rows) = data.get(table..table_end) else {
            return Err(truncated("section table", table_end as u64));
        };
        let sections: Vec<Section> = rows.chunks_exact(SECTION_HEADER_LEN).filter_map(section).collect();
        for section in &sections {
            let needed = u64::from(section.raw_offset) + u64::from(section.raw_size);
            if section.raw_size != 0 && needed > actual {
                return Err(truncated(&format!("section {}", section.name), needed));
            }
        }
        Ok(Pe { machine, sections })
    }
}

fn section(row: &[u8]) -> Option<Section> {
    let name = row.get(..8)?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(Section {
        name: name.escape_ascii().to_string(),
        raw_size: le32(row, 16)?,
        raw_offset: le32(row, 20)?,
    })
}
