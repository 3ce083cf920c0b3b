//! Words of memory that a run has left.

/// The little-endian word at `at`; 0 if it is not all there.
pub fn word_at(bytes: &[u8], at: u64) -> u64 {
    let word = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_little_endian_and_whole() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(word_at(&bytes, 1), 0x0908_0706_0504_0302);
        assert_eq!((word_at(&bytes, 2), word_at(&bytes, u64::MAX)), (0, 0));
    }
}
