//! Arithmetic operations that may fault or are loops.

use crate::ops::{Effects, Parts};
use crate::{Fault, vector};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// The quotient of `[high, low, divisor]`, operands of this width.
    DivU(Width),
}

impl ArithmeticOp {
    /// What the operation depends on and changes.
    pub const fn effects(self) -> Effects {
        let faults = match self {
            ArithmeticOp::DivU(_) => true,
        };
        Effects { reads: Parts::NONE, writes: Parts::NONE, faults }
    }
}

/// Runs one.
///
/// # Errors
/// #DE
pub fn run(op: ArithmeticOp, [high, low, divisor, _]: [u64; 4]) -> Result<u64, Fault> {
    match op {
        ArithmeticOp::DivU(width) => {
            let dividend = u128::from(high) << (8 * width.bytes()) | u128::from(low);
            let quotient = dividend.checked_div(u128::from(divisor)).ok_or(Fault::plain(vector::DE))?;
            u64::try_from(quotient).ok().filter(|&q| q <= width.mask()).ok_or(Fault::plain(vector::DE))
        }
    }
}
