//! Rounding modes and exception flags.

use core::ops::{BitOr, BitOrAssign};

/// A rounding-direction attribute (754 section 4.3), numbered as RISC-V `frm` and the `rm` field
/// (Unprivileged ISA, "F", Rounding mode encoding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Round {
    /// RNE: to nearest, ties to even.
    NearestEven = 0,
    /// RTZ: towards zero.
    TowardZero = 1,
    /// RDN: towards minus infinity.
    Down = 2,
    /// RUP: towards plus infinity.
    Up = 3,
    /// RMM: to nearest, ties to the larger magnitude.
    NearestMaxMagnitude = 4,
}

impl Round {
    /// All modes in the order of their encodings.
    pub const ALL: [Round; 5] =
        [Round::NearestEven, Round::TowardZero, Round::Down, Round::Up, Round::NearestMaxMagnitude];

    /// The mode which RISC-V encodes as `frm`; `None` for the reserved encodings 5 and 6, for 7 (dynamic), and above.
    #[inline]
    #[must_use]
    pub const fn from_frm(frm: u8) -> Option<Round> {
        match frm {
            0 => Some(Round::NearestEven),
            1 => Some(Round::TowardZero),
            2 => Some(Round::Down),
            3 => Some(Round::Up),
            4 => Some(Round::NearestMaxMagnitude),
            _ => None,
        }
    }

    /// Whether a magnitude is increased, given its sign, whether the kept part is odd, and how the discarded part
    /// compares with one half unit in the last place.
    #[inline]
    pub(crate) fn increments<T: Ord + Copy>(
        self,
        negative: bool,
        odd: bool,
        rest: T,
        half: T,
        zero: T,
    ) -> bool {
        match self {
            Round::NearestEven => rest > half || (rest == half && odd),
            Round::TowardZero => false,
            Round::Down => negative && rest != zero,
            Round::Up => !negative && rest != zero,
            Round::NearestMaxMagnitude => rest >= half,
        }
    }
}

/// A set of exception flags (754 section 7) in the layout of RISC-V `fflags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// NX: the result is not the exact value.
    pub const INEXACT: Flags = Flags(1);
    /// UF: the result is tiny and inexact.
    pub const UNDERFLOW: Flags = Flags(2);
    /// OF: the result is too large for the format.
    pub const OVERFLOW: Flags = Flags(4);
    /// DZ: an exact infinity from finite operands.
    pub const DIVIDE_BY_ZERO: Flags = Flags(8);
    /// NV: no useful result exists.
    pub const INVALID: Flags = Flags(16);

    /// The flags in the low five bits of `bits`, others dropped.
    #[inline]
    #[must_use]
    pub const fn from_bits_truncate(bits: u8) -> Flags {
        Flags(bits & 0x1f)
    }

    /// The flags as `fflags`.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every flag of `other` is set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the flags of `other`; flags are never cleared by an operation.
    #[inline]
    pub const fn raise(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl BitOr for Flags {
    type Output = Flags;
    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Flags) {
        self.raise(other);
    }
}
