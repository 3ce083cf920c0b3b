//! The four word sizes of guest memory, each with its host atomic.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

mod sealed {
    pub trait Sealed {}
}

/// `u8`, `u16`, `u32` or `u64`.
pub trait Word: sealed::Sealed + Copy + Eq + Send + Sync + 'static {
    /// Atomic load.
    ///
    /// # Safety
    /// `at` is aligned, valid for reads, and only accessed atomically or by racing byte copies.
    unsafe fn load(at: *mut Self, order: Ordering) -> Self;
    /// Atomic store.
    ///
    /// # Safety
    /// As [`Word::load`], and valid for writes.
    unsafe fn store(at: *mut Self, value: Self, order: Ordering);
    /// Sequentially consistent compare-and-exchange.
    ///
    /// # Safety
    /// As [`Word::store`].
    unsafe fn compare_exchange(at: *mut Self, old: Self, new: Self) -> Result<Self, Self>;
}

macro_rules! words {
    ($($int:ty, $atomic:ty;)*) => { $(
        impl sealed::Sealed for $int {}
        impl Word for $int {
            #[inline(always)]
            unsafe fn load(at: *mut Self, order: Ordering) -> Self {
                // SAFETY: the caller's promise is `from_ptr`'s.
                Self::from_le(unsafe { <$atomic>::from_ptr(at) }.load(order))
            }
            #[inline(always)]
            unsafe fn store(at: *mut Self, value: Self, order: Ordering) {
                // SAFETY: the caller's promise is `from_ptr`'s.
                unsafe { <$atomic>::from_ptr(at) }.store(value.to_le(), order);
            }
            #[inline(always)]
            unsafe fn compare_exchange(at: *mut Self, old: Self, new: Self) -> Result<Self, Self> {
                // SAFETY: the caller's promise is `from_ptr`'s.
                unsafe { <$atomic>::from_ptr(at) }
                    .compare_exchange(old.to_le(), new.to_le(), Ordering::SeqCst, Ordering::SeqCst)
                    .map(Self::from_le)
                    .map_err(Self::from_le)
            }
        }
    )* };
}

words! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}
