//! Random instructions from the rows, for tests that compare with someone else.

use crate::ROWS;
use crate::disasm::row_of;
use crate::rows::Row;

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
}

/// A random instance of `row`: the bits that it leaves free are random, but its constraints hold and no
/// row carved out of it matches. `rng` gives 64 random bits at a time.
pub fn random_insn(row: &Row, rng: &mut impl FnMut() -> u64) -> u32 {
    let free = !row.mask & (u32::MAX >> (32 - u32::from(row.length)));
    let is_instance = |word: u32| row_of(word).is_some_and(|found| found.name == row.name);
    for _ in 0..64 {
        let word = row.bits | rng() as u32 & free;
        if is_instance(word) {
            return word;
        }
    }
    // A generator that repeats itself: count through the free bits, which ends as a row has instances.
    let mut part = 0u32;
    loop {
        let word = row.bits | part;
        part = (part | !free).wrapping_add(1) & free;
        if is_instance(word) || part == 0 {
            return word;
        }
    }
}
