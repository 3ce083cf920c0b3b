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
    /// `a + 1`; the carry flag is `c`, as it was.
    Inc,
    /// `a - 1`; the carry flag is `c`, as it was.
    Dec,
    /// `a << b`, `b` being 1 to 63. Where the manual leaves a flag undefined: overflow is the sign before the last of
    /// `b` shifts by 1, unequal to that after it; adjust is 0; carry is 0 where nothing of `a` is left to be shifted out.
    Shl,
    /// `a >> b` with zeroes coming in; `b` is 1 to 63. Undefined flags as for `Shl`.
    Shr,
    /// `a >> b` with the sign coming in; `b` is 1 to 63. Overflow is 0.
    Sar,
    /// Zero, sign and parity are those of the result `a`; carry is `b`, overflow is `c`, both 0 or 1; adjust is 0.
    Result,
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
            FlagKind::Bits | FlagKind::Logic | FlagKind::Result => self.a,
            FlagKind::Inc => self.a.wrapping_add(1),
            FlagKind::Dec => self.a.wrapping_sub(1),
            FlagKind::Shl => self.a << (self.b & 63),
            FlagKind::Shr => self.a >> (self.b & 63),
            FlagKind::Sar => (self.width.sign_extend(self.a) as i64 >> (self.b & 63)) as u64,
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
        match flag {
            Flag::Zero => self.result() == 0,
            Flag::Sign => self.result() >> self.top() & 1 != 0,
            Flag::Parity => (self.result() as u8).count_ones().is_multiple_of(2),
            Flag::Adjust => self.adjust(),
            Flag::Carry => self.carry(),
            Flag::Overflow => self.overflow(),
        }
    }

    /// The number of the sign bit.
    const fn top(self) -> u64 {
        8 * self.width.bytes() - 1
    }

    const fn adjust(self) -> bool {
        let (a, b, r) = (self.a, self.b, self.result());
        match self.kind {
            FlagKind::Add | FlagKind::Sub => (a ^ b ^ r) >> 4 & 1 != 0,
            FlagKind::Inc | FlagKind::Dec => (a ^ 1 ^ r) >> 4 & 1 != 0,
            _ => false,
        }
    }

    const fn carry(self) -> bool {
        let (a, b, r, top) = (self.a, self.b, self.result(), self.top());
        let last = (b & 63).wrapping_sub(1) & 63;
        match self.kind {
            FlagKind::Bits => a & 1 != 0,
            // Carries (borrows) out of each bit: where both operands have it, or one has it and the
            // result has not.
            FlagKind::Add => (a & b | (a | b) & !r) >> top & 1 != 0,
            FlagKind::Sub => (!a & b | (!a | b) & r) >> top & 1 != 0,
            FlagKind::Logic => false,
            FlagKind::Inc | FlagKind::Dec => self.c != 0,
            FlagKind::Shl => a << last >> top & 1 != 0,
            FlagKind::Shr => a >> last & 1 != 0,
            FlagKind::Sar => (self.width.sign_extend(a) as i64 >> last) & 1 != 0,
            FlagKind::Result => b != 0,
        }
    }

    const fn overflow(self) -> bool {
        let (a, b, r, top) = (self.a, self.b, self.result(), self.top());
        match self.kind {
            FlagKind::Bits => a >> Flag::Overflow as u8 & 1 != 0,
            FlagKind::Add => (a ^ r) & (b ^ r) & (1 << top) != 0,
            FlagKind::Sub => (a ^ b) & (a ^ r) & (1 << top) != 0,
            FlagKind::Logic | FlagKind::Sar => false,
            FlagKind::Inc => r == 1 << top,
            FlagKind::Dec => a == 1 << top,
            FlagKind::Shl => (r >> top & 1 != 0) != self.carry(),
            FlagKind::Shr => (r ^ r << 1) >> top & 1 != 0,
            FlagKind::Result => self.c != 0,
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

    /// Every byte and carry: `inc` and `dec` are additions of 1 and -1 that leave the carry.
    #[test]
    fn steps_keep_the_carry() {
        for (a, c) in (0..=255).flat_map(|a| [(a, 0), (a, 1)]) {
            for (step, whole) in [(FlagKind::Inc, FlagKind::Add), (FlagKind::Dec, FlagKind::Sub)] {
                let step = LazyFlags { kind: step, width: Width::B1, a, b: 0, c };
                let whole = LazyFlags { kind: whole, width: Width::B1, a, b: 1, c: 0 };
                assert_eq!(step.bits(), whole.bits() & !1 | c, "{step:?}");
            }
        }
    }

    /// Every byte, shifted bit by bit.
    #[test]
    fn shifts_are_those_of_single_bits() {
        for (a, count) in (0..=255u64).flat_map(|a| (1..=31).map(move |count| (a, count))) {
            for kind in [FlagKind::Shl, FlagKind::Shr, FlagKind::Sar] {
                let (mut v, mut carry, mut overflow) = (a as u8, false, false);
                for _ in 0..count {
                    let before = v;
                    (v, carry) = match kind {
                        FlagKind::Shl => (v << 1, v >> 7 != 0),
                        FlagKind::Shr => (v >> 1, v & 1 != 0),
                        _ => ((v as i8 >> 1) as u8, v & 1 != 0),
                    };
                    overflow = (before ^ v) >> 7 != 0;
                }
                let flags = LazyFlags { kind, width: Width::B1, a, b: count, c: 0 };
                assert_eq!(flags.flag(Flag::Carry), carry, "{flags:?}");
                assert_eq!(flags.flag(Flag::Overflow), overflow, "{flags:?}");
                assert_eq!(flags.flag(Flag::Zero), v == 0, "{flags:?}");
                assert_eq!(flags.flag(Flag::Sign), v >> 7 != 0, "{flags:?}");
            }
        }
        let wide = LazyFlags { kind: FlagKind::Shl, width: Width::B8, a: 3 << 62, b: 1, c: 0 };
        assert_eq!(wide.bits(), 1 | 1 << 7 | 1 << 2);
    }

    #[test]
    fn a_result_brings_its_carry_and_overflow() {
        let flags = LazyFlags { kind: FlagKind::Result, width: Width::B2, a: 0x8000, b: 1, c: 1 };
        assert_eq!(flags.bits(), 1 | 1 << 2 | 1 << 7 | 1 << 11);
    }

    #[test]
    fn logic_clears_carry_and_overflow() {
        let flags = LazyFlags { kind: FlagKind::Logic, width: Width::B4, a: 0x8000_0003, b: 7, c: 1 };
        assert_eq!(flags.bits(), 1 << 7 | 1 << 2);
        assert_eq!(LazyFlags::from_bits(0x8d5).bits(), 0x8d5);
        assert_eq!(LazyFlags::from_bits(0xffff).bits(), 0x8d5);
    }
}
