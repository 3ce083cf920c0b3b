//! What a file given as a kernel for an x86-64 machine is, told from its bytes.

use crate::bzimage::{BzImage, BzImageError};
use crate::elf::{self, EM_X86_64, Elf, ElfError};
use crate::elf_note::NoteError;
use crate::kernel::{compression, is_text, other_file};
use crate::linux::LinuxImage;
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
    /// No bytes at all.
    #[error("this file is empty; name another one")]
    Empty,
    /// Printable text only.
    #[error("this is a text file, not a program for a machine")]
    Text,
    /// A compressed file; the field says by which format.
    #[error("this is {0}-compressed; unpack it first")]
    Compressed(&'static str),
    /// A kernel for another processor.
    #[error("this is {0}, an x86-64 kernel is needed")]
    OtherMachine(&'static str),
    /// A well-known file of another purpose.
    #[error("this is {0}, not a kernel")]
    OtherFile(&'static str),
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
        if data.is_empty() {
            return Err(X86KernelError::Empty);
        }
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
        Err(refuse(data))
    }
}

fn refuse(data: &[u8]) -> X86KernelError {
    if let Some(format) = compression(data) {
        X86KernelError::Compressed(format)
    } else if LinuxImage::recognise(data) {
        X86KernelError::OtherMachine("a riscv64 Linux Image")
    } else if data.get(0x38..0x3c) == Some(b"ARM\x64") {
        X86KernelError::OtherMachine("an arm64 Linux Image")
    } else if let Some(other) = other_file(data) {
        X86KernelError::OtherFile(other)
    } else if is_text(data) {
        X86KernelError::Text
    } else {
        X86KernelError::Unknown
    }
}
