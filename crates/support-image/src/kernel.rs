//! What a file given as a kernel or firmware for a riscv64 machine is, told from its bytes.

use crate::elf::{self, Elf, ElfError};
use crate::linux::{LinuxImage, LinuxImageError};
use crate::refusal::{Refusal, Wanted};
use thiserror::Error;

/// A file that a machine can be started from.
#[derive(Debug)]
pub enum Kernel<'data> {
    /// An executable, loaded segment by segment at its own addresses.
    Elf(Elf<'data>),
    /// A Linux boot image, loaded whole where `text_offset` says.
    Image(LinuxImage),
    /// Bytes with no known structure, loaded whole and entered at the first.
    Flat,
}

/// Why a file cannot be started. The messages read after "FILE: ".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// Not a file for this machine.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An ELF file with a fault.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A Linux Image with a fault.
    #[error(transparent)]
    Image(#[from] LinuxImageError),
}

impl<'data> Kernel<'data> {
    /// Tells what `data` is and checks it. What nothing recognises is [`Kernel::Flat`]: firmware often is.
    pub fn parse(data: &'data [u8]) -> Result<Self, KernelError> {
        if data.starts_with(elf::MAGIC) {
            return Ok(Kernel::Elf(Elf::parse(data)?));
        }
        if LinuxImage::recognise(data) {
            return Ok(Kernel::Image(LinuxImage::parse(data)?));
        }
        match Refusal::of(data, Wanted::Riscv64) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Kernel::Flat),
        }
    }
}
