//! Formats of what a machine starts from: ELF executables and their notes, Linux boot images (RISC-V's Image, x86's
//! bzImage), PE section tables and flattened devicetrees; and of what an x86 kernel is told at its start: the zero page
//! or PVH's start info, and the MP table.
//!
//! This crate knows formats and no policy: it says what a file is and where its pieces lie, never where in a machine
//! they should go. Every reader is total: any bytes give a value or an error, in time and memory bounded by their
//! length, never a panic.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod boot_params;
mod bytes;
pub mod bzimage;
pub mod elf;
pub mod elf_note;
pub mod fdt;
mod fdt_read;
mod fdt_text;
pub mod kernel;
pub mod linux;
pub mod memory_map;
pub mod mp_table;
pub mod pe;
pub mod pvh;
pub mod refusal;
pub mod x86_kernel;

/// Drives every reader of this crate over arbitrary bytes, and what a caller would do with the results: the body of
/// a fuzz target. It returns nothing; it must only never panic, hang or allocate out of proportion.
pub fn exercise(data: &[u8]) {
    if let Ok(elf) = elf::Elf::parse(data) {
        let _ = elf.symbol("tohost");
        let _ = elf.entry_paddr();
        for segment in elf.segments() {
            let _ = elf.contents(segment).len();
        }
    }
    let _ = linux::LinuxImage::parse(data);
    let _ = pe::Pe::parse(data);
    let _ = kernel::Kernel::parse(data);
    match x86_kernel::X86Kernel::parse(data) {
        Ok(x86_kernel::X86Kernel::BzImage(image)) => {
            let _ = (image.code(data).len(), image.memory_len());
            let page = boot_params::BootParams::default().encode(&image, data);
            assert!(page.is_ok(), "no memory fits any zero page");
        }
        Ok(x86_kernel::X86Kernel::Pvh { elf, .. } | x86_kernel::X86Kernel::Elf(elf)) => {
            for segment in elf.segments() {
                let _ = elf.contents(segment).len();
            }
        }
        Err(_) => {}
    }
    if let Ok(tree) = fdt::Tree::parse(data) {
        let _ = tree.to_dts();
        let _ = tree.to_blob();
    }
}
