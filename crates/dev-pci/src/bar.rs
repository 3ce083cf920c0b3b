//! Base address registers.
//!
//! Source: PCI Local Bus Specification 3.0, 6.2.5.1 (a register has as many writable bits as its size leaves, which is
//! how software finds the size); PCI Express Base Specification, 7.5.1.2.1.

/// Largest BAR, in bytes: what a function's slot has room for.
pub(crate) const LARGEST: u64 = 1 << 40;

/// What a BAR asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports; at most 256 of them (3.2.2.3.2 of PCI 3.0).
    Io,
    /// Memory below 4 GiB.
    Memory32 {
        /// Reads have no side effects.
        prefetchable: bool,
    },
    /// Memory anywhere; takes this register and the next.
    Memory64 {
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

/// One base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5 (0 or 1 for bridges).
    pub number: u8,
    /// What it asks for.
    pub kind: BarKind,
    /// Bytes: a power of two, at least 4 of ports or 16 of memory, at most 2^40.
    pub size: u64,
}

impl Bar {
    /// The bits that say what it is.
    pub(crate) fn type_bits(&self) -> u32 {
        match self.kind {
            BarKind::Io => 1,
            BarKind::Memory32 { prefetchable } => u32::from(prefetchable) << 3,
            BarKind::Memory64 { prefetchable } => 0b100 | u32::from(prefetchable) << 3,
        }
    }

    /// The bits that hold the address.
    pub(crate) fn address_bits(&self) -> u64 {
        let all = match self.kind {
            BarKind::Memory64 { .. } => u64::MAX,
            _ => u64::from(u32::MAX),
        };
        all & !(self.size - 1)
    }

    /// How many registers it takes.
    pub(crate) fn registers(&self) -> u8 {
        if matches!(self.kind, BarKind::Memory64 { .. }) { 2 } else { 1 }
    }

    /// Whether there can be such a one among the first `registers` registers.
    pub(crate) fn is_sound(&self, registers: u8) -> bool {
        let (least, most) = match self.kind {
            BarKind::Io => (4, 256),
            BarKind::Memory32 { .. } => (16, 1 << 31),
            BarKind::Memory64 { .. } => (16, LARGEST),
        };
        let fits = self.number < registers && self.registers() <= registers - self.number;
        fits && self.size.is_power_of_two() && (least..=most).contains(&self.size)
    }
}
