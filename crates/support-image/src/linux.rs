//! The header of a RISC-V Linux boot image (`arch/riscv/boot/Image`).
//!
//! Source: Linux, `Documentation/arch/riscv/boot-image-header.rst`. Offsets in bytes, little-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0x00 | 4+4 | `code0`, `code1`: executable code; `code0` starts with `MZ` where there is an EFI stub |
//! | 0x08 | 8 | `text_offset`: load offset from the start of RAM |
//! | 0x10 | 8 | `image_size`: effective size in memory, which includes `.bss` |
//! | 0x18 | 8 | `flags`: bit 0 is the kernel's byte order |
//! | 0x30 | 8 | `magic` "RISCV\0\0\0", deprecated since 0.2 |
//! | 0x38 | 4 | `magic2` "RSC\x05" |
//! | 0x3c | 4 | offset of the PE header, or 0 |
//!
//! Because `image_size` counts bytes that are not in the file, a cut file shows only in the PE section table.

use crate::bytes::{le32, le64};
use crate::pe::{MACHINE_RISCV64, Pe, PeError};
use thiserror::Error;

/// Bytes of the header.
const HEADER_LEN: usize = 64;
const MAGIC: &[u8] = b"RISCV\0\0\0";
const MAGIC2: &[u8] = b"RSC\x05";
const FLAG_BIG_ENDIAN: u64 = 1;

/// Why a file is not a usable RISC-V boot image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinuxImageError {
    /// Neither magic number is in its place.
    #[error("this is not a RISC-V Linux Image")]
    NotImage,
    /// Bit 0 of `flags` is set.
    #[error("this is a big-endian Linux Image, a little-endian one is needed")]
    BigEndian,
    /// The PE header names another processor.
    #[error("this Linux Image's PE header is for machine {0:#06x}, riscv64 (0x5064) is needed")]
    OtherMachine(u16),
    /// The EFI stub's section table cannot be read, or a section is not wholly in the file.
    #[error("this Linux Image is damaged: {0}")]
    Sections(#[from] PeError),
}

/// What the header states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxImage {
    /// Load offset from the start of RAM, in bytes; 2 MiB for an S-mode kernel, 0 for an M-mode one.
    pub text_offset: u64,
    /// Bytes in memory from the load address, including what is not in the file; 0 where the header does not say.
    pub image_size: u64,
    /// The EFI stub's section table, where there is one.
    pub pe: Option<Pe>,
}

impl LinuxImage {
    /// True where either magic number is in its place.
    pub fn recognise(data: &[u8]) -> bool {
        data.get(0x38..0x3c) == Some(MAGIC2) || data.get(0x30..0x38) == Some(MAGIC)
    }

    /// Reads the header and checks that the file is whole as far as it can tell.
    pub fn parse(data: &[u8]) -> Result<Self, LinuxImageError> {
        if !Self::recognise(data) || data.len() < HEADER_LEN {
            return Err(LinuxImageError::NotImage);
        }
        let field = |offset| le64(data, offset).ok_or(LinuxImageError::NotImage);
        let pe_offset = le32(data, 0x3c).unwrap_or(0);
        let pe = if data.starts_with(b"MZ") && pe_offset != 0 {
            let needed = u64::from(pe_offset) + 4;
            if needed > data.len() as u64 {
                let actual = data.len() as u64;
                return Err(PeError::Truncated { what: "PE header".into(), needed, actual }.into());
            }
            Some(Pe::parse(data)?)
        } else {
            None
        };
        if let Some(pe) = &pe
            && pe.machine != MACHINE_RISCV64
        {
            return Err(LinuxImageError::OtherMachine(pe.machine));
        }
        if field(0x18)? & FLAG_BIG_ENDIAN != 0 {
            return Err(LinuxImageError::BigEndian);
        }
        Ok(LinuxImage { text_offset: field(0x08)?, image_size: field(0x10)?, pe })
    }

    /// Bytes of memory to keep free from the load address, for a file of `file_len` bytes.
    pub fn memory_len(&self, file_len: u64) -> u64 {
        self.image_size.max(file_len)
    }
}
