//! Memory accesses as the meanings name them: width, ordering, atomic operation.

/// Bytes of one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Width {
    /// One byte.
    B1 = 1,
    /// Two bytes.
    B2 = 2,
    /// Four bytes.
    B4 = 4,
    /// Eight bytes.
    B8 = 8,
}

impl Width {
    /// Bytes as a number.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        self as u64
    }

    /// The value bits: all ones in the low `8 * bytes` bits.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self as u32)
    }

    /// The value of this width in `v`, sign-extended.
    #[inline(always)]
    pub const fn sign_extend(self, v: u64) -> u64 {
        let shift = 64 - 8 * self as u32;
        ((v << shift) as i64 >> shift) as u64
    }
}

/// Ordering of an access against the hart's other accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Only coherence and dependencies.
    Plain,
    /// Later accesses stay later.
    Acquire,
    /// Earlier accesses stay earlier.
    Release,
    /// Both, and one total order among all such accesses.
    Both,
    /// As on a total-store-order machine (x86, RISC-V Ztso).
    Tso,
}

impl Order {
    /// What a fence of this ordering is on the host.
    #[inline(always)]
    pub fn fence(self) {
        use core::sync::atomic::{Ordering, fence};
        match self {
            Order::Plain => {}
            Order::Acquire => fence(Ordering::Acquire),
            Order::Release => fence(Ordering::Release),
            Order::Tso => fence(Ordering::AcqRel),
            Order::Both => fence(Ordering::SeqCst),
        }
    }
}

/// What an atomic memory operation does with the old value `m` and the operand `r`; both have been
/// sign-extended from the access width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AmoOp {
    /// `r`
    Swap,
    /// `m + r`
    Add,
    /// `m ^ r`
    Xor,
    /// `m & r`
    And,
    /// `m | r`
    Or,
    /// The smaller, signed.
    Min,
    /// The larger, signed.
    Max,
    /// The smaller, unsigned.
    MinU,
    /// The larger, unsigned.
    MaxU,
    /// `r - m`
    SubFrom,
}

impl AmoOp {
    /// The value to store.
    #[inline(always)]
    pub const fn apply(self, m: u64, r: u64) -> u64 {
        match self {
            AmoOp::Swap => r,
            AmoOp::Add => m.wrapping_add(r),
            AmoOp::Xor => m ^ r,
            AmoOp::And => m & r,
            AmoOp::Or => m | r,
            AmoOp::SubFrom => r.wrapping_sub(m),
            AmoOp::Min => {
                if (m as i64) < r as i64 {
                    m
                } else {
                    r
                }
            }
            AmoOp::Max => {
                if (m as i64) > r as i64 {
                    m
                } else {
                    r
                }
            }
            AmoOp::MinU => {
                if m < r {
                    m
                } else {
                    r
                }
            }
            AmoOp::MaxU => {
                if m > r {
                    m
                } else {
                    r
                }
            }
        }
    }
}
