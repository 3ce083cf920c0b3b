//! x86 status flags as one value: what was computed, not what the flags are (Intel SDM volume 1,
//! "EFLAGS Register", "Status Flags"; appendix "EFLAGS Cross-Reference").
//!
//! Most flags are overwritten unread, so an instruction leaves its kind and operands, and whoever asks
//! for a flag computes that one.

use crate::Width;

/// What left the flags. The operands are zero-extended from the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlagKind {
    /// `a` holds the flags themselves, each at its place in RFLAGS.
    Bits,
    /// `a + b + c`, `c` being the carry in.
    Add,
    /// `a - b - c`, `c` being the borrow in.
    Sub,
    /// A logic operation with result `a`: carry and overflow are 0, and so is the adjust flag, which the
    /// manual leaves undefined.
    Logic,
}

/// A status flag, with its place in RFLAGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flag {
    /// CF
    Carry = 0,
    /// PF: the low byte of the result has an even number of ones.
    Parity = 2,
    /// AF: carry or borrow out of bit 3.
    Adjust = 4,
    /// ZF
    Zero = 6,
    /// SF
    Sign = 7,
    /// OF
    Overflow = 11,
}

impl Flag {
    /// All of them.
    pub const ALL: [Flag; 6] =
        [Flag::Carry, Flag::Parity, Flag::Adjust, Flag::Zero, Flag::Sign, Flag::Overflow];
}

/// The flags that an operation left, not computed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LazyFlags {
    /// What left them.
    pub kind: FlagKind,
    /// Width of the operation.
    pub width: Width,
    /// First operand.
    pub a: u64,
    /// Second operand.
    pub b: u64,
    /// Carry or borrow in, 0 or 1.
    pub c: u64,
}

impl LazyFlags {
    /// Flags given as bits of RFLAGS.
    pub const fn from_bits(bits: u64) -> LazyFlags {
        LazyFlags { kind: FlagKind::Bits, width: Width::B8, a: bits, b: 0, c: 0 }
    }

    /// The result of the operation, zero-extended from the width.
    const fn result(self) -> u64 {
        let v = match self.kind {
            FlagKind::Bits | FlagKind::Logic => self.a,
            FlagKind::Add => self.a.wrapping_add(self.b).wrapping_add(self.c),
            FlagKind::Sub => self.a.wrapping_sub(self.b).wrapping_sub(self.c),
        };
        v & self.width.mask()
    }

    /// One flag.
    #[inline]
    pub const fn flag(self, flag: Flag) -> bool {
        if matches!(self.kind, FlagKind::Bits) {
            return self.a >> flag as u8 & 1 != 0;
        }
        let (a, b, r) = (self.a, self.b, self.result());
        let top = 8 * self.width.bytes() - 1;
        let logic = matches!(self.kind, FlagKind::Logic);
        let add = matches!(self.kind, FlagKind::Add);
        match flag {
            Flag::Zero => r == 0,
            Flag::Sign => r >> top & 1 != 0,
            Flag::Parity => (r as u8).count_ones().is_multiple_of(2),
            _ if logic => false,
            Flag::Adjust => (a ^ b ^ r) >> 4 & 1 != 0,
            // Carries (borrows) out of each bit: where both operands have it, or one has it and the
            // result has not.
            Flag::Carry if add => (a & b | (a | b) & !r) >> top & 1 != 0,
            Flag::Carry => (!a & b | (!a | b) & r) >> top & 1 != 0,
            Flag::Overflow if add => (a ^ r) & (b ^ r) & (1 << top) != 0,
            Flag::Overflow => (a ^ b) & (a ^ r) & (1 << top) != 0,
        }
    }

    /// All six at their places in RFLAGS; the other bits are 0.
    pub const fn bits(self) -> u64 {
        let (mut bits, mut all) = (0, &Flag::ALL as &[Flag]);
        while let [flag, rest @ ..] = all {
            bits |= (self.flag(*flag) as u64) << *flag as u8;
            all = rest;
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 8-bit operand pair and carry against sums of wider integers.
    #[test]
    fn bytes_exhaustively() {
        for a in 0..=255u64 {
            for b in 0..=255u64 {
                for c in 0..=1u64 {
                    let signed = |v: u64| i64::from(v as u8 as i8);
                    let (sum, difference) =
                        (signed(a) + signed(b) + c as i64, signed(a) - signed(b) - c as i64);
                    let add = LazyFlags { kind: FlagKind::Add, width: Width::B1, a, b, c };
                    let sub = LazyFlags { kind: FlagKind::Sub, ..add };
                    assert_eq!(add.flag(Flag::Carry), a + b + c > 255);
                    assert_eq!(sub.flag(Flag::Carry), a < b + c);
                    assert_eq!(add.flag(Flag::Overflow), !(-128..=127).contains(&sum));
                    assert_eq!(sub.flag(Flag::Overflow), !(-128..=127).contains(&difference));
                    assert_eq!(add.flag(Flag::Adjust), (a & 15) + (b & 15) + c > 15);
                    assert_eq!(sub.flag(Flag::Adjust), (a & 15) < (b & 15) + c);
                    assert_eq!(add.flag(Flag::Zero), sum & 255 == 0);
                    assert_eq!(sub.flag(Flag::Sign), difference & 128 != 0);
                }
            }
        }
    }

    #[test]
    fn logic_clears_carry_and_overflow() {
        let flags = LazyFlags { kind: FlagKind::Logic, width: Width::B4, a: 0x8000_0003, b: 7, c: 1 };
        assert_eq!(flags.bits(), 1 << 7 | 1 << 2);
        assert_eq!(LazyFlags::from_bits(0x8d5).bits(), 0x8d5);
        assert_eq!(LazyFlags::from_bits(0xffff).bits(), 0x8d5);
    }
}
