//! Why a file is no kernel for a machine, whichever machine that is: files of other purposes and kernels of other
//! processors, told from their bytes.

use crate::bytes::{be32, le16, le32};
use crate::bzimage::BzImage;
use crate::fdt;
use crate::linux::LinuxImage;
use crate::pe::{MACHINE_AMD64, MACHINE_ARM64, MACHINE_RISCV64, Pe};
use std::fmt;
use thiserror::Error;

/// The processor that a kernel is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// 64-bit RISC-V.
    Riscv64,
    /// x86-64.
    X86_64,
}

impl Wanted {
    /// Its `Machine` in a PE header.
    fn pe_machine(self) -> u16 {
        match self {
            Wanted::Riscv64 => MACHINE_RISCV64,
            Wanted::X86_64 => MACHINE_AMD64,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wanted::Riscv64 => "a riscv64 kernel",
            Wanted::X86_64 => "an x86-64 kernel",
        })
    }
}

/// Why a file cannot be started. The messages read after "FILE: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No bytes at all.
    #[error("this file is empty; name another one")]
    Empty,
    /// Printable text only.
    #[error("this is a text file, not a program for a machine")]
    Text,
    /// A compressed file or kernel; the field says by which format.
    #[error("this is {0}-compressed; unpack it first")]
    Compressed(&'static str),
    /// A kernel or program for another processor.
    #[error("this is {0}, {1} is needed")]
    OtherMachine(&'static str, Wanted),
    /// A PE file for the right processor that is no Linux kernel: an EFI application.
    #[error("this is an EFI application; it needs UEFI firmware to start it")]
    Efi,
    /// A well-known file of another purpose; the field says which, and where it belongs.
    #[error("this is {0}, not a kernel")]
    OtherFile(&'static str),
}

impl Refusal {
    /// The reason to refuse a file that is neither ELF nor a Linux kernel for `wanted`; `None` for one that nothing is
    /// known of.
    pub fn of(data: &[u8], wanted: Wanted) -> Option<Refusal> {
        if data.is_empty() {
            return Some(Refusal::Empty);
        }
        if let Some(format) = compression(data) {
            return Some(Refusal::Compressed(format));
        }
        if let Some(kernel) = linux_kernel(data) {
            return Some(Refusal::OtherMachine(kernel, wanted));
        }
        if let Some(other) = other_file(data) {
            return Some(Refusal::OtherFile(other));
        }
        if let Some(machine) = pe_machine(data) {
            return Some(match machine {
                machine if machine == wanted.pe_machine() => Refusal::Efi,
                MACHINE_RISCV64 => Refusal::OtherMachine("a riscv64 EFI program", wanted),
                MACHINE_AMD64 => Refusal::OtherMachine("an x86-64 EFI or Windows program", wanted),
                MACHINE_ARM64 => Refusal::OtherMachine("an arm64 EFI or Windows program", wanted),
                _ => Refusal::OtherMachine("a PE program for another machine", wanted),
            });
        }
        is_text(data).then_some(Refusal::Text)
    }
}

/// Linux kernels by their magic numbers.
fn linux_kernel(data: &[u8]) -> Option<&'static str> {
    if LinuxImage::recognise(data) {
        return Some("a riscv64 Linux Image");
    }
    // Linux, Documentation/arch/arm64/booting.rst: magic at byte 56.
    if data.get(0x38..0x3c) == Some(b"ARM\x64") {
        return Some("an arm64 Linux Image");
    }
    BzImage::recognise(data).then_some("an x86 Linux bzImage")
}

/// The compression format that the first bytes announce.
fn compression(data: &[u8]) -> Option<&'static str> {
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
fn other_file(data: &[u8]) -> Option<&'static str> {
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

/// `Machine` of a PE file, which a cut file still tells where its COFF header is in it.
fn pe_machine(data: &[u8]) -> Option<u16> {
    if !data.starts_with(b"MZ") {
        return None;
    }
    if let Ok(pe) = Pe::parse(data) {
        return Some(pe.machine);
    }
    let at = le32(data, 0x3c)? as usize;
    let signed = data.get(at..at.checked_add(4)?) == Some(b"PE\0\0");
    if signed { le16(data, at.checked_add(4)?) } else { None }
}

/// True where the first bytes are all printable ASCII or white space. Machine code never is for long: four bytes of
/// RISC-V code that are all printable are rare, sixteen in a row rarer still.
fn is_text(data: &[u8]) -> bool {
    let sample = data.get(..data.len().min(512)).unwrap_or(data);
    sample.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}
