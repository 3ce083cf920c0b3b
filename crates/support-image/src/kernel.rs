//! What a file given as a kernel or firmware is, told from its bytes, and why it cannot be used where it cannot.

use crate::bytes::{be32, le32};
use crate::elf::{self, Elf, ElfError};
use crate::fdt;
use crate::linux::{LinuxImage, LinuxImageError};
use crate::pe::{MACHINE_AMD64, MACHINE_ARM64, MACHINE_RISCV64, Pe};
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
    /// No bytes at all.
    #[error("this file is empty; name another one")]
    Empty,
    /// Printable text only.
    #[error("this is a text file, not a program for a machine")]
    Text,
    /// A compressed file or kernel; the field says by which format.
    #[error("this is {0}-compressed; unpack it first")]
    Compressed(&'static str),
    /// A kernel for another processor.
    #[error("this is {0}, a riscv64 kernel is needed")]
    OtherMachine(&'static str),
    /// A riscv64 PE file that is not a Linux Image: an EFI application.
    #[error("this is an EFI application; it needs UEFI firmware to start it")]
    Efi,
    /// A well-known file of another purpose; the field says which, and where it belongs.
    #[error("this is {0}, not a kernel")]
    OtherFile(&'static str),
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
        if data.is_empty() {
            return Err(KernelError::Empty);
        }
        if data.starts_with(elf::MAGIC) {
            return Ok(Kernel::Elf(Elf::parse(data)?));
        }
        if LinuxImage::recognise(data) {
            return Ok(Kernel::Image(LinuxImage::parse(data)?));
        }
        match foreign(data) {
            Some(error) => Err(error),
            None => Ok(Kernel::Flat),
        }
    }
}

/// The reason to refuse a file that is neither ELF nor a RISC-V Image, or `None` for one that may be flat code.
fn foreign(data: &[u8]) -> Option<KernelError> {
    if let Some(format) = compression(data) {
        return Some(KernelError::Compressed(format));
    }
    // Linux, Documentation/arch/arm64/booting.rst: magic at byte 56.
    if data.get(0x38..0x3c) == Some(b"ARM\x64") {
        return Some(KernelError::OtherMachine("an arm64 Linux Image"));
    }
    // Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header": magic at 0x202, boot_flag at 0x1fe.
    if data.get(0x202..0x206) == Some(b"HdrS") {
        return Some(KernelError::OtherMachine("an x86 Linux bzImage"));
    }
    if let Some(other) = other_file(data) {
        return Some(KernelError::OtherFile(other));
    }
    if let Some(error) = portable_executable(data) {
        return Some(error);
    }
    is_text(data).then_some(KernelError::Text)
}

/// The compression format that the first bytes announce.
pub(crate) fn compression(data: &[u8]) -> Option<&'static str> {
    const SIGNATURES: &[(&[u8], &str)] = &[
        (b"\x1f\x8b", "gzip"),            // RFC 1952, 2.3.1
        (b"\x28\xb5\x2f\xfd", "zstd"),    // RFC 8878, 3.1.1
        (b"\xfd7zXZ\0", "xz"),            // The .xz File Format, 2.1.1.1
        (b"BZh", "bzip2"),                // bzip2's stream header, followed by the level
        (b"\x02\x21\x4c\x18", "lz4"),     // LZ4 Frame Format, legacy frame
        (b"\x04\x22\x4d\x18", "lz4"),     // LZ4 Frame Format, general structure
        (b"\x89LZO\0\r\n\x1a\n", "lzop"), // lzop's file header
        (b"\x5d\x00\x00\x00", "lzma"),    // the .lzma header with the usual properties byte
        (b"PK\x03\x04", "zip"),           // .ZIP File Format Specification, 4.3.7
    ];
    if let Some((_, name)) = SIGNATURES.iter().find(|(magic, _)| data.starts_with(magic)) {
        return Some(name);
    }
    // Linux, drivers/firmware/efi/libstub/zboot-header.S: an EFI program that carries a compressed kernel.
    if data.starts_with(b"MZ") && data.get(4..8) == Some(b"zimg") {
        return Some("EFI-zboot");
    }
    None
}

/// Files that people give by mistake, by their magic numbers.
pub(crate) fn other_file(data: &[u8]) -> Option<&'static str> {
    if be32(data, 0) == Some(fdt::MAGIC) {
        return Some("a devicetree blob or FIT image");
    }
    // The legacy uImage header's magic.
    if be32(data, 0) == Some(0x2705_1956) {
        return Some("a U-Boot uImage (take its payload out first)");
    }
    if data.starts_with(b"070701") || data.starts_with(b"070702") || data.starts_with(b"070707") {
        return Some("a cpio archive (an initramfs is given with --initrd)");
    }
    if data.starts_with(b"QFI\xfb") {
        return Some("a qcow2 disk image (a disk is given with --disk)");
    }
    if data.starts_with(b"!<arch>\n") {
        return Some("an archive (a Debian package or a static library)");
    }
    if data.get(0x8001..0x8006) == Some(b"CD001") {
        return Some("an ISO 9660 disc image (a disk is given with --disk)");
    }
    None
}

fn portable_executable(data: &[u8]) -> Option<KernelError> {
    if !data.starts_with(b"MZ") {
        return None;
    }
    let machine = match Pe::parse(data) {
        Ok(pe) => pe.machine,
        // A cut file still tells its machine, where its COFF header is in the file.
        Err(_) => {
            let at = le32(data, 0x3c)? as usize;
            if data.get(at..at.checked_add(4)?) != Some(b"PE\0\0") {
                return None;
            }
            crate::bytes::le16(data, at.checked_add(4)?)?
        }
    };
    Some(match machine {
        MACHINE_RISCV64 => KernelError::Efi,
        MACHINE_AMD64 => KernelError::OtherMachine("an x86-64 EFI or Windows program"),
        MACHINE_ARM64 => KernelError::OtherMachine("an arm64 EFI or Windows program"),
        _ => KernelError::OtherMachine("a PE program for another machine"),
    })
}

/// True where the first bytes are all printable ASCII or white space. Machine code never is for long: four bytes of
/// RISC-V code that are all printable are rare, sixteen in a row rarer still.
pub(crate) fn is_text(data: &[u8]) -> bool {
    let sample = data.get(..data.len().min(512)).unwrap_or(data);
    sample.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}
