//! Formats of files that a machine starts from: ELF executables, Linux boot images, PE section tables and
//! flattened devicetrees.
//!
//! This crate knows formats and no policy: it says what a file is and where its pieces lie, never where in a machine
//! they should go. Every reader is total: any bytes give a value or an error, in time and memory bounded by their
//! length, never a panic.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod bytes;
pub mod elf;
pub mod fdt;
mod fdt_read;
mod fdt_text;
pub mod kernel;
pub mod linux;
pub mod pe;

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
    if let Ok(tree) = fdt::Tree::parse(data) {
        let _ = tree.to_dts();
        let _ = tree.to_blob();
    }
}
