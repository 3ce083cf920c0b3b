//! Random operations on the contents of one file, against a model in memory, in the way of fsx (the "file system
//! exerciser"); and random changes of names by the guest and by the host at once.

mod guest;

use guest::{Guest, ROOT, Reader, Set, body};
use host_share::{Options, opcode};
use std::fs;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }
}

/// The longest that the file gets, in bytes.
const LONGEST: usize = 300_000;

struct Exercise {
    guest: Guest,
    node: u64,
    handle: u64,
    model: Vec<u8>,
    random: Random,
}

impl Exercise {
    fn range(&mut self) -> (usize, usize) {
        let length = [1, 10, 4096, 131_072][self.random.below(4)].min(1 + self.random.below(131_072));
        (self.random.below(LONGEST - length), length)
    }

    fn grow(&mut self, to: usize) {
        if self.model.len() < to {
            self.model.resize(to, 0);
        }
    }

    fn write(&mut self) {
        let (at, length) = self.range();
        let data: Vec<u8> = (0..length).map(|_| self.random.next() as u8).collect();
        self.grow(at + length);
        self.model[at..at + length].copy_from_slice(&data);
        assert_eq!(self.guest.write(self.node, self.handle, at as u64, &data), Ok(length as u32));
    }

    fn read(&mut self) {
        let (at, length) = self.range();
        let from = at.min(self.model.len());
        let to = (at + length).min(self.model.len());
        let read = self.guest.read(self.node, self.handle, at as u64, length as u32).unwrap();
        assert!(read == self.model[from..to.max(from)], "{length} bytes at {at}");
    }

    fn truncate(&mut self) {
        let size = self.random.below(LONGEST);
        self.model.resize(size, 0);
        let mut set = Set::size(size as u64);
        if self.random.below(2) == 0 {
            (set.valid, set.handle) = (set.valid | 1 << 6, self.handle);
        }
        assert_eq!(self.guest.setattr(self.node, &set).unwrap().size, size as u64);
    }

    fn allocate(&mut self) {
        let (at, length) = self.range();
        let mode = [0, 1, 3, 0x10, 0x11][self.random.below(5)];
        let body = body().u64(self.handle).u64(at as u64).u64(length as u64).u32(mode).u32(0);
        self.guest.ask(opcode::FALLOCATE, self.node, &body).unwrap();
        if mode & 1 == 0 {
            self.grow(at + length);
        }
        let end = (at + length).min(self.model.len());
        if mode > 1 && at < end {
            self.model[at..end].fill(0);
        }
    }

    fn copy(&mut self) {
        let ((from, length), (to, _)) = (self.range(), self.range());
        let length = length.min(self.model.len().saturating_sub(from)).min(LONGEST - to);
        if length == 0 || (from < to + length && to < from + length) {
            return;
        }
        let body = body().u64(self.handle).u64(from as u64).u64(self.node).u64(self.handle);
        let reply = self.guest.ask(
            opcode::COPY_FILE_RANGE,
            self.node,
            &body.u64(to as u64).u64(length as u64).u64(0),
        );
        let copied = Reader(&reply.unwrap()).u32() as usize;
        assert!(copied > 0 && copied <= length);
        self.grow(to + copied);
        self.model.copy_within(from..from + copied, to);
    }

    fn reopen(&mut self) {
        self.guest.release(self.node, self.handle).unwrap();
        self.handle = self.guest.open(self.node, 2).unwrap();
    }
}

#[test]
fn contents_are_what_a_model_says() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..4 {
        let guest = Guest::new(folder.path(), Options::default());
        let name = format!("file{seed}");
        let (entry, handle) = guest.create(ROOT, &name, 2, 0o600).unwrap();
        let random = Random(seed);
        let mut exercise = Exercise { guest, node: entry.node, handle, model: Vec::new(), random };
        for _ in 0..1500 {
            match exercise.random.below(12) {
                0..=3 => exercise.write(),
                4..=6 => exercise.read(),
                7 => exercise.truncate(),
                8 => exercise.allocate(),
                9 | 10 => exercise.copy(),
                _ => exercise.reopen(),
            }
            let size = exercise.guest.getattr(exercise.node).unwrap().size;
            assert_eq!(size, exercise.model.len() as u64, "seed {seed}");
        }
        assert!(fs::read(folder.path().join(&name)).unwrap() == exercise.model, "seed {seed}");
    }
}

/// Both move, remove and make things; whatever the guest is told, a file that it reads is the one it looked up.
#[test]
fn the_host_and_the_guest_change_names_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for n in 0..6 {
        fs::create_dir(path.join(format!("d{n}"))).unwrap();
    }
    let mut random = Random(99);
    let guest = Guest::with_limits(path, 10_000, 4, 16);
    let mut known: Vec<(u64, u64)> = Vec::new();
    let (mut read, mut stale) = (0, 0);
    for step in 0..6000u64 {
        let dir = format!("d{}", random.below(6));
        let name = format!("n{}", random.below(8));
        let target = path.join(format!("d{}/n{}", random.below(6), random.below(8)));
        match random.below(6) {
            0 => drop(fs::rename(path.join(&dir).join(&name), &target)),
            1 => drop(fs::remove_file(&target)),
            2 => {
                let Ok(folder) = guest.walk(&dir) else { continue };
                if let Ok((entry, handle)) = guest.create(folder.node, &name, 2 | 0o200, 0o600) {
                    guest.write(entry.node, handle, 0, &step.to_le_bytes()).unwrap();
                    guest.release(entry.node, handle).unwrap();
                    known.push((entry.node, step));
                }
            }
            3 => {
                let Ok(from) = guest.walk(&dir) else { continue };
                let Ok(to) = guest.walk(&format!("d{}", random.below(6))) else { continue };
                let _ = guest.rename((from.node, &name), (to.node, &format!("n{}", random.below(8))), 0);
            }
            _ => {
                let Some((node, written)) = known.get(random.below(known.len().max(1))).copied() else {
                    continue;
                };
                match guest.open(node, 0) {
                    Ok(handle) => {
                        assert_eq!(guest.read(node, handle, 0, 8).unwrap(), written.to_le_bytes());
                        guest.release(node, handle).unwrap();
                        read += 1;
                    }
                    Err(guest::errno::STALE) => stale += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    assert!(read > 100 && stale > 100, "{read} read, {stale} stale");
}
