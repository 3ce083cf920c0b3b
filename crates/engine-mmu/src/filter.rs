//! Which pages code was found in: kernels invalidate the page of every page fault, nearly always one that
//! holds data, and what is known of code need not go for that.

/// A set of pages, by virtual address, that may say yes too often.
pub struct PageFilter(Box<[u64; 1024]>);

impl Default for PageFilter {
    fn default() -> Self {
        PageFilter(Box::new([0; 1024]))
    }
}

impl PageFilter {
    fn place(va: u64) -> (usize, u64) {
        let hash = (va >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    /// Notes the page of `va`.
    pub fn insert(&mut self, va: u64) {
        let (word, bit) = Self::place(va);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether the page of `va` may have been noted.
    pub fn contains(&self, va: u64) -> bool {
        let (word, bit) = Self::place(va);
        self.0.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_there_until_it_is_cleared() {
        let mut filter = PageFilter::default();
        for page in (0..64u64).map(|n| n.wrapping_mul(0x1234_5678_9abc_d000)) {
            filter.insert(page | 0x123);
            assert!(filter.contains(page | 0xfff), "{page:#x}");
        }
        let others = (0..10_000u64).filter(|n| filter.contains(0x7000_0000_0000 + (n << 12))).count();
        assert!(others < 100, "{others}");
        filter.clear();
        assert!(!filter.contains(0));
    }
}
