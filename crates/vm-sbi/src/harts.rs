//! Sets of harts, and the hart-mask parameters that name them.

use crate::SbiError;

/// The most harts that a firmware can serve.
pub const MAX_HARTS: u32 = 512;

const WORDS: usize = (MAX_HARTS / 64) as usize;

/// A set of hart ids below [`MAX_HARTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HartSet([u64; WORDS]);

impl HartSet {
    /// No hart.
    pub const EMPTY: HartSet = HartSet([0; WORDS]);

    /// The harts 0 to `count - 1`.
    pub fn first(count: u32) -> HartSet {
        (0..count).collect()
    }

    /// Adds `hart`; an id of [`MAX_HARTS`] or more is left out.
    pub fn insert(&mut self, hart: u32) {
        if let Some(word) = self.0.get_mut(hart as usize / 64) {
            *word |= 1 << (hart % 64);
        }
    }

    /// Takes `hart` out.
    pub fn remove(&mut self, hart: u32) {
        if let Some(word) = self.0.get_mut(hart as usize / 64) {
            *word &= !(1 << (hart % 64));
        }
    }

    /// Whether `hart` is in the set.
    pub fn contains(&self, hart: u32) -> bool {
        self.0.get(hart as usize / 64).is_some_and(|word| word >> (hart % 64) & 1 != 0)
    }

    /// Whether no hart is in the set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// `hartid` if it is in the set.
    pub(crate) fn existing(&self, hartid: u64) -> Option<u32> {
        u32::try_from(hartid).ok().filter(|&hart| self.contains(hart))
    }

    /// The hart ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        let words = self.0;
        (0u32..).zip(words).flat_map(|(index, word)| bits(word).map(move |bit| index * 64 + bit))
    }

    /// The harts that `hart_mask` and `hart_mask_base` name, of those in `all` ("Binary
    /// Encoding", "Hart list parameter"). A base of -1 names all harts and the mask is ignored; the
    /// base of an empty mask does not matter.
    ///
    /// # Errors
    /// [`SbiError::InvalidParam`] if one of them does not exist.
    pub fn of_mask(mask: u64, base: u64, all: &HartSet) -> Result<HartSet, SbiError> {
        if base == u64::MAX {
            return Ok(*all);
        }
        bits(mask)
            .map(|bit| base.checked_add(u64::from(bit)).and_then(|id| all.existing(id)))
            .collect::<Option<HartSet>>()
            .ok_or(SbiError::InvalidParam)
    }
}

impl FromIterator<u32> for HartSet {
    fn from_iter<I: IntoIterator<Item = u32>>(harts: I) -> HartSet {
        let mut set = HartSet::EMPTY;
        harts.into_iter().take_while(|&hart| hart < MAX_HARTS).for_each(|hart| set.insert(hart));
        set
    }
}

/// The numbers of the bits that are set, ascending.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(mask: u64, base: u64, count: u32) -> Result<Vec<u32>, SbiError> {
        HartSet::of_mask(mask, base, &HartSet::first(count)).map(|set| set.iter().collect())
    }

    #[test]
    fn bit_n_of_the_mask_is_hart_base_plus_n() {
        assert_eq!(ids(0b101, 0, 8), Ok(vec![0, 2]));
        assert_eq!(ids(0b101, 3, 8), Ok(vec![3, 5]));
        assert_eq!(ids(1 << 63, 100, 200), Ok(vec![163]));
        assert_eq!(ids(u64::MAX, 30, 512).unwrap().len(), 64);
    }

    #[test]
    fn a_base_of_minus_1_means_all_harts_whatever_the_mask() {
        assert_eq!(ids(0, u64::MAX, 3), Ok(vec![0, 1, 2]));
        assert_eq!(ids(u64::MAX, u64::MAX, 3), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn one_hart_that_does_not_exist_makes_the_parameter_invalid() {
        assert_eq!(ids(0b1001, 0, 3), Err(SbiError::InvalidParam));
        assert_eq!(ids(1, 3, 3), Err(SbiError::InvalidParam));
        assert_eq!(ids(1 << 63, u64::MAX - 1, 3), Err(SbiError::InvalidParam));
        assert_eq!(ids(1, 1 << 32, 3), Err(SbiError::InvalidParam));
    }

    #[test]
    fn harts_that_are_not_the_supervisors_do_not_exist() {
        let all: HartSet = (1..3).collect();
        assert_eq!(HartSet::of_mask(0, u64::MAX, &all), Ok(all));
        assert_eq!(HartSet::of_mask(0b110, 0, &all), Ok(all));
        assert_eq!(HartSet::of_mask(0b111, 0, &all), Err(SbiError::InvalidParam));
    }

    #[test]
    fn the_base_counts_only_with_bit_0() {
        assert_eq!(ids(0, 77, 3), Ok(vec![]));
        assert_eq!(ids(0, u64::MAX - 1, 3), Ok(vec![]));
    }

    #[test]
    fn a_set_holds_up_to_512_harts() {
        let mut set = HartSet::first(u32::MAX);
        assert_eq!(set.iter().count(), 512);
        set.remove(511);
        set.insert(512);
        assert!(set.contains(510) && !set.contains(511) && !set.contains(512));
        assert_eq!(set.iter().last(), Some(510));
    }
}
