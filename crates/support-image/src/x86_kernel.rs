//! What a file given as a kernel for an x86-64 machine is, told from its bytes.

use crate::bzimage::{BzImage, BzImageError};
use crate::elf::{self, EM_X86_64, Elf, ElfError};
use crate::elf_note::NoteError;
use crate::refusal::{Refusal, Wanted};
use thiserror::Error;

/// A file that an x86-64 machine can be started from.
#[derive(Debug)]
pub enum X86Kernel<'data> {
    /// A Linux boot image.
    BzImage(BzImage),
    /// An executable with a PVH entry point, entered there in 32-bit mode without paging.
    Pvh {
        /// The executable, loaded segment by segment at its physical addresses.
        elf: Elf<'data>,
        /// Physical address of the entry.
        entry: u32,
    },
    /// An executable without one.
    Elf(Elf<'data>),
}

/// Why a file cannot be started. The messages read after "FILE: ".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum X86KernelError {
    /// Not a file for this machine.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing that is known; flat code has no place in an x86 machine without firmware.
    #[error("this is neither a bzImage nor an ELF executable")]
    Unknown,
    /// A bzImage with a fault.
    #[error(transparent)]
    BzImage(#[from] BzImageError),
    /// An ELF file with a fault.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// An ELF file whose notes have a fault.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl<'data> X86Kernel<'data> {
    /// Tells what `data` is and checks it.
    pub fn parse(data: &'data [u8]) -> Result<Self, X86KernelError> {
        if data.starts_with(elf::MAGIC) {
            let elf = Elf::parse_for(data, EM_X86_64)?;
            return Ok(match elf.pvh_entry()? {
                Some(entry) => X86Kernel::Pvh { elf, entry },
                None => X86Kernel::Elf(elf),
            });
        }
        if BzImage::recognise(data) {
            return Ok(X86Kernel::BzImage(BzImage::parse(data)?));
        }
        Err(Refusal::of(data, Wanted::X86_64).map_or(X86KernelError::Unknown, X86KernelError::Refused))
    }
}
