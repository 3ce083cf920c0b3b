//! Segment registers and descriptor-table registers (SDM volume 3, "Protected-Mode Memory Management").

use crate::{Fault, Mode, State, cr4, vector};
use isa_core::Width;

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

impl Segment {
    /// A code segment.
    pub const fn is_code(&self) -> bool {
        self.s && self.kind & 8 != 0
    }

    /// A code segment that callers of any level may enter without a change of theirs.
    pub const fn is_conforming(&self) -> bool {
        self.is_code() && self.kind & 4 != 0
    }

    /// Data may be read: any data segment, and readable code.
    pub const fn is_readable(&self) -> bool {
        self.s && (self.kind & 8 == 0 || self.kind & 2 != 0)
    }

    /// Data may be written.
    pub const fn is_writable(&self) -> bool {
        self.s && self.kind & 0xa == 2
    }

    /// Whether the `bytes` bytes at `offset` lie within the limit (SDM volume 3, "Limit Checking"). An offset may be of
    /// 32 bits at most.
    pub const fn holds(&self, offset: u64, bytes: u64) -> bool {
        let limit = self.limit as u64;
        let last = offset + (bytes - 1);
        if self.s && self.kind & 0xc == 4 {
            // Expand-down: what is above the limit is the segment.
            let top = if self.big { 0xffff_ffff } else { 0xffff };
            offset > limit && last <= top
        } else {
            last <= limit
        }
    }
}

impl State {
    /// Whether `la` is canonical: its upper bits repeat bit 47, with 5-level paging bit 56.
    #[inline(always)]
    pub const fn canonical(&self, la: u64) -> bool {
        let unused = if self.cr4 & cr4::LA57 != 0 { 64 - 57 } else { 64 - 48 };
        ((la << unused) as i64 >> unused) as u64 == la
    }

    /// The linear address of `bytes` bytes at `offset` of segment register `n`, checked for reading or (`write`)
    /// writing (SDM volume 3, "Segment-Level Protection"; volume 1, "Canonical Addressing").
    ///
    /// # Errors
    /// #GP(0), or #SS(0) for SS.
    #[inline]
    pub fn linear(&self, n: u8, offset: u64, bytes: u64, write: bool) -> Result<u64, Fault> {
        let s = self.segment(n);
        let refused = || if n == seg::SS { Fault::coded(vector::SS, 0) } else { Fault::gp(0) };
        if self.mode() == Mode::Bits64 {
            let la = if n >= seg::FS { s.base.wrapping_add(offset) } else { offset };
            return if self.canonical(la) { Ok(la) } else { Err(refused()) };
        }
        let allowed =
            !self.protected() || !s.unusable && if write { s.is_writable() } else { s.is_readable() };
        if allowed && s.holds(offset & 0xffff_ffff, bytes) {
            return Ok(s.base.wrapping_add(offset) & 0xffff_ffff);
        }
        Err(refused())
    }

    /// Whether code may go on at `rip`: a canonical address in 64-bit mode, within CS elsewhere.
    ///
    /// # Errors
    /// #GP(0)
    #[inline(always)]
    pub fn check_target(&self, rip: u64) -> Result<(), Fault> {
        self.check_target_in(self.segment(seg::CS), rip)
    }

    /// The same with `cs` as code segment.
    ///
    /// # Errors
    /// #GP(0)
    #[inline(always)]
    pub(crate) fn check_target_in(&self, cs: &Segment, rip: u64) -> Result<(), Fault> {
        let allowed = match self.mode_with(cs) {
            Mode::Bits64 => self.canonical(rip),
            _ => rip <= u64::from(cs.limit),
        };
        if allowed { Ok(()) } else { Err(Fault::gp(0)) }
    }

    /// The width of the stack pointer.
    pub fn stack_width(&self) -> Width {
        stack_width_with(self.segment(seg::SS), self.mode())
    }
}

/// The width of the stack pointer with `ss` as stack segment and code of size `mode`.
pub(crate) fn stack_width_with(ss: &Segment, mode: Mode) -> Width {
    match (mode, ss.big) {
        (Mode::Bits64, _) => Width::B8,
        (_, true) => Width::B4,
        (_, false) => Width::B2,
    }
}
