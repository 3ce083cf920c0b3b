//! Media in memory, for tests and fuzzing: one that keeps what is written, and one whose power can be cut.

use crate::Medium;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support_hostmap::Pieces;

const PAGE: u64 = 4096;

/// Bytes of which only those are kept that were written.
#[derive(Clone, Debug, Default)]
struct Sparse {
    pages: BTreeMap<u64, Box<[u8]>>,
    len: u64,
}

/// Splits a range at pages: page, offset in it, length.
fn pages(at: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = at.saturating_add(len);
    let mut now = at;
    std::iter::from_fn(move || {
        (now < end).then(|| {
            let (page, offset) = (now / PAGE, now % PAGE);
            let len = (PAGE - offset).min(end - now);
            now += len;
            (page, offset as usize, len as usize)
        })
    })
}

impl Sparse {
    fn read(&self, at: u64, into: &mut [u8]) {
        let mut rest = into;
        for (page, offset, len) in pages(at, rest.len() as u64) {
            let (now, later) = rest.split_at_mut(len);
            rest = later;
            match self.pages.get(&page).and_then(|bytes| bytes.get(offset..offset + len)) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
        }
    }

    fn write(&mut self, at: u64, from: &[u8]) {
        let mut rest = from;
        for (page, offset, len) in pages(at, rest.len() as u64) {
            let (now, later) = rest.split_at(len);
            rest = later;
            let bytes = self.pages.entry(page).or_insert_with(|| vec![0; PAGE as usize].into());
            if let Some(place) = bytes.get_mut(offset..offset + len) {
                place.copy_from_slice(now);
            }
        }
        self.len = self.len.max(at.saturating_add(from.len() as u64));
    }

    fn zero(&mut self, at: u64, len: u64) {
        let end = at.saturating_add(len).min(self.len);
        if at >= end {
            return;
        }
        let touched: Vec<u64> = self.pages.range(at / PAGE..=end / PAGE).map(|(page, _)| *page).collect();
        for page in touched {
            let start = at.saturating_sub(page * PAGE).min(PAGE) as usize;
            let stop = end.saturating_sub(page * PAGE).min(PAGE) as usize;
            let bytes = self.pages.get_mut(&page).and_then(|bytes| bytes.get_mut(start..stop.max(start)));
            if let Some(bytes) = bytes {
                bytes.fill(0);
            }
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, self.len - len);
        }
        self.len = len;
    }
}

/// What was done to a medium.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Zero(u64, u64),
    Len(u64),
}

impl Change {
    fn apply(&self, to: &mut Sparse) {
        match self {
            Change::Write(at, bytes) => to.write(*at, bytes),
            Change::Zero(at, len) => to.zero(*at, *len),
            Change::Len(len) => to.set_len(*len),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    now: Sparse,
    /// What is on stable storage for sure.
    stable: Sparse,
    /// What was done since.
    log: Vec<Change>,
    /// Whether a log is kept.
    logging: bool,
    writes: u64,
    /// From which write on all fail.
    fails_from: u64,
    /// Syncs until one fails; 0: none does.
    sync_fails_in: u64,
}

/// A file in memory. Its power can be cut, if it was made for that.
#[derive(Debug)]
pub struct Memory(Mutex<State>);

impl Memory {
    /// A file of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut now = Sparse::default();
        now.write(0, bytes);
        Memory(Mutex::new(State { now, fails_from: u64::MAX, ..State::default() }))
    }

    /// A file of these bytes, all stable, whose power can be cut.
    pub fn logging(bytes: &[u8]) -> Self {
        let memory = Memory::new(bytes);
        let mut state = memory.state();
        state.stable = state.now.clone();
        state.logging = true;
        drop(state);
        memory
    }

    /// What might be found after a power cut now: everything that was synced, and of what was written since, any part. Each
    /// sector of 512 bytes has old or new contents; of several new ones any. `random` decides.
    pub fn power_cut(&self, random: &mut dyn FnMut() -> u64) -> Memory {
        let state = self.state();
        let mut left = state.stable.clone();
        // Not every cut is fair: some lose nearly nothing, some nearly everything.
        let keep = random() % 101;
        for change in &state.log {
            match change {
                Change::Write(at, bytes) => {
                    let torn = random().is_multiple_of(4);
                    let all = random() % 100 < keep;
                    let mut done = 0;
                    while done < bytes.len() {
                        let here = at + done as u64;
                        let len = ((512 - here % 512) as usize).min(bytes.len() - done);
                        if if torn { random() % 100 < keep } else { all } {
                            left.write(here, bytes.get(done..done + len).unwrap_or_default());
                        }
                        done += len;
                    }
                }
                other if random() % 100 < keep => other.apply(&mut left),
                _ => {}
            }
        }
        let state = State {
            now: left.clone(),
            stable: left,
            logging: true,
            fails_from: u64::MAX,
            ..State::default()
        };
        Memory(Mutex::new(state))
    }

    /// What is found after the process that wrote was killed: all of it.
    pub fn kill(&self) -> Memory {
        let now = self.state().now.clone();
        Memory(Mutex::new(State {
            stable: now.clone(),
            now,
            logging: true,
            fails_from: u64::MAX,
            ..State::default()
        }))
    }

    /// Makes every write fail from the one after the next `count` on.
    pub fn fail_after(&self, count: u64) {
        let mut state = self.state();
        state.fails_from = state.writes.saturating_add(count);
    }

    /// Makes one sync fail, the one after the next `count`. What was written before it is lost, as it may be with a host:
    /// the next sync does not bring it.
    pub fn fail_sync_after(&self, count: u64) {
        self.state().sync_fails_in = count + 1;
    }

    /// All bytes, up to `most`.
    pub fn bytes(&self, most: u64) -> Vec<u8> {
        let state = self.state();
        let mut bytes = vec![0; state.now.len.min(most) as usize];
        state.now.read(0, &mut bytes);
        bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state();
        state.writes += 1;
        if state.writes > state.fails_from {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change.apply(&mut state.now);
        if state.logging {
            state.log.push(change);
        }
        Ok(())
    }
}

impl Medium for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().now.len)
    }

    fn read_bytes(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.state().now.read(at, into);
        Ok(())
    }

    fn write_bytes(&self, at: u64, from: &[u8]) -> io::Result<()> {
        // As a file's: there is no offset that does not fit into off_t.
        if at.checked_add(from.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.change(Change::Write(at, from.to_vec()))
    }

    fn read(&self, at: u64, into: &Pieces) -> io::Result<()> {
        let mut bytes = vec![0; into.len()];
        self.read_bytes(at, &mut bytes)?;
        into.copy_in(0, &bytes).ok_or(io::ErrorKind::InvalidInput.into())
    }

    fn write(&self, at: u64, from: &Pieces) -> io::Result<()> {
        self.write_bytes(at, &from.to_vec())
    }

    fn zero(&self, at: u64, len: u64, _unmap: bool) -> io::Result<bool> {
        self.change(Change::Zero(at, len)).map(|()| true)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.sync_fails_in > 0 {
            state.sync_fails_in -= 1;
            if state.sync_fails_in == 0 {
                state.log.clear();
                return Err(io::ErrorKind::Other.into());
            }
        }
        if state.logging {
            let log = std::mem::take(&mut state.log);
            log.iter().for_each(|change| change.apply(&mut state.stable));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may() {
        let medium = Memory::logging(&[1; 2048]);
        medium.write_bytes(0, &[2; 512]).unwrap();
        medium.sync().unwrap();
        medium.write_bytes(512, &[3; 1024]).unwrap();
        medium.write_bytes(3000, &[4; 10]).unwrap();
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let bytes = medium.power_cut(&mut random).bytes(4096);
            assert_eq!(bytes[..512], [2; 512]);
            seen.insert((bytes[512], bytes[1024], bytes.len() > 3000));
        }
        // Both sectors of the torn write, and the one behind the end: all eight outcomes.
        assert_eq!(seen.len(), 8);
        assert_eq!(medium.kill().bytes(4096)[3000..], [4; 10]);
    }

    #[test]
    fn zeroing_and_cutting_off_leave_the_rest() {
        let medium = Memory::new(&[9; 10_000]);
        medium.zero(4000, 200, true).unwrap();
        medium.set_len(9000).unwrap();
        medium.set_len(9500).unwrap();
        let bytes = medium.bytes(u64::MAX);
        assert_eq!(bytes.len(), 9500);
        let zeroes: Vec<usize> = (0..9500).filter(|n| bytes[*n] == 0).collect();
        assert_eq!(zeroes, (4000..4200).chain(9000..9500).collect::<Vec<_>>());
    }
}
