//! The header of an x86 Linux boot image (`arch/x86/boot/bzImage`).
//!
//! Source: Linux, `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header" and "Details of Header Fields".
//! Offsets in bytes, little-endian; the ones read here:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0x1f1 | 1 | `setup_sects`: sectors of the real-mode code after the first; 0 means 4 |
//! | 0x1f4 | 4 | `syssize`: 16-byte paragraphs of the protected-mode code |
//! | 0x1fe | 2 | `boot_flag` 0xaa55 |
//! | 0x200 | 2 | a short jump, whose second byte says where the header ends |
//! | 0x202 | 4 | `header` "HdrS" |
//! | 0x206 | 2 | `version` of the protocol, major in the high byte |
//! | 0x211 | 1 | `loadflags`: bit 0 is a kernel loaded high |
//! | 0x22c | 4 | `initrd_addr_max` |
//! | 0x230 | 4 | `kernel_alignment` |
//! | 0x234 | 1 | `relocatable_kernel` |
//! | 0x236 | 2 | `xloadflags`: bit 0 is a 64-bit entry point at 0x200 |
//! | 0x238 | 4 | `cmdline_size` |
//! | 0x258 | 8 | `pref_address` |
//! | 0x260 | 4 | `init_size`: memory needed from the load address |

use crate::bytes::{le16, le32, le64};
use std::ops::Range;
use thiserror::Error;

/// First byte of the setup header.
pub(crate) const HEADER_START: usize = 0x1f1;
const SECTOR: u64 = 512;
const OLDEST: u16 = 0x020a;
const LOADED_HIGH: u8 = 1;
const XLF_KERNEL_64: u16 = 1;

/// Where the 64-bit entry point lies in the protected-mode code.
pub const ENTRY_64: u64 = 0x200;

/// Why a file is not a bzImage that can be started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BzImageError {
    /// A magic number is not in its place.
    #[error("this is not an x86 Linux bzImage")]
    NotBzImage,
    /// The protocol is older than 2.10, of Linux 2.6.31, which says how much memory a kernel needs.
    #[error("this kernel speaks version {}.{:02} of the boot protocol, 2.10 is needed", .0 >> 8, .0 & 0xff)]
    TooOld(u16),
    /// The header ends before the fields that its version promises.
    #[error("this bzImage is damaged: its setup header ends at {0:#x}")]
    HeaderEnd(u64),
    /// A zImage, for the first megabyte.
    #[error("this is a zImage that is loaded low, a bzImage is needed")]
    LoadedLow,
    /// The file ends before what the header speaks of.
    #[error(
        "this bzImage is truncated: its {what} would end at byte {needed}, but the file has {actual} bytes; \
         fetch or build it again"
    )]
    Truncated {
        /// Which piece is missing.
        what: &'static str,
        /// Length in bytes that the file would need.
        needed: u64,
        /// Length in bytes that it has.
        actual: u64,
    },
    /// A field contradicts the others.
    #[error("this bzImage is damaged: its {0}")]
    Field(&'static str),
}

/// What the header states, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BzImage {
    /// The setup header, to be copied into the zero page.
    pub header: Range<usize>,
    /// Where in the file the protected-mode code lies: what is loaded.
    pub code: Range<usize>,
    /// `xloadflags`, 0 before version 2.12.
    xloadflags: u16,
    /// Highest address of the initrd's last byte.
    pub initrd_max: u32,
    /// Alignment of the load address, a power of two.
    pub alignment: u32,
    /// May be loaded elsewhere than at `pref_address`.
    pub relocatable: bool,
    /// Bytes of the command line without its final zero.
    pub cmdline_max: u32,
    /// Address that the kernel likes to be loaded at.
    pub preferred: u64,
    /// Bytes of memory it needs from its load address.
    pub init_size: u32,
}

impl BzImage {
    /// True where both magic numbers are in their places.
    pub fn recognise(data: &[u8]) -> bool {
        data.get(0x1fe..0x200) == Some(b"\x55\xaa") && data.get(0x202..0x206) == Some(b"HdrS")
    }

    /// Reads and checks the header.
    pub fn parse(data: &[u8]) -> Result<Self, BzImageError> {
        if !Self::recognise(data) {
            return Err(BzImageError::NotBzImage);
        }
        let actual = data.len() as u64;
        let truncated = |what, needed| BzImageError::Truncated { what, needed, actual };
        let byte = |at: usize| data.get(at).copied().ok_or(truncated("setup header", at as u64 + 1));
        let half = |at| le16(data, at).ok_or(truncated("setup header", at as u64 + 2));
        let word = |at| le32(data, at).ok_or(truncated("setup header", at as u64 + 4));
        let version = half(0x206)?;
        if version < OLDEST {
            return Err(BzImageError::TooOld(version));
        }
        let setup_end = (u64::from(sectors(byte(0x1f1)?)) + 1) * SECTOR;
        let header_end = 0x202 + u64::from(byte(0x201)?);
        // Through init_size, which 2.10 has; xloadflags came in a hole before it. The end is at most 0x301, and the
        // real-mode code has two sectors at least.
        if header_end < 0x264 {
            return Err(BzImageError::HeaderEnd(header_end));
        }
        if byte(0x211)? & LOADED_HIGH == 0 {
            return Err(BzImageError::LoadedLow);
        }
        let code_end = setup_end + u64::from(word(0x1f4)?) * 16;
        if code_end > actual {
            return Err(truncated("protected-mode code", code_end));
        }
        let image = BzImage {
            header: HEADER_START..header_end as usize,
            code: setup_end as usize..data.len(),
            xloadflags: if version >= 0x020c { half(0x236)? } else { 0 },
            initrd_max: word(0x22c)?,
            alignment: word(0x230)?,
            relocatable: byte(0x234)? != 0,
            cmdline_max: word(0x238)?,
            preferred: le64(data, 0x258).ok_or(truncated("setup header", 0x260))?,
            init_size: word(0x260)?,
        };
        image.check()?;
        Ok(image)
    }

    fn check(&self) -> Result<(), BzImageError> {
        let code = self.code.len() as u64;
        if code < ENTRY_64 {
            return Err(BzImageError::Field("protected-mode code is too short to have an entry point"));
        }
        if !self.alignment.is_power_of_two() {
            return Err(BzImageError::Field("kernel_alignment is no power of two"));
        }
        if self.init_size == 0 {
            return Err(BzImageError::Field("init_size is 0"));
        }
        if self.preferred.checked_add(u64::from(self.init_size).max(code)).is_none() {
            return Err(BzImageError::Field("pref_address is at the end of the address space"));
        }
        Ok(())
    }

    /// True where the kernel has the 64-bit entry point, [`ENTRY_64`] bytes into its code.
    pub fn has_64_bit_entry(&self) -> bool {
        self.xloadflags & XLF_KERNEL_64 != 0
    }

    /// Bytes of memory to keep free from the load address.
    pub fn memory_len(&self) -> u64 {
        u64::from(self.init_size).max(self.code.len() as u64)
    }

    /// The protected-mode code: load it at a multiple of `alignment`, `preferred` if it is free.
    pub fn code<'data>(&self, data: &'data [u8]) -> &'data [u8] {
        data.get(self.code.clone()).unwrap_or_default()
    }
}

/// Sectors of the real-mode code after the first, for a value of `setup_sects`.
fn sectors(setup_sects: u8) -> u8 {
    if setup_sects == 0 { 4 } else { setup_sects }
}
