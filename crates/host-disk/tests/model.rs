//! Random requests to a qcow2 image, compared with plain bytes; power cuts, kills and full disks at any moment.

use host_disk::{Disk, DiskError, Header, Memory, NewQcow2, Qcow2, Raw, check};
use std::sync::Arc;
use support_hostmap::Pieces;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const SIZE: u64 = 3 << 20;

fn of(bytes: &[u8]) -> Pieces {
    let pieces = Pieces::scratch(bytes.len()).unwrap();
    pieces.copy_in(0, bytes).unwrap();
    pieces
}

fn all(disk: &dyn Disk) -> Vec<u8> {
    let pieces = Pieces::scratch(disk.size() as usize).unwrap();
    disk.read(0, &pieces).unwrap();
    pieces.to_vec()
}

fn open(medium: &Arc<Memory>, backing: Option<&Arc<Memory>>) -> Qcow2 {
    let header = Header::read(&**medium).unwrap();
    let backing = backing.map(|b| Arc::new(Raw::new(b.clone(), true).unwrap()) as Arc<dyn Disk>);
    Qcow2::open(medium.clone(), header, backing, false).unwrap()
}

/// The kinds of images that differ in how they are written.
fn kinds() -> Vec<(NewQcow2, bool)> {
    let new = NewQcow2::new(SIZE);
    vec![
        (NewQcow2 { cluster: 512, ..new.clone() }, false),
        (NewQcow2 { cluster: 512, refcount_bits: 64, ..new.clone() }, true),
        (NewQcow2 { cluster: 4096, refcount_bits: 1, ..new.clone() }, true),
        (NewQcow2 { cluster: 65536, ..new.clone() }, true),
        (NewQcow2 { cluster: 4096, version: 2, ..new.clone() }, false),
        (NewQcow2 { cluster: 65536, version: 2, ..new.clone() }, true),
        (NewQcow2 { cluster: 16384, extended: true, ..new.clone() }, true),
        (NewQcow2 { cluster: 2 << 20, ..new }, true),
    ]
}

/// A disk, and what should be on it.
struct Pair {
    medium: Arc<Memory>,
    backing: Option<Arc<Memory>>,
    disk: Qcow2,
    bytes: Vec<u8>,
}

impl Pair {
    fn new(kind: &NewQcow2, backed: bool) -> Pair {
        let empty = Memory::new(&[]);
        kind.create(&empty).unwrap();
        let medium = Arc::new(Memory::logging(&empty.bytes(u64::MAX)));
        // Shorter than the disk, and no multiple of a cluster.
        let base: Vec<u8> = (0..SIZE - 700_000).map(|n| (n / 512 % 255 + 1) as u8).collect();
        let backing = backed.then(|| Arc::new(Memory::new(&base)));
        let mut bytes = if backed { base } else { Vec::new() };
        bytes.resize(SIZE as usize, 0);
        let disk = open(&medium, backing.as_ref());
        Pair { medium, backing, disk, bytes }
    }

    /// One random request. An error is given back, and the place.
    fn step(&mut self, random: &mut Random) -> (Result<(), DiskError>, std::ops::Range<usize>) {
        let byte = random.next() as u8;
        let most = [600, 10_000, 300_000][random.below(3) as usize];
        let at = random.below(SIZE);
        let len = (1 + random.below(most)).min(SIZE - at);
        let range = at as usize..(at + len) as usize;
        let result = match random.below(10) {
            0 => {
                let (at, len) = (at & !511, len.next_multiple_of(512).min(SIZE - (at & !511)));
                let range = at as usize..(at + len) as usize;
                let result = self.disk.discard(at, len);
                // What a discard leaves may be old or zero.
                self.old_or(0, range.clone());
                return (result, range);
            }
            1 | 2 => {
                let result = self.disk.write_zeroes(at, len, random.below(2) == 0);
                match result {
                    Ok(()) => self.bytes[range.clone()].fill(0),
                    Err(_) => self.old_or(0, range.clone()),
                }
                result
            }
            3 | 4 => {
                let into = Pieces::scratch(len as usize).unwrap();
                into.fill(0, len as usize, 0xee).unwrap();
                let result = match self.disk.try_read(at, &into) {
                    Some(result) => result,
                    None => self.disk.read(at, &into),
                };
                assert!(result.is_err() || into.to_vec() == self.bytes[range.clone()], "read {range:?}");
                result
            }
            _ => {
                let data = of(&vec![byte; len as usize]);
                let result = match self.disk.try_write(at, &data) {
                    Some(result) => result,
                    None => self.disk.write(at, &data),
                };
                match result {
                    Ok(()) => self.bytes[range.clone()].fill(byte),
                    Err(_) => self.old_or(byte, range.clone()),
                }
                result
            }
        };
        (result, range)
    }

    /// Takes over what a range now has, of which each byte is the old one or `new`.
    fn old_or(&mut self, new: u8, range: std::ops::Range<usize>) {
        let now = Pieces::scratch(range.len()).unwrap();
        self.disk.read(range.start as u64, &now).unwrap();
        for (n, found) in range.zip(now.to_vec()) {
            assert!(found == new || found == self.bytes[n], "{found} at {n}");
            self.bytes[n] = found;
        }
    }

    fn clean(&self) {
        let report = check(&*self.medium, &Header::read(&*self.medium).unwrap()).unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

#[test]
fn a_disk_is_what_was_written_to_it() {
    for (seed, (kind, backed)) in kinds().into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let mut pair = Pair::new(&kind, backed);
        for round in 0..400 {
            pair.step(&mut random).0.unwrap();
            match random.below(20) {
                0 => pair.disk.flush().unwrap(),
                1 => {
                    pair.disk.close().unwrap();
                    pair.clean();
                    pair.disk = open(&pair.medium, pair.backing.as_ref());
                }
                _ => {}
            }
            if round % 50 == 0 {
                assert!(all(&pair.disk) == pair.bytes, "{kind:?}, round {round}");
            }
        }
        assert!(all(&pair.disk) == pair.bytes, "{kind:?}");
        pair.disk.close().unwrap();
        pair.clean();
        let incompatible = Header::read(&*pair.medium).unwrap().incompatible;
        assert_eq!(incompatible & 1, 0, "closed in order");
    }
}

/// What may be found at a byte after an accident: any value since the last flush.
struct Candidates {
    stable: Vec<u8>,
    since: Vec<(std::ops::Range<usize>, Vec<u8>)>,
}

impl Candidates {
    fn check(&self, found: &[u8], what: &str) {
        let mut sets: Vec<Vec<u8>> = Vec::new();
        let mut index = vec![u32::MAX; found.len()];
        for (range, bytes) in &self.since {
            for (n, byte) in range.clone().zip(bytes) {
                if index[n] == u32::MAX {
                    index[n] = sets.len() as u32;
                    sets.push(vec![self.stable[n]]);
                }
                sets[index[n] as usize].push(*byte);
            }
        }
        for (n, byte) in found.iter().enumerate() {
            match index[n] {
                u32::MAX => assert_eq!(*byte, self.stable[n], "{what}: what was flushed, at {n}"),
                i => assert!(
                    sets[i as usize].contains(byte),
                    "{what}: {byte} at {n}, not of {:?}",
                    sets[i as usize]
                ),
            }
        }
    }
}

/// Runs requests, and now and then an accident whose outcome `cut` makes.
fn accidents(rounds: u64, seed: u64, cut: impl Fn(&Memory, &mut Random) -> Memory) {
    let kinds = kinds();
    for round in 0..rounds {
        let mut random = Random(seed + round);
        let (kind, backed) = &kinds[random.below(kinds.len() as u64) as usize];
        let mut pair = Pair::new(kind, *backed);
        let mut candidates = Candidates { stable: pair.bytes.clone(), since: Vec::new() };
        for _ in 0..5 + random.below(40) {
            let (result, range) = pair.step(&mut random);
            result.unwrap();
            candidates.since.push((range.clone(), pair.bytes[range].to_vec()));
            if random.below(6) == 0 {
                pair.disk.flush().unwrap();
                candidates = Candidates { stable: pair.bytes.clone(), since: Vec::new() };
            }
        }
        let left = Arc::new(cut(&pair.medium, &mut random));
        let what = format!("{kind:?}, seed {}", seed + round);
        let before = check(&*left, &Header::read(&*left).unwrap()).unwrap();
        assert_eq!(before.corruptions, 0, "{what}: {before:?}");
        let disk = open(&left, pair.backing.as_ref());
        candidates.check(&all(&disk), &what);
        if kind.version == 3 {
            let after = check(&*left, &Header::read(&*left).unwrap()).unwrap();
            assert!(after.is_clean(), "{what}: {after:?}");
        }
        // It goes on being a disk.
        disk.write(0, &of(&[7; 100_000])).unwrap();
        disk.close().unwrap();
        let end = check(&*left, &Header::read(&*left).unwrap()).unwrap();
        assert!(end.corruptions == 0 && (kind.version == 2 || end.leaks == 0), "{what}: {end:?}");
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_flushed_and_leaves_a_sound_image() {
    let rounds = std::env::var("HOSTEL_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    accidents(rounds, 1000, |medium, random| medium.power_cut(&mut || random.next()));
}

#[test]
fn a_kill_loses_nothing_that_was_flushed_and_leaves_a_sound_image() {
    accidents(60, 2000, |medium, _| medium.kill());
}

#[test]
fn a_full_host_is_an_error_and_the_image_stays_sound() {
    let kinds = kinds();
    let mut failures = 0;
    for round in 0..60 {
        let mut random = Random(3000 + round);
        let (kind, backed) = &kinds[random.below(kinds.len() as u64) as usize];
        let mut pair = Pair::new(kind, *backed);
        pair.medium.fail_after(random.below(60));
        let mut failed = 0;
        for _ in 0..40 {
            failed += u64::from(pair.step(&mut random).0.is_err());
            failed += u64::from(pair.disk.flush().is_err());
        }
        failures += failed;
        // Room again.
        pair.medium.fail_after(u64::MAX);
        pair.disk.flush().unwrap();
        let left = Arc::new(pair.medium.power_cut(&mut || random.next()));
        assert!(all(&open(&left, pair.backing.as_ref())) == pair.bytes, "{kind:?}, round {round}: flushed");
        for _ in 0..20 {
            pair.step(&mut random).0.unwrap();
        }
        assert!(all(&pair.disk) == pair.bytes, "{kind:?}, round {round}");
        pair.disk.close().unwrap();
        let report = check(&*pair.medium, &Header::read(&*pair.medium).unwrap()).unwrap();
        assert_eq!(report.corruptions, 0, "{kind:?}, round {round}: {report:?}");
    }
    assert!(failures > 100);
}

#[test]
fn after_a_failed_sync_nothing_is_said_to_be_stable() {
    for (kind, backed) in kinds() {
        let mut failed = 0;
        for count in 0..6 {
            let pair = Pair::new(&kind, backed);
            pair.disk.write(1000, &of(&[7; 5000])).unwrap();
            pair.medium.fail_sync_after(count);
            // With few syncs, all of them succeed.
            let Err(error) = pair.disk.flush() else { continue };
            assert!(matches!(error, DiskError::Io(_)), "{error}");
            failed += 1;
            for _ in 0..2 {
                assert!(matches!(pair.disk.flush(), Err(DiskError::Broken)), "{kind:?}, sync {count}");
                assert!(matches!(pair.disk.write(0, &of(&[1; 512])), Err(DiskError::Broken)));
                assert!(matches!(pair.disk.discard(0, SIZE), Err(DiskError::Broken)));
            }
            assert!(pair.disk.close().is_err());
        }
        assert!((2..6).contains(&failed), "{kind:?}: {failed}");
    }
}

#[test]
fn threads_that_write_apart_do_not_disturb_each_other() {
    for (kind, backed) in kinds() {
        let mut pair = Pair::new(&kind, backed);
        let disk = &pair.disk;
        let parts: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u64)
                .map(|thread| {
                    let before = pair.bytes.clone();
                    scope.spawn(move || {
                        let mut random = Random(thread);
                        let mut mine = before;
                        // Each has every fourth sector, so that all meet in every cluster.
                        for _ in 0..400 {
                            let sector = random.below(SIZE / 2048) * 4 + thread;
                            let range = sector as usize * 512..(sector as usize + 1) * 512;
                            let byte = random.next() as u8;
                            match random.below(8) {
                                0 => {
                                    let into = Pieces::scratch(512).unwrap();
                                    disk.read(sector * 512, &into).unwrap();
                                    assert_eq!(into.to_vec(), mine[range]);
                                }
                                1 => disk.flush().unwrap(),
                                2 if random.below(4) == 0 => {
                                    disk.write_zeroes(sector * 512, 512, true).unwrap();
                                    mine[range].fill(0);
                                }
                                _ => {
                                    disk.write(sector * 512, &of(&[byte; 512])).unwrap();
                                    mine[range].fill(byte);
                                }
                            }
                        }
                        mine
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for sector in 0..(SIZE / 512) as usize {
            let range = sector * 512..(sector + 1) * 512;
            pair.bytes[range.clone()].copy_from_slice(&parts[sector % 4][range]);
        }
        assert!(all(&pair.disk) == pair.bytes, "{kind:?}");
        pair.disk.close().unwrap();
        pair.clean();
    }
}

#[test]
fn a_disk_grows_and_shrinks() {
    for (kind, backed) in kinds() {
        let mut pair = Pair::new(&kind, backed);
        let mut random = Random(9);
        for _ in 0..30 {
            pair.step(&mut random).0.unwrap();
        }
        for size in [SIZE - 512, SIZE / 2 + 512, SIZE, SIZE * 40, SIZE] {
            pair.disk.resize(size).unwrap();
            pair.bytes.resize(size as usize, 0);
            assert!(all(&pair.disk) == pair.bytes, "{kind:?} {size}");
            pair.disk.close().unwrap();
            pair.clean();
            pair.disk = open(&pair.medium, pair.backing.as_ref());
            assert_eq!(pair.disk.size(), size);
            assert!(all(&pair.disk) == pair.bytes, "{kind:?} {size} after opening");
        }
        assert!(pair.disk.resize(1 << 62).is_err());
        assert!(pair.disk.resize(1000).is_err());
    }
}
