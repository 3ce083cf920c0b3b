//! Both memories: what each page held when a round began, and where they differ.

use fabric_ram::{GuestRam, PAGE};
use std::collections::BTreeMap;

/// A page as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageCopy {
    /// Its number in the arena.
    pub page: u64,
    pub bytes: Box<[u8; PAGE as usize]>,
}

impl PageCopy {
    pub fn of(ram: &GuestRam, page: u64) -> Option<PageCopy> {
        let mut bytes = Box::new([0; PAGE as usize]);
        ram.copy_out(page * PAGE, &mut bytes[..])?;
        Some(PageCopy { page, bytes })
    }
}

/// A word that is not the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Offset in the arena, a multiple of 8.
    pub offset: u64,
    pub real: u64,
    pub shadow: u64,
}

/// What the pages that somebody may have written in this round held before.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pages: BTreeMap<u64, PageCopy>,
}

impl Before {
    pub fn clear(&mut self) {
        self.pages.clear();
    }

    pub fn pages(&self) -> impl Iterator<Item = u64> {
        self.pages.keys().copied()
    }

    /// Keeps what `page` held: as `ram` has it, in which nobody has written it yet.
    pub fn keep(&mut self, page: u64, ram: &GuestRam) {
        if !self.pages.contains_key(&page)
            && let Some(copy) = PageCopy::of(ram, page)
        {
            self.pages.insert(page, copy);
        }
    }

    /// Makes the pages what they were.
    pub fn restore(&self, ram: &GuestRam) {
        for copy in self.pages.values() {
            let _ = ram.copy_in(copy.page * PAGE, &copy.bytes[..]);
        }
    }

    /// Makes the pages of `to` what they are in `from`.
    pub fn transfer(&self, from: &GuestRam, to: &GuestRam) {
        self.pages().for_each(|page| copy_page(page, from, to));
    }

    /// Whether a page is not the same in both.
    pub fn differ(&self, real: &GuestRam, shadow: &GuestRam) -> bool {
        self.pages().any(|page| page_differs(page, real, shadow))
    }

    /// The words that are not the same in both.
    pub fn differences(&self, real: &GuestRam, shadow: &GuestRam) -> Vec<Word> {
        let mut words = Vec::new();
        self.pages().for_each(|page| words.extend(words_that_differ(page, real, shadow)));
        words
    }
}

/// The words of `page` that are not the same in both.
pub(crate) fn words_that_differ(page: u64, real: &GuestRam, shadow: &GuestRam) -> Vec<Word> {
    if !page_differs(page, real, shadow) {
        return Vec::new();
    }
    let words = (page * PAGE..(page + 1) * PAGE).step_by(8).map(|offset| {
        let (real, shadow) = (real.load(offset).unwrap_or(0), shadow.load(offset).unwrap_or(0));
        Word { offset, real, shadow }
    });
    words.filter(|word| word.real != word.shadow).collect()
}

/// Makes `page` of `to` what it is in `from`.
pub(crate) fn copy_page(page: u64, from: &GuestRam, to: &GuestRam) {
    if let Some(copy) = PageCopy::of(from, page) {
        let _ = to.copy_in(page * PAGE, &copy.bytes[..]);
    }
}

/// Whether `page` is not the same in both.
pub(crate) fn page_differs(page: u64, one: &GuestRam, other: &GuestRam) -> bool {
    let (mut a, mut b) = ([0; PAGE as usize], [0; PAGE as usize]);
    let read = one.copy_out(page * PAGE, &mut a).and_then(|()| other.copy_out(page * PAGE, &mut b));
    read.is_some() && a != b
}

/// Every page that was ever written, one bit each.
#[derive(Debug)]
pub(crate) struct Ever(Vec<u64>);

impl Ever {
    pub fn new(ram: &GuestRam) -> Ever {
        Ever(vec![0; (ram.size() / PAGE).div_ceil(64) as usize])
    }

    pub fn add(&mut self, page: u64) {
        if let Some(word) = self.0.get_mut((page / 64) as usize) {
            *word |= 1 << (page % 64);
        }
    }

    pub fn pages(&self) -> impl Iterator<Item = u64> {
        let words = (0..).zip(&self.0).filter(|(_, word)| **word != 0);
        words.flat_map(|(n, word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| n * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_what_differs_is_named() {
        let (real, shadow) = (GuestRam::new(4 * PAGE).unwrap(), GuestRam::new(4 * PAGE).unwrap());
        shadow.store::<u64>(PAGE + 16, 7).unwrap();
        let mut before = Before::default();
        before.keep(1, &shadow);
        real.store::<u64>(PAGE + 16, 8).unwrap();
        shadow.store::<u64>(PAGE + 16, 9).unwrap();
        // Once kept, it stays.
        before.keep(1, &real);
        let word = Word { offset: PAGE + 16, real: 8, shadow: 9 };
        assert_eq!(before.differences(&real, &shadow), [word]);
        assert!(before.differ(&real, &shadow));
        before.restore(&real);
        before.restore(&shadow);
        assert!(!before.differ(&real, &shadow));
        assert_eq!(real.load::<u64>(PAGE + 16), Some(7));
    }

    #[test]
    fn pages_ever_written_are_listed_in_order() {
        let mut ever = Ever::new(&GuestRam::new(130 * PAGE).unwrap());
        [129, 0, 63, 64, 0, 1000].into_iter().for_each(|page| ever.add(page));
        assert_eq!(ever.pages().collect::<Vec<_>>(), [0, 63, 64, 129]);
    }
}
