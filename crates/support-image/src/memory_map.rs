//! What a machine's memory is, as firmware tells a kernel: the list that the zero page and PVH share.
//!
//! Source: ACPI Specification 6.5, 15.4 "Address Range Types" (the numbers are those of INT 15h, E820h).

/// What a range is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// Free to use.
    Ram,
    /// Not to be used.
    Reserved,
}

impl MemoryKind {
    /// Its number in the list.
    pub(crate) fn number(self) -> u32 {
        match self {
            MemoryKind::Ram => 1,
            MemoryKind::Reserved => 2,
        }
    }
}

/// A range of guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What it is for.
    pub kind: MemoryKind,
}
