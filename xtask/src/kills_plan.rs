//! What the guests of `cargo xtask kills` write, and what must be on their disk after a kill.
//!
//! The plan is that of `guests/kills/writer.c`: an event's number and the seed say all there is to know of it, so nothing
//! has to be told but which batches are flushed.

use anyhow::{Result, ensure};
use std::ops::Range;

/// Bytes of a block.
pub const BLOCK: u64 = 4096;
/// Blocks of the disk.
pub const BLOCKS: u64 = 8192;
/// Numbers of a batch's events; there are fewer.
const NUMBERS: u64 = 64;
/// Batches that a guest may have begun behind the last of which anything is known: one being written, one being flushed, one
/// of which it was saying that it is flushed.
const AHEAD: u64 = 3;
/// Batches that a guest may have been told to be flushed without anybody hearing of it: their lines were in the machine's
/// buffers, which are not longer than 64 KiB, when it was killed.
const UNHEARD: u64 = 10_000;

/// SplitMix64's mixing function (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A random number by its place.
pub fn chance(seed: u64, number: u64) -> u64 {
    mixed(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// What an event does: fills blocks with its number, word for word, or zeroes them.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    zero: bool,
    blocks: Range<u64>,
}

fn plan(seed: u64, number: u64) -> Event {
    let h = chance(seed, number);
    let zero = h.is_multiple_of(8);
    let first = (h >> 20) % if h >> 16 & 1 != 0 { 64 } else { BLOCKS };
    let (first, count) = if zero && h >> 3 & 1 != 0 {
        (first & !15, 16)
    } else {
        (first, if (h >> 8) % 8 < 5 { 1 } else { 1 + (h >> 11) % 8 })
    };
    Event { zero, blocks: first..(first + count).min(BLOCKS) }
}

/// The numbers of a batch's events.
fn numbers(seed: u64, batch: u64) -> Range<u64> {
    let first = batch * NUMBERS;
    first..first + 1 + chance(seed, first + NUMBERS - 1) % 32
}

/// What may be on a disk that a guest writes to.
pub struct Model {
    seed: u64,
    /// The batch that begins next, and behind the last that may have been begun.
    next: u64,
    /// What blocks hold at first: their number with this, or zeroes.
    mark: Option<u64>,
    /// The newest flushed batch that wrote or zeroed each block; 0 for none.
    flushed: Vec<u64>,
    /// The newest batch that may have zeroed each.
    zeroed: Vec<u64>,
    /// Events that are flushed.
    pub events: u64,
}

impl Model {
    /// A new disk.
    pub fn new(seed: u64, mark: Option<u64>) -> Model {
        let none = vec![0; BLOCKS as usize];
        Model { seed, next: 1, mark, flushed: none.clone(), zeroed: none, events: 0 }
    }

    /// What a guest is told: the seed, and the batch that it begins with.
    pub fn parameters(&self) -> String {
        format!("kills={},{}", self.seed, self.next)
    }

    /// A guest was killed that had said that all batches up to `last` were flushed, if it had said so of any.
    pub fn killed(&mut self, last: Option<u64>) {
        let flushed = last.map_or(self.next, |last| last + 1);
        for number in (self.next..flushed).flat_map(|batch| numbers(self.seed, batch)) {
            self.events += 1;
            for block in plan(self.seed, number).blocks {
                self.flushed[block as usize] = number / NUMBERS;
            }
        }
        self.begun(flushed + AHEAD);
    }

    /// All batches before `end` may have been begun.
    fn begun(&mut self, end: u64) {
        for number in (self.next..end).flat_map(|batch| numbers(self.seed, batch)) {
            let event = plan(self.seed, number);
            for block in event.blocks.filter(|_| event.zero) {
                self.zeroed[block as usize] = number / NUMBERS;
            }
        }
        self.next = self.next.max(end);
    }

    /// The batch whose event wrote this into that block, if there is one.
    fn writer(&self, block: u64, word: u64) -> Option<u64> {
        let batch = word / NUMBERS;
        let some = batch > 0 && batch < self.next + UNHEARD && numbers(self.seed, batch).contains(&word);
        let event = some.then(|| plan(self.seed, word))?;
        (!event.zero && event.blocks.contains(&block)).then_some(batch)
    }

    /// What a block holds at first.
    pub fn at_first(&self, block: u64) -> u64 {
        self.mark.map_or(0, |mark| mark | block)
    }

    /// Why a word that was found in a block cannot be there; `None` if it can.
    fn wrong(&self, block: u64, word: u64) -> Option<&'static str> {
        let (flushed, zeroed) = (self.flushed[block as usize], self.zeroed[block as usize]);
        let first = word == self.at_first(block);
        if first && flushed == 0 || word == 0 && zeroed != 0 && zeroed >= flushed {
            return None;
        }
        if first || word == 0 {
            return Some("what was flushed there is gone");
        }
        match self.writer(block, word) {
            None => Some("nobody wrote that there"),
            Some(batch) => (batch < flushed).then_some("that is older than what was flushed there"),
        }
    }

    /// Checks all of the disk.
    ///
    /// # Errors
    /// What is first found that cannot be there.
    pub fn verify(&mut self, disk: &[u8]) -> Result<()> {
        ensure!(disk.len() as u64 == BLOCKS * BLOCK, "the disk has {} bytes", disk.len());
        // What is there was begun, whether its guest could say so or not.
        let words =
            (0..).zip(disk.as_chunks().0).map(|(at, word)| (at * 8 / BLOCK, u64::from_le_bytes(*word)));
        let newest = words.filter(|(_, word)| word / NUMBERS >= self.next);
        let newest = newest.filter_map(|(block, word)| self.writer(block, word)).max();
        self.begun(newest.map_or(0, |batch| batch + AHEAD));
        for (block, bytes) in (0..).zip(disk.chunks(BLOCK as usize)) {
            for (at, word) in bytes.as_chunks().0.iter().enumerate() {
                let word = u64::from_le_bytes(*word);
                if let Some(why) = self.wrong(block, word) {
                    let flushed = self.flushed[block as usize];
                    anyhow::bail!(
                        "block {block}, byte {}: {word:#x} (batch {}): {why} (batch {flushed})",
                        at * 8,
                        word / NUMBERS
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: u64 = 1 << 63;

    /// A disk on which all batches up to `last` have been done, one after the other.
    fn done(model: &Model, last: u64) -> Vec<u8> {
        let first =
            (0..BLOCKS).flat_map(|block| model.at_first(block).to_le_bytes().repeat(BLOCK as usize / 8));
        let mut disk: Vec<u8> = first.collect();
        for number in (1..=last).flat_map(|batch| numbers(model.seed, batch)) {
            let event = plan(model.seed, number);
            let word = if event.zero { 0 } else { number };
            let bytes = event.blocks.start * BLOCK..event.blocks.end * BLOCK;
            let bytes = &mut disk[bytes.start as usize..bytes.end as usize];
            bytes.as_chunks_mut().0.iter_mut().for_each(|at| *at = word.to_le_bytes());
        }
        disk
    }

    #[test]
    fn a_disk_may_have_what_was_flushed_and_more() {
        for mark in [None, Some(MARK)] {
            let mut model = Model::new(7, mark);
            assert_eq!(model.parameters(), "kills=7,1");
            let disk = done(&model, 0);
            model.verify(&disk).unwrap();
            model.killed(Some(40));
            assert_eq!(model.parameters(), "kills=7,44");
            for last in [0, 39] {
                let disk = done(&model, last);
                assert!(model.verify(&disk).is_err(), "{last}");
            }
            for last in [40, 41, 43, 80] {
                let disk = done(&model, last);
                model.verify(&disk).unwrap();
            }
            // Nobody has heard of some of it; a second guest, which had nothing flushed, takes nothing away.
            assert_eq!(model.parameters(), "kills=7,83");
            model.killed(None);
            let [old, disk] = [39, 40].map(|last| done(&model, last));
            model.verify(&disk).unwrap();
            assert!(model.verify(&old).is_err());
        }
    }

    /// The number of an event that writes a block, and that no guest can have come to.
    fn far(model: &Model, block: u64) -> u64 {
        let all = (UNHEARD + 100..).flat_map(|batch| numbers(model.seed, batch));
        let mut writes = all.map(|number| (number, plan(model.seed, number)));
        writes.find(|(_, event)| !event.zero && event.blocks.contains(&block)).unwrap().0
    }

    #[test]
    fn a_word_that_is_lost_old_or_another_ones_is_found() {
        let mut model = Model::new(11, Some(MARK));
        model.killed(Some(60));
        let disk = done(&model, 60);
        let old = done(&model, 30);
        let written = |block: u64| model.flushed[block as usize] > 30 && model.zeroed[block as usize] == 0;
        let block = (0..BLOCKS).find(|block| written(*block)).unwrap();
        let place = (block * BLOCK + 512) as usize..(block * BLOCK + 520) as usize;
        for (bytes, why) in [
            (0u64.to_le_bytes().to_vec(), "gone"),
            (old[place.clone()].to_vec(), ""),
            ((MARK | block).to_le_bytes().to_vec(), "gone"),
            (far(&model, block).to_le_bytes().to_vec(), "nobody"),
            (disk[..8].to_vec(), ""),
        ] {
            let mut disk = disk.clone();
            assert_ne!(disk[place.clone()], bytes[..]);
            disk[place.clone()].copy_from_slice(&bytes);
            let error = model.verify(&disk).unwrap_err().to_string();
            assert!(error.contains(why) && error.starts_with(&format!("block {block}, byte 512")), "{error}");
        }
    }
}
