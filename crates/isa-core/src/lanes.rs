//! Vector values: shapes, and what a lane-by-lane operation computes.

use crate::{Bin, Width};

/// Bytes of the largest vector value: eight registers of 1024 bits.
pub const MAX_VECTOR_BYTES: u16 = 1024;

/// Elements of a width, side by side. A vector value is bytes; a shape is how one operation sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Width of an element.
    pub element: Width,
    /// How many.
    pub lanes: u16,
}

impl Shape {
    /// Bytes of all lanes; `None` for no lanes, or more than a vector value can have.
    pub fn bytes(self) -> Option<u16> {
        let bytes = self.lanes.checked_mul(self.element as u16)?;
        (1..=MAX_VECTOR_BYTES).contains(&bytes).then_some(bytes)
    }
}

/// Whether the low bits of `op(a, b)` depend on the low bits of `a` and `b` only, so that it is right
/// for elements of any width.
pub const fn lane_wise(op: Bin) -> bool {
    matches!(op, Bin::Add | Bin::Sub | Bin::Mul | Bin::And | Bin::Or | Bin::Xor)
}

/// Bit `i` of a mask; those behind its end are 0.
fn bit(mask: &[u8], i: usize) -> bool {
    mask.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 != 0)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
}

/// `op` lane by lane; under a mask, only where it has a 1, and `out` holds the old lanes.
pub fn compute(
    mut op: impl FnMut(u64, u64) -> u64,
    element: Width,
    a: &[u8],
    b: &[u8],
    mask: Option<&[u8]>,
    out: &mut [u8],
) {
    let size = element.bytes() as usize;
    let lanes = out.chunks_exact_mut(size).zip(a.chunks_exact(size)).zip(b.chunks_exact(size));
    for (i, ((out, a), b)) in lanes.enumerate() {
        if mask.is_none_or(|mask| bit(mask, i)) {
            let v = op(word(a), word(b)).to_le_bytes();
            out.iter_mut().zip(v).for_each(|(to, from)| *to = from);
        }
    }
}

/// A mask whose bits `start..end` are 1.
pub fn range(start: u64, end: u64, out: &mut [u8]) {
    for (i, byte) in (0u64..).zip(out) {
        *byte = (0..8).fold(0, |v, j| v | u8::from((start..end).contains(&(8 * i + j))) << j);
    }
}
