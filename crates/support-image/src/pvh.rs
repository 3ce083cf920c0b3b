//! What a PVH boot loader tells a kernel: `hvm_start_info` and its tables.
//!
//! Sources: Xen, `docs/misc/pvh.pandoc` ("x86/HVM direct boot ABI") for the state at entry, and
//! `xen/include/public/arch-x86/hvm/start_info.h` for the layouts: all fields little-endian, naturally aligned.
//!
//! | offset | size | `hvm_start_info` |
//! |---|---|---|
//! | 0 | 4 | magic 0x336ec578 |
//! | 4 | 4 | version: 1 has the memory map |
//! | 8 | 4 | flags: `SIF_` bits, 0 outside Xen |
//! | 12 | 4 | modules |
//! | 16 | 8 | address of the module list, of 32-byte entries: address, size, command line, 0 |
//! | 24 | 8 | address of the command line |
//! | 32 | 8 | address of the ACPI root pointer |
//! | 40 | 8 | address of the memory map, of 24-byte entries: address, size, kind (4), 0 (4) |
//! | 48 | 4 | entries of the memory map |
//! | 52 | 4 | 0 |

use crate::memory_map::MemoryRange;

/// Bytes of `hvm_start_info`.
const START_INFO_LEN: u64 = 56;
/// Bytes of a module list entry.
const MODULE_LEN: u64 = 32;
const MAGIC: u32 = 0x336e_c578;

/// Everything to be told, in guest-physical addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartInfo {
    /// The command line, ended by a zero byte; 0 if there is none.
    pub cmdline: u64,
    /// The initrd's address and size.
    pub initrd: Option<(u64, u64)>,
    /// The ACPI root pointer, or 0.
    pub rsdp: u64,
    /// The memory map.
    pub memory: Vec<MemoryRange>,
}

impl StartInfo {
    fn modules(&self) -> u64 {
        u64::from(self.initrd.is_some())
    }

    /// `hvm_start_info` for `address` (a multiple of 8), with module list and memory map right behind it.
    pub fn encode(&self, address: u64) -> Vec<u8> {
        let modules = address.wrapping_add(START_INFO_LEN);
        let ranges = modules.wrapping_add(self.modules() * MODULE_LEN);
        let mut out = Vec::new();
        out.extend(MAGIC.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend((self.modules() as u32).to_le_bytes());
        out.extend(if self.initrd.is_some() { modules } else { 0 }.to_le_bytes());
        out.extend(self.cmdline.to_le_bytes());
        out.extend(self.rsdp.to_le_bytes());
        out.extend(ranges.to_le_bytes());
        out.extend((self.memory.len() as u32).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        if let Some((start, size)) = self.initrd {
            [start, size, 0, 0].iter().for_each(|field| out.extend(field.to_le_bytes()));
        }
        for range in &self.memory {
            out.extend(range.start.to_le_bytes());
            out.extend(range.size.to_le_bytes());
            out.extend(range.kind.number().to_le_bytes());
            out.extend(0u32.to_le_bytes());
        }
        out
    }
}
