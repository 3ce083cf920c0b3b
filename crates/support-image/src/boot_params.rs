//! The zero page: what a boot loader tells an x86 Linux kernel (`struct boot_params`).
//!
//! Sources: Linux, `Documentation/arch/x86/zero-page.rst` for the layout, `boot.rst` for what the fields mean and
//! "64-bit boot protocol" for which are needed.

use crate::bzimage::{BzImage, HEADER_START};
use crate::memory_map::MemoryRange;

/// Bytes of the zero page.
pub const SIZE: usize = 4096;
/// Entries of its memory map.
pub const MAX_RANGES: usize = 128;

const ACPI_RSDP_ADDR: usize = 0x070;
const EXT_RAMDISK_IMAGE: usize = 0x0c0;
const EXT_RAMDISK_SIZE: usize = 0x0c4;
const EXT_CMD_LINE_PTR: usize = 0x0c8;
const E820_ENTRIES: usize = 0x1e8;
const VID_MODE: usize = 0x1fa;
const TYPE_OF_LOADER: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const E820_TABLE: usize = 0x2d0;
const E820_ENTRY: usize = 20;
/// A loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;
/// The video mode "normal".
const VIDEO_NORMAL: u16 = 0xffff;

/// Everything to be told, in guest-physical addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootParams {
    /// The command line, ended by a zero byte.
    pub cmdline: u64,
    /// The initrd's address and size.
    pub initrd: Option<(u64, u64)>,
    /// The ACPI root pointer; 0 lets the kernel search for one.
    pub rsdp: u64,
    /// At most [`MAX_RANGES`] of them.
    pub memory: Vec<MemoryRange>,
}

/// There are more ranges of memory than the zero page has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the zero page has room for {MAX_RANGES} ranges of memory, not for {0}")]
pub struct TooManyRanges(pub usize);

impl BootParams {
    /// The zero page for the kernel in `file`, whose header is `image`.
    ///
    /// # Errors
    /// [`TooManyRanges`].
    pub fn encode(&self, image: &BzImage, file: &[u8]) -> Result<[u8; SIZE], TooManyRanges> {
        if self.memory.len() > MAX_RANGES {
            return Err(TooManyRanges(self.memory.len()));
        }
        let mut page = [0; SIZE];
        let header = file.get(image.header.clone()).unwrap_or_default();
        put(&mut page, HEADER_START, header);
        put(&mut page, TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
        put(&mut page, VID_MODE, &VIDEO_NORMAL.to_le_bytes());
        put(&mut page, ACPI_RSDP_ADDR, &self.rsdp.to_le_bytes());
        split(&mut page, CMD_LINE_PTR, EXT_CMD_LINE_PTR, self.cmdline);
        let (address, size) = self.initrd.unwrap_or_default();
        split(&mut page, RAMDISK_IMAGE, EXT_RAMDISK_IMAGE, address);
        split(&mut page, RAMDISK_SIZE, EXT_RAMDISK_SIZE, size);
        put(&mut page, E820_ENTRIES, &[self.memory.len() as u8]);
        for (n, range) in self.memory.iter().enumerate() {
            let at = E820_TABLE + n * E820_ENTRY;
            put(&mut page, at, &range.start.to_le_bytes());
            put(&mut page, at + 8, &range.size.to_le_bytes());
            put(&mut page, at + 16, &range.kind.number().to_le_bytes());
        }
        Ok(page)
    }
}

/// A value whose halves lie in two places.
fn split(page: &mut [u8], low: usize, high: usize, value: u64) {
    put(page, low, &(value as u32).to_le_bytes());
    put(page, high, &((value >> 32) as u32).to_le_bytes());
}

fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = page.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
