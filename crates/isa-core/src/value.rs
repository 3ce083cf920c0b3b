//! The value operations: 64-bit, total, one definition each.

/// An operation on two 64-bit values. All are total: division defines its edge cases, shifts use
/// the count modulo 64, comparisons give 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Bin {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// Low half of `a * b`.
    Mul,
    /// High half of signed `a` times signed `b`.
    MulHighS,
    /// High half of unsigned `a` times unsigned `b`.
    MulHighU,
    /// High half of signed `a` times unsigned `b`.
    MulHighSU,
    /// Signed `a / b`, towards zero; all ones if `b` is 0; `a` on overflow.
    DivS,
    /// Unsigned `a / b`; all ones if `b` is 0.
    DivU,
    /// Signed remainder with the sign of `a`; `a` if `b` is 0; 0 on overflow.
    RemS,
    /// Unsigned remainder; `a` if `b` is 0.
    RemU,
    /// `a & b`
    And,
    /// `a | b`
    Or,
    /// `a ^ b`
    Xor,
    /// `a << (b % 64)`
    Shl,
    /// `a >> (b % 64)`, zeroes come in.
    ShrU,
    /// `a >> (b % 64)`, the sign comes in.
    ShrS,
    /// `a` rotated right by `b % 64`.
    RotR,
    /// 1 if equal.
    Eq,
    /// 1 if not equal.
    Ne,
    /// 1 if signed `a < b`.
    LtS,
    /// 1 if unsigned `a < b`.
    LtU,
    /// 1 if signed `a >= b`.
    GeS,
    /// 1 if unsigned `a >= b`.
    GeU,
    /// Low half of the carry-less product.
    ClMul,
    /// High half of the carry-less product.
    ClMulHigh,
}

/// The 128-bit carry-less product.
const fn carry_less(a: u64, b: u64) -> u128 {
    let (mut product, mut i) = (0u128, 0);
    while i < 64 {
        if b >> i & 1 != 0 {
            product ^= (a as u128) << i;
        }
        i += 1;
    }
    product
}

impl Bin {
    /// The result.
    #[inline(always)]
    pub const fn apply(self, a: u64, b: u64) -> u64 {
        let (s, t) = (a as i64, b as i64);
        match self {
            Bin::Add => a.wrapping_add(b),
            Bin::Sub => a.wrapping_sub(b),
            Bin::Mul => a.wrapping_mul(b),
            Bin::MulHighS => ((s as i128 * t as i128) >> 64) as u64,
            Bin::MulHighU => ((a as u128 * b as u128) >> 64) as u64,
            Bin::MulHighSU => ((s as i128).wrapping_mul(b as i128) >> 64) as u64,
            Bin::DivS => {
                if b == 0 {
                    u64::MAX
                } else {
                    s.wrapping_div(t) as u64
                }
            }
            Bin::DivU => match a.checked_div(b) {
                Some(quotient) => quotient,
                None => u64::MAX,
            },
            Bin::RemS => {
                if b == 0 {
                    a
                } else {
                    s.wrapping_rem(t) as u64
                }
            }
            Bin::RemU => {
                if b == 0 {
                    a
                } else {
                    a % b
                }
            }
            Bin::And => a & b,
            Bin::Or => a | b,
            Bin::Xor => a ^ b,
            Bin::Shl => a << (b & 63),
            Bin::ShrU => a >> (b & 63),
            Bin::ShrS => (s >> (b & 63)) as u64,
            Bin::RotR => a.rotate_right((b & 63) as u32),
            Bin::Eq => (a == b) as u64,
            Bin::Ne => (a != b) as u64,
            Bin::LtS => (s < t) as u64,
            Bin::LtU => (a < b) as u64,
            Bin::GeS => (s >= t) as u64,
            Bin::GeU => (a >= b) as u64,
            Bin::ClMul => carry_less(a, b) as u64,
            Bin::ClMulHigh => (carry_less(a, b) >> 64) as u64,
        }
    }
}

/// An operation on one 64-bit value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Un {
    /// `!a`
    Not,
    /// Low 8 bits, sign-extended.
    Sext8,
    /// Low 16 bits, sign-extended.
    Sext16,
    /// Low 32 bits, sign-extended.
    Sext32,
    /// Low 8 bits.
    Zext8,
    /// Low 16 bits.
    Zext16,
    /// Low 32 bits.
    Zext32,
    /// Leading zeroes; 64 if `a` is 0.
    Clz,
    /// Trailing zeroes; 64 if `a` is 0.
    Ctz,
    /// Bits set.
    Popcount,
    /// Bytes in reverse order.
    ByteSwap,
    /// Every byte that is not 0 becomes 0xff.
    OrCombine,
    /// Bits in reverse order.
    BitReverse,
}

impl Un {
    /// The result.
    #[inline(always)]
    pub const fn apply(self, a: u64) -> u64 {
        match self {
            Un::Not => !a,
            Un::Sext8 => a as i8 as u64,
            Un::Sext16 => a as i16 as u64,
            Un::Sext32 => a as i32 as u64,
            Un::Zext8 => a as u8 as u64,
            Un::Zext16 => a as u16 as u64,
            Un::Zext32 => a as u32 as u64,
            Un::Clz => a.leading_zeros() as u64,
            Un::Ctz => a.trailing_zeros() as u64,
            Un::Popcount => a.count_ones() as u64,
            Un::ByteSwap => a.swap_bytes(),
            Un::OrCombine => {
                const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
                let top = (((a & LOW) + LOW) | a) & !LOW;
                (top >> 7).wrapping_mul(0xff)
            }
            Un::BitReverse => a.reverse_bits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_is_total() {
        let min = i64::MIN as u64;
        assert_eq!(Bin::DivS.apply(7, 0), u64::MAX);
        assert_eq!(Bin::DivS.apply(min, u64::MAX), min);
        assert_eq!(Bin::RemS.apply(min, u64::MAX), 0);
        assert_eq!(Bin::RemS.apply(7, 0), 7);
        assert_eq!(Bin::RemS.apply(-7i64 as u64, 2), u64::MAX);
        assert_eq!(Bin::DivU.apply(7, 0), u64::MAX);
        assert_eq!(Bin::RemU.apply(7, 0), 7);
    }

    #[test]
    fn high_products_take_the_signs_they_name() {
        assert_eq!(Bin::MulHighS.apply(u64::MAX, u64::MAX), 0);
        assert_eq!(Bin::MulHighU.apply(u64::MAX, u64::MAX), u64::MAX - 1);
        assert_eq!(Bin::MulHighSU.apply(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(Bin::MulHighSU.apply(i64::MIN as u64, u64::MAX), 0x8000_0000_0000_0000);
    }

    #[test]
    fn carry_less_products_and_byte_masks() {
        assert_eq!(Bin::ClMul.apply(3, 3), 5);
        assert_eq!(Bin::ClMulHigh.apply(1 << 63, 2), 1);
        assert_eq!(Un::OrCombine.apply(0x0100_8000_0000_7f00), 0xff00_ff00_0000_ff00);
        assert_eq!(Un::OrCombine.apply(0x8001_8001_8001_8001), u64::MAX);
    }
}
