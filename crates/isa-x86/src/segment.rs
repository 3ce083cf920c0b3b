//! Segment registers and descriptor-table registers (SDM volume 3, "Protected-Mode Memory Management").

/// Numbers of the segment registers, as encoded.
pub mod seg {
    #![allow(missing_docs, reason = "the names are the registers'")]
    pub const ES: u8 = 0;
    pub const CS: u8 = 1;
    pub const SS: u8 = 2;
    pub const DS: u8 = 3;
    pub const FS: u8 = 4;
    pub const GS: u8 = 5;
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The visible part.
    pub selector: u16,
    /// Linear address of the first byte.
    pub base: u64,
    /// Offset of the last byte (for expand-down segments: of the last byte that is not in the segment), in bytes: the
    /// descriptor's G bit has been applied.
    pub limit: u32,
    /// The descriptor's type field, bits 3:0.
    pub kind: u8,
    /// Descriptor privilege level.
    pub dpl: u8,
    /// S: a code or data segment, not a system one.
    pub s: bool,
    /// P: present.
    pub present: bool,
    /// AVL: available to software.
    pub available: bool,
    /// L: 64-bit code.
    pub long: bool,
    /// D/B: 32-bit code, stack or upper bound.
    pub big: bool,
    /// G: the descriptor gave its limit in pages.
    pub granular: bool,
    /// Holds a null selector or nothing: accesses through it fault (outside 64-bit mode).
    pub unusable: bool,
}

impl Segment {
    /// As after reset in real-address mode: base 16 times the selector, 64 KiB, writable data (SDM volume 3,
    /// "Processor State After Reset").
    pub const fn real(selector: u16) -> Segment {
        Segment {
            selector,
            base: (selector as u64) << 4,
            limit: 0xffff,
            kind: 3,
            dpl: 0,
            s: true,
            present: true,
            available: false,
            long: false,
            big: false,
            granular: false,
            unusable: false,
        }
    }

    /// A null segment.
    pub const fn null() -> Segment {
        Segment { limit: 0, kind: 0, s: false, present: false, unusable: true, ..Segment::real(0) }
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}
