//! Arithmetic operations that may fault or are loops.

use crate::ops::{Effects, Parts};
use crate::{Fault, vector};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// The unsigned quotient of `[high, low, divisor]`, operands of this width, zero-extended.
    DivU(Width),
    /// The signed one; it is zero-extended too.
    DivS(Width),
    /// CRC-32C (polynomial 0x11edc6f41, bits reflected) of `[sum, data]`, data of this width.
    Crc32(Width),
    /// Deposits the low bits of `[value, mask]` at the ones of the mask.
    Deposit,
    /// Extracts the bits of `[value, mask]` at the ones of the mask.
    Extract,
}

impl ArithmeticOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let faults = matches!(self, ArithmeticOp::DivU(_) | ArithmeticOp::DivS(_));
        Effects { reads: Parts::NONE, writes: Parts::NONE, faults }
    }
}

/// Runs one.
///
/// # Errors
/// #DE
#[inline]
pub fn run(op: ArithmeticOp, [a, b, c, _]: [u64; 4]) -> Result<u64, Fault> {
    const DIVIDE_ERROR: Fault = Fault::plain(vector::DE);
    match op {
        ArithmeticOp::DivU(width) => unsigned(width, a, b, c).ok_or(DIVIDE_ERROR),
        ArithmeticOp::DivS(width) => signed(width, a, b, c).ok_or(DIVIDE_ERROR),
        ArithmeticOp::Crc32(width) => Ok(crc32(a as u32, b, width).into()),
        ArithmeticOp::Deposit => Ok(deposit(a, b)),
        ArithmeticOp::Extract => Ok(extract(a, b)),
    }
}

/// `None` where the divisor is 0 or the quotient has more bits than `width`.
fn unsigned(width: Width, high: u64, low: u64, divisor: u64) -> Option<u64> {
    // 128-bit division is slow, and seldom needed.
    let quotient = match width {
        Width::B8 if high == 0 => low.checked_div(divisor)?,
        Width::B8 => {
            let dividend = u128::from(high) << 64 | u128::from(low);
            u64::try_from(dividend.checked_div(divisor.into())?).ok()?
        }
        _ => (high << (8 * width.bytes()) | low).checked_div(divisor)?,
    };
    (quotient <= width.mask()).then_some(quotient)
}

fn signed(width: Width, high: u64, low: u64, divisor: u64) -> Option<u64> {
    let quotient = match width {
        Width::B8 if high == ((low as i64) >> 63) as u64 => (low as i64).checked_div(divisor as i64)?,
        Width::B8 => {
            let dividend = (u128::from(high) << 64 | u128::from(low)) as i128;
            i64::try_from(dividend.checked_div((divisor as i64).into())?).ok()?
        }
        _ => {
            let dividend = (width.sign_extend(high) << (8 * width.bytes()) | low) as i64;
            dividend.checked_div(width.sign_extend(divisor) as i64)?
        }
    };
    (width.sign_extend(quotient as u64) == quotient as u64).then_some(quotient as u64 & width.mask())
}

/// Bytes from the lowest, bits of each from the lowest.
fn crc32(sum: u32, data: u64, width: Width) -> u32 {
    /// The polynomial without its top bit, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = sum;
    for byte in data.to_le_bytes().into_iter().take(width.bytes() as usize) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ ((crc & 1) * POLYNOMIAL);
        }
    }
    crc
}

fn deposit(value: u64, mut mask: u64) -> u64 {
    let (mut from, mut out) = (value, 0);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if from & 1 != 0 {
            out |= lowest;
        }
        (from, mask) = (from >> 1, mask ^ lowest);
    }
    out
}

fn extract(value: u64, mut mask: u64) -> u64 {
    let (mut to, mut out) = (1u64, 0);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if value & lowest != 0 {
            out |= to;
        }
        (to, mask) = (to << 1, mask ^ lowest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_that_do_not_fit_are_errors() {
        let de = Err(Fault::plain(vector::DE));
        let unsigned = |w, a, b, c| run(ArithmeticOp::DivU(w), [a, b, c, 0]);
        let signed = |w, a, b, c| run(ArithmeticOp::DivS(w), [a, b, c, 0]);
        assert_eq!(unsigned(Width::B1, 0, 200, 3), Ok(66));
        assert_eq!(unsigned(Width::B1, 1, 0, 1), de);
        assert_eq!(unsigned(Width::B8, 1, 0, 2), Ok(1 << 63));
        assert_eq!(unsigned(Width::B8, 0, 0, 0), de);
        assert_eq!(signed(Width::B4, 0xffff_ffff, 0x8000_0000, 0xffff_ffff), de);
        assert_eq!(signed(Width::B4, 0xffff_ffff, 0xffff_fff9, 2), Ok(0xffff_fffd));
        assert_eq!(signed(Width::B8, u64::MAX, 1 << 63, u64::MAX), de);
        assert_eq!(signed(Width::B8, 1, 0, 4), Ok(1 << 62));
        assert_eq!(signed(Width::B8, 1, 0, 2), de);
    }

    /// The check value of CRC-32C, of "123456789" (RFC 3720, appendix B.4, has more of them).
    #[test]
    fn crc_of_digits() {
        let sum = b"123456789".iter().fold(u32::MAX, |sum, &b| crc32(sum, b.into(), Width::B1));
        assert_eq!(!sum, 0xe306_9283);
        let eight = crc32(u32::MAX, u64::from_le_bytes(*b"12345678"), Width::B8);
        assert_eq!(!crc32(eight, b'9'.into(), Width::B1), 0xe306_9283);
    }

    #[test]
    fn bits_are_deposited_and_extracted() {
        assert_eq!(deposit(0b1011, 0xf0f0_0000_0000_0001), 0x50_0000_0000_0001);
        assert_eq!(extract(0x50_0000_0000_0001, 0xf0f0_0000_0000_0001), 0b1011);
        assert_eq!(extract(deposit(u64::MAX, 0x1234), 0x1234), 0b11111);
    }
}
