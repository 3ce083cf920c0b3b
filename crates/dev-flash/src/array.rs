//! The bits of all banks of a device: erased ones are 1, and only pages that hold a 0 take host memory.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a page of the store.
pub(crate) const PAGE: u64 = 4096;

/// Bytes, all 0xff until programmed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Array {
    pages: BTreeMap<u32, Box<[u8; PAGE as usize]>>,
    /// Numbers of the pages that have changed since [`Array::take_changes`].
    changed: BTreeSet<u32>,
}

/// Page number and offset in it.
fn place(at: u64) -> (u32, usize) {
    ((at / PAGE) as u32, (at % PAGE) as usize)
}

impl Array {
    /// The `size` bytes (at most 8, aligned) at `at`, little-endian.
    pub fn read(&self, at: u64, size: u8) -> u64 {
        let (page, offset) = place(at);
        let bytes = self.pages.get(&page).and_then(|p| p.get(offset..offset + usize::from(size)));
        match bytes {
            Some(bytes) => bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
            None => u64::MAX >> (64 - 8 * u32::from(size)),
        }
    }

    /// Programs `size` bytes at `at`, which is aligned: bits go from 1 to 0 and never back.
    pub fn program(&mut self, at: u64, size: u8, value: u64) {
        let (page, offset) = place(at);
        self.changed.insert(page);
        let page = self.pages.entry(page).or_insert_with(|| Box::new([0xff; PAGE as usize]));
        if let Some(bytes) = page.get_mut(offset..offset + usize::from(size)) {
            bytes.iter_mut().zip(value.to_le_bytes()).for_each(|(old, new)| *old &= new);
        }
    }

    /// Erases `bytes` from `start`, both multiples of pages.
    pub fn erase(&mut self, start: u64, bytes: u64) {
        let range = place(start).0..place(start + bytes).0;
        self.changed.extend(range.clone());
        self.pages.retain(|page, _| !range.contains(page));
    }

    /// Fills the array from `at` on, a multiple of pages, with what it is to begin with: no change.
    pub fn load(&mut self, at: u64, bytes: &[u8]) {
        for (number, part) in (place(at).0..).zip(bytes.chunks(PAGE as usize)) {
            let mut page = Box::new([0xff; PAGE as usize]);
            page.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            match page.iter().all(|&byte| byte == 0xff) {
                true => self.pages.remove(&number),
                false => self.pages.insert(number, page),
            };
        }
    }

    /// What was programmed or erased since this was last asked: runs of whole pages, by their offset, lowest first.
    pub fn take_changes(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for number in std::mem::take(&mut self.changed) {
            let at = u64::from(number) * PAGE;
            let page = self.pages.get(&number).map_or(&[0xff; PAGE as usize], |page| &**page);
            match runs.last_mut() {
                Some((start, run)) if *start + run.len() as u64 == at => run.extend(page),
                _ => runs.push((at, page.to_vec())),
            }
        }
        runs
    }

    /// Takes the place of `old`: whatever either of them holds may have changed.
    pub fn replaces(&mut self, old: &Array) {
        self.changed.extend(old.pages.keys().chain(self.pages.keys()).chain(&old.changed));
    }

    /// The pages that were programmed, in order.
    pub fn pages(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.pages.iter().map(|(&number, page)| (number, &page[..]))
    }

    /// The array with these pages; `None` if one has another size, lies beyond `bytes` or comes twice.
    pub fn with_pages(pages: &[(u32, Vec<u8>)], bytes: u64) -> Option<Array> {
        let mut array = Array::default();
        for (number, page) in pages {
            let page: Box<[u8; PAGE as usize]> = Box::new(page.as_slice().try_into().ok()?);
            let within = u64::from(*number) < bytes / PAGE;
            if !within || array.pages.insert(*number, page).is_some() {
                return None;
            }
        }
        Some(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_programmed_to_zero_and_erased_to_one() {
        let mut array = Array::default();
        assert_eq!((array.read(0x1000, 8), array.read(0x1000, 1)), (u64::MAX, 0xff));
        array.program(0x1000, 2, 0xff0f);
        array.program(0x1000, 2, 0x0fff);
        assert_eq!(array.read(0x1000, 4), 0xffff_0f0f);
        array.program(0x2fff, 1, 0);
        array.erase(0, 0x2000);
        assert_eq!((array.read(0x1000, 4), array.read(0x2ffc, 4)), (0xffff_ffff, 0x00ff_ffff));
        assert_eq!(array.pages().count(), 1, "erased pages take no memory");
    }

    #[test]
    fn changes_are_told_once_and_together() {
        let mut array = Array::default();
        array.load(0x1000, &[vec![7; 0x1000], vec![0xff; 0x1000], vec![8; 0x10]].concat());
        assert_eq!((array.read(0x1ffc, 4), array.read(0x2000, 4)), (0x0707_0707, 0xffff_ffff));
        assert_eq!((array.read(0x300f, 1), array.read(0x3010, 1), array.pages().count()), (8, 0xff, 2));
        assert!(array.take_changes().is_empty(), "what it begins with is no change");
        array.program(0x1000, 1, 3);
        array.program(0x5000, 1, 0);
        array.erase(0x2000, 0x1000);
        let told = array.take_changes();
        assert_eq!(
            told.iter().map(|(at, run)| (*at, run.len())).collect::<Vec<_>>(),
            [(0x1000, 0x2000), (0x5000, 0x1000)]
        );
        assert_eq!((told[0].1[0], told[0].1[0x1000], told[1].1[0]), (3, 0xff, 0));
        assert!(array.take_changes().is_empty());
        let mut other = Array::default();
        other.replaces(&array);
        assert_eq!(
            other.take_changes().iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [0x1000, 0x3000, 0x5000]
        );
    }

    #[test]
    fn only_pages_that_fit_are_taken() {
        let page = vec![0; PAGE as usize];
        assert!(Array::with_pages(&[(0, page.clone()), (1, page.clone())], 0x2000).is_some());
        assert!(Array::with_pages(&[(2, page.clone())], 0x2000).is_none());
        assert!(Array::with_pages(&[(0, page.clone()), (0, page.clone())], 0x2000).is_none());
        assert!(Array::with_pages(&[(0, page[1..].to_vec())], 0x2000).is_none());
    }
}
