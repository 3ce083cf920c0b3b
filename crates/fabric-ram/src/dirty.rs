//! The dirty log: one bit a page, set by whoever writes or is about to write freely.

use crate::PAGE;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which pages were written since the log was last taken.
///
/// A hart with a writable software-TLB entry does not come by on every store: engines mark a page
/// when they fill such an entry, and whoever takes the log makes them drop those entries first.
#[derive(Debug)]
pub struct DirtyLog {
    words: Box<[AtomicU64]>,
}

impl DirtyLog {
    pub(crate) fn new(pages: u64) -> Self {
        DirtyLog { words: (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Marks the page that holds `offset`.
    #[inline]
    pub fn mark(&self, offset: u64) {
        let page = offset / PAGE;
        if let Some(word) = self.words.get((page / 64) as usize) {
            let bit = 1 << (page % 64);
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Release);
            }
        }
    }

    /// The marked pages (page number in the arena), in order; they are unmarked.
    pub fn take(&self) -> Vec<u64> {
        let mut pages = Vec::new();
        for (i, word) in self.words.iter().enumerate() {
            // Nearly all words are empty, and an exchange costs many times a look.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                pages.push(i as u64 * 64 + u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        pages
    }
}
